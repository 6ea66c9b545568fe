"""3. Retry: things fail, mostly for a while

A task that raises is tried again, later: 8 attempts in all, waiting about 15 s, 30 s, 1 min … up to an hour between
them, unless you say otherwise. Time stands still in this chapter, and moves when we tell it to: `freeze` and `drain`
come from `mainspring.testing` (chapter 10), which runs whatever is due, here and now.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from mainspring import Context, Mainspring, Retry, RetryAfter, Snooze, State
from mainspring.testing import drain, freeze

app = Mainspring("sqlite://")

outages = 0


@app.task(retry=Retry(attempts=5, delay="10s", factor=2, max_delay="5m"))
def charge(order: int) -> str:
    global outages
    if outages:
        outages -= 1
        raise ConnectionError("the bank does not answer")
    return f"order {order} is paid"


def test_a_failed_job_is_tried_again_later_each_time_after_a_longer_wait() -> None:
    """Between nothing and 10 s after the first failure, 20 s after the second: the wait is drawn by lot (full jitter),
    so that a thousand jobs that failed together do not come back together. `drain` always draws the longest."""
    global outages
    outages = 2
    with freeze() as clock:
        job = charge.enqueue(1)
        drain(app)
        job.refresh()
        assert job.state is State.SCHEDULED
        assert job.reason == "attempt 1 of 5 failed: ConnectionError"
        assert (job.run_at - clock.now).total_seconds() == 10

        clock.travel("10s")
        drain(app)
        clock.travel("20s")
        drain(app)
        assert job.result(timeout=0) == "order 1 is paid"


def test_every_attempt_is_on_record() -> None:
    """When it ran, where, and what it raised."""
    global outages
    outages = 1
    with freeze() as clock:
        job = charge.enqueue(2)
        drain(app)
        clock.travel("10s")
        drain(app)
    first, second = job.refresh().attempts
    assert (first.number, first.verdict, first.error.message) == (1, "failed", "the bank does not answer")
    assert (second.number, second.verdict, second.error) == (2, "completed", None)


@app.task(retry=Retry(attempts=5, never=(ValueError,)))
def parse(text: str) -> int:
    return int(text)


def test_some_errors_are_not_worth_a_second_try() -> None:
    """`never` names exceptions that end the job at once; `on` names the only ones to try again."""
    job = parse.enqueue("forty-two")
    drain(app)
    assert job.refresh().state is State.DEAD
    assert job.reason == "not retried: ValueError"


@app.task(retry=3)
def poll(ctx: Context) -> str:
    """`ctx: Context` is filled in by the worker, and is no argument of the job."""
    if ctx.attempt < 3:
        raise RetryAfter("5m", "the server said: too many requests")
    return "fresh"


def test_a_task_can_say_when_to_try_again() -> None:
    """`RetryAfter` uses an attempt, like any failure, but names the time: what an HTTP 429 asks for."""
    with freeze() as clock:
        job = poll.enqueue()
        for _ in range(3):
            drain(app)
            clock.travel("5m")
        assert job.result(timeout=0) == "fresh"


@app.task
def deliver(parcel: int, ctx: Context) -> None:
    if ctx.job.created_at == ctx.job.run_at:
        raise Snooze("8h", "nobody is awake")


def test_a_task_can_put_itself_off() -> None:
    """`Snooze` is no failure and uses no attempt."""
    with freeze() as clock:
        job = deliver.enqueue(1)
        assert drain(app).snoozed == 1
        clock.travel("8h")
        assert drain(app).completed == 1
        assert job.refresh().attempt == 1


@app.task(timeout="50ms")
async def slow() -> None:
    await asyncio.sleep(60)


@app.task(timeout="50ms")
def slow_plain_function() -> None:
    while True:
        time.sleep(0.01)


@pytest.mark.parametrize("task", [slow, slow_plain_function])
def test_a_task_can_have_a_timeout(task: Any) -> None:
    """When its time is up an async task is cancelled where it waits, and in a plain function `JobTimeout` is raised
    where it stands. That is a failure like others. What does not end in its `grace` is given up; what must end
    whatever it does, a loop in C for one, belongs into a process: `executor="process"`."""
    job = task.using(retry=1).enqueue()
    drain(app)
    assert job.refresh().error.type == "JobTimeout"


def test_one_job_can_have_rules_of_its_own() -> None:
    """`using` changes the terms for one job."""
    global outages
    outages = 1
    job = charge.using(retry=1).enqueue(3)
    drain(app)
    assert job.refresh().reason == "attempts used up (1 of 1)"


@pytest.mark.parametrize("rules", [Retry(delay=["1s", "10s", "1m"]), Retry(delay="30s", factor=1, jitter=False)])
def test_the_waits_can_be_a_list_or_fixed(rules: Retry) -> None:
    """Or a function of the attempt and the exception: `Retry(delay=lambda attempt, error: 60 * attempt)`."""
    assert rules.attempts == 8
