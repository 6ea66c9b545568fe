"""Nothing that a webhook is to tell gets lost, whoever dies and whoever brings it about, on each store."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from servers.receiver import Receiver, receiving

from mainspring import Flow, Mainspring, State, altering, chain, group

from .places import Place
from .scene import wait_until

SECRET = "a secret of the tests' own"

MODULE = """
from mainspring.worker.settler import Settler

URL = (HERE / "receiver").read_text() if told("receiver") else None
if URL:
    app.webhook(
        URL, on=("completed", "dead", "cancelled", "crashed", "retried", "flow.failed", "flow.completed"),
        secret="a secret of the tests' own", allow_private=True,
    )

@app.task(retry=1)
def work(n: int) -> int:
    note("work", n)
    if n < 0:
        raise ValueError
    return n

@app.task
def kills(n: int) -> None:
    note("kills", n)
    os.kill(os.getpid(), signal.SIGKILL)

@app.task
def spawns(ctx: Context, n: int) -> None:
    ctx.spawn(work.job(-n), then=work.job(n))

@app.task(executor="process")
def in_process(n: int) -> int:
    return n

if told("dies after the settle"):
    real = Settler._settled
    def die(self, batch, applied):
        if any(settled.claim.task == "work" for settled in batch):
            note("dies")
            os.kill(os.getpid(), signal.SIGKILL)
        real(self, batch, applied)
    Settler._settled = die
"""


@pytest.fixture
def receiver(place: Place) -> Iterator[Receiver]:
    with receiving(Receiver()) as receiver:
        (place.folder / "receiver").write_text(receiver.url)
        yield receiver


def declared(place: Place, receiver: Receiver) -> Mainspring:
    """The app as the test's own process has it."""
    place.app.webhook(
        receiver.url,
        on=("completed", "dead", "cancelled", "crashed", "flow.failed", "flow.completed"),
        secret=SECRET,
        allow_private=True,
    )
    return place.app


def told(receiver: Receiver) -> list[tuple[str, str]]:
    """Each event once, with its job's id, however often it came."""
    events = {each.event["id"]: each.event for each in receiver.received}.values()
    return sorted((event["event"], (event["job"] or event["flow"])["id"]) for event in events)


def test_a_worker_that_is_killed_just_after_it_has_settled_loses_no_delivery(place: Place, receiver: Receiver) -> None:
    place.tell("dies after the settle")
    first = place.worker()
    job = place.enqueue("work", 7)
    assert first.wait(60) == -signal.SIGKILL
    assert not receiver.received
    assert job.refresh().state is State.COMPLETED
    os.remove(place.folder / "dies after the settle")
    place.worker(lease=2)
    wait_until(lambda: receiver.received, what="the delivery comes")
    assert told(receiver) == [("completed", job.id)]
    assert len(place.notes(first)) == 2


def test_a_job_that_kills_its_workers_is_told_of_as_crashed_and_dead(place: Place, receiver: Receiver) -> None:
    job = place.enqueue("kills")
    for _ in range(3):
        assert place.start(lease=1).wait(30) == -signal.SIGKILL
    place.worker(lease=1)
    wait_until(lambda: len(told(receiver)) == 3, what="two crashes and the death are told")
    events = {each.event["id"]: each.event for each in receiver.received}.values()
    assert sorted(event["event"] for event in events) == ["crashed", "crashed", "dead"]
    assert {event["job"]["id"] for event in events} == {job.id}
    assert {event["job"]["reason"] for event in events if event["event"] == "dead"} == {"poison"}


def test_a_job_in_a_process_is_told_of(place: Place, receiver: Receiver) -> None:
    place.worker()
    job = place.enqueue("in_process", 7)
    wait_until(lambda: receiver.received)
    assert told(receiver) == [("completed", job.id)]


def test_what_an_operator_cancels_while_it_waits_is_told(place: Place, receiver: Receiver) -> None:
    app = declared(place, receiver)
    jobs = [place.enqueue("work", n, delay="1h") for n in range(5)]
    other = place.enqueue("work", 9, queue="other", delay="1h")
    assert jobs[0].cancel("no need")
    assert app.jobs.cancel(queue="default", state="scheduled") == 4
    assert not jobs[0].cancel()
    place.worker()
    wait_until(lambda: len(receiver.received) == 5)
    assert told(receiver) == sorted(("cancelled", job.id) for job in jobs)
    (first,) = [each.event for each in receiver.received if each.event["job"]["id"] == jobs[0].id]
    assert first["job"]["reason"] == "cancelled: no need"
    assert first["job"]["state"] == "cancelled"
    assert first["job"]["attempt"] == 0
    assert other.refresh().state is State.SCHEDULED


def test_one_that_was_about_to_be_cancelled_when_somebody_died_is_told_when_it_is(
    place: Place, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The witness is there, the cancel never came; then somebody else cancels, who knows of no webhook."""
    app = declared(place, receiver)
    job = place.enqueue("work", 1, delay="1h")

    def die(*args: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(altering, "AlterRequest", die)
        with pytest.raises(KeyboardInterrupt):
            job.cancel()
    assert job.refresh().state is State.SCHEDULED
    other = Mainspring(place.url)
    assert other.jobs.cancel(job.id) == 1
    other.close()
    place.worker()
    wait_until(lambda: receiver.received)
    assert told(receiver) == [("cancelled", job.id)]
    assert app.jobs.count(task="mainspring.webhook.cancelled") == 1


def test_a_witness_says_nothing_of_another_end(
    place: Place, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = declared(place, receiver)
    job = place.enqueue("work", 1)

    def die(*args: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(altering, "AlterRequest", die)
        with pytest.raises(KeyboardInterrupt):
            job.cancel()
    place.worker()
    wait_until(lambda: app.jobs.count(task="mainspring.webhook.cancelled", state="completed") == 1)
    wait_until(lambda: receiver.received)
    assert told(receiver) == [("completed", job.id)]


def test_one_that_is_deleted_while_it_is_being_cancelled_is_left_out(
    place: Place, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = declared(place, receiver)
    kept, deleted = place.enqueue("work", 1, delay="1h"), place.enqueue("work", 2, delay="1h")
    real = altering.witness

    def delete_first(job: str, lease: int, again: str = "") -> Any:
        app.jobs.delete(deleted.id)
        return real(job, lease, again)

    monkeypatch.setattr(altering, "witness", delete_first)
    assert app.jobs.cancel(queue="default") == 1
    assert kept.refresh().state is State.CANCELLED
    place.worker()
    wait_until(lambda: receiver.received)
    assert told(receiver) == [("cancelled", kept.id)]


def test_one_that_is_cancelled_once_more_is_told_once_more(place: Place, receiver: Receiver) -> None:
    app = declared(place, receiver)
    job = place.enqueue("work", 1, queue="nobody serves it")
    job.cancel()
    place.worker()
    wait_until(lambda: len(receiver.received) == 1)
    wait_until(lambda: app.jobs.count(task="mainspring.webhook.cancelled", state="completed") == 1)
    assert job.retry()
    assert job.cancel()
    wait_until(lambda: len(receiver.received) == 2)
    assert len({each.event["id"] for each in receiver.received}) == 2


def test_children_that_go_down_with_a_parent_are_told_of(place: Place, receiver: Receiver) -> None:
    declared(place, receiver)
    drafts = [place.app.task(name="work")(_work).job(n) for n in (-1, 1, 2)]
    flow = chain(*drafts, name="falls").enqueue()
    place.worker()
    wait_until(lambda: len(told(receiver)) == 4)
    dead, *cancelled = [job.id for job in flow.jobs()]
    assert told(receiver) == sorted(
        [("dead", dead), *(("cancelled", id) for id in cancelled), ("flow.failed", flow.id)]
    )


def test_so_are_those_that_a_running_job_left_behind(place: Place, receiver: Receiver) -> None:
    place.worker()
    place.enqueue("spawns", 3)
    wait_until(lambda: len(told(receiver)) == 3)
    assert [event for event, _ in told(receiver)] == ["cancelled", "completed", "dead"]
    (event,) = [each.event for each in receiver.received if each.event["event"] == "cancelled"]
    assert event["job"]["reason"].endswith("is dead")


def test_so_is_what_would_have_followed_on_a_flow(place: Place, receiver: Receiver) -> None:
    declared(place, receiver)
    task = place.app.task(name="work")(_work)
    flow = Flow("falls")
    flow.add(task.job(-1))
    follows = flow.on_success(task.job(1))
    flow.enqueue()
    place.worker()
    wait_until(lambda: len(told(receiver)) == 3)
    assert ("cancelled", follows.id) in told(receiver)
    assert ("flow.failed", flow.id) in told(receiver)


def test_a_flow_that_is_cancelled_has_failed(place: Place, receiver: Receiver) -> None:
    declared(place, receiver)
    task = place.app.task(name="work")(_work)
    flow = group([task.using(delay="1h").job(1), task.using(delay="1h").job(2)], name="withdrawn").enqueue()
    assert flow.cancel()
    assert flow.progress().total == 2
    place.worker()
    wait_until(lambda: len(told(receiver)) == 3)
    assert ("flow.failed", flow.id) in told(receiver)
    (event,) = [each.event for each in receiver.received if each.event["event"] == "flow.failed"]
    assert event["flow"]["jobs"] == {"cancelled": 2}


def _work(n: int) -> int:
    return n
