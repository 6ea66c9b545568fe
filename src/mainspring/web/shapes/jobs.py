"""Jobs in JSON: in short, as lists have them, and whole."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field

from mainspring.clock import moment
from mainspring.errors import ConfigurationError
from mainspring.job import Attempt, Job
from mainspring.model.durations import to_ms
from mainspring.model.job import Parent
from mainspring.model.options import JobOptions
from mainspring.model.outcome import ErrorRecord, Verdict
from mainspring.model.states import State
from mainspring.model.text import cut
from mainspring.web.shapes.base import AnyJson, JsonObject, Moment, Shape

__all__ = [
    "AttemptShape",
    "BriefErrorShape",
    "ErrorShape",
    "JobOptionsShape",
    "JobShape",
    "LogLineShape",
    "ParentShape",
    "WholeJobShape",
    "job_shape",
    "whole_job_shape",
]


ARGS_IN_LISTS = 16 * 1024
MESSAGE_IN_LISTS = 1000


class BriefErrorShape(Shape):
    """What a run raised."""

    type: str
    message: str = Field(description="In lists cut at 1,000 bytes.")


class ErrorShape(BriefErrorShape):
    """What a run raised, and where."""

    traceback: str


class JobShape(Shape):
    """A job, as lists have it."""

    id: str
    task: str
    queue: str
    partition: str = Field(description='Of its queue; "": none.')
    flow: str | None = Field(description="The id of the flow that it belongs to.")
    state: State
    priority: int = Field(description="Lower runs first.")
    cost: int = Field(description="How many starts it counts for, where a rate limits them.")
    tags: list[str] = Field(description="Words by which it can be found.")
    args: JsonObject | None = Field(
        description="Its arguments by name, secrets hidden; in lists null where they are over 16 KiB."
    )
    attempt: int = Field(description="How many attempts it has used, the one that runs now included.")
    crashes: int = Field(description="How often a worker died while it ran this job.")
    created_at: Moment
    run_at: Moment = Field(description="From when on it may run.")
    started_at: Moment | None = Field(description="When its latest run began.")
    finished_at: Moment | None
    worker: str | None = Field(description="The id of the worker that runs it, or ran it last.")
    cancel_requested: bool
    progress: float | None = Field(description="0 to 100; null: its task has not said.")
    progress_text: str | None
    reason: str | None = Field(description="Why it is dead, cancelled, or waiting again.")
    error: BriefErrorShape | None = Field(description="What its latest failed run raised.")


class AttemptShape(Shape):
    """A run that has ended."""

    number: int = Field(description="From 1. One that was lost shares its number with the one after it.")
    started_at: Moment
    ended_at: Moment
    worker: str
    verdict: Verdict
    error: ErrorShape | None


class LogLineShape(Shape):
    """A line that its task logged."""

    at: Moment
    text: str


class ParentShape(Shape):
    """A job that it waits for, or waited for."""

    id: str
    policy: Literal["fail", "ignore", "run", "dead"] = Field(description="What becomes of it when that one ends badly.")
    state: State | None = Field(description="How that one ended; null: it has not.")
    reason: str | None = Field(description="Why that one ended badly.")


class JobOptionsShape(Shape):
    """What it was enqueued with, in place of its task's own; null: the task's holds."""

    attempts: int | None
    retry_delay_seconds: list[float] | None = Field(description="The first one grows by the factor if it is alone.")
    retry_factor: float | None
    max_retry_delay_seconds: float | None
    timeout_seconds: float | None
    deadline_seconds: float | None = Field(description="How long after it was enqueued it is worth starting.")
    deadline_at: Moment | None


class WholeJobShape(JobShape):
    """Everything about one job."""

    args: JsonObject = Field(description="Its arguments by name, secrets hidden.")
    error: ErrorShape | None = Field(description="What its latest failed run raised.")
    why: str = Field(description="One sentence that says why it is not running, or what became of it.")
    result: AnyJson = Field(description="What its task returned; null until it has completed.")
    checkpoint: AnyJson = Field(description="What its runs have saved of their work so far.")
    options: JobOptionsShape
    parents: list[ParentShape]
    attempts: list[AttemptShape] = Field(description="Oldest first; the newest 50 are kept.")
    output: str = Field(description="What its latest run that put something out has put out so far.")
    log: list[LogLineShape] = Field(description="Oldest first; the newest 1,000 lines are kept.")


def job_shape(job: Job[Any]) -> JobShape:
    """A job as it was last seen, cut short: a list of the largest could be shown too."""
    return JobShape(
        **_common(job),
        args=job.shown_args() if len(job.record.args) <= ARGS_IN_LISTS else None,
        error=None if (error := job.error) is None else _brief(error),
    )


def whole_job_shape(job: Job[Any], why: str) -> WholeJobShape:
    """Everything about a job that was looked up with its log and its parents, and why it is not running."""
    record = job.record
    return WholeJobShape(
        **_common(job),
        args=job.shown_args(),
        error=None if (error := job.error) is None else _error(error),
        why=why,
        result=None if record.result is None else json.loads(record.result),
        checkpoint=job.checkpoint,
        options=_options(_options_of(job)),
        parents=[_parent(parent) for parent in record.parents],
        attempts=[_attempt(attempt) for attempt in job.attempts],
        output=job.output,
        log=[LogLineShape(at=line.at, text=line.text) for line in job.log],
    )


def _common(job: Job[Any]) -> dict[str, Any]:
    return {
        "id": job.id,
        "task": job.task,
        "queue": job.queue,
        "partition": job.partition,
        "flow": job.flow_id,
        "state": job.state,
        "priority": job.priority,
        "cost": job.cost,
        "attempt": job.attempt,
        "crashes": job.crashes,
        "created_at": job.created_at,
        "run_at": job.run_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "worker": job.worker,
        "cancel_requested": job.cancel_requested,
        "progress": job.progress,
        "progress_text": job.progress_text,
        "reason": job.reason,
        "tags": list(job.tags),
    }


def _brief(error: ErrorRecord) -> BriefErrorShape:
    return BriefErrorShape(type=error.type, message=cut(error.message, MESSAGE_IN_LISTS))


def _error(error: ErrorRecord) -> ErrorShape:
    return ErrorShape(type=error.type, message=error.message, traceback=error.traceback)


def _attempt(attempt: Attempt) -> AttemptShape:
    return AttemptShape(
        number=attempt.number,
        started_at=attempt.started_at,
        ended_at=attempt.ended_at,
        worker=attempt.worker,
        verdict=attempt.verdict,
        error=None if attempt.error is None else _error(attempt.error),
    )


def _parent(parent: Parent) -> ParentShape:
    return ParentShape(id=parent.id, policy=parent.policy.value, state=parent.state, reason=parent.reason)


def _options_of(job: Job[Any]) -> JobOptions:
    try:
        return JobOptions.from_text(job.record.options)
    except ConfigurationError:
        # Whatever wrote them was not this program. The job is to be seen all the same.
        return JobOptions()


def _options(options: JobOptions) -> JobOptionsShape:
    stored = {} if options.retry is None else options.retry.to_json()
    delay = stored.get("delay")
    return JobOptionsShape(
        attempts=stored.get("attempts"),
        retry_delay_seconds=None if delay is None else [to_ms(each) / 1000 for each in _several(delay)],
        retry_factor=stored.get("factor"),
        max_retry_delay_seconds=to_ms(stored["max_delay"]) / 1000 if stored else None,
        timeout_seconds=None if options.timeout_ms is None else options.timeout_ms / 1000,
        deadline_seconds=None if options.deadline_ms is None else options.deadline_ms / 1000,
        deadline_at=None if options.deadline_at is None else moment(options.deadline_at),
    )


def _several(delay: Any) -> tuple[Any, ...]:
    return delay if isinstance(delay, tuple) else (delay,)
