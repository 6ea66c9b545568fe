"""6. Priority and queues: what comes first, and where

Every job waits in a *queue*, "default" unless you say otherwise. Within a queue, lower *priority* numbers go first, and
of equal ones the job that has been due the longest. Queues keep kinds of work apart: each can have workers of its own,
a limit, a pause.
"""

from __future__ import annotations

import asyncio

import pytest

from mainspring import InvalidOption, Mainspring
from mainspring.testing import drain

app = Mainspring("sqlite://")
app.queue("reports", concurrency=1)

order: list[str] = []


@app.task
def mail(to: str) -> None:
    order.append(to)


def test_lower_priorities_run_first() -> None:
    """5 is the default; 1 is urgent, 10 can wait. A task can have its own: `@app.task(priority=1)`."""
    mail.enqueue("Ann")
    mail.using(priority=10).enqueue("newsletter")
    mail.using(priority=1).enqueue("password reset")
    mail.enqueue("Bob")
    drain(app)
    assert order == ["password reset", "Ann", "Bob", "newsletter"]


def test_a_waiting_job_can_be_moved_up() -> None:
    order.clear()
    mail.enqueue("Ann")
    bob = mail.enqueue("Bob")
    app.jobs.reprioritise(1, bob.id)
    drain(app)
    assert order == ["Bob", "Ann"]


@app.task(queue="email")
def newsletter(issue: int) -> None: ...


def test_a_task_has_a_queue_and_a_job_may_take_another() -> None:
    assert newsletter.enqueue(1).queue == "email"
    assert newsletter.using(queue="urgent", priority=1).enqueue(2).queue == "urgent"
    drain(app)


def test_a_worker_serves_the_queues_it_is_told_to() -> None:
    """`mainspring worker shop:app -q critical -q bulk`: bulk is served when critical is empty. With weights,
    `-q critical:5 -q bulk:1`, of six jobs five are critical and one is bulk, so that neither starves. Without `-q`,
    all queues that the app's tasks name."""
    app.worker(["critical", "bulk"], concurrency=20)
    app.worker({"critical": 5, "bulk": 1})
    with pytest.raises(InvalidOption, match="from 1 to 1000"):
        app.worker({"critical": 5, "bulk": 0})

    newsletter.using(queue="bulk").enqueue(1)
    newsletter.using(queue="critical").enqueue(2)
    assert [job.queue for job in drain(app, queues=["critical", "bulk"]).jobs] == ["critical", "bulk"]


def test_a_queue_can_be_paused() -> None:
    """Jobs can still be enqueued; no worker takes one, until it is resumed. Also `mainspring queues pause email`."""
    app.queues.pause("email")
    newsletter.enqueue(3)
    assert drain(app).ran == 0
    app.queues.resume("email")
    assert drain(app).completed == 1


at_once: list[int] = [0, 0]


@app.task(queue="reports")
async def report(number: int) -> None:
    at_once[0] += 1
    at_once[1] = max(at_once)
    await asyncio.sleep(0.001)
    at_once[0] -= 1


def test_a_queue_can_have_a_limit() -> None:
    """`app.queue("reports", concurrency=1)`, above: only one of them runs at any time, over all workers. An operator
    can overrule it, `app.queues.set_limits("reports", concurrency=3)`."""
    app.enqueue_many(report.job(number) for number in range(5))
    assert drain(app, concurrency=5).completed == 5
    assert at_once == [0, 1]


def test_queues_show_what_is_in_them() -> None:
    mail.enqueue("Cy")
    views = {queue.name: queue for queue in app.queues.list()}
    assert views["default"].counts["queued"] == 1
    assert views["default"].oldest_waiting < 60
    assert views["reports"].concurrency == 1
