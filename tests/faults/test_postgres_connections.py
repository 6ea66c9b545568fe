"""How many connections are opened, who waits for one, and who never has to."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress

import psycopg
import pytest
from punctual import seconds, takes_less_than
from servers.postgres import PostgresServer, running_postgres
from worker.scene import until, wait_until, working

from mainspring import Context, Mainspring
from mainspring.errors import StoreBusy, StoreError, StoreUnavailable
from mainspring.store.base import ConfigureRequest, CountRequest, Filter
from mainspring.store.postgres import PostgresStore, drivers

ROOM = 20
"""How many connections the server takes; three of them are kept for its superuser."""

PATIENT = "options=-c%20statement_timeout%3D0"
"""A server that leaves it to us to give up."""


@pytest.fixture(scope="module")
def shared_server() -> Iterator[PostgresServer]:
    with running_postgres(connections=ROOM) as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE ROLE shop LOGIN")
            connection.execute("GRANT CREATE ON DATABASE postgres TO shop")
        yield server


@pytest.fixture
def place(shared_server: PostgresServer) -> str:
    """A schema of the test's own there, for somebody who is no superuser."""
    url = f"{shared_server.url.replace('postgres@', 'shop@')}?schema=test_{time.monotonic_ns()}"
    Mainspring(url).store.migrate()
    return url


@contextmanager
def no_room(server: PostgresServer) -> Iterator[None]:
    """Others take all connections that are left."""
    url = server.url.replace("postgres@", "shop@")
    with ExitStack() as others:
        with suppress(psycopg.OperationalError):
            while True:
                others.enter_context(closing(psycopg.connect(url)))
        yield


@contextmanager
def watched(server: PostgresServer) -> Iterator[list[int]]:
    """How many connections the shop had meanwhile, looked at again and again, and in the end: what a pool has opened it
    keeps. Whoever was there before is gone by the time that it begins."""
    seen, done = list[int](), threading.Event()
    with psycopg.connect(server.url, autocommit=True) as connection:

        def look() -> int:
            row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'shop'").fetchone()
            assert row
            seen.append(row[0])
            return int(row[0])

        def go_on() -> None:
            while not done.wait(0.005):
                look()

        wait_until(lambda: look() == 0, what="nobody is there")
        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            yield seen
        finally:
            done.set()
            thread.join()
            look()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a connection has all the time that a busy machine takes."""
    monkeypatch.setattr(drivers, "OPERATION_SECONDS", 60.0)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for the server does so for three seconds longer than who waits for a connection: not only for one."""
    monkeypatch.setattr(drivers, "GRACE_SECONDS", 3.0)


@pytest.mark.usefixtures("patient")
def test_500_threads_that_enqueue_share_ten_connections(shared_server: PostgresServer, place: str) -> None:
    app, together = Mainspring(place), threading.Barrier(500)

    @app.task
    def task(n: int) -> None: ...

    def enqueue(n: int) -> None:
        together.wait()
        task.enqueue(n)

    with watched(shared_server) as seen, ThreadPoolExecutor(500) as threads:
        list(threads.map(enqueue, range(500)))
    assert app.jobs.count(state="queued") == 500
    assert 1 < max(seen) <= 10
    app.close()


@pytest.mark.usefixtures("patient")
async def test_500_coroutines_share_them_too(shared_server: PostgresServer, place: str) -> None:
    app = Mainspring(f"{place}&pool=4")
    with watched(shared_server) as seen:
        counts = await asyncio.gather(*(app.jobs.acount() for _ in range(500)))
    assert counts == [0] * 500
    assert 1 < max(seen) <= 4
    await app.aclose()


async def test_threads_that_wait_for_results_share_one_more(shared_server: PostgresServer, place: str) -> None:
    app = Mainspring(f"{place}&pool=5")
    release = asyncio.Event()

    @app.task
    async def task(n: int) -> int:
        await release.wait()
        return n

    with watched(shared_server) as seen, ThreadPoolExecutor(100) as threads:
        jobs = app.enqueue_many(task.job(n) for n in range(100))
        results = [threads.submit(job.result, 30) for job in jobs]
        async with working(app, concurrency=100):
            await until(lambda: app.jobs.count(state="running") == 100)
            release.set()
            assert await asyncio.to_thread(lambda: [each.result() for each in results]) == list(range(100))
    # The worker has its own: its pool, its heart, its listener, and one for settling.
    assert max(seen) <= 5 + 1 + 5 + 1 + 1 + 1
    app.close()


@pytest.mark.usefixtures("held")
def test_who_gets_none_until_the_deadline_is_told_so(shared_server: PostgresServer, place: str) -> None:
    app = Mainspring(f"{place}&pool=2&{PATIENT}")
    assert app.jobs.count() == 0
    schema = place.rpartition("schema=")[2]

    def refused() -> None:
        with pytest.raises(StoreBusy, match=r"all 2 connections .* \(\?pool=N\)"):
            app.jobs.count()

    def seconds_until_told() -> float:
        with psycopg.connect(shared_server.url) as blocker, ThreadPoolExecutor(3) as threads:
            blocker.execute(f"LOCK TABLE {schema}.schedules IN ACCESS EXCLUSIVE MODE")
            stuck = [threads.submit(app.schedules.list) for _ in range(2)]
            wait_until(lambda: waiting_for_locks(shared_server) == 2)
            took = seconds(refused)
            for each in stuck:
                assert isinstance(each.exception(20), StoreUnavailable)
        assert app.jobs.count() == 0
        return took

    takes_less_than(6, seconds_until_told)
    app.close()


@pytest.mark.usefixtures("held")
async def test_async_callers_too(shared_server: PostgresServer, place: str) -> None:
    driver = PostgresStore(f"{place}&pool=1&{PATIENT}").async_driver()
    await driver.run(CountRequest(Filter()))
    schema = place.rpartition("schema=")[2]
    with psycopg.connect(shared_server.url) as blocker:
        blocker.execute(f"LOCK TABLE {schema}.schedules IN ACCESS EXCLUSIVE MODE")
        stuck = asyncio.create_task(driver.run(ConfigureRequest(read=frozenset({"schedules"}))))
        await until(lambda: waiting_for_locks(shared_server) == 1)
        with pytest.raises(StoreBusy):
            await driver.run(CountRequest(Filter()))
        with pytest.raises(StoreUnavailable):
            await stuck
    await driver.aclose()


def waiting_for_locks(server: PostgresServer) -> int:
    with psycopg.connect(server.url) as connection:
        row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchone()
        assert row
        return int(row[0])


async def a_lease_long(server: PostgresServer, place: str) -> None:
    """Until the lease that the one worker has now would be over, had it not been renewed."""
    schema = place.rpartition("schema=")[2]
    with psycopg.connect(server.url, autocommit=True) as connection:

        def look(column: str) -> int:
            (value,) = connection.execute(f"SELECT {column} FROM {schema}.workers").fetchone() or (0,)
            return int(value)

        ends = look("expires_at")
        await until(lambda: look("extract(epoch FROM clock_timestamp()) * 1000") > ends)


@pytest.mark.fault("connections used up", "postgres")
async def test_a_full_server_costs_a_running_worker_neither_its_lease_nor_its_jobs(
    shared_server: PostgresServer, place: str
) -> None:
    app, release = Mainspring(place), asyncio.Event()

    @app.task
    async def task(n: int) -> int:
        await release.wait()
        return n

    jobs = app.enqueue_many(task.job(n) for n in range(30))
    async with working(app, concurrency=10, lease="6s") as worker:
        id = worker.id
        await until(lambda: app.jobs.count(state="running") == 10)
        with no_room(shared_server):
            await a_lease_long(shared_server, place)
            release.set()
            # With what it has it settles these, and claims and settles the others.
            await until(lambda: app.jobs.count(state="completed") == 30)
            with pytest.raises(StoreBusy, match="takes no more connections"):
                await asyncio.to_thread(Mainspring(place).jobs.count)
        assert worker.id == id
    assert [len(app.jobs.get(job.id).attempts) for job in jobs] == [1] * 30
    app.close()


@pytest.mark.fault("connections used up", "postgres")
async def test_tasks_that_use_up_their_own_connections_cost_no_lease(shared_server: PostgresServer, place: str) -> None:
    """One connection for all that they ask of the app, and all of them wait for it."""
    app, settled = Mainspring(f"{place}&pool=1"), threading.Event()

    @app.task
    def greedy(ctx: Context) -> None:
        while not settled.is_set():
            with suppress(StoreError):
                app.schedules.list()

    @app.task
    async def modest() -> None: ...

    watcher = Mainspring(place)
    greedies = app.enqueue_many(greedy.job() for _ in range(5))
    schema = place.rpartition("schema=")[2]
    with psycopg.connect(shared_server.url) as blocker:
        async with working(app, concurrency=10, lease="6s") as worker:
            id = worker.id
            await until(lambda: watcher.jobs.count(state="running") == 5)
            blocker.execute(f"LOCK TABLE {schema}.schedules IN ACCESS EXCLUSIVE MODE")
            await a_lease_long(shared_server, place)
            blocker.rollback()
            settled.set()
            await until(lambda: watcher.jobs.count(state="completed") == 5)
            assert worker.id == id
    assert [len(watcher.jobs.get(job.id).attempts) for job in greedies] == [1] * 5
    watcher.close()
    app.close()
