"""The way from each process to the store: what takes time on it, and what gets lost.

A request travels, is performed, and its reply travels back. Either way may be lost; then whoever asked is told so when
the deadline of real drivers has passed, or sooner, as when a connection breaks. It may be performed twice, as drivers
and proxies do that send again what they have no answer to. Requests of one process overtake each other, as they do
that travel on connections of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from mainspring.errors import StoreUnavailable
from mainspring.store.base import InsertRequest, Reply, Request

from .ledger import Ledger
from .loop import Loop, Strand

__all__ = ["Driver", "Network", "Weather"]

DEADLINE_SECONDS = 5.0
"""How long real drivers wait for a reply."""


@dataclass(frozen=True, slots=True)
class Weather:
    """How bad the way is: chances in [0, 1] for each request, times in seconds."""

    delay: float = 0.001
    loses_request: float = 0.0
    loses_reply: float = 0.0
    doubles: float = 0.0
    loses_hint: float = 0.0
    stalls: float = 0.0
    """Chance that a request arrives only shortly before its sender gives up, or shortly after."""
    late: float = 0.0
    """How long after that a request may be performed still."""


class Network:
    """All ways to one store."""

    def __init__(self, loop: Loop, store: Ledger, chance: Random) -> None:
        self.loop = loop
        self.store = store
        self.weather = Weather()
        self.is_down = False
        """The store is away: connections are refused, replies under way are lost."""
        self._chance = chance
        self._restarts = 0
        self._watches: dict[Watch, tuple[str, ...]] = {}
        self._place = Strand("store")
        self.requests = 0
        self.fate: Callable[[Request[Any]], float | None] = lambda request: 0.0
        """For scenes: how many seconds longer the reply to a request takes; None: it is lost."""
        store.hint = self._hint

    def restart(self, seconds: float) -> None:
        """Take the store away for so long. What it has is durable."""
        self.is_down = True
        self._restarts += 1
        self.loop.tell(self._place, seconds, self._come_back)

    def _come_back(self) -> None:
        self.is_down = False

    def send(self, who: Line, request: Request[Any]) -> asyncio.Future[Any]:
        """Let a request set off; the future brings what becomes of it."""
        self.requests += 1
        chance, weather, loop = self._chance, self.weather, self.loop
        trip = _Trip(self, who, request, loop.create_future(), loop.strand, self._restarts)
        there = chance.random() * weather.delay
        if chance.random() < weather.stalls:
            there += chance.uniform(0.0, DEADLINE_SECONDS + weather.late)
        if who.is_cut or self.is_down:
            # A refused connection is noticed at once, a silent one by the deadline.
            trip.fail(DEADLINE_SECONDS if who.is_cut and chance.random() < 0.5 else chance.uniform(0.001, 0.1))
            return trip.reply
        if chance.random() < weather.loses_request:
            trip.fail(DEADLINE_SECONDS if chance.random() < 0.7 else chance.uniform(0.001, 1.0))
            return trip.reply
        trip.fail(DEADLINE_SECONDS)
        loop.tell(self._place, there, trip.perform)
        if chance.random() < weather.doubles:
            loop.tell(self._place, there + chance.random() * chance.choice((0.01, 1.0, 4.0)), trip.perform)
        return trip.reply

    def forget(self, line: Line) -> None:
        """A process has ended, and listens no more."""
        self._watches = {watch: topics for watch, topics in self._watches.items() if watch.line is not line}

    def _hint(self, queue: str) -> None:
        topic = f"queue:{queue}"
        for watch, topics in self._watches.items():
            if topic in topics and not watch.line.is_cut and self._chance.random() >= self.weather.loses_hint:
                self.loop.tell(watch.strand, 0.002 + self._chance.random() * 0.02, watch.ring)


class Line:
    """A process's way to the store."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_cut = False
        self.is_dead = False
        """The process is no more: what it has sent may arrive still, but it sends nothing."""


class _Trip:
    """A request under way."""

    def __init__(
        self,
        network: Network,
        who: Line,
        request: Request[Any],
        reply: asyncio.Future[Any],
        strand: Strand,
        restarts: int,
    ) -> None:
        self.network = network
        self.who = who
        self.request = request
        self.reply = reply
        self.strand = strand
        self.restarts = restarts

    def fail(self, seconds: float) -> None:
        self.network.loop.tell(self.strand, seconds, self._settle, None, _UNAVAILABLE)

    def perform(self) -> None:
        network, chance, weather = self.network, self.network._chance, self.network.weather
        if network.is_down or network._restarts != self.restarts or self.who.is_cut:
            return self.fail(0.01)
        try:
            value, error = network.store.perform(self.request, self.who.name), None
        except Exception as raised:
            value, error = None, raised
        if isinstance(self.request, InsertRequest) and self.request.fresh:
            self.request = replace(self.request, fresh=False)
        longer = network.fate(self.request)
        if longer is None or chance.random() < weather.loses_reply:
            if chance.random() < 0.3:
                self.fail(chance.random())
            return None
        network.loop.tell(self.strand, longer + chance.random() * weather.delay, self._come_home, value, error)
        return None

    def _come_home(self, value: Any, error: Exception | None) -> None:
        if self.who.is_cut or self.network._restarts != self.restarts:
            value, error = None, _UNAVAILABLE
        self._settle(value, error)

    def _settle(self, value: Any, error: Exception | None) -> None:
        if self.reply.done():
            return
        if error is None:
            self.reply.set_result(value)
        else:
            self.reply.set_exception(type(error)(*error.args))


_UNAVAILABLE = StoreUnavailable("the simulated store does not answer")


class Driver:
    """An `AsyncDriver` of one process."""

    def __init__(self, network: Network, line: Line) -> None:
        self._network = network
        self._line = line

    async def run(self, request: Request[Reply]) -> Reply:
        if self._line.is_dead:
            raise AssertionError(f"{self._line.name} is dead and sends {request}")
        reply: Reply = await self._network.send(self._line, request)
        return reply

    async def watch(self, topics: tuple[str, ...]) -> Watch:
        watch = Watch(self._network, self._line)
        self._network._watches[watch] = topics
        return watch

    async def aclose(self) -> None:
        pass


class Watch:
    """An `AsyncWatch`."""

    def __init__(self, network: Network, line: Line) -> None:
        self._network = network
        self.line = line
        self.strand = network.loop.strand
        self._rung = False
        self._waiter: asyncio.Future[bool] | None = None

    def ring(self) -> None:
        self._rung = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(True)

    async def wait(self, seconds: float) -> bool:
        if not self._rung:
            self._waiter = asyncio.get_running_loop().create_future()
            timer = asyncio.get_running_loop().call_later(seconds, _stop_waiting, self._waiter)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        rung, self._rung = self._rung, False
        return rung

    async def aclose(self) -> None:
        self._network._watches.pop(self, None)


def _stop_waiting(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(False)
