"""Requests on connections that their users lend: executed in the transaction that is open there, or is begun for them.

The file is the same, the connection is not ours: how long it waits for its turn, and how safe its commits are, is what
its owner has set. Everything stands behind a savepoint, so that what fails leaves nothing in the transaction.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

from mainspring.clock import now_ms
from mainspring.errors import (
    StoreBusy,
    StoreError,
    StoreFull,
    StoreReadOnly,
    UnusableTransaction,
)
from mainspring.model.text import clean
from mainspring.store.base import Reply, Request, Store, start
from mainspring.store.sql.lending import (
    AsyncExecute,
    Execute,
    Lent,
    Session,
    aperform,
    bare,
    ours,
    perform,
    unusable,
)
from mainspring.store.sql.statements import Query, Row, Statement
from mainspring.store.sqlite.connection import DIALECT
from mainspring.store.sqlite.location import Location, identity

__all__ = [
    "Lending",
    "SqliteAsyncBorrowed",
    "SqliteBorrowed",
    "StoreLending",
    "is_at",
    "main_file",
    "refuse_in_memory",
]

KINDS = ("sqlite3", "aiosqlite")

Upgrade = Callable[[int], list[str]]
"""The statements that bring a schema of that version up to date."""


class Plain(Query):
    """A text that goes to the database as it is."""

    __slots__ = ()


class Lending:
    """What is known of the connections that are lent to one place."""

    def session(self, lent: Lent, request: Request[Reply]) -> Session[Reply]:
        """The request as a part of the transaction of that connection."""
        yield from self._recognise(lent)
        begun = not lent.raw.in_transaction
        if begun:
            self._refuse_autocommit(lent)
            yield Plain("BEGIN IMMEDIATE")
        try:
            yield Plain("SAVEPOINT mainspring")
            try:
                reply = yield from self._within(request)
            except Exception:
                if lent.raw.in_transaction:
                    yield Plain("ROLLBACK TO mainspring")
                    yield Plain("RELEASE mainspring")
                raise
            yield Plain("RELEASE mainspring")
        except Exception:
            # There was nothing in it: it would keep all others from writing until its owner thinks of it.
            if begun and lent.raw.in_transaction:
                yield Plain("ROLLBACK")
            raise
        return reply

    def _recognise(self, lent: Lent) -> Session[None]:
        """Raise unless the connection leads there."""
        raise NotImplementedError

    def _within(self, request: Request[Reply]) -> Session[Reply]:
        raise NotImplementedError

    @staticmethod
    def _refuse_autocommit(lent: Lent) -> None:
        # From Python 3.12 on there is a second way to say so.
        if lent.raw.isolation_level is None or getattr(lent.raw, "autocommit", None) is True:
            raise unusable(
                lent.name,
                "is in autocommit mode and has no transaction open, so that there is nothing to commit or roll back: "
                'begin one, such as connection.execute("BEGIN IMMEDIATE"), or enqueue without it',
            )

    def translated(self, lent: Lent, error: Exception) -> Exception:
        """What the connection's library raised, as one of ours; as it is, where only a bug of ours can be the cause."""
        cause: Any = getattr(error, "orig", None) or error
        if not isinstance(cause, sqlite3.Error):
            return error
        text = clean(str(cause))
        code = int(getattr(cause, "sqlite_errorcode", None) or 0)
        if code == sqlite3.SQLITE_BUSY_SNAPSHOT:
            return StoreBusy(
                f"{lent.name}: the file was written by others since this transaction first read it, so it cannot write "
                "any more: roll it back, and begin it with BEGIN IMMEDIATE"
            )
        match code & 0xFF:
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return StoreBusy(
                    f"{lent.name}: the file was locked by others for longer than this connection waits ({text}); "
                    "nothing was enqueued: try again, or give it a longer timeout"
                )
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
                return StoreReadOnly(f"{lent.name} can only read its file ({text})")
            case sqlite3.SQLITE_FULL:
                return StoreFull(f"{lent.name}: no room left ({text}); roll it back, free some disk space")
            case 0:
                # Python's own refusals: closed, or of another thread.
                return unusable(lent.name, f"cannot be worked on: {text}")
            case sqlite3.SQLITE_ERROR:
                return error
            case _:
                return StoreError(f"{lent.name} failed ({text}); roll its transaction back")


class StoreLending(Lending):
    """Connections on which a store performs its requests."""

    def __init__(self, store: Store, location: Location, upgrade: Upgrade) -> None:
        self._store = store
        self._location = location
        self._upgrade = upgrade

    def _recognise(self, lent: Lent) -> Session[None]:
        if lent.kind not in KINDS:
            raise unusable(lent.name, f"is no connection to SQLite, and the jobs are in {self._location.url}")
        main = yield from main_file(lent)
        if not is_at(main, self._location):
            raise unusable(
                lent.name,
                f"is a connection to {main or 'a database in memory'}, and the jobs are in {self._location.path}: one "
                "transaction cannot be in both. Give a connection to that file (as its main one), or have the jobs in "
                "this one",
            )

    def _within(self, request: Request[Reply]) -> Session[Reply]:
        yield from self._bring_up_to_date()
        return (yield from bare(start(self._store, request), now_ms))

    def _bring_up_to_date(self) -> Session[None]:
        """In this very transaction, if there is nothing in the file yet: its owner may hold the only lock there is."""
        found = 0
        if (yield Plain("SELECT 1 FROM sqlite_master WHERE name = 'mainspring_schema'")):
            ((found,),) = yield Plain("SELECT coalesce(max(version), 0) FROM mainspring_schema")
        for statement in self._upgrade(found):
            yield Plain(statement)


def main_file(lent: Lent) -> Session[str]:
    """The file that a connection leads to; "": none, it is in memory."""
    files = yield Plain("PRAGMA database_list")
    return str(next((file for _, name, file in files if name == "main"), "") or "")


def is_at(file: str, location: Location) -> bool:
    """Whether that is the file at the location, by whatever name."""
    return bool(file) and _identity_of(file) == identity(location)


class SqliteBorrowed:
    """A blocking connection of somebody else's."""

    def __init__(self, lending: Lending, lent: Lent) -> None:
        self._lending = lending
        self._lent = lent

    def run(self, request: Request[Reply]) -> Reply:
        lent = self._lent
        execute: Execute = lent.execute if lent.through is not None else partial(_by_sqlite3, lent.raw)
        with ours(partial(self._lending.translated, lent)), _as_text(lent):
            return perform(self._lending.session(lent, request), execute, _translate)


class SqliteAsyncBorrowed:
    """An async connection of somebody else's."""

    def __init__(self, lending: Lending, lent: Callable[[], Awaitable[Lent]]) -> None:
        self._lending = lending
        self._lent = lent

    async def run(self, request: Request[Reply]) -> Reply:
        lent = await self._lent()
        execute: AsyncExecute = lent.aexecute if lent.through is not None else partial(_by_aiosqlite, lent.raw)
        with ours(partial(self._lending.translated, lent)), _as_text(lent):
            return await aperform(self._lending.session(lent, request), execute, _translate)


def refuse_in_memory() -> UnusableTransaction:
    """The error for every connection, where the store is in memory."""
    return UnusableTransaction(
        "tx= was given, and the jobs are in memory (sqlite://), where no other connection can reach them: use an "
        "SQLite file or a PostgreSQL database that the connection leads to, or leave tx= away"
    )


def _translate(step: Statement | Query) -> tuple[str, Any]:
    return (step.text if isinstance(step, Plain) else DIALECT.text(step)), step.parameters


@contextmanager
def _as_text(lent: Lent) -> Generator[None]:
    """Within this, texts come as `str`, whatever the connection's owner likes better."""
    theirs = getattr(lent.raw, "text_factory", str)
    if theirs is str:
        yield
        return
    lent.raw.text_factory = str
    try:
        yield
    finally:
        lent.raw.text_factory = theirs


def _by_sqlite3(connection: sqlite3.Connection, text: str, parameters: Any) -> list[Row]:
    cursor = connection.cursor()
    cursor.row_factory = None
    return cursor.execute(text, parameters).fetchall()


async def _by_aiosqlite(connection: Any, text: str, parameters: Any) -> list[Row]:
    cursor = await connection.cursor()
    cursor.row_factory = None
    await cursor.execute(text, parameters)
    rows: list[Row] = list(await cursor.fetchall())
    await cursor.close()
    return rows


def _identity_of(file: str) -> tuple[int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino
