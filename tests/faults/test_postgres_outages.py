"""What the server takes back or ends is tried again where that can help, and said plainly where it cannot."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
from servers.postgres import PostgresServer
from worker.scene import until, wait_until, working

from mainspring import Mainspring
from mainspring.errors import StoreBusy
from mainspring.model.job import NewJob
from mainspring.store.base import InsertRequest, Operation
from mainspring.store.postgres import PostgresStore, drivers
from mainspring.store.sql.statements import WRITE, Query

from .test_processes import every


class Meddled(PostgresStore):
    """A store whose inserts do something else first; `meddle` gives it."""

    meddle: Any

    def insert(self, request: InsertRequest) -> Operation[Any]:
        yield WRITE
        yield from self.meddle(request.jobs[0].id)
        return (yield from super().insert(request))


def lock(id: str) -> Query:
    return Query(f"SELECT 1 FROM mainspring_jobs WHERE id = '{id}' FOR UPDATE")


def request(id: str) -> InsertRequest:
    return InsertRequest((NewJob(id, "task"),))


@pytest.fixture
def store(place: str) -> Meddled:
    store = Meddled(place)
    with closing(PostgresStore(place).driver()) as driver:
        driver.run(InsertRequest((NewJob("a", "task"), NewJob("b", "task"))))
    return store


def test_deadlocks_are_tried_again(store: Meddled) -> None:
    tries, together = list[str](), threading.Barrier(2)

    def meddle(id: str) -> Operation[None]:
        tries.append(id)
        first, second = "ab" if id == "forth" else "ba"
        yield lock(first)
        if len(tries) <= 2:
            together.wait(10)
        yield lock(second)

    store.meddle = meddle
    with closing(store.driver()) as driver, ThreadPoolExecutor(2) as threads:
        replies = list(threads.map(driver.run, map(request, ("forth", "back"))))
    assert [reply[0].existed for reply in replies] == [False, False]
    assert len(tries) == 3


async def test_deadlocks_are_tried_again_for_async_callers(store: Meddled) -> None:
    tries, locked = list[str](), set[str]()

    def meddle(id: str) -> Operation[None]:
        tries.append(id)
        first, second = "ab" if id == "forth" else "ba"
        yield lock(first)
        locked.add(first)
        while len(locked) < 2:
            yield Query("SELECT pg_sleep(0.01)")
        yield lock(second)

    store.meddle = meddle
    driver = store.async_driver()
    replies = await asyncio.gather(*(driver.run(InsertRequest((NewJob(id, "task"),))) for id in ("forth", "back")))
    assert [reply[0].existed for reply in replies] == [False, False]
    assert len(tries) >= 3
    await driver.aclose()


def test_serialisation_failures_are_tried_again(store: Meddled, place: str) -> None:
    tries = list[str]()
    schema = place.rpartition("=")[2]

    def meddle(id: str) -> Operation[None]:
        tries.append(id)
        yield Query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield Query("SELECT count(*) FROM mainspring_jobs")
        if len(tries) == 1:
            with psycopg.connect(place.partition("?")[0], autocommit=True) as other:
                other.execute(f"UPDATE {schema}.jobs SET priority = 7 WHERE id = 'a'")
        yield Query("UPDATE mainspring_jobs SET priority = priority + 1 WHERE id = 'a'")

    store.meddle = meddle
    with closing(store.driver()) as driver:
        (reply,) = driver.run(request("c"))
    assert not reply.existed
    assert len(tries) == 2


def test_a_program_that_stood_still_in_a_transaction_is_told(place: str) -> None:
    store = Meddled(place)

    def meddle(id: str) -> Operation[None]:
        ((process,),) = yield Query("SELECT pg_backend_pid()")
        yield Query("SET LOCAL idle_in_transaction_session_timeout = 100")
        wait_until(lambda: outside.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [process]).rowcount == 0)
        yield Query("SELECT 1")

    store.meddle = meddle
    with closing(store.driver()) as driver, psycopg.connect(place.partition("?")[0], autocommit=True) as outside:
        with pytest.raises(StoreBusy, match="nothing was changed"):
            driver.run(request("c"))
        store.meddle = lambda _: iter(())
        assert not driver.run(request("c"))[0].existed


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
async def test_the_default_isolation_of_a_role_changes_nothing(
    shared_server: PostgresServer, place: str, isolation: str
) -> None:
    role = f"strict_{time.monotonic_ns()}"
    with psycopg.connect(shared_server.url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN SUPERUSER")
        connection.execute(f"ALTER ROLE {role} SET default_transaction_isolation = '{isolation}'")
    app = Mainspring(place.replace("postgres@", f"{role}@"))

    @app.task(retry=1)
    async def work(n: int) -> int:
        return n

    app.queue("limited", concurrency=5)
    async with working(app, ["default", "limited"]), working(app, ["default", "limited"]):
        drafts = [work.using(queue="limited" if n % 3 == 0 else "default").job(n) for n in range(60)]

        def enqueue(first: int) -> None:
            for n in range(first, first + 10):
                app.enqueue_many([drafts[n]])

        await asyncio.gather(*(asyncio.to_thread(enqueue, 10 * n) for n in range(6)))
        await until(lambda: app.jobs.count(state="completed") == 60)
    app.close()


@contextmanager
def hanging_up(server: PostgresServer, stored: list[str]) -> Iterator[None]:
    """An administrator ends all connections, again and again; each time when something more has been stored."""
    done = threading.Event()

    def hang_up() -> None:
        seen = -1
        with psycopg.connect(server.url, autocommit=True) as connection:
            while not done.wait(0.1):
                if len(stored) <= seen:
                    continue
                seen = len(stored)
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'mainspring' AND pid <> pg_backend_pid()"
                )

    thread = threading.Thread(target=hang_up)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.fault("cut connections", "postgres")
async def test_connections_that_are_ended_are_opened_anew_and_nobody_is_told(
    shared_server: PostgresServer, place: str
) -> None:
    app = Mainspring(place)

    @app.task
    async def work(n: int) -> int:
        await asyncio.sleep(0.01)
        return n

    acknowledged = list[str]()

    def enqueue() -> None:
        for n in range(150):
            acknowledged.append(work.enqueue(n).id)

    async with working(app, concurrency=20) as worker:
        id = worker.id
        with hanging_up(shared_server, acknowledged):
            await asyncio.to_thread(enqueue)
        await until(lambda: app.jobs.count(state="completed") == 150, 60)
        assert worker.id == id
    jobs = app.jobs.find(limit=1000)
    assert {job.id for job in jobs} == set(acknowledged)
    assert all(len(job.attempts) == 1 for job in jobs)
    app.close()


@pytest.mark.parametrize("mode", ["fast", "immediate", "kill -9"])
@pytest.mark.fault("kill -9 the server", "postgres")
def test_who_enqueues_while_the_server_restarts_waits_for_it(
    server: PostgresServer, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drivers, "OPERATION_SECONDS", 30.0)  # all that a busy machine takes for it
    app = Mainspring(server.url)

    @app.task
    async def task(n: int) -> None: ...

    done, ids = threading.Event(), list[str]()

    def enqueue() -> None:
        while not done.is_set():
            ids.append(task.enqueue(len(ids)).id)

    with ThreadPoolExecutor(2) as threads:
        enqueuers = [threads.submit(enqueue) for _ in range(2)]
        wait_until(lambda: len(ids) > 20)
        if mode == "kill -9":
            server.kill()
            server.start()
        else:
            server.restart(mode)
        before = len(ids)
        try:
            wait_until(lambda: len(ids) > before + 20)
        finally:
            done.set()
        for each in enqueuers:
            each.result(40)
    assert {job.id for job in every(app)} == set(ids)
    app.close()
