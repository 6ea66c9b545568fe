"""What somebody has to do now and then: reap, tick, prune, roll up, sample. No leader: each is idempotent in the store.

All run on one loop of one task. A chore does one round and says in how many seconds it wants its next.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from mainspring.errors import StoreError
from mainspring.model import schedule
from mainspring.model.clock import StoreClock
from mainspring.model.job import Claim, NewJob
from mainspring.model.options import AUDIT_KEEP_MS, KEEP_MS, REAP_MS
from mainspring.model.states import State
from mainspring.model.stats import MINUTE_MS, Depth, Report, sampled
from mainspring.store.base import (
    AsyncDriver,
    BeatRequest,
    ConfigureRequest,
    CountRequest,
    Filter,
    InsertRequest,
    Presence,
    PruneRequest,
    ReapRequest,
    ScheduleRecord,
    Tick,
    Window,
)
from mainspring.worker.pump import Pump

__all__ = ["Chore", "Prune", "Reap", "RollUp", "Sample", "Tend", "keep_doing"]

logger = logging.getLogger("mainspring.worker")


class Chore(Protocol):
    """One thing to be done periodically."""

    async def __call__(self) -> float:
        """Do one round; the number of seconds until the next."""


async def keep_doing(chores: Sequence[Chore]) -> None:
    """Do each chore when it is due, until cancelled. What one raises is logged, and it is tried again in a while."""
    loop = asyncio.get_running_loop()
    due = dict.fromkeys(chores, loop.time())
    while True:
        chore = min(due, key=due.__getitem__)
        await asyncio.sleep(max(0.0, due[chore] - loop.time()))
        try:
            pause = await chore()
        except StoreError as error:
            logger.warning("%s: the store does not answer: %s", type(chore).__name__.lower(), error)
            pause = 1.0
        except Exception:
            logger.exception("%s failed; it is tried again", type(chore).__name__.lower())
            pause = 5.0
        due[chore] = loop.time() + pause


class Reap:
    """Takes over the jobs of workers that died, for the settler to decide."""

    LIMIT = 500

    def __init__(
        self,
        driver: AsyncDriver,
        worker: Callable[[], str],
        lost: Callable[[Claim], None],
        pump: Pump,
        seconds: float = REAP_MS / 1000,
    ) -> None:
        self._driver = driver
        self._seconds = seconds
        self._worker = worker
        self._lost = lost
        self._pump = pump

    async def __call__(self) -> float:
        async with self._pump.alone:
            try:
                claims = await self._driver.run(ReapRequest(self._worker(), self.LIMIT))
            except BaseException:
                self._pump.doubt()
                raise
            for claim in claims:
                logger.warning("job %s (%s): worker %s died with it", claim.id, claim.task, claim.worker)
                self._lost(claim)
        return 0.0 if len(claims) == self.LIMIT else self._seconds


class Tend:
    """Serves the schedules: inserts the job of every slot that has come, once, however many workers do the same."""

    LOOK_SECONDS = 1.0
    """How soon a schedule that was put or resumed elsewhere is noticed."""
    LIMIT = 1000

    def __init__(self, driver: AsyncDriver, clock: StoreClock) -> None:
        self._driver = driver
        self._clock = clock
        self._unreadable: set[ScheduleRecord] = set()

    async def __call__(self) -> float:
        settings = await self._driver.run(ConfigureRequest(read=frozenset({"due"}), limit=self.LIMIT))
        self._clock.sync(settings.now)
        ticks = [tick for due in settings.schedules if (tick := self._tick(due, settings.now))]
        if ticks:
            await self._driver.run(InsertRequest(ticks=tuple(ticks)))
            return 0.0
        if settings.next_tick is None or settings.schedules:
            # Nothing to wait for, or a due schedule that cannot be read: it would stay due for ever.
            return self.LOOK_SECONDS
        return min(self.LOOK_SECONDS, max(0.001, (settings.next_tick - self._clock.now()) / 1000))

    def _tick(self, due: ScheduleRecord, now: int) -> Tick | None:
        try:
            return _tick(due, now)
        except Exception:
            if due not in self._unreadable:
                self._unreadable.add(due)
                logger.exception("schedule %r cannot be read; it is left alone", due.name)
            return None


def _tick(due: ScheduleRecord, now: int) -> Tick:
    timing = schedule.parse_timing(due.timing)
    turn = timing.due(due.next_at, now)
    jobs = tuple(
        NewJob(
            id=schedule.tick_id(due.name, slot),
            task=due.task,
            queue=due.queue,
            args=due.args,
            priority=due.priority,
            run_at=slot + schedule.jitter(due.name, slot, timing.jitter_ms),
            options=due.options,
            keys=due.keys,
            partition=due.partition,
            cost=due.cost,
        )
        for slot in turn.slots
    )
    return Tick(due.name, due.next_at, turn.next_at, jobs)


class Prune:
    """Deletes final jobs, and entries of the audit log, that have been kept long enough."""

    LIMIT = 1000

    def __init__(self, driver: AsyncDriver) -> None:
        self._driver = driver

    async def __call__(self) -> float:
        pruned = await self._driver.run(PruneRequest(KEEP_MS, self.LIMIT, keep_audit_ms=AUDIT_KEEP_MS))
        return 0.05 if pruned >= self.LIMIT else 60.0


class RollUp:
    """Keeps older statistics by longer stretches of time, and for so long only."""

    LIMIT = 5000

    def __init__(self, driver: AsyncDriver) -> None:
        self._driver = driver

    async def __call__(self) -> float:
        began = asyncio.get_running_loop().time()
        done = await self._driver.run(PruneRequest({}, self.LIMIT, stats=True))
        if done >= self.LIMIT:
            return 0.05
        # Where a database cannot clear away what is gone, looking takes ever longer: no more than a twentieth of all.
        return max(10.0, 20 * (asyncio.get_running_loop().time() - began))


class Sample:
    """One of all workers looks, once a minute, how many jobs are due in each queue and how long the oldest has been.

    Each has its own moment of the minute, and asks first whether somebody has looked in that minute. So it is mostly
    the earliest who counts, and when he is gone the next; where two do it at once, the store keeps what it hears first.
    How long it took is kept too: the longer counting takes, the less often all of them together do it.
    """

    SOURCE = "samples"
    EACH = 1_000_000
    """How far the jobs of one queue are counted."""
    REST = 200
    """How many times as long as it took nobody counts again."""
    LONGEST_REST_MS = 20 * MINUTE_MS

    def __init__(
        self,
        driver: AsyncDriver,
        clock: StoreClock,
        presence: Callable[[], Presence],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._driver = driver
        self._clock = clock
        self._presence = presence
        self._monotonic = monotonic
        self._moment_ms = round(random.uniform(0.1, 0.9) * MINUTE_MS)
        self._due = self._next_moment(clock.now())

    def _next_moment(self, after: int) -> int:
        return after + MINUTE_MS - (after - self._moment_ms) % MINUTE_MS

    async def __call__(self) -> float:
        now = self._clock.now()
        # Nor is it waited for long where the store's clock was put back.
        if not now < self._due <= now + self.LONGEST_REST_MS + MINUTE_MS:
            self._due = self._next_moment(now)
            if await self._may_count():
                await self._count()
        return max(0.0, (self._due - self._clock.now()) / 1000)

    async def _may_count(self) -> bool:
        looks = Window(self.LONGEST_REST_MS, MINUTE_MS)
        reply = await self._driver.run(CountRequest(Filter(queue="", task=""), stats=looks))
        minute = reply.now // MINUTE_MS * MINUTE_MS
        return all(look.at + max(1, self.REST * look.numbers.get("took", 0)) <= minute for look in reply.stats)

    async def _count(self) -> None:
        began = self._monotonic()
        try:
            reply = await self._driver.run(CountRequest(Filter(states=(State.QUEUED,)), each=self.EACH))
        finally:
            # Who got no answer has nobody else to tell.
            took_ms = round(1000 * (self._monotonic() - began))
            self._due = self._next_moment(self._clock.now() + min(self.REST * took_ms, self.LONGEST_REST_MS))
        depths = [
            Depth(tally.queue, tally.count, 0 if tally.oldest_at is None else reply.now - tally.oldest_at)
            for tally in reply.tallies
        ]
        minute = reply.now // MINUTE_MS
        report = Report(self.SOURCE, minute, sampled(minute * MINUTE_MS, depths, took_ms))
        await self._driver.run(BeatRequest(self._presence(), "stay", (report,)))
