"""Requests on connections that their users lend: executed in the transaction that is open there, hint included.

A transaction that is not ours has no second try, and is not ours to end. What may fail half-way by a rule of ours (a
unique job, an unknown parent) stands behind a savepoint, so that the rest of the transaction can still be committed.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any
from weakref import WeakSet

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import tuple_row

from mainspring.errors import StoreBusy, StoreError, StoreUnavailable, UnusableTransaction
from mainspring.model.text import clean
from mainspring.store.base import InsertRequest, Reply, Request, Store, start
from mainspring.store.postgres.dialect import PostgresDialect
from mainspring.store.postgres.errors import behind, translated
from mainspring.store.postgres.hints import Speaker
from mainspring.store.postgres.location import Location
from mainspring.store.postgres.schema import check
from mainspring.store.sql.lending import (
    AsyncExecute,
    Execute,
    Lent,
    Session,
    Translate,
    aperform,
    bare,
    ours,
    perform,
    unusable,
)
from mainspring.store.sql.statements import Query, Row, Statement, sql

__all__ = ["Lending", "PostgresAsyncBorrowed", "PostgresBorrowed", "StoreLending", "numbered"]

KINDS = ("psycopg", "psycopg2", "asyncpg")


class Lending:
    """What is known of the connections that are lent to one place, which `holds` names for people ("the jobs are in
    postgresql://db/shop"). `ask` finds out, on a connection of our own, which database of which server that is; None:
    any will do."""

    def __init__(self, holds: str, url: str, dialect: PostgresDialect, ask: Callable[[], str] | None) -> None:
        self.dialect = dialect
        self._holds = holds
        self._url = url
        self._ask = ask
        self._home: str | None = None
        self._known: WeakSet[Any] = WeakSet()
        """Connections that have been seen to lead there, and that all is there that has to be."""

    def home(self, stale: str | None = None) -> str | None:
        """Where the place is; blocking, and asked but once, unless it turns out not to be `stale` any more: a server
        that was started anew is another one."""
        if self._ask is not None and (self._home is None or self._home == stale):
            self._home = self._ask()
        return self._home

    def knows(self, lent: Lent) -> bool:
        """Whether that connection has been seen to lead there."""
        return lent.raw in self._known

    def session(self, lent: Lent, request: Request[Reply], home: str | None) -> Session[Reply]:
        """The request as a part of the transaction of that connection; where that is not known yet, `home` is where it
        has to lead."""
        if not self.knows(lent):
            yield from self._recognise(lent, home)
        return (yield from self._within(request))

    def _recognise(self, lent: Lent, home: str | None) -> Session[None]:
        ((place, database, there),) = yield sql("whereabouts", schema=self.dialect.schema)
        if home is not None and place != home:
            raise Elsewhere(database)
        yield from self._look_round(lent, there)
        with suppress(TypeError):  # what takes no weak reference is asked again each time
            self._known.add(lent.raw)

    def _look_round(self, lent: Lent, there: bool) -> Session[None]:
        """Raise unless all is there that has to be; `there`: whether the schema has jobs."""
        raise NotImplementedError

    def _within(self, request: Request[Reply]) -> Session[Reply]:
        raise NotImplementedError

    def refuse_unusable(self, lent: Lent) -> None:
        """Raises `UnusableTransaction` for what can be seen without asking the server."""
        if lent.kind not in KINDS:
            raise unusable(lent.name, f"is no connection to PostgreSQL, and {self._holds}")
        if _is_closed(lent):
            raise unusable(lent.name, "is closed: give one that is open")
        if lent.kind != "asyncpg" and lent.raw.info.transaction_status == TransactionStatus.INERROR:
            raise _failed(lent)
        if _has_no_transaction(lent):
            raise unusable(
                lent.name,
                "is in autocommit mode and has no transaction open, so that there is nothing to commit or roll back: "
                "begin one, such as `with connection.transaction():`, or enqueue without it",
            )

    def elsewhere(self, lent: Lent, database: str) -> UnusableTransaction:
        """The error for a connection to another database."""
        return unusable(
            lent.name,
            f"leads to another database ({database!r}), and {self._holds}; no transaction can be in both: give a "
            "connection to that one, or have them in this one",
        )

    def translated(self, lent: Lent, error: Exception) -> Exception:
        """What the connection's library raised, as one of ours; as it is, where only a bug of ours can be the cause."""
        text = clean(" ".join(str(error).split())) or type(error).__name__
        state, url = _state_of(error), self._url
        if state == "25P02":
            return _failed(lent)
        if state in ("40001", "40P01"):
            return StoreBusy(
                f"{url}: another transaction was in the way ({text}); roll yours back and do all of it again"
            )
        if state is not None:
            with suppress(KeyError):
                translation = translated(psycopg.errors.lookup(state)(text), url)
                if isinstance(translation, StoreError):
                    return type(translation)(f"{translation}. The transaction of {lent.name} is to be rolled back")
        elif _is_of_a_library(error):
            if _is_closed(lent):
                return StoreUnavailable(f"the connection {lent.name} was lost: {text}")
            return unusable(lent.name, f"cannot be worked on: {text}")
        return error


class StoreLending(Lending):
    """Connections on which a store performs its requests."""

    def __init__(self, store: Store, location: Location, dialect: PostgresDialect, ask: Callable[[], str]) -> None:
        super().__init__(f"the jobs are in {location.url}", location.url, dialect, ask)
        self._store = store
        self._location = location

    def _look_round(self, lent: Lent, there: bool) -> Session[None]:
        if not there:
            raise behind(self._location.url, 0)
        ((version,),) = yield sql("schema_version")
        check(self._location.url, version)

    def _within(self, request: Request[Reply]) -> Session[Reply]:
        guarded = _may_fail_halfway(request)
        if guarded:
            yield sql("set_savepoint")
        try:
            reply = yield from bare(start(self._store, request))
        except Exception:
            if guarded:
                yield sql("back_to_savepoint")
                yield sql("release_savepoint")
            raise
        # Always said: what was said last may have been said in a transaction that never commits.
        hint = Speaker(self._location.schema).hint(request) if self._location.listen else None
        if hint is not None:
            yield hint
        if guarded:
            yield sql("release_savepoint")
        return reply


class Elsewhere(Exception):
    """A connection leads to another database, it seems."""

    def __init__(self, database: str) -> None:
        super().__init__(database)
        self.database = database


class PostgresBorrowed:
    """A blocking connection of somebody else's."""

    def __init__(self, lending: Lending, lent: Lent) -> None:
        self._lending = lending
        self._lent = lent

    def run(self, request: Request[Reply]) -> Reply:
        lending, lent = self._lending, self._lent
        if _is_pipelined(lent):
            with ours(partial(lending.translated, lent)), lent.raw.pipeline():
                pass  # only when all has been answered that was sent, its state can be told
        lending.refuse_unusable(lent)
        execute, translate = _execute(lent), _translate(lent, lending.dialect)
        home = None if lending.knows(lent) else lending.home()
        while True:
            try:
                with ours(partial(lending.translated, lent)):
                    return perform(lending.session(lent, request, home), execute, translate)
            except Elsewhere as error:
                if home == (home := lending.home(stale=home)):
                    raise lending.elsewhere(lent, error.database) from None


class PostgresAsyncBorrowed:
    """An async connection of somebody else's."""

    def __init__(self, lending: Lending, lent: Callable[[], Awaitable[Lent]]) -> None:
        self._lending = lending
        self._lent = lent

    async def run(self, request: Request[Reply]) -> Reply:
        lending, lent = self._lending, await self._lent()
        if _is_pipelined(lent):
            with ours(partial(lending.translated, lent)):
                async with lent.raw.pipeline():
                    pass
        lending.refuse_unusable(lent)
        execute, translate = _aexecute(lent), _translate(lent, lending.dialect)
        home = None if lending.knows(lent) else await asyncio.to_thread(lending.home)
        while True:
            try:
                with ours(partial(lending.translated, lent)):
                    return await aperform(lending.session(lent, request, home), execute, translate)
            except Elsewhere as error:
                if home == (home := await asyncio.to_thread(lending.home, home)):
                    raise lending.elsewhere(lent, error.database) from None


def _may_fail_halfway(request: Request[Any]) -> bool:
    """Whether a rule of ours can refuse it when a part of it is written."""
    if not isinstance(request, InsertRequest):
        return False
    return bool(request.flows or request.ticks) or any(job.keys or job.parents or job.flow for job in request.jobs)


# --- each kind of connection -----------------------------------------------------------------------------------------


def _is_pipelined(lent: Lent) -> bool:
    if lent.kind != "psycopg" or lent.through is not None or lent.raw.closed:
        return False
    return bool(lent.raw.info.pipeline_status != PipelineStatus.OFF)


def _is_closed(lent: Lent) -> bool:
    return bool(lent.raw.is_closed() if lent.kind == "asyncpg" else lent.raw.closed)


def _has_no_transaction(lent: Lent) -> bool:
    if lent.kind == "asyncpg":
        # SQLAlchemy begins when something is executed.
        return lent.autocommit if lent.through is not None else not lent.raw.is_in_transaction()
    return bool(lent.raw.autocommit) and lent.raw.info.transaction_status == TransactionStatus.IDLE


def _failed(lent: Lent) -> UnusableTransaction:
    return unusable(lent.name, "has a transaction that has failed already: roll it back and begin a new one")


def _execute(lent: Lent) -> Execute:
    if lent.through is not None:
        return lent.execute
    if lent.kind == "psycopg":
        cursor = psycopg.Cursor(lent.raw, row_factory=tuple_row)
        return partial(_by_pipeline if _is_pipelined(lent) else _by_cursor, cursor)
    return partial(_by_cursor, lent.raw.cursor(cursor_factory=sys.modules["psycopg2.extensions"].cursor))


def _by_pipeline(cursor: psycopg.Cursor[Row], text: str, parameters: Any) -> list[Row]:
    with cursor.connection.pipeline():  # at its end everything is answered
        cursor.execute(text, parameters)
    return cursor.fetchall() if cursor.description else []


def _by_cursor(cursor: Any, text: str, parameters: Any) -> list[Row]:
    cursor.execute(text, parameters)
    return cursor.fetchall() if cursor.description else []


def _aexecute(lent: Lent) -> AsyncExecute:
    if lent.through is not None:
        return lent.aexecute
    if lent.kind == "psycopg":
        cursor = psycopg.AsyncCursor(lent.raw, row_factory=tuple_row)
        return partial(_by_async_pipeline if _is_pipelined(lent) else _by_async_cursor, cursor)
    return partial(_by_asyncpg, lent.raw)


async def _by_async_pipeline(cursor: psycopg.AsyncCursor[Row], text: str, parameters: Any) -> list[Row]:
    async with cursor.connection.pipeline():
        await cursor.execute(text, parameters)
    return await cursor.fetchall() if cursor.description else []


async def _by_async_cursor(cursor: psycopg.AsyncCursor[Row], text: str, parameters: Any) -> list[Row]:
    await cursor.execute(text, parameters)
    return await cursor.fetchall() if cursor.description else []


async def _by_asyncpg(connection: Any, text: str, parameters: Any) -> list[Row]:
    return [tuple(record) for record in await connection.fetch(text, *parameters)]


def _translate(lent: Lent, dialect: PostgresDialect) -> Translate:
    """How steps are written for that connection."""

    def by_name(step: Statement | Query) -> tuple[str, Any]:
        return dialect.text(step), dict(step.parameters) or None

    def by_number(step: Statement | Query) -> tuple[str, Any]:
        types = tuple((name, type(value)) for name, value in step.parameters.items())
        text, names = numbered(dialect.text(step), types)
        return text, tuple(step.parameters[name] for name in names)

    return by_number if lent.kind == "asyncpg" else by_name


_PARAMETER = re.compile(r"(json\w*\(\s*)?%\((\w+)\)s|%%")
_TYPES = {str: "text", bool: "boolean", int: "bigint", float: "double precision"}


@lru_cache(maxsize=500)
def numbered(text: str, types: tuple[tuple[str, type], ...]) -> tuple[str, tuple[str, ...]]:
    """A text as asyncpg takes it, with numbered parameters of types that are said, and their names in order.

    Documents go as text, since users tell asyncpg to make JSON of what they give as JSON.
    """
    known, names = dict(types), dict[str, int]()

    def number(found: re.Match[str]) -> str:
        if found[2] is None:
            return "%"
        place = f"${names.setdefault(found[2], len(names) + 1)}"
        cast = _TYPES.get(known[found[2]])
        typed = f"{place}::{cast}" if cast else place
        return f"{found[1]}{typed}::json" if found[1] else typed

    return _PARAMETER.sub(number, text), tuple(names)


def _is_of_a_library(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] in ("psycopg", "psycopg2", "asyncpg", "sqlalchemy", "django")


def _state_of(error: Exception) -> str | None:
    """The server's code for an error, whichever library brings it."""
    cause: Any = getattr(error, "orig", None) or error
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    return state if isinstance(state, str) else None
