"""Decides what becomes of each run, and settles in batches: whatever gathered while the last batch was under way."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from mainspring.batch import Batcher
from mainspring.errors import NotCommitted
from mainspring.model.backoff import Retry
from mainspring.model.clock import StoreClock
from mainspring.model.job import Claim, JobRecord, Note
from mainspring.model.outcome import Outcome, Verdict
from mainspring.model.settlement import Settlement
from mainspring.model.states import State
from mainspring.model.transitions import decide
from mainspring.store.base import (
    AsyncDriver,
    Filter,
    FindRequest,
    NoteRequest,
    SettleRequest,
    in_portions,
    portions,
)
from mainspring.worker.notebook import PORTIONS, Notebook, size
from mainspring.worker.outage import Outage

__all__ = ["Settled", "Settler"]

logger = logging.getLogger("mainspring.worker")

BATCH = 500
"""The most settlements in one request; fewer, where they carry large results."""


TRANSACTIONS_AWAITED = 4
"""For how many open transactions of its tasks' it waits at once, since each such wait takes up a connection. They take
turns: a store lets none wait for longer than its deadline."""


class Settled(NamedTuple):
    """One run and the decision about it."""

    claim: Claim
    outcome: Outcome
    settlement: Settlement
    at: int
    """When the run ended, on the store's clock."""


class _Doubt(NamedTuple):
    """A run that may have settled its job itself."""

    otherwise: Settled
    """What is to be settled if it has not."""
    completion: Settled
    """What it has settled if it has."""


def _portions(settled: Settled) -> int:
    written = settled.settlement
    size = portions(written.result, written.error, written.history)
    return size + sum(portions(job.args) for job in written.follow_ups) if written.follow_ups else size


def _worth_writing(notes: Sequence[Note], batch: Sequence[Settled]) -> tuple[Note, ...]:
    """The notes without the checkpoints of jobs that have completed: nobody will want these."""
    if not any(note.checkpoint for note in notes):
        return tuple(notes)
    over = {settled.claim.id for settled in batch if settled.settlement.state is State.COMPLETED}
    left = (replace(note, checkpoint=None) if note.id in over else note for note in notes)
    return tuple(note for note in left if note != Note(note.id, note.lease, first=note.first))


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
        told: Callable[[Settled], Settled] | None = None,
    ) -> None:
        self._driver = driver
        self._clock = clock
        self._notebook = notebook
        self._observe = observe
        self._retry_of = retry_of
        self._chance = chance
        self._told = told
        """Adds the jobs that tell others of it; None: there are no others."""
        self._outage = Outage("settling")
        self._batches = Batcher[Settled, None](self._settle, limit=BATCH, size=_portions)
        self._doubts = Batcher[_Doubt, None](self._look, limit=BATCH)
        self._turns = asyncio.Semaphore(TRANSACTIONS_AWAITED)
        self._waiting: set[asyncio.Task[None]] = set()
        """Doubtful runs whose jobs were running still when they were looked for."""
        self.unsettled: set[tuple[str, int]] = set()
        """Ids and leases of the runs that have ended and are not settled yet: a job may come back, under a new lease,
        before it is known here that it was given back."""
        self._settling = asyncio.Event()
        """Set whenever a batch is settled."""
        self.backlog = 0
        """Runs that have ended and are not settled yet."""

    def add(self, claim: Claim, outcome: Outcome) -> None:
        """Decide now; settle with the next batch."""
        self._take_on(claim)
        self._batches.hand_over(self._decided(claim, outcome))

    def find_out(self, claim: Claim, outcome: Outcome, completion: Settled) -> None:
        """The run has written its completion in a transaction of its task's. If that was committed, the job is settled;
        if it was not, settle it by what the run came to otherwise."""
        self._take_on(claim)
        self._doubts.hand_over(_Doubt(self._decided(claim, outcome), completion))

    def _take_on(self, claim: Claim) -> None:
        self.backlog += 1
        self.unsettled.add((claim.id, claim.lease))

    def _decided(self, claim: Claim, outcome: Outcome) -> Settled:
        now = self._clock.now()
        try:
            if outcome.verdict is Verdict.FAILED:
                settlement = decide(claim, outcome, now, retry=self._retry_of(claim), chance=self._chance())
            else:
                settlement = decide(claim, outcome, now)
        except Exception as error:
            # The exception types in `on` and `never` are foreign code too, down to how they compare.
            logger.exception("job %s: its retry rules failed; it goes to the dead letters", claim.id)
            outcome = Outcome.buried(f"its retry rules failed: {type(error).__name__}", outcome.error)
            settlement = decide(claim, outcome, now)
        settled = Settled(claim, outcome, settlement, now)
        return settled if self._told is None else self._told(settled)

    async def catch_up(self) -> None:
        """Wait until all that has ended by now is settled, whatever ends meanwhile."""
        ended = frozenset(self.unsettled)
        while not self.unsettled.isdisjoint(ended):
            self._settling.clear()
            await self._settling.wait()

    async def drain(self) -> None:
        """Wait until everything is settled."""
        await self._batches.drain()
        await self._doubts.drain()
        while self._waiting:
            await asyncio.wait(self._waiting)

    async def _settle(self, batch: list[Settled]) -> Sequence[None]:
        given = len(batch)
        if len({settled.claim.id for settled in batch}) < given:
            batch = self._without_overtaken(batch)
        notes = _worth_writing(await self._notebook.take([settled.claim for settled in batch]), batch)
        try:
            last = await self._write_ahead(notes)
            request = SettleRequest(tuple(settled.settlement for settled in batch), last)
            applied = await self._outage.outlast(lambda: self._driver.run(request))
            applied |= await self._applied_before([settled for settled in batch if settled.claim.id not in applied])
        except Exception:  # noqa: BLE001 - whatever it is, it must cost one job only
            batch, applied = await self._settle_singly(batch, notes)
        self._settled(batch, applied)
        return [None] * given

    def _without_overtaken(self, batch: Sequence[Settled]) -> list[Settled]:
        """The batch with each job in it once. Of one that is there twice, this worker lost the lease and then took it
        over from itself, as it does the jobs of any that died: what the first run came to is nobody's any more. (The
        reply names jobs, not leases, and could not tell the two apart.)"""
        newest: dict[str, Settled] = {}
        for settled in batch:
            other = newest.setdefault(settled.claim.id, settled)
            if other.claim.lease < settled.claim.lease:
                newest[settled.claim.id] = settled
        self._settled([settled for settled in batch if newest[settled.claim.id] is not settled], ())
        return list(newest.values())

    async def _write_ahead(self, notes: Sequence[Note]) -> tuple[Note, ...]:
        """Writes as many of the notes as are too large to go along with the settlements; gives the others."""
        *ahead, last = in_portions(notes, PORTIONS, size) if notes else [()]
        for some in ahead:
            await self._outage.outlast(partial(self._driver.run, NoteRequest(some)))
        return last

    def _settled(self, batch: Sequence[Settled], applied: Collection[str]) -> None:
        self.backlog -= len(batch)
        self.unsettled.difference_update((settled.claim.id, settled.claim.lease) for settled in batch)
        self._settling.set()
        for settled in batch:
            if settled.claim.id not in applied:
                logger.warning(
                    "job %s (%s): its lease %d was lost, so this run changed nothing: another worker has the job",
                    settled.claim.id,
                    settled.claim.task,
                    settled.claim.lease,
                )
        self._observe([settled for settled in batch if settled.claim.id in applied])

    async def _applied_before(self, missing: Sequence[Settled]) -> frozenset[str]:
        """Which of these were applied by an earlier try, whose reply was lost: nobody else writes in a lease's name."""
        if not missing:
            return frozenset()
        leases = {settled.claim.id: settled.claim.lease for settled in missing}
        there = FindRequest(Filter(ids=tuple(leases)), len(leases))
        page = await self._outage.outlast(lambda: self._driver.run(there))
        return frozenset(job.id for job in page.jobs if job.lease == leases[job.id] and job.state is not State.RUNNING)

    async def _settle_singly(self, batch: list[Settled], notes: Sequence[Note]) -> tuple[list[Settled], frozenset[str]]:
        """Something in this batch cannot be written at all: find it, so that it costs no other job anything."""
        said = {note.id: note for note in notes}
        written: list[Settled] = []
        applied: set[str] = set()
        for settled in batch:
            try:
                await self._note_alone(said.get(settled.claim.id))
                applied |= await self._settle_one(settled.settlement)
            except Exception as error:
                logger.exception("job %s: its outcome cannot be stored; it goes to the dead letters", settled.claim.id)
                reason = f"its outcome cannot be stored: {type(error).__name__}"
                outcome = Outcome.buried(reason)
                settled = settled._replace(outcome=outcome, settlement=decide(settled.claim, outcome, settled.at))
                settled = settled if self._told is None else self._told(settled)
                try:
                    applied |= await self._settle_one(settled.settlement)
                except Exception:
                    logger.exception("job %s: not even that can be stored; it stays as it is", settled.claim.id)
            written.append(settled)
        return written, frozenset(applied)

    async def _note_alone(self, note: Note | None) -> None:
        if note is None:
            return
        try:
            await self._outage.outlast(lambda: self._driver.run(NoteRequest((note,))))
        except Exception:
            logger.exception("job %s: what it has said and saved last cannot be stored", note.id)

    async def _settle_one(self, settlement: Settlement) -> frozenset[str]:
        return await self._outage.outlast(lambda: self._driver.run(SettleRequest((settlement,))))

    # --- runs that have completed their jobs themselves ---

    async def _look(self, doubts: list[_Doubt]) -> Sequence[None]:
        """One look for all of them, after which most are settled."""
        found = await self._find([doubt.otherwise.claim.id for doubt in doubts])
        for doubt in doubts:
            claim = doubt.otherwise.claim
            record = found.get(claim.id)
            if record is None or (record.lease, record.state) == (claim.lease, State.RUNNING):
                # Each by itself: its transaction may still be open, and then this waits until it is not.
                task = asyncio.create_task(self._settle_otherwise(doubt), name="mainspring doubt")
                self._waiting.add(task)
                task.add_done_callback(self._waiting.discard)
            else:
                await self._close(doubt, record)
        return [None] * len(doubts)

    async def _settle_otherwise(self, doubt: _Doubt) -> None:
        """It is not committed, or not yet. The store lets only one of the two settlements be applied, this or the
        run's, so that it decides what happened."""
        settled, claim = doubt.otherwise, doubt.otherwise.claim
        notes = _worth_writing(await self._notebook.take([claim]), [settled])
        request = SettleRequest((settled.settlement,), notes)
        try:
            applied = await Outage(f"settling job {claim.id}").outlast(lambda: self._settle_in_turn(request))
        except Exception:  # noqa: BLE001 - whatever it is, it must cost this job only
            (settled,), applied = await self._settle_singly([settled], notes)
        if claim.id in applied:
            self._settled([settled], applied)
        else:
            await self._close(doubt, (await self._find([claim.id])).get(claim.id))

    async def _settle_in_turn(self, request: SettleRequest) -> frozenset[str]:
        async with self._turns:
            return await self._driver.run(request)

    async def _close(self, doubt: _Doubt, record: JobRecord | None) -> None:
        """The job is settled, by the run's own transaction or by somebody else."""
        claim, outcome = doubt.otherwise.claim, doubt.otherwise.outcome
        await self._notebook.take([claim])  # those that the transaction did not write come too late
        if record is None or record.state is not State.COMPLETED or record.lease != claim.lease:
            self._settled([doubt.otherwise], ())
            return
        if not isinstance(outcome.exception, NotCommitted):
            error = f": {outcome.error.type}: {outcome.error.message}" if outcome.error else ""
            logger.warning(
                "job %s (%s) has completed in a transaction of its own; that its run ended otherwise after that (%s%s) "
                "changes nothing",
                claim.id,
                claim.task,
                outcome.verdict,
                error,
            )
        self._settled([doubt.completion], {claim.id})

    async def _find(self, ids: list[str]) -> dict[str, JobRecord]:
        """The jobs as they stand; none where they cannot be read."""
        found: dict[str, JobRecord] = {}
        request: FindRequest | None = FindRequest(Filter(ids=tuple(ids)), len(ids))
        while request is not None:
            try:
                page = await self._outage.outlast(partial(self._driver.run, request))
            except Exception:
                logger.exception("jobs that completed in transactions of their own cannot be looked for")
                return {}
            found |= {record.id: record for record in page.jobs}
            request = None if page.cursor is None else replace(request, cursor=page.cursor)
        return found
