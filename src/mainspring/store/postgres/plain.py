"""Plain jobs in one round trip: the functions of `migrations/0003_plain_jobs.sql`, tried first by the hot operations.

What they do not take is done by the operations that all SQL stores share, in several statements; a function that says
so has done nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import groupby, starmap
from operator import attrgetter
from typing import Any

from mainspring.model.job import Claim, NewJob
from mainspring.model.states import FINAL
from mainspring.store.base import (
    ClaimReply,
    ClaimRequest,
    Inserted,
    InsertRequest,
    Operation,
    Request,
    Room,
    SettleRequest,
)
from mainspring.store.postgres.heads import Head, Heads, Look
from mainspring.store.postgres.script import Single, Whole, whole
from mainspring.store.sql import edges
from mainspring.store.sql.documents import document
from mainspring.store.sql.jobs import ending, is_plain, short
from mainspring.store.sql.statements import Row, sql

__all__ = ["SINGLE", "claim", "insert", "parted", "settle", "single", "stored", "together"]


NOT_ALIVE, CLAIMED = 0, 1
"""What the last row of `claim_plain` says was done; anything else: nothing."""


SINGLE = "insert_single"
"""The statement that inserts one plain job of which nobody has heard yet."""


def single(request: Request[Any]) -> dict[str, str | None] | None:
    """What `SINGLE` takes, where it may be all there is to do: then it changes a row, and the reply is `stored`."""
    if not isinstance(request, InsertRequest) or not request.fresh or len(request.jobs) != 1:
        return None
    (job,) = request.jobs
    if job.keys or request.flows or not is_plain(job):
        return None
    return {
        "id": job.id,
        "task": job.task,
        "queue": job.queue,
        "args": job.args,
        "priority": str(job.priority),
        "now": None if request.now is None else str(request.now),
        "channel": None,
        "payload": None,
    }


def stored(request: InsertRequest) -> tuple[Inserted, ...]:
    """The reply where its one job is new."""
    return (Inserted(request.jobs[0].id, False),)


def insert(
    request: InsertRequest, otherwise: Callable[[InsertRequest], Operation[tuple[Inserted, ...]]]
) -> Operation[tuple[Inserted, ...]]:
    jobs = request.jobs
    first = single(request)
    if first is not None and (yield Single(SINGLE, first)):
        return stored(request)
    ids = {job.id for job in jobs}
    if request.ticks or request.flows or not ids or len(ids) < len(jobs) or not all(map(_is_plain, jobs)):
        return (yield from otherwise(request))
    queues = sorted({job.queue for job in jobs})
    rows = yield whole("insert_plain", jobs=document(list(map(short, jobs))), queues=queues, now=request.now)
    there = {row[0] for row in rows}
    if None in there:
        return (yield from otherwise(request))
    if first is not None:
        # It is plain, so its queue was unknown. In a transaction of its own no other insert waits for this one.
        yield sql("make_known", queue=jobs[0].queue)
    return tuple(Inserted(job.id, job.id in there) for job in jobs)


def _is_plain(job: NewJob) -> bool:
    return is_plain(job) and not job.keys


def claim(
    request: ClaimRequest, otherwise: Callable[[ClaimRequest], Operation[ClaimReply]], heads: Heads
) -> Operation[ClaimReply]:
    """Where the request says what time it is, that of the heads means nothing: it is served without them."""
    if request.held is not None:
        return (yield from otherwise(request))
    used = heads.of(request.rooms) if request.now is None else {}
    rooms = document([_room(room, used.get(room.queue)) for room in request.rooms])
    *rows, last = yield whole("claim_plain", worker=request.worker, rooms=rooms, limit=request.limit, now=request.now)
    summary = Claim(*last)
    if summary.lease not in (NOT_ALIVE, CLAIMED):
        return (yield from otherwise(request))
    claims = [claim for _, room in groupby(starmap(Claim, rows), _queue) for claim in sorted(room, key=_place)]
    if request.now is None and summary.lease == CLAIMED:
        looks = [Look(*look) for look in json.loads(summary.history)]
        heads.learn(used, looks, claims)
        if any(look.whole and look.queue in used for look in looks):
            claims = _in_order(request.rooms, claims)
    if summary.cancel_requested:
        claims = yield from edges.with_parents(claims)
    return ClaimReply(tuple(claims), summary.created_at, summary.run_at, summary.lease == CLAIMED)


_queue = attrgetter("queue")
_place = attrgetter("priority", "run_at", "id")


def _room(room: Room, head: Head | None) -> tuple[object, ...]:
    return (room.queue, room.limit) if head is None else (room.queue, room.limit, head.place)


def _in_order(rooms: Sequence[Room], claims: Sequence[Claim]) -> list[Claim]:
    """What was found before a head comes before what was found behind it."""
    queues = list(dict.fromkeys(room.queue for room in rooms))
    return sorted(claims, key=lambda claim: (queues.index(claim.queue), _place(claim)))


def settle(
    request: SettleRequest, otherwise: Callable[[SettleRequest], Operation[frozenset[str]]]
) -> Operation[frozenset[str]]:
    settlements = request.settlements
    if request.notes or any(done.follow_ups or done.closed_ms is not None for done in settlements):
        return (yield from otherwise(request))
    final = sorted(ending(done) for done in settlements if done.state in FINAL)
    back = sorted((done for done in settlements if done.state not in FINAL), key=lambda done: done.id)
    returned = document(back) if back else None
    rows = yield whole("settle_plain", final=document(final), back=returned, now=request.now)
    refused = {row[0] for row in rows}
    if None in refused:
        return (yield from otherwise(request))
    return frozenset(done.id for done in settlements if done.id not in refused)


def together(steps: Sequence[Whole]) -> Whole:
    """One statement for a settlement and a claim, whichever comes first; where there is but one of them, itself."""
    if len(steps) == 1:
        return steps[0]
    parameters = {
        f"{step.name.removesuffix('_plain')}_{name}": value for step in steps for name, value in step.parameters.items()
    }
    return Whole("settle_and_claim_plain", parameters)


def parted(steps: Sequence[Whole], rows: list[Row]) -> list[list[Row]]:
    """To each the rows that it would have got alone."""
    if len(steps) == 1:
        return [rows]
    claimed = next(number for number, row in enumerate(rows) if row[_LEASE] != _OF_SETTLEMENT)
    parts = {"settle_plain": rows[1:claimed], "claim_plain": rows[claimed:]}
    return [parts[step.name] for step in steps]


_LEASE, _OF_SETTLEMENT = 1, -1
