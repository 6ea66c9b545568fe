"""9. Observers and middleware: around every job

*Observers* are told what has happened, once the store has it: for metrics, logs and notices. *Middleware* goes around
the run of every job: for what each of them needs, such as a database session, a tenant, a trace.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import pytest

from mainspring import Context, Event, InvalidOption, Mainspring
from mainspring.testing import drain

app = Mainspring("sqlite://")

told: list[str] = []
tenant: ContextVar[str] = ContextVar("tenant")


@app.task(retry=1)
def greet(name: str) -> str:
    if not name:
        raise ValueError("a name, please")
    return f"{tenant.get()} greets {name}"


@app.on("completed", "dead")
def note(event: Event) -> None:
    """There are: started, completed, retried, snoozed, dead, cancelled, returned, crashed, parked."""
    told.append(f"{event.name}: {event.task}, attempt {event.attempt}")


@app.on("dead")
async def alarm(event: Event) -> None:
    """Async or not, as you like. What an observer raises is logged, and changes nothing for the job."""
    told.append(f"{event.error.type}: {event.error.message}")
    raise ConnectionError("the pager is out of order")


@app.middleware
async def as_tenant(ctx: Context, proceed: Any) -> Any:
    """Async, for async tasks and plain functions alike. It sees the job, goes on with `await proceed()`, and gives back
    the result; what it raises is the job's error."""
    tenant.set("Acme")
    result = await proceed()
    return result.replace("greets", "warmly greets")


def test_observers_are_told() -> None:
    told.clear()
    greet.enqueue("Ann")
    drain(app)
    assert told == ["completed: greet, attempt 1"]


def test_what_an_observer_raises_harms_nobody() -> None:
    told.clear()
    greet.enqueue("")
    assert drain(app).dead == 1
    assert told == ["dead: greet, attempt 1", "ValueError: a name, please"]


def test_middleware_goes_around_the_run() -> None:
    job = greet.enqueue("Bob")
    drain(app)
    assert job.result(timeout=0) == "Acme warmly greets Bob"


def test_the_first_middleware_is_the_outermost() -> None:
    other = Mainspring("sqlite://")
    steps: list[str] = []

    @other.middleware
    async def outer(ctx: Context, proceed: Any) -> Any:
        steps.append("outer")
        return await proceed()

    @other.middleware
    async def inner(ctx: Context, proceed: Any) -> Any:
        steps.append("inner")
        return await proceed()

    @other.task
    def work() -> None:
        steps.append("task")

    work.enqueue()
    drain(other)
    assert steps == ["outer", "inner", "task"]


def test_an_event_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InvalidOption, match="did you mean 'completed'"):
        app.on("complete")  # type: ignore[arg-type]
