"""The store is away, the database is away, either dies in the middle: not a job is lost, none comes twice."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from punctual import atakes_less_than
from servers.postgres import running_postgres
from servers.valkey import running_valkey
from worker.scene import until, working

from mainspring import Mainspring, StoreError
from mainspring.store.outbox.opening import open_outbox

from .shops import SqliteShop

pytestmark = pytest.mark.timeout(300)

JOBS = 300


def counted(app: Mainspring, **where: Any) -> int:
    """How many jobs, and -1 while the store does not say."""
    with suppress(StoreError):
        return app.jobs.count(**where)
    return -1


def left(app: Mainspring) -> int:
    """How many rows, and -1 while the database does not say."""
    assert app.relayed is not None
    with suppress(StoreError):
        return app.relayed.status().waiting
    return -1


async def test_the_store_dies_again_and_again(sqlite_shop: SqliteShop, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "mainspring.worker")
    with running_valkey(appendonly="yes", appendfsync="always") as server:
        app, ran = Mainspring(server.url, outbox=sqlite_shop.outbox_url), list[int]()

        @app.task
        def ship(order: int) -> None:
            ran.append(order)

        async with working(app, concurrency=50):
            for round in range(3):
                await put_some(sqlite_shop.address, app, [ship.job(round * 100 + number) for number in range(50)])
                server.kill()
                await put_some(sqlite_shop.address, app, [ship.job(round * 100 + 50 + number) for number in range(50)])
                if round == 0:
                    await until(lambda: "outbox: the store does not answer" in caplog.text)
                server.start()
            await until(lambda: counted(app, state="completed") == JOBS, 60)
        assert sorted(set(ran)) == list(range(JOBS))
        assert app.jobs.count() == JOBS
        assert left(app) == 0
        await app.aclose()
    assert "outbox: the store answers again" in caplog.text


async def put_some(address: str, app: Mainspring, drafts: list[Any]) -> None:
    """One transaction for each."""

    def put() -> None:
        with closing(sqlite3.connect(address)) as connection:
            for draft in drafts:
                app.outbox(connection).enqueue(draft)
                connection.commit()

    await asyncio.to_thread(put)


async def test_a_store_that_hangs_holds_up_no_transaction(sqlite_shop: SqliteShop) -> None:
    """It takes connections and says nothing; who writes to the file does not notice."""
    with running_valkey() as server:
        app = Mainspring(server.url, outbox=sqlite_shop.outbox_url)
        ship: Any = app.task(name="ship")(lambda order: None)
        async with working(app):
            put = 0

            async def slowest() -> float:
                """Of transactions over more than a second, in which the relay is about to send."""
                nonlocal put
                took = list[float]()
                for _ in range(60):
                    begun = time.monotonic()
                    await put_some(sqlite_shop.address, app, [ship.job(put)])
                    took.append(time.monotonic() - begun)
                    put += 1
                    await asyncio.sleep(0.02)
                return max(took)

            with server.frozen():
                await atakes_less_than(1.0, slowest)
            await until(lambda: counted(app, state="completed") == put)
        assert left(app) == 0
        await app.aclose()


async def test_the_database_dies_again_and_again(tmp_path: Path) -> None:
    """What was acknowledged as committed is a job in the end, and nothing else is."""
    with running_postgres(durable=True) as server:
        app = Mainspring(f"sqlite:///{tmp_path}/jobs.db", outbox=server.url)
        assert app.relayed is not None
        app.relayed.migrate()
        ship: Any = app.task(name="ship")(lambda order: None)
        committed, doubtful = set[int](), set[int]()
        stop = asyncio.Event()

        async def order_on() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                try:
                    async with await psycopg.AsyncConnection.connect(server.url, connect_timeout=2) as connection:
                        await app.outbox(connection).aenqueue(ship.using(id=f"order-{number}").job(number))
                        doubtful.add(number)
                        await connection.commit()
                    committed.add(number)
                except (psycopg.Error, StoreError):
                    await asyncio.sleep(0.02)

        async with working(app):
            ordering = asyncio.create_task(order_on())
            for _ in range(3):
                seen = len(committed)
                await until(lambda: len(committed) > seen + 20, 60)  # noqa: B023
                await asyncio.to_thread(server.kill)
                await asyncio.sleep(0.2)
                await asyncio.to_thread(server.start)
            seen = len(committed)
            await until(lambda: len(committed) > seen + 20, 60)
            stop.set()
            await ordering
            await until(lambda: left(app) == 0, 60)
            await until(lambda: counted(app, state="completed") == counted(app), 60)
        found, cursor = set[int](), None
        while True:
            page = app.jobs.find(limit=1000, cursor=cursor)
            found |= {job.args["order"] for job in page}
            if (cursor := page.cursor) is None:
                break
        assert committed <= found <= doubtful
        await app.aclose()


async def test_a_worker_starts_and_works_while_the_database_is_away(tmp_path: Path) -> None:
    """And relays when it is there; a table that is missing yet is waited for as well."""
    app = Mainspring(f"sqlite:///{tmp_path}/jobs.db", outbox=f"sqlite:///{tmp_path}/shop.db")
    ship: Any = app.task(name="ship")(lambda order: order)
    async with working(app):
        job = await ship.aenqueue(1)
        await job.aresult(timeout=20)
        with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
            connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
            open_outbox(f"sqlite:///{tmp_path}/shop.db").migrate()
            late = app.outbox(connection).enqueue(ship.job(2))
            connection.commit()
        assert await late.aresult(timeout=30) == 2
    await app.aclose()


async def test_reaping_goes_on_while_the_database_hangs(tmp_path: Path) -> None:
    """What else a worker does now and then does not wait for it."""
    with running_postgres() as server:
        app = Mainspring(f"sqlite:///{tmp_path}/jobs.db", outbox=server.url)
        assert app.relayed is not None
        app.relayed.migrate()

        @app.every("1s")
        @app.task
        def tick() -> None: ...

        async with working(app):
            await until(lambda: app.jobs.count() >= 1)

            async def four_more() -> float:
                seen, begun = app.jobs.count(), time.monotonic()
                await until(lambda: app.jobs.count() >= seen + 4)
                return time.monotonic() - begun

            with server.frozen():
                await atakes_less_than(8, four_more)
        await app.aclose()
