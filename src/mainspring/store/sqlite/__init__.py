"""The embedded store: one SQLite file, any number of processes on it, nothing else to install."""

from mainspring.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
