"""A task completes its job in its own transaction: what it has done there, and that it is done, are one commit."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from typing import Any

import psycopg
import pytest
from servers.receiver import Receiver, receiving
from worker.scene import AT_ONCE, NotesOnTheWay, ended, until, working

from mainspring import (
    Context,
    Event,
    InvalidOption,
    Job,
    LeaseLost,
    MainspringError,
    NotCommitted,
    Retry,
    State,
    UnusableTransaction,
    ValidationError,
    chain,
    previous,
)

from .libraries import ASYNC, BLOCKING, AsyncLibrary, Library
from .places import Place, PostgresPlace

BOTH = pytest.mark.parametrize("place", ["postgres", "sqlite"], indirect=True)


@pytest.fixture(autouse=True)
async def _closing(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    names = {"place", "sqlite_place"}.intersection(request.fixturenames)
    places: list[Place] = [request.getfixturevalue(name) for name in names]
    yield
    for place in places:
        await place.app.aclose()


@pytest.fixture
def events(place: Place) -> list[str]:
    """What observers hear."""
    heard: list[str] = []

    @place.app.on("completed", "retried", "dead", "cancelled", "returned")
    def hear(event: Event) -> None:
        heard.append(event.name)

    return heard


@pytest.fixture
def begin(place: Place) -> Callable[[], Any]:
    """A new connection of the driver that most have, used as it comes."""
    if isinstance(place, PostgresPlace):
        return lambda: psycopg.connect(place.address)
    return lambda: closing(sqlite3.connect(place.address))


def pay(place: Place, connection: Any, order: int = 1) -> None:
    connection.execute(f"INSERT INTO {place.orders} VALUES ({order})")


# --- every library ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", BLOCKING, ids=lambda library: library.name)
async def test_the_effect_and_the_completion_are_one_commit(library: Library, place: Place, events: list[str]) -> None:
    app, seen = place.app, []

    @app.task
    def charge(ctx: Context, order: int) -> str:
        with library.begin(place) as begun:
            begun.execute(f"INSERT INTO {place.orders} VALUES ({order})")
            ctx.complete(f"paid {order}", tx=begun.tx)
            seen.append((place.stored(), app.jobs.get(ctx.job.id).state))
            begun.commit()
            seen.append((place.stored(), app.jobs.get(ctx.job.id).state))
        return "this counts for nothing"

    job = charge.enqueue(1)
    async with working(app):
        await ended(job)
    assert seen == [([], State.RUNNING), ([1], State.COMPLETED)]
    assert (job.result(), len(job.attempts), events) == ("paid 1", 1, ["completed"])


@pytest.mark.parametrize("library", ASYNC, ids=lambda library: library.name)
async def test_the_same_in_async_code(library: AsyncLibrary, place: Place, events: list[str]) -> None:
    app, seen = place.app, []

    @app.task
    async def charge(ctx: Context, order: int) -> str:
        async with library.begin(place) as begun:
            await begun.execute(f"INSERT INTO {place.orders} VALUES ({order})")
            await ctx.acomplete(f"paid {order}", tx=begun.tx)
            seen.append((place.stored(), app.jobs.get(ctx.job.id).state))
            await begun.commit()
            seen.append((place.stored(), app.jobs.get(ctx.job.id).state))
        return "this counts for nothing"

    job = charge.enqueue(1)
    async with working(app):
        await ended(job)
    assert seen == [([], State.RUNNING), ([1], State.COMPLETED)]
    assert (await job.aresult(), len(job.attempts), events) == ("paid 1", 1, ["completed"])


@pytest.mark.parametrize("library", BLOCKING, ids=lambda library: library.name)
async def test_a_rollback_takes_both_back_and_the_job_is_tried_again(
    library: Library, place: Place, events: list[str]
) -> None:
    app = place.app

    @app.task(retry=AT_ONCE)
    def charge(ctx: Context) -> str:
        with library.begin(place) as begun:
            begun.execute(f"INSERT INTO {place.orders} VALUES (1)")
            ctx.complete("paid", tx=begun.tx)
            if ctx.attempt == 1:
                begun.rollback()
                raise OSError("the bank hung up")
            begun.commit()
        return ""

    job = charge.enqueue()
    async with working(app):
        await ended(job)
    assert place.stored() == [1]
    assert (job.result(), job.attempt, events) == ("paid", 2, ["retried", "completed"])


# --- whether it was committed is found out ---------------------------------------------------------------------------


@BOTH
async def test_who_returns_without_having_committed_has_failed(
    place: Place, events: list[str], begin: Callable[[], Any]
) -> None:
    app = place.app

    @app.task(retry=AT_ONCE)
    def charge(ctx: Context) -> str:
        with begin() as connection:
            pay(place, connection)
            ctx.complete("paid", tx=connection)
            if ctx.attempt < 3:
                connection.rollback()
            connection.commit()
        return "done"

    job = charge.enqueue()
    async with working(app):
        await ended(job)
    assert (place.stored(), job.result(), events) == ([1], "paid", ["retried", "retried", "completed"])
    assert {attempt.error.type for attempt in job.attempts if attempt.error} == {NotCommitted.__name__}


@BOTH
async def test_what_fails_after_the_commit_changes_nothing(
    place: Place, events: list[str], begin: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    app = place.app

    @app.task(retry=AT_ONCE)
    def charge(ctx: Context) -> str:
        with begin() as connection:
            pay(place, connection)
            ctx.complete("paid", tx=connection)
            connection.commit()
        raise ConnectionResetError("the reply to the commit was lost")

    job = charge.enqueue()
    async with working(app):
        await ended(job)
    assert (place.stored(), job.result(), job.attempt, events) == ([1], "paid", 1, ["completed"])
    assert "has completed in a transaction of its own" in caplog.text
    assert "the reply to the commit was lost" in caplog.text


@BOTH
@pytest.mark.parametrize("commits", [True, False])
async def test_a_run_that_ends_before_its_transaction_does_is_settled_by_that(
    place: Place, events: list[str], begin: Callable[[], Any], commits: bool
) -> None:
    """As when a commit is under way still while the run fails because it lost patience with it."""
    app, opened = place.app, list[Any]()
    if isinstance(place, PostgresPlace):
        connection: Any = psycopg.connect(place.address)
    else:
        connection = sqlite3.connect(place.address, check_same_thread=False)

    @app.task(retry=1)
    def charge(ctx: Context) -> str:
        pay(place, connection)
        ctx.complete("paid", tx=connection)
        opened.append(ctx.job)
        raise TimeoutError("no reply")

    @app.task
    async def other() -> None: ...

    job = charge.enqueue()
    with closing(connection):
        async with working(app) as worker:
            await until(lambda: opened and not len(worker._runs))
            if isinstance(place, PostgresPlace):
                # Nobody else waits for it.
                await ended(other.enqueue())
            assert app.jobs.get(job.id).state is State.RUNNING
            connection.commit() if commits else connection.rollback()
            await ended(job)
    if commits:
        assert (place.stored(), job.result(), events[-1]) == ([1], "paid", "completed")
    else:
        assert (place.stored(), job.state, events[-1]) == ([], State.DEAD, "dead")


@BOTH
async def test_a_second_transaction_of_the_same_run_may_complete_it(
    place: Place, events: list[str], begin: Callable[[], Any]
) -> None:
    app = place.app

    @app.task(retry=1)
    def charge(ctx: Context) -> None:
        for number in range(2):
            with begin() as connection:
                pay(place, connection)
                ctx.complete(number, tx=connection)
                connection.commit() if number else connection.rollback()

    job = charge.enqueue()
    async with working(app):
        await ended(job)
    assert (place.stored(), job.result(), events) == ([1], 1, ["completed"])


# --- the fence -------------------------------------------------------------------------------------------------------


@BOTH
async def test_a_run_that_has_lost_its_job_cannot_commit(
    place: Place, events: list[str], begin: Callable[[], Any]
) -> None:
    app, raised = place.app, list[BaseException]()
    jobs = f"{place.orders.partition('.')[0]}.jobs" if isinstance(place, PostgresPlace) else "mainspring_jobs"

    @app.task(retry=AT_ONCE)
    def charge(ctx: Context) -> str:
        if ctx.attempt == 1:
            # What another worker does that takes over the job.
            with begin() as connection:
                connection.execute(f"UPDATE {jobs} SET lease = lease + 1")
                connection.commit()
        try:
            with begin() as connection:
                pay(place, connection)
                ctx.complete("paid", tx=connection)
                connection.commit()
        except LeaseLost as error:
            raised.append(error)
            raise
        return ""

    job = charge.enqueue()
    async with working(app):
        await until(lambda: raised)
        await until(lambda: not app.workers.list()[0].running)
    assert (place.stored(), app.jobs.get(job.id).state, events) == ([], State.RUNNING, [])
    assert "its lease 1 was lost" in str(raised[0]).lower()


@BOTH
async def test_completing_twice_is_refused(place: Place, begin: Callable[[], Any]) -> None:
    app = place.app

    @app.task(retry=1)
    def charge(ctx: Context) -> None:
        with begin() as connection:
            ctx.complete(1, tx=connection)
            with pytest.raises(LeaseLost, match="completed or deleted before"):
                ctx.complete(2, tx=connection)
            connection.commit()
        with begin() as connection, pytest.raises(LeaseLost):
            ctx.complete(3, tx=connection)

    job = charge.enqueue()
    async with working(app):
        await ended(job)
    assert job.result() == 1


@BOTH
async def test_a_run_that_was_given_up_cannot_complete(place: Place, begin: Callable[[], Any]) -> None:
    app, go, said = place.app, threading.Event(), list[str]()
    started = threading.Event()

    @app.task
    def charge(ctx: Context) -> None:
        started.set()
        go.wait(30)
        with begin() as connection:
            pay(place, connection)
            try:
                ctx.complete(1, tx=connection)
            except LeaseLost as error:
                said.append(str(error))
                connection.rollback()

    job = charge.enqueue()
    async with working(app, grace=0) as worker:
        await until(started.is_set)
        worker.stop()
        worker.stop()
    assert job.refresh().state is State.QUEUED
    go.set()
    await until(lambda: said)
    assert (place.stored(), job.refresh().state) == ([], State.QUEUED)


# --- what goes with it -----------------------------------------------------------------------------------------------


@BOTH
async def test_children_are_released_and_follow_ups_stored_by_the_same_commit(
    place: Place, begin: Callable[[], Any]
) -> None:
    app, seen = place.app, []

    @app.task
    async def ship(receipt: str) -> str:
        return f"shipped for {receipt}"

    @app.task
    def charge(ctx: Context, order: int) -> str:
        ctx.spawn(ship.job("spawned"))
        with begin() as connection:
            pay(place, connection, order)
            ctx.complete(f"receipt {order}", tx=connection)
            seen.append((app.jobs.count(task="ship"), app.jobs.count(state="blocked")))
            with pytest.raises(MainspringError, match="spawn first"):
                ctx.spawn(ship.job("too late"))
            connection.commit()
        return ""

    flow = chain(charge.job(1), ship.job(previous)).enqueue()
    async with working(app):
        await asyncio.to_thread(flow.wait, "20s")
        await until(lambda: app.jobs.count(task="ship", state="completed") == 2)
    assert seen == [(1, 1)]
    assert await flow.aresult() == "shipped for receipt 1"


@BOTH
async def test_a_webhook_is_told_of_it_by_the_same_commit(place: Place, begin: Callable[[], Any]) -> None:
    app, seen = place.app, []

    with receiving(Receiver()) as receiver:
        app.webhook(receiver.url, on=("completed", "retried"), secret="a secret of the tests' own", allow_private=True)

        @app.task(retry=Retry(attempts=2, delay=0))
        def charge(ctx: Context, order: int) -> None:
            with begin() as connection:
                pay(place, connection, order)
                ctx.complete("paid", tx=connection)
                seen.append(app.jobs.count(task="mainspring.webhook"))
                (connection.rollback if ctx.attempt == 1 else connection.commit)()

        charge.enqueue(1)
        async with working(app):
            await until(lambda: len(receiver.received) == 2)
    assert sorted(receiver.events) == ["completed", "retried"]
    assert seen[0] == 0


@BOTH
@pytest.mark.parametrize("commits", [True, False])
async def test_progress_and_log_are_kept_either_way(place: Place, begin: Callable[[], Any], commits: bool) -> None:
    app = place.app

    @app.task(retry=1)
    def charge(ctx: Context) -> str:
        with begin() as connection:
            pay(place, connection)
            ctx.log("paid")
            ctx.progress(80, "nearly")
            ctx.complete("paid", tx=connection)
            connection.commit() if commits else connection.rollback()
        return ""

    job = charge.enqueue()
    async with working(app):
        await ended(job)
    assert job.state is (State.COMPLETED if commits else State.DEAD)
    assert ([line.text for line in app.jobs.log(job.id)], job.progress) == (["paid"], 80)


@BOTH
@pytest.mark.parametrize("commits", [True, False])
async def test_what_was_noted_just_before_is_kept_once_though_it_comes_too_late(
    place: Place, begin: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, commits: bool
) -> None:
    """It has been sent and is not there yet when the task completes its job, and the lease is over when it is."""
    app, notes = place.app, NotesOnTheWay(monkeypatch, place.app.store)

    @app.task(retry=1)
    def charge(ctx: Context) -> str:
        ctx.log("asked")
        ctx.progress(80, "nearly")
        assert notes.sent.wait(20)
        ctx.log("paid")
        with begin() as connection:
            pay(place, connection)
            ctx.complete("paid", tx=connection)
            connection.commit() if commits else connection.rollback()
        notes.through.set()
        return ""

    job = charge.enqueue()
    async with working(app):
        await ended(job)
    assert job.state is (State.COMPLETED if commits else State.DEAD)
    assert ([line.text for line in app.jobs.log(job.id)], job.progress) == (["asked", "paid"], 80)


@BOTH
async def test_what_cannot_be_written_leaves_the_run_as_it_was(
    place: Place, begin: Callable[[], Any], events: list[str]
) -> None:
    app = place.app

    @app.task(retry=1)
    def charge(ctx: Context) -> str:
        with begin() as connection:
            with pytest.raises(ValidationError):
                ctx.complete(object(), tx=connection)
            with pytest.raises(UnusableTransaction):
                ctx.complete("paid", tx=None)
            with pytest.raises(UnusableTransaction):
                ctx.complete("paid", tx="here")
        return "as always"

    @app.task(retry=1)
    async def acharge(ctx: Context) -> str:
        with begin() as connection:
            with pytest.raises(UnusableTransaction, match="blocking connection"):
                await ctx.acomplete("paid", tx=connection)
            with pytest.raises(UnusableTransaction, match="event loop"):
                ctx.complete("paid", tx=connection)
        return "as always"

    jobs: list[Job[str]] = [charge.enqueue(), acharge.enqueue()]
    async with working(app):
        await ended(*jobs)
    assert ([job.result() for job in jobs], events) == (["as always"] * 2, ["completed"] * 2)


@BOTH
async def test_one_call_of_many_cannot_complete_their_job(place: Place, begin: Callable[[], Any]) -> None:
    app = place.app

    @app.task(retry=1)
    def charge(ctx: Context, order: int) -> int:
        with begin() as connection, pytest.raises(InvalidOption, match="chunk"):
            ctx.complete("paid", tx=connection)
        return order

    flow = charge.map([1, 2, 3], chunk=3).enqueue()  # type: ignore[arg-type]
    async with working(app):
        assert await flow.aresult(timeout=20) == [1, 2, 3]


# --- SQLite: one writer at a time ------------------------------------------------------------------------------------


async def test_a_worker_outlasts_a_transaction_that_keeps_everybody_from_writing(
    sqlite_place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """Longer than any operation waits; nothing is lost, and nothing runs twice."""
    app, ran = sqlite_place.app, list[int]()
    app.task(name="other", retry=1)(ran.append)
    held, go = threading.Event(), threading.Event()

    @app.task(retry=1)
    def charge(ctx: Context) -> str:
        with closing(sqlite3.connect(sqlite_place.address)) as connection:
            pay(sqlite_place, connection)
            held.set()
            go.wait(30)
            ctx.complete("paid", tx=connection)
            connection.commit()
        return ""

    others = app.enqueue_many([app.tasks["other"].job(number) for number in range(5)])
    job = charge.enqueue()
    async with working(app):
        await until(held.is_set)
        await until(lambda: "the store does not answer" in caplog.text)
        go.set()
        await ended(job, *others)
    assert (sqlite_place.stored(), job.result(), sorted(ran)) == ([1], "paid", [0, 1, 2, 3, 4])
