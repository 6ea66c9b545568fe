"""Observers hear of each event once the store has it, and can do no harm."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from mainspring import Bury, Cancel, Event, Mainspring, Retry, Snooze, State
from mainspring.events import EVENT_NAMES

from .scene import ended, is_alive, sql, until, working

FINAL = {"completed": State.COMPLETED, "dead": State.DEAD, "cancelled": State.CANCELLED}


async def test_each_event_is_told_in_order_after_the_store_has_it(app: Mainspring) -> None:
    told: list[tuple[str, str, int, str | None]] = []
    stored: list[tuple[str, State]] = []

    @app.on(*EVENT_NAMES)
    async def hear(event: Event) -> None:
        told.append((event.job.id, event.name, event.attempt, event.error and event.error.type))
        stored.append((event.name, (await app.jobs.aget(event.job.id)).state))

    @app.on("completed", "dead")
    def hear_plainly(event: Event) -> None:
        assert threading.current_thread() is not threading.main_thread()
        told.append((event.job.id, f"plain {event.name}", event.attempt, event.reason))

    @app.task(retry=Retry(attempts=2, delay=0))
    async def work(ways: list[str]) -> None:
        way = ways[min(len(runs), len(ways) - 1)]
        runs.append(way)
        match way:
            case "fail":
                raise ValueError
            case "snooze":
                raise Snooze(0)
            case "bury":
                raise Bury("why")
            case "cancel":
                raise Cancel("why")

    async with working(app, concurrency=1):
        expected = []
        for ways in (["well"], ["fail", "well"], ["fail"], ["snooze", "bury"], ["cancel"]):
            runs: list[str] = []
            job = await work.aenqueue(ways)
            await ended(job)
            names = {
                "well": [("completed", None), ("plain completed", None)],
                "bury": [("dead", None), ("plain dead", "buried: why")],
                "cancel": [("cancelled", None)],
                "snooze": [("snoozed", None)],
            }
            for attempt, way in enumerate(runs, 1):
                number = 1 if "snooze" in runs else attempt
                expected.append((job.id, "started", number, None))
                if way == "fail":
                    what = [("retried", "ValueError")] if attempt == 1 else [
                        ("dead", "ValueError"), ("plain dead", "attempts used up (2 of 2)")]  # fmt: skip
                else:
                    what = names[way]
                expected += [(job.id, name, number, detail) for name, detail in what]
        await until(lambda: len(told) == len(expected))
    assert told == expected
    assert all(state is FINAL[name] for name, state in stored if name in FINAL)


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


async def test_an_observer_that_never_returns_holds_up_neither_jobs_nor_the_stop(
    app: Mainspring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mainspring.worker.worker.OBSERVE_SECONDS", 0.5)

    @app.on("completed")
    async def hang(event: Event) -> None:
        await asyncio.sleep(3600)

    @app.task
    async def work(n: int) -> int:
        return n

    async with working(app):
        assert [await (await work.aenqueue(n)).aresult(20) for n in range(5)] == list(range(5))


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
