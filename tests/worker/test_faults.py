"""What goes wrong around a worker: a lost lease, a store that is away, a loop that does not get round."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from contextlib import closing

import pytest

from mainspring import Bury, Cancel, Context, Event, Mainspring, RetryAfter, Snooze, State
from mainspring.store.base import SettleRequest

from .scene import AT_ONCE, HeldUp, ended, is_alive, path_of, sql, until, working


async def test_a_run_whose_lease_is_lost_changes_nothing_whatever_it_comes_to(
    app: Mainspring, worker_log: pytest.LogCaptureFixture
) -> None:
    go_on = asyncio.Event()
    ways = {
        "complete": None,
        "retry": ValueError(),
        "snooze": Snooze("1h"),
        "bury": Bury(),
        "cancel": Cancel(),
        "come back": RetryAfter(0),
    }

    @app.task(retry=AT_ONCE)
    async def work(ctx: Context, way: str) -> str:
        await go_on.wait()
        ctx.progress(50)
        ctx.log("stale")
        if error := ways[way]:
            raise error
        return "stale"

    async with working(app):
        jobs = [await work.aenqueue(way) for way in ways]
        await until(lambda: all(job.refresh().state is State.RUNNING for job in jobs))
        sql(app, "UPDATE mainspring_jobs SET lease = lease + 1")
        before = [job.refresh().record for job in jobs]
        go_on.set()
        await until(lambda: worker_log.text.count("its lease 1 was lost") == len(jobs))
        after = [await app.jobs.aget(job.id) for job in jobs]
    assert [job.record for job in after] == before
    assert not any(job.log for job in after)


@pytest.mark.parametrize("how", ["DELETE FROM mainspring_workers", "UPDATE mainspring_workers SET expires_at = 1"])
async def test_a_worker_that_lost_its_lease_drops_its_runs_and_starts_over(
    app: Mainspring, worker_log: pytest.LogCaptureFixture, how: str
) -> None:
    interrupted, runs, release = list[str](), list[int](), threading.Event()

    @app.task
    async def work(ctx: Context) -> str:
        runs.append(ctx.fence)
        if len(runs) == 1:
            try:
                await asyncio.sleep(3600)
            finally:
                interrupted.append("async")
        return f"fence {ctx.fence}"

    @app.task
    def plain(ctx: Context) -> str:
        if ctx.fence == 1:
            while not ctx.cancelled:
                release.wait(0.01)
            interrupted.append("plain")
            return "stale"
        return "fresh"

    async with working(app) as worker:
        first = worker.id
        jobs = [await work.aenqueue(), await plain.aenqueue()]
        await until(lambda: all(job.refresh().state is State.RUNNING for job in jobs))
        await until(lambda: runs)
        sql(app, how)
        await until(lambda: len(interrupted) == 2)
        await until(lambda: worker.id != first and is_alive(app, worker.id))
        async with working(app, ["none"]):  # it reaps as it starts
            results = [await job.aresult(20) for job in jobs]
    assert results[0].startswith("fence ")
    assert int(results[0].split()[1]) > 1
    assert results[1] == "fresh"
    for job in jobs:
        await job.arefresh()
        assert (job.crashes, job.attempt) == (1, 1)
    assert "went unheard for longer than its lease" in worker_log.text


@pytest.mark.fault("SIGSTOP past the lease, SIGCONT", "sqlite")
async def test_who_reaps_a_job_that_it_lost_itself_tells_nobody_what_the_first_run_came_to(
    app: Mainspring, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, told = asyncio.Event(), list[tuple[str, int]]()

    @app.task
    async def first() -> None: ...

    @app.task
    async def second() -> None:
        await go_on.wait()

    @app.on("completed", "crashed")
    def hear(event: Event) -> None:
        if event.task == "second":
            told.append((event.name, event.job.record.lease))

    on_the_way = HeldUp(monkeypatch, app.store, SettleRequest)
    async with working(app, lease="5s") as worker:
        job = await second.aenqueue()
        await until(lambda: job.refresh().state is State.RUNNING)
        await first.aenqueue()
        await until(on_the_way.sent.is_set)
        go_on.set()
        await until(lambda: (job.id, 1) in worker._runs.unsettled())
        sql(app, "UPDATE mainspring_workers SET expires_at = 1")
        await until(lambda: (job.id, 2) in worker._runs.unsettled())
        on_the_way.through.set()
        await job.aresult(20)
        await until(lambda: len(told) >= 2)
    assert told == [("crashed", 2), ("completed", 3)]


async def test_a_store_that_is_away_for_longer_than_every_deadline_costs_nothing(
    app: Mainspring, worker_log: pytest.LogCaptureFixture
) -> None:
    go_on, runs = threading.Event(), list[str]()

    @app.task
    def work(n: int) -> int:
        runs.append(f"work {n}")
        go_on.wait(60)
        return n

    @app.task
    async def chat(ctx: Context) -> None:
        runs.append("chat")
        ctx.log("before")
        while not go_on.is_set():
            await asyncio.sleep(0.01)
        ctx.log("meanwhile")
        ctx.progress(100)

    async with working(app) as worker:
        jobs = [await work.aenqueue(n) for n in range(3)]
        talk = await chat.aenqueue()
        await until(lambda: len(runs) == 4)
        for name in ("work", "chat"):
            await until(lambda name=name: app.jobs.count(task=name, state="running"))  # type: ignore[misc]
        later = await work.using(delay=0.5).aenqueue(99)
        with closing(sqlite3.connect(path_of(app), timeout=30, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            go_on.set()
            await asyncio.sleep(7)  # longer than the deadline of an operation
            await until(lambda: "settling: the store does not answer, trying on" in worker_log.text)
            other.execute("ROLLBACK")
        back = time.monotonic()
        assert [await job.aresult(20) for job in jobs] == [0, 1, 2]
        assert await later.aresult(20) == 99
        await ended(talk)
        assert time.monotonic() - back < 10
        assert is_alive(app, worker.id)
    assert sorted(runs) == ["chat", "work 0", "work 1", "work 2", "work 99"]
    seen = await app.jobs.aget(talk.id)
    assert [line.text for line in seen.log] == ["before", "meanwhile"]
    assert seen.progress == 100
    assert "the store does not answer, trying on" in worker_log.text
    assert "the store answers again" in worker_log.text
    ours = [record for record in worker_log.records if record.name.startswith("mainspring")]
    assert not [record for record in ours if record.levelno >= logging.ERROR]


async def test_a_worker_can_stop_while_the_store_is_away(app: Mainspring) -> None:
    go_on = asyncio.Event()

    @app.task
    async def work() -> int:
        await go_on.wait()
        return 1

    worker = app.worker(grace=1)
    running = asyncio.create_task(worker.arun())
    await until(lambda: is_alive(app, worker.id))
    job = await work.aenqueue()
    await until(lambda: job.refresh().state is State.RUNNING)
    with closing(sqlite3.connect(path_of(app), timeout=30, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        go_on.set()
        worker.stop()
        await asyncio.sleep(2)
        other.execute("ROLLBACK")
    await asyncio.wait_for(running, 30)
    assert job.refresh().state is State.COMPLETED
    assert app.workers.list() == []


def hog(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass  # keeps the interpreter busy too, not only the loop


@pytest.mark.fault("blocked event loop", "sqlite")
async def test_a_blocked_loop_keeps_its_leases_and_the_guilty_job_is_named(
    app: Mainspring, worker_log: pytest.LogCaptureFixture
) -> None:
    @app.task
    async def rude() -> str:
        hog(6)
        return "at last"

    async with working(app, lease="5s") as worker:
        job = await rude.aenqueue()
        assert await job.aresult(20) == "at last"
        await job.arefresh()
        assert (job.crashes, job.attempt, job.record.lease) == (0, 1, 1)
        assert is_alive(app, worker.id)
    blocked = [record.getMessage() for record in worker_log.records if "has been blocked" in record.getMessage()]
    # A machine that lets all of this process wait for a second may add another, which names nobody.
    (warning,) = [each for each in blocked if f"job {job.id} (rude)" in each]
    assert "in hog" in warning


async def test_abandoned_threads_do_not_take_the_places_of_the_living(app: Mainspring) -> None:
    release, ran = threading.Event(), list[int]()

    @app.task
    def stuck(n: int, ctx: Context) -> int:
        ran.append(n)
        if ctx.fence == 1:
            release.wait(60)
        return n

    async with working(app, concurrency=2) as worker:
        first = worker.id
        jobs = [await stuck.aenqueue(n) for n in range(2)]  # type: ignore[call-arg]
        await until(lambda: len(ran) == 2)
        sql(app, "DELETE FROM mainspring_workers")
        await until(lambda: worker.id != first)
        async with working(app, ["none"]):  # it reaps as it starts
            assert [await job.aresult(20) for job in jobs] == [0, 1]
        release.set()
    assert sorted(ran) == [0, 0, 1, 1]
