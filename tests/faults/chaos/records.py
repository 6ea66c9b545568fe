"""What a chaos run writes down beside the events that every history has."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from ..events import Event
from ..history import HistoryFile

__all__ = ["Existed", "Kept", "Ordered", "Refused", "Settled", "Written", "clock", "history_file"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled(Event):
    """An observer was told that the store has what became of a run."""

    job: str
    lease: int
    process: str
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Event):
    """Asking for something raised an error; whether it was done is not known."""

    process: str
    what: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Existed(Event):
    """In place of a new job, enqueuing gave one that was there."""

    job: str
    holder: str
    since: float
    """When it was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered(Event):
    """A transaction wrote an order beside its job. `done`: it committed; None: it broke off, and may have."""

    job: str
    done: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written(Event):
    """An order in the database at the end: a job's, or (`lease`) what a run wrote as it completed its job."""

    job: str
    lease: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept(Event):
    """A job as the store has it at the end: what `Found` does not say of it."""

    job: str
    token: str
    """By this name it was offered; "": by nobody, a schedule made it."""
    lease: int
    state: str
    result_lease: int | None
    """In whose name its result was returned."""
    error_lease: int | None
    reason: str
    ran: tuple[tuple[str, int, str, int], ...]
    """Its history: worker, claimed and ended (milliseconds, the store's clock), verdict."""
    created_ms: int
    finished_ms: int | None


def clock() -> float:
    """Seconds since 1970 on the machine's clock, which the stores go by too, and which no program of a run moves: what
    is wrong by an hour in some of them is `time.time`."""
    return time.clock_gettime(time.CLOCK_REALTIME)


def history_file(who: str) -> HistoryFile:
    """This program's own file in the run's folder."""
    folder = os.environ.get("CHAOS_FOLDER")
    return HistoryFile(Path(folder) / f"{who.replace(' ', '-')}.jsonl" if folder else Path(os.devnull))
