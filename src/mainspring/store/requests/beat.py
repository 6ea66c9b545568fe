"""beat and reap: who is alive, and what those who are not leave behind."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Literal

from mainspring.model.job import Claim
from mainspring.model.stats import Report
from mainspring.store.requests.request import Request


class Command(StrEnum):
    """What an operator asks of a worker."""

    QUIET = "quiet"
    """Claim no more; go on with what is running."""
    STOP = "stop"
    """Stop gracefully."""


@dataclass(frozen=True, slots=True)
class Presence:
    """A worker as it describes itself with every beat."""

    id: str
    name: str
    """For people: host and process id."""
    queues: tuple[str, ...]
    tasks: tuple[str, ...]
    concurrency: int
    running: int
    lease_ms: int
    """How long from this beat the store counts it as alive."""
    quiet: bool = False
    memory: int | None = None
    """How many bytes of memory it has, with the processes in which its jobs run. None: that is not known."""


@dataclass(frozen=True, slots=True)
class BeatReply:
    """What the store has to say to a worker."""

    alive: bool
    """False: the store gave this worker up. Whatever it runs belongs to others; it must register anew, by a new id."""
    now: int
    cancelled: tuple[tuple[str, int], ...] = ()
    """Ids and leases of its running jobs that somebody asked to cancel."""
    command: Command | None = None


@dataclass(frozen=True, slots=True)
class BeatRequest(Request[BeatReply]):
    """`join` registers the worker, `stay` renews its lease if it still has one, `look` only reads, `leave` takes it off
    the list.

    `stats` is what it has counted, whether it is alive or not; not with `look`. A report that the store has already, by
    its source and number, is not counted again.
    """

    operation: ClassVar[str] = "beat"
    presence: Presence
    phase: Literal["join", "stay", "look", "leave"] = "stay"
    stats: tuple[Report, ...] = ()
    """In the order of their numbers."""
    now: int | None = None


@dataclass(frozen=True, slots=True)
class ReapRequest(Request[tuple[Claim, ...]]):
    """Running jobs whose worker is gone are leased anew to the caller, who decides what becomes of them.

    Nothing else changes: attempt, start and (in the reply) the dead worker's id are as they were. The caller must be
    alive itself, else it gets nothing. Workers that are past their lease and own no more jobs are taken off the list.
    """

    operation: ClassVar[str] = "reap"
    worker: str
    limit: int
    now: int | None = None
