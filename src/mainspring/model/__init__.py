"""The nouns: what a job is and what may become of it. Pure values and functions.

Nothing here does I/O, reads a clock or draws a random number: time, chance and ids are passed in. Every time is an
integer of milliseconds since 1970 UTC on the store's clock; every duration ends its name in `_ms`.
"""
