"""13. Unique jobs: when enqueuing makes no new one

The same thing is often asked for twice: a button pressed again, a webhook sent again, a document saved ten times in a
row. A *key* is a name that at most one job holds; the rules below turn a job's arguments into keys. Whoever enqueues a
job whose key is held gets the job that holds it, and goes on as if it were theirs.
"""

from __future__ import annotations

import pytest

from mainspring import Debounce, DuplicateJob, Mainspring, State, Throttle, Unique
from mainspring.testing import Clock, drain

app = Mainspring("sqlite://")


@app.task(unique=Unique(by=("user_id",)))
def report(user_id: int, kind: str = "short") -> str:
    return f"a {kind} report for {user_id}"


def test_one_at_a_time_per_user() -> None:
    """`by` names the arguments that count; without it all of them do."""
    first = report.enqueue(7)
    again = report.enqueue(7, kind="long")
    assert (again.id, again.existed) == (first.id, True)
    assert report.enqueue(8).id != first.id
    assert drain(app).completed == 2


def test_when_it_has_ended_another_may_come() -> None:
    """With `until="started"` as soon as it runs: what changed since then needs another run."""
    assert report.enqueue(7).existed is False
    drain(app)


@app.task(unique=Unique(on_conflict="reject"))
def reindex(part: str = "all") -> None: ...


def test_a_second_one_can_be_an_error() -> None:
    first = reindex.enqueue()
    with pytest.raises(DuplicateJob) as error:
        reindex.enqueue(part="all")  # a default left out is the same as given
    assert error.value.job_id == first.id
    drain(app)


@app.task
def charge(order: int) -> str:
    return f"charged {order}"


def test_an_idempotency_key_gives_the_first_job_back() -> None:
    """For 24 hours (or `idempotency_for`), also after it has ended: a webhook may come twice."""
    first = charge.using(idempotency_key="order-123").enqueue(123)
    drain(app)
    again = charge.using(idempotency_key="order-123").enqueue(123)
    assert (again.id, again.state) == (first.id, State.COMPLETED)
    assert again.result(timeout=0) == "charged 123"


@app.task(debounce=Debounce("5s", max_delay="1m", by=("document",)))
def index(document: int, text: str) -> str:
    return text


def test_debounce_waits_until_things_are_quiet(mainspring_time: Clock) -> None:
    """The last arguments win."""
    first = index.enqueue(1, "a")
    mainspring_time.travel("4s")
    assert index.enqueue(1, "ab").id == first.id
    mainspring_time.travel("4s")
    assert drain(app).ran == 0
    mainspring_time.travel("1s")
    assert drain(app).ran == 1
    assert first.result(timeout=0) == "ab"


def test_but_not_for_ever(mainspring_time: Clock) -> None:
    """Whoever saves every four seconds is indexed once a minute all the same."""
    first = index.enqueue(2, "")
    for second in range(4, 60, 4):
        mainspring_time.travel("4s")
        index.enqueue(2, f"{second} s")
    mainspring_time.travel("4s")
    drain(app)
    assert first.result(timeout=0) == "56 s"


@app.task(throttle=Throttle(2, per="10m", by=("user_id",)))
def remind(user_id: int) -> None: ...


def test_throttle_makes_so_many_and_no_more(mainspring_time: Clock) -> None:
    """In any stretch of ten minutes; more give the latest one."""
    jobs = [remind.enqueue(7) for _ in range(5)]
    assert [job.existed for job in jobs] == [False, False, True, True, True]
    drain(app)
    assert remind.enqueue(7).existed
    mainspring_time.travel("10m")
    assert remind.enqueue(7).existed is False
    drain(app)
