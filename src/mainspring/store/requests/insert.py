"""insert: jobs, flows and ticks → what became of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mainspring.model.job import NewJob, Policy
from mainspring.store.requests.request import Request


@dataclass(frozen=True, slots=True)
class Callback:
    """A job that waits for all others of a flow, also for those that come later, as long as it is blocked.

    It belongs to the flow, or to none: then it is not counted with it, and stays when that is cancelled.
    """

    job: str
    policy: Policy


@dataclass(frozen=True, slots=True)
class NewFlow:
    """A flow: jobs that belong together. One of that id that is there already stays as it is."""

    id: str
    name: str
    parent: str | None = None
    """The flow that it is a part of: its jobs are waited for by that one's callbacks too."""
    callbacks: tuple[Callback, ...] = ()


@dataclass(frozen=True, slots=True)
class Full:
    """Why a job was turned away: its queue, or its partition, holds as many waiting jobs as it may."""

    queue: str
    partition: str | None
    """None: it is the queue as a whole that is full."""
    limit: int


@dataclass(frozen=True, slots=True)
class Tick:
    """A schedule's turn: its jobs are inserted, and `next_at` moved, only if it still stands at `expected_at` and is
    not paused."""

    schedule: str
    expected_at: int
    """The slot that the caller saw as due."""
    next_at: int
    """The slot after those served now."""
    jobs: tuple[NewJob, ...] = ()
    """None where missed slots are skipped."""


@dataclass(frozen=True, slots=True)
class Inserted:
    """What became of one new job."""

    id: str
    existed: bool
    """True: the job was not stored. One of that id is there already, live or finished; or `id` is that of the job that
    holds one of its keys."""
    rejected: str | None = None
    """The key because of which the job was turned away (`Conflict.REJECT`)."""
    full: Full | None = None
    """The limit because of which it was turned away; then `existed` is false."""

    @property
    def stored(self) -> bool:
        """Whether it is there now, and was not before."""
        return not self.existed and self.rejected is None and self.full is None


@dataclass(frozen=True, slots=True)
class InsertRequest(Request[tuple[Inserted, ...]]):
    """Jobs appear together or not at all. The reply is in the order of the jobs, ticks' jobs last (won ticks only).

    Jobs take their keys one after the other, as if each were inserted alone. A key is free if no job holds it, if its
    time is over, or if it is held until a job starts or settles that has done so, or is gone. Where `all_or_none`, one
    rejected job raises `DuplicateJob`, one for which there is no room raises `QueueFull`, and nothing is stored.

    A queue or partition with `max_queued` takes a job only while fewer are waiting in it (scheduled or queued); that
    goes for `jobs`, not for ticks. One that takes a waiting job's place (`Conflict.REPLACE`) wants room only where that
    job is not yet.

    A job with parents is blocked until they have ended, as their edges say; parents that have ended already count at
    once. A job of a flow becomes a parent of the flow's callbacks, and of those of the flows that it is a part of, as
    far as they are blocked still, or went down with another job and may come back with it. Raises `UnknownParent` for a
    parent that is neither in the request nor in the store, and `InvalidFlow` for a job that would wait, by way of jobs
    in the store, for a callback that waits for it; nothing is stored then. A job that is there already gets no new
    edges, whatever became of its parents; where a key gave another job in place of a parent, that one is waited for.
    """

    operation: ClassVar[str] = "insert"
    jobs: tuple[NewJob, ...] = ()
    ticks: tuple[Tick, ...] = ()
    all_or_none: bool = False
    flows: tuple[NewFlow, ...] = ()
    now: int | None = None
    fresh: bool = False
    """The ids were made for this request, which is sent for the first time: no job has one of them, or had one, and a
    store need not look. Whoever sends it again takes that back; and it is not said on somebody's own connection, whose
    transaction could not be used any more if it were wrong."""
