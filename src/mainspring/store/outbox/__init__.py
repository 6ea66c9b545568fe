"""Outboxes: jobs in a table of a user's own database, written by his transactions, until a worker relays them.

table       what such a table does: the protocol; each kind of database has its own, beside its store
documents   a job as it is kept there
opening     from a URL, and from a connection, to the table that is meant
"""
