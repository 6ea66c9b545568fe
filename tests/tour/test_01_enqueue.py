"""1. Enqueue: hand work over, and go on

Somebody signs up, and a mail has to be sent. The mail server may take seconds, or be down; the visitor should not
wait for it, and the mail should not be lost. So the web request does not send the mail: it *enqueues a job* that
does, and answers at once. A *worker*, a program of its own, runs the job a moment later.

This tour shows all of Mainspring in a dozen chapters. Every chapter is a test file that runs: read it, change it, run
it with `pytest tests/tour`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from mainspring import Mainspring, State, ValidationError

app = Mainspring("sqlite://")
"""Where jobs are kept. `sqlite://` is a store in memory, good for tests; a real program gives a file,
`sqlite:///jobs.db`, or no URL at all and sets MAINSPRING_URL."""

sent: list[str] = []


@app.task
def send_welcome(user_id: int, email: str) -> str:
    """A *task* is a function with a decorator. Nothing else about it is special."""
    sent.append(email)
    return f"Welcome, user {user_id}"


def test_a_task_is_still_a_plain_function() -> None:
    """Calling it calls it: handy in tests, and when you do want to wait."""
    assert send_welcome(7, "a@b.c") == "Welcome, user 7"


def test_enqueue_stores_a_job_and_returns() -> None:
    """`enqueue` takes the same arguments. When it returns, the job is durable: kill the program now, pull the plug,
    and the job will still be run. Nothing has been sent yet."""
    sent.clear()
    job = send_welcome.enqueue(7, email="a@b.c")
    assert job.state is State.QUEUED
    assert job.task == "send_welcome"
    assert job.args == {"user_id": 7, "email": "a@b.c"}
    assert sent == []


def test_a_worker_runs_it(working) -> None:
    """In production you start a worker in another terminal, `mainspring worker shop.jobs:app`, as many as you like.
    In this tour, `with working(app)` starts one on a thread."""
    job = send_welcome.enqueue(8, "b@b.c")
    with working(app):
        assert job.result(timeout=60) == "Welcome, user 8"
    assert "b@b.c" in sent


def test_wrong_arguments_are_refused_at_once() -> None:
    """Not by a worker in the middle of the night, but here, where the mistake is, and before anything is stored."""
    before = app.jobs.count()
    with pytest.raises(ValidationError, match="user_id"):
        send_welcome.enqueue("seven", "a@b.c")
    with pytest.raises(ValidationError, match="email"):
        send_welcome.enqueue(7)
    assert app.jobs.count() == before


@app.task
def invoice(due: datetime, total: Decimal, lines: list[tuple[str, Decimal]]) -> bool:
    return isinstance(due, datetime) and total == sum(price for _, price in lines)


def test_arguments_arrive_as_the_annotations_say(working) -> None:
    """Arguments travel as JSON, never as pickle. The annotations say what they are, so dates, decimals, enums, paths,
    dataclasses and pydantic models arrive as what they were."""
    job = invoice.enqueue(datetime(2026, 3, 1, tzinfo=UTC), Decimal("9.90"), [("tea", Decimal("9.90"))])
    with working(app):
        assert job.result(timeout=60) is True


def test_the_same_id_is_the_same_job() -> None:
    """A request that is repeated, after a lost connection, say, need not enqueue twice: name the job, and the second
    `enqueue` finds the first."""
    once = send_welcome.using(id="welcome-9").enqueue(9, "c@b.c")
    again = send_welcome.using(id="welcome-9").enqueue(9, "c@b.c")
    assert (once.existed, again.existed) == (False, True)
    assert app.jobs.count(ids="welcome-9") == 1
