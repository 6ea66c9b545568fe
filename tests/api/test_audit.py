"""The audit log: what is done for somebody leaves an entry, whichever door he came in by."""

from __future__ import annotations

from typing import Any

import pytest

from mainspring import AuditView, InvalidOption, Mainspring, QueueFull, ScheduleNotFound, ValidationError, acting, group
from mainspring.store.base import Request
from mainspring.task import SyncTask

from .conftest import Hands

Add = SyncTask[[int], None]


@pytest.fixture
def add(app: Mainspring) -> Add:
    @app.task
    def add(n: int) -> None: ...

    return add


def newest(app: Mainspring) -> AuditView:
    return app.audit.list(limit=1)[0]


def told(app: Mainspring) -> list[tuple[str, str, int | None]]:
    """What the log has, oldest first."""
    return [(entry.action, entry.target, entry.count) for entry in reversed(app.audit.list(limit=1000))]


def test_what_the_program_does_by_itself_leaves_no_entry(app: Mainspring, add: Add) -> None:
    job = add.enqueue(1)
    job.cancel()
    app.queues.pause("default")
    with acting("ada"), acting(None):
        job.retry()
    assert list(app.audit.list()) == []


def test_verbs_on_jobs(app: Mainspring, add: Add, hands: Hands) -> None:
    one, two = add.enqueue(1), add.enqueue(2)
    with acting("ada@host"):
        app.jobs.cancel(one.id, reason="a mistake")
        app.jobs.retry(state="cancelled", task="add", queue="default", since="1h")
        app.jobs.reprioritise(1, [one.id, two.id])
        app.jobs.reschedule(delay="1h", queue="default")
        app.jobs.delete([one.id, "gone"])
        two.cancel()
        two.retry()
    assert told(app)[:4] == [
        ("jobs.cancel", one.id, 1),
        ("jobs.retry", f"state=cancelled queue=default task=add since={app.audit.list()[5].detail['since']}", 1),
        ("jobs.reprioritise", "2 jobs", 2),
        ("jobs.reschedule", "queue=default", 2),
    ]
    assert told(app)[4:] == [("jobs.delete", "2 jobs", 1), ("jobs.cancel", two.id, 1), ("jobs.retry", two.id, 1)]
    details = [dict(entry.detail) for entry in reversed(app.audit.list())]
    assert details[0]["reason"] == "cancelled: a mistake"
    assert details[2] == {"ids": [one.id, two.id], "priority": 1}
    assert details[3]["queue"] == "default"
    assert details[3]["run_at"].startswith("20")
    assert {entry.actor for entry in app.audit.list()} == {"ada@host"}


def test_verbs_on_queues(app: Mainspring) -> None:
    with acting("ada"):
        app.queues.pause("email")
        app.queues.resume("email", partition="acme")
        app.queues.set_limits("email", concurrency=5, rate=["50/1m", "2/1s"], max_queued=None)
        app.queues.set_limits("email", partition="acme", weight=2.5)
        app.queues.set_limits("email", per_partition=True, concurrency=1)
        app.queues.set_task_limits("send", concurrency=None)
    assert [(entry.action, entry.target, entry.detail, entry.count) for entry in reversed(app.audit.list())] == [
        ("queues.pause", "email", {}, 1),
        ("queues.resume", "email: partition acme", {}, 1),
        ("queues.set_limits", "email", {"concurrency": 5, "rates": ["50/1m", "2/1s"], "max_queued": "none"}, 1),
        ("queues.set_limits", "email: partition acme", {"weight": 2.5}, 1),
        ("queues.set_limits", "email: each partition", {"concurrency": 1}, 1),
        ("queues.set_task_limits", "send", {"concurrency": "none"}, 1),
    ]


def test_verbs_on_schedules(app: Mainspring, add: Add) -> None:
    with acting("ada"):
        app.schedules.put("nightly", add, cron="0 3 * * *", args={"n": 1})
        app.schedules.pause("nightly")
        app.schedules.resume("nightly")
        job = app.schedules.run_now("nightly")
        app.schedules.remove("nightly")
        with pytest.raises(ScheduleNotFound):
            app.schedules.pause("nightly")
    verbs = ("put", 1), ("pause", 1), ("resume", 1), ("run_now", 1), ("remove", 1), ("pause", 0)
    assert told(app) == [(f"schedules.{verb}", "nightly", count) for verb, count in verbs]
    put, *_, run_now, _, _ = reversed(app.audit.list())
    assert (put.detail["task"], put.detail["args"]) == ("add", {"n": 1})
    assert run_now.detail == {"task": "add", "job": job.id}


def test_commands_for_workers(app: Mainspring, hands: Hands) -> None:
    with acting("ada"):
        app.workers.quiet(hands.id)
        app.workers.stop("gone")
    assert told(app) == [("workers.quiet", hands.id, 1), ("workers.stop", "gone", 0)]


def test_enqueuing(app: Mainspring, add: Add) -> None:
    app.queue("narrow", max_queued=1)
    app.queues.set_limits("narrow", max_queued=1)
    with acting("ada"):
        job = app.enqueue("add", {"n": 7})
        add.using(queue="narrow").enqueue(1)
        with pytest.raises(QueueFull):
            add.using(queue="narrow").enqueue(2)
        with pytest.raises(ValidationError):
            app.enqueue("add", {"n": "seven"})
    assert told(app) == [("jobs.enqueue", "add", 1), ("jobs.enqueue", "add", 1), ("jobs.enqueue", "add", 0)]
    assert app.audit.list()[2].detail == {"job": job.id, "queue": "default", "args": {"n": 7}}


async def test_the_async_verbs_leave_entries_too(app: Mainspring, add: Add) -> None:
    with acting("ada"):
        job = await add.aenqueue(1)
        await app.jobs.acancel(job.id)
        await app.queues.apause("default")
    page = await app.audit.alist()
    assert [entry.action for entry in page] == ["queues.pause", "jobs.cancel", "jobs.enqueue"]
    await app.aclose()


def test_an_action_whose_program_died_is_seen_without_a_count(app: Mainspring, add: Add) -> None:
    job = add.enqueue(1)
    with acting("ada"):
        steps = app.jobs._cancel(job.id)
        entry = next(steps)
    assert isinstance(entry, Request)
    app._blocking.driver.run(entry)
    steps.close()
    assert told(app) == [("jobs.cancel", job.id, None)]
    assert job.refresh().state == "queued"


def test_pages_follow_each_other(app: Mainspring) -> None:
    with acting("ada"):
        for number in range(5):
            app.queues.pause(f"q{number}")
    first = app.audit.list(limit=2)
    second = app.audit.list(2, first.cursor)
    third = app.audit.list(2, second.cursor)
    assert [entry.target for entry in (*first, *second, *third)] == ["q4", "q3", "q2", "q1", "q0"]
    assert third.cursor is None


@pytest.mark.parametrize(("limit", "cursor"), [(0, None), (1001, None), (50, "nowhere"), (50, "x:y"), (50, 7)])
def test_what_is_no_page_is_refused(app: Mainspring, limit: int, cursor: Any) -> None:
    with pytest.raises(InvalidOption):
        app.audit.list(limit, cursor)


@pytest.mark.parametrize("name", ["", " ada", "a\0", "x" * 201, 7])
def test_what_is_no_name_cannot_act(name: Any) -> None:
    with pytest.raises(InvalidOption), acting(name):
        pass


def test_what_was_said_is_kept_only_in_part_where_it_is_long(app: Mainspring, add: Add) -> None:
    with acting("ada"):
        app.jobs.cancel([f"id{number}" for number in range(5000)], reason="x" * 9000)
    entry = newest(app)
    assert entry.target == "5,000 jobs"
    assert len(entry.detail["ids"]) == 100
    assert entry.detail["reason"] == "(9,013 characters)"


def test_many_jobs_flows_and_tries_of_webhooks(app: Mainspring, add: Add) -> None:
    app.webhook("https://example.com/x", on="dead", secret="long enough to sign with", name="hook")
    with acting("ada"):
        app.enqueue_many([add.using(id="a").job(1), add.using(id="b").job(2)])
        assert newest(app).detail == {"jobs": 2, "ids": ["a", "b"]}
        app.enqueue_many([add.using(id="b").job(2), add.using(id="c").job(3)])
        flow = group(add.job(4), add.job(5)).enqueue()
        ping = app.webhooks.test("hook")
        assert newest(app).detail == {"job": ping.id}
    app.enqueue_many([add.job(6)])
    group(add.job(7)).enqueue()
    assert told(app) == [
        ("jobs.enqueue", "add", 2),
        ("jobs.enqueue", "add", 1),
        ("flows.enqueue", flow.id, 2),
        ("webhooks.test", "hook", 1),
    ]
