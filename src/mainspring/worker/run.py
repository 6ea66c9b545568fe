"""One run of one job in this worker: what was claimed, who may interrupt it and why, what it notes.

A run is interrupted in steps, each harder than the one before, with the task's grace between them:

    async function   cancelled                                                      abandoned
    on a thread      (cancelled: sees ctx.cancelled)   an exception raised in it    the thread left behind   abandoned
    in a process     an exception raised in it                                      the process killed       abandoned

Abandoned: its outcome is settled, whatever it still does. Where the job belongs to another worker already, the gentle
steps are left out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from mainspring.model.durations import format_ms
from mainspring.model.job import Claim, NewJob
from mainspring.model.options import TASK_GRACE_MS, TaskOptions
from mainspring.model.veil import Veil

if TYPE_CHECKING:
    from mainspring.worker.output import Output
    from mainspring.worker.settler import Settled

__all__ = ["Body", "Interruption", "Run"]

logger = logging.getLogger("mainspring.worker")


class Interruption(Enum):
    """Why a run should end before its task does."""

    CANCELLED = "somebody asked to cancel the job"
    TIMED_OUT = "the job ran longer than its timeout"
    RETURNED = "the worker stops and hands the job back"
    LOST = "the worker lost its lease: the job belongs to another one"


class Body(Protocol):
    """What works on a run where the event loop cannot cancel it: a thread, or a process."""

    def ask(self, times: int, why: Interruption, text: str) -> bool:
        """Ask it to end, for the so-manieth time. False: there is no gentler way left than giving it up."""

    def warn(self) -> None:
        """Tell it that its worker begins to stop."""

    def where(self) -> str:
        """Where it stands, for people: its stack, where that can be had."""


class Run:
    """A claim under way. `abandon` is called once it has been interrupted in every way, and goes on."""

    __slots__ = (
        "_abandon",
        "_asked",
        "_given_up",
        "_timer",
        "begun",
        "body",
        "claim",
        "completion",
        "ended",
        "follow_ups",
        "grace_ms",
        "interruption",
        "logged",
        "output",
        "stopping",
        "task",
        "timeout_ms",
        "veil",
    )

    def __init__(self, claim: Claim, abandon: Callable[[Run], object] | None = None) -> None:
        self.claim = claim
        self.interruption: Interruption | None = None
        self.stopping = False
        """True from when its worker begins to stop: it may go on for the grace period, and is handed back then."""
        self.body: Body | None = None
        """What works on it now, if that is not the event loop."""
        self.task: asyncio.Task[None] | None = None
        self.begun = False
        """True from its first step on: a task that is cancelled before would never take it, and leave no outcome."""
        self.ended = False
        """True once its outcome is with the settler."""
        self.follow_ups: tuple[NewJob, ...] = ()
        """The jobs that it leaves behind if it completes."""
        self.logged = 0
        """How many log lines it has written."""
        self.output: Output | None = None
        """What it has put out, by number and size. None: nothing."""
        self.completion: Settled | None = None
        """What it has written in a transaction of its task's: that the job has completed, if that is ever committed."""
        self.timeout_ms: int | None = None
        self.grace_ms = TASK_GRACE_MS
        self.veil: Veil | None = None
        """Hides its secrets in what it says. None: it has none."""
        self._abandon = abandon
        self._timer: asyncio.TimerHandle | None = None
        self._asked = 0
        """How often its body was asked to end."""
        self._given_up = False
        """True once nobody waits for its body any more."""

    def shown(self, text: str) -> str:
        """What it says, as anybody may see it."""
        return text if self.veil is None else self.veil(text)

    def stop(self) -> None:
        """Its worker begins to stop."""
        self.stopping = True
        if self.body is not None:
            self.body.warn()

    @property
    def lost(self) -> bool:
        """Whether the job is no more its own."""
        return self.ended or self.interruption is Interruption.LOST

    @property
    def overtime(self) -> str:
        """What is said of a run that has timed out."""
        late = f"the job ran longer than its timeout of {format_ms(self.timeout_ms or 0)}"
        return f"{late}, and did not end when it was told to" if self._given_up and self._asked > 1 else late

    def limit(self, options: TaskOptions) -> None:
        """From now on its time is running."""
        self.grace_ms = options.grace_ms
        if options.timeout_ms is not None and self.interruption is None and not self.ended:
            self.timeout_ms = options.timeout_ms
            self._set_timer(options.timeout_ms, self._time_out)

    def interrupt(self, why: Interruption) -> None:
        """Ask the run to end, or ask again. The first reason given stays, unless the job has been lost since."""
        if self.interruption is None or why is Interruption.LOST:
            self.interruption = why
        if self.task is None or not self.begun or self.ended:
            return
        self._press()
        if why is not Interruption.RETURNED:
            # A worker that stops sets the pace itself.
            self._set_timer(self.grace_ms, self._insist)

    def end(self) -> None:
        """Its outcome is with the settler."""
        self.ended = True
        if self._timer is not None:
            self._timer.cancel()

    def _time_out(self) -> None:
        if self.interruption is None:
            self.interrupt(Interruption.TIMED_OUT)

    def _insist(self) -> None:
        """Its grace is over."""
        if self.ended:
            return
        if self._given_up:
            self._asked += 1
            if self._abandon is not None:
                self._abandon(self)
            return
        stood = "" if self.body is None else self.body.where()
        self._press()
        if self._given_up:
            logger.error(
                "job %s (%s) has not ended although it was told to (%s), and is given up%s",
                self.claim.id,
                self.claim.task,
                (self.interruption or Interruption.LOST).value,
                stood and f": {stood}",
            )
        self._set_timer(self.grace_ms, self._insist)

    def _press(self) -> None:
        """The next step."""
        why = self.interruption or Interruption.LOST
        self._asked += 1
        text = self.overtime if why is Interruption.TIMED_OUT else why.value
        if self.body is not None and self.body.ask(self._asked, why, text):
            return
        self._given_up = True
        if self.task is not None:
            self.task.cancel()

    def _set_timer(self, ms: int, then: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(ms / 1000, then)
