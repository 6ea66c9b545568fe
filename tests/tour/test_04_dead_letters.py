"""4. Dead letters: nothing is thrown away

A job whose attempts are used up is *dead*. It is not gone: it stays for thirty days among the *dead letters*, with its
arguments, its error and the whole story, until somebody has mended what was broken and sends it through again.

A worker that dies, by `kill -9`, a segfault or a power cut, is missed within its lease of 30 s, and others run its
jobs, which lose no attempt by it. A job that was there when three workers died is *poison*: it goes to the dead letters
as well, before it takes the fourth.
"""

from __future__ import annotations

import pytest

from mainspring import Bury, Cancel, InvalidOption, JobCancelled, JobFailed, Mainspring, State
from mainspring.testing import drain

app = Mainspring("sqlite://")

customers = {1: "Ann"}


@app.task(retry=1, queue="email")
def remind(customer: int) -> str:
    return f"Dear {customers[customer]}"


def test_a_dead_letter_says_why() -> None:
    job = remind.enqueue(2)
    drain(app)
    (letter,) = app.jobs.find(state="dead", task="remind")
    assert letter.id == job.id
    assert letter.args == {"customer": 2}
    assert letter.reason == "attempts used up (1 of 1)"
    assert letter.error.type == "KeyError"
    with pytest.raises(JobFailed, match="attempts used up"):
        job.result()


def test_a_dead_letter_can_be_replayed() -> None:
    """Mend the cause, then `retry`: the job is queued again, with all its attempts, and its history goes on."""
    job = remind.enqueue(3)
    drain(app)
    customers[3] = "Cy"
    assert job.retry()
    drain(app)
    assert job.result(timeout=0) == "Dear Cy"
    assert [attempt.verdict for attempt in job.attempts] == ["failed", "completed"]


def test_many_can_be_replayed_at_once() -> None:
    """The same from the command line: `mainspring jobs retry --state dead --queue email`."""
    remind.enqueue(4)
    remind.enqueue(5)
    drain(app)
    customers.update({2: "Bob", 4: "Di", 5: "Ed"})
    assert app.jobs.retry(state="dead", queue="email", since="1h") == 3
    assert drain(app).completed == 3
    assert app.jobs.count(state="dead") == 0


def test_or_deleted() -> None:
    """A verb that changes jobs wants to be told which ones: none of them can hit all jobs by an oversight."""
    job = remind.enqueue(6)
    drain(app)
    with pytest.raises(InvalidOption, match="say which jobs"):
        app.jobs.delete()
    assert app.jobs.delete(job.id) == 1


@app.task
def ship(order: str) -> None:
    if order == "withdrawn":
        raise Cancel("the customer withdrew it")
    raise Bury(f"there is no order {order!r}")


def test_a_task_can_give_up_by_itself() -> None:
    """`Bury`: this will never work, do not try again. `Cancel`: this is no longer wanted."""
    lost, withdrawn = ship.enqueue("A-17"), ship.enqueue("withdrawn")
    drain(app)
    assert lost.refresh().state is State.DEAD
    assert lost.reason == "buried: there is no order 'A-17'"
    with pytest.raises(JobCancelled, match="the customer withdrew it"):
        withdrawn.result()


def test_a_waiting_job_can_be_cancelled_from_outside() -> None:
    """A running one is asked to end: an async task is cancelled, a plain one finds `ctx.cancelled` true."""
    job = remind.enqueue(1)
    assert job.cancel("sent by hand")
    assert drain(app).ran == 0
    assert job.refresh().reason == "cancelled: sent by hand"
