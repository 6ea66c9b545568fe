"""claim: queues with room → claims, and when it is worth asking again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mainspring.model.job import Claim
from mainspring.store.requests.request import Request


@dataclass(frozen=True, slots=True)
class Room:
    """At most `limit` jobs from `queue`."""

    queue: str
    limit: int


@dataclass(frozen=True, slots=True)
class ClaimReply:
    """What a worker got."""

    claims: tuple[Claim, ...]
    now: int
    """The store's clock when it answered."""
    next_due: int | None
    """When it is worth asking again: when the earliest scheduled job of the named queues is due, or a gate opens that
    time alone keeps closed and that jobs wait at. None: there is neither. Exact when fewer claims than asked for came
    back; otherwise the caller comes back at once anyway."""
    alive: bool
    """False: the store does not know this worker, or its lease ran out. Nothing was claimed; register anew."""


@dataclass(frozen=True, slots=True)
class ClaimRequest(Request[ClaimReply]):
    """Due jobs are promoted, then `rooms` served in order, up to `limit` in all; a queue may be named twice.

    At most 1,000 due jobs of each named queue are promoted, the longest overdue first, those of paused and full queues
    too; so no claim takes long, and `next_due` lies in the past only while there are more of them.
    Paused queues and partitions give nothing. A queue, a partition, or a task with a concurrency limit gives no more
    than is left of it, counted from the running jobs of all workers; one with rates no more than these allow, by the
    jobs' cost, in any stretch of time. A job whose own gates are closed does not hold up those of other partitions and
    tasks; within its partition and task the next one waits behind it, however cheap. One whose turn it is, and that is
    too dear for what is left of the queue's own rate, keeps its turn: nothing else of that queue goes before it.

    A queue with jobs in partitions serves them by turns: always the one with the smallest virtual time, which then
    moves on by cost / weight; who comes (back) begins at the queue's present virtual time, or at its own if that is
    later. In a queue with `sequence` each partition runs one job at a time, and the next only when that one has ended
    for good (retries included); "block" waits for a dead one too, until it is revived or deleted.
    """

    operation: ClassVar[str] = "claim"
    worker: str
    rooms: tuple[Room, ...]
    limit: int
    held: frozenset[str] | None = None
    """Where a reply may have been lost: the jobs that the worker knows to be its own. What else runs in its name is
    given to it once more, as it stands and before anything new, however much that is; also where `limit` is 0."""
    now: int | None = None
