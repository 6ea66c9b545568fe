"""Completes jobs in transactions of their tasks' own: what a run has done, and that it has completed, are one commit.

Whether that commit ever comes is not known here. The run remembers that its completion is written, and the settler
finds out from the store what became of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mainspring.errors import InvalidOption, LeaseLost, MainspringError, UnusableTransaction
from mainspring.model.clock import StoreClock
from mainspring.model.options import JobOptions
from mainspring.model.outcome import Outcome
from mainspring.model.transitions import decide
from mainspring.store.base import SettleRequest, Store
from mainspring.worker.notebook import Notebook
from mainspring.worker.run import Run
from mainspring.worker.settler import Settled

if TYPE_CHECKING:
    from mainspring.task import Task

__all__ = ["Completer"]


@dataclass(frozen=True, slots=True)
class Completer:
    """Writes settlements on connections that tasks lend."""

    store: Store
    tasks: Mapping[str, Task[..., Any]]
    clock: StoreClock
    notebook: Notebook
    told: Callable[[Settled], Settled] | None = None

    def complete(self, run: Run, result: object, tx: object) -> None:
        """Settle the run's job as completed, in the transaction that is open on that connection."""
        _refuse_on_loop(run, self.tasks[run.claim.task])
        settled, before = self._decide(run, result), run.completion
        borrowed = self.store.borrow(tx)
        try:
            request = self._begin(run, settled)
            applied = borrowed.run(request)
            self._check(run, applied)
        except MainspringError:
            self._undo(run, before)
            raise

    async def acomplete(self, run: Run, result: object, tx: object) -> None:
        """The same on an event loop."""
        settled, before = self._decide(run, result), run.completion
        borrowed = self.store.async_borrow(tx)
        try:
            request = self._begin(run, settled)
            applied = await borrowed.run(request)
            self._check(run, applied)
        except MainspringError:
            self._undo(run, before)
            raise

    def _decide(self, run: Run, result: object) -> Settled:
        claim = run.claim
        if run.lost:
            raise LeaseLost(_lost(run))
        if claim.options is not None and JobOptions.from_text(claim.options).each:
            raise InvalidOption(
                f"job {claim.id} calls {claim.task!r} for each of a chunk of items, and no one call can complete it; "
                "say map(..., chunk=1)"
            )
        text = self.tasks[claim.task].result_codec.encode(result)
        outcome, now = Outcome.completed(text, run.follow_ups), self.clock.now()
        settled = Settled(claim, outcome, decide(claim, outcome, now), now)
        return settled if self.told is None else self.told(settled)

    def _begin(self, run: Run, settled: Settled) -> SettleRequest:
        # Before anything is sent: whatever interrupts that, it may have been written.
        run.completion = settled
        request = SettleRequest((settled.settlement,), self.notebook.hold(run))
        if run.lost:
            # It was given up just now, by somebody who may not have seen that there is a completion to find out about.
            raise LeaseLost(_lost(run))
        return request

    def _check(self, run: Run, applied: frozenset[str]) -> None:
        if run.claim.id not in applied:
            raise LeaseLost(_lost(run))

    def _undo(self, run: Run, before: Settled | None) -> None:
        """Nothing was written."""
        run.completion = before
        if before is None:
            self.notebook.let_go(run)


def _refuse_on_loop(run: Run, task: Task[..., Any]) -> None:
    """It could wait for ever: for a lock that this worker holds on the job while it writes a note of it, and that it
    gives back as soon as its loop, which is held up, lets it."""
    if not task.is_async:
        return
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        raise UnusableTransaction(
            f"job {run.claim.id}: {run.claim.task!r} is an async function, and complete() would hold up the worker's "
            "event loop; say `await ctx.acomplete(...)` with an async connection"
        )


def _lost(run: Run) -> str:
    claim = run.claim
    return (
        f"job {claim.id} ({claim.task}): this run cannot complete it. Its lease {claim.lease} was lost and another "
        "worker has the job, or it was completed or deleted before; roll the transaction back"
    )
