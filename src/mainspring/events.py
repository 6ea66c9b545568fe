"""What an app can be told about: `@app.on("completed", "dead")`.

A worker tells it once the store has it: whoever hears of `completed` can read the result. A worker that is killed at
the wrong moment tells nobody, so events are for metrics, logs and notices; what must happen is a job's work.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from mainspring.job import Job
from mainspring.model.outcome import ErrorRecord

__all__ = ["EVENT_NAMES", "Event", "EventName", "Observer"]

EventName = Literal["started", "completed", "retried", "snoozed", "dead", "cancelled", "returned", "crashed", "parked"]
"""started: a worker begins a run · completed, dead, cancelled: the job has ended · retried: a run failed, another will
come · snoozed: the task asked to run later, or was rate limited · returned: a stopping worker handed the job back ·
crashed: its worker died · parked: the worker that claimed it does not know its task, or lacks a key that its
arguments are encrypted with."""

EVENT_NAMES: tuple[EventName, ...] = get_args(EventName)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one job."""

    name: EventName
    job: Job[Any]
    """The job as it was when it happened; `job.refresh()` gives it as it is now."""
    at: datetime
    error: ErrorRecord | None = None
    """What a failed run raised."""
    reason: str | None = None
    """Why the job is dead, cancelled or waiting again."""

    @property
    def task(self) -> str:
        """The name of the job's task."""
        return self.job.task

    @property
    def attempt(self) -> int:
        """Which try this was about, from 1."""
        return self.job.attempt


Observer = Callable[[Event], Awaitable[None] | None]
"""Takes an event; a plain function or an async one. What it raises is logged, and changes nothing for the job."""
