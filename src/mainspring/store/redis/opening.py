"""From a location to a connection that leads to the right server."""

from __future__ import annotations

import time

from mainspring.store.redis.connections import AsyncConnection, Connection
from mainspring.store.redis.greeting import greeted
from mainspring.store.redis.location import Location

__all__ = ["aopen_connection", "open_connection"]


def open_connection(location: Location, deadline: float) -> Connection:
    """A new connection. Raises `redis.RedisError`, `StoreError`."""
    deadline = _until(location, deadline)
    connection = Connection(location, location.addresses[0], dict(location.options))
    try:
        connection.open(deadline)
        connection.greeting = connection.perform(greeted(location), deadline)
    except BaseException:
        connection.close()
        raise
    return connection


async def aopen_connection(location: Location, deadline: float) -> AsyncConnection:
    """The same for the running loop."""
    deadline = _until(location, deadline)
    connection = AsyncConnection(location, location.addresses[0], dict(location.options))
    try:
        await connection.open(deadline)
        connection.greeting = await connection.perform(greeted(location), deadline)
    except BaseException:
        await connection.close()
        raise
    return connection


def _until(location: Location, deadline: float) -> float:
    return min(deadline, time.monotonic() + location.connect_seconds)
