"""count: a filter → numbers; and what was counted as it happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from mainspring.model.states import State
from mainspring.model.stats import Numbers
from mainspring.store.requests.filter import Filter
from mainspring.store.requests.request import Request


@dataclass(frozen=True, slots=True)
class Tally:
    """How many jobs of one queue are in one state, and since when the longest-waiting has been due."""

    queue: str
    state: State
    count: int
    oldest_at: int | None = None
    """QUEUED only, and only where the filter is by queue and state: the smallest `run_at`."""
    more: bool = False
    """There may be more of them."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which statistics: of the last stretches of `step_ms` that make up `span_ms`, the present one included."""

    span_ms: int
    step_ms: int
    by: Literal["queue", "task"] | None = None
    """One sum for each queue, or task, over all of it. None: one for each stretch."""


@dataclass(frozen=True, slots=True)
class Sum:
    """What was counted in one stretch of time, or about one queue or task."""

    at: int
    """When the stretch begins; where it is about a queue or task, the first of all."""
    name: str
    """The queue or task; else ""."""
    numbers: Numbers


@dataclass(frozen=True, slots=True)
class CountReply:
    """Numbers by queue and state; combinations with no job are left out."""

    tallies: tuple[Tally, ...]
    now: int
    stats: tuple[Sum, ...] = ()
    """By time, or by name. Stretches, queues and tasks of which nothing was counted are left out."""
    cursor: str | None = None
    """Where the next request goes on; None: all were looked at."""
    cut: frozenset[State] = frozenset()
    """States of which not all jobs were looked at: of any queue there may be more."""


@dataclass(frozen=True, slots=True)
class CountRequest(Request[CountReply]):
    """How many jobs fit, by queue and state: exactly, once the caller has repeated it with the reply's cursor until
    that is None, and added up. By states and queue alone there is one reply; what has to be read, job by job, may come
    in bounded pieces.

    With `most` it looks at no more jobs than about that. With `each`, for filters by states and queue alone, it counts
    no queue and state further than about that, and says where there may be more; there is no cursor then.

    Where `stats`, no jobs are counted: it is what was counted as it happened. Of `filter` only `queue` and `task` count
    then; "" is as good a name as any there, that of cells which belong to no queue, or no task. What is enqueued is
    there at once, and so is what is cancelled without a worker; what workers do comes with their beats.

    Where `ahead_of`, it is how many queued jobs of that job's partition are served before it, no further than about
    `each`; nothing where it is not queued itself. Of `filter` nothing counts then.
    """

    operation: ClassVar[str] = "count"
    filter: Filter
    stats: Window | None = None
    most: int | None = None
    each: int | None = None
    cursor: str | None = None
    ahead_of: str | None = None
    now: int | None = None
