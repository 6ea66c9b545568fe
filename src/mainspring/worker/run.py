"""One run of one job in this worker: what was claimed, who may interrupt it and why, what it notes."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING

from mainspring.model.job import Claim, NewJob

if TYPE_CHECKING:
    from mainspring.worker.settler import Settled

__all__ = ["Interruption", "Run"]


class Interruption(Enum):
    """Why a run should end before its task does."""

    CANCELLED = "somebody asked to cancel the job"
    RETURNED = "the worker stops and hands the job back"
    LOST = "the worker lost its lease: the job belongs to another one"


class Run:
    """A claim under way."""

    __slots__ = (
        "begun",
        "claim",
        "completion",
        "ended",
        "follow_ups",
        "interruption",
        "logged",
        "on_thread",
        "stopping",
        "task",
    )

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.interruption: Interruption | None = None
        self.stopping = False
        """True from when its worker begins to stop: it may go on for the grace period, and is handed back then."""
        self.on_thread = False
        """True while a plain function works on it: such a run can be told to stop, but not made to."""
        self.task: asyncio.Task[None] | None = None
        self.begun = False
        """True from its first step on: a task that is cancelled before would never take it, and leave no outcome."""
        self.ended = False
        """True once its outcome is with the settler."""
        self.follow_ups: tuple[NewJob, ...] = ()
        """The jobs that it leaves behind if it completes."""
        self.logged = 0
        """How many log lines it has written."""
        self.completion: Settled | None = None
        """What it has written in a transaction of its task's: that the job has completed, if that is ever committed."""

    @property
    def lost(self) -> bool:
        """Whether the job is no more its own."""
        return self.ended or self.interruption is Interruption.LOST

    def interrupt(self, why: Interruption) -> None:
        """Ask the run to end. The first reason given stays, unless the job has been lost since."""
        if self.interruption is None or why is Interruption.LOST:
            self.interruption = why
        # A thread cannot be ended from outside. For a cancel it is left to its task to look at `ctx.cancelled`; where
        # the worker stops or has lost the job, the run is given up and the thread left to itself.
        if self.task is not None and self.begun and not (self.on_thread and why is Interruption.CANCELLED):
            self.task.cancel()
