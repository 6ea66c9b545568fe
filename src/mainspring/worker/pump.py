"""Claims as much as there is room for, wakes on hints, and sleeps exactly until the next job is due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from mainspring.errors import StoreError
from mainspring.model.clock import StoreClock
from mainspring.store.base import AsyncDriver, AsyncWatch, ClaimReply, ClaimRequest
from mainspring.worker.outage import Outage
from mainspring.worker.rooms import Rooms
from mainspring.worker.runs import Runs
from mainspring.worker.vitals import Vitals

__all__ = ["Pump"]

POLL_SECONDS = 1.0
"""How long a worker sleeps at most: what a lost hint can cost."""
COMPARE_SECONDS = 15.0
"""How often a worker lets the store tell it which jobs run in its name, though it knows of no reply that was lost. A
request may be carried out long after its sender has given it up, by a server that stood still; what it gave out then,
nobody else would ever hear of while this worker lives."""
FINISH_SECONDS = 6.0
"""How long a stopping worker waits for its last claim: longer than the deadline of an operation."""


class Pump:
    """`worker` gives the id to claim under, `quiet` whether nothing new is to be claimed; `lost` is told an id that
    the store has given up."""

    def __init__(
        self,
        driver: AsyncDriver,
        clock: StoreClock,
        rooms: Rooms,
        runs: Runs,
        *,
        worker: Callable[[], str],
        quiet: Callable[[], bool],
        lost: Callable[[str], None],
        vitals: Vitals,
    ) -> None:
        self._driver = driver
        self._clock = clock
        self._rooms = rooms
        self._runs = runs
        self._worker = worker
        self._quiet = quiet
        self._lost = lost
        self._vitals = vitals
        self._outage = Outage("claiming")
        self._claiming: dict[asyncio.Task[None], int] = {}
        """The claims that are under way, and how many jobs each asks for: one, or one and the next; where it is in
        doubt what the store has given out, one alone."""
        self._filled = False
        """Whether the last claim got all that it had room for."""
        self._short: ClaimReply | None = None
        """What it got otherwise, until that was waited for."""
        self._doubts = 0
        """How often it has become unclear what the store has given to this worker."""
        self._cleared = 0
        """How many of these have been cleared up."""
        self._hidden: frozenset[tuple[str, int]] | None = None
        """Ended runs that were unsettled when it was asked: behind one may hide that its job was given out anew."""
        self._compared_at = asyncio.get_running_loop().time()
        self.alone = asyncio.Lock()
        """Held by whoever asks which jobs run in this worker's name, and by who takes over jobs of others: what is on
        its way to the one must not be told to the other."""

    async def run(self) -> None:
        """Claim and launch until cancelled."""
        watch = await self._driver.watch(tuple(f"queue:{name}" for name in self._rooms.names))
        try:
            while True:
                self._runs.freed.clear()
                pause = self._hear()
                if not self._claiming:
                    await asyncio.sleep(pause)
                    await self._idle(watch)
                self._line_up()
                # Not `wait_for`: until Python 3.12 it swallows a cancellation that comes together with the event.
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._runs.freed.wait()
        finally:
            await watch.aclose()

    def under_way(self) -> list[asyncio.Task[None]]:
        """The claims that may still bring something."""
        return [claim for claim in self._claiming if not claim.done()]

    async def finish(self) -> None:
        """After the end of `run`: wait for the claims that were under way, as long as the store may take for them."""
        if self._claiming:
            await asyncio.wait(self._claiming, timeout=FINISH_SECONDS)
            for claim in self._claiming:
                claim.cancel()
        if self._in_doubt:
            # What the store has given out in vain is to be handed back as well: nobody has died with it.
            with suppress(StoreError, TimeoutError):
                async with asyncio.timeout(FINISH_SECONDS):
                    await self._claim(self._worker(), 0)

    def _line_up(self) -> None:
        """Ask for half of what may run, so that one half runs while the other is claimed; or for less, if there is less
        room. While the queue fills every claim, the next one stands in line behind the one that is under way."""
        if asyncio.get_running_loop().time() - self._compared_at > COMPARE_SECONDS:
            self.doubt()
        half = self._runs.half
        room = 0 if self._quiet() else min(half, self._runs.room() - sum(self._claiming.values()))
        if room <= 0 and not self._claiming:
            self._vitals.full()
        if room <= 0 and (self._claiming or not self._in_doubt):
            return
        if self._claiming and (len(self._claiming) > 1 or room < half or not self._filled or self._in_doubt):
            return
        claim = asyncio.create_task(self._claim(self._worker(), max(0, room)), name="mainspring claim")
        claim.add_done_callback(lambda _: self._runs.freed.set())
        self._claiming[claim] = room

    async def _claim(self, worker: str, room: int) -> None:
        # A task of its own: what the store has given out must be launched, whoever stops the pump meanwhile.
        reply = await self._ask(worker, room)
        self._clock.sync(reply.now)
        self._filled = 0 < room <= len(reply.claims)
        self._short = None if self._filled else reply
        for claim in reply.claims:
            self._runs.launch(claim)
        if reply.alive:
            self._vitals.claimed()
        else:
            self._lost(worker)

    def _hear(self) -> float:
        """What has become of the claims that are back; how long to wait before the next, since the store is away."""
        pause = 0.0
        for claim in [claim for claim in self._claiming if claim.done()]:
            del self._claiming[claim]
            try:
                claim.result()
            except StoreError as error:
                pause = self._outage.failed(error)
            else:
                self._outage.over()
        return pause

    async def _idle(self, watch: AsyncWatch) -> None:
        """Until there may be something to claim, if the last claim got less than it had room for."""
        if self._short:
            reply, self._short = self._short, None
            await watch.wait(self._idle_seconds(reply))

    async def _ask(self, worker: str, room: int) -> ClaimReply:
        if self._in_doubt:
            async with self.alone:
                return await self._compare(worker, room)
        return await self._send(ClaimRequest(worker, self._rooms.offer(room), room))

    async def _compare(self, worker: str, room: int) -> ClaimReply:
        """Claim, and let the store say what runs in this worker's name and is not known here."""
        doubts, held, unsettled = self._doubts, self._runs.held(), self._runs.unsettled()
        hidden = unsettled if self._hidden is None else self._hidden & unsettled
        self._compared_at = asyncio.get_running_loop().time()
        reply = await self._send(ClaimRequest(worker, self._rooms.offer(room), room, held))
        if self._doubts == doubts:
            # Nobody else has come to doubt meanwhile. What is hidden still is asked for again.
            self._hidden = hidden or None
            self._cleared = doubts - bool(hidden)
        return reply

    async def _send(self, request: ClaimRequest) -> ClaimReply:
        try:
            return await self._driver.run(request)
        except BaseException:
            self.doubt()
            raise

    @property
    def _in_doubt(self) -> bool:
        return self._doubts > self._cleared

    def doubt(self) -> None:
        """A reply was lost, and nobody knows what the store has given to this worker: the next claim settles that."""
        self._doubts += 1
        self._hidden = None

    def _idle_seconds(self, reply: ClaimReply) -> float:
        if reply.next_due is None:
            return POLL_SECONDS
        return min(POLL_SECONDS, max(0.0, (reply.next_due - self._clock.now()) / 1000))
