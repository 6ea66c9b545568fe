"""The clock of an SQLite store: this machine's.

An operation asks for the time once it holds the write lock, not before: so times rise in the order of the commits,
however long one had to wait for its turn.
"""

from __future__ import annotations

from mainspring.clock import now_ms

__all__ = ["time_of"]


def time_of(given: int | None) -> int:
    """The time of a request: the one that it carries, else now, in milliseconds since 1970 UTC."""
    return now_ms() if given is None else given
