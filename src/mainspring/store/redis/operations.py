"""The operations on single jobs: each is one script, called with one document, and its reply read.

A script is atomic and is never taken back, so it looks at everything before it writes anything; what it refuses to do
it says in its reply, and the error is raised here.
"""

from __future__ import annotations

from itertools import chain, repeat

from mainspring.errors import DuplicateJob, MainspringError, QueueFull, UnknownParent, would_wait_for_itself
from mainspring.model.job import Claim
from mainspring.store.base import (
    BeatReply,
    BeatRequest,
    ClaimReply,
    ClaimRequest,
    Command,
    Full,
    Inserted,
    InsertRequest,
    NoteRequest,
    Operation,
    ReapRequest,
    SettleRequest,
)
from mainspring.store.redis import documents
from mainspring.store.redis.passing import pass_on
from mainspring.store.redis.rows import running_of, started_of
from mainspring.store.redis.scripts import Call
from mainspring.store.redis.selections import Selections
from mainspring.store.redis.settings import Configured

__all__ = ["RedisOperations"]


class RedisOperations(Selections, Configured):
    """All operations; those on many jobs, and the settings, have files of their own."""

    def insert(self, request: InsertRequest) -> Operation[tuple[Inserted, ...]]:
        if documents.is_plain(request):
            replies = yield Call("insert_plain", documents.insert(request))
            if replies is not None:
                return tuple(map(Inserted, [job.id for job in request.jobs], map(bool, replies)))
        replies = yield Call("insert", documents.insert(request))
        if replies and replies[0] == "refused":
            raise _refusal(*replies[1:])
        jobs = chain(request.jobs, repeat(None))
        return tuple(
            Inserted(job.id, existed=False) if job is not None and reply == 0 else _inserted(*reply)
            for job, reply in zip(jobs, replies, strict=False)
        )

    def claim(self, request: ClaimRequest) -> Operation[ClaimReply]:
        now, alive, next_due, again, rows = yield Call("claim", documents.claim(request))
        worker = request.worker
        claims = [running_of(row) for row in rows[:again]] if again else []
        claims += [started_of(row, worker, now) for row in rows[again:]]
        return ClaimReply(tuple(claims), now, next_due, bool(alive))

    def settle(self, request: SettleRequest) -> Operation[frozenset[str]]:
        refused, more = yield Call("settle", documents.settle(request))
        if more:
            yield from pass_on(request.now)
        return frozenset(done.id for done in request.settlements).difference(refused)

    def note(self, request: NoteRequest) -> Operation[frozenset[str]]:
        return frozenset((yield Call("note", documents.note(request))))

    def beat(self, request: BeatRequest) -> Operation[BeatReply]:
        now, alive, command, cancelled = yield Call("beat", documents.beat(request))
        pairs = zip(cancelled[::2], map(int, cancelled[1::2]), strict=True)
        return BeatReply(bool(alive), now, tuple(pairs), Command(command) if command else None)

    def reap(self, request: ReapRequest) -> Operation[tuple[Claim, ...]]:
        rows = yield Call("reap", documents.plain(request))
        return tuple(running_of(row, raised=1) for row in rows)


def _inserted(
    id: str, existed: int, rejected: str | None, queue: str | None = None, partition: str | None = None, limit: int = 0
) -> Inserted:
    return Inserted(id, bool(existed), rejected, None if queue is None else Full(queue, partition, limit))


def _refusal(word: str, *names: str) -> MainspringError:
    """Why nothing was stored."""
    match word:
        case "duplicate":
            return DuplicateJob(*names)
        case "full":
            queue, partition, limit = names
            return QueueFull(queue, partition, int(limit))
        case "unknown parent":
            return UnknownParent(*names)
        case _:
            return would_wait_for_itself(*names)
