"""How the run of a job in a process ended: written there, read in the worker. Exceptions travel as text."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pydantic

from mainspring.errors import (
    Bury,
    Cancel,
    Directive,
    HandBack,
    InvalidDuration,
    MainspringError,
    MemoryExceeded,
    RateLimited,
    RetryAfter,
    Snooze,
    TaskFailed,
)
from mainspring.model import failure
from mainspring.model.backoff import Retry
from mainspring.model.durations import to_ms
from mainspring.model.job import NewJob
from mainspring.model.outcome import ErrorRecord
from mainspring.model.sizes import format_bytes
from mainspring.worker.calls import reason_of
from mainspring.worker.run import Run

__all__ = ["Stored", "Unfit", "completed", "failed", "outcome_of", "too_much", "unfit"]


@dataclass(frozen=True, slots=True)
class Stored:
    """A result that is JSON text already."""

    text: str


# --- in the process --------------------------------------------------------------------------------------------------


def completed(result: str, follow_ups: tuple[NewJob, ...]) -> dict[str, Any]:
    """The task has returned."""
    return {"end": "completed", "result": result, "follow_ups": [asdict(job) for job in follow_ups]}


def unfit(error: BaseException, run: Run) -> dict[str, Any]:
    """The task has returned what cannot be stored."""
    return {"end": "unfit", "message": run.shown(str(error)), "error": asdict(failure.describe(error, run.veil))}


def failed(error: BaseException, run: Run, retry: Retry, *, bounded: bool) -> dict[str, Any]:
    """The task has raised."""
    match error:
        case asyncio.CancelledError() if run.interruption is not None:
            return {"end": "interrupted"}
        case asyncio.CancelledError():
            error = MainspringError("the task raised CancelledError, though nobody had cancelled it")
        case MemoryError() if bounded:
            return {"end": "out of memory"}
        case RetryAfter() | Snooze() | RateLimited() | Bury() | Cancel() | HandBack():
            try:
                return _directed(error, run)
            except InvalidDuration as invalid:
                error = invalid
    return _raised(error, run, retry)


def _directed(error: RetryAfter | Snooze | RateLimited | Bury | Cancel | HandBack, run: Run) -> dict[str, Any]:
    name = next(name for kind, name in _DIRECTIVES.items() if isinstance(error, kind))
    document: dict[str, Any] = {"end": "directed", "directive": name}
    if isinstance(error, RetryAfter):
        cause = error.__cause__ or error
        return document | {"delay_ms": to_ms(error.delay), "error": asdict(failure.describe(cause, run.veil))}
    document["reason"] = reason_of(error, run)
    if isinstance(error, Snooze):
        document["delay_ms"] = to_ms(error.delay)
    if isinstance(error, RateLimited):
        document["delay_ms"] = to_ms(error.retry_after)
    return document


def _raised(error: BaseException, run: Run, retry: Retry) -> dict[str, Any]:
    """The retry rules are asked here, where the exception is."""
    document: dict[str, Any] = {"end": "raised", "error": asdict(failure.describe(error, run.veil))}
    try:
        document["again"] = retry.allows(error)
        if callable(retry.delay):
            document["delay_ms"] = retry.delay_ms(run.claim.attempt, error, random.random())
    except Exception:  # noqa: BLE001 - foreign code; whoever decides asks it again, and shows what it raises
        document.pop("again", None)
    return document


_DIRECTIVES: dict[type, str] = {
    RetryAfter: "RetryAfter",
    Snooze: "Snooze",
    RateLimited: "RateLimited",
    Bury: "Bury",
    Cancel: "Cancel",
    HandBack: "HandBack",
}

# --- in the worker ---------------------------------------------------------------------------------------------------


def outcome_of(document: Mapping[str, Any], run: Run, memory: int | None) -> Stored:
    """The result, or the exception, as if it had been raised here."""
    match document["end"]:
        case "completed":
            run.follow_ups += _follow_ups().validate_python(document["follow_ups"])
            return Stored(document["result"])
        case "unfit":
            raise Unfit(document["message"], ErrorRecord(**document["error"]))
        case "interrupted":
            raise asyncio.CancelledError
        case "out of memory":
            raise too_much(memory)
        case "directed":
            raise _directive(document)
    raise TaskFailed(**document["error"], again=document.get("again"), delay_ms=document.get("delay_ms"))


def too_much(memory: int | None) -> MemoryExceeded:
    """The job used more memory than it may."""
    return MemoryExceeded(f"the job used more than its memory of {format_bytes(memory or 0)}")


class Unfit(MainspringError):
    """A result that cannot be stored."""

    def __init__(self, message: str, record: ErrorRecord) -> None:
        super().__init__(message)
        self.record = record


def _directive(document: Mapping[str, Any]) -> Directive:
    seconds, reason = document.get("delay_ms", 0) / 1000, document.get("reason", "")
    match document["directive"]:
        case "RetryAfter":
            directive = RetryAfter(seconds)
            directive.__cause__ = TaskFailed(**document["error"])
            return directive
        case "Snooze":
            return Snooze(seconds, reason)
        case "RateLimited":
            return RateLimited(seconds, reason)
        case "Bury":
            return Bury(reason)
        case "HandBack":
            return HandBack(reason)
        case _:
            return Cancel(reason)


@functools.cache
def _follow_ups() -> pydantic.TypeAdapter[tuple[NewJob, ...]]:
    return pydantic.TypeAdapter(tuple[NewJob, ...])
