"""What cannot be a transaction for jobs is refused with an error that says why, before anything is stored."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import psycopg2
import pytest
import sqlalchemy as sa
from django.db import connections, transaction
from servers.postgres import running_postgres
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from mainspring import (
    Flow,
    InvalidOption,
    Mainspring,
    MainspringError,
    SchemaMismatch,
    StoreBusy,
    StoreReadOnly,
    Task,
    UnknownParent,
    UnusableTransaction,
    ValidationError,
)
from mainspring.testing import isolated

from .libraries import BLOCKING
from .places import Place, PostgresPlace, SqlitePlace

BOTH = pytest.mark.parametrize("place", ["postgres", "sqlite"], indirect=True)


@pytest.fixture
def ship(place: Place) -> Task[[int], None]:
    @place.app.task
    def ship(order: int) -> None: ...

    return ship


def refused(enqueue: Callable[[], object], *words: str) -> str:
    """What the refusal says; it must say all these words."""
    with pytest.raises(UnusableTransaction) as raised:
        enqueue()
    text = str(raised.value)
    assert isinstance(raised.value, MainspringError)
    assert all(word in text for word in words), text
    return text


@BOTH
def test_what_is_no_connection(place: Place, ship: Task[[int], None]) -> None:
    refused(lambda: ship.using(tx=None).enqueue(1), "tx= is None", "django.db.connection", "Leave tx= away")
    refused(lambda: ship.using(tx=42).enqueue(1), "tx=42", "builtins.int", "psycopg")
    text = refused(lambda: ship.using(tx="postgresql://me:secret@db/shop").enqueue(1), "builtins.str")
    assert "secret" not in text
    refused(lambda: place.app.enqueue_many([ship.job(1)], tx=object()), "object")
    refused(lambda: asyncio.run(_aenqueue(ship, 42)), "tx=42")
    assert place.jobs() == 0


async def _aenqueue(task: Task[[int], None], tx: object) -> None:
    await task.using(tx=tx).aenqueue(1)


@BOTH
def test_arguments_are_looked_at_first(place: Place, ship: Task[[int], None]) -> None:
    with pytest.raises(ValidationError):
        ship.using(tx=42).enqueue("one")  # type: ignore[arg-type]


@BOTH
def test_terms_with_a_transaction_make_no_jobs_for_later(place: Place, ship: Task[[int], None]) -> None:
    with pytest.raises(InvalidOption, match=r"enqueue_many\(\[...\], tx=...\)"):
        ship.using(tx=42).job(1)
    with pytest.raises(InvalidOption, match=r"enqueue\(tx=...\)"):
        ship.using(tx=42).map([1, 2])


def test_a_connection_to_another_kind_of_database(postgres_place: PostgresPlace, sqlite_place: SqlitePlace) -> None:
    for place, other in ((postgres_place, sqlite_place), (sqlite_place, postgres_place)):
        place.app.task(name="ship")(lambda order: None)
        for library in BLOCKING:
            if library.store in other.app.url:
                with library.begin(other) as begun:
                    refused(
                        lambda place=place, begun=begun: place.app.enqueue("ship", {"order": 1}, tx=begun.tx),  # type: ignore[misc]
                        "is no connection to",
                        place.app.url,
                    )
        assert place.jobs() == 0


def test_a_connection_to_another_file(sqlite_place: SqlitePlace, tmp_path: Path) -> None:
    sqlite_place.app.task(name="ship")(lambda order: None)
    for file in (str(tmp_path / "other.db"), ":memory:"):
        with closing(sqlite3.connect(file)) as other:
            # Attached is not enough: SQLite commits each file by itself.
            other.execute("ATTACH ? AS jobs", [sqlite_place.address])
            refused(
                lambda other=other: sqlite_place.app.enqueue("ship", {"order": 1}, tx=other),  # type: ignore[misc]
                "other.db" if "other" in file else "a database in memory",
                sqlite_place.address,
            )
    assert sqlite_place.jobs() == 0


def test_the_same_file_by_another_name_is_the_same(sqlite_place: SqlitePlace, tmp_path: Path) -> None:
    sqlite_place.app.task(name="ship")(lambda order: None)
    (tmp_path / "link.db").symlink_to(sqlite_place.address)
    with closing(sqlite3.connect(tmp_path / "link.db")) as connection:
        sqlite_place.app.enqueue("ship", {"order": 1}, tx=connection)
        connection.commit()
    assert sqlite_place.jobs() == 1


@pytest.fixture
def other_database(postgres: str) -> Iterator[str]:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE DATABASE tx_other")
        yield postgres.rpartition("/")[0] + "/tx_other"
        connection.execute("DROP DATABASE tx_other WITH (FORCE)")


def test_a_connection_to_another_database(postgres_place: PostgresPlace, other_database: str) -> None:
    """Also to one that has jobs of its own in a schema of that name: they would never run here."""
    app = postgres_place.app
    app.task(name="ship")(lambda order: None)
    schema = postgres_place.orders.partition(".")[0]
    for migrated in (False, True):
        if migrated:
            Mainspring(f"{other_database}?schema={schema}").store.migrate()
        with psycopg.connect(other_database) as other:
            refused(lambda other=other: app.enqueue("ship", {"order": 1}, tx=other), "tx_other", app.url)  # type: ignore[misc]
            assert other.execute("SELECT 1").fetchone() == (1,), "the transaction can still be used"

    async def by_asyncpg() -> None:
        connection = await asyncpg.connect(other_database)
        try:
            async with connection.transaction():
                await app.aenqueue("ship", {"order": 1}, tx=connection)
        finally:
            await connection.close()

    refused(lambda: asyncio.run(by_asyncpg()), "tx_other", app.url)
    assert postgres_place.jobs() == 0


def test_a_schema_that_is_not_there_or_not_known(postgres: str) -> None:
    app = Mainspring(f"{postgres}?schema=tx_missing")
    app.task(name="ship")(lambda order: None)
    with psycopg.connect(postgres) as connection:
        with pytest.raises(SchemaMismatch, match="mainspring migrate"):
            app.enqueue("ship", {"order": 1}, tx=connection)
        connection.execute("CREATE SCHEMA tx_missing CREATE TABLE migrations (version integer)")
        connection.execute("INSERT INTO tx_missing.migrations VALUES (999)")
        with pytest.raises(SchemaMismatch, match="pip install"):
            app.enqueue("ship", {"order": 1}, tx=connection)
        assert connection.execute("SELECT 1").fetchone() == (1,), "the transaction can still be used"
        connection.rollback()


def test_a_store_in_memory(sqlite_place: SqlitePlace) -> None:
    sqlite_place.app.task(name="ship")(lambda order: None)
    with isolated(sqlite_place.app) as app, closing(sqlite3.connect(":memory:")) as connection:
        refused(lambda: app.enqueue("ship", {"order": 1}, tx=connection), "in memory")


# --- the wrong kind for the verb -------------------------------------------------------------------------------------


def test_an_async_connection_for_a_blocking_verb_and_the_reverse(
    postgres_place: PostgresPlace, sqlite_place: SqlitePlace
) -> None:
    app = postgres_place.app
    app.task(name="ship")(lambda order: None)

    async def give_async(tx: Any) -> None:
        refused(lambda: app.enqueue("ship", {"order": 1}, tx=tx), "async connection", "aenqueue")

    async def give_blocking(tx: Any, *words: str) -> None:
        with pytest.raises(UnusableTransaction) as raised:
            await app.aenqueue("ship", {"order": 1}, tx=tx)
        assert all(word in str(raised.value) for word in ("blocking connection", *words)), raised.value

    async def main() -> None:
        async with await psycopg.AsyncConnection.connect(postgres_place.address) as connection:
            await give_async(connection)
        connection = await asyncpg.connect(postgres_place.address)
        await give_async(connection)
        await connection.close()
        engine = create_async_engine("sqlite+aiosqlite://")
        async with AsyncSession(engine) as session:
            await give_async(session)
        await engine.dispose()
        with psycopg.connect(postgres_place.address) as blocking:
            await give_blocking(blocking)
        with closing(sqlite3.connect(":memory:")) as lite:
            await give_blocking(lite)
        with Session(sa.create_engine("sqlite://")) as session:
            await give_blocking(session)
        await give_blocking(transaction.atomic(), "sync_to_async")

    asyncio.run(main())
    assert postgres_place.jobs() == 0


async def test_a_blocking_session_on_an_async_driver_works_where_sqlalchemy_lets_it(
    postgres_place: PostgresPlace,
) -> None:
    app = postgres_place.app
    app.task(name="ship")(lambda order: None)
    engine = create_async_engine(postgres_place.address.replace("postgresql:", "postgresql+asyncpg:"))
    async with AsyncSession(engine) as session, session.begin():
        await session.run_sync(lambda inner: app.enqueue("ship", {"order": 1}, tx=inner))
        assert postgres_place.jobs() == 0
    await engine.dispose()
    assert postgres_place.jobs() == 1


# --- the state that it is in -----------------------------------------------------------------------------------------


def test_closed_connections(postgres_place: PostgresPlace, sqlite_place: SqlitePlace) -> None:
    app = postgres_place.app
    app.task(name="ship")(lambda order: None)
    sqlite_place.app.task(name="ship")(lambda order: None)
    three = psycopg.connect(postgres_place.address)
    two = psycopg2.connect(postgres_place.address)
    alchemy = sa.create_engine(
        postgres_place.address.replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool
    ).connect()
    for connection in (three, two, alchemy):
        connection.close()
        refused(lambda tx=connection: app.enqueue("ship", {"order": 1}, tx=tx), "closed")  # type: ignore[misc]
    lite = sqlite3.connect(sqlite_place.address)
    lite.close()
    refused(lambda: sqlite_place.app.enqueue("ship", {"order": 1}, tx=lite), "closed")

    async def main() -> None:
        connection = await asyncpg.connect(postgres_place.address)
        await connection.close()
        with pytest.raises(UnusableTransaction, match="closed"):
            await app.aenqueue("ship", {"order": 1}, tx=connection)
        async with asyncpg.create_pool(postgres_place.address, min_size=1) as pool:
            async with pool.acquire() as connection:
                pass
            with pytest.raises(UnusableTransaction, match="pool"):
                await app.aenqueue("ship", {"order": 1}, tx=connection)

    asyncio.run(main())


def test_a_transaction_that_has_failed(postgres_place: PostgresPlace) -> None:
    app = postgres_place.app
    app.task(name="ship")(lambda order: None)
    for library in BLOCKING:
        if library.store == "postgres" and "pipeline" not in library.name:  # where it fails later
            with library.begin(postgres_place) as begun:
                with pytest.raises(Exception, match="nowhere"):
                    begun.execute("SELECT * FROM nowhere")
                refused(lambda tx=begun.tx: app.enqueue("ship", {"order": 1}, tx=tx), "failed already")  # type: ignore[misc]
                begun.rollback()

    async def main() -> None:
        connection = await asyncpg.connect(postgres_place.address)
        begun = connection.transaction()
        await begun.start()
        with pytest.raises(asyncpg.PostgresError):
            await connection.execute("SELECT * FROM nowhere")
        with pytest.raises(UnusableTransaction, match="failed already"):
            await app.aenqueue("ship", {"order": 1}, tx=connection)
        await connection.close()

    asyncio.run(main())
    assert postgres_place.jobs() == 0


def test_autocommit_without_a_transaction(postgres_place: PostgresPlace, sqlite_place: SqlitePlace) -> None:
    """There would be nothing to commit with: whoever gives a transaction wants one."""
    app = postgres_place.app
    app.task(name="ship")(lambda order: None)
    sqlite_place.app.task(name="ship")(lambda order: None)
    three = psycopg.connect(postgres_place.address, autocommit=True)
    two = psycopg2.connect(postgres_place.address)
    two.autocommit = True
    url = postgres_place.address.replace("postgresql:", "postgresql+psycopg:")
    alchemy = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool).connect()
    with ExitStack() as stack:
        for connection in (three, two, alchemy):
            stack.enter_context(closing(connection))
            refused(lambda tx=connection: app.enqueue("ship", {"order": 1}, tx=tx), "autocommit", "begin one")  # type: ignore[misc]
        lite = stack.enter_context(closing(sqlite3.connect(sqlite_place.address, isolation_level=None)))
        refused(lambda: sqlite_place.app.enqueue("ship", {"order": 1}, tx=lite), "autocommit", "BEGIN IMMEDIATE")
        with three.transaction():
            app.enqueue("ship", {"order": 1}, tx=three)
    assert (postgres_place.jobs(), sqlite_place.jobs()) == (1, 0)

    async def main() -> None:
        connection = await asyncpg.connect(postgres_place.address)
        with pytest.raises(UnusableTransaction, match="autocommit"):
            await app.aenqueue("ship", {"order": 1}, tx=connection)
        await connection.close()
        engine = create_async_engine(
            url.replace("+psycopg", "+asyncpg"), isolation_level="AUTOCOMMIT", poolclass=NullPool
        )
        async with engine.connect() as alchemy:
            with pytest.raises(UnusableTransaction, match="autocommit"):
                await app.aenqueue("ship", {"order": 1}, tx=alchemy)
        await engine.dispose()

    asyncio.run(main())


@BOTH
def test_django_outside_of_atomic(place: Place, ship: Task[[int], None]) -> None:
    kind = "postgres" if isinstance(place, PostgresPlace) else "sqlite"
    library = next(each for each in BLOCKING if each.store == kind and each.name.startswith("django"))
    with library.begin(place) as begun:
        begun.commit()
        refused(lambda: ship.using(tx=connections["shop"]).enqueue(1), "transaction.atomic()")
    assert place.jobs() == 0


def test_a_transaction_that_only_reads(postgres_place: PostgresPlace) -> None:
    app = postgres_place.app
    app.task(name="ship")(lambda order: None)
    with psycopg.connect(postgres_place.address) as connection:
        connection.execute("SET TRANSACTION READ ONLY")
        with pytest.raises(StoreReadOnly, match="rolled back"):
            app.enqueue("ship", {"order": 1}, tx=connection)
        connection.rollback()


def test_a_user_without_rights_on_the_jobs(postgres_place: PostgresPlace) -> None:
    app = postgres_place.app
    app.task(name="ship")(lambda order: None)
    with psycopg.connect(postgres_place.address) as connection:
        connection.execute("CREATE ROLE tx_weak")
        connection.execute("SET ROLE tx_weak")
        with pytest.raises(StoreReadOnly, match="grant"):
            app.enqueue("ship", {"order": 1}, tx=connection)
        connection.rollback()


def test_a_server_that_was_started_anew_is_still_the_same() -> None:
    with running_postgres() as server:
        app = Mainspring(server.url)
        app.store.migrate()
        app.task(name="ship")(lambda order: None)
        for _ in range(2):
            with psycopg.connect(server.url) as connection:
                app.enqueue("ship", {"order": 1}, tx=connection)
            server.kill()
            server.start()
        assert app.jobs.count() == 2
        app.close()


def test_a_connection_of_another_thread(sqlite_place: SqlitePlace) -> None:
    sqlite_place.app.task(name="ship")(lambda order: None)
    said: list[str] = []
    with closing(sqlite3.connect(sqlite_place.address)) as connection:
        thread = threading.Thread(
            target=lambda: said.append(
                refused(lambda: sqlite_place.app.enqueue("ship", {"order": 1}, tx=connection), "thread")
            )
        )
        thread.start()
        thread.join()
    assert said


# --- SQLite: one writer at a time ------------------------------------------------------------------------------------


def test_while_another_writes_it_waits_as_long_as_its_connection_does(sqlite_place: SqlitePlace) -> None:
    app = sqlite_place.app
    app.task(name="ship")(lambda order: None)
    with (
        closing(sqlite3.connect(sqlite_place.address)) as other,
        closing(sqlite3.connect(sqlite_place.address, timeout=0.1)) as mine,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy, match="longer timeout"):
            app.enqueue("ship", {"order": 1}, tx=mine)
        assert not mine.in_transaction
        other.rollback()
        app.enqueue("ship", {"order": 1}, tx=mine)
        mine.commit()
    assert sqlite_place.jobs() == 1


def test_a_transaction_that_has_read_what_others_have_changed_since_cannot_write(sqlite_place: SqlitePlace) -> None:
    app = sqlite_place.app
    app.task(name="ship")(lambda order: None)
    with closing(sqlite3.connect(sqlite_place.address)) as mine:
        mine.execute("BEGIN")
        mine.execute("SELECT * FROM orders").fetchall()
        app.enqueue("ship", {"order": 1})
        with pytest.raises(StoreBusy, match="BEGIN IMMEDIATE"):
            app.enqueue("ship", {"order": 2}, tx=mine)
        mine.rollback()
    assert sqlite_place.jobs() == 1


def test_a_refused_job_leaves_no_transaction_open_that_there_was_not(sqlite_place: SqlitePlace) -> None:
    app = sqlite_place.app
    app.task(name="ship")(lambda order: None)
    app.enqueue("ship", {"order": 1})
    with closing(sqlite3.connect(sqlite_place.address)) as mine:
        flow = Flow("order")
        flow.add(app.tasks["ship"].job(2), after=["nobody"])
        with pytest.raises(UnknownParent):
            flow.enqueue(tx=mine)
        assert not mine.in_transaction


def test_the_first_job_of_all_brings_its_tables_with_it(tmp_path: Path) -> None:
    """The file was the user's alone, and his transaction is open: it makes the tables, or takes them back."""
    file = tmp_path / "fresh.db"
    app = Mainspring(f"sqlite:///{file}")
    app.task(name="ship")(lambda order: None)
    with closing(sqlite3.connect(file)) as mine:
        mine.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
        mine.execute("INSERT INTO orders VALUES (1)")
        app.enqueue("ship", {"order": 1}, tx=mine)
        mine.rollback()
        assert mine.execute("SELECT count(*) FROM orders").fetchone() == (0,)
        mine.execute("INSERT INTO orders VALUES (1)")
        app.enqueue("ship", {"order": 1}, tx=mine)
        app.enqueue("ship", {"order": 2}, tx=mine)
        mine.commit()
    assert app.jobs.count() == 2
    app.close()
