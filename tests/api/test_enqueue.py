"""Enqueuing: one, many, by name, on other terms; from blocking code, async code, threads and forked children."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mainspring import InvalidOption, Mainspring, State, UnknownTask, ValidationError
from mainspring.store.base import Inserted, InsertRequest
from mainspring.task import SyncTask


@pytest.fixture
def add(app: Mainspring) -> SyncTask[[int, int], int]:
    @app.task
    def add(a: int, b: int) -> int:
        return a + b

    return add


Add = SyncTask[[int, int], int]


def test_an_enqueued_job_is_in_the_store(app: Mainspring, add: Add) -> None:
    job = add.enqueue(1, 2)
    stored = app.jobs.get(job.id)
    assert (stored.task, stored.state, stored.args, stored.queue) == ("add", State.QUEUED, {"a": 1, "b": 2}, "default")


async def test_from_async_code(app: Mainspring, add: Add) -> None:
    job = await add.aenqueue(1, 2)
    assert (await app.jobs.aget(job.id)).args == {"a": 1, "b": 2}
    await app.aclose()


def test_before_the_first_look_a_job_shows_what_was_handed_in(add: Add) -> None:
    """And the store says the same, except for its own clock."""
    before = datetime.now(UTC) - timedelta(seconds=1)  # its own is that of another clock, in milliseconds
    job = add.using(delay="1h", priority=2, queue="later").enqueue(1, 2)
    shown = (job.state, job.priority, job.queue, job.args, job.attempt, job.attempts, job.progress, job.error)
    assert shown == (State.SCHEDULED, 2, "later", {"a": 1, "b": 2}, 0, (), None, None)
    assert before < job.created_at < job.run_at - timedelta(minutes=59)
    expected = job.record
    assert job.refresh() is job
    assert (job.state, job.priority, job.queue, job.args) == shown[:4]
    took = datetime.now(UTC) - before
    assert abs(expected.run_at - job.record.run_at) < took / timedelta(milliseconds=1)


def test_a_job_for_a_time(add: Add) -> None:
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    job = add.using(at=at).enqueue(1, 2).refresh()
    assert (job.run_at, job.state) == (at, State.SCHEDULED)


def test_the_same_id_is_stored_once(app: Mainspring, add: Add) -> None:
    first = add.using(id="order-7").enqueue(1, 2)
    again = add.using(id="order-7").enqueue(3, 4)
    assert (first.existed, again.existed) == (False, True)
    assert again.refresh().args == {"a": 1, "b": 2}
    assert app.jobs.count() == 1


async def test_the_same_id_at_the_same_moment_is_stored_once(app: Mainspring, add: Add) -> None:
    jobs = await asyncio.gather(*(add.using(id="order-7").aenqueue(n, n) for n in range(10)))
    assert sorted(job.existed for job in jobs) == [False, *[True] * 9]
    assert await app.jobs.acount() == 1
    await app.aclose()


def test_many_at_once_keep_their_order(app: Mainspring, add: Add) -> None:
    jobs = app.enqueue_many(add.job(n, n) for n in range(1000))
    assert [job.args["a"] for job in jobs] == list(range(1000))
    assert app.jobs.count(state="queued") == 1000
    assert app.enqueue_many([]) == []


async def test_more_than_one_request_holds(app: Mainspring, add: Add) -> None:
    many = app.store.insert_limit + 5
    assert len(await app.aenqueue_many(add.job(n, n) for n in range(many))) == many
    assert await app.jobs.acount() == many
    await app.aclose()


@pytest.mark.filterwarnings("ignore::mainspring.model.codec.PayloadWarning")
def test_large_arguments_go_in_smaller_requests(app: Mainspring) -> None:
    """A request of 10,000 jobs of a megabyte each would be one document of ten gigabytes."""

    @app.task
    async def keep(text: str) -> None: ...

    requests: list[InsertRequest] = []
    steps = app._enqueue_many(keep.job("x" * 500_000) for _ in range(1000))
    with suppress(StopIteration):
        request = next(steps)
        while True:
            assert isinstance(request, InsertRequest)
            requests.append(request)
            request = steps.send(tuple(Inserted(job.id, existed=False) for job in request.jobs))
    assert [len(request.jobs) for request in requests] == [625, 375]


def test_one_wrong_job_among_many_and_none_is_stored(app: Mainspring, add: Add) -> None:
    with pytest.raises(ValidationError):
        app.enqueue_many(add.job(n, n if n < 5 else "x") for n in range(10))  # type: ignore[arg-type]
    with pytest.raises(InvalidOption, match=r"task\.job"):
        app.enqueue_many([add.job(1, 1), 7])  # type: ignore[arg-type]
    assert app.jobs.count() == 0


def test_wrong_arguments_store_nothing(app: Mainspring, add: Add) -> None:
    with pytest.raises(ValidationError):
        add.enqueue("one", 2)  # type: ignore[arg-type]
    assert app.jobs.count() == 0


def test_by_name(app: Mainspring, add: Add) -> None:
    assert app.enqueue("add", {"a": 1, "b": 2}).refresh().args == {"a": 1, "b": 2}
    with pytest.raises(UnknownTask):
        app.enqueue("sub", {})
    with pytest.raises(ValidationError):
        app.enqueue("add", {"a": 1})


async def test_blocking_verbs_work_inside_a_running_loop(app: Mainspring, add: Add) -> None:
    job = add.enqueue(1, 2)
    assert (await job.arefresh()).state is State.QUEUED
    assert app.jobs.count() == 1
    await app.aclose()


@pytest.mark.usefixtures("patient_store")
def test_from_many_threads(app: Mainspring, add: Add) -> None:
    with ThreadPoolExecutor(8) as threads:
        jobs = list(threads.map(lambda n: add.enqueue(n, n), range(200)))
    assert app.jobs.count(ids=[job.id for job in jobs]) == 200


@pytest.mark.usefixtures("patient_store")
def test_from_several_loops_at_once(app: Mainspring, add: Add) -> None:
    async def enqueue() -> None:
        await asyncio.gather(*(add.aenqueue(n, n) for n in range(50)))
        await app._async.aclose()

    threads = [threading.Thread(target=lambda: asyncio.run(enqueue())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert app.jobs.count() == 150


@pytest.mark.usefixtures("patient_store")
def test_after_a_fork(app: Mainspring, add: Add) -> None:
    """Parent and children use the same app, opened before the fork, in both kinds of code."""
    add.enqueue(0, 0)

    def child() -> None:
        add.enqueue(1, 1)

        async def enqueue() -> None:
            await asyncio.gather(*(add.aenqueue(2, n) for n in range(10)))
            await app.aclose()

        asyncio.run(enqueue())

    fork = multiprocessing.get_context("fork")
    children: list[Any] = [fork.Process(target=child) for _ in range(3)]
    for process in children:
        process.start()
    add.enqueue(3, 3)
    for process in children:
        process.join()
        assert process.exitcode == 0
    assert app.jobs.count() == 2 + 3 * 11
    assert len({job.id for job in app.jobs.find(limit=100)}) == 35


def test_a_closed_app_opens_again(app: Mainspring, add: Add) -> None:
    add.enqueue(1, 2)
    app.close()
    assert app.jobs.count() == 1
