"""Claims as much as there is room for, wakes on hints, and sleeps exactly until the next job is due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from mainspring.model.clock import StoreClock
from mainspring.store.base import AsyncDriver, ClaimReply, ClaimRequest
from mainspring.worker.outage import Outage
from mainspring.worker.rooms import Rooms
from mainspring.worker.runs import Runs
from mainspring.worker.vitals import Vitals

__all__ = ["Pump"]

_Claimed = tuple[ClaimReply, int]
"""What the store gave, and how many were asked for."""

POLL_SECONDS = 1.0
"""How long a worker sleeps at most: what a lost hint can cost."""
FINISH_SECONDS = 6.0
"""How long a stopping worker waits for its last claim: longer than the deadline of an operation."""


class Pump:
    """`worker` gives the id to claim under, or None while nothing is to be claimed; `lost` is told an id that the store
    has given up."""

    def __init__(
        self,
        driver: AsyncDriver,
        clock: StoreClock,
        rooms: Rooms,
        runs: Runs,
        *,
        worker: Callable[[], str | None],
        lost: Callable[[str], None],
        vitals: Vitals,
    ) -> None:
        self._driver = driver
        self._clock = clock
        self._rooms = rooms
        self._runs = runs
        self._worker = worker
        self._lost = lost
        self._vitals = vitals
        self._outage = Outage("claiming")
        self._claiming: asyncio.Task[_Claimed] | None = None
        self._next: asyncio.Task[_Claimed] | None = None
        """The claim after that, if it is under way already."""
        self._doubts = 0
        """How often it has become unclear what the store has given to this worker."""
        self._cleared = 0
        """How many of these have been cleared up."""
        self._hidden: frozenset[tuple[str, int]] | None = None
        """Ended runs that were unsettled when it was asked: behind one may hide that its job was given out anew."""

    async def run(self) -> None:
        """Claim and launch until cancelled."""
        watch = await self._driver.watch(tuple(f"queue:{name}" for name in self._rooms.names))
        try:
            while True:
                self._runs.freed.clear()
                claiming, self._next = self._next or self._begin(), None
                if claiming is None:
                    self._vitals.full()
                    # Not `wait_for`: until Python 3.12 it swallows a cancellation that comes together with the event.
                    with suppress(TimeoutError):
                        async with asyncio.timeout(POLL_SECONDS):
                            await self._runs.freed.wait()
                    continue
                # Shielded: what the store has given out must be launched, whoever stops the pump meanwhile.
                self._claiming = claiming
                reply, room = await asyncio.shield(claiming)
                if len(reply.claims) < room:
                    await watch.wait(self._idle_seconds(reply))
        finally:
            await watch.aclose()

    async def finish(self) -> None:
        """After the end of `run`: wait for the claims that were under way, as long as the store may take for them."""
        claiming = [task for task in (self._claiming, self._next) if task is not None]
        if claiming:
            await asyncio.wait(claiming, timeout=FINISH_SECONDS)
            for task in claiming:
                task.cancel()

    def _begin(self, coming: int = 0) -> asyncio.Task[_Claimed] | None:
        """Ask for half of what may run, so that one half runs while the other is claimed; or for less, if there is less
        room beside those that are `coming`. None: nothing is to be claimed."""
        worker, room = self._worker(), min(self._runs.room() - coming, self._runs.half)
        if worker is None or room <= 0:
            return None
        return asyncio.create_task(self._claim(worker, room), name="mainspring claim")

    async def _claim(self, worker: str, room: int) -> _Claimed:
        reply = await self._outage.outlast(lambda: self._ask(worker, room))
        self._clock.sync(reply.now)
        if len(reply.claims) == room:
            # The next request goes out before these begin to run, or the loop would come to it when they have.
            self._next = self._begin(coming=room)
        for claim in reply.claims:
            self._runs.launch(claim)
        if reply.alive:
            self._vitals.claimed()
        else:
            self._lost(worker)
        return reply, room

    async def _ask(self, worker: str, room: int) -> ClaimReply:
        doubts, hidden, held = self._doubts, self._hidden, None
        if doubts > self._cleared:
            held, unsettled = self._runs.held(), self._runs.unsettled()
            hidden = unsettled if hidden is None else hidden & unsettled
        self.doubt()
        reply = await self._driver.run(ClaimRequest(worker, self._rooms.offer(room), room, held))
        if self._doubts == doubts + 1:
            # Nobody else has come to doubt meanwhile. What is hidden still is asked for again.
            self._hidden = hidden or None
            self._cleared = self._doubts - bool(hidden)
        return reply

    def doubt(self) -> None:
        """Until there is a reply, nobody knows what the store has given to this worker: the next claim settles that."""
        self._doubts += 1
        self._hidden = None

    def _idle_seconds(self, reply: ClaimReply) -> float:
        if reply.next_due is None:
            return POLL_SECONDS
        return min(POLL_SECONDS, max(0.0, (reply.next_due - self._clock.now()) / 1000))
