"""What is written down while faults rage: one frozen value per event, one JSON line per value.

Every actor writes what it sees itself, in its own words: producers what they asked for and what was acknowledged, task
functions that they began and ended, whoever breaks things what was broken, and, where it can be seen, the store what
became of each job. `at` is in seconds, on one clock that all actors of a history share and that nobody moves.

An event that says what somebody is about to do is written before he does it, one that says what he has seen, after.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

__all__ = [
    "Acknowledged",
    "Altered",
    "Ended",
    "Event",
    "Fault",
    "FaultsOver",
    "Found",
    "Limited",
    "Moved",
    "Offered",
    "Renewed",
    "Started",
    "Ticking",
    "from_line",
    "to_line",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that somebody saw."""

    kinds: ClassVar[dict[str, type[Event]]] = {}
    at: float

    def __init_subclass__(cls) -> None:
        Event.kinds[cls.__name__] = cls


# --- producers and operators -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered(Event):
    """A job is about to be enqueued, whatever comes of it."""

    job: str
    task: str
    queue: str = "default"
    partition: str = ""
    keys: tuple[str, ...] = ()
    """Names that it holds from its insert until it has ended."""
    parents: tuple[str, ...] = ()
    """Jobs that must all have ended before it starts."""
    attempts: int = 8
    cost: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged(Event):
    """`enqueue` has returned."""

    job: str
    stored: bool = True
    """False: it was turned away, by a key of it that another job has, or by a full queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Altered(Event):
    """An operator is about to ask for something; jobs that it concerns may be hit by it from now on."""

    job: str
    verb: Literal["cancel", "revive", "reschedule", "reprioritise", "delete"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited(Event):
    """From now on a gate has these limits. What makes it tighter is written after the reply, what widens it before the
    request. A pause is a concurrency of 0."""

    gate: Literal["queue", "partition", "task"]
    name: str
    """For a partition `QUEUE/PARTITION`."""
    concurrency: int | None = None
    rates: tuple[tuple[int, int], ...] = ()
    """(how many, in how many milliseconds)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticking(Event):
    """A schedule whose missed slots are all made up for must by the end have had one job for each of these."""

    schedule: str
    every_ms: int
    since_ms: int
    """The first slot, in milliseconds since 1970 on the store's clock."""
    until_ms: int
    """The last slot that must be there; later ones may."""


# --- task functions --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Event):
    """A task function has begun."""

    job: str
    lease: int
    """`ctx.fence`"""
    process: str
    """Which worker process: the name that `Fault` knows it by."""
    attempt: int
    claimed_ms: int
    """When the store gave the job out, on its own clock."""
    task: str = ""
    queue: str = "default"
    partition: str = ""
    cost: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended(Event):
    """A task function is about to return or raise."""

    job: str
    lease: int
    process: str
    how: Literal["returned", "failed", "postponed", "buried", "cancelled", "interrupted"]
    """"interrupted": something ended it from outside (a stop, a cancel, a lost lease)."""


# --- who breaks things -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault(Event):
    """Something is about to be done to a process, or to everybody (`process` is "")."""

    process: str
    what: Literal[
        "begun",
        "killed",
        "frozen",
        "thawed",
        "cut",
        "mended",
        "blocked",
        "quiet",
        "stopping",
        "hurried",
        "stopped",
        "slow",
        "lossy",
    ]
    """"begun" is a new process; "quiet" that it is to claim no more, "stopping" a graceful stop, "hurried" the second
    signal; "stopped" that it has ended by itself. "cut" takes the store away from it until "mended", "slow" and "lossy"
    disturb the way there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultsOver(Event):
    """From here on nothing is broken any more."""


# --- the store -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved(Event):
    """The store has changed a job. Seen only where somebody looks into the store; without such events the laws go by
    what task functions saw."""

    job: str
    was: str
    """Its state before; "" if it was not there."""
    state: str
    """Its state now; "" if it is gone."""
    by: str
    """The operation."""
    lease: int = 0
    worker: str = ""
    """Whose it is while it runs."""
    attempt: int = 0
    crashes: int = 0
    postponed: int = 0
    named: int | None = None
    """The lease in whose name the request wrote this job. None: it named none."""
    sender: str = ""
    """The process that sent the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed(Event):
    """The store counts a worker as alive until then (on the scale of `at`); if that is now, it has left."""

    worker: str
    process: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Event):
    """A job as it stands at the very end, when all was given time to come to rest. One for each job in the store."""

    job: str
    task: str
    state: str
    lease: int
    attempt: int
    crashes: int
    queue: str = "default"
    ends: tuple[str, ...] = ()
    """The verdicts of the attempts in its history."""


# --- JSON lines ------------------------------------------------------------------------------------------------------


def to_line(event: Event) -> str:
    """One line of a history file, without its end."""
    return json.dumps({"event": type(event).__name__} | asdict(event), ensure_ascii=False, separators=(",", ":"))


def from_line(line: str) -> Event:
    """The event of a line. Raises `ValueError` for one that is none, such as the last line of who was killed."""
    fields: dict[str, Any] = json.loads(line)
    kind = Event.kinds[fields.pop("event")]
    return kind(**{name: _tuples(value) for name, value in fields.items()})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
