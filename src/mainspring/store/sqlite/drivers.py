"""Drivers: who performs requests on SQLite, for blocking callers and for an event loop."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from mainspring.errors import StoreError
from mainspring.store.base import Reply, Request, Store, start
from mainspring.store.sqlite.connection import Connection, DamagedText
from mainspring.store.sqlite.forks import attend, using

__all__ = ["SqliteAsyncDriver", "SqliteDriver"]

POLL_SECONDS = 0.003
"""How often `data_version` is read while somebody waits for a hint: about 3 µs each time."""

QUIET_SECONDS = 1.0
QUIET_POLL_SECONDS = 0.008
"""On an event loop, how often once there has been no change for so long: an idle worker costs about 1 % of a core, most
of it for waking up at all."""

IDLE_CONNECTIONS = 8
"""How many connections a driver keeps for the next callers."""


@dataclass(slots=True)
class _Idle:
    """Connections that nobody uses now, and the writers' lock: both good in one process only."""

    pid: int = field(default_factory=os.getpid)
    connections: deque[Connection] = field(default_factory=deque)
    turn: threading.Lock = field(default_factory=threading.Lock)


_left_behind: list[_Idle] = []
"""Connections inherited through a fork that did not come through Python (uWSGI), or came while they were in use. SQLite
forbids to use them or even to close them, so they are kept."""


class SqliteDriver:
    """Performs requests for blocking callers: one connection per caller at a time, reused afterwards."""

    def __init__(self, store: Store, connect: Callable[[threading.Lock], Connection]) -> None:
        self._store = store
        self._open = connect
        self._idle = _Idle()
        attend(self)

    def run(self, request: Request[Reply]) -> Reply:
        with self.connection() as connection:
            try:
                return connection.perform(start(self._store, request))
            except DamagedText:
                # One damaged row must not keep all others from being claimed and shown.
                with connection.reading_damaged_text():
                    return connection.perform(start(self._store, request))

    @contextmanager
    def connection(self) -> Generator[Connection]:
        """A connection of one's own for a while."""
        with using():
            idle = self._of_this_process()
            connection = self._take(idle) or self._open(idle.turn)
            try:
                yield connection
            finally:
                if len(idle.connections) < IDLE_CONNECTIONS:
                    idle.connections.append(connection)
                else:
                    connection.close()

    @staticmethod
    def _take(idle: _Idle) -> Connection | None:
        """An idle connection. Those to a file that has gone or was replaced are closed."""
        while True:
            try:
                connection = idle.connections.pop()
            except IndexError:
                return None
            if connection.is_current():
                return connection
            connection.close()

    def watch(self, topics: tuple[str, ...]) -> SqliteWatch:
        return SqliteWatch(_Changes(self))

    def connect(self) -> Connection:
        """A new connection that the caller keeps and closes."""
        return self._open(self._of_this_process().turn)

    def let_go(self) -> None:
        """Close the idle connections."""
        idle = self._of_this_process()
        while idle.connections:
            idle.connections.pop().close()

    def close(self) -> None:
        self.let_go()
        self._idle = _Idle()

    def _of_this_process(self) -> _Idle:
        if self._idle.pid != os.getpid():
            _left_behind.append(self._idle)
            self._idle = _Idle()
        return self._idle


class _Changes:
    """Counts the changes of the store as far as they were noticed. Every commit of anybody is one: SQLite does not say
    what it was about."""

    def __init__(self, driver: SqliteDriver) -> None:
        self._driver = driver
        self._connection: Connection | None = None
        self._version: int | None = None
        self._count = 0
        attend(self)

    def count(self) -> int:
        """The number of changes noticed so far, the latest included."""
        with using():
            if self._connection is None:
                self._connection = self._driver.connect()
                self._version = self._connection.data_version()
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

    def __init__(self, changes: _Changes) -> None:
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


class SqliteAsyncDriver:
    """Performs requests for an event loop, on threads, so that no disk ever holds the loop up."""

    def __init__(self, store: Store, connect: Callable[[threading.Lock], Connection]) -> None:
        self._driver = SqliteDriver(store, connect)
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="mainspring-sqlite")
        self._poll = _Poll(_Changes(self._driver))

    async def run(self, request: Request[Reply]) -> Reply:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._driver.run, request)

    async def watch(self, topics: tuple[str, ...]) -> SqliteAsyncWatch:
        return SqliteAsyncWatch(self._poll)

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        """As `aclose`, for whoever comes when the loop is gone."""
        self._poll.close()
        self._threads.shutdown(wait=True)
        self._driver.close()


class _Poll:
    """One poll for all who wait on one loop. Nobody waiting, nothing polled.

    A chain of timers and not a task: waking a task up costs twice as much, and waking up is all that this does.
    """

    def __init__(self, changes: _Changes) -> None:
        self._changes = changes
        self._waiters: set[asyncio.Future[int]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._seen = 0
        self._changed_at = 0.0

    def count(self) -> int:
        """The number of changes noticed so far, the latest included."""
        return self._changes.count()

    async def wait(self, seen: int, seconds: float) -> int:
        """Wait until there are more changes than `seen`, or the time is over; the count then."""
        count = self._changes.count()
        if count != seen:
            return count
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[int] = loop.create_future()
        self._waiters.add(waiter)
        if self._timer is None:
            self._seen = seen
            self._look_later(loop)
        try:
            # Not `wait_for`: until Python 3.12 it swallows a cancellation that comes together with the change.
            async with asyncio.timeout(seconds):
                return await waiter
        except TimeoutError:
            return seen
        finally:
            self._waiters.discard(waiter)

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        quiet = time.monotonic() - self._changed_at > QUIET_SECONDS
        self._timer = loop.call_later(QUIET_POLL_SECONDS if quiet else POLL_SECONDS, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        count = self._changes.look()
        if count != self._seen:
            self._seen = count
            self._changed_at = time.monotonic()
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(count)
        if self._waiters:
            self._look_later(loop)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._changes.let_go()


class SqliteAsyncWatch:
    """Hints for an event loop."""

    def __init__(self, poll: _Poll) -> None:
        self._poll = poll
        self._seen = poll.count()

    async def wait(self, seconds: float) -> bool:
        before, self._seen = self._seen, await self._poll.wait(self._seen, seconds)
        return self._seen != before

    async def aclose(self) -> None:
        """Nothing is held."""
