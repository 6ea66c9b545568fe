"""The operators' door: jobs found and changed in bulk; queues, schedules and workers looked at and commanded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from mainspring import (
    ConfigurationError,
    InvalidCron,
    InvalidOption,
    JobNotFound,
    Mainspring,
    ScheduleNotFound,
    State,
    UnknownTask,
    ValidationError,
)
from mainspring.model.schedule import Cron, Timing
from mainspring.store.base import Command, ConfigureRequest
from mainspring.task import SyncTask

from .conftest import Hands

Add = SyncTask[[int], None]


@pytest.fixture
def add(app: Mainspring) -> Add:
    @app.task
    def add(n: int) -> None: ...

    return add


# --- jobs ---


def test_finding_and_counting(app: Mainspring, add: Add, hands: Hands) -> None:
    email = add.using(queue="email").enqueue(1)
    later = add.using(delay="1h").enqueue(2)
    dead = add.enqueue(3)
    hands.kill(OSError("no disk"))

    def ids(**where: Any) -> list[str]:
        return [job.id for job in app.jobs.find(**where)]

    assert set(ids()) == {email.id, later.id, dead.id}
    assert ids(queue="email") == ids(state="queued") == ids(state=State.QUEUED) == [email.id]
    assert ids(state=["dead", "cancelled"]) == ids(state="dead", task="add", since="1h") == [dead.id]
    assert ids(ids=[later.id, "nobody"]) == ids(ids=later.id) == [later.id]
    assert ids(task="other") == ids(until="1h") == ids(since=datetime.now(UTC) + timedelta(hours=1)) == []
    assert (app.jobs.count(), app.jobs.count(state="dead"), app.jobs.count(queue="nothing")) == (3, 1, 0)


def test_counting_by_state(app: Mainspring, add: Add, hands: Hands) -> None:
    add.using(delay="1h").enqueue(1)
    add.using(queue="email").enqueue(2)
    add.enqueue(3)
    hands.kill(OSError("no disk"))
    assert app.jobs.counts() == {State.SCHEDULED: 1, State.QUEUED: 1, State.DEAD: 1}
    assert app.jobs.counts(queue="default", state=["dead", "queued"]) == {State.DEAD: 1}
    assert app.jobs.counts(task="other") == {}


def test_asking_for_no_ids_gives_no_jobs(app: Mainspring, add: Add) -> None:
    job = add.enqueue(1)
    assert len(app.jobs.find(ids=[])) == app.jobs.count([]) == app.jobs.delete([]) == app.jobs.cancel([]) == 0
    assert job.refresh().state is State.QUEUED


def test_pages_follow_each_other_newest_first(app: Mainspring, add: Add) -> None:
    jobs = app.enqueue_many(add.job(n) for n in range(7))
    seen: list[str] = []
    page = app.jobs.find(limit=3)
    assert len(page) == 3
    while True:
        seen += [job.id for job in page]
        if page.cursor is None:
            break
        page = app.jobs.find(limit=3, cursor=page.cursor)
    assert seen == [job.id for job in reversed(jobs)]
    assert [job.id for job in app.jobs.find(limit=7)[:2]] == seen[:2]


def test_a_page_is_filled_however_rare_its_jobs_are(app: Mainspring, add: Add) -> None:
    rare = add.using(queue="rare").enqueue(0)
    app.enqueue_many(add.job(n) for n in range(9000))
    assert [job.id for job in app.jobs.find(queue="rare")] == [rare.id]


@pytest.mark.parametrize(
    "where",
    [{"state": "ded"}, {"state": ["dead", "x"]}, {"since": "yesterday"}, {"since": datetime(2030, 1, 1)}, {"ids": [7]}],
)
def test_wrong_conditions_are_refused(app: Mainspring, where: Any) -> None:
    for verb in (app.jobs.find, app.jobs.count, app.jobs.delete):
        with pytest.raises(ConfigurationError):
            verb(**where)


@pytest.mark.parametrize("limit", [0, -1, 1001, True, "5"])
def test_wrong_limits_are_refused(app: Mainspring, limit: Any) -> None:
    with pytest.raises(InvalidOption, match="limit"):
        app.jobs.find(limit=limit)


def test_getting_one(app: Mainspring, add: Add) -> None:
    assert app.jobs.get(add.enqueue(5).id).args == {"n": 5}
    for id in ("nobody", ""):
        with pytest.raises(JobNotFound):
            app.jobs.get(id)


def test_changing_needs_a_condition(app: Mainspring, add: Add) -> None:
    """So that a forgotten filter never hits everything."""
    add.enqueue(1)
    for change in (app.jobs.cancel, app.jobs.retry, app.jobs.delete, partial(app.jobs.reschedule, delay=1)):
        with pytest.raises(InvalidOption, match="say which jobs"):
            change()
    assert app.jobs.count(state="queued") == 1


def test_bulk_changes_reach_every_job_that_fits(app: Mainspring, add: Add) -> None:
    app.enqueue_many(add.using(queue="bulk").job(n) for n in range(2500))
    other = add.enqueue(1)
    assert app.jobs.reprioritise(9, queue="bulk") == 2500
    assert app.jobs.reschedule(queue="bulk", delay="1h") == 2500
    assert app.jobs.count(state="scheduled") == 2500
    assert app.jobs.cancel(queue="bulk", reason="not today") == 2500
    (one,) = app.jobs.find(state="cancelled", limit=1)
    assert (one.reason, one.priority) == ("cancelled: not today", 9)
    assert app.jobs.retry(state="cancelled") == 2500
    assert app.jobs.delete(queue="bulk") == 2500
    assert [job.id for job in app.jobs.find()] == [other.id]


def test_rescheduling(app: Mainspring, add: Add) -> None:
    job = add.enqueue(1)
    at = datetime(2040, 5, 1, tzinfo=UTC)
    assert app.jobs.reschedule(job.id, at=at) == 1
    assert (job.refresh().run_at, job.state) == (at, State.SCHEDULED)
    for wrong in ({}, {"at": at, "delay": 1}, {"at": datetime(2040, 5, 1)}):
        with pytest.raises(InvalidOption):
            app.jobs.reschedule(job.id, **wrong)


async def test_the_async_door(app: Mainspring, add: Add) -> None:
    job = await add.aenqueue(1)
    assert [found.id for found in await app.jobs.afind()] == [job.id]
    assert await app.jobs.acancel(job.id) == 1
    assert await app.jobs.acount(state="cancelled") == 1
    assert await app.jobs.adelete(state="cancelled") == 1
    await app.aclose()


# --- queues ---


def test_queues_tell_what_is_in_them(app: Mainspring, add: Add, hands: Hands) -> None:
    add.using(queue="email").enqueue(1)
    add.enqueue(2)
    hands.complete()
    add.enqueue(3)
    default, email = app.queues.list()
    assert (default.name, default.counts) == ("default", {State.QUEUED: 1, State.COMPLETED: 1})
    assert (email.name, email.counts, email.paused, email.concurrency) == ("email", {State.QUEUED: 1}, False, None)
    assert email.oldest_waiting is not None
    assert 0 <= email.oldest_waiting < 60


def test_a_paused_queue_gives_no_jobs(app: Mainspring, add: Add, hands: Hands) -> None:
    add.enqueue(1)
    app.queues.pause("default")
    (queue,) = app.queues.list()
    assert queue.paused
    assert queue.paused_at is not None
    with pytest.raises(ValueError, match="unpack"):
        hands.claim()
    app.queues.resume("default")
    assert not app.queues.list()[0].paused
    hands.claim()


def test_limits(app: Mainspring) -> None:
    app.queues.set_limits("email", concurrency=3)
    assert [(queue.name, queue.concurrency) for queue in app.queues.list()] == [("email", 3)]
    app.queues.set_limits("email", concurrency=None)
    assert app.queues.list()[0].concurrency is None
    with pytest.raises(InvalidOption):
        app.queues.set_limits("email", concurrency=0)


# --- schedules ---


def test_a_schedule_as_data(app: Mainspring, add: Add) -> None:
    app.schedules.put("nightly", "add", cron="0 3 * * *", tz="Europe/Berlin", args={"n": 1})
    (view,) = app.schedules.list()
    assert (view.name, view.task, view.args, view.paused) == ("nightly", "add", {"n": 1}, False)
    assert view.timing == Timing(Cron("0 3 * * *", "Europe/Berlin"))
    assert view.next_at > datetime.now(UTC)
    app.schedules.put("nightly", add, every="1h", args={"n": 2})
    assert [(view.name, view.args) for view in app.schedules.list()] == [("nightly", {"n": 2})]
    app.schedules.remove("nightly")
    assert app.schedules.list() == []


def test_wrong_schedules_are_not_stored(app: Mainspring, add: Add) -> None:
    with pytest.raises(UnknownTask):
        app.schedules.put("x", "nothing", every="1h")
    with pytest.raises(ValidationError):
        app.schedules.put("x", add, every="1h")
    with pytest.raises(InvalidCron):
        app.schedules.put("x", add, cron="nonsense", args={"n": 1})
    with pytest.raises(InvalidOption, match="say when"):
        app.schedules.put("x", add, args={"n": 1})
    assert app.schedules.list() == []


def test_pausing_and_resuming_a_schedule(app: Mainspring, add: Add) -> None:
    app.schedules.put("often", add, every="1h", args={"n": 1})
    app.schedules.pause("often")
    assert app.schedules.list()[0].paused
    app.schedules.resume("often")
    view = app.schedules.list()[0]
    assert not view.paused
    assert view.next_at > datetime.now(UTC)


def test_running_a_schedule_now(app: Mainspring, add: Add) -> None:
    app.schedules.put("often", add, every="1h", args={"n": 1})
    job = app.schedules.run_now("often").refresh()
    assert (job.task, job.args, job.state) == ("add", {"n": 1}, State.QUEUED)


def test_a_schedule_that_is_not_there(app: Mainspring) -> None:
    doors = (app.schedules.pause, app.schedules.resume, app.schedules.remove, app.schedules.run_now)
    for verb in doors:
        with pytest.raises(ScheduleNotFound, match="nobody"):
            verb("nobody")


def test_declared_schedules_are_what_the_store_takes(app: Mainspring, add: Add) -> None:
    app.every("1h", args={"n": 4})(add)
    driver = app.store.driver()
    driver.run(ConfigureRequest((*app.declared_queues, *app.declared_schedules(now=0))))
    driver.close()
    assert [(view.name, view.args) for view in app.schedules.list()] == [("add", {"n": 4})]


# --- workers ---


def test_workers_are_listed_and_commanded(app: Mainspring, hands: Hands) -> None:
    (view,) = app.workers.list()
    assert (view.id, view.name, view.concurrency, view.alive, view.quiet) == (hands.id, "hands", 10, True, False)
    assert app.workers.quiet(hands.id)
    assert hands.beat().command is Command.QUIET
    assert app.workers.stop(hands.id)
    assert hands.beat().command is Command.STOP
    assert not app.workers.stop("nobody")
