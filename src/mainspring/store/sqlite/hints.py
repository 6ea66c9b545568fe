"""Hints: who waits hears that something was committed, by reading `PRAGMA data_version` now and then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection

from mainspring.errors import StoreError
from mainspring.store.sqlite.bell import Bell
from mainspring.store.sqlite.connection import Connection
from mainspring.store.sqlite.forks import attend, using

__all__ = ["Changes", "Poll", "SqliteAsyncWatch", "SqliteWatch"]

POLL_SECONDS = 0.003
"""How often a blocking caller looks: about 3 µs each time."""

SOON_SECONDS = 0.001
GROWTH = 1.5
"""On an event loop: the first pause after a sign of life, and how much longer each next one is. So a commit that takes
its time is noticed at most half of that time late."""
LONGEST_SECONDS = 0.008
"""How long the pauses grow. A look costs next to nothing, but waking up a hundred times a second does not."""
LONGEST_WITH_BELL_SECONDS = 0.1
"""The same where a bell rings: what a change can cost that it does not ring for."""


class Changes:
    """Counts the changes of the store as far as they were noticed. Every commit of anybody is one: SQLite does not say
    what it was about. `opened` is called whenever a connection was opened."""

    def __init__(self, connect: Callable[[], Connection], opened: Callable[[], object] = lambda: None) -> None:
        self._connect = connect
        self._opened = opened
        self._connection: Connection | None = None
        self._version: int | None = None
        self._count = 0
        attend(self)

    def count(self) -> int:
        """The number of changes noticed so far, the latest included."""
        with using():
            if self._connection is not None and not self._connection.is_current():
                self.let_go()
            if self._connection is None:
                self._connection = self._connect()
                self._version = self._connection.data_version()
                self._opened()
                # Nobody knows what there was while no connection was open.
                self._count += 1
            elif (version := self._connection.data_version()) != self._version:
                self._version = version
                self._count += 1
            return self._count

    def look(self) -> int:
        """The count; as it was, where the store fails: who waits for a hint asks the store next, and hears it then."""
        try:
            return self.count()
        except StoreError:
            return self._count

    def let_go(self) -> None:
        """Close the connection; the next count opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class SqliteWatch:
    """Hints for a blocking caller."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._seen = changes.count()

    def wait(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while (count := self._changes.look()) == self._seen:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(POLL_SECONDS, left))
        self._seen = count
        return True

    def close(self) -> None:
        self._changes.let_go()


class Poll:
    """One poll for all who wait on one loop. Nobody waiting, nothing polled.

    A chain of timers and not a task: waking a task up costs twice as much, and waking up is all that this does. After
    each sign of life (a change, a ring) the first pause is short; then they grow.
    """

    def __init__(self, changes: Changes, bell: Bell) -> None:
        self._changes = changes
        self._bell = bell
        self._waiters: dict[asyncio.Future[int], int] = {}
        """Those who wait, and which count each of them has seen."""
        self._timer: asyncio.TimerHandle | None = None
        self._pause = SOON_SECONDS
        self._seen = 0

    def count(self) -> int:
        """The number of changes noticed so far, the latest included."""
        return self._changes.count()

    async def wait(self, seen: int, seconds: float) -> int:
        """Wait until there are more changes than `seen`, or the time is over; the count then."""
        self._look()
        if self._seen != seen:
            return self._seen
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[int] = loop.create_future()
        self._waiters[waiter] = seen
        if self._timer is None:
            self._bell.hang()
            self._go_on(loop)
        try:
            # Not `wait_for`: until Python 3.12 it swallows a cancellation that comes together with the change.
            async with asyncio.timeout(seconds):
                return await waiter
        except TimeoutError:
            return seen
        finally:
            del self._waiters[waiter]

    def _look(self) -> bool:
        """Tell those who wait if there was a change; whether there was."""
        count = self._changes.look()
        if count == self._seen:
            return False
        self._seen = count
        self._pause = SOON_SECONDS
        for waiter, seen in self._waiters.items():
            if seen != count and not waiter.done():
                waiter.set_result(count)
        return True

    def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look again after the next pause, or when the bell rings."""
        self._bell.answer(loop, self._rung)
        self._timer = loop.call_later(self._pause, self._turn, loop, self._pause)
        self._pause = min(self._pause * GROWTH, LONGEST_WITH_BELL_SECONDS if self._bell.works else LONGEST_SECONDS)

    def _turn(self, loop: asyncio.AbstractEventLoop, pause: float) -> None:
        self._timer = None
        if self._look() and pause == LONGEST_WITH_BELL_SECONDS:
            self._bell.missed()
        if self._waiters:
            self._go_on(loop)
        else:
            self._bell.ignore()

    def _rung(self) -> None:
        """Look now, for on a busy machine this comes late, and soon again, for a commit takes its time.

        The bell is answered again after that only, or a busy store would ring without end.
        """
        self._pause = SOON_SECONDS
        if self._timer is not None:
            self._timer.cancel()
            self._look()
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(SOON_SECONDS, self._turn, loop, SOON_SECONDS)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._bell.take_down()
        self._changes.let_go()


class SqliteAsyncWatch:
    """Hints for an event loop."""

    def __init__(self, poll: Poll) -> None:
        self._poll = poll
        self._seen = poll.count()

    async def wait(self, seconds: float) -> bool:
        before, self._seen = self._seen, await self._poll.wait(self._seen, seconds)
        return self._seen != before

    async def add(self, topics: Collection[str]) -> None:
        """All hints are heard as it is."""

    async def drop(self, topics: Collection[str]) -> None:
        """They are heard all the same."""

    def heard(self) -> frozenset[str] | None:
        """SQLite does not say what a change was about."""
        return None

    async def aclose(self) -> None:
        """Nothing is held."""
