"""What seeds have found, one scene for each: scripted, so that it stays what it was."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import replace
from random import Random
from typing import Any

from faults.events import Ended, Event, Offered, Started, Ticking
from faults.history import safety

from mainspring.model.states import State
from mainspring.model.stats import MINUTE_MS
from mainspring.store.base import (
    ClaimRequest,
    Command,
    CommandWorker,
    ConfigureRequest,
    CountRequest,
    InsertRequest,
    ReapRequest,
    Request,
    Room,
)

from .jobs import ATTEMPTS, TICK_MS, Deed, plain
from .network import Weather
from .world import Process, World

PATIENCE = 60.0


class Scene:
    """A world with a calm way to the store."""

    def __init__(self) -> None:
        self.world = World(0)
        self.store = self.world.store
        self.network = self.world.network

    def play(self, script: Callable[[], Coroutine[Any, Any, None]]) -> list[Event]:
        """Let it happen; no law may be broken on the way. Gives what happened."""
        self.run(script)
        first = self.store.first_slots["tick"]
        self.world.write(Ticking, schedule="tick", every_ms=TICK_MS, since_ms=first, until_ms=first)
        assert not safety(self.world.history)
        assert not self.world.loop.faults
        return self.world.history

    def run(self, script: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Let it happen, always in the same way."""
        before = random.getstate()
        random.seed(0)  # jitter in the worker
        try:
            self.world.loop.run(script())
        finally:
            random.setstate(before)

    def start(self, place: str = "w", concurrency: int = 5, lease: float = 3.0, grace: float = 5.0) -> Process:
        return self.world.start(place, Random(0), concurrency=concurrency, lease=lease, grace=grace)

    def insert(self, id: str, deed: Deed = "return", seconds: float = 0.1) -> None:
        self.world.write(Offered, job=id, task="plain", attempts=ATTEMPTS)
        draft = plain.job(deeds=[deed], seconds=[seconds])
        self.store.perform(InsertRequest((replace(draft.new, id=id),)), "producer")

    def state(self, id: str) -> State:
        return self.store.jobs[id].state

    async def until(self, condition: Callable[[], object]) -> None:
        end = self.world.loop.time() + PATIENCE
        while not condition():
            assert self.world.loop.time() < end, "it did not come true"
            await asyncio.sleep(0.01)


def test_a_claim_that_is_carried_out_after_its_sender_has_given_it_up_costs_no_job() -> None:
    """A server that stood still carries out what it finds in its sockets, also for those who have long asked again."""
    scene = Scene()

    async def script() -> None:
        process = scene.start()
        await asyncio.sleep(2)
        scene.insert("job")
        scene.store.perform(ClaimRequest(process.worker.id, (Room("default", 1),), 1), process.name)
        assert scene.state("job") is State.RUNNING
        await scene.until(lambda: scene.state("job") is State.COMPLETED)

    scene.play(script)


def test_a_quiet_worker_runs_what_it_was_given_in_a_reply_that_was_lost() -> None:
    """It claims no more, and so never came to hear of that: the job was running, and nobody ran it."""
    scene = Scene()

    async def script() -> None:
        process = scene.start()
        await asyncio.sleep(2)
        scene.network.fate = lambda request: None if isinstance(request, ClaimRequest) else 0.0
        scene.insert("job")
        await scene.until(lambda: scene.state("job") is State.RUNNING)
        scene.store.perform(ConfigureRequest((CommandWorker(process.worker.id, Command.QUIET),)), "operator")
        await scene.until(lambda: process.worker._quiet)
        scene.network.fate = lambda request: 0.0
        scene.insert("another")
        await scene.until(lambda: scene.state("job") is State.COMPLETED)
        assert scene.state("another") is State.QUEUED

    scene.play(script)


def test_a_worker_that_stood_still_past_its_lease_does_not_begin_what_it_had_claimed() -> None:
    """Others have had it since, and done it; that this one is given up, it hears a moment too late."""
    scene = Scene()

    async def script() -> None:
        first = scene.start("first")
        await asyncio.sleep(2)
        scene.insert("blocks", "block", 0.5)
        scene.insert("waits")
        await scene.until(lambda: any(isinstance(event, Started) for event in scene.world.history))
        first.freeze(20)
        scene.start("second")
        await scene.until(lambda: scene.state("waits") is State.COMPLETED)
        await asyncio.sleep(25)

    history = scene.play(script)
    assert [event.process[:-2] for event in history if isinstance(event, Started) and event.job == "waits"] == [
        "second"
    ]


def test_a_job_that_is_being_taken_over_is_not_run_as_well() -> None:
    """The reply to a reap is on its way while a claim, in doubt, asks what else runs in this worker's name."""
    scene = Scene()

    def fate(request: object) -> float | None:
        if isinstance(request, ReapRequest):
            return 4.5 if scene.store.jobs["job"].lease == 2 else 0.0
        return None if isinstance(request, ClaimRequest) and request.held is None else 0.0

    async def script() -> None:
        first = scene.start("first")
        scene.insert("job", "return", 5)
        await scene.until(lambda: scene.state("job") is State.RUNNING)
        first.die()
        scene.start("second")
        scene.network.fate = fate
        await scene.until(lambda: scene.store.jobs["job"].lease == 2)
        await asyncio.sleep(6)
        scene.network.fate = lambda request: 0.0
        await scene.until(lambda: scene.state("job") is State.COMPLETED)

    history = scene.play(script)
    assert len([event for event in history if isinstance(event, Ended) and event.job == "job"]) == 1


def test_a_stop_hands_back_what_was_given_out_in_a_reply_that_was_lost() -> None:
    """Nobody has died with it, so no crash is counted, and nobody waits for it to be found."""
    scene = Scene()

    async def script() -> None:
        process = scene.start(grace=0.5)
        await asyncio.sleep(2)
        scene.network.fate = lambda request: None if isinstance(request, ClaimRequest) else 0.0
        scene.insert("job", "return", 30)
        await scene.until(lambda: scene.state("job") is State.RUNNING)
        scene.network.fate = lambda request: 0.0
        process.stop()
        await scene.until(lambda: not process.is_alive)
        job = scene.store.jobs["job"]
        assert (job.state, job.attempt, job.crashes) == (State.QUEUED, 0, 0)

    scene.play(script)


def test_a_worker_takes_a_new_id_only_when_the_store_knows_it() -> None:
    """Else it hears that an id which it has not registered yet is not alive, and gives up what it claims as that."""
    scene = Scene()

    async def script() -> None:
        process = scene.start(lease=6.0)
        await asyncio.sleep(2)
        old = process.worker.id
        scene.network.weather = Weather(delay=0.8)
        del scene.store.workers[old]
        await scene.until(lambda: process.worker.id != old)
        assert process.worker.id in scene.store.workers
        scene.insert("job", "return", 5)
        await scene.until(lambda: scene.state("job") is State.COMPLETED)
        assert scene.store.jobs["job"].lease == 1

    scene.play(script)


def test_of_several_workers_one_looks_each_minute_how_much_is_due() -> None:
    """And another one, when that one is gone."""
    scene = Scene()
    counted: list[int] = []

    def fate(request: Request[Any]) -> float:
        if isinstance(request, CountRequest) and request.stats is None:
            counted.append(scene.store.now_ms() // MINUTE_MS)
        return 0.0

    async def script() -> None:
        scene.network.fate = fate
        workers = [scene.start(f"w{number}") for number in range(3)]
        for worker in workers:
            await asyncio.sleep(180)
            worker.die()

    scene.run(script)
    sampled = [cell.at // MINUTE_MS for cell in scene.store.cells[MINUTE_MS] if cell.numbers.get("samples")]
    assert sampled == sorted(set(counted))
    # A minute may be missed where the one who looks is gone, and one counted twice where two have the same moment.
    assert 7 <= len(sampled) <= 9
    assert len(counted) <= len(sampled) + 3
