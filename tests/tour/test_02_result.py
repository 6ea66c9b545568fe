"""2. Results: what came of it

Most jobs are enqueued and forgotten. When you do want to know, the `Job` that `enqueue` returned, or its id, leads to
everything.
"""

from __future__ import annotations

import pytest

from mainspring import JobFailed, JobNotFound, Mainspring, ResultTimeout, State

app = Mainspring("sqlite://")


@app.task
async def add(a: int, b: int) -> int:
    """Tasks may be async, too: one worker runs hundreds of these at once, and plain functions on threads."""
    return a + b


@app.task(retry=1)
def divide(a: int, b: int) -> float:
    return a / b


def test_result_waits_for_the_job(working) -> None:
    """`result` waits until the job has ended, and gives what the task returned."""
    with working(app):
        assert add.enqueue(1, 2).result(timeout="1m") == 3


def test_a_job_that_takes_too_long_says_where_it_stands() -> None:
    """Here nobody works, so nobody should wait for ever."""
    with pytest.raises(ResultTimeout, match="still queued"):
        add.enqueue(1, 2).result(timeout="20ms")


def test_a_job_that_failed_raises_what_is_known_about_it(working) -> None:
    """The task's exception was raised in another process, some time ago. `JobFailed` brings what was stored."""
    with working(app), pytest.raises(JobFailed) as failed:
        divide.enqueue(1, 0).result(timeout=60)
    assert failed.value.type == "ZeroDivisionError"
    assert failed.value.message == "division by zero"
    assert "return a / b" in failed.value.traceback


def test_a_job_shows_what_was_last_seen_of_it(working) -> None:
    """Its properties never go to the store behind your back; `refresh` does, when you say so."""
    job = add.enqueue(20, 22)
    with working(app):
        job.result(timeout=60)
    assert job.state is State.COMPLETED
    assert job.started_at <= job.finished_at
    assert job.refresh() is job


def test_an_id_is_enough() -> None:
    """Put it into a URL or a database: `app.jobs.get` finds the job again, from any process, for a day after it has
    completed, and for thirty days if it is dead or was cancelled."""
    job = add.enqueue(1, 1)
    assert app.jobs.get(job.id).args == {"a": 1, "b": 1}
    with pytest.raises(JobNotFound):
        app.jobs.get("no-such-job")


def test_jobs_can_be_found_and_counted() -> None:
    """`app.jobs` is the door for whoever looks after the jobs; the command line uses the same one."""
    add.enqueue(5, 5)
    assert app.jobs.count(state="queued", task="add") >= 1
    newest = app.jobs.find(task="add", since="1h", limit=10)[0]
    assert newest.args == {"a": 5, "b": 5}
