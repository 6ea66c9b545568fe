"""14. Rate limits: no more than others bear

A mail service takes fifty mails a minute, an API ten calls a second and three at a time. You say so once, where the
queue or the task is declared, and all workers together keep to it: what has started is counted in the store.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mainspring import InvalidOption, Mainspring, QueueFull, Rate, RateLimited
from mainspring.testing import Clock, drain, isolated

app = Mainspring("sqlite://")
app.queue("email", rate="3/1m")
app.queue("api", rate=[Rate(2, per="1s"), Rate(5, per="1m")], concurrency=2)
app.queue("reports", max_queued=2)


@pytest.fixture(autouse=True)
def clock(mainspring_time: Clock) -> Iterator[Clock]:
    """An empty store for each test, and time that moves when it is told to."""
    with isolated(app):
        yield mainspring_time


@app.task(queue="email")
def mail(to: str) -> None: ...


def test_no_more_start_than_the_rate_allows(clock: Clock) -> None:
    """In *any* minute, not in each minute of the clock: three at 12:00:59 and three more at 12:01:00 would be six in a
    second. The others wait in their order, and no attempt is used."""
    app.enqueue_many(mail.job(f"user-{number}") for number in range(5))
    assert drain(app).completed == 3
    clock.travel("59s")
    assert drain(app).completed == 0
    clock.travel("2s")
    assert drain(app).completed == 2


@app.task(queue="api")
def call(page: int) -> None: ...


def test_several_rates_hold_together(clock: Clock) -> None:
    """Two a second, but five a minute."""
    app.enqueue_many(call.job(page) for page in range(9))
    assert drain(app).completed == 2
    clock.travel("1.1s")
    assert drain(app).completed == 2
    clock.travel("1.1s")
    assert drain(app).completed == 1
    clock.travel("1.1s")
    assert drain(app).completed == 0
    clock.travel("1m")
    assert drain(app).completed == 2


def test_a_job_may_count_for_more_than_one(clock: Clock) -> None:
    """`@app.task(cost=2)` says so for all jobs of a task."""
    mail.using(cost=2).enqueue("a list of two")
    mail.using(cost=2).enqueue("another list of two")
    assert drain(app).completed == 1
    clock.travel("61s")
    assert drain(app).completed == 1


@app.task(rate="1/10s", concurrency=1)
def geocode(address: str) -> str:
    return f"somewhere near {address}"


def test_a_task_can_have_a_rate_of_its_own(clock: Clock) -> None:
    """In whatever queue its jobs are; they hold up no others there."""
    app.enqueue_many([geocode.job("Berlin"), geocode.job("Paris"), mail.using(queue="default").job("Ann")])
    assert [job.task for job in drain(app).jobs] == ["geocode", "mail"]
    clock.travel("11s")
    assert drain(app).completed == 1


told: list[str] = []


@app.task(queue="partner")
def fetch(page: int) -> str:
    if not told:
        told.append("429 Too Many Requests")
        raise RateLimited(retry_after="20s", reason=told[0])
    return f"page {page}"


def test_when_others_say_too_many_requests(clock: Clock) -> None:
    """One job is told, and all wait: until then nothing starts in that queue, in any worker. It uses no attempt."""
    first, second = app.enqueue_many([fetch.job(1), fetch.job(2)])
    assert drain(app).ran == 1
    assert (first.refresh().state, first.attempt) == ("queued", 0)
    assert first.reason == "rate limited for 20s: 429 Too Many Requests"
    queues = {queue.name: queue for queue in app.queues.list()}
    assert queues["partner"].opens_at is not None
    clock.travel("20s")
    assert drain(app).completed == 2
    assert second.result(timeout=0) == "page 2"


@app.task(queue="reports")
def report(number: int) -> None: ...


def test_a_queue_can_be_full() -> None:
    """Whoever enqueues is told at once, instead of piling up what nobody gets to."""
    report.enqueue(1)
    report.enqueue(2)
    with pytest.raises(QueueFull, match="'reports' has 2 jobs waiting"):
        report.enqueue(3)
    drain(app)
    report.enqueue(3)


def test_limits_can_be_changed_while_everything_runs() -> None:
    """In code or by `mainspring queues limit email --rate 50/1m`: workers obey at once, and it outlives restarts. What
    is not given stays; None (on the command line "none") is no limit."""
    app.enqueue_many(mail.job(f"user-{number}") for number in range(10))
    assert drain(app).completed == 3
    app.queues.set_limits("email", rate="5/1m")
    assert drain(app).completed == 2
    app.queues.set_limits("email", rate=None)
    assert drain(app).completed == 5
    app.queues.set_limits("email", rate="3/1m")
    app.queues.set_task_limits("geocode", rate="2/1s")
    assert {view.name: str(view.rates[0]) for view in app.queues.task_limits()} == {"geocode": "2/1s"}


def test_what_cannot_be_a_limit_is_refused() -> None:
    with pytest.raises(InvalidOption, match="form 50/1m"):
        app.queues.set_limits("email", rate="fifty a minute")
