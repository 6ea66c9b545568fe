"""Long jobs: they hear at once that the worker stops, save what they have, and go on from there elsewhere."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from punctual import takes_less_than

from mainspring import Context, HandBack, Mainspring, PayloadTooLarge, State, Unserialisable

from .places import Place
from .scene import AT_ONCE, ended, sql, until, wait_until, working

MODULE = """
@app.task
def long(n: int, ctx: Context) -> int:
    done = ctx.state or 0
    note("from", done, ctx.attempt)
    while done < n and not (done and told("over")):
        done += 1
        ctx.checkpoint(done)
        if ctx.interrupted:
            raise HandBack("a deploy")
        time.sleep(0.01)
    return done

@app.task(executor="process")
def apart(n: int, ctx: Context) -> int:
    return long.function(n, ctx)

@app.task
async def along(n: int, ctx: Context) -> int:
    began_at = done = ctx.state or 0
    note("from", done, ctx.attempt)
    try:
        while done < n and not (done and told("over")):
            done += 1
            if done == began_at + 6:
                note("far enough")
            await asyncio.sleep(0.01)
    finally:
        ctx.checkpoint(done)
    return done
"""


@pytest.mark.parametrize("task", ["long", "along"])
def test_a_deploy_costs_no_work_and_no_attempt(place: Place, task: str) -> None:
    """One job saves and hands itself back at once, another is cancelled after the grace period and saves then."""
    job = place.enqueue(task, 1_000_000)
    saved = 0

    def seconds_to_stop() -> float:
        nonlocal saved
        worker = place.worker(grace="30s" if task == "long" else "300ms")
        wait_until(lambda: place.notes(worker))
        if task == "long":
            wait_until(lambda: (job.refresh().checkpoint or 0) > saved + 5, what="it is saved while it runs")
        else:
            wait_until(lambda: ["far", "enough"] in place.notes(worker))
        began = time.monotonic()
        worker.terminate()
        assert worker.wait(60) == 0, place.errors()
        took = time.monotonic() - began
        job.refresh()
        assert job.checkpoint > saved + 5
        assert (job.state, job.attempt, job.crashes, job.attempts) == (State.QUEUED, 0, 0, ())
        saved = job.checkpoint
        return took

    takes_less_than(8, seconds_to_stop)
    another = place.worker()
    wait_until(lambda: place.notes(another))
    assert place.notes(another)[0] == ["from", str(saved), "1"]
    place.tell("over")
    assert job.result(20) >= saved
    assert job.refresh().checkpoint is None


def test_a_job_in_a_process_of_its_own_saves_and_hands_itself_back_too(place: Place) -> None:
    job = place.enqueue("apart", 1_000_000)
    first = place.worker(grace="60s")
    wait_until(lambda: (job.refresh().checkpoint or 0) > 5)
    first.terminate()
    assert first.wait(30) == 0, place.errors()
    saved = job.refresh().checkpoint
    assert saved > 5
    assert (job.state, job.attempt, job.reason) == (State.QUEUED, 0, "handed back: a deploy")
    place.worker()
    wait_until(lambda: job.refresh().checkpoint > saved, what="it goes on from there")
    place.tell("over")
    assert job.result(20) > saved


def test_what_was_saved_outlives_the_worker(place: Place) -> None:
    job = place.enqueue("long", 1_000_000)
    first = place.worker()
    wait_until(lambda: (job.refresh().checkpoint or 0) > 5)
    place.kill(first)
    saved = job.refresh().checkpoint
    second = place.worker()
    wait_until(lambda: place.notes(second))
    assert int(place.notes(second)[0][1]) >= saved
    place.tell("over")
    job.result(20)


async def test_runs_hear_of_the_stop_at_its_beginning_and_may_still_complete(app: Mainspring) -> None:
    heard = list[str]()

    @app.task
    async def work(ctx: Context) -> str:
        while not ctx.interrupted:
            await asyncio.sleep(0.01)
        heard.append(f"async {ctx.cancelled}")
        return "whole"

    @app.task
    def plain(ctx: Context) -> str:
        while not ctx.interrupted:
            time.sleep(0.01)
        heard.append(f"plain {ctx.cancelled}")
        return "whole"

    async with working(app, grace=60) as worker:
        jobs = [await work.aenqueue(), await plain.aenqueue()]
        await until(lambda: all(job.refresh().state is State.RUNNING for job in jobs))
        worker.stop()
        await until(lambda: len(heard) == 2, patience=30)
        await ended(*jobs)
    assert sorted(heard) == ["async False", "plain False"]
    assert [await job.aresult() for job in jobs] == ["whole", "whole"]


@pytest.mark.filterwarnings("ignore:checkpoint")
async def test_the_last_one_saved_is_there_before_the_job_goes_back_however_many_there_are(app: Mainspring) -> None:
    """More than one request takes."""
    large, count = "x" * 900_000, 40

    @app.task
    async def work(n: int, ctx: Context) -> None:
        while not ctx.interrupted:
            await asyncio.sleep(0.01)
        ctx.checkpoint([n, large])
        raise HandBack

    async with working(app, concurrency=count) as worker:
        jobs = [await work.aenqueue(n) for n in range(count)]  # type: ignore[call-arg]
        await until(lambda: app.jobs.count(state="running") == count)
        worker.stop()
        await until(lambda: app.jobs.count(state="queued") == count)
    for n, job in enumerate(jobs):
        await job.arefresh()
        assert (job.state, job.attempt, job.checkpoint) == (State.QUEUED, 0, [n, large])
        assert job.reason == "handed back"


async def test_who_hands_back_while_the_worker_goes_on_lets_others_go_first(app: Mainspring) -> None:
    order = list[str]()

    @app.task
    async def work(name: str, ctx: Context) -> object:
        order.append(name)
        if name == "yields" and ctx.state is None:
            ctx.checkpoint({"at": 1})
            raise HandBack
        return ctx.state

    jobs = [await work.aenqueue(name) for name in ("yields", "a", "b")]  # type: ignore[call-arg]
    async with working(app, concurrency=1):
        await ended(*jobs)
    assert order == ["yields", "a", "b", "yields"]
    assert (jobs[0].result(), jobs[0].attempt) == ({"at": 1}, 1)


async def test_a_retry_goes_on_from_what_was_saved(app: Mainspring) -> None:
    seen = list[object]()

    @app.task(retry=AT_ONCE)
    def work(ctx: Context) -> str:
        seen.append(ctx.state)
        ctx.checkpoint({"tries": ctx.attempt})
        if ctx.attempt < 3:
            raise ValueError(ctx.attempt)
        return "done"

    async with working(app):
        job = await work.aenqueue()
        await ended(job)
    assert seen == [None, {"tries": 1}, {"tries": 2}]
    assert job.checkpoint is None


async def test_what_cannot_be_saved_is_refused_where_it_is_said(app: Mainspring) -> None:
    @app.task(retry=1)
    def work(ctx: Context) -> list[str]:
        refused = []
        for state in ("x" * 1_100_000, object(), "\ud800 \x00"):
            try:
                ctx.checkpoint(state)
            except (PayloadTooLarge, Unserialisable) as error:
                refused.append(type(error).__name__)
        raise HandBack if ctx.state is None else RuntimeError(f"{refused} {ctx.state!r}")

    async with working(app):
        job = await work.aenqueue()
        await ended(job)
    assert job.error is not None
    assert job.error.message == r"['PayloadTooLarge', 'Unserialisable'] '\ud800 \x00'"
    assert job.checkpoint == "\ud800 \x00"


async def test_a_run_that_has_lost_its_job_saves_nothing(app: Mainspring) -> None:
    go_on, over = threading.Event(), threading.Event()

    @app.task
    def work(ctx: Context) -> None:
        go_on.wait(30)
        ctx.checkpoint("stale")
        over.set()

    async with working(app):
        job = await work.aenqueue()
        await until(lambda: job.refresh().state is State.RUNNING)
        sql(app, "UPDATE mainspring_jobs SET lease = lease + 1")
        go_on.set()
        await until(over.is_set)
        await asyncio.sleep(0.3)
        assert job.refresh().checkpoint is None
