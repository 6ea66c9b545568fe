"""Why a job is not running, on a real store: each situation is brought about, and told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from mainspring import JobNotFound, Mainspring, Retry, State
from mainspring.clock import new_id
from mainspring.job import Job
from mainspring.model.failure import describe
from mainspring.model.job import Edge, Policy
from mainspring.model.outcome import Outcome
from mainspring.store.base import BeatRequest, ConfigureRequest, InsertRequest, Presence
from mainspring.task import SyncTask

from .conftest import Hands

Add = SyncTask[[int], None]
NOTHING = "nothing holds it back: the next worker with room takes it"
CLOCK = r"(?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d UTC"
"""With the date, where midnight was in between."""


@pytest.fixture
def add(app: Mainspring) -> Add:
    @app.task
    def add(n: int) -> None: ...

    return add


@pytest.fixture
def worker(app: Mainspring) -> Iterator[Hands]:
    """Takes queues default and api, knows the task `add`, has two slots."""
    driver = app.store.driver()
    worker = Hands(driver, new_id())
    presence = Presence(worker.id, "hands", ("default", "api"), ("add",), 2, 0, 60_000)
    driver.run(BeatRequest(presence, "join"))
    yield worker
    driver.close()


def fits(pattern: str, sentence: str) -> bool:
    return re.fullmatch(pattern.replace("CLOCK", CLOCK), sentence) is not None


def blocked(app: Mainspring, add: Add, *parents: Job[Any], policy: Policy = Policy.FAIL) -> Job[Any]:
    new = replace(add.job(9).new, parents=tuple(Edge(parent.id, policy) for parent in parents))
    app._blocking.driver.run(InsertRequest((new,)))
    return app.jobs.get(new.id)


def declare(app: Mainspring) -> None:
    """What a worker does when it starts."""
    app._blocking.driver.run(ConfigureRequest(app.declared_queues))


def test_nothing_holds_it_back(add: Add, worker: Hands) -> None:
    assert add.enqueue(1).why() == NOTHING


async def test_for_async_code(app: Mainspring, add: Add, worker: Hands) -> None:
    assert await (await add.aenqueue(1)).awhy() == NOTHING
    await app.aclose()


def test_it_looks_anew_and_keeps_what_was_seen_of_the_log(app: Mainspring, add: Add, worker: Hands) -> None:
    job = add.enqueue(1)
    claim = worker.claim()
    worker.note(claim, 50, "half", "a line")
    seen = app.jobs.get(job.id)
    worker.settle(claim, Outcome.completed("null"))
    assert fits("has completed at CLOCK", seen.why())
    assert seen.state is State.COMPLETED
    assert [line.text for line in seen.log] == ["a line"]


def test_a_job_that_is_gone(app: Mainspring, add: Add) -> None:
    job = add.enqueue(1)
    app.jobs.delete(job.id)
    with pytest.raises(JobNotFound, match=job.id):
        job.why()


# --- its own ---


def test_due_later(add: Add, worker: Hands) -> None:
    assert fits(r"is due in 3 h \(at .*CLOCK\)", add.using(delay="3h").enqueue(1).why())


def test_tried_again(add: Add, worker: Hands) -> None:
    job = add.enqueue(1)
    error = ValueError("no")
    retry = Retry(attempts=8, delay="90s", jitter=False)
    worker.settle(worker.claim(), Outcome.failed(describe(error), error), retry)
    assert fits(r"is tried again in [12] min \(at .*CLOCK\): attempt 1 of 8 failed: ValueError", job.why()), job.why()


def test_waiting_for_parents(app: Mainspring, add: Add, worker: Hands) -> None:
    done, first, second = (add.enqueue(n) for n in range(3))
    worker.complete()
    child = blocked(app, add, done, first, second)
    assert child.why() == f"waits for 2 of 3 parents: {first.id} (add, queued), {second.id} (add, queued)"
    worker.claim()
    assert f"{first.id} (add, running)" in child.why()
    app.queues.pause("default")
    assert fits(r"waits for 2 of 3 parents: .*, and queue 'default' is paused since CLOCK", child.why())


def test_cancelled_by_its_parent(app: Mainspring, add: Add, worker: Hands) -> None:
    parent = add.enqueue(1)
    child = blocked(app, add, parent)
    worker.kill(ValueError("no"))
    assert fits(rf"was cancelled at CLOCK: parent {parent.id} is dead", child.why())
    assert fits(r"is dead since CLOCK: attempts used up \(1 of 1\): ValueError: no", parent.why())


# --- what somebody has to see to ---


def test_paused_queue(app: Mainspring, add: Add, worker: Hands) -> None:
    job = add.enqueue(1)
    app.queues.pause("default")
    assert fits("queue 'default' is paused since CLOCK", job.why())


def test_no_worker(add: Add) -> None:
    assert add.enqueue(1).why() == "no worker is running"


def test_a_paused_queue_without_a_worker(app: Mainspring, add: Add) -> None:
    app.queues.pause("default")
    assert fits("queue 'default' is paused since CLOCK, and no worker is running", add.enqueue(1).why())


def test_no_worker_for_the_queue(add: Add, worker: Hands) -> None:
    job = add.using(queue="gpu").enqueue(1)
    assert job.why() == "no worker takes queue 'gpu' (workers take: 'api', 'default')"


def test_no_worker_that_knows_the_task(app: Mainspring, worker: Hands) -> None:
    @app.task
    def x() -> None: ...

    job = x.enqueue()
    assert job.why() == "no worker knows task 'x'"
    worker.settle(worker.claim(), Outcome.unknown("x"))
    assert fits(r"no worker knows task 'x': it is looked at again in \S+ s \(at .*CLOCK\)", job.why())


def test_a_worker_that_left_or_went_quiet(add: Add, worker: Hands) -> None:
    job = add.enqueue(1)
    presence = Presence(worker.id, "hands", ("default", "api"), ("add",), 2, 0, 60_000, quiet=True)
    worker.driver.run(BeatRequest(presence))
    assert job.why().startswith("no worker takes jobs (1 worker running")
    worker.driver.run(BeatRequest(presence, "leave"))
    assert job.why() == "no worker is running"


# --- what passes by itself ---


def test_all_workers_busy(app: Mainspring, add: Add, worker: Hands) -> None:
    app.enqueue_many(add.job(n) for n in range(4))
    worker.claim()
    last = app.jobs.find(limit=1)[0]
    assert last.why() == "is queued behind about 2 others"
    worker.claim()
    assert last.why() == (
        "the worker that takes queue 'default' is busy (2 of 2 slots), and it is queued behind about 1 other"
    )


def test_a_full_queue(app: Mainspring, add: Add, worker: Hands) -> None:
    app.queues.set_limits("api", concurrency=1)
    api = add.using(queue="api")
    api.enqueue(1)
    worker.claim("api")
    assert api.enqueue(2).why() == "queue 'api' has 1 of 1 running"


def test_a_full_task(app: Mainspring, add: Add, worker: Hands) -> None:
    app.queues.set_task_limits("add", concurrency=1)
    add.using(queue="api").enqueue(1)
    worker.claim("api")
    assert add.enqueue(2).why() == "task 'add' has 1 of 1 running"


def test_a_closed_gate(app: Mainspring, add: Add, worker: Hands) -> None:
    app.queues.set_limits("api", rate="1/1h")
    api = add.using(queue="api")
    api.enqueue(1)
    worker.complete(queue="api")
    assert fits(r"gate of queue 'api' is closed until .*CLOCK \(rate 1/1h\)", api.enqueue(2).why())


def test_a_gate_closed_by_a_task(app: Mainspring, add: Add, worker: Hands) -> None:
    api = add.using(queue="api")
    job = api.enqueue(1)
    worker.settle(worker.claim("api"), Outcome.rate_limited(20_000))
    assert fits("gate of queue 'api' is closed until .*CLOCK", job.why())


def test_partitions(app: Mainspring, add: Add, worker: Hands) -> None:
    app.queues.set_limits("api", per_partition=True, concurrency=1)
    acme = add.using(queue="api", partition="acme")
    first, second = acme.enqueue(1), acme.enqueue(2)
    worker.claim("api")
    assert second.why() == "partition 'acme' of queue 'api' has 1 of 1 running"
    other = add.using(queue="api", partition="other").enqueue(3)
    assert other.why() == NOTHING
    app.queues.pause("api", "other")
    assert fits("partition 'other' of queue 'api' is paused since CLOCK", other.why())
    assert fits("is running since CLOCK on worker hands", first.why())


def test_a_sequence(app: Mainspring, add: Add, worker: Hands) -> None:
    app.queue("api", partition="n", sequence=True)
    declare(app)
    first, second = (add.using(queue="api", partition="acme").enqueue(n) for n in range(2))
    claim = worker.claim("api")
    assert second.why() == f"waits behind job {first.id} (add, running) in the sequence of partition 'acme'"
    error = ValueError("no")
    worker.settle(claim, Outcome.failed(describe(error), error), Retry(attempts=1))
    assert second.why() == (
        f"waits behind job {first.id} (add, dead: retry or delete it) in the sequence of partition 'acme'"
    )
    app.jobs.delete(first.id)
    assert second.why() == NOTHING


# --- running ---


def test_running(app: Mainspring, add: Add, worker: Hands) -> None:
    job = add.enqueue(1)
    worker.claim()
    assert fits("is running since CLOCK on worker hands", job.why())
    job.cancel()
    assert fits("is running since CLOCK on worker hands; asked to cancel", job.why())
