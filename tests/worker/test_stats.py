"""What workers count reaches the store, once, whatever becomes of their beats."""

from __future__ import annotations

import asyncio
import threading

import pytest

from mainspring import Bury, Context, Mainspring, Point, RateLimited, Snooze, StoreUnavailable
from mainspring.store.base import BeatRequest, Driver, Reply, Request

from .places import Place
from .scene import AT_ONCE, ended, until, wait_until, working

MODULE = """
@app.task(retry=Retry(attempts=2, delay=0))
async def work(n: int = 0) -> int:
    if n < 0:
        raise ValueError(n)
    return n
"""


def total(app: Mainspring, task: str) -> Point:
    return app.stats.totals("1h", by="task")[task]


async def test_a_worker_that_leaves_has_told_everything(app: Mainspring) -> None:
    snoozed = set[str]()

    @app.task(retry=AT_ONCE)
    async def work(ctx: Context, what: str) -> None:
        if what == "fail" and ctx.attempt < 3:
            raise ValueError
        if what == "die":
            raise ValueError
        if what == "bury":
            raise Bury("why")
        if what == "snooze" and not snoozed:
            snoozed.add(what)
            raise Snooze(0)

    jobs = [work.enqueue(what) for what in ("go", "go", "fail", "die", "bury", "snooze")]
    async with working(app):
        await ended(*jobs)
    point = total(app, "work")
    assert (point.enqueued, point.started, point.completed, point.dead) == (6, 11, 4, 2)
    assert (point.failed, point.retried, point.cancelled, point.crashed, point.limited) == (6, 4, 0, 0, 0)
    assert (point.wait.count, point.run.count) == (11, 10)


async def test_what_happens_is_seen_while_the_worker_goes_on(app: Mainspring) -> None:
    @app.task
    async def work(n: int) -> None:
        await asyncio.sleep(0.01)

    async with working(app, lease=5):
        for expected in (10, 20):
            await ended(*app.enqueue_many(work.job(n) for n in range(10)))
            await until(lambda expected=expected: total(app, "work").completed == expected)
    point = total(app, "work")
    assert (point.enqueued, point.started, point.completed) == (20, 20, 20)
    assert (point.run.percentile(0.5) or 0) > 0.005


async def test_a_running_job_that_is_cancelled_counts_once(app: Mainspring) -> None:
    @app.task
    async def nap() -> None:
        await asyncio.sleep(60)

    job = nap.enqueue()
    waits = nap.using(delay="1h").enqueue()
    async with working(app):
        await until(lambda: app.jobs.count(state="running") == 1)
        app.jobs.cancel([job.id, waits.id])
        await ended(job, waits)
    point = total(app, "nap")
    assert (point.enqueued, point.started, point.cancelled, point.completed) == (2, 1, 2, 0)


async def test_a_task_that_is_told_to_slow_down_is_counted(app: Mainspring) -> None:
    asked = list[int]()

    @app.task
    async def ask() -> None:
        asked.append(1)
        if len(asked) == 1:
            raise RateLimited("0.01s")

    job = ask.enqueue()
    async with working(app):
        await ended(job)
    point = total(app, "ask")
    assert (point.limited, point.started, point.completed) == (1, 2, 1)


@pytest.mark.parametrize("when", ["asked", "answered"])
async def test_beats_that_fail_are_made_up_for(app: Mainspring, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """Whether the store has had a report or not, its reply having been lost."""

    @app.task
    async def work() -> None: ...

    lossy = Lossy(app.store.driver(), when)
    monkeypatch.setattr(app.store, "driver", lambda patience=None: lossy)
    blocking = Mainspring(app.url)
    async with working(app, lease=5):
        for _ in range(3):
            lossy.losing.set()
            await ended(*app.enqueue_many(work.job() for _ in range(5)))
            await until(lambda: not lossy.losing.is_set(), what="a report was lost")
    point = await asyncio.to_thread(total, blocking, "work")
    assert (point.started, point.completed) == (15, 15)
    assert lossy.lost >= 3
    blocking.close()


class Lossy:
    """A driver that loses the next beat with a report, on its way there or back."""

    def __init__(self, driver: Driver, when: str) -> None:
        self._driver = driver
        self._when = when
        self.losing = threading.Event()
        self.lost = 0
        self.watch = driver.watch
        self.close = driver.close

    def run(self, request: Request[Reply]) -> Reply:
        if not (isinstance(request, BeatRequest) and request.stats and self.losing.is_set()):
            return self._driver.run(request)
        if self._when == "answered":
            self._driver.run(request)
        self.losing.clear()
        self.lost += 1
        raise StoreUnavailable("the beat was lost")


async def test_a_report_that_cannot_be_stored_costs_no_lease(
    app: Mainspring, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @app.task
    async def work() -> None: ...

    class Refusing(Lossy):
        def run(self, request: Request[Reply]) -> Reply:
            if isinstance(request, BeatRequest) and request.stats:
                self.lost += 1
                raise ValueError("this cannot be stored")
            return self._driver.run(request)

    refusing = Refusing(app.store.driver(), "asked")
    monkeypatch.setattr(app.store, "driver", lambda patience=None: refusing)
    blocking = Mainspring(app.url)
    async with working(app, lease=5) as worker:
        id = worker.id
        await ended(work.enqueue())
        await until(lambda: refusing.lost)
        beat_at = (await blocking.workers.alist())[0].beat_at
        await until(lambda: blocking.workers.list()[0].beat_at > beat_at)
        assert worker.id == id
    assert "heartbeat failed" in caplog.text
    await blocking.aclose()


async def test_a_worker_can_be_told_not_to_count(app: Mainspring) -> None:
    @app.task
    async def work() -> None: ...

    job = work.enqueue()
    async with working(app, stats=False):
        await ended(job)
    point = total(app, "work")
    assert (point.enqueued, point.started, point.completed) == (1, 0, 0)


def test_two_workers_add_up_and_so_do_those_that_were_killed(place: Place) -> None:
    """What a killed one had not told yet is not known; the job that it had is a crash."""
    first, second = place.worker(), place.worker()
    for n in range(-10, 90):
        place.enqueue("work", n)
    wait_until(lambda: place.app.jobs.count(state=("completed", "dead")) == 100)
    for process in (first, second):
        process.terminate()
        assert process.wait(30) == 0
    point = total(place.app, "work")
    assert (point.enqueued, point.completed, point.dead) == (100, 90, 10)
    assert (point.started, point.failed, point.retried) == (110, 20, 10)
