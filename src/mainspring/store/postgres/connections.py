"""Connections that never wait past a deadline, whatever the server or the network does.

libpq waits for a server that has taken a connection for as long as that server pleases, and keepalives are answered by
its kernel, not by it. So the time is looked at here, whenever psycopg looks up from the socket, several times a second.
"""

from __future__ import annotations

import math
import select
import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg

from mainspring.store.postgres.location import Location
from mainspring.store.sql.statements import Row

__all__ = ["AsyncConnection", "Connection", "Overdue", "aconnect", "connect", "gives_rows", "hung_up"]

T = TypeVar("T")


class Overdue(psycopg.OperationalError):
    """The server has not answered by the deadline. Nobody knows what became of the command; the connection is spent."""


class Connection(psycopg.Connection[Row]):
    """A blocking connection."""

    deadline = math.inf
    """Until when a command may take, on `time.monotonic`."""
    used = False
    """Whether it has been kept since an earlier request, so that it may have died unnoticed."""

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **kwargs: Any) -> T:
        """As psycopg's, but not for longer than until the deadline."""
        return super().wait(_punctual(gen, self.deadline), *args, **kwargs)


class AsyncConnection(psycopg.AsyncConnection[Row]):
    """The same for an event loop."""

    deadline = math.inf
    used = False

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
    if connection.closed:
        return True
    socket = select.poll()
    socket.register(connection.pgconn.socket, select.POLLIN)
    return bool(socket.poll(0))


def gives_rows(cursor: psycopg.Cursor[Row] | psycopg.AsyncCursor[Row]) -> bool:
    """Whether what was executed has rows to give; `cursor.description` would make an object for each column first."""
    result = cursor.pgresult
    return result is not None and result.nfields > 0
