"""Drivers: who performs requests on SQLite, for blocking callers and for an event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mainspring.store.base import Reply, Request, Store, start
from mainspring.store.sqlite.bell import Bell
from mainspring.store.sqlite.connection import Connection, DamagedText
from mainspring.store.sqlite.forks import attend, using
from mainspring.store.sqlite.hints import Changes, Poll, SqliteAsyncWatch, SqliteWatch

__all__ = ["SqliteAsyncDriver", "SqliteDriver"]

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
        return SqliteWatch(Changes(self.connect))

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


class SqliteAsyncDriver:
    """Performs requests for an event loop, on threads, so that no disk ever holds the loop up."""

    def __init__(self, store: Store, connect: Callable[[threading.Lock], Connection], path: Path | None) -> None:
        self._driver = SqliteDriver(store, connect)
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="mainspring-sqlite")
        bell = Bell(path)
        self._poll = Poll(Changes(self._driver.connect, bell.follow), bell)

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
