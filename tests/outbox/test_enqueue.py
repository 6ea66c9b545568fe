"""Jobs in the outbox of a user's database, by every library that leads there."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from transactions.libraries import ASYNC, BLOCKING, AsyncLibrary, AsyncTransaction, Library, Transaction
from worker.scene import until, working

from mainspring import (
    InvalidFlow,
    InvalidOption,
    InvalidURL,
    JobNotFound,
    Mainspring,
    ResultTimeout,
    SchemaMismatch,
    State,
    Task,
    UnusableTransaction,
    ValidationError,
    chain,
    previous,
)

from .shops import PostgresShop, Shop, SqliteShop

BOTH = pytest.mark.parametrize("shop", ["postgres", "sqlite"], indirect=True)


def by_name(library: Any) -> str:
    return str(library.name)


@pytest.fixture
def ship(shop: Shop) -> Task[[int], int]:
    @shop.app.task
    def ship(order: int) -> int:
        return order * 10

    return ship


# --- blocking --------------------------------------------------------------------------------------------------------


@pytest.fixture
def begun(library: Library, shop: Shop) -> Iterator[Transaction]:
    """A transaction in which order 1 has been stored."""
    with library.begin(shop) as begun:
        begun.execute(f"INSERT INTO {shop.orders} VALUES (1)")
        yield begun


@pytest.mark.parametrize("library", BLOCKING, ids=by_name)
class TestBlocking:
    def test_a_commit_brings_the_job_and_everything_else(
        self, shop: Shop, begun: Transaction, ship: Task[[int], int]
    ) -> None:
        job = shop.app.outbox(begun.tx).enqueue(ship.job(1))
        assert (shop.stored(), shop.waiting()) == ([], 0), "nobody sees it before"
        begun.commit()
        assert (shop.stored(), shop.waiting()) == ([1], 1)
        assert job.state is State.QUEUED

        async def work() -> None:
            async with working(shop.app):
                assert await job.aresult(timeout=20) == 10
                await until(lambda: shop.waiting() == 0)
            await shop.app.aclose()

        asyncio.run(work())
        assert shop.jobs() == 1

    def test_after_a_rollback_it_never_was(self, shop: Shop, begun: Transaction, ship: Task[[int], int]) -> None:
        shop.app.outbox(begun.tx).enqueue(ship.job(1))
        begun.rollback()
        assert (shop.stored(), shop.waiting()) == ([], 0)

    def test_a_savepoint_that_is_rolled_back_takes_its_jobs_with_it(
        self, shop: Shop, begun: Transaction, ship: Task[[int], int]
    ) -> None:
        kept = shop.app.outbox(begun.tx).enqueue(ship.job(1))
        with begun.savepoint():
            shop.app.outbox(begun.tx).enqueue(ship.job(2))
        begun.commit()
        assert shop.sql(f"SELECT id FROM {shop.table}") == [(kept.id,)]

    def test_many_jobs_keep_their_order(self, shop: Shop, begun: Transaction, ship: Task[[int], int]) -> None:
        jobs = shop.app.outbox(begun.tx).enqueue_many(ship.job(number) for number in range(2500))
        begun.commit()
        assert shop.sql(f"SELECT id FROM {shop.table} ORDER BY number") == [(job.id,) for job in jobs]


# --- async -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def abegun(library: AsyncLibrary, shop: Shop) -> AsyncIterator[AsyncTransaction]:
    """A transaction in which order 1 has been stored."""
    async with library.begin(shop) as begun:
        await begun.execute(f"INSERT INTO {shop.orders} VALUES (1)")
        yield begun
    await shop.app.aclose()


@pytest.mark.parametrize("library", ASYNC, ids=by_name)
class TestAsync:
    async def test_a_commit_brings_the_job_and_everything_else(
        self, shop: Shop, abegun: AsyncTransaction, ship: Task[[int], int]
    ) -> None:
        job = await shop.app.outbox(abegun.tx).aenqueue(ship.job(1))
        assert (shop.stored(), shop.waiting()) == ([], 0), "nobody sees it before"
        await abegun.commit()
        assert (shop.stored(), shop.waiting()) == ([1], 1)
        async with working(shop.app):
            assert await job.aresult(timeout=20) == 10
            await until(lambda: shop.waiting() == 0)
        assert shop.jobs() == 1

    async def test_after_a_rollback_it_never_was(
        self, shop: Shop, abegun: AsyncTransaction, ship: Task[[int], int]
    ) -> None:
        await shop.app.outbox(abegun.tx).aenqueue_many([ship.job(1), ship.job(2)])
        await abegun.rollback()
        assert (shop.stored(), shop.waiting()) == ([], 0)

    async def test_many_jobs_keep_their_order(
        self, shop: Shop, abegun: AsyncTransaction, ship: Task[[int], int]
    ) -> None:
        jobs = await shop.app.outbox(abegun.tx).aenqueue_many(ship.job(number) for number in range(50))
        await abegun.commit()
        assert shop.sql(f"SELECT id FROM {shop.table} ORDER BY number") == [(job.id,) for job in jobs]


# --- the job that is on its way --------------------------------------------------------------------------------------


async def test_a_result_is_waited_for_from_before_the_commit_on(postgres_shop: PostgresShop) -> None:
    app = postgres_shop.app

    @app.task
    def ship(order: int) -> int:
        return order * 10

    async with working(app), await psycopg.AsyncConnection.connect(postgres_shop.address) as connection:
        job = await app.outbox(connection).aenqueue(ship.job(4))
        waiting = asyncio.create_task(job.aresult(timeout=20))
        with pytest.raises(ResultTimeout):
            await job.aresult(timeout=0)
        with pytest.raises(JobNotFound, match="relayed"):
            await job.arefresh()
        await connection.commit()
        assert await waiting == 40
        await app.jobs.adelete(ids=[job.id])
        with pytest.raises(JobNotFound, match="pruned or deleted"):
            await job.aresult(timeout=5)
    await app.aclose()


# --- what cannot be --------------------------------------------------------------------------------------------------


@BOTH
def test_what_is_no_job(shop: Shop, ship: Task[[int], int]) -> None:
    outbox = shop.app.outbox(object())
    with pytest.raises(InvalidOption, match=r"task.job\(...\)"):
        outbox.enqueue(chain(ship.job(1), ship.job(2)))  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        outbox.enqueue(ship.job("one"))  # type: ignore[arg-type]
    with pytest.raises(InvalidOption, match=r"tx="):
        ship.using(tx=object()).job(1)
    with pytest.raises(InvalidFlow):
        outbox.enqueue(ship.job(previous))  # type: ignore[arg-type]


@BOTH
def test_what_is_no_connection(shop: Shop, ship: Task[[int], int]) -> None:
    for given, words in ((None, r"app.outbox\(\) is None"), (42, r"app.outbox\(\): 42 \(builtins.int\)")):
        with pytest.raises(UnusableTransaction, match=words):
            shop.app.outbox(given).enqueue(ship.job(1))
        with pytest.raises(UnusableTransaction, match=words):
            asyncio.run(shop.app.outbox(given).aenqueue(ship.job(1)))
    assert shop.waiting() == 0


def test_without_a_transaction_there_is_nothing_to_commit(postgres_shop: PostgresShop, sqlite_shop: SqliteShop) -> None:
    for shop, connection in (
        (postgres_shop, psycopg.connect(postgres_shop.address, autocommit=True)),
        (sqlite_shop, sqlite3.connect(sqlite_shop.address, isolation_level=None)),
    ):
        task = shop.app.task(name="ship")(lambda order: None)
        with closing(connection), pytest.raises(UnusableTransaction, match="autocommit"):
            shop.app.outbox(connection).enqueue(task.job(1))
        assert shop.waiting() == 0


def test_a_connection_that_leads_elsewhere(postgres_shop: PostgresShop, sqlite_shop: SqliteShop, postgres: str) -> None:
    """Nobody would fetch the jobs from there."""
    task = postgres_shop.app.task(name="ship")(lambda order: None)
    file, memory = sqlite3.connect(sqlite_shop.address), sqlite3.connect(":memory:")
    with closing(file), pytest.raises(UnusableTransaction, match="no connection to PostgreSQL"):
        postgres_shop.app.outbox(file).enqueue(task.job(1))
    with closing(memory), pytest.raises(UnusableTransaction, match="in memory"):
        sqlite_shop.app.outbox(memory).enqueue(task.job(1))
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE DATABASE outbox_other")
    try:
        with psycopg.connect(postgres.rpartition("/")[0] + "/outbox_other") as other:
            with pytest.raises(UnusableTransaction, match="outbox_other"):
                postgres_shop.app.outbox(other).enqueue(task.job(1))
            assert other.execute("SELECT 1").fetchone() == (1,), "the transaction can still be used"
    finally:
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute("DROP DATABASE outbox_other WITH (FORCE)")


def test_a_program_that_only_enqueues_need_not_be_told_where(sqlite_shop: SqliteShop, tmp_path: Path) -> None:
    app = Mainspring("redis://localhost:1/0")
    task = app.task(name="ship")(lambda order: None)
    with closing(sqlite3.connect(sqlite_shop.address)) as connection:
        app.outbox(connection).enqueue(task.job(1))
        connection.commit()
    assert sqlite_shop.waiting() == 1


def test_where_there_is_no_outbox_the_error_names_the_command(postgres: str, tmp_path: Path) -> None:
    """And the transaction can go on."""
    app = Mainspring(f"sqlite:///{tmp_path}/jobs.db", outbox=f"{postgres}?schema=nobody_made_it")
    task = app.task(name="ship")(lambda order: None)
    with psycopg.connect(postgres) as connection:
        with pytest.raises(SchemaMismatch, match=r"mainspring migrate --outbox postgresql://.*schema=nobody_made_it"):
            app.outbox(connection).enqueue(task.job(1))
        assert connection.execute("SELECT 1").fetchone() == (1,)
    untold = Mainspring(f"sqlite:///{tmp_path}/jobs.db")
    task = untold.task(name="ship")(lambda order: None)
    with closing(sqlite3.connect(tmp_path / "shop.db")) as file:
        file.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
        file.execute("INSERT INTO orders VALUES (1)")
        with pytest.raises(SchemaMismatch, match=f"mainspring migrate --outbox sqlite:///{tmp_path}/shop.db"):
            untold.outbox(file).enqueue(task.job(1))
        file.commit()
        assert file.execute("SELECT count(*) FROM orders").fetchone() == (1,)


def test_an_outbox_in_the_database_of_the_jobs_is_pointless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    with pytest.raises(InvalidOption, match=r"using\(tx=connection\)"):
        Mainspring(url, outbox=url)
    with pytest.raises(InvalidOption, match=r"using\(tx=connection\)"):
        Mainspring("postgresql://me@db/shop", outbox="postgresql://other@db:5432/shop?schema=mine")
    monkeypatch.setenv("MAINSPRING_OUTBOX", url)
    with pytest.raises(InvalidOption, match=r"using\(tx=connection\)"):
        Mainspring(url)
    assert Mainspring("sqlite://").relayed is not None
    for wrong in ("redis://localhost/0", "sqlite://", "mysql://db/shop", "postgresql://me:secret@[db/shop", 7):
        with pytest.raises(InvalidURL) as raised:
            Mainspring("redis://localhost/0", outbox=wrong)  # type: ignore[arg-type]
        assert "secret" not in str(raised.value)


@BOTH
async def test_a_blocking_connection_is_not_for_async_verbs(shop: Shop, ship: Task[[int], int]) -> None:
    library = next(each for each in BLOCKING if each.store in shop.outbox_url)
    with library.begin(shop) as begun:
        with pytest.raises(UnusableTransaction, match="blocking connection"):
            await shop.app.outbox(begun.tx).aenqueue(ship.job(1))
        begun.commit()
    assert shop.waiting() == 0
