"""A job in the hands of who enqueued it: its state, result, errors, changes; cancelling and retrying it."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from mainspring import Job, JobCancelled, JobFailed, JobNotFound, Mainspring, ResultTimeout, State
from mainspring.job import LONGEST_PAUSE
from mainspring.model.failure import describe
from mainspring.model.outcome import Outcome, Verdict
from mainspring.task import AsyncTask

from .conftest import Hands

Stamp = AsyncTask[[int], UUID]


@pytest.fixture
def stamp(app: Mainspring) -> Stamp:
    @app.task
    async def stamp(number: int) -> UUID:
        return UUID(int=number)

    return stamp


def later(action: Any, *args: Any) -> threading.Thread:
    """Do it on a thread, once the caller had time to begin waiting."""
    thread = threading.Timer(0.05, action, args)
    thread.start()
    return thread


def test_the_result_comes_as_the_task_returned_it(stamp: Stamp, hands: Hands) -> None:
    job = stamp.enqueue(7)
    thread = later(hands.complete, f'"{UUID(int=7)}"')
    assert job.result(timeout=60) == UUID(int=7)
    assert job.state is State.COMPLETED
    thread.join()


async def test_the_result_for_async_code(app: Mainspring, stamp: Stamp, hands: Hands) -> None:
    jobs = [await stamp.aenqueue(7) for _ in range(20)]
    waiting = asyncio.gather(*(job.aresult(timeout=60) for job in jobs))
    for _ in jobs:
        await asyncio.to_thread(hands.complete, f'"{UUID(int=7)}"')
    assert await waiting == [UUID(int=7)] * 20
    await app.aclose()


def test_the_result_of_a_task_that_this_program_does_not_know_is_plain_json(
    app: Mainspring, stamp: Stamp, hands: Hands
) -> None:
    job = stamp.enqueue(7)
    hands.complete(f'"{UUID(int=7)}"')
    with Mainspring(app.url) as stranger:
        assert stranger.jobs.get(job.id).result(timeout=0) == str(UUID(int=7))


def test_a_dead_job_raises_what_is_stored_of_its_error(stamp: Stamp, hands: Hands) -> None:
    job = stamp.enqueue(7)
    hands.kill(ZeroDivisionError("by nothing"))
    with pytest.raises(JobFailed, match="ZeroDivisionError: by nothing") as failed:
        job.result(timeout=60)
    assert (failed.value.type, failed.value.message) == ("ZeroDivisionError", "by nothing")
    assert "ZeroDivisionError: by nothing" in failed.value.traceback
    assert failed.value.reason == job.reason == "attempts used up (1 of 1)"


def test_a_job_that_has_not_ended_in_time_says_where_it_stands(stamp: Stamp, hands: Hands) -> None:
    job = stamp.enqueue(7)
    with pytest.raises(ResultTimeout, match=r"still queued after 0\.01 s"):
        job.result(timeout="10ms")
    hands.claim()
    with pytest.raises(ResultTimeout, match="still running after 0 s"):
        job.result(timeout=0)


def test_a_job_that_is_gone(app: Mainspring, stamp: Stamp) -> None:
    job = stamp.enqueue(7)
    app.jobs.delete(job.id)
    for look in (job.refresh, job.result, lambda: next(iter(job.watch()))):
        with pytest.raises(JobNotFound, match=job.id):
            look()


def test_a_lost_hint_costs_delay_only(stamp: Stamp, hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    from mainspring.store.sqlite.drivers import SqliteWatch

    waited: list[float] = []

    def deaf(self: SqliteWatch, seconds: float) -> bool:
        waited.append(seconds)
        time.sleep(seconds)
        return False

    monkeypatch.setattr(SqliteWatch, "wait", deaf)
    job = stamp.enqueue(7)
    thread = later(hands.complete, f'"{UUID(int=7)}"')
    assert job.result(timeout=60) == UUID(int=7)
    assert 0 < max(waited) <= LONGEST_PAUSE
    thread.join()


def test_a_job_tells_its_life(app: Mainspring, stamp: Stamp, hands: Hands) -> None:
    job = stamp.enqueue(7)
    error = OSError("no disk")
    claim = hands.claim()
    hands.settle(claim, Outcome.failed(describe(error), error, delay_ms=0))
    claim = hands.claim()
    hands.note(claim, 40, "rendering", "half-way")
    running = job.refresh()
    assert (running.state, running.attempt, running.progress, running.progress_text) == (
        State.RUNNING,
        2,
        40,
        "rendering",
    )
    assert running.error is not None
    assert running.error.type == "OSError"
    hands.settle(claim, Outcome.completed("null"))
    ended = app.jobs.get(job.id)
    assert [attempt.verdict for attempt in ended.attempts] == [Verdict.FAILED, Verdict.COMPLETED]
    assert ended.attempts[0].error is not None
    assert ended.attempts[0].error.message == "no disk"
    assert ended.attempts[1].error is None
    assert ended.worker == hands.id
    assert [line.text for line in ended.log] == ["half-way"]
    assert app.jobs.log(job.id) == ended.log
    times = [ended.created_at, ended.attempts[0].started_at, ended.started_at, ended.finished_at]
    assert times == sorted(times)  # type: ignore[type-var]
    assert all(isinstance(at, datetime) and at.tzinfo is UTC for at in times)


def test_watching_gives_each_change_as_a_view_of_its_own(stamp: Stamp, hands: Hands) -> None:
    job = stamp.enqueue(7)
    views: list[Job[UUID]] = []
    for view in job.watch():
        views.append(view)
        match len(views):
            case 1:
                claim = hands.claim()
            case 2:
                hands.note(claim, 40, "rendering", "half-way")
            case 3:
                hands.settle(claim, Outcome.completed(f'"{UUID(int=7)}"'))
    assert [view.state for view in views] == ["queued", "running", "running", "completed"]
    assert [view.progress for view in views] == [None, None, 40, 40]
    assert views[-1].result(timeout=0) == UUID(int=7)


async def test_watching_in_async_code(app: Mainspring, stamp: Stamp, hands: Hands) -> None:
    job = await stamp.aenqueue(7)
    states = []
    async for view in job.watch():
        states.append(view.state)
        if len(states) == 1:
            await asyncio.to_thread(hands.complete)
    assert (states[0], states[-1]) == ("queued", "completed")
    await app.aclose()


def test_cancelling(stamp: Stamp, hands: Hands) -> None:
    job = stamp.enqueue(7)
    assert job.cancel("no need")
    with pytest.raises(JobCancelled, match="no need"):
        job.result(timeout=0)
    assert not job.cancel()
    running = stamp.enqueue(8)
    claim = hands.claim()
    assert running.cancel()
    assert running.refresh().cancel_requested
    assert hands.beat().cancelled == ((claim.id, claim.lease),)


async def test_retrying(app: Mainspring, stamp: Stamp, hands: Hands) -> None:
    job = await stamp.aenqueue(7)
    hands.kill(OSError("no disk"))
    assert await job.aretry()
    assert (await job.arefresh()).state is State.QUEUED
    assert len(job.attempts) == 1
    hands.complete(f'"{UUID(int=7)}"')
    assert await job.aresult(timeout=60) == UUID(int=7)
    await app.aclose()
