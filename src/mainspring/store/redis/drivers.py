"""Drivers: who performs requests on Redis, for blocking callers and for an event loop."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from redis import exceptions as theirs

from mainspring.store.base import BeatRequest, ClaimRequest, ReapRequest, Reply, Request, SettleRequest, Store, start
from mainspring.store.redis.connections import AsyncConnection, Connection
from mainspring.store.redis.errors import elsewhere, lost, translated, undone
from mainspring.store.redis.exchanges import confirms, mark_of, performing
from mainspring.store.redis.greeting import Exchange, Greeting
from mainspring.store.redis.hints import channel
from mainspring.store.redis.listening import AsyncListener, Listener, RedisAsyncWatch, RedisWatch
from mainspring.store.redis.location import GRACE_SECONDS, OPERATION_SECONDS, Address, Location
from mainspring.store.redis.memory import Memory
from mainspring.store.redis.pool import AsyncPool, Pool, pause
from mainspring.store.redis.route import Route

__all__ = ["RedisAsyncDriver", "RedisDriver"]


class RedisDriver:
    """Performs requests for blocking callers: one connection per caller at a time, reused afterwards."""

    def __init__(self, store: Store, route: Route, patience: float | None = None) -> None:
        self._store = store
        self._route = route
        self._location = route.location
        self._seconds, self._grace = OPERATION_SECONDS, GRACE_SECONDS
        if patience is not None and patience < OPERATION_SECONDS + GRACE_SECONDS:
            self._seconds, self._grace = patience, 0.0
        self._memory = Memory(self._location.url)
        self._sides: dict[int, _Side] = {}

    @property
    def _side(self) -> _Side:
        # A child that was forked lets its parent's connections be: closing them would end them in the parent too.
        pid = os.getpid()
        return self._sides.get(pid) or self._sides.setdefault(pid, _Side(self._route))

    def run(self, request: Request[Reply]) -> Reply:
        deadline, attempt, mark = time.monotonic() + self._seconds, 0, mark_of(request)
        pool = self._side.pool
        while True:
            attempt += 1
            connection = pool.take(deadline)
            try:
                self._memory.check(request, connection.greeting)
                exchange = _exchange(self._store, self._location, request, mark, connection.greeting, deadline)
                return connection.perform(exchange, deadline + self._grace)
            except theirs.RedisError as error:
                seconds = pause(attempt)
                repeated = _worth_repeating(request, error, connection, self._route)
                if not repeated or time.monotonic() + seconds >= deadline:
                    raise translated(error, self._location.url) from error
            finally:
                pool.give_back(connection)
            time.sleep(seconds)

    def watch(self, topics: tuple[str, ...]) -> RedisWatch:
        return RedisWatch(self._side.listener, _channels(self._location, topics))

    def close(self) -> None:
        self._side.pool.close()
        self._side.listener.disconnect()


class _Side:
    """What one process has of a blocking driver."""

    def __init__(self, route: Route) -> None:
        self.pool = Pool(route)
        self.listener = Listener(route)


def _channels(location: Location, topics: tuple[str, ...]) -> frozenset[str]:
    return frozenset(channel(location.tag, topic) for topic in topics)


def _exchange(
    store: Store, location: Location, request: Request[Reply], mark: str | None, server: Greeting, deadline: float
) -> Exchange[Reply]:
    confirmed_by = deadline if confirms(request, location, server) else None
    return performing(start(store, request), location.tag, mark, confirmed_by)


def _worth_repeating(
    request: Request[Any], error: theirs.RedisError, connection: Connection | AsyncConnection, route: Route
) -> bool:
    """Whether the same again may succeed: the server has done nothing, or the connection was lost.

    After that nobody knows whether it was done. All requests can be sent twice but those that hand out jobs: the second
    reply would not name what the first, lost one did.
    """
    if elsewhere(error):
        connection.forsaken = True
    if isinstance(error, theirs.MovedError):
        route.moved(Address(error.host or connection.address.host, error.port))
    return undone(error) or (lost(error) and not isinstance(request, ClaimRequest | ReapRequest))


class RedisAsyncDriver:
    """Performs requests on an event loop."""

    def __init__(self, store: Store, route: Route) -> None:
        self._store = store
        self._route = route
        self._location = route.location
        self._pool = AsyncPool(route, self._location.pool)
        self._reserved = AsyncPool(route, 1, lender=self._pool)
        """For what keeps a worker's jobs its own and brings them to their end, whatever else goes on here: it is opened
        when the worker joins, and stays open."""
        self._memory = Memory(self._location.url)
        self._listener: AsyncListener | None = None

    async def run(self, request: Request[Reply]) -> Reply:
        deadline, attempt, mark = time.monotonic() + OPERATION_SECONDS, 0, mark_of(request)
        reserved = isinstance(request, BeatRequest | SettleRequest) and self._reserved.free
        pool = self._reserved if reserved else self._pool
        while True:
            attempt += 1
            connection = await pool.take(deadline)
            try:
                self._memory.check(request, connection.greeting)
                exchange = _exchange(self._store, self._location, request, mark, connection.greeting, deadline)
                return await connection.perform(exchange, deadline + GRACE_SECONDS)
            except theirs.RedisError as error:
                seconds = pause(attempt)
                repeated = _worth_repeating(request, error, connection, self._route)
                if not repeated or time.monotonic() + seconds >= deadline:
                    raise translated(error, self._location.url) from error
            finally:
                await pool.give_back(connection)
            await asyncio.sleep(seconds)

    async def watch(self, topics: tuple[str, ...]) -> RedisAsyncWatch:
        if self._listener is None:
            self._listener = AsyncListener(self._route)
        watch = RedisAsyncWatch(self._listener, self._location, topics)
        await self._listener.open(watch)
        return watch

    async def aclose(self) -> None:
        if self._listener is not None:
            await self._listener.aclose()
            self._listener = None
        await self._reserved.aclose()
        await self._pool.aclose()
