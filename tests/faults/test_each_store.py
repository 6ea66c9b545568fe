"""What may be in a store, or be asked of it all at once, on each kind."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import psycopg
import pytest
import redis
from worker.scene import until, working

from mainspring import Context, Mainspring, Retry, State, StoreError
from mainspring.admin.schedules import make_timing
from mainspring.clock import now_ms
from mainspring.model.clock import StoreClock
from mainspring.model.states import FINAL
from mainspring.store.base import ConfigureRequest, InsertRequest, PutSchedule, Reply, Request
from mainspring.worker.chores import Tend

from .chaos.ground import Ground


@pytest.fixture
async def app(each_store: Ground) -> AsyncIterator[Mainspring]:
    app = Mainspring(each_store.apart())
    app.store.migrate()
    yield app
    await app.aclose()


@pytest.fixture
def spoil(each_store: Ground, app: Mainspring) -> Callable[[str, str, str], None]:
    """Write a text into a column of a queued job, past everything that would refuse it."""
    if not each_store.has_server:
        pytest.skip("tests/worker/test_hostile.py does it")
    place = app.url.rpartition("=")[2]
    if each_store.name == "postgres":

        def write(job: str, column: str, text: str) -> None:
            with psycopg.connect(each_store.address) as connection:
                connection.execute(f"UPDATE {place}.jobs SET {column} = %s WHERE id = %s", [text, job])  # type: ignore[arg-type]

        return write

    def hset(job: str, column: str, text: str) -> None:
        with redis.Redis.from_url(each_store.address) as client:
            client.hset(f"{{{place}}}:job:{job}", column, text)

    return hset


@pytest.mark.fault("malformed row", "postgres", "redis")
async def test_malformed_stored_jobs_are_set_aside_and_the_rest_goes_on(
    app: Mainspring, spoil: Callable[[str, str, str], None]
) -> None:
    @app.task(retry=Retry(attempts=2, delay=0))
    async def work(n: int) -> int:
        return n

    bad = {
        "args": ["", "null", "[]", "{", '{"n": "many"}', '{"m": 1}', "[" * 10_000],
        "options": ["[]", "{", '{"retry": 3}', '{"timeout_ms": -1}', "[" * 10_000, '{"what": 1}'],
        "history": ["null", "{", '[{"number": 1}]'],
    }
    jobs = [(column, text, await work.aenqueue(1)) for column, texts in bad.items() for text in texts]
    for column, text, job in jobs:
        spoil(job.id, column, text)
    good = [await work.aenqueue(n) for n in range(100, 120)]
    async with working(app, concurrency=3):
        assert [await job.aresult(20) for job in good] == list(range(100, 120))
        await until(lambda: app.jobs.count(state=State.COMPLETED) + app.jobs.count(state=State.DEAD) == len(jobs) + 20)
    for column, text, job in jobs:
        record = (await app.jobs.aget(job.id)).record
        assert record.state is (State.COMPLETED if column == "history" else State.DEAD), (column, text)
        assert record.state in FINAL
        if record.state is State.DEAD:
            assert json.loads(record.error or "{}")["message"]


class _Counting:
    """A driver that counts what it is asked."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self.asked: Counter[str] = Counter()

    async def run(self, request: Request[Reply]) -> Reply:
        self.asked[type(request).__name__] += 1
        reply: Reply = await self._driver.run(request)
        return reply


@pytest.mark.fault("5,000 schedules due at once", "sqlite", "postgres", "redis")
async def test_schedules_that_are_due_all_at_once_are_served_in_a_few_requests(app: Mainspring) -> None:
    driver = _Counting(opened := app.store.async_driver())
    due = now_ms() - 60_000
    # So rarely that hardly any of them is due twice while this test looks.
    rarely = make_timing(None, "3650d", "UTC", "latest", None).to_text()
    schedules = [PutSchedule(f"s{number}", "work", rarely, due) for number in range(5000)]
    for first in range(0, 5000, 100):
        await driver.run(ConfigureRequest(tuple(schedules[first : first + 100])))
    driver.asked.clear()
    tend = Tend(driver, StoreClock(lambda: now_ms() / 1000, now_ms()))  # type: ignore[arg-type]
    while await tend() == 0.0:
        pass
    assert driver.asked[InsertRequest.__name__] == 5000 / Tend.LIMIT
    assert driver.asked.total() <= 2 * 5000 / Tend.LIMIT + 1
    await opened.aclose()
    assert app.jobs.count(task="work") == 5000


@pytest.mark.fault("connections used up", "redis")
async def test_tasks_that_use_up_their_own_connections_cost_no_lease(each_store: Ground) -> None:
    """One connection for all that they ask of the app, and all of them want it all the time."""
    if each_store.name != "redis":
        pytest.skip("tests/faults/test_postgres_connections.py does it; a file has no such bound")
    app, over = Mainspring(f"{each_store.apart()}&pool=1"), threading.Event()

    @app.task
    def greedy(ctx: Context) -> None:
        while not over.is_set():
            with suppress(StoreError):
                app.jobs.find(limit=1000)

    watcher = Mainspring(app.url)
    async with working(app, concurrency=10, lease="6s") as worker:
        id, jobs = worker.id, app.enqueue_many(greedy.job() for _ in range(5))
        await until(lambda: watcher.jobs.count(state="running") == 5)
        await asyncio.sleep(6.5)  # longer than a lease
        assert worker.id == id
        over.set()
        await until(lambda: watcher.jobs.count(state="completed") == 5)
    assert [len(watcher.jobs.get(job.id).attempts) for job in jobs] == [1] * 5
    watcher.close()
    await app.aclose()
