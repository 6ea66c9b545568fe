"""Drivers: who performs requests on PostgreSQL, for blocking callers and for an event loop."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from typing import Any, cast

import psycopg
from psycopg.errors import UniqueViolation

from mainspring.store.base import (
    BeatRequest,
    ClaimRequest,
    InsertRequest,
    ReapRequest,
    Reply,
    Request,
    SettleRequest,
    Store,
    start,
    timed,
)
from mainspring.store.postgres import direct, plain
from mainspring.store.postgres.connections import AsyncConnection, Connection, Overdue, gives_rows
from mainspring.store.postgres.dialect import PostgresDialect
from mainspring.store.postgres.errors import again, outdated, translated
from mainspring.store.postgres.hints import Speaker
from mainspring.store.postgres.listening import AsyncListener, Listener, PostgresAsyncWatch, PostgresWatch
from mainspring.store.postgres.location import GRACE_SECONDS, OPERATION_SECONDS, Location
from mainspring.store.postgres.pool import AsyncPool, Pool, pause
from mainspring.store.postgres.schema import check
from mainspring.store.postgres.script import Course, SchemaCheck, Single, Whole, script
from mainspring.store.postgres.trips import Trips
from mainspring.store.sql.statements import Query, Row, Statement

__all__ = ["PostgresAsyncDriver", "PostgresDriver"]


class PostgresDriver:
    """Performs requests for blocking callers: one connection per caller at a time, reused afterwards."""

    def __init__(
        self, store: Store, location: Location, dialect: PostgresDialect, patience: float | None = None
    ) -> None:
        self._store = store
        self._dialect = dialect
        self._location = location
        self._seconds, self._grace = OPERATION_SECONDS, GRACE_SECONDS
        if patience is not None and patience < OPERATION_SECONDS + GRACE_SECONDS:
            self._seconds, self._grace = patience, 0.0
        self._speaker = Speaker(location.schema)
        self._sides: dict[int, _Side] = {}
        self._single = dialect.text(Statement(plain.SINGLE))
        self._direct = False
        """Whether what can go straight through libpq does: not before the schema is known, nor by way of a pooler."""
        self._check: SchemaCheck | None = self._check_schema
        """Until the schema has been seen to be one that this program knows."""

    @property
    def _side(self) -> _Side:
        # A child that was forked lets its parent's connections be: closing them would end them in the parent too.
        pid = os.getpid()
        return self._sides.get(pid) or self._sides.setdefault(pid, _Side(self._location))

    def run(self, request: Request[Reply]) -> Reply:
        deadline, attempt = time.monotonic() + self._seconds, 0
        hint, pool = self._speaker.hint(request), self._side.pool
        while True:
            attempt += 1
            connection = pool.take(deadline)
            connection.deadline = deadline + self._grace
            try:
                return self._perform(connection, request, hint)
            except psycopg.Error as error:
                _let_go_of_outdated(connection, error)
                if not _worth_repeating(request, error, connection) or time.monotonic() >= deadline:
                    raise translated(error, self._location.url) from error
            finally:
                pool.give_back(connection)
            request = _repeated(request)
            time.sleep(pause(attempt))

    def _perform(self, connection: Connection, request: Request[Reply], hint: Statement | None) -> Reply:
        first = None
        given = plain.single(timed(request)) if self._direct else None
        if given is not None:
            if hint is not None:
                given.update(hint.parameters)
            # Most often this is all, and then the operation that begins with it need not be begun.
            if direct.perform(connection, self._single, given):
                return plain.stored(request)  # type: ignore[arg-type, return-value]
        operation = start(self._store, request)
        if given is not None:
            next(operation)
            first = operation.send([])
        course = Course(script(operation, hint, self._check, sessions=self._location.listen, first=first))
        while command := course.command:
            rows: list[Row] = []
            if text := self._dialect.text(command):
                cursor = connection.execute(text, command.parameters or None)
                rows = cursor.fetchall() if gives_rows(cursor) else _changed(command, cursor)
            course.take(rows)
        return course.reply

    def _check_schema(self, version: int) -> None:
        check(self._location.url, version)
        self._check = None
        self._direct = self._location.listen

    def watch(self, topics: tuple[str, ...]) -> PostgresWatch:
        return PostgresWatch(self._side.listener if self._location.listen else None, topics)

    def close(self) -> None:
        self._side.pool.close()
        self._side.listener.disconnect()


class _Side:
    """What one process has of a blocking driver."""

    def __init__(self, location: Location) -> None:
        self.pool = Pool(location)
        self.listener = Listener(location)


def _let_go_of_outdated(connection: Connection | AsyncConnection, error: psycopg.Error) -> None:
    """Close it, if it would fail at the same again."""
    if outdated(error):
        connection.pgconn.finish()


def _worth_repeating(request: Request[Any], error: psycopg.Error, connection: Connection | AsyncConnection) -> bool:
    """Whether the same again may succeed: the server took it back for another one's sake, or the connection was lost.

    After that nobody knows whether it was done. All requests can be sent twice but those that hand out jobs: the second
    reply would not name what the first, lost one did.
    """
    lost = connection.closed and not isinstance(error, Overdue)
    return (
        again(error)
        or (lost and not isinstance(request, ClaimRequest | ReapRequest))
        or (isinstance(error, UniqueViolation) and _repeated(request) is not request)
    )


def _repeated(request: Request[Reply]) -> Request[Reply]:
    """The request as it is sent again: its jobs may be there by now."""
    if isinstance(request, InsertRequest) and request.fresh:
        return cast("Request[Reply]", replace(request, fresh=False))
    return request


def _changed(command: Statement | Query, cursor: psycopg.Cursor[Row] | psycopg.AsyncCursor[Row]) -> list[Row]:
    """What stands for the rows of a command that gives none."""
    return [()] * cursor.rowcount if isinstance(command, Single) else []


class PostgresAsyncDriver:
    """Performs requests on an event loop."""

    def __init__(self, store: Store, location: Location, dialect: PostgresDialect) -> None:
        self._store = store
        self._dialect = dialect
        self._location = location
        self._speaker = Speaker(location.schema)
        self._pool = AsyncPool(location, location.pool)
        self._reserved = AsyncPool(location, 1, lender=self._pool)
        """For what keeps a worker's jobs its own and brings them to their end, whatever else goes on here: it is opened
        when the worker joins, and stays open."""
        self._check: SchemaCheck | None = self._check_schema
        self._trips = Trips(self._execute)
        self._listener: AsyncListener | None = None

    async def run(self, request: Request[Reply]) -> Reply:
        deadline, attempt = time.monotonic() + OPERATION_SECONDS, 0
        hint = self._speaker.hint(request)
        course = self._course(request, hint)
        if isinstance(request, ClaimRequest | SettleRequest):
            await self._share(request, course)
            if course.command is None:
                return course.reply
        reserved = isinstance(request, BeatRequest | SettleRequest) and self._reserved.free
        pool = self._reserved if reserved else self._pool
        while True:
            attempt += 1
            connection = await pool.take(deadline)
            connection.deadline = deadline + GRACE_SECONDS
            try:
                return await self._perform(connection, course)
            except psycopg.Error as error:
                _let_go_of_outdated(connection, error)
                if not _worth_repeating(request, error, connection) or time.monotonic() >= deadline:
                    raise translated(error, self._location.url) from error
            finally:
                await pool.give_back(connection)
            request = _repeated(request)
            await asyncio.sleep(pause(attempt))
            course = self._course(request, hint)

    async def _share(self, request: ClaimRequest | SettleRequest, course: Course[Any]) -> None:
        """Take the first step of its course together with another request, if that is a step to share."""
        if not isinstance(course.command, Whole):
            return
        try:
            rows = await self._trips.go(course.command)
        except psycopg.Error as error:
            if isinstance(request, ClaimRequest):
                raise translated(error, self._location.url) from error
        else:
            if rows is not None:
                course.take(rows)

    async def _execute(self, step: Whole) -> list[Row] | None:
        """Its rows. None: the server has refused it, and nothing was done. Raises where nobody knows that."""
        deadline = time.monotonic() + OPERATION_SECONDS
        pool = self._reserved if "settle" in step.name and self._reserved.free else self._pool
        connection = await pool.take(deadline)
        connection.deadline = deadline + GRACE_SECONDS
        try:
            cursor = await connection.execute(self._dialect.text(step), step.parameters)
            return await cursor.fetchall()
        except psycopg.Error as error:
            if connection.closed or isinstance(error, Overdue):
                raise
            _let_go_of_outdated(connection, error)
            return None
        finally:
            await pool.give_back(connection)

    async def _perform(self, connection: AsyncConnection, course: Course[Reply]) -> Reply:
        while command := course.command:
            rows: list[Row] = []
            if text := self._dialect.text(command):
                cursor = await connection.execute(text, command.parameters or None)
                rows = await cursor.fetchall() if gives_rows(cursor) else _changed(command, cursor)
            course.take(rows)
        return course.reply

    def _course(self, request: Request[Reply], hint: Statement | None) -> Course[Reply]:
        return Course(script(start(self._store, request), hint, self._check, sessions=self._location.listen))

    def _check_schema(self, version: int) -> None:
        check(self._location.url, version)
        self._check = None

    async def watch(self, topics: tuple[str, ...]) -> PostgresAsyncWatch:
        if not self._location.listen:
            return PostgresAsyncWatch(None, topics)
        if self._listener is None:
            self._listener = AsyncListener(self._location)
        await self._listener.open()
        return PostgresAsyncWatch(self._listener, topics)

    async def aclose(self) -> None:
        if self._listener is not None:
            await self._listener.aclose()
            self._listener = None
        await self._reserved.aclose()
        await self._pool.aclose()
