"""What a run came to, before anyone has decided what that means for the job."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from mainspring.model.job import NewJob
from mainspring.model.noun import noun

__all__ = ["ErrorRecord", "Outcome", "Verdict"]


class Verdict(StrEnum):
    """The ways in which a run can end."""

    COMPLETED = "completed"
    FAILED = "failed"
    SNOOZED = "snoozed"
    RATE_LIMITED = "rate limited"
    """Others want no more for a while; nothing starts through the job's gate until then."""
    BURIED = "buried"
    CANCELLED = "cancelled"
    LOST = "lost"
    """The worker, or the job's own process, died with the job in its hands."""
    UNKNOWN = "unknown"
    """The worker does not know the task, or lacks the key that its arguments are encrypted with."""
    RETURNED = "returned"
    """The worker, or the run itself, hands the job back."""


@dataclass(frozen=True, slots=True)
class ErrorRecord:
    """An exception as it is stored: plain text that every store can keep."""

    type: str
    message: str
    traceback: str


@noun
class Outcome:
    """What one run came to. Made by the named constructors, read by `transitions.decide` alone."""

    verdict: Verdict
    result: str | None = None
    error: ErrorRecord | None = None
    delay_ms: int | None = None
    reason: str = ""
    exception: BaseException | None = field(default=None, compare=False)
    """The live exception of a failed run, for retry rules that look at it."""
    follow_ups: tuple[NewJob, ...] = ()
    """The jobs that a completed run leaves behind."""
    again: bool | None = None
    """Whether the retry rules let it be tried again, where they were asked already: in the process that had the live
    exception. None: they were not."""

    @classmethod
    def completed(cls, result: str, follow_ups: tuple[NewJob, ...] = ()) -> Outcome:
        """The task returned; `result` is its encoded value."""
        return cls(Verdict.COMPLETED, result, follow_ups=follow_ups)

    @classmethod
    def failed(
        cls,
        error: ErrorRecord,
        exception: BaseException | None = None,
        *,
        delay_ms: int | None = None,
        again: bool | None = None,
    ) -> Outcome:
        """The task raised. `delay_ms` is what `RetryAfter` asked for; None leaves it to the retry rules."""
        return cls(Verdict.FAILED, error=error, delay_ms=delay_ms, exception=exception, again=again)

    @classmethod
    def snoozed(cls, delay_ms: int, reason: str = "") -> Outcome:
        """The task asked to run later, without using an attempt."""
        return cls(Verdict.SNOOZED, delay_ms=delay_ms, reason=reason)

    @classmethod
    def rate_limited(cls, delay_ms: int, reason: str = "") -> Outcome:
        """The task was told "too many requests": nothing is to start through its gate for so long."""
        return cls(Verdict.RATE_LIMITED, delay_ms=delay_ms, reason=reason)

    @classmethod
    def buried(cls, reason: str, error: ErrorRecord | None = None) -> Outcome:
        """Not worth another try: straight to the dead letters."""
        return cls(Verdict.BURIED, error=error, reason=reason)

    @classmethod
    def cancelled(cls, reason: str) -> Outcome:
        """The run was cancelled, from outside or by the task itself."""
        return cls(Verdict.CANCELLED, reason=reason)

    @classmethod
    def lost(cls, error: ErrorRecord | None = None) -> Outcome:
        """The worker that ran it died, or (with an error that says how) the process that it alone ran in."""
        return cls(Verdict.LOST, error=error)

    @classmethod
    def unknown(cls, task: str) -> Outcome:
        """This worker has no task of that name; another may."""
        return cls(Verdict.UNKNOWN, reason=f"no worker that claimed it knows task {task!r}")

    @classmethod
    def locked(cls, reason: str) -> Outcome:
        """This worker cannot read the job's arguments; another may, or this one once it has the key."""
        return cls(Verdict.UNKNOWN, reason=reason)

    @classmethod
    def returned(cls) -> Outcome:
        """The worker stopped before the run ended and hands the job back."""
        return cls(Verdict.RETURNED, reason="handed back by a stopping worker")

    @classmethod
    def handed_back(cls, reason: str = "", delay_ms: int = 0) -> Outcome:
        """The task ended its run early, to be gone on with elsewhere."""
        return cls(Verdict.RETURNED, delay_ms=delay_ms, reason=f"handed back: {reason}" if reason else "handed back")

    @classmethod
    def quarantined(cls, delay_ms: int) -> Outcome:
        """The job may have killed a worker, and another such one runs: it did not begin."""
        return cls(Verdict.RETURNED, delay_ms=delay_ms, reason="in quarantine: a worker died while it ran this job")
