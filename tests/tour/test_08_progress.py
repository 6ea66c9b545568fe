"""8. Progress: how far is it?

A job that takes a while should say so. Whoever shows it to a user watches, and does not poll.
"""

from __future__ import annotations

import asyncio
import threading

import pytest

from mainspring import Context, JobCancelled, Mainspring, State, current

app = Mainspring("sqlite://")

go_on = threading.Event()


@app.task
def render(pages: int, ctx: Context) -> str:
    """`ctx: Context` is filled in by the worker. Its calls never wait: they are gathered, and written a few times a
    second, so you can report as often as you like."""
    for page in range(pages):
        ctx.progress(100 * page / pages, f"page {page + 1} of {pages}")
        ctx.log(f"rendered page {page + 1}")
        if page == 1:
            go_on.wait(60)
    ctx.progress(100)
    return "book.pdf"


def test_watch_shows_each_change(working) -> None:
    """`watch` gives the job as it is now, and again after every change, until it has ended. In async code the same with
    `async for`."""
    go_on.clear()
    job = render.enqueue(4)
    seen = []
    with working(app):
        for view in job.watch():
            seen.append((view.state, view.progress))
            if view.progress == 25:
                go_on.set()
    assert (State.RUNNING, 25) in seen
    assert seen[-1] == (State.COMPLETED, 100)


def test_log_lines_stay_with_the_job(working) -> None:
    """The newest thousand, for as long as the job itself is kept."""
    go_on.set()
    job = render.enqueue(3)
    with working(app):
        job.result(timeout=60)
    assert [line.text for line in app.jobs.log(job.id)] == ["rendered page 1", "rendered page 2", "rendered page 3"]


@app.task
async def outer() -> str:
    return inner()


def inner() -> str:
    """Deep below the task, without handing `ctx` through every function: `current()` finds it."""
    current().progress(50, "in the middle")
    return current().job.task


async def test_the_context_is_found_from_anywhere_below(working) -> None:
    with working(app):
        job = await outer.aenqueue()
        assert await job.aresult(timeout=60) == "outer"
        assert (job.progress, job.progress_text) == (50, "in the middle")


@app.task
async def wait_for_ever() -> None:
    current().progress(1)
    await asyncio.Event().wait()


@app.task
def look_now_and_then(ctx: Context) -> None:
    ctx.progress(1)
    while not ctx.cancelled:
        threading.Event().wait(0.01)


async def test_a_running_job_can_be_cancelled(working) -> None:
    """An async task is cancelled where it waits. A plain function is asked: it looks at `ctx.cancelled` when it can,
    and may still tidy up; what it returns in the end counts, so that it decides whether it was too late."""
    with working(app):
        stopped, asked = await wait_for_ever.aenqueue(), await look_now_and_then.aenqueue()
        for job in (stopped, asked):
            async for view in job.watch():
                if view.progress:
                    break
            await job.acancel("no longer wanted")
        with pytest.raises(JobCancelled, match="no longer wanted"):
            await stopped.aresult(timeout=60)
        await asked.aresult(timeout=60)
    assert stopped.state is State.CANCELLED
    assert asked.state is State.COMPLETED
