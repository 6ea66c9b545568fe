"""What the code or an operator says about queues, tasks, schedules and workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mainspring.model.job import Key
from mainspring.model.limits import KEEP, NO_LIMITS, Keep, Limits, Rate
from mainspring.store.requests.beat import Command

Sequence = Literal["block", "skip"]
"""What a job of a sequence that is dead does to those behind it."""


@dataclass(frozen=True, slots=True)
class DefineQueue:
    """What the code says about a queue; what an operator says outlives it, setting by setting."""

    name: str
    concurrency: int | None = None
    rates: tuple[Rate, ...] = ()
    max_queued: int | None = None
    each: Limits = NO_LIMITS
    """What holds for every partition that has no word of its own."""
    partitions: tuple[tuple[str, Limits], ...] = ()
    """What holds for single ones, setting by setting."""
    sequence: Sequence | None = None


@dataclass(frozen=True, slots=True)
class DefineTask:
    """What the code says about a task's gate; what an operator says outlives it, setting by setting."""

    name: str
    concurrency: int | None = None
    rates: tuple[Rate, ...] = ()


@dataclass(frozen=True, slots=True)
class LimitQueue:
    """What an operator says about a queue's limits. None, (): no limit."""

    name: str
    concurrency: int | Keep | None = KEEP
    rates: tuple[Rate, ...] | Keep = KEEP
    max_queued: int | Keep | None = KEEP


@dataclass(frozen=True, slots=True)
class LimitPartition:
    """What an operator says about one partition, or (None) about every one that has no word of its own."""

    queue: str
    partition: str | None
    concurrency: int | Keep | None = KEEP
    rates: tuple[Rate, ...] | Keep = KEEP
    max_queued: int | Keep | None = KEEP
    weight: float | Keep = KEEP


@dataclass(frozen=True, slots=True)
class LimitTask:
    """What an operator says about a task's gate."""

    name: str
    concurrency: int | Keep | None = KEEP
    rates: tuple[Rate, ...] | Keep = KEEP


@dataclass(frozen=True, slots=True)
class PauseQueue:
    """Stop or go on claiming from a queue, or from one partition of it."""

    name: str
    paused: bool
    partition: str | None = None


@dataclass(frozen=True, slots=True)
class PutSchedule:
    """Create a schedule or change what it does.

    Where one of that name exists, whether it is paused stays; its `next_at` stays too unless `timing` changed.
    """

    name: str
    task: str
    timing: str
    """JSON object text: what `schedule.parse_timing` reads."""
    next_at: int
    queue: str = "default"
    args: str = "{}"
    priority: int = 5
    options: str | None = None
    keys: tuple[Key, ...] = ()
    """Which keys each of its jobs takes."""
    partition: str = ""
    cost: int = 1


@dataclass(frozen=True, slots=True)
class PauseSchedule:
    """Stop or go on ticking. A resumed schedule goes on at `next_at`: what it slept through is not a missed tick."""

    name: str
    paused: bool
    next_at: int | None = None
    """On resume: its next slot."""


@dataclass(frozen=True, slots=True)
class RemoveSchedule:
    """Forget a schedule; the jobs that it made stay."""

    name: str


@dataclass(frozen=True, slots=True)
class CommandWorker:
    """Leave a command for a worker, which reads it with its next beat."""

    id: str
    command: Command


Change = (
    DefineQueue
    | DefineTask
    | LimitQueue
    | LimitPartition
    | LimitTask
    | PauseQueue
    | PutSchedule
    | PauseSchedule
    | RemoveSchedule
    | CommandWorker
)
