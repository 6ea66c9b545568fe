"""Drivers: blocking and async callers, several at once, get the same, each request whole or not at all."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mainspring.model.job import NewJob
from mainspring.model.states import State
from mainspring.store.base import (
    AsyncDriver,
    BeatRequest,
    ClaimRequest,
    CountRequest,
    Driver,
    Filter,
    FindRequest,
    InsertRequest,
    Operation,
    PutSchedule,
    Reply,
    Request,
    Room,
    SettleRequest,
    Store,
    Tick,
)

from .scene import T0, Scene, needs, presence, settlement


class TestDrivers:
    """Several drivers and several threads."""

    def test_drivers_of_one_store_see_the_same_jobs(self, scene: Scene, store: Store) -> None:
        other = Scene(store, store.driver())
        scene.insert("j")
        other.join()
        claim = other.claim_one()
        assert scene.state("j") is State.RUNNING
        assert scene.settle(settlement(claim)) == {"j"}
        assert other.state("j") is State.COMPLETED
        other.driver.close()
        assert scene.state("j") is State.COMPLETED

    def test_a_driver_is_shared_by_threads(self, scene: Scene) -> None:
        def insert(thread: int) -> None:
            for number in range(20):
                scene.insert(f"{thread} {number}")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(insert, range(8)))
        assert scene.count() == {("default", State.QUEUED): 160}

    def test_one_insert_by_many_at_once_has_one_effect(self, scene: Scene) -> None:
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda _: scene.insert("1", "2"), range(16)))
        assert sorted(reply.existed for (reply, _) in replies) == [False] + [True] * 15
        assert len(scene.find()) == 2

    def test_one_tick_by_many_at_once_is_won_once(self, scene: Scene) -> None:
        scene.configure(PutSchedule("s", "task", "{}", T0))
        ticks = [Tick("s", T0, T0 + 1000, (NewJob(f"by {number}", "task"),)) for number in range(16)]
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda tick: scene.insert(ticks=[tick]), ticks))
        assert sum(len(reply) for reply in replies) == 1
        assert len(scene.find()) == 1

    def test_one_settlement_by_many_at_once_is_applied_once(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        ended = [settlement(claim, follow_ups=(NewJob(f"by {number}", "task"),)) for number in range(16)]
        with ThreadPoolExecutor(8) as pool:
            applied = list(pool.map(scene.settle, ended))
        assert sum(len(ids) for ids in applied) == 1
        assert len(scene.find()) == 2

    @needs("processes")
    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
    def test_a_driver_works_after_a_fork(self, scene: Scene) -> None:
        scene.insert("before")
        child = os.fork()
        if child == 0:
            try:
                scene.insert("in the child")
                os._exit(0 if {"before", "in the child"} <= set(scene.ids()) else 1)
            finally:
                os._exit(2)
        scene.insert("in the parent")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert set(scene.ids()) == {"before", "in the child", "in the parent"}


class TestAsync:
    """Async drivers."""

    def test_blocking_and_async_callers_get_the_same(self, scene: Scene, store: Store) -> None:
        async def tell_all() -> None:
            driver = store.async_driver()

            async def ask(request: Request[Reply]) -> Reply:
                return await driver.run(request)

            assert (await ask(BeatRequest(presence("worker"), "join", now=T0))).alive
            await ask(InsertRequest((NewJob("1", "task"), NewJob("2", "task")), now=T0))
            reply = await ask(ClaimRequest("worker", (Room("default", 1),), 1, now=T0))
            assert await ask(SettleRequest((settlement(reply.claims[0], result="1"),), now=T0)) == {"1"}
            read: tuple[Request[Any], ...] = (FindRequest(Filter(), now=T0), CountRequest(Filter(), now=T0))
            for request in read:
                assert await ask(request) == scene.ask(request)
            await driver.aclose()

        asyncio.run(tell_all())
        assert [(job.id, job.state) for job in scene.find()] == [("2", State.QUEUED), ("1", State.COMPLETED)]

    def test_many_requests_of_one_loop_at_once(self, scene: Scene, store: Store) -> None:
        async def insert_all() -> None:
            driver = store.async_driver()
            requests = [InsertRequest((NewJob(f"{number}", "task"),), now=T0) for number in range(50)]
            await asyncio.gather(*(driver.run(request) for request in requests))
            await driver.aclose()

        asyncio.run(insert_all())
        assert len(scene.find()) == 50

    def test_a_loop_after_a_loop_has_its_own_driver(self, scene: Scene, store: Store) -> None:
        async def insert(id: str) -> None:
            driver = store.async_driver()
            await driver.run(InsertRequest((NewJob(id, "task"),), now=T0))
            await driver.aclose()

        for id in ("1", "2", "3"):
            asyncio.run(insert(id))
        assert scene.ids() == ["3", "2", "1"]

    def test_a_cancelled_caller_leaves_the_driver_whole(self, scene: Scene, store: Store) -> None:
        async def cancel_some() -> None:
            driver: AsyncDriver = store.async_driver()
            requests = [InsertRequest((NewJob(f"{n}", "task"), NewJob(f"{n} too", "task")), now=T0) for n in range(30)]
            tasks = [asyncio.ensure_future(driver.run(request)) for request in requests]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await driver.run(InsertRequest((NewJob("last", "task"),), now=T0))
            await driver.aclose()

        asyncio.run(cancel_some())
        ids = set(scene.ids())
        assert ids >= {"last", *(f"{n}" for n in range(1, 30, 2))}
        assert {id for id in ids if id.endswith(" too")} == {f"{id} too" for id in ids if id.isdigit()}


class TestClock:
    """Without `now` the store's own clock counts."""

    SLACK_MS = 5_000
    """By how much its clock may differ from ours. How long requests take is not in it."""

    def test_the_stores_clock_stamps_what_comes_without_a_time(self, driver: Driver, store: Store) -> None:
        def ask(request: Request[Reply]) -> Reply:
            return driver.run(request)

        before = time.time_ns() // 1_000_000
        joined = ask(BeatRequest(presence("worker"), "join"))
        ask(InsertRequest((NewJob("now", "task"), NewJob("later", "task", delay_ms=3_600_000))))
        reply = ask(ClaimRequest("worker", (Room("default", 5),), 5))
        (claim,) = reply.claims
        assert joined.now <= claim.created_at <= claim.started_at <= reply.now
        assert reply.next_due == claim.created_at + 3_600_000
        assert ask(SettleRequest((settlement(claim),))) == {"now"}
        (job,) = ask(FindRequest(Filter(ids=("now",)))).jobs
        after = time.time_ns() // 1_000_000
        assert job.finished_at is not None
        assert before - self.SLACK_MS < joined.now <= reply.now <= job.finished_at < after + self.SLACK_MS


class Interrupted(Exception):
    """What an operation is cut short with."""


def interrupted(operation: Operation[Reply], steps: int) -> Generator[Any, Any, Reply]:
    """`operation`, but it fails after `steps` of its exchanges with the driver, if it has that many."""
    received = None
    for _ in range(steps):
        try:
            wanted = operation.send(received)
        except StopIteration as end:
            reply: Reply = end.value
            return reply
        received = yield wanted
    operation.close()
    raise Interrupted


class TestAtomicity:
    """A request is whole or nothing, for whoever looks on and whatever breaks."""

    def test_others_see_a_set_whole_or_not_at_all(self, scene: Scene, store: Store) -> None:
        seen, done = list[int](), threading.Event()

        def look() -> None:
            looker = Scene(store, store.driver())
            while not done.is_set():
                seen.append(sum(looker.count().values()))
            looker.driver.close()

        thread = threading.Thread(target=look)
        thread.start()
        try:
            for batch in range(10):
                scene.insert(*(f"{batch} {number}" for number in range(100)))
        finally:
            done.set()
            thread.join()
        assert {count % 100 for count in seen} <= {0}

    def test_others_see_a_settlement_with_its_follow_ups_or_neither(self, scene: Scene, store: Store) -> None:
        scene.join()
        scene.insert(*(f"{number:02}" for number in range(40)))
        claims, odd, done = scene.claim(), list[object](), threading.Event()

        def look() -> None:
            looker = Scene(store, store.driver())
            while not done.is_set():
                counts = looker.count()
                if counts.get(("default", State.COMPLETED), 0) != counts.get(("after", State.QUEUED), 0):
                    odd.append(counts)
            looker.driver.close()

        thread = threading.Thread(target=look)
        thread.start()
        try:
            for claim in claims:
                scene.settle(settlement(claim, follow_ups=(NewJob(f"after {claim.id}", "task", "after"),)))
        finally:
            done.set()
            thread.join()
        assert odd == []

    def test_an_insert_cut_short_is_whole_or_nothing(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        scene.configure(PutSchedule("s", "task", "{}", T0))

        def insert(turn: int) -> Request[Any]:
            (schedule,) = scene.configure().schedules
            tick = Tick("s", schedule.next_at, schedule.next_at + 1, (NewJob(f"{turn} tick", "task"),))
            jobs = (NewJob(f"{turn} a", "task"), NewJob(f"{turn} b", "task", "other", delay_ms=5))
            return InsertRequest(jobs, (tick,), now=T0)

        self.cut_short(scene, monkeypatch, insert, whole=3)

    def test_a_settle_cut_short_is_whole_or_nothing(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        scene.join()

        def settle(turn: int) -> Request[Any]:
            scene.insert(NewJob(f"{turn}", "task", f"queue {turn}"))
            claim = scene.claim_one("worker", Room(f"queue {turn}", 1))
            return SettleRequest((settlement(claim, follow_ups=(NewJob(f"{turn} after", "task"),)),), now=T0)

        self.cut_short(scene, monkeypatch, settle, whole=1)

    def cut_short(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch, request: Callable[[int], Request[Any]], whole: int
    ) -> None:
        """Break a request after each of its exchanges with the driver in turn; `whole` is how many jobs it adds."""
        for turn in range(100):
            asked = request(turn)
            before = {job.id: job for job in scene.find()}
            perform = getattr(scene.store, asked.operation)
            with monkeypatch.context() as patch:
                patch.setattr(scene.store, asked.operation, lambda it, n=turn, go=perform: interrupted(go(it), n))
                try:
                    scene.ask(asked)
                except Interrupted:
                    cut = True
                else:
                    cut = False
            after = {job.id: job for job in scene.find()}
            assert len(after) == len(before) + whole or (cut and after == before)
            if not cut:
                return
        raise AssertionError("an operation that comes to no end")
