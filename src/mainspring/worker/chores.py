"""What somebody has to do now and then: reap, tick, prune, roll up. No leader: each is idempotent in the store.

All run on one loop of one task. A chore does one round and says in how many seconds it wants its next.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from mainspring.errors import StoreError
from mainspring.model import schedule
from mainspring.model.clock import StoreClock
from mainspring.model.job import Claim, NewJob
from mainspring.model.options import AUDIT_KEEP_MS, KEEP_MS, REAP_MS
from mainspring.store.base import (
    AsyncDriver,
    ConfigureRequest,
    InsertRequest,
    PruneRequest,
    ReapRequest,
    ScheduleRecord,
    Tick,
)
from mainspring.worker.pump import Pump

__all__ = ["Chore", "Prune", "Reap", "RollUp", "Tend", "keep_doing"]

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
