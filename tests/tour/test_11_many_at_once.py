"""11. Many at once

A thousand jobs are one round trip to the store, not a thousand.
"""

from __future__ import annotations

import asyncio

import pytest

from mainspring import Mainspring, ValidationError
from mainspring.testing import drain

app = Mainspring("sqlite://")


@app.task
def square(n: int) -> int:
    return n * n


def test_enqueue_many_stores_them_together() -> None:
    """`task.job(...)` makes a job and does not enqueue it: data. `enqueue_many` stores up to 10,000 of them together or
    not at all, and gives a `Job` for each, in the same order. Tasks and terms may be mixed."""
    jobs = app.enqueue_many([square.job(2), square.using(priority=1).job(3), square.job(4)])
    assert drain(app).completed == 3
    assert [job.result(timeout=0) for job in jobs] == [4, 9, 16]


def test_one_wrong_job_stops_all() -> None:
    """Each is checked as it is made, before anything is stored."""
    before = app.jobs.count()
    with pytest.raises(ValidationError):
        app.enqueue_many(square.job(n) for n in (1, 2, "three"))  # type: ignore[arg-type]
    assert app.jobs.count() == before


async def test_many_single_ones_in_async_code_travel_together() -> None:
    """Whatever is enqueued while the store is busy with the last batch makes up the next one. Nothing waits for
    company, and each `aenqueue` returns only when its own job is durable."""
    jobs = await asyncio.gather(*(square.aenqueue(n) for n in range(500)))
    assert len({job.id for job in jobs}) == 500
    assert await app.jobs.acount(ids=[job.id for job in jobs]) == 500


def test_a_task_can_be_named_by_text() -> None:
    """For the command line, for other programs: `mainspring enqueue shop:app square --args '{"n": 5}'` does this."""
    job = app.enqueue("square", {"n": 5})
    drain(app)
    assert job.result(timeout=0) == 25
