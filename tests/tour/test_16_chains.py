"""16. Chains: one job after the other, with the results handed on

A *flow* is a number of jobs that belong together. They are stored in one request, all or none, and each runs when those
that it waits for have ended. The simplest flow is a chain.
"""

from __future__ import annotations

from typing import Any

import pytest

from mainspring import Context, Flow, InvalidFlow, JobCancelled, Mainspring, chain, previous
from mainspring.testing import drain

app = Mainspring("sqlite://")

no_money = False


@app.task(retry=1)
async def charge(order: int) -> str:
    if no_money:
        raise ConnectionError("the bank does not answer")
    return f"receipt {order}"


@app.task
async def reserve(order: int) -> None: ...


@app.task
async def ship(order: int, receipt: str) -> str:
    return f"order {order} shipped, {receipt} enclosed"


@app.task
def tell(text: str) -> str:
    return f"Dear customer, {text}"


def test_a_chain_hands_each_result_to_the_next_step() -> None:
    """`previous` stands for the result of the step before. Nothing is stored before `enqueue`."""
    flow = chain(charge.job(7), ship.job(7, previous), tell.job(previous))
    assert flow.name == "charge -> ship -> tell"
    flow.enqueue()
    assert [job.state for job in flow.jobs()] == ["queued", "blocked", "blocked"]
    drain(app)
    assert flow.result() == "Dear customer, order 7 shipped, receipt 7 enclosed"


def test_any_job_can_take_the_result_of_any_other() -> None:
    """A `Flow` says it by name: who waits for whose result follows from the arguments, the rest from `after`.

    Type checkers know that `charged.result` is text.
    """
    flow = Flow("order 8")
    charged = flow.add(charge.job(8))
    reserved = flow.add(reserve.job(8))
    shipped = flow.add(ship.job(8, receipt=charged.result), after=[reserved])
    flow.enqueue()
    drain(app)
    assert shipped.job.result() == "order 8 shipped, receipt 8 enclosed"


@pytest.fixture
def broke() -> Any:
    global no_money
    no_money = True
    yield
    no_money = False


def test_what_waits_for_a_job_that_fails_is_cancelled(broke: Any) -> None:
    """All the way down. Once the dead job is retried, they come back, and the flow goes on."""
    global no_money
    flow = chain(charge.job(9), ship.job(9, previous), tell.job(previous)).enqueue()
    drain(app)
    assert [job.state for job in flow.jobs()] == ["dead", "cancelled", "cancelled"]
    with pytest.raises(JobCancelled):
        flow.result()
    no_money = False
    app.jobs.retry(flow=flow.id, state="dead")
    drain(app)
    assert flow.result() == "Dear customer, order 9 shipped, receipt 9 enclosed"


@app.task
def clear_up(ctx: Context, order: int) -> list[str]:
    return [f"{parent.state}: {parent.reason}" for parent in ctx.parents]


def test_unless_they_say_otherwise(broke: Any) -> None:
    """`on_failure="run"` runs all the same, and sees in `ctx.parents` what failed; "ignore" does not care."""
    flow = Flow("order 10")
    charged = flow.add(charge.job(10))
    cleared = flow.add(clear_up.job(10), after=charged, on_failure="run")
    flow.enqueue()
    drain(app)
    assert cleared.job.result() == ["dead: attempts used up (1 of 1)"]


def test_mistakes_are_found_before_anything_is_stored() -> None:
    with pytest.raises(InvalidFlow, match="there is no step before"):
        chain(tell.job(previous)).enqueue()
    with pytest.raises(InvalidFlow, match="give such a job to a Flow or a chain"):
        tell.enqueue(previous)
