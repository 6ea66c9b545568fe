"""Behind PgBouncer in transaction mode, with `?listen=0`, everything works; without it, the error says so."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing

import psycopg
import pytest
from punctual import seconds, takes_less_than
from servers.pgbouncer import running_pgbouncer
from servers.postgres import PostgresServer
from worker.scene import until, wait_until, working

from mainspring import Context, JobCancelled, Mainspring, State, Unique, chain
from mainspring.errors import StoreBusy, UnsuitableStore
from mainspring.store.base import ClaimRequest, Room
from mainspring.store.postgres import PostgresStore, drivers


@pytest.fixture(scope="module")
def pooler(shared_server: PostgresServer) -> Iterator[str]:
    with running_pgbouncer(shared_server.url) as url:
        yield url


@pytest.fixture
def url(pooler: str) -> str:
    """By which the pooler is used as it is to be used, in a schema of the test's own."""
    url = f"{pooler}?listen=0&schema=test_{time.monotonic_ns()}"
    PostgresStore(url).migrate()
    return url


@pytest.fixture
async def app(url: str) -> AsyncIterator[Mainspring]:
    app = Mainspring(url)
    yield app
    await app.aclose()


async def test_a_worker_and_all_that_is_done_with_jobs(app: Mainspring) -> None:
    release = asyncio.Event()

    @app.task
    async def add(a: int, b: int) -> int:
        return a + b

    @app.task
    def twice(n: int) -> int:
        return 2 * n

    @app.task
    async def hold(ctx: Context) -> None:
        ctx.progress(50, "half")
        ctx.log("waits")
        await release.wait()

    @app.task(unique=Unique())
    async def once(n: int) -> int:
        return n

    @app.every("1s", name="tick")
    async def tick() -> None: ...

    async with working(app, concurrency=20):
        jobs = [await add.aenqueue(n, n) for n in range(50)]
        many = app.enqueue_many(twice.job(n) for n in range(500))
        late = await add.using(delay="0.5s").aenqueue(1, 2)
        held = await hold.aenqueue()
        same = [await once.using(delay="1h").aenqueue(1) for _ in range(2)]
        assert same[0].id == same[1].id
        assert [await job.aresult(20) for job in jobs] == [2 * n for n in range(50)]
        assert await asyncio.to_thread(many[-1].result, 20) == 998
        assert await late.aresult(20) == 3
        assert await chain(add.job(1, 1), twice.job(21)).enqueue().aresult(20) == 42
        await until(lambda: app.jobs.get(held.id).progress == 50 and app.jobs.get(held.id).log)
        assert held.cancel("enough")
        with pytest.raises(JobCancelled):
            await held.aresult(20)
        app.queues.pause("default")
        waiting = await add.aenqueue(1, 1)
        assert [queue.paused for queue in app.queues.list() if queue.name == "default"] == [True]
        assert waiting.refresh().state is State.QUEUED
        app.queues.resume("default")
        assert await waiting.aresult(20) == 2
        await until(lambda: app.jobs.count(task="tick", state="completed") > 0)
        await until(lambda: app.jobs.count(task="twice", state="completed") == 501)
        assert [worker.alive for worker in app.workers.list()] == [True]
    assert app.workers.list() == []


async def test_two_workers_and_many_enqueuers_share_two_server_processes(shared_server: PostgresServer) -> None:
    with running_pgbouncer(shared_server.url, default_pool_size=2) as pooler:
        app = Mainspring(f"{pooler}?listen=0")
        ran: list[int] = []

        @app.task
        async def work(n: int) -> None:
            ran.append(n)

        def enqueue(first: int) -> None:
            for n in range(first, first + 10):
                work.enqueue(n)

        async def all_completed() -> bool:
            # Not the blocking one: it would hold up the transactions of the workers, and wait for them.
            return await app.jobs.acount(state="completed") == 200

        workers = [app.worker() for _ in range(2)]
        running = [asyncio.create_task(worker.arun()) for worker in workers]
        await asyncio.gather(*(asyncio.to_thread(enqueue, 10 * n) for n in range(20)))
        await until(all_completed, 60)
        for worker in workers:
            worker.stop()
        await asyncio.gather(*running)
        assert sorted(ran) == list(range(200))
        await app.aclose()


@pytest.fixture
def heard_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server says to a deadline is waited for, also by a busy machine."""
    monkeypatch.setattr(drivers, "GRACE_SECONDS", 20.0)


@pytest.mark.usefixtures("heard_out")
def test_the_server_keeps_to_the_deadline_of_each_operation(app: Mainspring, pooler: str) -> None:
    """Where no setting of a session lasts, each transaction says how long it may take."""

    @app.task
    def task() -> None: ...

    task.enqueue()
    schema = app.url.rpartition("schema=")[2]
    with psycopg.connect(pooler) as blocker:
        blocker.execute(f"LOCK TABLE {schema}.jobs IN ACCESS EXCLUSIVE MODE")

        def refused() -> None:
            with pytest.raises(StoreBusy, match="statement timeout"):
                task.enqueue()

        def waiting() -> float:
            took = seconds(refused)
            assert took > 4
            return took

        takes_less_than(6, waiting)


@pytest.mark.usefixtures("heard_out")
def test_the_server_keeps_to_the_deadline_of_looks_too(
    app: Mainspring, pooler: str, shared_server: PostgresServer
) -> None:
    """A claim looks first, without writing; nothing goes on in the server after its deadline."""
    schema, driver = app.url.rpartition("schema=")[2], app.store.driver()
    driver.run(ClaimRequest("nobody", (Room("default", 1),), 1))
    with psycopg.connect(shared_server.url) as blocker, closing(driver):
        blocker.execute(f"LOCK TABLE {schema}.workers IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreBusy, match="statement timeout"):
            driver.run(ClaimRequest("nobody", (Room("default", 1),), 1))
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        wait_until(lambda: blocker.execute(waiting).fetchone() == (0,))


async def test_hints_are_sent_from_behind_the_pooler_to_those_who_can_listen(
    url: str, shared_server: PostgresServer
) -> None:
    schema = url.rpartition("schema=")[2]
    listener = PostgresStore(f"{shared_server.url}?schema={schema}").driver()
    watch = listener.watch(("queue:default",))
    try:
        while watch.wait(0.1):
            pass
        heard: list[bool] = []
        waiter = threading.Thread(target=lambda: heard.append(watch.wait(30)))
        waiter.start()
        behind = Mainspring(url)

        @behind.task
        def task() -> None: ...

        task.enqueue()
        waiter.join()
        assert heard == [True]
        behind.close()
    finally:
        watch.close()
        listener.close()


# --- who forgets listen=0 --------------------------------------------------------------------------------------------


def test_without_listen_0_the_first_connection_says_what_to_do(pooler: str) -> None:
    app = Mainspring(pooler)

    @app.task
    def task() -> None: ...

    with pytest.raises(UnsuitableStore, match="add listen=0 to the URL"):
        task.enqueue()


def test_where_the_pooler_swallows_settings_the_first_lost_statement_says_what_to_do(
    shared_server: PostgresServer,
) -> None:
    with running_pgbouncer(shared_server.url, ignore_startup_parameters="options") as pooler:
        driver = PostgresStore(pooler).driver()
        with ExitStack() as several:
            # Each in a transaction, so that there are several server processes; who comes next gets the next one.
            for _ in range(4):
                several.enter_context(psycopg.connect(pooler)).execute("SELECT 1")

        def ask_often() -> None:
            for _ in range(200):
                driver.run(ClaimRequest("nobody", (Room("default", 1),), 1))

        with closing(driver), pytest.raises(UnsuitableStore, match="add listen=0 to the URL"):
            ask_often()


async def test_where_listen_is_lost_the_log_says_what_to_do(
    shared_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "mainspring.store")
    settings = {"ignore_startup_parameters": "options", "server_reset_query_always": 1}
    with running_pgbouncer(shared_server.url, **settings) as pooler:
        driver = PostgresStore(pooler).async_driver()
        await driver.watch(("queue:default",))
        await until(lambda: "add listen=0" in caplog.text or "say listen=0" in caplog.text)
        await driver.aclose()


def test_doctor_notices_a_pooler(shared_server: PostgresServer, pooler: str) -> None:
    with running_pgbouncer(shared_server.url, ignore_startup_parameters="options") as lenient:
        found = doctor(lenient)
        assert found["server"] == [
            "warn",
            "a pooler hands out a server process per transaction, where LISTEN is lost: add listen=0 to the URL",
        ]
    assert "server" not in doctor(f"{pooler}?listen=0")
    assert "server" not in doctor(shared_server.url)
    level, text = doctor(pooler)["store"]
    assert level == "fail"
    assert "add listen=0 to the URL" in text
    with running_pgbouncer(
        shared_server.url, ignore_startup_parameters="options", pool_mode="session", default_pool_size=20
    ) as session:
        assert "should it be in transaction mode" in doctor(session)["server"][1]


def doctor(url: str) -> dict[str, list[str]]:
    done = subprocess.run(
        [sys.executable, "-m", "mainspring", "doctor", "--url", url, "--json"],
        env=os.environ,
        capture_output=True,
        check=False,
    )
    return {each["check"]: [each["level"], each["found"]] for each in json.loads(done.stdout)}
