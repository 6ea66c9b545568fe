"""Connections that never wait past a deadline, whatever the server or the network does.

libpq waits for a server that has taken a connection for as long as that server pleases, and keepalives are answered by
its kernel, not by it. So the time is looked at here, whenever psycopg looks up from the socket, several times a second.
"""

from __future__ import annotations

import math
import select
import time
from collections.abc import Callable, Generator, Sequence
from functools import cached_property
from typing import Any, TypeVar

import psycopg
from psycopg.pq.abc import PGconn

from mainspring.store.postgres.location import Location
from mainspring.store.sql.statements import Row

__all__ = ["AsyncConnection", "Connection", "Overdue", "aconnect", "connect", "gives_rows", "hung_up"]

T = TypeVar("T")


class Overdue(psycopg.OperationalError):
    """The server has not answered by the deadline. Nobody knows what became of the command; the connection is spent."""


class _Socket:
    """Who looks at a connection's socket."""

    pgconn: PGconn

    @cached_property
    def readable(self) -> Callable[[float], Sequence[object]]:
        """Waits so many milliseconds for something to read; gives nothing when none came."""
        poll = select.poll()
        poll.register(self.pgconn.socket, select.POLLIN)
        return poll.poll


class Connection(_Socket, psycopg.Connection[Row]):
    """A blocking connection."""

    deadline = math.inf
    """Until when a command may take, on `time.monotonic`."""
    taken_at = -math.inf
    """When it was last taken out of its pool, on the same clock."""

    @cached_property
    def prepared(self) -> dict[str, bytes]:
        """The names of statements that were prepared here without psycopg's knowledge, by their text."""
        return {}

    def rollback(self) -> None:
        """As psycopg's, after which nothing is prepared any more."""
        super().rollback()
        self.prepared.clear()

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **kwargs: Any) -> T:
        """As psycopg's, but not for longer than until the deadline."""
        return super().wait(_punctual(gen, self.deadline), *args, **kwargs)


class AsyncConnection(_Socket, psycopg.AsyncConnection[Row]):
    """The same for an event loop."""

    deadline = math.inf

    async def wait(self, gen: Generator[Any, Any, T], *args: Any, **kwargs: Any) -> T:
        """As psycopg's, but not for longer than until the deadline."""
        return await super().wait(_punctual(gen, self.deadline), *args, **kwargs)


def _punctual(waiting: Generator[Any, Any, T], deadline: float) -> Generator[Any, Any, T]:
    """The same, ended by `Overdue` once the time is over."""
    try:
        state = next(waiting)
        while True:
            ready = yield state
            if time.monotonic() >= deadline:
                raise Overdue("it did not answer in time")
            state = waiting.send(ready)
    except StopIteration as end:
        value: T = end.value
        return value


def connect(location: Location, deadline: float) -> Connection:
    """A new connection. Raises `psycopg.Error`."""
    return Connection.connect(
        location.conninfo,
        autocommit=True,
        prepare_threshold=_prepare_threshold(location),
        connect_timeout=_seconds(location, deadline),
    )


async def aconnect(location: Location, deadline: float) -> AsyncConnection:
    """A new connection for the running loop. Raises `psycopg.Error`."""
    return await AsyncConnection.connect(
        location.conninfo,
        autocommit=True,
        prepare_threshold=_prepare_threshold(location),
        connect_timeout=_seconds(location, deadline),
    )


def _prepare_threshold(location: Location) -> int | None:
    # A pooler may run the next transaction where nobody has prepared anything.
    return 1 if location.listen else None


def _seconds(location: Location, deadline: float) -> int:
    left = min(float(location.connect_seconds), deadline - time.monotonic())
    return max(1, math.ceil(left))


def hung_up(connection: Connection | AsyncConnection) -> bool:
    """Whether the server has ended it: one that waits for the next command has nothing else to hear."""
    return connection.closed or bool(connection.readable(0))


def gives_rows(cursor: psycopg.Cursor[Row] | psycopg.AsyncCursor[Row]) -> bool:
    """Whether what was executed has rows to give; `cursor.description` would make an object for each column first."""
    result = cursor.pgresult
    return result is not None and result.nfields > 0
