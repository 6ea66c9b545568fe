"""Stopping: jobs finish within the grace, the others are handed back and lose nothing."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from punctual import atakes_less_than

from mainspring import Context, Mainspring, Retry, State

from .scene import is_alive, until, working


async def test_running_jobs_finish_within_the_grace_and_no_new_ones_are_claimed(app: Mainspring) -> None:
    go_on = asyncio.Event()

    @app.task
    async def work() -> str:
        await go_on.wait()
        return "done"

    async with working(app, concurrency=2) as worker:
        jobs = [await work.aenqueue() for _ in range(4)]
        await until(lambda: sum(job.refresh().state is State.RUNNING for job in jobs) == 2)
        worker.stop()
        await until(lambda: is_quiet(app, worker.id) or worker._quiet)
        go_on.set()
    assert [job.refresh().state for job in jobs] == [State.COMPLETED] * 2 + [State.QUEUED] * 2
    assert app.workers.list() == []


def is_quiet(app: Mainspring, worker: str) -> bool:
    return any(each.id == worker and each.quiet for each in app.workers.list())


async def test_what_does_not_finish_in_time_is_handed_back_without_using_an_attempt(app: Mainspring) -> None:
    release, tidied = threading.Event(), list[str]()

    @app.task
    async def endless() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.3)
            tidied.append("once")

    @app.task
    async def turns_it_into_an_error() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            raise ConnectionError("cut off") from None

    @app.task
    def stuck(ctx: Context) -> None:
        release.wait(60)

    jobs = [await task.aenqueue() for task in (endless, turns_it_into_an_error, stuck)]

    async def stopping() -> float:
        tidied.clear()
        leases = [job.refresh().record.lease for job in jobs]
        async with working(app, grace=0.2) as worker:
            await until(lambda: all(job.refresh().state is State.RUNNING for job in jobs))
            began = time.monotonic()
            worker.stop()
        took = time.monotonic() - began
        for job, lease in zip(jobs, leases, strict=True):
            await job.arefresh()
            assert (job.state, job.attempt, job.crashes, job.attempts) == (State.QUEUED, 0, 0, ()), job.task
            assert job.record.lease == lease + 1
            assert job.reason == "handed back by a stopping worker"
        assert tidied == ["once"]
        assert took >= 0.2
        return took

    await atakes_less_than(5, stopping)
    release.set()


async def test_a_second_stop_hands_back_at_once(app: Mainspring) -> None:
    @app.task
    async def endless() -> None:
        await asyncio.sleep(3600)

    job = await endless.aenqueue()

    async def stopping() -> float:
        async with working(app, grace=60) as worker:
            await until(lambda: job.refresh().state is State.RUNNING)
            worker.stop()
            await until(lambda: worker._quiet)
            began = time.monotonic()
            threading.Thread(target=worker.stop).start()
        took = time.monotonic() - began
        assert (job.refresh().state, job.attempt) == (State.QUEUED, 0)
        return took

    await atakes_less_than(3, stopping)


async def test_a_task_that_will_not_be_cancelled_does_not_keep_the_worker_from_stopping(app: Mainspring) -> None:
    release = asyncio.Event()

    @app.task
    async def deaf() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async with working(app, grace=0) as worker:
        job = await deaf.aenqueue()
        await until(lambda: job.refresh().state is State.RUNNING)
        worker.stop()
    assert (job.refresh().state, job.attempt) == (State.QUEUED, 0)
    release.set()


async def test_the_handed_back_job_runs_elsewhere_with_all_its_attempts(app: Mainspring) -> None:
    attempts: list[int] = []

    @app.task(retry=Retry(attempts=1))
    async def work(ctx: Context) -> str:
        attempts.append(ctx.attempt)
        if len(attempts) == 1:
            await asyncio.sleep(3600)
        return "done"

    async with working(app, grace=0) as worker:
        job = await work.aenqueue()
        await until(lambda: job.refresh().state is State.RUNNING)
        worker.stop()
    async with working(app):
        assert await job.aresult(20) == "done"
    assert attempts == [1, 1]


@pytest.mark.parametrize("moment", ["before", "at once", "when it is woken"])
async def test_a_stop_is_heard_whenever_it_comes(app: Mainspring, moment: str) -> None:
    @app.task
    async def work() -> None: ...

    for _ in range(20):
        worker = app.worker()
        if moment == "before":
            worker.stop()
        running = asyncio.create_task(worker.arun())
        if moment == "at once":
            await asyncio.sleep(0)
            worker.stop()
        if moment == "when it is woken":
            # The hint of the last commit and the stop may well reach the pump in one turn of the loop.
            await (await work.aenqueue()).aresult(20)
            worker.stop()
        await asyncio.wait_for(running, 60)


async def test_an_operators_commands_are_heard(app: Mainspring) -> None:
    @app.task
    async def work() -> None: ...

    worker = app.worker()
    running = asyncio.create_task(worker.arun())
    await until(lambda: is_alive(app, worker.id))
    assert await app.workers.aquiet(worker.id)
    await until(lambda: worker._quiet)
    job = await work.aenqueue()
    assert await app.workers.astop(worker.id)
    await asyncio.wait_for(running, 20)
    assert job.refresh().state is State.QUEUED


async def test_a_wait_for_a_hint_that_is_cancelled_ends_although_the_hint_comes_at_that_moment(app: Mainspring) -> None:
    @app.task
    async def work() -> None: ...

    driver = app.store.async_driver()
    for _ in range(5):
        watches = [await driver.watch(("queue:default",)) for _ in range(20)]
        waiting = [asyncio.create_task(watch.wait(20)) for watch in watches]

        async def cancel_the_others(waiting: list[asyncio.Task[bool]] = waiting) -> None:
            assert await (await driver.watch(("queue:default",))).wait(20)
            # The hint woke all in one turn of the loop: some before this one, some are still to go on.
            for task in waiting:
                task.cancel()

        cancelling = asyncio.create_task(cancel_the_others())
        await asyncio.sleep(0)
        work.enqueue()
        await cancelling
        results = await asyncio.gather(*waiting, return_exceptions=True)
        for task, result in zip(waiting, results, strict=True):
            assert task.cancelled() or (result is True and not task.cancelling())
    await driver.aclose()
