"""Cancelling jobs that wait and jobs that run."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress

import pytest
from punctual import atakes_less_than

from mainspring import Cancel, Context, JobCancelled, Mainspring, State

from .scene import AT_ONCE, ended, until, working


async def test_waiting_jobs_are_cancelled_at_once_and_never_run(app: Mainspring) -> None:
    ran: list[str] = []

    @app.task
    async def work(name: str) -> None:
        ran.append(name)

    queued, scheduled = await work.aenqueue("queued"), await work.using(delay="1h").aenqueue("scheduled")
    assert await queued.acancel("changed my mind")
    assert await scheduled.acancel()
    assert not await queued.acancel()
    async with working(app):
        with pytest.raises(JobCancelled, match="changed my mind"):
            await queued.aresult(20)
        with pytest.raises(JobCancelled):
            await scheduled.aresult(20)
        await (await work.aenqueue("after")).aresult(20)
    assert ran == ["after"]


async def test_a_running_async_job_is_interrupted_within_two_seconds_and_may_tidy_up(app: Mainspring) -> None:
    tidied = asyncio.Event()

    @app.task(retry=AT_ONCE)
    async def endless() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.05)
            tidied.set()

    async def cancelling() -> float:
        tidied.clear()
        job = await endless.aenqueue()
        await until(lambda: job.refresh().state is State.RUNNING)
        asked = time.monotonic()
        assert await job.acancel("enough")
        with pytest.raises(JobCancelled):
            await job.aresult(20)
        took = time.monotonic() - asked
        await job.arefresh()
        assert tidied.is_set()
        assert (job.state, job.attempt) == (State.CANCELLED, 1)
        return took

    async with working(app):
        await atakes_less_than(2.5, cancelling)


async def test_a_running_plain_function_sees_that_it_is_cancelled(app: Mainspring) -> None:
    @app.task(retry=AT_ONCE)
    def endless(ctx: Context) -> None:
        pause = threading.Event()
        while not ctx.cancelled:
            pause.wait(0.01)
        raise Cancel("saw it")

    @app.task(retry=AT_ONCE)
    def breaks_off(ctx: Context) -> None:
        pause = threading.Event()
        while not ctx.cancelled:
            pause.wait(0.01)
        raise RuntimeError("an error as good as any")

    async def cancelling() -> float:
        job, other = await endless.aenqueue(), await breaks_off.aenqueue()
        await until(lambda: job.refresh().state is other.refresh().state is State.RUNNING)
        asked = time.monotonic()
        assert await app.jobs.acancel([job.id, other.id], reason="enough") == 2
        await ended(job, other)
        took = time.monotonic() - asked
        assert {(each.state, each.reason) for each in (job, other)} == {(State.CANCELLED, "cancelled: enough")}
        return took

    async with working(app):
        await atakes_less_than(2.5, cancelling)


async def test_a_job_that_ends_well_although_it_was_cancelled_is_completed(app: Mainspring) -> None:
    began = asyncio.Event()

    @app.task
    async def stubborn() -> str:
        with suppress(asyncio.CancelledError):
            began.set()
            await asyncio.sleep(3600)
        await asyncio.sleep(0.01)
        return "done all the same"

    async with working(app):
        job = await stubborn.aenqueue()
        await until(began.is_set)
        await job.acancel()
        assert await job.aresult(20) == "done all the same"


async def test_a_cancelled_job_runs_again_when_it_is_revived(app: Mainspring) -> None:
    runs: list[int] = []

    @app.task
    async def work(ctx: Context) -> int:
        runs.append(ctx.fence)
        if len(runs) == 1:
            await asyncio.sleep(3600)
        return ctx.attempt

    async with working(app):
        job = await work.aenqueue()
        await until(lambda: runs)
        await job.acancel()
        await ended(job)
        assert await job.aretry()
        assert await job.aresult(20) == 1
    assert runs == [1, 2]
