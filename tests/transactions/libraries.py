"""One transaction of a user's, in each library that he may have: what he holds, and what he does with it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiosqlite
import asyncpg
import django
import psycopg
import psycopg2
import sqlalchemy as sa
from django.conf import settings
from django.db import connections, transaction
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import NullPool

from .places import Place

__all__ = ["ASYNC", "BLOCKING", "AsyncLibrary", "AsyncTransaction", "Library", "Transaction"]


@dataclass
class Transaction:
    """A transaction that has begun. `tx` is what is given to us."""

    tx: Any
    execute: Callable[[str], object]
    commit: Callable[[], object]
    rollback: Callable[[], object]
    savepoint: Callable[[], AbstractContextManager[object]]
    """Within this everything is behind a savepoint, and is rolled back to it at the end."""


@dataclass
class Library:
    name: str
    store: str
    begin: Callable[[Place], AbstractContextManager[Transaction]] = field(repr=False)


@dataclass
class AsyncTransaction:
    """The same for an event loop."""

    tx: Any
    execute: Callable[[str], Any]
    commit: Callable[[], Any]
    rollback: Callable[[], Any]
    savepoint: Callable[[], AbstractAsyncContextManager[object]]


@dataclass
class AsyncLibrary:
    name: str
    store: str
    begin: Callable[[Place], AbstractAsyncContextManager[AsyncTransaction]] = field(repr=False)


def _by_statements(execute: Callable[[str], object]) -> Callable[[], AbstractContextManager[object]]:
    @contextmanager
    def savepoint() -> Iterator[None]:
        execute("SAVEPOINT mine")
        yield
        execute("ROLLBACK TO SAVEPOINT mine")

    return savepoint


def _by_statements_async(execute: Callable[[str], Any]) -> Callable[[], AbstractAsyncContextManager[object]]:
    @asynccontextmanager
    async def savepoint() -> AsyncIterator[None]:
        await execute("SAVEPOINT mine")
        yield
        await execute("ROLLBACK TO SAVEPOINT mine")

    return savepoint


# --- blocking --------------------------------------------------------------------------------------------------------


@contextmanager
def _psycopg(place: Place) -> Iterator[Transaction]:
    with psycopg.connect(place.address) as connection:
        execute: Any = connection.execute
        yield Transaction(connection, execute, connection.commit, connection.rollback, _by_statements(execute))


@contextmanager
def _psycopg_autocommit(place: Place) -> Iterator[Transaction]:
    """Autocommit, with a transaction begun by hand."""
    with psycopg.connect(place.address, autocommit=True) as connection:
        execute: Any = connection.execute
        execute("BEGIN")
        yield Transaction(connection, execute, connection.commit, connection.rollback, _by_statements(execute))


@contextmanager
def _psycopg_dict_rows(place: Place) -> Iterator[Transaction]:
    """Rows come as dictionaries."""
    with psycopg.connect(place.address, row_factory=psycopg.rows.dict_row) as connection:
        execute: Any = connection.execute
        yield Transaction(connection, execute, connection.commit, connection.rollback, _by_statements(execute))


@contextmanager
def _psycopg_pipeline(place: Place) -> Iterator[Transaction]:
    with psycopg.connect(place.address) as connection, connection.pipeline() as pipeline:

        def commit() -> None:
            connection.commit()
            pipeline.sync()

        execute: Any = connection.execute
        yield Transaction(connection, execute, commit, connection.rollback, _by_statements(execute))


@contextmanager
def _psycopg2(place: Place) -> Iterator[Transaction]:
    with closing(psycopg2.connect(place.address)) as connection:
        cursor = connection.cursor()
        yield Transaction(
            connection, cursor.execute, connection.commit, connection.rollback, _by_statements(cursor.execute)
        )


@contextmanager
def _sqlite3(place: Place) -> Iterator[Transaction]:
    """As the standard library does by default: it begins when something is written."""
    with closing(sqlite3.connect(place.address)) as connection:
        execute: Any = connection.execute
        yield Transaction(connection, execute, connection.commit, connection.rollback, _by_statements(execute))


@contextmanager
def _sqlite3_by_hand(place: Place) -> Iterator[Transaction]:
    with closing(sqlite3.connect(place.address, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        connection.text_factory = bytes
        execute: Any = connection.execute
        execute("BEGIN IMMEDIATE")
        yield Transaction(connection, execute, connection.commit, connection.rollback, _by_statements(execute))


def _sa_url(place: Place, driver: str) -> str:
    if driver in ("pysqlite", "aiosqlite"):
        return f"sqlite+{driver}:///{place.address}"
    return place.address.replace("postgresql://", f"postgresql+{driver}://")


def _sa_session(driver: str, scoped: bool = False) -> Callable[[Place], AbstractContextManager[Transaction]]:
    @contextmanager
    def begin(place: Place) -> Iterator[Transaction]:
        engine = sa.create_engine(_sa_url(place, driver), poolclass=NullPool)
        session: Any = scoped_session(sessionmaker(engine)) if scoped else Session(engine)

        @contextmanager
        def savepoint() -> Iterator[None]:
            nested = session.begin_nested()
            yield
            nested.rollback()

        try:
            yield Transaction(
                session, lambda text: session.execute(sa.text(text)), session.commit, session.rollback, savepoint
            )
        finally:
            session.close()
            engine.dispose()

    return begin


def _sa_connection(driver: str) -> Callable[[Place], AbstractContextManager[Transaction]]:
    @contextmanager
    def begin(place: Place) -> Iterator[Transaction]:
        engine = sa.create_engine(_sa_url(place, driver), poolclass=NullPool)
        with engine.connect() as connection:

            @contextmanager
            def savepoint() -> Iterator[None]:
                nested = connection.begin_nested()
                yield
                nested.rollback()

            yield Transaction(
                connection,
                lambda text: connection.execute(sa.text(text)),
                connection.commit,
                connection.rollback,
                savepoint,
            )
        engine.dispose()

    return begin


def _django(*, atomic: bool = False) -> Callable[[Place], AbstractContextManager[Transaction]]:
    @contextmanager
    def begin(place: Place) -> Iterator[Transaction]:
        if not settings.configured:
            settings.configure(DATABASES={})
            django.setup()
        connections.settings["shop"] = connections.configure_settings(
            {"default": {}, "shop": _django_settings(place.address)}
        )["shop"]
        connection = connections["shop"]
        block = transaction.atomic(using="shop")
        block.__enter__()
        open_ = [block]

        def end(rolled_back: bool) -> None:
            transaction.set_rollback(rolled_back, using="shop")
            open_.pop().__exit__(None, None, None)

        @contextmanager
        def savepoint() -> Iterator[None]:
            id = transaction.savepoint(using="shop")
            yield
            transaction.savepoint_rollback(id, using="shop")

        try:
            yield Transaction(
                block if atomic else connection,
                lambda text: connection.cursor().execute(text),
                lambda: end(False),
                lambda: end(True),
                savepoint,
            )
        finally:
            if open_:
                end(True)
            connection.close()
            del connections["shop"]

    return begin


def _django_settings(address: str) -> dict[str, object]:
    if not address.startswith("postgresql:"):
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": address}
    parts = urlsplit(address)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.strip("/"),
        "USER": parts.username,
        "PASSWORD": parts.password or "",
        "HOST": parts.hostname,
        "PORT": parts.port or "",
    }


BLOCKING = [
    Library("psycopg", "postgres", _psycopg),
    Library("psycopg, autocommit", "postgres", _psycopg_autocommit),
    Library("psycopg, rows as dictionaries", "postgres", _psycopg_dict_rows),
    Library("psycopg, pipeline", "postgres", _psycopg_pipeline),
    Library("psycopg2", "postgres", _psycopg2),
    Library("sqlalchemy session, psycopg", "postgres", _sa_session("psycopg")),
    Library("sqlalchemy session, psycopg2", "postgres", _sa_session("psycopg2")),
    Library("sqlalchemy scoped session", "postgres", _sa_session("psycopg", scoped=True)),
    Library("sqlalchemy connection", "postgres", _sa_connection("psycopg")),
    Library("django", "postgres", _django()),
    Library("django atomic", "postgres", _django(atomic=True)),
    Library("sqlite3", "sqlite", _sqlite3),
    Library("sqlite3, begun by hand", "sqlite", _sqlite3_by_hand),
    Library("sqlalchemy session, sqlite", "sqlite", _sa_session("pysqlite")),
    Library("sqlalchemy connection, sqlite", "sqlite", _sa_connection("pysqlite")),
    Library("django, sqlite", "sqlite", _django()),
]


# --- async -----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _psycopg_async(place: Place) -> AsyncIterator[AsyncTransaction]:
    async with await psycopg.AsyncConnection.connect(place.address) as connection:
        execute: Any = connection.execute
        yield AsyncTransaction(
            connection, execute, connection.commit, connection.rollback, _by_statements_async(execute)
        )


@asynccontextmanager
async def _psycopg_async_pipeline(place: Place) -> AsyncIterator[AsyncTransaction]:
    async with (
        await psycopg.AsyncConnection.connect(place.address) as connection,
        connection.pipeline() as pipeline,
    ):

        async def commit() -> None:
            await connection.commit()
            await pipeline.sync()

        execute: Any = connection.execute
        yield AsyncTransaction(connection, execute, commit, connection.rollback, _by_statements_async(execute))


@asynccontextmanager
async def _asyncpg(place: Place) -> AsyncIterator[AsyncTransaction]:
    connection = await asyncpg.connect(place.address)
    # As many do: then JSON is made of whatever is given as JSON.
    await connection.set_type_codec("json", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    begun = connection.transaction()
    await begun.start()
    try:
        yield AsyncTransaction(
            connection, connection.execute, begun.commit, begun.rollback, _by_statements_async(connection.execute)
        )
    finally:
        await connection.close()


@asynccontextmanager
async def _asyncpg_pool(place: Place) -> AsyncIterator[AsyncTransaction]:
    async with asyncpg.create_pool(place.address, min_size=1, max_size=1) as pool, pool.acquire() as connection:
        execute: Any = connection.execute
        begun = connection.transaction()
        await begun.start()
        yield AsyncTransaction(connection, execute, begun.commit, begun.rollback, _by_statements_async(execute))


def _sa_async_session(driver: str) -> Callable[[Place], AbstractAsyncContextManager[AsyncTransaction]]:
    @asynccontextmanager
    async def begin(place: Place) -> AsyncIterator[AsyncTransaction]:
        engine = create_async_engine(_sa_url(place, driver), poolclass=NullPool)
        async with AsyncSession(engine) as session:

            @asynccontextmanager
            async def savepoint() -> AsyncIterator[None]:
                nested = await session.begin_nested()
                yield
                await nested.rollback()

            yield AsyncTransaction(
                session, lambda text: session.execute(sa.text(text)), session.commit, session.rollback, savepoint
            )
        await engine.dispose()

    return begin


def _sa_async_connection(driver: str) -> Callable[[Place], AbstractAsyncContextManager[AsyncTransaction]]:
    @asynccontextmanager
    async def begin(place: Place) -> AsyncIterator[AsyncTransaction]:
        engine = create_async_engine(_sa_url(place, driver), poolclass=NullPool)
        async with engine.connect() as connection:

            @asynccontextmanager
            async def savepoint() -> AsyncIterator[None]:
                nested = await connection.begin_nested()
                yield
                await nested.rollback()

            yield AsyncTransaction(
                connection,
                lambda text: connection.execute(sa.text(text)),
                connection.commit,
                connection.rollback,
                savepoint,
            )
        await engine.dispose()

    return begin


@asynccontextmanager
async def _aiosqlite(place: Place) -> AsyncIterator[AsyncTransaction]:
    async with aiosqlite.connect(place.address) as connection:
        execute: Any = connection.execute
        yield AsyncTransaction(
            connection, execute, connection.commit, connection.rollback, _by_statements_async(execute)
        )


ASYNC = [
    AsyncLibrary("psycopg", "postgres", _psycopg_async),
    AsyncLibrary("psycopg, pipeline", "postgres", _psycopg_async_pipeline),
    AsyncLibrary("asyncpg", "postgres", _asyncpg),
    AsyncLibrary("asyncpg pool", "postgres", _asyncpg_pool),
    AsyncLibrary("sqlalchemy session, asyncpg", "postgres", _sa_async_session("asyncpg")),
    AsyncLibrary("sqlalchemy session, psycopg", "postgres", _sa_async_session("psycopg")),
    AsyncLibrary("sqlalchemy connection, asyncpg", "postgres", _sa_async_connection("asyncpg")),
    AsyncLibrary("aiosqlite", "sqlite", _aiosqlite),
    AsyncLibrary("sqlalchemy session, aiosqlite", "sqlite", _sa_async_session("aiosqlite")),
]
