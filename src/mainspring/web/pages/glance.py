"""What the pages read, kept for a moment, so that many open tabs cost the store what one does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from starlette.requests import HTTPConnection

__all__ = ["Glance", "glance_of"]

T = TypeVar("T")

SECONDS = 1.8
"""For how long, from when it was asked for, what was read is shown to others. Pages that follow what happens ask every
two seconds, all at nearly the same moment: who comes late is shown the same, and the next time it is read anew."""
PATIENCE = 10
"""What took long is kept so many times as long as it took: it is never most of what a store does."""
LONGEST = 60.0
KEPT = 256


@dataclass(slots=True)
class _Read:
    """Something that is being read, or has been."""

    task: asyncio.Future[Any]
    good_until: float
    """On the monotonic clock; while it is being read, for ever."""


class Glance:
    """Reads of one site. Who asks for what another is reading, or has just read, gets the same."""

    def __init__(self) -> None:
        # A request of one event loop cannot wait for what another one reads.
        self._reads: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, _Read]] = WeakKeyDictionary()
        self._under_way: set[asyncio.Future[Any]] = set()

    async def at(self, key: Hashable, read: Callable[[], Awaitable[T]], seconds: float = SECONDS) -> T:
        """What `read` gives, or has given to somebody else by the same `key` a moment ago."""
        return cast("T", await asyncio.shield(self._read(key, read, seconds).task))

    async def soon(
        self, key: Hashable, read: Callable[[], Awaitable[T]], patience: float = 0.05, seconds: float = SECONDS
    ) -> T | None:
        """The same, if it is there within `patience` seconds; else None, and the next one to ask finds it there."""
        done, _ = await asyncio.wait([self._read(key, read, seconds).task], timeout=patience)
        return cast("T", done.pop().result()) if done else None

    def forget(self) -> None:
        """After somebody changed something: read everything anew."""
        self._reads.clear()

    async def rest(self) -> None:
        """Wait for what is being read on this loop still, for whoever asked and did not wait."""
        loop = asyncio.get_running_loop()
        if reading := [task for task in self._under_way if task.get_loop() is loop]:
            await asyncio.wait(reading)

    def _read(self, key: Hashable, read: Callable[[], Awaitable[T]], seconds: float) -> _Read:
        reads = self._reads.setdefault(asyncio.get_running_loop(), {})
        now = time.monotonic()
        known = reads.get(key)
        if known is not None and known.good_until > now:
            return known
        for stale in [each for each, one in reads.items() if one.good_until <= now]:
            del reads[stale]
        while len(reads) >= KEPT:
            del reads[next(iter(reads))]
        task = asyncio.ensure_future(read())
        entry = reads[key] = _Read(task, float("inf"))
        self._under_way.add(task)

        def ended(task: asyncio.Future[Any]) -> None:
            self._under_way.discard(task)
            failed = task.cancelled() or task.exception() is not None
            took = time.monotonic() - now
            entry.good_until = 0.0 if failed else max(now + seconds, now + took + min(PATIENCE * took, LONGEST))

        task.add_done_callback(ended)
        return entry


def glance_of(connection: HTTPConnection) -> Glance:
    """The one of this site."""
    return cast("Glance", connection.app.state.glance)
