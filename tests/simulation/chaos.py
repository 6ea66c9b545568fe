"""What a seed lets happen: which jobs there are, what is broken and when, what operators ask for."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from faults.events import Acknowledged, Altered, FaultsOver, Offered

from mainspring.errors import StoreError
from mainspring.model.job import Edge, Key, NewJob, Policy
from mainspring.model.limits import Rate
from mainspring.store.base import (
    AlterRequest,
    Command,
    CommandWorker,
    ConfigureRequest,
    Filter,
    InsertRequest,
    LimitQueue,
    LimitTask,
    PauseQueue,
    Request,
    Verb,
)

from .jobs import ATTEMPTS, PARTITIONS, QUEUES, tasks
from .network import Driver, Weather
from .world import Process, World

__all__ = ["Chaos"]

FAULTS = ("kill", "freeze", "cut", "stop", "hurry", "restart", "weather", "jump", "command")
STRAGGLERS_SECONDS = 12.0
"""How long what was sent before may still be on its way."""
DEEDS = (
    "return",
    "fail",
    "retry after",
    "snooze",
    "rate limited",
    "bury",
    "cancel",
    "kill",
    "block",
    "cling",
    "spawn",
    "note",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What kind of day it is."""

    seconds: float
    workers: int
    jobs: int
    options: dict[str, Any]
    faults: tuple[str, ...]
    deeds: tuple[str, ...]
    operators: bool
    often: float
    """Seconds between two faults, on average."""
    weather: Weather


class Chaos:
    """Carries out what a seed has drawn."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.chance = Random(f"{seed} chaos")
        self.plan = self._draw()
        self.places = [f"w{number}" for number in range(self.plan.workers)]
        self.ids: list[str] = []
        """The jobs that were offered so far."""

    def _draw(self) -> Plan:
        chance = self.chance
        lease = chance.choice((2.0, 3.0, 5.0, 8.0))
        bad = Weather(
            delay=chance.choice((0.002, 0.02, 0.3)),
            loses_request=chance.choice((0.0, 0.02, 0.1)),
            loses_reply=chance.choice((0.0, 0.02, 0.1)),
            doubles=chance.choice((0.0, 0.05, 0.2)),
            loses_hint=chance.choice((0.0, 0.5, 1.0)),
            stalls=chance.choice((0.0, 0.02)),
            late=chance.choice((0.0, 3.0)),
        )
        faults = tuple(fault for fault in FAULTS if chance.random() < 0.5)
        if chance.random() < 0.2:
            faults = ("stop", "hurry", "command")  # where nothing else befalls a worker, it has no excuse
        return Plan(
            seconds=chance.uniform(8.0, 25.0),
            workers=chance.randint(1, 4),
            jobs=chance.choice((5, 15, 30, 50)),
            options={"lease": lease, "grace": chance.choice((0.5, 2.0, 6.0)), "concurrency": chance.randint(1, 6)},
            faults=faults,
            deeds=("return", "return", *chance.sample(DEEDS, chance.randint(1, 5))),
            operators=chance.random() < 0.5,
            often=chance.choice((1.0, 3.0, 6.0)),
            weather=bad if chance.random() < 0.6 else Weather(),
        )

    async def rage(self) -> None:
        """Let it all happen, and stop."""
        plan, world = self.plan, self.world
        self._fill_places()
        if "weather" in plan.faults:
            world.network.weather = plan.weather
            world.fault("", "lossy")
        actors = [self._produce(), self._supervise()]
        if plan.faults:
            actors.append(self._break())
        if plan.operators:
            actors.append(self._operate())
        raging = [asyncio.create_task(actor) for actor in actors]
        await asyncio.sleep(plan.seconds)
        for task in raging[1:]:
            task.cancel()
        await raging[0]
        await self._calm()

    def _start(self, place: str) -> None:
        self.world.start(place, self.chance, **self.plan.options)

    async def _supervise(self) -> None:
        """Start a new process for each that has ended, a while later."""
        while True:
            await asyncio.sleep(self.chance.uniform(0.3, 2.0))
            self._fill_places()

    def _fill_places(self) -> None:
        for place in self.places:
            if place not in self.world.processes:
                self._start(place)

    async def _calm(self) -> None:
        """Break nothing any more, and undo what operators have done."""
        self.world.network.weather = Weather()
        await asyncio.sleep(STRAGGLERS_SECONDS)
        driver = self.world.line("operator")
        changes = [PauseQueue(queue, False) for queue in QUEUES]
        changes += [PauseQueue("parts", False, partition) for partition in PARTITIONS]
        await _insist(driver, ConfigureRequest(tuple(changes)))
        if any(process.worker._quiet for process in self.world.processes.values()):
            # Quiet ones stay as they are: what runs in their name must come to its end all the same.
            self.places.append("spare")
        self.world.write(FaultsOver)
        self.world.loop.on(self.world.loop.strand, self._supervise())

    # --- producers ---

    async def _produce(self) -> None:
        plan, chance = self.plan, self.chance
        left = plan.jobs
        while left > 0:
            await asyncio.sleep(chance.random() * 2 * plan.seconds * 0.6 / (plan.jobs / 4))
            jobs = self._flow() if chance.random() < 0.2 else tuple(self._job() for _ in range(chance.randint(1, 6)))
            left -= len(jobs)
            asyncio.create_task(self._enqueue(jobs))  # noqa: RUF006 - the loop keeps it

    async def _enqueue(self, jobs: tuple[NewJob, ...]) -> None:
        for job in jobs:
            self.ids.append(job.id)
            self.world.write(
                Offered,
                job=job.id,
                task=job.task,
                queue=job.queue,
                partition=job.partition,
                keys=tuple(key.name for key in job.keys),
                parents=tuple(edge.parent for edge in job.parents if edge.policy is not Policy.DEAD),
                attempts=ATTEMPTS,
                cost=job.cost,
            )
        driver = self.world.line("producer")
        try:
            replies = await _insist(
                driver, InsertRequest(jobs, fresh=True), tries=1 if self.chance.random() < 0.1 else 999
            )
        except StoreError:
            return  # its process is killed: it never hears what became of them
        for job, reply in zip(jobs, replies, strict=True):
            self.world.write(Acknowledged, job=job.id, stored=reply.id == job.id and reply.full is None)

    def _job(self) -> NewJob:
        chance = self.chance
        id = self.world.new_id("job")
        queue = chance.choice(QUEUES)
        deeds = [chance.choice(self.plan.deeds) for _ in range(chance.randint(1, 3))]
        if deeds[-1] in ("snooze", "rate limited"):
            deeds.append("return")
        task = tasks[chance.choice(("plain", "plain", "gated", "limited"))]
        seconds = [chance.choice((0.0, 0.05, 0.4, 1.5, 6.0)) for _ in deeds]
        who = chance.choice(PARTITIONS)
        draft = task.using(
            queue=queue,
            priority=chance.randint(4, 6),
            delay=chance.choice((0, 0, 0, 0.5, 3)),
            cost=chance.choice((1, 1, 1, 2)),
        ).job(deeds=deeds, seconds=seconds, who=who)
        keys = (Key(f"key-{chance.randint(1, 3)}"),) if chance.random() < 0.25 else ()
        return replace(draft.new, id=id, keys=keys)

    def _flow(self) -> tuple[NewJob, ...]:
        """A few jobs that wait for each other."""
        chance = self.chance
        jobs: list[NewJob] = []
        for _ in range(chance.randint(2, 6)):
            job = replace(self._job(), keys=())
            above = chance.sample(jobs, min(len(jobs), chance.randint(0, 3)))
            policy = chance.choice((Policy.FAIL, Policy.RUN, Policy.IGNORE))
            jobs.append(replace(job, parents=tuple(Edge(parent.id, policy) for parent in above)))
        return tuple(jobs)

    # --- who breaks things ---

    async def _break(self) -> None:
        while True:
            await asyncio.sleep(self.chance.expovariate(1 / self.plan.often))
            what = self.chance.choice(self.plan.faults)
            if what == "restart":
                self.world.fault("", "cut")
                self.world.network.restart(seconds := self.chance.uniform(0.1, 8.0))
                self.world.loop.tell(self.world.sky, seconds, self.world.fault, "", "mended")
            elif alive := list(self.world.processes.values()):
                self._harm(self.chance.choice(alive), what)

    def _harm(self, process: Process, what: str) -> None:
        chance, lease = self.chance, self.plan.options["lease"]
        match what:
            case "kill":
                process.die()
            case "freeze":
                process.freeze(chance.uniform(0.1, 3.0) * lease)
            case "cut":
                process.cut_off(chance.uniform(0.1, 3.0) * lease)
            case "stop":
                process.stop()
            case "hurry":
                process.stop()
                self.world.loop.tell(process.main, chance.uniform(0.0, 2.0), self._hurry, process)
            case "jump":
                process.jump(chance.choice((0.5, 10.0, 3600.0)))
            case "command":
                command = chance.choice((Command.STOP, Command.QUIET))
                self.world.fault(process.name, "stopping" if command is Command.STOP else "quiet")
                request = ConfigureRequest((CommandWorker(process.worker.id, command),))
                asyncio.create_task(_try(self.world.line("operator"), request))  # noqa: RUF006

    def _hurry(self, process: Process) -> None:
        if process.is_alive:
            process.stop()

    # --- operators ---

    async def _operate(self) -> None:
        while True:
            await asyncio.sleep(self.chance.expovariate(1 / 1.5))
            await _try(self.world.line("operator"), self._wish())

    def _wish(self) -> Request[Any]:
        chance = self.chance
        if self.ids and chance.random() < 0.7:
            verb = chance.choice(
                (Verb.CANCEL, Verb.CANCEL, Verb.REVIVE, Verb.RESCHEDULE, Verb.REPRIORITISE, Verb.DELETE)
            )
            ids = chance.sample(self.ids, min(len(self.ids), 3))
            for id in ids:
                self.world.write(Altered, job=id, verb=verb.value)
            value = None
            if verb is Verb.RESCHEDULE:
                value = self.world.store.now_ms() + chance.randint(-1000, 4000)
            elif verb is Verb.REPRIORITISE:
                value = chance.randint(1, 9)
            return AlterRequest(
                verb, Filter(ids=tuple(ids)), value, "an operator wished so" if verb is Verb.CANCEL else None
            )
        change = chance.choice(
            (
                PauseQueue(chance.choice(QUEUES), chance.random() < 0.5),
                PauseQueue("parts", chance.random() < 0.5, chance.choice(PARTITIONS)),
                LimitQueue(chance.choice(QUEUES), concurrency=chance.randint(1, 4)),
                LimitQueue("rated", rates=(Rate(chance.randint(1, 4), per="1s"),)),
                LimitTask("gated", concurrency=chance.randint(1, 3)),
            )
        )
        return ConfigureRequest((change,))


async def _insist(driver: Driver, request: Any, tries: int = 999) -> Any:
    """Ask until there is an answer."""
    while True:
        try:
            return await driver.run(request)
        except StoreError:
            tries -= 1
            if not tries:
                raise
            await asyncio.sleep(0.2)
            if isinstance(request, InsertRequest):
                request = replace(request, fresh=False)


async def _try(driver: Driver, request: Request[Any]) -> None:
    with contextlib.suppress(StoreError):
        await driver.run(request)
