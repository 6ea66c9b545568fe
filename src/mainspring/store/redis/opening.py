"""From a route to a connection that leads to the right server."""

from __future__ import annotations

import time

from redis import exceptions as theirs

from mainspring.errors import StoreError
from mainspring.store.redis.connections import AsyncConnection, Connection
from mainspring.store.redis.route import Route, Search

__all__ = ["aopened", "opened"]


def opened(route: Route, deadline: float, search: Search | None = None) -> Connection:
    """A new connection. Raises `redis.RedisError`, `StoreError`."""
    search = search or route.search()
    attempt = next(search)
    while True:
        until = min(deadline, time.monotonic() + attempt.seconds)
        connection = Connection(route.location, attempt.address, attempt.options)
        try:
            connection.open(until)
            answer = connection.perform(attempt.exchange, until)
        except (theirs.RedisError, StoreError) as error:
            connection.close()
            attempt = search.throw(error)
            continue
        except BaseException:
            connection.close()
            raise
        try:
            attempt = search.send(answer)
        except StopIteration as found:
            connection.greeting = found.value
            return connection
        except BaseException:
            connection.close()
            raise
        connection.close()


async def aopened(route: Route, deadline: float) -> AsyncConnection:
    """The same for the running loop."""
    search = route.search()
    attempt = next(search)
    while True:
        until = min(deadline, time.monotonic() + attempt.seconds)
        connection = AsyncConnection(route.location, attempt.address, attempt.options)
        try:
            await connection.open(until)
            answer = await connection.perform(attempt.exchange, until)
        except (theirs.RedisError, StoreError) as error:
            await connection.close()
            attempt = search.throw(error)
            continue
        except BaseException:
            await connection.close()
            raise
        try:
            attempt = search.send(answer)
        except StopIteration as found:
            connection.greeting = found.value
            return connection
        except BaseException:
            await connection.close()
            raise
        await connection.close()
