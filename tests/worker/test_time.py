"""Jobs for later, and schedules."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from punctual import atakes_less_than

from mainspring import Job, Mainspring
from mainspring.clock import now_ms
from mainspring.model.schedule import tick_id
from mainspring.store.base import Operation
from mainspring.store.sqlite import SqliteStore

from .scene import sql, until, working


@pytest.mark.alone
async def test_delayed_jobs_start_when_they_are_due_not_earlier_and_hardly_later(app: Mainspring) -> None:
    @app.task
    async def work() -> None: ...

    async with working(app):
        delays = [0.2 + 0.05 * number for number in range(30)]
        jobs = [await work.using(delay=delay).aenqueue() for delay in delays]
        at = datetime.now(UTC) + timedelta(seconds=0.5)
        jobs.append(await work.using(at=at).aenqueue())
        for job in jobs:
            await job.aresult(20)
            await job.arefresh()
    late = [(job.started_at - job.run_at).total_seconds() for job in jobs if job.started_at]
    assert min(late) >= 0
    assert statistics.median(late) < 0.05
    assert abs((jobs[-1].run_at - at).total_seconds()) < 0.002


class CountingStore(SqliteStore):
    """Counts what it is asked."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked: Counter[str] = Counter()


def _counting(operation: str) -> Callable[..., Operation[Any]]:
    def method(self: CountingStore, request: Any) -> Operation[Any]:
        self.asked[operation] += 1
        inherited: Callable[..., Operation[Any]] = getattr(SqliteStore, operation)
        return inherited(self, request)

    return method


OPERATIONS = ("insert", "claim", "settle", "beat", "reap", "note", "alter", "prune", "find", "count", "configure")
for _operation in OPERATIONS:
    setattr(CountingStore, _operation, _counting(_operation))


@pytest.mark.alone
async def test_an_idle_worker_with_a_job_for_later_asks_the_store_a_few_times_a_second_only(
    app: Mainspring, tmp_path: Path
) -> None:
    @app.task
    async def work() -> None: ...

    app.store = store = CountingStore(f"sqlite:///{tmp_path / 'jobs.db'}")

    async def waiting() -> float:
        job = await work.using(delay=3).aenqueue()
        before, began = Counter(store.asked), now_ms()
        await until(lambda: now_ms() - began > 2500)
        asked = store.asked - before
        await job.aresult(20)
        await job.arefresh()
        assert asked["claim"] <= 5, asked
        assert asked.total() <= 15, asked
        assert job.started_at is not None
        return (job.started_at - job.run_at).total_seconds()

    async with working(app):
        await atakes_less_than(0.25, waiting)


def slots(app: Mainspring) -> Counter[int]:
    """How many jobs there are for each slot of the task `tick`."""
    page = app.jobs.find(task="tick", limit=1000)
    assert page.cursor is None
    return Counter(job.record.run_at for job in page)


@pytest.mark.alone
async def test_three_workers_make_exactly_one_job_of_each_tick(app: Mainspring) -> None:
    ran: list[int] = []

    @app.every("1s", catch_up="all")
    async def tick() -> None: ...

    @app.cron("* * * * * *", catch_up="all", name="cron tick")
    @app.task
    async def tock() -> None:
        ran.append(1)

    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(working(app))
        await until(lambda: len(slots(app)) >= 4)
    ticks = slots(app)
    assert set(ticks.values()) == {1}
    first, last = min(ticks), max(ticks)
    assert sorted(ticks) == list(range(first, last + 1, 1000))
    assert first % 1000 == 0
    assert {job.id for job in app.jobs.find(task="tick", limit=1000)} == {tick_id("tick", slot) for slot in ticks}
    tocks = app.jobs.find(task="tock", limit=1000)
    assert len({job.record.run_at for job in tocks}) == len(tocks) >= 3
    late = [(job.started_at - job.run_at).total_seconds() for job in tocks if job.started_at]
    assert min(late) >= 0
    assert statistics.median(late) < 0.25


def an_interval_that_is_half_over() -> int:
    """A period in ms, of one to two hours, of which about half is over: no tick falls into a test."""
    now = now_ms()
    return min(range(3_600_000, 7_200_000, 1000), key=lambda period: abs(now % period - period // 2))


@pytest.mark.parametrize(("catch_up", "expected"), [("all", 5), ("latest", 1), ("none", 0)])
async def test_what_was_missed_while_no_worker_ran_is_made_up_for_as_declared(
    app: Mainspring, catch_up: Any, expected: int
) -> None:
    period = an_interval_that_is_half_over()

    @app.every(timedelta(milliseconds=period), catch_up=catch_up)
    async def tick() -> None: ...

    async with working(app):
        pass
    (schedule,) = app.schedules.list()
    upcoming = round(schedule.next_at.timestamp() * 1000)
    assert upcoming % period == 0
    sql(app, "UPDATE mainspring_schedules SET next_at = ?", upcoming - 5 * period)
    async with working(app):
        await until(lambda: app.schedules.list()[0].next_at > datetime.now(UTC))
        await until(lambda: app.jobs.count(task="tick", state="completed") == sum(slots(app).values()))
    assert sorted(slots(app)) == [upcoming - period * back for back in range(expected, 0, -1)]


async def test_a_paused_schedule_does_not_tick_and_one_that_runs_now_makes_a_job(app: Mainspring) -> None:
    ran: list[int] = []

    @app.every("1s", args={"n": 3}, name="often")
    async def tick(n: int) -> None:
        ran.append(n)

    async with working(app):
        await until(lambda: ran)
        await app.schedules.apause("often")
        made = app.jobs.count(task="tick")
        began = now_ms()
        await until(lambda: now_ms() - began > 2100)
        assert app.jobs.count(task="tick") <= made + 1
        job: Job[Any] = await app.schedules.arun_now("often")
        await job.aresult(20)
        await app.schedules.aresume("often")
        made = app.jobs.count(task="tick")
        await until(lambda: app.jobs.count(task="tick") > made)
    assert set(ran) == {3}
