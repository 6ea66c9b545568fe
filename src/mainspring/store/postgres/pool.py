"""Pools: how many connections a driver has at most, who waits for one, and what if there is none to be had."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue

import psycopg
from psycopg.pq import TransactionStatus

from mainspring.errors import StoreBusy
from mainspring.store.postgres.connections import AsyncConnection, Connection, aconnect, connect, hung_up
from mainspring.store.postgres.errors import translated, turned_away
from mainspring.store.postgres.location import Location

__all__ = ["AsyncPool", "Pool", "pause"]

ROLLBACK_SECONDS = 1.0
"""How long it may take to save a connection whose operation came to nothing."""
MOMENT_SECONDS = 0.1
"""How long after a connection was taken it need not be looked at before it is taken again."""

_IDLE = int(TransactionStatus.IDLE)
_OPEN = (TransactionStatus.INTRANS, TransactionStatus.INERROR)


def pause(attempt: int) -> float:
    """Seconds until the next try, with jitter."""
    return float(0.002 * 2 ** min(attempt, 6) * (0.5 + random.random()))


class _Shelf:
    """What the two kinds have in common: where they connect to, and whether that has ever worked."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._reached = False

    def _worth_trying(self, error: psycopg.Error, at: float, deadline: float) -> bool:
        """Whether to try again then: an address at which nobody has ever answered is not waited for."""
        return at < deadline and (self._reached or turned_away(error))

    def _busy(self, limit: int) -> StoreBusy:
        return StoreBusy(
            f"{self._location.url}: all {limit} connections of this program were in use until the deadline; nothing "
            "was changed, try again, or let it have more (?pool=N)"
        )


class Pool(_Shelf):
    """Connections for blocking callers: opened as they are needed, kept for whoever comes next."""

    def __init__(self, location: Location) -> None:
        super().__init__(location)
        # Nothing but places, as many as are free: no lock of Python's own is taken and left as fast.
        self._places = SimpleQueue[None]()
        for _ in range(location.pool):
            self._places.put(None)
        self._idle: deque[Connection] = deque()

    def take(self, deadline: float) -> Connection:
        """A connection that is the caller's until he gives it back. Raises `StoreBusy`, `StoreUnavailable` and what
        else may come of connecting."""
        now = time.monotonic()
        try:
            self._places.get(timeout=max(0.0, deadline - now))
        except Empty:
            raise self._busy(self._location.pool) from None
        try:
            return self._kept(now) or self._opened(deadline)
        except BaseException:
            self._places.put(None)
            raise

    def _kept(self, now: float) -> Connection | None:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            # One that was in use just now is hardly dead, and what it is wanted for would find out.
            if now - connection.taken_at < MOMENT_SECONDS or not hung_up(connection):
                connection.taken_at = now
                return connection
            connection.close()

    def _opened(self, deadline: float) -> Connection:
        attempt = 0
        while True:
            try:
                connection = connect(self._location, deadline)
            except psycopg.Error as error:
                attempt += 1
                seconds = pause(attempt)
                if not self._worth_trying(error, time.monotonic() + seconds, deadline):
                    raise translated(error, self._location.url) from error
                time.sleep(seconds)
                # Where the server takes no more, another caller of ours may have finished meanwhile.
                if kept := self._kept(time.monotonic()):
                    return kept
            else:
                self._reached = True
                return connection

    def give_back(self, connection: Connection) -> None:
        """For the next caller, if it is worth keeping."""
        worth_keeping = False
        try:
            worth_keeping = connection.pgconn.transaction_status == _IDLE or self._is_saved(connection)
        finally:
            if worth_keeping:
                self._idle.append(connection)
            else:
                connection.close()
                # What cost this one its life has most likely cost the others theirs.
                self.close()
            self._places.put(None)

    def _is_saved(self, connection: Connection) -> bool:
        """Whether one whose operation came to nothing can still be used."""
        if connection.pgconn.transaction_status in _OPEN:
            connection.deadline = time.monotonic() + ROLLBACK_SECONDS
            with suppress(psycopg.Error):
                connection.rollback()
        return connection.pgconn.transaction_status == _IDLE

    def close(self) -> None:
        """Close what is not in use."""
        while self._idle:
            with suppress(IndexError):
                self._idle.pop().close()


class AsyncPool(_Shelf):
    """Connections for the callers of one event loop. Where the server takes no more, `lender` may have one to spare."""

    def __init__(self, location: Location, limit: int, lender: AsyncPool | None = None) -> None:
        super().__init__(location)
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
            if not hung_up(connection):
                return connection
            await connection.close()
        return None

    async def _opened(self, deadline: float) -> AsyncConnection:
        attempt = 0
        while True:
            try:
                connection = await aconnect(self._location, deadline)
            except psycopg.Error as error:
                if self._lender and (lent := await self._lender._kept()):
                    return lent
                attempt += 1
                seconds = pause(attempt)
                if not self._worth_trying(error, time.monotonic() + seconds, deadline):
                    raise translated(error, self._location.url) from error
                await asyncio.sleep(seconds)
                # Where the server takes no more, another caller of ours may have finished meanwhile.
                if kept := await self._kept():
                    return kept
            else:
                self._reached = True
                return connection

    async def give_back(self, connection: AsyncConnection) -> None:
        """For the next caller, if it is worth keeping."""
        worth_keeping = False
        try:
            connection.deadline = time.monotonic() + ROLLBACK_SECONDS
            if connection.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
                with suppress(psycopg.Error):
                    await connection.rollback()
            worth_keeping = connection.info.transaction_status is TransactionStatus.IDLE
        finally:
            if worth_keeping:
                self._idle.append(connection)
            else:
                await connection.close()
                # What cost this one its life has most likely cost the others theirs.
                await self.aclose()
            self._places.release()

    async def aclose(self) -> None:
        """Close what is not in use."""
        while self._idle:
            await self._idle.pop().close()
