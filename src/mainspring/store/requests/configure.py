"""configure: changes → the settings as they are then."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from mainspring.model.audit import AuditEntry
from mainspring.model.job import Key
from mainspring.model.limits import NO_LIMITS, Limits, Rate
from mainspring.store.requests.beat import Command
from mainspring.store.requests.changes import Change, Sequence
from mainspring.store.requests.request import Request


@dataclass(frozen=True, slots=True)
class QueueRecord:
    """A queue's settings, as they are in force: the operator's word where there is one, else the code's."""

    name: str
    paused_at: int | None = None
    concurrency: int | None = None
    rates: tuple[Rate, ...] = ()
    max_queued: int | None = None
    each: Limits = NO_LIMITS
    """What holds for every partition that has no word of its own."""
    sequence: Sequence | None = None
    opens_at: int | None = None
    """When time lets the next job of cost 1 through; None: at once."""


@dataclass(frozen=True, slots=True)
class PartitionRecord:
    """A partition's settings, as they are in force."""

    queue: str
    name: str
    paused_at: int | None = None
    limits: Limits = NO_LIMITS
    opens_at: int | None = None
    holder: str | None = None
    """In a sequence: the job that has started and not ended for good."""


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A task's gate, as it is in force."""

    name: str
    concurrency: int | None = None
    rates: tuple[Rate, ...] = ()
    opens_at: int | None = None


@dataclass(frozen=True, slots=True)
class ScheduleRecord:
    """A schedule as the store has it."""

    name: str
    task: str
    queue: str
    args: str
    priority: int
    options: str | None
    timing: str
    next_at: int
    last_at: int | None
    """The slot that was served last."""
    paused_at: int | None
    keys: tuple[Key, ...] = ()
    partition: str = ""
    cost: int = 1


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """A worker as the store has it."""

    id: str
    name: str
    queues: tuple[str, ...]
    tasks: tuple[str, ...]
    concurrency: int
    running: int
    quiet: bool
    started_at: int
    beat_at: int
    expires_at: int
    command: Command | None
    memory: int | None = None
    """As its last beat said; None: it said nothing of that, as those of older versions do not."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The part of the settings that was asked for, after the changes."""

    now: int
    changed: int = 0
    """How many of the changes found what they name (a pause of an unknown schedule does not)."""
    queues: tuple[QueueRecord, ...] = ()
    schedules: tuple[ScheduleRecord, ...] = ()
    workers: tuple[WorkerRecord, ...] = ()
    next_tick: int | None = None
    """The smallest `next_at` of all schedules that are not paused."""
    tasks: tuple[TaskRecord, ...] = ()
    """Those that have, or had, a gate."""
    partitions: tuple[PartitionRecord, ...] = ()
    audit: tuple[AuditEntry, ...] = ()


Readable = Literal["queues", "schedules", "due", "workers", "tasks", "partitions", "audit"]


@dataclass(frozen=True, slots=True)
class ConfigureRequest(Request[Settings]):
    """Applies `changes` together, then reads what `read` names.

    "due": the schedules that are not paused and whose `next_at` has come, at most `limit`, earliest first.
    "partitions": those with settings of their own (limits, a pause), at most `limit`, by queue and name; and the one
    that `partition` names, by queue and name, whatever it has.
    "audit": the entries of the audit log, newest first, at most `limit`, those before the place `before` (time and id).

    `audit` is what somebody does thereby: it is written with the changes, and its count is how many of them found what
    they name. Without changes it is written as it is. Of one that is there already the time stays as it is, and the
    count only rises: what goes on for long says again and again how far it has come.
    """

    operation: ClassVar[str] = "configure"
    changes: tuple[Change, ...] = ()
    read: frozenset[Readable] = field(default_factory=frozenset)
    limit: int = 1000
    partition: tuple[str, str] | None = None
    audit: AuditEntry | None = None
    before: tuple[int, str] | None = None
    now: int | None = None
