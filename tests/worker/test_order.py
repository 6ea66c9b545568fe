"""Which job is next, and how many run at once."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from mainspring import InvalidOption, Mainspring

from .scene import until, working


class Gauge:
    """How many are inside at once, at most."""

    def __init__(self) -> None:
        self.inside = self.most = self.visits = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.visits += 1
            self.inside += 1
            self.most = max(self.most, self.inside)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.inside -= 1


@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_urgent_jobs_run_first_and_equally_urgent_ones_in_the_order_they_came(app: Mainspring, kind: str) -> None:
    ran: list[tuple[int, int]] = []

    def note(priority: int, number: int) -> None:
        ran.append((priority, number))

    async def note_async(priority: int, number: int) -> None:
        ran.append((priority, number))

    task = app.task(name="note")(note if kind == "plain" else note_async)
    priorities = [priority for priority in (-1000, -1, 0, 1, 5, 10, 1000) for _ in range(6)]
    random.Random(7).shuffle(priorities)
    jobs = [
        await task.using(priority=priority).aenqueue(priority, number) for number, priority in enumerate(priorities)
    ]
    async with working(app, concurrency=1):
        await until(lambda: len(ran) == len(jobs))
    assert ran == sorted(ran)


async def test_priority_holds_for_jobs_that_come_while_the_worker_is_busy(app: Mainspring) -> None:
    go_on, ran = asyncio.Event(), list[str]()

    @app.task
    async def hold() -> None:
        await go_on.wait()

    @app.task
    async def note(name: str) -> None:
        ran.append(name)

    async with working(app, concurrency=1):
        job = await hold.aenqueue()
        await until(lambda: job.refresh().state == "running")
        for name, priority in (("bulk", 10), ("plain", 5), ("urgent", 1), ("plain 2", 5)):
            await note.using(priority=priority).aenqueue(name)
        go_on.set()
        await until(lambda: len(ran) == 4)
    assert ran == ["urgent", "plain", "plain 2", "bulk"]


async def test_jobs_that_become_due_queue_by_their_time(app: Mainspring) -> None:
    ran: list[str] = []

    @app.task
    async def note(name: str) -> None:
        ran.append(name)

    # In one request: between several any time may go by.
    delays = (("third", 0.12), ("first", 0.04), ("second", 0.08))
    await app.aenqueue_many(note.using(delay=delay).job(name) for name, delay in delays)
    async with working(app, concurrency=1):
        await until(lambda: len(ran) == 3)
    assert ran == ["first", "second", "third"]


async def test_queues_in_strict_order_are_served_one_after_the_other(app: Mainspring) -> None:
    ran: list[str] = []

    @app.task
    async def note(queue: str) -> None:
        ran.append(queue)

    for _ in range(10):
        for queue in ("bulk", "critical", "default"):
            await note.using(queue=queue, priority=1 if queue == "bulk" else 5).aenqueue(queue)
    async with working(app, ["critical", "default", "bulk"], concurrency=1):
        await until(lambda: len(ran) == 30)
    assert ran == ["critical"] * 10 + ["default"] * 10 + ["bulk"] * 10


async def test_weighted_queues_share_the_room_by_weight_and_none_starves(app: Mainspring) -> None:
    ran: list[str] = []

    @app.task
    async def note(queue: str) -> None:
        ran.append(queue)

    await app.aenqueue_many(note.using(queue=queue).job(queue) for queue in ("bulk", "critical") for _ in range(100))
    async with working(app, {"critical": 3, "bulk": 1}, concurrency=1):
        await until(lambda: len(ran) == 200)
    for first in range(0, 100, 20):
        assert Counter(ran[first : first + 20]) == {"critical": 15, "bulk": 5}


async def test_room_that_a_weighted_queue_does_not_need_goes_to_the_others(app: Mainspring) -> None:
    gauge, go_on = Gauge(), asyncio.Event()

    @app.task(queue="bulk")
    async def work() -> None:
        with gauge:
            await go_on.wait()

    await app.aenqueue_many(work.job() for _ in range(10))
    async with working(app, {"critical": 9, "bulk": 1}, concurrency=10):
        await until(lambda: gauge.inside == 10)
        go_on.set()


async def test_a_worker_leaves_other_queues_alone(app: Mainspring) -> None:
    @app.task
    async def work() -> None: ...

    other, mine = await work.using(queue="other").aenqueue(), await work.using(queue="mine").aenqueue()
    async with working(app, ["mine"]):
        await mine.aresult(20)
        assert (await other.arefresh()).state == "queued"


@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_no_more_jobs_run_at_once_than_the_worker_is_told(app: Mainspring, kind: str) -> None:
    gauge, full = Gauge(), threading.Event()

    async def work() -> None:
        with gauge:
            while not full.is_set():
                await asyncio.sleep(0.01)

    def work_plainly() -> None:
        with gauge:
            full.wait(60)

    task = app.task(name="work")(work if kind == "async" else work_plainly)
    await app.aenqueue_many(task.job() for _ in range(60))
    async with working(app, concurrency=7):
        await until(lambda: gauge.inside == 7)
        full.set()
        await until(lambda: gauge.visits == 60)
    assert gauge.most == 7


async def test_a_queues_limit_holds_over_all_workers_and_keeps_nobody_else_waiting(app: Mainspring) -> None:
    narrow, wide = Gauge(), Gauge()
    app.queue("narrow", concurrency=2)

    @app.task(queue="narrow")
    async def slow() -> None:
        with narrow:
            await asyncio.sleep(0.01)

    @app.task
    async def free() -> None:
        with wide:
            await asyncio.sleep(0.05)

    await app.aenqueue_many([slow.job() for _ in range(60)] + [free.job() for _ in range(20)])
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(working(app, ["narrow", "default"], concurrency=10))
        await until(lambda: narrow.visits == 60 and wide.visits == 20)
    assert narrow.most == 2
    assert wide.most > 2


async def test_an_operators_limit_wins_over_the_codes_at_once(app: Mainspring) -> None:
    gauge, go_on = Gauge(), asyncio.Event()
    app.queue("narrow", concurrency=1)

    @app.task(queue="narrow")
    async def work() -> None:
        with gauge:
            await go_on.wait()

    await app.aenqueue_many(work.job() for _ in range(10))
    async with working(app):
        await until(lambda: gauge.inside == 1)
        await app.queues.aset_limits("narrow", concurrency=4)
        await until(lambda: gauge.inside == 4)
        go_on.set()
        await until(lambda: gauge.visits == 10)
    assert gauge.most == 4


async def test_a_paused_queue_gives_nothing_until_it_is_resumed(app: Mainspring) -> None:
    ran: list[str] = []

    @app.task
    async def note(queue: str) -> None:
        ran.append(queue)

    async with working(app, ["held", "open"]):
        await app.queues.apause("held")
        held = [
            await note.using(queue="held").aenqueue("held"),
            await note.using(queue="held", delay=0.05).aenqueue("held"),
        ]
        for _ in range(5):
            await (await note.using(queue="open").aenqueue("open")).aresult(20)
        await until(lambda: held[1].refresh().state == "queued")
        assert ran == ["open"] * 5
        assert {job.refresh().state for job in held} == {"queued"}
        await app.queues.aresume("held")
        for job in held:
            await job.aresult(20)
    assert ran == ["open"] * 5 + ["held"] * 2


@pytest.mark.parametrize("wrong", [[], ["a", "a"], "abc", {"a": 0}, {"a": 1.5}, {"a": True}, [" a"], [""]])
def test_queues_that_make_no_sense_are_refused(tmp_path: object, wrong: object) -> None:
    app = Mainspring(f"sqlite:///{tmp_path}/jobs.db")
    with pytest.raises(InvalidOption):
        app.worker(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"concurrency": True}, {"lease": "999ms"}, {"grace": -1}])
def test_options_that_make_no_sense_are_refused(tmp_path: object, options: dict[str, object]) -> None:
    app = Mainspring(f"sqlite:///{tmp_path}/jobs.db")
    with pytest.raises(ValueError):
        app.worker(**options)  # type: ignore[arg-type]
