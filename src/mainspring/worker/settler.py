"""Decides what becomes of each run, and settles in batches: whatever gathered while the last batch was under way."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mainspring.batch import Batcher
from mainspring.model.backoff import Retry
from mainspring.model.clock import StoreClock
from mainspring.model.job import Claim
from mainspring.model.outcome import Outcome
from mainspring.model.settlement import Settlement
from mainspring.model.states import State
from mainspring.model.transitions import decide
from mainspring.store.base import AsyncDriver, Filter, FindRequest, SettleRequest, portions
from mainspring.worker.notebook import Notebook
from mainspring.worker.outage import Outage

__all__ = ["Settled", "Settler"]

logger = logging.getLogger("mainspring.worker")

BATCH = 500
"""The most settlements in one request; fewer, where they carry large results."""


class Settled(NamedTuple):
    """One run and the decision about it."""

    claim: Claim
    outcome: Outcome
    settlement: Settlement
    at: int
    """When the run ended, on the store's clock."""


def _portions(settled: Settled) -> int:
    written = settled.settlement
    size = portions(written.result, written.error, written.history)
    return size + sum(portions(job.args) for job in written.follow_ups)


class Settler:
    """Takes outcomes without ever holding up who brings them; `observe` is told what the store has applied."""

    def __init__(
        self,
        driver: AsyncDriver,
        clock: StoreClock,
        notebook: Notebook,
        observe: Callable[[Sequence[Settled]], None],
        retry_of: Callable[[Claim], Retry],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._driver = driver
        self._clock = clock
        self._notebook = notebook
        self._observe = observe
        self._retry_of = retry_of
        self._chance = chance
        self._outage = Outage("settling")
        self._batches = Batcher[Settled, None](self._settle, limit=BATCH, size=_portions)
        self.unsettled: set[tuple[str, int]] = set()
        """Ids and leases of the runs that have ended and are not settled yet: a job may come back, under a new lease,
        before it is known here that it was given back."""
        self.backlog = 0
        """Runs that have ended and are not settled yet."""

    def add(self, claim: Claim, outcome: Outcome) -> None:
        """Decide now; settle with the next batch."""
        now = self._clock.now()
        try:
            settlement = decide(claim, outcome, now, retry=self._retry_of(claim), chance=self._chance())
        except Exception as error:
            # The exception types in `on` and `never` are foreign code too, down to how they compare.
            logger.exception("job %s: its retry rules failed; it goes to the dead letters", claim.id)
            outcome = Outcome.buried(f"its retry rules failed: {type(error).__name__}", outcome.error)
            settlement = decide(claim, outcome, now)
        self.backlog += 1
        self.unsettled.add((claim.id, claim.lease))
        self._batches.add(Settled(claim, outcome, settlement, now))

    async def drain(self) -> None:
        """Wait until everything is settled."""
        await self._batches.drain()

    async def _settle(self, batch: list[Settled]) -> Sequence[None]:
        notes = await self._notebook.take([settled.claim.id for settled in batch])
        request = SettleRequest(tuple(settled.settlement for settled in batch), notes)
        try:
            applied = await self._outage.outlast(lambda: self._driver.run(request))
            applied |= await self._applied_before([settled for settled in batch if settled.claim.id not in applied])
        except Exception:  # noqa: BLE001 - whatever it is, it must cost one job only
            batch, applied = await self._settle_singly(batch)
        self.backlog -= len(batch)
        self.unsettled.difference_update((settled.claim.id, settled.claim.lease) for settled in batch)
        for settled in batch:
            if settled.claim.id not in applied:
                logger.warning(
                    "job %s (%s): its lease %d was lost, so this run changed nothing: another worker has the job",
                    settled.claim.id,
                    settled.claim.task,
                    settled.claim.lease,
                )
        self._observe([settled for settled in batch if settled.claim.id in applied])
        return [None] * len(batch)

    async def _applied_before(self, missing: Sequence[Settled]) -> frozenset[str]:
        """Which of these were applied by an earlier try, whose reply was lost: nobody else writes in a lease's name."""
        if not missing:
            return frozenset()
        leases = {settled.claim.id: settled.claim.lease for settled in missing}
        there = FindRequest(Filter(ids=tuple(leases)), len(leases))
        page = await self._outage.outlast(lambda: self._driver.run(there))
        return frozenset(job.id for job in page.jobs if job.lease == leases[job.id] and job.state is not State.RUNNING)

    async def _settle_singly(self, batch: list[Settled]) -> tuple[list[Settled], frozenset[str]]:
        """Something in this batch cannot be written at all: find it, so that it costs no other job anything."""
        written: list[Settled] = []
        applied: set[str] = set()
        for settled in batch:
            try:
                applied |= await self._settle_one(settled.settlement)
            except Exception as error:
                logger.exception("job %s: its outcome cannot be stored; it goes to the dead letters", settled.claim.id)
                reason = f"its outcome cannot be stored: {type(error).__name__}"
                outcome = Outcome.buried(reason)
                settled = settled._replace(outcome=outcome, settlement=decide(settled.claim, outcome, settled.at))
                try:
                    applied |= await self._settle_one(settled.settlement)
                except Exception:
                    logger.exception("job %s: not even that can be stored; it stays as it is", settled.claim.id)
            written.append(settled)
        return written, frozenset(applied)

    async def _settle_one(self, settlement: Settlement) -> frozenset[str]:
        return await self._outage.outlast(lambda: self._driver.run(SettleRequest((settlement,))))
