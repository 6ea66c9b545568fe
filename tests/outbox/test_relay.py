"""How the rows of an outbox become jobs in a store: each once, in order, and none in the way of the others."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
import statistics
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from servers.pgbouncer import running_pgbouncer
from transactions.libraries import BLOCKING
from worker.scene import sql, until, working

from mainspring import Debounce, Job, Mainspring, State, Task, Unique
from mainspring.clock import moment, now_ms
from mainspring.store.base import ConfigureRequest
from mainspring.worker.relay import LIMIT, Relay

from .shops import PostgresShop, Shop

BOTH = pytest.mark.parametrize("shop", ["postgres", "sqlite"], indirect=True)
Elsewhere = Callable[[Shop], Mainspring]


def put(shop: Shop, app: Mainspring, *drafts: Any) -> list[Job[Any]]:
    """Write jobs into the outbox, in one transaction, and commit."""
    library = next(each for each in BLOCKING if each.store in shop.outbox_url)
    with library.begin(shop) as begun:
        jobs = app.outbox(begun.tx).enqueue_many(drafts)
        begun.commit()
    return jobs


async def relay_all(app: Mainspring, patience: int = 50) -> None:
    """What a worker's relay does, until it finds nothing more to do now."""
    assert app.relayed is not None
    driver, reader = app.store.async_driver(), app.relayed.reader()
    relay = Relay(app.relayed, driver)
    try:
        for _ in range(patience):
            taken = await relay.relay(reader)
            assert taken is not None
            if taken < LIMIT:
                return
        raise AssertionError("it goes on and on")
    finally:
        await reader.aclose()
        await driver.aclose()


@BOTH
async def test_everything_travels(shop: Shop, elsewhere: Elsewhere) -> None:
    app = elsewhere(shop)

    @app.task(retry=3)
    async def ship(order: int, note: str = "") -> None: ...

    put(
        shop,
        app,
        ship.using(id="mine", priority=2, queue="later", partition="über 100%", retry=7, cost=3).job(
            1, "a\nb 'q' \\ \" ü 100%"
        ),
        ship.using(delay="1h", timeout="5s").job(2),
    )
    await relay_all(app)
    job = app.jobs.get("mine")
    assert (job.state, job.priority, job.queue, job.partition, job.cost) == (State.QUEUED, 2, "later", "über 100%", 3)
    assert job.args == {"order": 1, "note": "a\nb 'q' \\ \" ü 100%"}
    assert json.loads(job.record.options or "{}")["retry"]["attempts"] == 7
    assert app.jobs.count(state="scheduled") == 1
    assert shop.status().waiting == 0
    await app.aclose()


@BOTH
async def test_a_delay_counts_from_when_it_was_written(shop: Shop, elsewhere: Elsewhere) -> None:
    app = elsewhere(shop)
    ship: Task[..., Any] = app.task(name="ship")(lambda order: None)
    later, soon = put(shop, app, ship.using(delay="2h").job(1), ship.using(delay="10m").job(2))
    back = "at - interval '1 hour'" if "postgres" in shop.outbox_url else "at - 3600000"
    shop.sql(f"UPDATE {shop.table} SET at = {back}")
    await relay_all(app)
    now = now_ms()
    assert abs((later.refresh().run_at - moment(now)) - timedelta(hours=1)) < timedelta(seconds=30)
    assert soon.refresh().state is State.QUEUED
    assert abs(soon.run_at - moment(now)) < timedelta(seconds=30)
    await app.aclose()


@BOTH
async def test_the_same_id_twice_is_one_job(shop: Shop, elsewhere: Elsewhere) -> None:
    app = elsewhere(shop)
    ship: Task[..., Any] = app.task(name="ship")(lambda order: None)
    put(shop, app, ship.using(id="one").job(1), ship.using(id="one").job(2))
    await relay_all(app)
    put(shop, app, ship.using(id="one").job(3))
    await relay_all(app)
    assert [(job.id, job.args) for job in app.jobs.find()] == [("one", {"order": 1})]
    assert shop.waiting() == 0
    await app.aclose()


@BOTH
async def test_who_has_no_claim_to_a_key_is_gone_with_a_line_in_the_log(
    shop: Shop, elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    app = elsewhere(shop)
    caplog.set_level(logging.INFO, "mainspring.worker")

    @app.task
    def ship(order: int) -> None: ...

    gives_way, rejects = Unique(), Unique(on_conflict="reject")
    first, second, third, other = put(
        shop,
        app,
        ship.using(unique=rejects).job(1),
        ship.using(unique=rejects).job(1),
        ship.using(unique=gives_way).job(1),
        ship.job(2),
    )
    await relay_all(app)
    assert {job.id for job in app.jobs.find()} == {first.id, other.id}
    assert shop.status().waiting == shop.status().aside == 0
    assert f"job {second.id} (ship) is dropped: job {first.id} has its key" in caplog.text
    assert f"job {third.id} (ship) gives way to job {first.id}" in caplog.text
    await app.aclose()


@BOTH
async def test_of_debounced_jobs_the_last_one_written_counts(shop: Shop, elsewhere: Elsewhere) -> None:
    app = elsewhere(shop)

    @app.task(debounce=Debounce("1h", by=()))
    def index(version: int) -> None: ...

    put(shop, app, *(index.job(version) for version in range(LIMIT + 7)))
    await relay_all(app)
    (job,) = app.jobs.find()
    assert job.args == {"version": LIMIT + 6}
    await app.aclose()


@BOTH
async def test_a_full_queue_holds_up_nobody_else(
    shop: Shop, elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    app = elsewhere(shop)

    @app.task(queue="narrow")
    def ship(order: int) -> None: ...

    @app.task
    def bill(order: int) -> None: ...

    app.queue("narrow", max_queued=2)
    driver = app.store.driver()
    driver.run(ConfigureRequest(app.declared_queues))
    driver.close()
    put(shop, app, *(ship.job(number) for number in range(2 * LIMIT)), bill.job(1))
    await relay_all(app)
    assert [job.args["order"] for job in reversed(list(app.jobs.find(queue="narrow")))] == [0, 1]
    assert app.jobs.count(queue="default") == 1
    assert shop.waiting() == 2 * LIMIT - 2
    assert caplog.text.count("queue 'narrow' is full (2 wait there)") == 1
    # There is room again: the next ones, in order.
    app.jobs.delete(queue="narrow")
    await relay_all(app)
    assert [job.args["order"] for job in reversed(list(app.jobs.find(queue="narrow")))] == [2, 3]
    await app.aclose()


@BOTH
async def test_rows_that_make_no_job_are_set_aside_and_the_others_go_on(
    shop: Shop, elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    app = elsewhere(shop)
    ship: Task[..., Any] = app.task(name="ship")(lambda order: None)
    shop.put_raw("a", "{not json")
    shop.put_raw("b", '{"id": "b"}')
    shop.put_raw("c", '{"id": "c", "task": "ship", "speed": 9}')
    shop.put_raw("d", '{"id": "d", "task": "ship", "priority": 99999999}')
    shop.put_raw("e", '{"id": "other", "task": "ship"}')
    shop.put_raw("f", "[1]")
    shop.put_raw("g", '{"id": "g", "task": "ship", "parents": [{"parent": "x"}]}')
    shop.put_raw("h", '{"id": "h", "task": "ship", "keys": [{"name": "k", "until": "whenever"}]}')
    shop.put_raw("i", "[" * 100_000)
    shop.put_raw("fine", '{"id": "fine", "task": "ship"}')
    (job,) = put(shop, app, ship.job(1))
    await relay_all(app)
    assert {each.id for each in app.jobs.find()} == {job.id, "fine"}
    assert (shop.status().waiting, shop.status().aside) == (0, 9)
    reasons = dict(shop.aside())
    assert reasons.keys() == set("abcdefghi")
    assert all(reasons.values())
    assert "speed" in reasons["c"]
    assert "set aside" in caplog.text
    # Put right by hand, it goes its way.
    shop.sql(f"""UPDATE {shop.table} SET aside = NULL, job = '{{"id": "a", "task": "ship"}}' WHERE id = 'a'""")
    await relay_all(app)
    assert app.jobs.get("a").task == "ship"
    await app.aclose()


@BOTH
async def test_a_job_with_which_the_store_fails_is_set_aside_unless_it_fails_with_all(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    app = shop.app
    ship: Task[..., Any] = app.task(name="ship")(lambda order: None)
    app.store.migrate()
    sql(
        app,
        "CREATE TRIGGER refuse BEFORE INSERT ON mainspring_jobs WHEN new.id LIKE 'bad%' "
        "BEGIN SELECT raise(ABORT, 'never that one'); END",
    )
    put(shop, app, ship.using(id="bad 1").job(1), ship.using(id="bad 2").job(2))
    with pytest.raises(sqlite3.IntegrityError):
        await relay_all(app)
    assert (shop.status().waiting, shop.status().aside) == (2, 0), "who knows whose fault it is"
    put(shop, app, *(ship.using(id=f"good {number}").job(number) for number in range(5)))
    await relay_all(app)
    assert app.jobs.count() == 5
    assert shop.waiting() == 0
    assert sorted(shop.aside()) == [(f"bad {n}", "IntegrityError: never that one") for n in (1, 2)]
    await app.aclose()


@BOTH
async def test_it_is_prompt(shop: Shop) -> None:
    """Well before the next poll: that would be a second after the last. Of some times the middle one counts."""
    app = shop.app

    @app.task
    def ship(order: int) -> None: ...

    async with working(app):
        await asyncio.sleep(0.2)
        loop, took = asyncio.get_running_loop(), list[float]()
        for number in range(7):
            begun = loop.time()
            await asyncio.to_thread(put, shop, app, ship.job(number))
            await until(lambda: app.jobs.count() == number + 1)  # noqa: B023
            took.append(loop.time() - begun)
        assert statistics.median(took) < 0.9, took
    await app.aclose()


@BOTH
@pytest.mark.parametrize("workers", [2, 5])
async def test_several_relays_at_once_bring_each_job_once_and_in_order(
    shop: Shop, elsewhere: Elsewhere, workers: int
) -> None:
    app = elsewhere(shop)
    ship: Task[..., Any] = app.task(name="ship")(lambda order: None)
    jobs = put(shop, app, *(ship.job(number) for number in range(2000)))
    assert app.relayed is not None
    relays = [Mainspring(app.url, outbox=shop.outbox_url) for _ in range(workers)]
    turns = await asyncio.gather(*(_relay_until_empty(each, shop) for each in relays))
    assert sum(turns) == 2000
    found, cursor = list[Job[Any]](), None
    while page := app.jobs.find(limit=1000, cursor=cursor):
        found += page
        if (cursor := page.cursor) is None:
            break
    assert [job.id for job in reversed(found)] == [job.id for job in jobs]
    assert shop.waiting() == 0
    for each in (app, *relays):
        await each.aclose()


async def _relay_until_empty(app: Mainspring, shop: Shop) -> int:
    """How many rows this one has relayed."""
    assert app.relayed is not None
    driver, reader = app.store.async_driver(), app.relayed.reader()
    relay, count = Relay(app.relayed, driver), 0
    try:
        # On a thread: who asks here must not keep another from hearing what it was answered in its turn.
        while await asyncio.to_thread(shop.waiting):
            async with reader.turn(LIMIT) as turn:
                if turn is not None:
                    verdicts = await relay._send(turn.rows)
                    await turn.finish(verdicts.gone, verdicts.aside)
                    count += len(verdicts.gone)
    finally:
        await reader.aclose()
        await driver.aclose()
    return count


@BOTH
async def test_a_turn_keeps_nobody_from_writing(shop: Shop) -> None:
    """However long the store takes, the user's own transactions go on."""
    app = shop.app
    ship: Task[..., Any] = app.task(name="ship")(lambda order: None)
    put(shop, app, ship.job(1))
    reader = shop.outbox.reader()
    async with reader.turn(LIMIT) as turn:
        assert turn is not None
        assert len(turn.rows) == 1
        put(shop, app, ship.job(2))
        shop.sql(f"INSERT INTO {shop.orders} VALUES (1)")
        other = shop.outbox.reader()
        async with other.turn(LIMIT) as second:
            assert second is None, "one at a time"
        await other.aclose()
        await turn.finish([turn.rows[0].number], [])
    async with reader.turn(LIMIT) as turn:
        assert turn is not None
        assert len(turn.rows) == 1
    await reader.aclose()
    assert shop.waiting() == 1


async def test_a_row_that_somebody_changes_by_hand_is_passed_over(postgres_shop: PostgresShop) -> None:
    app = postgres_shop.app
    ship: Task[..., Any] = app.task(name="ship")(lambda order: None)
    first, second = put(postgres_shop, app, ship.job(1), ship.job(2))
    with psycopg.connect(postgres_shop.address) as connection:
        connection.execute(f"SELECT 1 FROM {postgres_shop.table} WHERE id = %s FOR UPDATE", [first.id])  # type: ignore[arg-type]
        await relay_all(app)
        assert [job.id for job in app.jobs.find()] == [second.id]
    await relay_all(app)
    assert app.jobs.count() == 2
    await app.aclose()


def test_a_file_keeps_its_owners_journal(sqlite_shop: Shop) -> None:
    with closing(sqlite3.connect(sqlite_shop.address)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


async def test_behind_a_pooler(postgres: str, tmp_path: Path) -> None:
    """Each transaction is in another server process, and nothing is heard: it is looked at now and then."""
    with running_pgbouncer(postgres) as pooler:
        url = f"{pooler}?listen=0&schema=pooled_{os.getpid()}"
        apps = [Mainspring(f"sqlite:///{tmp_path}/jobs.db", outbox=url) for _ in range(2)]
        app = apps[0]
        assert app.relayed is not None
        assert app.relayed.migrate()
        ship: Task[..., Any] = app.task(name="ship")(lambda order: order)
        apps[1].task(name="ship")(lambda order: order)
        # As everybody does behind such a pooler: what is prepared in one process is unknown to the next.
        connecting = psycopg.AsyncConnection.connect(pooler, prepare_threshold=None)
        async with working(app), working(apps[1]), await connecting as connection:
            for number in range(20):
                job = await app.outbox(connection).aenqueue(ship.job(number))
                await connection.commit()
            assert await job.aresult(timeout=20) == 19
        assert app.relayed.status().waiting == 0
        assert app.jobs.count() == 20
        for each in apps:
            await each.aclose()
        with psycopg.connect(postgres, autocommit=True) as admin:
            admin.execute(f"DROP SCHEMA pooled_{os.getpid()} CASCADE")
