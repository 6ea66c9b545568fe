"""Runs that take longer than they may, or are told to end and do not: on the event loop and on threads."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from punctual import atakes_less_than

from mainspring import Context, JobTimeout, Mainspring, State
from mainspring.worker.executors import Call
from mainspring.worker.run import Interruption

from .scene import ended, sql, until, working


async def test_a_function_on_a_thread_is_stopped_where_it_stands(app: Mainspring) -> None:
    seen: list[str] = []

    @app.task(timeout="1s", retry=1)
    def spins(ctx: Context) -> None:
        try:
            while True:
                time.sleep(0.001)
        finally:
            seen.append(f"cancelled={ctx.cancelled}")

    async with working(app):
        job = await spins.aenqueue()
        await ended(job)
    assert job.state is State.DEAD
    assert job.error is not None
    assert (job.error.type, job.error.message) == ("JobTimeout", "the job ran longer than its timeout of 1s")
    assert "time.sleep(0.001)" in job.error.traceback
    assert seen == ["cancelled=True"]


async def test_a_function_that_catches_its_timeout_may_still_return(app: Mainspring) -> None:
    @app.task(timeout="1s")
    def makes_do() -> str:
        try:
            while True:
                time.sleep(0.001)
        except TimeoutError:
            return "as far as it came"

    async with working(app):
        assert await (await makes_do.aenqueue()).aresult(20) == "as far as it came"


async def test_a_function_whose_time_is_over_before_a_thread_comes_to_it_never_begins() -> None:
    """There is nothing yet to raise an exception in; and once it ran, nobody would raise it any more."""
    ran: list[int] = []
    call = Call(lambda: ran.append(1), asyncio.get_running_loop().create_future())
    assert call.ask(1, Interruption.TIMED_OUT, "late")
    thread = threading.Thread(target=call.perform)
    thread.start()
    thread.join()
    assert (ran, type(call.error), str(call.error)) == ([], JobTimeout, "late")


async def test_a_thread_that_will_not_end_is_left_behind_loudly_and_its_place_taken(
    app: Mainspring, worker_log: pytest.LogCaptureFixture
) -> None:
    release = threading.Event()

    @app.task(timeout="1s", grace="100ms", retry=1)
    def stuck() -> None:
        release.wait(60)  # no exception gets in there

    @app.task
    def work() -> str:
        return "done"

    async with working(app, concurrency=1):
        job = await stuck.aenqueue()
        await ended(job)
        assert job.error is not None
        assert (job.state, job.error.type) == (State.DEAD, "JobTimeout")
        assert await (await work.aenqueue()).aresult(20) == "done"
    report = next(record.getMessage() for record in worker_log.records if "given up" in record.getMessage())
    assert job.id in report
    assert "release.wait(60)" in report
    release.set()


async def test_the_exception_is_raised_in_no_other_function_of_that_thread(app: Mainspring) -> None:
    """Timeouts that come as the function ends are the ones that could hit the next one."""

    @app.task(timeout="20ms", retry=1)
    def just_about(ms: int) -> None:
        time.sleep(ms / 1000)

    @app.task(retry=1)
    def innocent() -> int:
        return sum(range(2000))

    async with working(app, concurrency=3):
        jobs = [await just_about.aenqueue(18 + n % 4) for n in range(60)]
        others = [await innocent.aenqueue() for _ in range(300)]
        await ended(*jobs, *others)
    assert {each.state for each in others} == {State.COMPLETED}
    for job in jobs:
        assert job.state is State.COMPLETED or (job.error is not None and job.error.type == "JobTimeout")


async def test_a_coroutine_that_will_not_be_cancelled_is_given_up_after_its_grace(
    app: Mainspring, worker_log: pytest.LogCaptureFixture
) -> None:
    release = asyncio.Event()

    @app.task(timeout="100ms", grace="200ms", retry=1)
    async def deaf() -> None:
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()

    async with working(app, concurrency=1):
        job, cancelled = await deaf.aenqueue(), await deaf.using(timeout="1h").aenqueue()
        await ended(job)
        assert job.error is not None
        assert (job.state, job.error.type) == (State.DEAD, "JobTimeout")
        await until(lambda: cancelled.refresh().state is State.RUNNING, what="its place is taken")
        await cancelled.acancel("enough")
        await ended(cancelled)
        assert cancelled.state is State.CANCELLED
        release.set()
    report = worker_log.text
    assert job.id in report
    assert "await release.wait()" in report


async def test_cleaning_up_within_the_grace_is_let_be(app: Mainspring) -> None:
    tidied: list[str] = []

    @app.task(timeout="50ms", grace="10s", retry=1)
    async def tidy() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.3)
            tidied.append("all of it")

    async with working(app):
        job = await tidy.aenqueue()
        await ended(job)
    assert job.error is not None
    assert (job.error.type, tidied) == ("JobTimeout", ["all of it"])


async def test_a_cancelled_function_that_does_not_look_is_interrupted_after_its_grace(app: Mainspring) -> None:
    @app.task(grace="300ms")
    def looks_never() -> None:
        while True:
            time.sleep(0.001)

    async def cancelling() -> float:
        job = await looks_never.aenqueue()
        await until(lambda: job.refresh().state is State.RUNNING)
        asked = time.monotonic()
        await job.acancel("enough")
        await ended(job)
        took = time.monotonic() - asked
        assert (job.state, job.reason) == (State.CANCELLED, "cancelled: enough")
        return took

    async with working(app):
        await atakes_less_than(2.5, cancelling)


async def test_a_timeout_that_was_enqueued_in_sql_holds_for_a_plain_function(app: Mainspring) -> None:
    @app.task(retry=1)
    def spins() -> None:
        while True:
            time.sleep(0.001)

    job = await spins.aenqueue()
    sql(app, "UPDATE mainspring_jobs SET options = ? WHERE id = ?", '{"timeout_ms":100}', job.id)
    async with working(app):
        await ended(job)
    assert job.error is not None
    assert job.error.type == "JobTimeout"


async def test_a_job_past_its_deadline_is_cancelled_instead_of_run(app: Mainspring) -> None:
    ran: list[str] = []

    @app.task(deadline="1h")
    async def work(name: str) -> None:
        ran.append(name)

    jobs = [
        await work.using(deadline="1ms").aenqueue("late"),
        await work.using(deadline=datetime.now(UTC) - timedelta(seconds=5)).aenqueue("late too"),
        await work.aenqueue("in time"),
        await work.using(deadline=datetime.now(UTC) + timedelta(hours=1)).aenqueue("in time too"),
    ]
    await asyncio.sleep(0.01)
    async with working(app):
        await ended(*jobs)
    assert ran == ["in time", "in time too"]
    assert [job.state for job in jobs] == [State.CANCELLED] * 2 + [State.COMPLETED] * 2
    assert jobs[0].reason == "cancelled: its deadline had passed"
