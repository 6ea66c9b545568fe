"""The store's clock as a worker can know it: what the store last said, plus the time that has gone by since.

So a worker's own clock, right or wrong by an hour, decides nothing that others rely on.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["StoreClock"]


class StoreClock:
    """`monotonic` gives seconds that never go back; `sync` is told what the store's clock says, in milliseconds."""

    def __init__(self, monotonic: Callable[[], float], now: int) -> None:
        self._monotonic = monotonic
        self._offset = now - monotonic() * 1000

    def sync(self, now: int) -> None:
        """Take over the store's time as it was a moment ago."""
        self._offset = now - self._monotonic() * 1000

    def now(self) -> int:
        """The store's time, in milliseconds since 1970 UTC."""
        return int(self._monotonic() * 1000 + self._offset)
