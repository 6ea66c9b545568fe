"""The runs under way in a worker: how many more there may be, and how they are told to end."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable, Collection, Iterable
from typing import Any

from mainspring.errors import JobTimeout
from mainspring.model import failure
from mainspring.model.job import Claim
from mainspring.model.outcome import Outcome
from mainspring.worker.context import Context
from mainspring.worker.quarantine import ALONE_SECONDS, ALONE_STEPS, Quarantine
from mainspring.worker.run import Interruption, Run
from mainspring.worker.runner import Runner
from mainspring.worker.settler import Settler
from mainspring.worker.vitals import Vitals

__all__ = ["Runs"]

logger = logging.getLogger("mainspring.worker")

FRAMES_SHOWN = 12
INTERRUPTIONS = 2
INTERRUPTION_SECONDS = 2.0
"""How often a stopping worker cancels a task that does not end, and how long it lets it clean up each time."""


class Runs:
    """Each run is one task of the event loop, from its claim to the settler; `owns` says whether the lease that
    it was claimed under is surely good still."""

    def __init__(
        self,
        runner: Runner,
        settler: Settler,
        concurrency: int,
        *,
        context: Callable[[Run], Context],
        started: Callable[[Claim], None],
        vitals: Vitals | None = None,
        quarantine: Quarantine | None = None,
        owns: Callable[[Claim], bool] = lambda claim: True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runner = runner
        self._settler = settler
        self._concurrency = concurrency
        self._context = context
        self._started = started
        self._vitals = vitals or Vitals()
        self._quarantine = quarantine
        self.claiming: Callable[[], Collection[asyncio.Task[None]]] = tuple
        """The claims that are under way."""
        self._owns = owns
        self._monotonic = monotonic
        self._loop = asyncio.get_running_loop()
        self._runs: dict[str, Run] = {}
        self.freed = asyncio.Event()
        """Set whenever a run has ended, or something else may let the pump go on."""
        self._stopping = False
        self.abandoned = False
        """True once a run was given up whose task goes on."""

    def __len__(self) -> int:
        return len(self._runs)

    def room(self) -> int:
        """How many more jobs may run now."""
        # Runs that wait to be settled hold no place, so that settling and claiming overlap; but not without end.
        if self._quarantine is not None and self._quarantine.closed:
            return 0
        if self._settler.backlog > 2 * self._concurrency + 100:
            return 0
        return self._concurrency - len(self._runs)

    @property
    def half(self) -> int:
        """Half of what may run, rounded up."""
        return (self._concurrency + 1) // 2

    def held(self) -> frozenset[str]:
        """The jobs that this worker has in hands: those that run, and those that have run and are not settled."""
        return frozenset(self._runs).union(id for id, _ in self._settler.unsettled)

    def unsettled(self) -> frozenset[tuple[str, int]]:
        """Ids and leases of those that have run and are not settled."""
        return frozenset(self._settler.unsettled)

    def launch(self, claim: Claim) -> None:
        """Begin a run; or leave it to another time, if it is not to be beside those that run."""
        if claim.crashes and self._quarantine is not None and not claim.cancel_requested:
            delay_ms = self._quarantine.enter(claim)
            if delay_ms is not None:
                self._settler.add(claim, Outcome.quarantined(delay_ms))
                return
        run = self._runs[claim.id] = Run(claim, self._abandon)
        run.stopping = self._stopping
        run.task = self._loop.create_task(self._carry(run), name=claim.id)
        self._vitals.begun += 1
        self._started(claim)

    async def _carry(self, run: Run) -> None:
        try:
            if run.claim.crashes and self._quarantine is not None:
                await self._begin_alone(run, self._quarantine)
            if self._owns(run.claim):
                outcome = await self._runner.run(run, self._context(run))
            else:
                # The process stood still, or the store was away, for longer than its lease: others may have the job by
                # now, and have done it. Whose it is, the store says when it is handed back.
                outcome = Outcome.returned()
        except BaseException as error:  # noqa: BLE001 - GeneratorExit closes the runner, whatever that catches
            outcome = Outcome.failed(failure.describe(error, run.veil), error)
        self._end(run, outcome)

    async def _begin_alone(self, run: Run, quarantine: Quarantine) -> None:
        """Nobody whom it could take along is in this worker's hands any more, but for those that run."""
        while claiming := self.claiming():
            await asyncio.wait(claiming)
        await self._settler.catch_up()
        self._leave_alone(run, quarantine, ALONE_STEPS)

    def _leave_alone(self, run: Run, quarantine: Quarantine, steps: int) -> None:
        """In steps: where the machine lets this process stand still, the run has not come on meanwhile either."""
        if steps:
            self._loop.call_later(ALONE_SECONDS / ALONE_STEPS, self._leave_alone, run, quarantine, steps - 1)
        else:
            quarantine.open(run.claim)
            self.freed.set()

    def _end(self, run: Run, outcome: Outcome) -> None:
        if run.ended:
            return
        run.end()
        if self._runs.get(run.claim.id) is run:
            del self._runs[run.claim.id]
        if run.claim.crashes and self._quarantine is not None:
            self._quarantine.leave(run.claim)
        if run.completion is not None:
            self._settler.find_out(run.claim, outcome, run.completion)
        elif run.interruption is not Interruption.LOST:
            self._settler.add(run.claim, outcome)
        self.freed.set()

    def _abandon(self, run: Run) -> None:
        """It was interrupted in every way that there is, and goes on: settle its job without it."""
        logger.error("%s; its task stands at:\n%s", _deaf(self.on(run.task)), _stack(run.task))
        match run.interruption:
            case Interruption.CANCELLED:
                outcome = Outcome.cancelled("while it ran, and did not end")
            case Interruption.TIMED_OUT:
                error = JobTimeout(run.overtime)
                outcome = Outcome.failed(failure.describe(error), error)
            case _:
                outcome = Outcome.returned()
        self._end(run, outcome)
        self.abandoned = True
        if run.task is not None:
            run.task.cancel()

    def cancel(self, asked: Iterable[tuple[str, int]]) -> None:
        """Interrupt the runs with these job ids and leases, if they are (still) here."""
        for id, lease in asked:
            run = self._runs.get(id)
            if run is not None and run.claim.lease == lease and run.interruption is None:
                run.interrupt(Interruption.CANCELLED)

    def interrupt_all(self, why: Interruption) -> None:
        """Interrupt every run."""
        for run in list(self._runs.values()):
            run.interrupt(why)

    def warn(self) -> None:
        """Let every run know that the worker stops, also those that begin from now on."""
        self._stopping = True
        for run in self._runs.values():
            run.stop()

    async def finish(self, grace: float, hurry: Callable[[], bool]) -> None:
        """Let the runs end by themselves for `grace` seconds, or until `hurry` says so; hand back the rest."""
        deadline = self._monotonic() + grace
        while self._runs and self._monotonic() < deadline and not hurry():
            await self._all_ended(0.1)
        for _ in range(INTERRUPTIONS):
            if self._runs:
                self.interrupt_all(Interruption.RETURNED)
                await self._all_ended(INTERRUPTION_SECONDS)
        for run in list(self._runs.values()):
            logger.error("%s; it is handed back as it is", _deaf(self.on(run.task)))
            self._end(run, Outcome.returned())
            self.abandoned = True

    async def _all_ended(self, seconds: float) -> None:
        await asyncio.wait([run.task for run in self._runs.values() if run.task], timeout=seconds)

    def on(self, task: asyncio.Task[None] | None) -> str | None:
        """Which job that task of the loop runs, for people."""
        for run in list(self._runs.values()):
            if run.task is task:
                return f"job {run.claim.id} ({run.claim.task})"
        return None


def _deaf(job: str | None) -> str:
    return f"{job} does not end although it was cancelled"


def _stack(task: asyncio.Task[None] | None) -> str:
    """Where a task waits, down to the innermost coroutine. (`Task.get_stack` shows the outermost.)"""
    lines: list[str] = []
    waits: Any = None if task is None else task.get_coro()
    while waits is not None and (frame := getattr(waits, "cr_frame", None)) is not None:
        lines += traceback.format_stack(frame, limit=1)
        waits = waits.cr_await
    return "".join(lines[-FRAMES_SHOWN:])
