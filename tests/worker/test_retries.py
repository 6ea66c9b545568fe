"""Failing, and what a task may raise to direct its own job."""

from __future__ import annotations

import asyncio
import itertools
from datetime import timedelta
from typing import Any

import pytest
from punctual import atakes_less_than

from mainspring import (
    Bury,
    Cancel,
    Context,
    Job,
    JobCancelled,
    JobFailed,
    Mainspring,
    Retry,
    RetryAfter,
    Snooze,
    State,
    current,
)
from mainspring.model.outcome import Verdict

from .scene import AT_ONCE, ended, until, working


def pauses(job: Job[Any]) -> list[float]:
    """The seconds between the attempts of a job, by the store's clock."""
    return [(after.started_at - before.ended_at).total_seconds() for before, after in itertools.pairwise(job.attempts)]


async def test_a_failing_job_is_tried_again_after_each_delay_and_its_history_tells(app: Mainspring) -> None:
    @app.task(retry=Retry(attempts=4, delay=["50ms", "150ms", "300ms"], jitter=False))
    async def flaky(ctx: Context) -> str:
        if ctx.attempt < 4:
            raise OSError(f"no luck {ctx.attempt}")
        return "at last"

    async def failing() -> float:
        job = await flaky.aenqueue()  # type: ignore[call-arg]
        assert await job.aresult(20) == "at last"
        await job.arefresh()
        assert [attempt.number for attempt in job.attempts] == [1, 2, 3, 4]
        assert [attempt.verdict for attempt in job.attempts] == [Verdict.FAILED] * 3 + [Verdict.COMPLETED]
        errors = [attempt.error.message for attempt in job.attempts if attempt.error]
        assert errors == [f"no luck {n}" for n in (1, 2, 3)]
        assert {attempt.worker for attempt in job.attempts} == {worker.id}
        assert all(attempt.started_at <= attempt.ended_at for attempt in job.attempts)
        late = [gap - delay for gap, delay in zip(pauses(job), (0.05, 0.15, 0.3), strict=True)]
        assert min(late) >= 0
        return max(late)

    async with working(app) as worker:
        await atakes_less_than(1, failing)


async def test_a_job_that_uses_up_its_attempts_is_dead_with_its_last_error(app: Mainspring) -> None:
    @app.task(retry=AT_ONCE)
    def never_works() -> None:
        raise LookupError("nothing there")

    async with working(app):
        job = await never_works.aenqueue()
        with pytest.raises(JobFailed, match=r"attempts used up \(3 of 3\)") as failed:
            await job.aresult(20)
    assert (failed.value.type, failed.value.message) == ("LookupError", "nothing there")
    assert failed.value.traceback.splitlines()[1].endswith("in never_works")
    await job.arefresh()
    assert (job.state, job.attempt, len(job.attempts)) == (State.DEAD, 3, 3)


async def test_on_and_never_say_which_exceptions_are_tried_again(app: Mainspring) -> None:
    errors = {"os": OSError, "connection": ConnectionError, "refused": ConnectionRefusedError, "value": ValueError}

    @app.task(retry=Retry(attempts=3, delay=0, on=(OSError,), never=(ConnectionRefusedError,)))
    async def fail(kind: str) -> None:
        raise errors[kind]

    async with working(app):
        jobs = {kind: await fail.aenqueue(kind) for kind in errors}
        await ended(*jobs.values())
    assert {kind: job.attempt for kind, job in jobs.items()} == {"os": 3, "connection": 3, "refused": 1, "value": 1}
    assert jobs["refused"].reason == "not retried: ConnectionRefusedError"


async def test_a_job_may_bring_retry_rules_of_its_own(app: Mainspring) -> None:
    @app.task(retry=Retry(attempts=2, delay=0, never=(KeyError,)))
    async def fail(kind: str) -> None:
        raise KeyError if kind == "key" else ValueError

    async with working(app):
        more = await fail.using(retry=5).aenqueue("value")
        other = await fail.using(retry=Retry(attempts=4, delay="1ms")).aenqueue("value")
        key = await fail.using(retry=5).aenqueue("key")
        await ended(more, other, key)
    assert [job.attempt for job in (more, other, key)] == [5, 4, 1]


async def test_a_delay_function_that_fails_costs_the_job_nothing_else(app: Mainspring) -> None:
    def broken(attempt: int, error: BaseException | None) -> float:
        raise RuntimeError("oops")

    @app.task(retry=Retry(attempts=2, delay=broken))
    async def fail() -> None:
        raise ValueError

    async with working(app):
        job = await fail.aenqueue()
        await until(lambda: job.refresh().state is State.SCHEDULED)
    assert "its delay function failed too: RuntimeError: oops" in (job.reason or "")


async def test_retry_after_says_when_and_uses_an_attempt(app: Mainspring) -> None:
    @app.task(retry=2)
    async def limited() -> None:
        try:
            raise ConnectionError("429")
        except ConnectionError as error:
            raise RetryAfter("200ms") from error

    async def failing() -> float:
        job = await limited.aenqueue()
        with pytest.raises(JobFailed, match=r"attempts used up \(2 of 2\)"):
            await job.aresult(20)
        await job.arefresh()
        assert job.error is not None
        assert (job.error.type, job.error.message) == ("ConnectionError", "429")
        (pause,) = pauses(job)
        assert pause >= 0.2
        return pause

    async with working(app):
        await atakes_less_than(1.2, failing)


async def test_snooze_uses_no_attempt_and_leaves_no_history(app: Mainspring) -> None:
    runs: list[Job[object]] = []

    @app.task(retry=1)
    def patient() -> int:
        runs.append(current().job)
        if len(runs) < 4:
            raise Snooze(timedelta(milliseconds=20), "not yet")
        return len(runs)

    async with working(app):
        job = await patient.aenqueue()
        assert await job.aresult(20) == 4
        await job.arefresh()
    assert [run.attempt for run in runs] == [1, 1, 1, 1]
    assert (job.attempt, len(job.attempts)) == (1, 1)


@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_bury_and_cancel_end_the_job_at_once(app: Mainspring, kind: str) -> None:
    def end(word: str) -> None:
        raise Bury("no such customer") if word == "bury" else Cancel("withdrawn")

    async def end_async(word: str) -> None:
        end(word)

    task = app.task(name="end")(end if kind == "plain" else end_async)
    async with working(app):
        buried, cancelled = await task.aenqueue("bury"), await task.aenqueue("cancel")
        with pytest.raises(JobFailed, match="buried: no such customer"):
            await buried.aresult(20)
        with pytest.raises(JobCancelled, match="cancelled: withdrawn"):
            await cancelled.aresult(20)
    assert (buried.attempt, cancelled.attempt) == (1, 1)


async def test_an_async_task_that_runs_too_long_fails_with_job_timeout(app: Mainspring) -> None:
    tidied: list[str] = []

    @app.task(timeout="100ms", retry=2)
    async def long() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            tidied.append("up")

    @app.task(timeout="10s", retry=1)
    async def own_timeout() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(60)

    async with working(app):
        job = await long.using(retry=Retry(attempts=2, delay=0)).aenqueue()
        with pytest.raises(JobFailed, match="longer than its timeout of 100ms") as failed:
            await job.aresult(20)
        assert failed.value.type == "JobTimeout"
        with pytest.raises(JobFailed) as failed:
            await (await own_timeout.aenqueue()).aresult(20)
        assert failed.value.type == "TimeoutError"
        with pytest.raises(JobFailed, match="timeout of 50ms"):
            await (await long.using(timeout="50ms", retry=1).aenqueue()).aresult(20)
    assert tidied == ["up"] * 3
