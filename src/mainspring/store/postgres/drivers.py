"""Drivers: who performs requests on PostgreSQL, for blocking callers and for an event loop."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import deque
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from mainspring.errors import StoreBusy, StoreUnavailable
from mainspring.store.base import ClaimRequest, ReapRequest, Reply, Request, Store, start
from mainspring.store.postgres.dialect import PostgresDialect
from mainspring.store.postgres.errors import again, translated
from mainspring.store.postgres.hints import ECHO_SECONDS, Speaker, concerns
from mainspring.store.postgres.location import OPERATION_SECONDS, Location
from mainspring.store.postgres.schema import check
from mainspring.store.postgres.script import SchemaCheck, Script, script
from mainspring.store.sql.statements import Row

__all__ = ["PostgresAsyncDriver", "PostgresDriver"]

IDLE_CONNECTIONS = 8
"""How many connections a driver keeps for the next callers."""

POLL_SECONDS = 0.2
"""How long a wait for hints lasts at most, where there are none."""


def _pause(attempt: int) -> float:
    return float(0.002 * 2 ** min(attempt, 6) * (0.5 + random.random()))


class PostgresDriver:
    """Performs requests for blocking callers: one connection per caller at a time, reused afterwards."""

    def __init__(self, store: Store, location: Location, dialect: PostgresDialect) -> None:
        self._store = store
        self._dialect = dialect
        self._location = location
        self._speaker = Speaker(location.schema)
        self._idle: deque[psycopg.Connection[Row]] = deque()
        self._pid = os.getpid()
        self._check: SchemaCheck | None = self._check_schema
        """Until the schema has been seen to be one that this program knows."""

    def run(self, request: Request[Reply]) -> Reply:
        deadline, attempt = time.monotonic() + OPERATION_SECONDS, 0
        hint = self._hint(request)
        while True:
            attempt += 1
            connection, used = self._take()
            try:
                return self._perform(connection, script(start(self._store, request), hint, self._check))
            except psycopg.Error as error:
                if again(error) and time.monotonic() < deadline:
                    time.sleep(_pause(attempt))
                elif not (used and connection.closed) or isinstance(request, ClaimRequest | ReapRequest):
                    # A connection that was kept may have died since. All requests can be sent twice but those that
                    # hand out jobs: the second reply would not name what the first, lost one did.
                    raise translated(error, self._location.url) from error
            finally:
                self._give_back(connection)

    def _perform(self, connection: psycopg.Connection[Row], commands: Script[Reply]) -> Reply:
        try:
            command = next(commands)
            while True:
                rows: list[Row] = []
                if text := self._dialect.text(command):
                    cursor = connection.execute(text, command.parameters or None)
                    rows = cursor.fetchall() if cursor.description else []
                command = commands.send(rows)
        except StopIteration as done:
            reply: Reply = done.value
            return reply
        finally:
            commands.close()

    def _check_schema(self, version: int) -> None:
        check(self._location.url, version)
        self._check = None

    def _hint(self, request: Request[Any]) -> Any:
        return self._speaker.hint(request) if self._location.listen else None

    def _take(self) -> tuple[psycopg.Connection[Row], bool]:
        """A connection, and whether it has been used before."""
        if self._pid != os.getpid():
            # The parent's: closing them here would end them there too.
            self._idle, self._pid = deque(), os.getpid()
        while self._idle:
            with suppress(IndexError):
                connection = self._idle.pop()
                if not connection.closed:
                    return connection, True
        return self.connect(), False

    def connect(self) -> psycopg.Connection[Row]:
        """A new connection that the caller keeps and closes."""
        try:
            connection = psycopg.connect(self._location.conninfo, autocommit=True)
        except psycopg.Error as error:
            raise translated(error, self._location.url) from error
        connection.prepare_threshold = 1 if self._location.listen else None
        return connection

    def _give_back(self, connection: psycopg.Connection[Row]) -> None:
        if connection.info.transaction_status not in (TransactionStatus.IDLE, TransactionStatus.UNKNOWN):
            with suppress(psycopg.Error):
                connection.rollback()
        if connection.info.transaction_status is TransactionStatus.IDLE and len(self._idle) < IDLE_CONNECTIONS:
            self._idle.append(connection)
        else:
            connection.close()

    def watch(self, topics: tuple[str, ...]) -> PostgresWatch:
        return PostgresWatch(self, self._location, topics)

    def close(self) -> None:
        if self._pid == os.getpid():
            while self._idle:
                self._idle.pop().close()


class PostgresWatch:
    """Hints for a blocking caller, on a connection of its own."""

    def __init__(self, driver: PostgresDriver, location: Location, topics: tuple[str, ...]) -> None:
        self._driver = driver
        self._location = location
        self._topics = topics
        self._connection: psycopg.Connection[Row] | None = None
        self._echo_at: float | None = None
        if location.listen:
            self._listen()

    def _listen(self) -> psycopg.Connection[Row]:
        connection = self._driver.connect()
        connection.execute(f'LISTEN "{self._location.schema}"')
        self._connection = connection
        # A hint that is held back because of one that went before we listened.
        self._echo_at = time.monotonic() + ECHO_SECONDS
        return connection

    def wait(self, seconds: float) -> bool:
        if not self._location.listen:
            time.sleep(min(seconds, POLL_SECONDS))
            return False
        deadline = time.monotonic() + seconds
        try:
            connection = self._connection or self._listen()
            while True:
                now = time.monotonic()
                if self._echo_at is not None and now >= self._echo_at:
                    self._echo_at = None
                    return True
                until = min(deadline, self._echo_at or deadline)
                if now >= until:
                    return False
                for notify in connection.notifies(timeout=until - now, stop_after=1):
                    if concerns(notify.payload, self._topics):
                        self._echo_at = time.monotonic() + ECHO_SECONDS
                        return True
        except (psycopg.Error, StoreUnavailable, StoreBusy):
            # Who waits for a hint asks the store next, and hears it then.
            self.close()
            time.sleep(max(0.0, min(POLL_SECONDS, deadline - time.monotonic())))
            return False

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class PostgresAsyncDriver:
    """Performs requests on an event loop."""

    def __init__(self, store: Store, location: Location, dialect: PostgresDialect) -> None:
        self._store = store
        self._dialect = dialect
        self._location = location
        self._speaker = Speaker(location.schema)
        self._idle: deque[psycopg.AsyncConnection[Row]] = deque()
        self._check: SchemaCheck | None = self._check_schema
        self._listener: _Listener | None = None

    async def run(self, request: Request[Reply]) -> Reply:
        deadline, attempt = time.monotonic() + OPERATION_SECONDS, 0
        hint = self._hint(request)
        while True:
            attempt += 1
            connection, used = await self._take()
            try:
                async with asyncio.timeout(2 * OPERATION_SECONDS):
                    return await self._perform(connection, script(start(self._store, request), hint, self._check))
            except TimeoutError:
                raise StoreUnavailable(f"{self._location.url} did not answer in {2 * OPERATION_SECONDS:g} s") from None
            except psycopg.Error as error:
                if again(error) and time.monotonic() < deadline:
                    await asyncio.sleep(_pause(attempt))
                elif not (used and connection.closed) or isinstance(request, ClaimRequest | ReapRequest):
                    # A connection that was kept may have died since. All requests can be sent twice but those that
                    # hand out jobs: the second reply would not name what the first, lost one did.
                    raise translated(error, self._location.url) from error
            finally:
                await self._give_back(connection)

    async def _perform(self, connection: psycopg.AsyncConnection[Row], commands: Script[Reply]) -> Reply:
        try:
            command = next(commands)
            while True:
                rows: list[Row] = []
                if text := self._dialect.text(command):
                    cursor = await connection.execute(text, command.parameters or None)
                    rows = await cursor.fetchall() if cursor.description else []
                command = commands.send(rows)
        except StopIteration as done:
            reply: Reply = done.value
            return reply
        finally:
            commands.close()

    def _check_schema(self, version: int) -> None:
        check(self._location.url, version)
        self._check = None

    def _hint(self, request: Request[Any]) -> Any:
        return self._speaker.hint(request) if self._location.listen else None

    async def _take(self) -> tuple[psycopg.AsyncConnection[Row], bool]:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection, True
        return await self.connect(), False

    async def connect(self) -> psycopg.AsyncConnection[Row]:
        """A new connection that the caller keeps and closes."""
        try:
            connection = await psycopg.AsyncConnection.connect(self._location.conninfo, autocommit=True)
        except psycopg.Error as error:
            raise translated(error, self._location.url) from error
        connection.prepare_threshold = 1 if self._location.listen else None
        return connection

    async def _give_back(self, connection: psycopg.AsyncConnection[Row]) -> None:
        # Whoever was cancelled half-way leaves a connection that is in the middle of something: not worth saving.
        if connection.info.transaction_status is TransactionStatus.INERROR:
            with suppress(psycopg.Error):
                await connection.rollback()
        if connection.info.transaction_status is TransactionStatus.IDLE and len(self._idle) < IDLE_CONNECTIONS:
            self._idle.append(connection)
        else:
            await connection.close()

    async def watch(self, topics: tuple[str, ...]) -> PostgresAsyncWatch:
        if not self._location.listen:
            return PostgresAsyncWatch(None, topics)
        if self._listener is None:
            self._listener = _Listener(self, self._location.schema)
            await self._listener.open()
        return PostgresAsyncWatch(self._listener, topics)

    async def aclose(self) -> None:
        if self._listener is not None:
            await self._listener.aclose()
            self._listener = None
        while self._idle:
            await self._idle.pop().close()


class _Listener:
    """One listening connection for all who wait on one loop; it reconnects by itself, and takes a hint for granted
    after that."""

    def __init__(self, driver: PostgresAsyncDriver, channel: str) -> None:
        self._driver = driver
        self._channel = channel
        self._task: asyncio.Task[None] | None = None
        self.watches: set[PostgresAsyncWatch] = set()

    async def open(self) -> None:
        """Listen from here on."""
        connection = await self._connect()
        self._task = asyncio.create_task(self._run(connection), name="mainspring listen")

    async def _connect(self) -> psycopg.AsyncConnection[Row]:
        connection = await self._driver.connect()
        await connection.execute(f'LISTEN "{self._channel}"')
        return connection

    async def _run(self, connection: psycopg.AsyncConnection[Row] | None) -> None:
        while True:
            try:
                if connection is None:
                    connection = await self._connect()
                    self._tell(None)
                async for notify in connection.notifies():
                    self._tell(notify.payload)
            except (psycopg.Error, StoreUnavailable, StoreBusy):
                await asyncio.sleep(POLL_SECONDS)
            finally:
                if connection is not None:
                    await connection.close()
                    connection = None

    def _tell(self, payload: str | None) -> None:
        for watch in self.watches:
            if payload is None or concerns(payload, watch.topics):
                watch.hear()

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task


class PostgresAsyncWatch:
    """Hints for an event loop."""

    def __init__(self, listener: _Listener | None, topics: tuple[str, ...]) -> None:
        self.topics = topics
        self._listener = listener
        self._heard = asyncio.Event()
        self._echo: asyncio.TimerHandle | None = None
        if listener is not None:
            listener.watches.add(self)
            # A hint that is held back because of one that went before we listened.
            self._expect_another()

    def hear(self) -> None:
        """There is a hint, and there will be another."""
        self._heard.set()
        self._expect_another()

    def _expect_another(self) -> None:
        if self._echo is None:
            self._echo = asyncio.get_running_loop().call_later(ECHO_SECONDS, self._hear_again)

    def _hear_again(self) -> None:
        self._echo = None
        self._heard.set()

    async def wait(self, seconds: float) -> bool:
        if self._listener is None:
            await asyncio.sleep(min(seconds, POLL_SECONDS))
            return False
        try:
            # Not `wait_for`: until Python 3.12 it swallows a cancellation that comes together with the hint.
            async with asyncio.timeout(seconds):
                await self._heard.wait()
        except TimeoutError:
            return False
        self._heard.clear()
        return True

    async def aclose(self) -> None:
        if self._listener is not None:
            self._listener.watches.discard(self)
        if self._echo is not None:
            self._echo.cancel()
