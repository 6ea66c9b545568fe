"""A job: as it is handed to the store, as a worker claims it, and as anyone reads it back.

Arguments, results, errors and histories are JSON *text* here and in every store: opaque strings, encoded and decoded
in one place (`codec`), so that no store ever has to understand, and can never spoil, what a user put in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from mainspring.model.noun import noun
from mainspring.model.states import State

__all__ = [
    "Claim",
    "Conflict",
    "Edge",
    "JobRecord",
    "Key",
    "LogLine",
    "NewJob",
    "Note",
    "Parent",
    "Piece",
    "Policy",
    "Until",
]


class Until(StrEnum):
    """What gives a key back."""

    STARTED = "started"
    """The job's first claim, or its end before that."""
    SETTLED = "settled"
    """The job's end."""
    RESOLVED = "resolved"
    """The job's end, unless it is dead: then its revival and a better end, or that it is gone."""
    EXPIRY = "expiry"
    """Time alone; the job may long have ended."""


class Conflict(StrEnum):
    """What becomes of a job whose key another job holds."""

    EXISTING = "existing"
    """It is not stored; whoever enqueued it gets the holder instead."""
    REJECT = "reject"
    """It is not stored; whoever enqueued it gets an error."""
    REPLACE = "replace"
    """It takes the holder's place, if that still waits: all that it was to be the holder is then, but for its id, task,
    flow and parents, the time at which it was made, and its past. Else EXISTING."""


@dataclass(frozen=True, slots=True)
class Key:
    """A name that at most one job holds. Taken when the job is inserted, given back by the state change itself."""

    name: str
    until: Until = Until.SETTLED
    expires_ms: int | None = None
    """How long after the insert it is given back at the latest. None: not by time."""
    on_conflict: Conflict = Conflict.EXISTING
    seats: int = 1
    """How many jobs may hold it, each on a seat of its own: `name#1`, `name#2` …"""
    max_delay_ms: int | None = None
    """REPLACE: no later than so long after the holder was inserted is it put off."""

    def held_as(self) -> tuple[str, ...]:
        """The names under which it can be held."""
        return (self.name,) if self.seats == 1 else tuple(f"{self.name}#{seat}" for seat in range(1, self.seats + 1))


class Policy(StrEnum):
    """What becomes of a child whose parent ends badly (dead, cancelled, deleted)."""

    FAIL = "fail"
    """It is cancelled, and so are its own children whose policy that is, all the way down."""
    IGNORE = "ignore"
    """Nothing: it runs as if the parent had completed, with no result of it."""
    RUN = "run"
    """It runs, and sees what failed."""
    DEAD = "dead"
    """It waits for just that: the first parent that is dead releases it. Where all have ended otherwise, it is
    cancelled."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A new job waits for a parent."""

    parent: str
    """The id of a job in the same request or in the store."""
    policy: Policy = Policy.FAIL
    wants_result: bool = False
    """Its result is to be handed to the child."""


@dataclass(frozen=True, slots=True)
class Parent:
    """A parent, as its child sees it."""

    id: str
    policy: Policy
    state: State | None
    """How it ended; CANCELLED for a deleted one. None: it has not ended."""
    result: str | None = None
    """JSON text; only where the edge wants it, and the parent has completed."""
    reason: str | None = None
    """Why it ended badly."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to insert. The id is made by the client, so that an insert sent twice has one effect."""

    id: str
    task: str
    queue: str = "default"
    args: str = "{}"
    """JSON object text: the arguments by name."""
    priority: int = 5
    """Lower runs first."""
    run_at: int | None = None
    """When to run, on the store's clock; None: now, or after `delay_ms`."""
    delay_ms: int = 0
    """How long after the insert to run, counted by the store's clock. Ignored when `run_at` is given."""
    options: str | None = None
    """JSON object text: what this job overrides of its task's options (`JobOptions`)."""
    keys: tuple[Key, ...] = ()
    """Looked at in this order; the first that is held decides."""
    partition: str = ""
    """Whose turn of its queue it takes; "" where the queue is not partitioned."""
    cost: int = 1
    """How many starts it counts for, where a rate limits them."""
    flow: str | None = None
    """The flow that it belongs to."""
    parents: tuple[Edge, ...] = ()
    """It is blocked until these have ended. No parent is named twice."""


@noun
class Claim:
    """One job in the hands of one worker. `lease` is the fence: every later write names it."""

    id: str
    lease: int
    """Raised by every claim and every reap of this job, never reset."""
    task: str
    queue: str
    args: str
    priority: int
    attempt: int
    """Which try this is, from 1. For the user; it can go back, and is never a fence."""
    crashes: int
    """How often a worker died with this job in its hands."""
    postponed: int
    """How often in a row the job came back without having used an attempt (snoozed, parked)."""
    created_at: int
    run_at: int
    started_at: int
    """When this try was claimed."""
    worker: str
    """Who runs this try. In a reaped claim: the worker that died with it."""
    history: str
    """JSON array text: the `Attempt`s before this one, oldest first."""
    options: str | None = None
    cancel_requested: bool = False
    """Somebody asked to cancel it before this try began."""
    partition: str = ""
    cost: int = 1
    flow: str | None = None
    checkpoint: str | None = None
    """JSON text: what an earlier run has saved of its work."""
    parents: tuple[Parent, ...] = ()
    """In the order of its edges. Empty in a reaped claim."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that a task logged with `ctx.log`."""

    at: int
    text: str
    place: int = field(default=0, compare=False)
    """Where the store has it: greater than that of every line before it. 0 in a note, which says that itself."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of what a run has put out with `ctx.output`."""

    text: str
    place: int = field(default=0, compare=False)
    """Where the store has it: greater than that of every piece before it."""

    @property
    def lease(self) -> int:
        """Whose output it is a piece of."""
        return self.place >> 32


@dataclass(frozen=True, slots=True)
class Note:
    """What a running job wants remembered: its latest progress, its checkpoint, its new log lines, its new output."""

    id: str
    lease: int
    progress: float | None = None
    """0 to 100; None leaves what is stored."""
    progress_text: str | None = None
    lines: tuple[LogLine, ...] = ()
    first: int = 0
    """The number of the first of these lines among all that were logged under this lease, from 0. The others follow."""
    checkpoint: str | None = None
    """JSON text; None leaves what is stored."""
    pieces: tuple[str, ...] = ()
    """New pieces of its output."""
    first_piece: int = 0
    """The number of the first of these among all under this lease, from 0. The others follow."""
    kept_from: int = 0
    """The number of the first piece under this lease that is to be kept."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as the store has it."""

    id: str
    task: str
    queue: str
    state: State
    args: str
    priority: int
    attempt: int
    crashes: int
    postponed: int
    lease: int
    created_at: int
    run_at: int
    started_at: int | None
    finished_at: int | None
    worker: str | None
    """Who runs it, or ran it last."""
    cancel_requested: bool
    progress: float | None
    progress_text: str | None
    result: str | None
    error: str | None
    """JSON object text of the last `ErrorRecord`."""
    reason: str | None
    """Why it is dead, cancelled, or waiting again."""
    history: str
    """JSON array text of `Attempt`s, oldest first."""
    options: str | None
    partition: str = ""
    cost: int = 1
    flow: str | None = None
    checkpoint: str | None = None
    """JSON text: what it has saved of its work. A completed job has none."""
    log: tuple[LogLine, ...] = ()
    """Filled only when asked for."""
    output: tuple[Piece, ...] = ()
    """What the latest run that put something out has put out; filled only together with the log."""
    parents: tuple[Parent, ...] = ()
    """Filled only when asked for; in the order of its edges."""
