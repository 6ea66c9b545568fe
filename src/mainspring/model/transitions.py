"""The one place that decides what becomes of a job after a run: `decide(claim, outcome, now) -> Settlement`.

    outcome      becomes                                           attempt  crashes  postponed  history
    completed    completed                                         used              0          +1
    failed       scheduled while attempts are left, else dead      used              0          +1
    buried       dead                                              used              0          +1
    cancelled    cancelled                                         used              0          +1
    lost         queued, or dead as poison at `max_crashes`        -1       +1                  +1
    snoozed      scheduled                                         -1                +1
    rate limited queued, behind its gate, which is closed          -1                +1
    unknown      scheduled, later each time                        -1                +1
    returned     queued, or scheduled if it is to wait             -1

The claim counted the attempt already; "-1" takes it back.
"""

from __future__ import annotations

from mainspring.model import failure, history
from mainspring.model.backoff import Retry
from mainspring.model.durations import format_ms
from mainspring.model.job import Claim
from mainspring.model.options import MAX_CRASHES
from mainspring.model.outcome import ErrorRecord, Outcome, Verdict
from mainspring.model.settlement import Settlement
from mainspring.model.states import State
from mainspring.model.text import cut

__all__ = ["decide"]

_DEFAULT_RETRY = Retry()
_PARK_MS = 5_000
_MAX_PARK_MS = 600_000
_REASON_BYTES = 1024

_COMPLETED = Verdict.COMPLETED


def decide(
    claim: Claim,
    outcome: Outcome,
    now: int,
    *,
    retry: Retry = _DEFAULT_RETRY,
    chance: float = 0.5,
    max_crashes: int = MAX_CRASHES,
) -> Settlement:
    """What becomes of the job. `now` is the run's end on the store's clock; `chance`, in [0, 1), is the jitter's draw.

    Never raises: what user code in `retry` raises is shown in the settlement's reason, and the default rules apply.
    """
    verdict = outcome.verdict
    if verdict is _COMPLETED:
        attempts = history.append(claim.history, claim.attempt, claim.started_at, now, claim.worker, verdict)
        return Settlement(
            claim.id,
            claim.lease,
            State.COMPLETED,
            claim.attempt,
            claim.crashes,
            0,
            attempts,
            0,
            outcome.result,
            follow_ups=outcome.follow_ups,
        )
    match verdict:
        case Verdict.FAILED:
            return _failed(claim, outcome, now, retry, chance)
        case Verdict.BURIED:
            return _ended(claim, outcome, now, State.DEAD, _because("buried", outcome.reason))
        case Verdict.CANCELLED:
            return _ended(claim, outcome, now, State.CANCELLED, _because("cancelled", outcome.reason))
        case Verdict.LOST:
            return _lost(claim, outcome, now, max_crashes)
        case Verdict.SNOOZED:
            return _postponed(claim, outcome, outcome.delay_ms or 0)
        case Verdict.RATE_LIMITED:
            return _rate_limited(claim, outcome)
        case Verdict.UNKNOWN:
            # 5 s doubled seven times is over the cap, so that no power needs to be taken of a larger number.
            return _postponed(claim, outcome, min(_PARK_MS << min(claim.postponed, 7), _MAX_PARK_MS))
        case _:
            return _returned(claim, outcome)


def _failed(claim: Claim, outcome: Outcome, now: int, retry: Retry, chance: float) -> Settlement:
    name = outcome.error.type if outcome.error else "no error was recorded"
    if claim.attempt >= retry.attempts:
        reason = f"attempts used up ({claim.attempt} of {retry.attempts})"
        return _ended(claim, outcome, now, State.DEAD, reason)
    # A task that says when to run again says that it wants to, whatever `on` and `never` hold.
    allowed = outcome.again
    if allowed is None:
        allowed = outcome.delay_ms is not None or retry.allows(outcome.exception)
    if not allowed:
        return _ended(claim, outcome, now, State.DEAD, f"not retried: {name}")
    delay_ms = outcome.delay_ms
    reason = f"attempt {claim.attempt} of {retry.attempts} failed: {name}"
    if delay_ms is None:
        try:
            delay_ms = retry.delay_ms(claim.attempt, outcome.exception, chance)
        except Exception as error:  # noqa: BLE001 - foreign code
            delay_ms = _DEFAULT_RETRY.delay_ms(claim.attempt, None, chance)
            fault = failure.describe(error)
            reason = f"{reason}; its delay function failed too: {fault.type}: {fault.message}"
    return _ended(claim, outcome, now, State.SCHEDULED, reason, delay_ms)


def _ended(claim: Claim, outcome: Outcome, now: int, state: State, reason: str, delay_ms: int = 0) -> Settlement:
    """The run used its attempt."""
    error = outcome.error
    return Settlement(
        id=claim.id,
        lease=claim.lease,
        state=state,
        attempt=claim.attempt,
        crashes=claim.crashes,
        postponed=0,
        history=history.append(
            claim.history, claim.attempt, claim.started_at, now, claim.worker, outcome.verdict, error
        ),
        delay_ms=delay_ms,
        error=failure.to_text(error) if error else None,
        reason=cut(reason, _REASON_BYTES),
    )


def _lost(claim: Claim, outcome: Outcome, now: int, max_crashes: int) -> Settlement:
    crashes = claim.crashes + 1
    poison = crashes >= max_crashes
    who = "worker lost" if outcome.error is None else "process crashed"
    error = outcome.error or ErrorRecord("WorkerLost", f"worker {claim.worker} died while it ran this job", "")
    return Settlement(
        id=claim.id,
        lease=claim.lease,
        state=State.DEAD if poison else State.QUEUED,
        attempt=max(claim.attempt - 1, 0),
        crashes=crashes,
        postponed=claim.postponed,
        history=history.append(claim.history, claim.attempt, claim.started_at, now, claim.worker, Verdict.LOST, error),
        error=failure.to_text(error),
        reason="poison" if poison else f"{who} ({crashes} of {max_crashes})",
    )


def _postponed(claim: Claim, outcome: Outcome, delay_ms: int) -> Settlement:
    return Settlement(
        id=claim.id,
        lease=claim.lease,
        state=State.SCHEDULED,
        attempt=max(claim.attempt - 1, 0),
        crashes=claim.crashes,
        postponed=claim.postponed + 1,
        history=claim.history,
        delay_ms=delay_ms,
        reason=cut(outcome.reason or outcome.verdict, _REASON_BYTES),
    )


def _rate_limited(claim: Claim, outcome: Outcome) -> Settlement:
    """It keeps its place in the queue: it is the gate that waits, for everybody."""
    closed_ms = outcome.delay_ms or 0
    return Settlement(
        id=claim.id,
        lease=claim.lease,
        state=State.QUEUED,
        attempt=max(claim.attempt - 1, 0),
        crashes=claim.crashes,
        postponed=claim.postponed + 1,
        history=claim.history,
        reason=cut(_because(f"rate limited for {format_ms(closed_ms)}", outcome.reason), _REASON_BYTES),
        closed_ms=closed_ms,
    )


def _returned(claim: Claim, outcome: Outcome) -> Settlement:
    delay_ms = outcome.delay_ms or 0
    return Settlement(
        id=claim.id,
        lease=claim.lease,
        state=State.SCHEDULED if delay_ms else State.QUEUED,
        attempt=max(claim.attempt - 1, 0),
        crashes=claim.crashes,
        postponed=claim.postponed,
        history=claim.history,
        delay_ms=delay_ms,
        reason=cut(outcome.reason or outcome.verdict, _REASON_BYTES),
    )


def _because(what: str, why: str) -> str:
    return f"{what}: {why}" if why else what
