"""Remembers: one protocol (`base`), and a folder for each kind of store that keeps it."""
