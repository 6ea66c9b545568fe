"""Workers: beat, and reap what the dead ones left."""

from __future__ import annotations

from mainspring.model.job import Claim
from mainspring.store.base import BeatReply, BeatRequest, Command, Operation, ReapRequest
from mainspring.store.sql import stats
from mainspring.store.sql.claims import claim_of
from mainspring.store.sql.documents import document
from mainspring.store.sql.statements import READ, WRITE, Statement, sql, time_of

__all__ = ["beat", "reap"]


def beat(request: BeatRequest) -> Operation[BeatReply]:
    worker = request.presence
    yield READ if request.phase == "look" else WRITE
    now = yield from time_of(request.now)
    yield from stats.take(request.stats, now)
    if request.phase == "leave":
        yield sql("leave_worker", id=worker.id)
        return BeatReply(alive=False, now=now)
    if request.phase == "look":
        known = yield sql("worker_command", id=worker.id, now=now)
    else:
        if request.phase == "join":
            yield _join(request, now)
        known = yield sql(
            "renew_worker",
            id=worker.id,
            running=worker.running,
            quiet=worker.quiet,
            memory=worker.memory,
            lease_ms=worker.lease_ms,
            now=now,
        )
    if not known:
        return BeatReply(alive=False, now=now)
    cancelled = yield sql("cancel_requests", id=worker.id)
    return BeatReply(True, now, tuple(cancelled), Command(known[0][0]) if known[0][0] else None)


def _join(request: BeatRequest, now: int) -> Statement:
    worker = request.presence
    return sql(
        "join_worker",
        id=worker.id,
        name=worker.name,
        queues=document(worker.queues),
        tasks=document(worker.tasks),
        concurrency=worker.concurrency,
        running=worker.running,
        quiet=worker.quiet,
        memory=worker.memory,
        lease_ms=worker.lease_ms,
        now=now,
    )


def reap(request: ReapRequest) -> Operation[tuple[Claim, ...]]:
    now = yield from time_of(request.now)
    orphans = yield sql("orphans", now=now, limit=request.limit)
    expired = yield sql("expired_workers", now=now)
    if not orphans and not expired:
        return ()
    yield WRITE
    now = yield from time_of(request.now)
    claims: tuple[Claim, ...] = ()
    alive = yield sql("worker_alive", worker=request.worker, now=now)
    if alive:
        doc = document([row[0] for row in (yield sql("orphans", now=now, limit=request.limit))])
        claims = tuple(claim_of(row) for row in (yield sql("claims_of", doc=doc)))
        yield sql("lease_anew", doc=doc, worker=request.worker)
    yield sql("forget_workers", now=now)
    return claims
