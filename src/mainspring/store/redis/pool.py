"""Pools: how many connections a driver has at most, who waits for one, and what if there is none to be had."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import deque
from contextlib import suppress

from redis import exceptions as theirs

from mainspring.errors import StoreBusy
from mainspring.store.redis.connections import AsyncConnection, Connection
from mainspring.store.redis.errors import NotPrimary, lost, undone, unreached
from mainspring.store.redis.opening import aopened, opened
from mainspring.store.redis.route import Route

__all__ = ["AsyncPool", "Pool", "pause"]


def pause(attempt: int) -> float:
    """Seconds until the next try, with jitter."""
    return float(0.002 * 2 ** min(attempt, 6) * (0.5 + random.random()))


class _Shelf:
    """What the two kinds have in common: where they connect to, and when that is tried again."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._location = route.location

    def _worth_trying(self, error: Exception, at: float, deadline: float) -> bool:
        """Whether to try again then: an address at which nobody has ever answered is not waited for."""
        if at >= deadline:
            return False
        gone = isinstance(error, NotPrimary | theirs.TimeoutError) or lost(error)
        return undone(error) or (gone and self._route.reached)

    def _unreached(self, error: Exception, said: Exception) -> Exception:
        """What to raise for the last of several tries; `said` is what was said at the last one that had its time. The
        deadline may have cut short the last one itself, and that says nothing of the server."""
        problem = said if isinstance(error, theirs.TimeoutError) else error
        return problem if isinstance(problem, NotPrimary) else unreached(problem, self._location.url)

    def _busy(self, limit: int) -> StoreBusy:
        return StoreBusy(
            f"{self._location.url}: all {limit} connections of this program were in use until the deadline; nothing "
            "was changed, try again, or let it have more (?pool=N)"
        )


class Pool(_Shelf):
    """Connections for blocking callers: opened as they are needed, kept for whoever comes next."""

    def __init__(self, route: Route) -> None:
        super().__init__(route)
        self._places = threading.Semaphore(route.location.pool)
        self._idle: deque[Connection] = deque()

    def take(self, deadline: float) -> Connection:
        """A connection that is the caller's until he gives it back. Raises `StoreBusy`, `StoreUnavailable` and what
        else may come of connecting."""
        if not self._places.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise self._busy(self._location.pool)
        try:
            return self._kept() or self._opened(deadline)
        except BaseException:
            self._places.release()
            raise

    def _kept(self) -> Connection | None:
        while self._idle:
            with suppress(IndexError):
                connection = self._idle.pop()
                if connection.usable:
                    return connection
                connection.close()
        return None

    def _opened(self, deadline: float) -> Connection:
        attempt, said = 0, None
        while True:
            try:
                connection = opened(self._route, deadline)
            except (theirs.RedisError, NotPrimary) as error:
                attempt += 1
                seconds = pause(attempt)
                if not self._worth_trying(error, time.monotonic() + seconds, deadline):
                    problem = self._unreached(error, said or error)
                    raise problem from (None if problem is error else error)
                said = error
                time.sleep(seconds)
                # Where the server takes no more, another caller of ours may have finished meanwhile.
                if kept := self._kept():
                    return kept
            else:
                self._route.reached = True
                return connection

    def give_back(self, connection: Connection) -> None:
        """For the next caller, if it is worth keeping."""
        try:
            if connection.keeps:
                self._idle.append(connection)
                return
            connection.close()
            if connection.forsaken:
                self.close()
        finally:
            self._places.release()

    def close(self) -> None:
        """Close what is not in use."""
        while self._idle:
            with suppress(IndexError):
                self._idle.pop().close()


class AsyncPool(_Shelf):
    """Connections for the callers of one event loop. Where the server takes no more, `lender` may have one to spare."""

    def __init__(self, route: Route, limit: int, lender: AsyncPool | None = None) -> None:
        super().__init__(route)
        self._limit = limit
        self._places = asyncio.Semaphore(limit)
        self._lender = lender
        self._idle: deque[AsyncConnection] = deque()

    @property
    def free(self) -> bool:
        """Whether the next caller need not wait for another one."""
        return not self._places.locked()

    async def take(self, deadline: float) -> AsyncConnection:
        """A connection that is the caller's until he gives it back. Raises `StoreBusy`, `StoreUnavailable` and what
        else may come of connecting."""
        if self._places.locked():
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    await self._places.acquire()
            except TimeoutError:
                raise self._busy(self._limit) from None
        else:
            await self._places.acquire()
        try:
            return await self._kept() or await self._opened(deadline)
        except BaseException:
            self._places.release()
            raise

    async def _kept(self) -> AsyncConnection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            await connection.close()
        return None

    async def _opened(self, deadline: float) -> AsyncConnection:
        attempt, said = 0, None
        while True:
            try:
                connection = await aopened(self._route, deadline)
            except (theirs.RedisError, NotPrimary) as error:
                if self._lender and (lent := await self._lender._kept()):
                    return lent
                attempt += 1
                seconds = pause(attempt)
                if not self._worth_trying(error, time.monotonic() + seconds, deadline):
                    problem = self._unreached(error, said or error)
                    raise problem from (None if problem is error else error)
                said = error
                await asyncio.sleep(seconds)
                # Where the server takes no more, another caller of ours may have finished meanwhile.
                if kept := await self._kept():
                    return kept
            else:
                self._route.reached = True
                return connection

    async def give_back(self, connection: AsyncConnection) -> None:
        """For the next caller, if it is worth keeping."""
        try:
            if connection.keeps:
                self._idle.append(connection)
                return
            await connection.close()
            if connection.forsaken:
                await self.aclose()
        finally:
            self._places.release()

    async def aclose(self) -> None:
        """Close what is not in use."""
        while self._idle:
            await self._idle.pop().close()
