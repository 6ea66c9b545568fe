"""A simulated world: one store, the processes that work for it, and what befalls them.

A process is a real `Worker` on strands of its own: one for its event loop, one for its pulse. Killed, both are cut, and
so nothing that it would do on its way out reaches anybody. Stopped like by SIGSTOP, both are held, and what came for
them meanwhile they find when they go on. Blocked by a job, only the first is held.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any, cast

from faults.events import Event, Fault

from mainspring.errors import StoreError
from mainspring.store.base import BeatRequest, Store
from mainspring.worker.machine import Machine
from mainspring.worker.pulse import Pulse
from mainspring.worker.worker import Worker

from .jobs import QUEUES, app
from .ledger import Ledger
from .loop import Loop, Strand
from .network import Driver, Line, Network

__all__ = ["Process", "World", "here"]


class World:
    """Where all happens that one seed lets happen."""

    def __init__(self, seed: int, tell: Callable[[Event], object] = lambda event: None) -> None:
        self.loop = Loop()
        self.history: list[Event] = []
        self.is_over = False
        self._tell = tell
        self.store = Ledger(self.loop.time, self._add)
        self.network = Network(self.loop, self.store, Random(f"{seed} network"))
        self.processes: dict[str, Process] = {}
        """Those that are alive, by their places."""
        self.sky = Strand("sky")
        """Where what befalls others comes from."""
        self._graves: list[Any] = []
        """Tasks of the dead: whoever lets go of them lets them run their `finally`."""
        self._ids = 0

    def write(self, kind: type[Event], **fields: Any) -> None:
        """Add an event that happens now."""
        self._add(kind(at=self.loop.time(), **fields))

    def _add(self, event: Event) -> None:
        if not self.is_over:
            self.history.append(event)
            self._tell(event)

    def fault(self, process: str, what: str) -> None:
        self.write(Fault, process=process, what=what)

    def new_id(self, what: str) -> str:
        """Ids by number, so that a seed gives the same ones again."""
        self._ids += 1
        return f"{what}-{self._ids:04d}"

    def start(self, place: str, chance: Random, **options: Any) -> Process:
        """Start a process in a place, instead of the one that was there."""
        generation = sum(isinstance(each, Fault) and each.what == "begun" for each in self.history) + 1
        process = Process(self, f"{place}.{generation}", place, chance, options)
        self.processes[place] = process
        process.begin()
        return process

    def line(self, name: str) -> Driver:
        """A way to the store for somebody who is no worker."""
        return Driver(self.network, Line(name))


class Process:
    """A worker process."""

    def __init__(self, world: World, name: str, place: str, chance: Random, options: dict[str, Any]) -> None:
        self.world = world
        self.name = name
        self.place = place
        self.main = Strand(name, owner=self)
        self.pulse = Strand(f"{name} pulse", self.main, owner=self)
        self.line = Line(name)
        self.is_alive = True
        self._ahead, self._pace = chance.uniform(0, 1e6), chance.uniform(0.99, 1.01)
        machine = Machine(self._monotonic, lambda: world.new_id(name), PulseTask)
        self.worker = Worker(app, QUEUES, name=name, machine=machine, **options)

    def _monotonic(self) -> float:
        """Its clock begins anywhere, is a little fast or slow, and may jump ahead."""
        return self._ahead + self._pace * self.world.loop.time()

    def write(self, kind: type[Event], **fields: Any) -> None:
        if self.is_alive:
            self.world.write(kind, **fields)

    def begin(self) -> None:
        self.world.fault(self.name, "begun")
        self.world.loop.on(self.main, self._live(), name=self.name)

    async def _live(self) -> None:
        with suppress(StoreError):
            await self.worker.arun()
        self.world.fault(self.name, "stopped")
        self._leave()

    def die(self) -> None:
        """As by SIGKILL: nothing of it ever does anything again."""
        self.world.fault(self.name, "killed")
        self._leave()

    def _leave(self) -> None:
        self.is_alive = False
        self.world._graves.append(asyncio.all_tasks(self.world.loop))
        self.main.is_cut = self.pulse.is_cut = self.line.is_dead = True
        self.world.network.forget(self.line)
        if self.world.processes.get(self.place) is self:
            del self.world.processes[self.place]

    def freeze(self, seconds: float) -> None:
        """As by SIGSTOP, and later SIGCONT."""
        self.world.fault(self.name, "frozen")
        self.world.loop.hold(self.main, seconds)
        self.world.loop.hold(self.pulse, seconds)
        self.world.loop.tell(self.world.sky, seconds, self.world.fault, self.name, "thawed")

    def block(self, seconds: float) -> None:
        """A job does not give the event loop back for so long."""
        self.world.fault(self.name, "blocked")
        self.world.loop.hold(self.main, seconds)

    def cut_off(self, seconds: float) -> None:
        """Take the store away from it."""
        self.world.fault(self.name, "cut")
        self.line.is_cut = True
        self.world.loop.tell(self.world.sky, seconds, self._mend)

    def _mend(self) -> None:
        self.line.is_cut = False
        self.world.fault(self.name, "mended")

    def jump(self, seconds: float) -> None:
        """Let its clock jump ahead."""
        self._ahead += seconds

    def stop(self) -> None:
        """As by a signal: the first time gracefully, the second at once."""
        self.world.fault(self.name, "hurried" if self.worker._stop_asked else "stopping")
        self.world.loop.tell(self.main, 0.0, self.worker.stop)


def here() -> Process:
    """The process in which this is called."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop)
    process = loop.strand.owner
    assert isinstance(process, Process)
    return process


class PulseTask:
    """Keeps a pulse going on the second strand of its process."""

    def __init__(self, pulse: Pulse, store: Store) -> None:
        self._process = here()
        self._pulse = pulse
        self._driver = Driver(self._process.world.network, self._process.line)
        self._stopped = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        loop = self._process.world.loop
        beats = self._pulse.beats(loop, threading.get_ident())
        self._task = loop.on(self.strand, self._beat(beats))

    @property
    def strand(self) -> Strand:
        return self._process.pulse

    async def stop(self) -> None:
        self._stopped.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=10)

    async def _beat(self, beats: Any) -> None:
        try:
            step = next(beats)
            while True:
                if not isinstance(step, BeatRequest):
                    if await self._stopped_within(step):
                        return
                    step = next(beats)
                    continue
                try:
                    reply = await self._driver.run(step)
                except Exception as error:
                    step = beats.throw(error)
                else:
                    step = beats.send(reply)
        except StopIteration:
            return

    async def _stopped_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        return self._stopped.is_set()


class _Everywhere:
    """The app's store: for each process its own way to the one in its world."""

    url = "simulated://"
    insert_limit = 10_000

    def async_driver(self) -> Driver:
        process = here()
        return Driver(process.world.network, process.line)


app.store = cast("Store", _Everywhere())
