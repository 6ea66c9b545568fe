"""The operations of the SQL stores, in statements that have a name here and a text in each store's own files.

statements documents      how operations speak, and how sets travel
jobs claims turns         the way of a job; who is next
gates limits              what limits let through, what opens them
edges flows endings       who waits for whom, and what follows an end
selections settings       what people look at and change
workers stats             leases; what was counted
plans/                    decisions that are made in memory
"""
