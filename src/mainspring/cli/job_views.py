"""Jobs as the command line shows them: as JSON, as rows of a table, and one with everything about it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from mainspring.admin import ErrorGroup
from mainspring.cli.output import Column, ago, block, for_people, iso, one_line, say, span, table
from mainspring.job import Attempt, Job
from mainspring.model.states import FINAL, State

__all__ = ["error_group_json", "job_json", "show", "show_all", "show_error_groups", "whole_job_json"]

COLUMNS = (
    Column("ID", whole=True),
    Column("TASK"),
    Column("QUEUE", from_width=100),
    Column("STATE", is_state=True, whole=True),
    Column("TRIES", right=True, from_width=120),
    Column("WHEN", whole=True),
    Column("REASON", from_width=90),
)


ERROR_COLUMNS = (
    Column("JOBS", right=True, whole=True),
    Column("TASK", whole=True),
    Column("ERROR", whole=True),
    Column("MESSAGE", folds=True),
    Column("NEWEST", whole=True),
    Column("ONE OF THEM", whole=True, from_width=150),
)


def show_error_groups(groups: Iterable[ErrorGroup]) -> None:
    """A table of what jobs died of."""
    rows = [(f"{g.count:,}", g.task, g.type, g.message, ago(g.newest), g.ids[0]) for g in groups]
    table(ERROR_COLUMNS, rows)


def error_group_json(group: ErrorGroup) -> dict[str, Any]:
    """A group of dead letters."""
    return {
        "task": group.task,
        "type": group.type,
        "message": group.message,
        "example": group.example,
        "count": group.count,
        "newest": iso(group.newest),
        "oldest": iso(group.oldest),
        "ids": list(group.ids),
    }


def job_json(job: Job[Any]) -> dict[str, Any]:
    """What lists have of a job. The names stay as they are from version to version."""
    error = job.error
    return {
        "id": job.id,
        "task": job.task,
        "queue": job.queue,
        "partition": job.partition,
        "flow": job.flow_id,
        "state": job.state.value,
        "priority": job.priority,
        "args": job.shown_args(),
        "tags": list(job.tags),
        "attempt": job.attempt,
        "crashes": job.crashes,
        "created_at": iso(job.created_at),
        "run_at": iso(job.run_at),
        "started_at": iso(job.started_at),
        "finished_at": iso(job.finished_at),
        "worker": job.worker,
        "cancel_requested": job.cancel_requested,
        "progress": job.progress,
        "progress_text": job.progress_text,
        "reason": job.reason,
        "error": None if error is None else {"type": error.type, "message": error.message},
    }


def whole_job_json(job: Job[Any]) -> dict[str, Any]:
    """Everything about one job."""
    error = job.error
    whole = job_json(job) | {
        "result": None if job.record.result is None else json.loads(job.record.result),
        "options": None if job.record.options is None else json.loads(job.record.options),
        "checkpoint": job.checkpoint,
        "attempts": [_attempt_json(attempt) for attempt in job.attempts],
        "log": [{"at": iso(line.at), "text": line.text} for line in job.log],
    }
    if error is not None:
        whole["error"]["traceback"] = error.traceback
    return whole


def _attempt_json(attempt: Attempt) -> dict[str, Any]:
    error = attempt.error
    return {
        "number": attempt.number,
        "started_at": iso(attempt.started_at),
        "ended_at": iso(attempt.ended_at),
        "worker": attempt.worker,
        "verdict": attempt.verdict.value,
        "error": error and {"type": error.type, "message": error.message, "traceback": error.traceback},
    }


def show_all(jobs: Sequence[Job[Any]]) -> None:
    """A table of jobs."""
    table(COLUMNS, [_row(job) for job in jobs])


def _row(job: Job[Any]) -> tuple[str, ...]:
    # Its end, its start, or when it may run: whichever its state makes interesting.
    at = job.finished_at or (job.started_at if job.state is State.RUNNING else job.run_at)
    return job.id, job.task, job.queue, job.state, str(job.attempt), ago(at), _situation(job)


def _situation(job: Job[Any]) -> str:
    if job.state is State.RUNNING:
        parts = ["asked to cancel" if job.cancel_requested else "", _progress(job)]
        return ", ".join(part for part in parts if part)
    error = job.error
    return ": ".join(part for part in (job.reason, error.message if error else None) if part)


def _progress(job: Job[Any]) -> str:
    if job.progress is None:
        return ""
    return f"{job.progress:g} %" + (f" {job.progress_text}" if job.progress_text else "")


# --- one job with everything -----------------------------------------------------------------------------------------


def show(job: Job[Any], why: str | None = None) -> None:
    """Everything about one job, for people; `why` says why it is not running."""
    facts = {
        "task": job.task,
        "state": f"{job.state}, asked to cancel" if job.cancel_requested and job.state not in FINAL else job.state,
        "reason": job.reason,
        "why": why,
        "queue": f"{job.queue}, priority {job.priority}" + (f", partition {job.partition}" if job.partition else ""),
        "flow": job.flow_id,
        "tries": f"{job.attempt}" + (f", and {job.crashes} lost with their worker" if job.crashes else ""),
        "tags": ", ".join(job.tags),
        "options": job.record.options,
        "worker": job.worker,
        "progress": _progress(job),
    }
    say(f"job {one_line(job.id)}")
    for name, value in facts.items():
        if value:
            say(f"  {name:<9} {one_line(value)}")
    _section("arguments", json.dumps(job.shown_args(), indent=2, ensure_ascii=False))
    if job.record.result is not None:
        _section("result", json.dumps(json.loads(job.record.result), indent=2, ensure_ascii=False))
    if job.record.checkpoint is not None:
        _section("checkpoint", json.dumps(job.checkpoint, indent=2, ensure_ascii=False))
    _section("timeline", "\n".join(_timeline(job)))
    for text, tries in _errors(job).items():
        _section(f"error of {'try' if len(tries) == 1 else 'tries'} {', '.join(map(str, tries))}", text)
    if job.error is not None and not job.attempts:
        _section("error", job.error.traceback or f"{job.error.type}: {job.error.message}")
    if job.log:
        _section("log", "\n".join(f"{_clock(line.at)}  {_indented(line.text, 14)}" for line in job.log))


def _section(title: str, text: str) -> None:
    say(f"\n{title}")
    for line in block(text).rstrip().splitlines():
        say(f"  {line}")


def _indented(text: str, by: int) -> str:
    return text.replace("\n", "\n" + " " * by)


def _timeline(job: Job[Any]) -> Iterable[str]:
    """What happened and when, oldest first, with the time that went by in between."""
    events: list[tuple[datetime, str]] = [(job.created_at, "enqueued")]
    for attempt in job.attempts:
        events.append((attempt.started_at, f"try {attempt.number} began on worker {attempt.worker}"))
        events.append((attempt.ended_at, f"try {attempt.number} {attempt.verdict}{_because(attempt)}"))
    if job.state is State.RUNNING and job.started_at is not None:
        events.append((job.started_at, f"try {job.attempt} began on worker {job.worker}"))
    if job.state not in FINAL and job.state is not State.RUNNING:
        events.append((job.run_at, "may run" if job.state is State.SCHEDULED else "waits for a worker"))
    if job.finished_at is not None:
        events.append((job.finished_at, str(job.state)))
    # Enqueued comes first even where another machine's clock says otherwise.
    events[1:] = sorted(events[1:], key=lambda event: event[0])
    yield _event(*events[0])
    for (before, _), (at, what) in pairwise(events):
        passed = (at - before).total_seconds()
        yield _event(at, what) + (f"  (+{span(passed)})" if passed >= 0.001 else "")


def _errors(job: Job[Any]) -> dict[str, list[int]]:
    """Each traceback, and the tries that ended in it: most often it is one and the same."""
    tries: dict[str, list[int]] = {}
    for attempt in job.attempts:
        if attempt.error is not None:
            tries.setdefault(attempt.error.traceback or _told(attempt), []).append(attempt.number)
    return tries


def _event(at: datetime, what: str) -> str:
    return f"{_clock(at)}  {one_line(what)}"


def _because(attempt: Attempt) -> str:
    return f": {_told(attempt)}" if attempt.error else ""


def _told(attempt: Attempt) -> str:
    error = attempt.error
    return f"{error.type}: {error.message.partition(chr(10))[0]}" if error else ""


def _clock(at: datetime) -> str:
    if not for_people():
        return iso(at) or ""
    return at.astimezone().isoformat(sep=" ", timespec="milliseconds")[:23]
