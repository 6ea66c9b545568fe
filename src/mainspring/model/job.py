"""A job: as it is handed to the store, as a worker claims it, and as anyone reads it back.

Arguments, results, errors and histories are JSON *text* here and in every store: opaque strings, encoded and decoded
in one place (`codec`), so that no store ever has to understand, and can never spoil, what a user put in.
"""

from __future__ import annotations

from dataclasses import dataclass

from mainspring.model.states import State

__all__ = ["Claim", "JobRecord", "LogLine", "NewJob", "Note"]


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


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that a task logged with `ctx.log`."""

    at: int
    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """What a running job wants remembered: its latest progress and its new log lines."""

    id: str
    lease: int
    progress: float | None = None
    """0 to 100; None leaves what is stored."""
    progress_text: str | None = None
    lines: tuple[LogLine, ...] = ()


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
    log: tuple[LogLine, ...] = ()
    """Filled only when asked for."""
