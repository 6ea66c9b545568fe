"""Observers hear of each event once the store has it, and can do no harm."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from mainspring import Bury, Cancel, Event, Mainspring, Retry, Snooze, State
from mainspring.events import EVENT_NAMES

from .scene import ended, is_alive, sql, until, working

FINAL = {"completed": State.COMPLETED, "dead": State.DEAD, "cancelled": State.CANCELLED}


TOLD: dict[str, list[tuple[str, int, str | None]]] = {
    "well": [("started", 1, None), ("completed", 1, None)],
    "fail, well": [("started", 1, None), ("retried", 1, "ValueError"), ("started", 2, None), ("completed", 2, None)],
    "fail, fail": [("started", 1, None), ("retried", 1, "ValueError"), ("started", 2, None), ("dead", 2, "ValueError")],
    "snooze, bury": [("started", 1, None), ("snoozed", 1, None), ("started", 1, None), ("dead", 1, None)],
    "cancel": [("started", 1, None), ("cancelled", 1, None)],
}
"""What is told of a job that goes these ways, run by run: event, attempt, type of the error."""


async def test_each_event_is_told_in_order_after_the_store_has_it(app: Mainspring) -> None:
    told: dict[str, list[tuple[str, int, str | None]]] = {ways: [] for ways in TOLD}
    states: list[tuple[str, State]] = []
    on_threads: list[tuple[str, str | None]] = []
    runs: list[str] = []

    @app.on(*EVENT_NAMES)
    async def hear(event: Event) -> None:
        told[event.job.args["ways"]].append((event.name, event.attempt, event.error.type if event.error else None))
        states.append((event.name, (await app.jobs.aget(event.job.id)).state))

    @app.on("dead", "cancelled")
    def hear_plainly(event: Event) -> None:
        assert threading.current_thread() is not threading.main_thread()
        on_threads.append((event.name, event.reason))

    @app.task(retry=Retry(attempts=2, delay=0))
    async def work(ways: str) -> None:
        way = ways.split(", ")[runs.count(ways)]
        runs.append(ways)
        match way:
            case "fail":
                raise ValueError
            case "snooze":
                raise Snooze(0)
            case "bury":
                raise Bury("why")
            case "cancel":
                raise Cancel("why")

    async with working(app):
        await ended(*[await work.aenqueue(ways) for ways in TOLD])
        await until(lambda: len(on_threads) == 3 and len(states) == sum(map(len, TOLD.values())))
    assert told == TOLD
    assert sorted(on_threads) == [
        ("cancelled", "cancelled: why"),
        ("dead", "attempts used up (2 of 2)"),
        ("dead", "buried: why"),
    ]
    assert all(state is FINAL[name] for name, state in states if name in FINAL)


HOSTILE: dict[str, Callable[[], BaseException]] = {
    "error": lambda: ValueError("x"),
    "exit": lambda: SystemExit(1),
    "interrupt": KeyboardInterrupt,
    "cancelled": asyncio.CancelledError,
    "stop iteration": lambda: StopIteration(1),
    "root": BaseException,
}


@pytest.mark.parametrize("kind", HOSTILE)
async def test_what_observers_raise_changes_nothing(app: Mainspring, kind: str) -> None:
    told: list[str] = []

    @app.on("started", "completed")
    def raise_plainly(event: Event) -> None:
        raise HOSTILE[kind]()

    @app.on("started", "completed")
    async def raise_async(event: Event) -> None:
        raise HOSTILE[kind]()

    @app.on("started", "completed")
    def hear(event: Event) -> None:
        told.append(event.name)

    @app.task
    async def work() -> int:
        return 1

    async with working(app) as worker:
        for _ in range(3):
            assert await (await work.aenqueue()).aresult(20) == 1
        await until(lambda: len(told) == 6)
        assert is_alive(app, worker.id)


@pytest.mark.parametrize("kind", ["async", "async and deaf", "plain"])
async def test_an_observer_that_never_returns_holds_up_neither_jobs_nor_the_stop(
    app: Mainspring, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("mainspring.worker.worker.OBSERVE_SECONDS", 0.5)
    release = threading.Event()

    async def hang(event: Event) -> None:
        await asyncio.sleep(3600)

    async def hang_and_swallow(event: Event) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)

    def hang_plainly(event: Event) -> None:
        release.wait(60)

    app.on("completed")({"async": hang, "async and deaf": hang_and_swallow, "plain": hang_plainly}[kind])

    @app.task
    async def work(n: int) -> int:
        return n

    async with working(app):
        assert [await (await work.aenqueue(n)).aresult(20) for n in range(5)] == list(range(5))
    release.set()


async def test_a_run_that_lost_its_lease_is_told_to_nobody(app: Mainspring) -> None:
    told: list[Any] = []
    go_on = asyncio.Event()

    @app.on("completed")
    async def hear(event: Event) -> None:
        told.append(event.job.task)

    @app.task
    async def work() -> None:
        await go_on.wait()

    @app.task
    async def other() -> None: ...

    async with working(app):
        job = await work.aenqueue()
        await until(lambda: job.refresh().state == "running")
        sql(app, "UPDATE mainspring_jobs SET lease = lease + 1")
        go_on.set()
        await (await other.aenqueue()).aresult(20)
        await until(lambda: told)
    assert told == ["other"]
    assert job.refresh().state == "running"
