"""The way of a job: insert, claim, settle, note. The hot operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mainspring.errors import DuplicateJob
from mainspring.model.job import Claim, NewJob, Note
from mainspring.model.states import FINAL
from mainspring.store.base import (
    LOG_LINES_KEPT,
    ClaimReply,
    ClaimRequest,
    Inserted,
    InsertRequest,
    NoteRequest,
    Operation,
    Room,
    SettleRequest,
)
from mainspring.store.sql.documents import document
from mainspring.store.sql.keys import Holder, plan
from mainspring.store.sql.statements import WRITE, Row, Statements
from mainspring.store.sqlite import gates
from mainspring.store.sqlite.clock import time_of

__all__ = ["claim", "insert", "note", "settle"]

sql = Statements("mainspring.store.sqlite", "statements.sql")

PROMOTED_AT_ONCE = 1000
"""How many due jobs of one queue one claim promotes; the rest waits for the next, so that no claim takes long."""


def insert(request: InsertRequest) -> Operation[tuple[Inserted, ...]]:
    yield WRITE
    now = time_of(request.now)
    jobs = request.jobs
    if request.ticks:
        won = {row[0] for row in (yield sql("move_schedules", doc=document(request.ticks)))}
        jobs += tuple(job for tick in request.ticks if tick.schedule in won for job in tick.jobs)
    return (yield from _insert(jobs, now, request.all_or_none))


def _insert(jobs: Sequence[NewJob], now: int, all_or_none: bool = False) -> Operation[tuple[Inserted, ...]]:
    if any(job.keys for job in jobs):
        return (yield from _insert_with_keys(jobs, now, all_or_none))
    return (yield from _add(jobs, now))


def _insert_with_keys(jobs: Sequence[NewJob], now: int, all_or_none: bool) -> Operation[tuple[Inserted, ...]]:
    known = yield sql("known_jobs", doc=document([job.id for job in jobs]))
    names = sorted({name for job in jobs for key in job.keys for name in key.held_as()})
    held = yield sql("key_holders", doc=document(names), now=now)
    holders = {name: Holder(job, bool(waiting), *times) for name, job, waiting, *times in held}
    planned = plan(jobs, {row[0] for row in known}, holders, now)
    rejected = next((reply for reply in planned.replies if reply.rejected is not None), None)
    if all_or_none and rejected is not None:
        raise DuplicateJob(rejected.id, rejected.rejected or "")
    yield from _add(planned.jobs, now)
    if planned.taken:
        yield sql("take_keys", doc=document(planned.taken))
    if planned.replacements:
        yield sql("replace_jobs", doc=document(list(planned.replacements.values())), now=now)
        yield from gates.wake(planned.replacements)
    return tuple(planned.replies)


def _add(jobs: Sequence[NewJob], now: int) -> Operation[tuple[Inserted, ...]]:
    """Insert jobs inside an operation that writes already."""
    if not jobs:
        return ()
    rows = yield sql("insert_jobs", doc=document(jobs), now=now)
    yield sql("insert_queues", doc=document(sorted({job.queue for job in jobs})))
    yield from gates.enter(jobs)
    new = {row[0] for row in rows}
    replies = []
    for job in jobs:
        replies.append(Inserted(job.id, existed=job.id not in new))
        new.discard(job.id)
    return tuple(replies)


def claim(request: ClaimRequest) -> Operation[ClaimReply]:
    names = document(sorted({room.queue for room in request.rooms}))
    # A look without the write lock first: a worker that is woken for nothing disturbs nobody.
    now = time_of(request.now)
    survey = yield from _survey(request, names, now)
    claims: list[Claim] = []
    if survey.alive and (survey.due(now) or any(survey.room(room.queue, room.limit) for room in request.rooms)):
        yield WRITE
        now = time_of(request.now)
        for queue in survey.due(now):
            promoted = yield sql("promote_due", queue=queue, now=now, limit=PROMOTED_AT_ONCE)
            yield from gates.wake([row[0] for row in promoted])
        survey = yield from _survey(request, names, now)
        for room in request.rooms:
            limit = survey.room(room.queue, min(room.limit, request.limit - len(claims)))
            if limit > 0:
                taken = yield from _serve(Room(room.queue, limit), request.worker, now)
                survey.took(room.queue, len(taken))
                claims += taken
        if claims and (yield sql("any_key")):
            yield sql("give_back_keys_of_started", doc=document([claim.id for claim in claims]))
    return ClaimReply(tuple(claims), now, survey.next_due(), survey.alive)


def _survey(request: ClaimRequest, names: str, now: int) -> Operation[_Survey]:
    alive = yield sql("worker_alive", worker=request.worker, now=now)
    return _Survey((yield sql("survey_queues", doc=names, now=now)) if alive else (), bool(alive))


def _serve(room: Room, worker: str, now: int) -> Operation[list[Claim]]:
    rows = yield sql("claim_jobs", queue=room.queue, worker=worker, now=now, limit=room.limit)
    claims = [claim_of(row) for row in rows]
    claims.sort(key=lambda claim: (claim.priority, claim.run_at, claim.id))
    return claims


def claim_of(row: Row) -> Claim:
    """A claim from its columns; SQLite has no booleans."""
    columns: Row = (*row[:-4], bool(row[-4]), *row[-3:])
    return Claim(*columns)


class _Survey:
    """What a claim finds: which queues are open, how much of their limit is left, what is due.

    For a worker that is not alive: nothing.
    """

    def __init__(self, rows: Sequence[Row], alive: bool) -> None:
        self.alive = alive
        self._open: dict[str, int | None] = {}
        """Queues with something to claim, and how many more may run there (None: any number)."""
        self._scheduled: dict[str, int] = {}
        for name, unpaused, slots, running, queued, scheduled_at in rows:
            if unpaused and queued:
                self._open[name] = None if slots is None else max(0, slots - running)
            if scheduled_at is not None:
                self._scheduled[name] = scheduled_at

    def due(self, now: int) -> list[str]:
        return [queue for queue, at in self._scheduled.items() if at <= now]

    def next_due(self) -> int | None:
        return min(self._scheduled.values(), default=None)

    def room(self, queue: str, limit: int) -> int:
        left = self._open.get(queue, 0)
        return limit if left is None else min(limit, left)

    def took(self, queue: str, count: int) -> None:
        left = self._open[queue]
        if left is not None:
            self._open[queue] = left - count


def settle(request: SettleRequest) -> Operation[frozenset[str]]:
    yield WRITE
    now = time_of(request.now)
    if request.notes:
        yield from _write(request.notes)
    applied: set[str] = set()
    final = [settlement for settlement in request.settlements if settlement.state in FINAL]
    if final:
        moved = [row[0] for row in (yield sql("finish_jobs", doc=document(final), now=now))]
        doc = document(moved)
        yield sql("forget_finished", doc=doc)
        if (yield sql("any_key")):
            yield sql("give_back_keys_of_ended", doc=doc)
        applied.update(moved)
    back = [settlement for settlement in request.settlements if settlement.state not in FINAL]
    if back:
        applied.update(row[0] for row in (yield sql("give_back", doc=document(back), now=now)))
    yield from gates.close([settlement for settlement in back if settlement.id in applied], now)
    yield from gates.wake(applied)
    follow_ups = [job for done in request.settlements if done.id in applied for job in done.follow_ups]
    if follow_ups:
        yield from _insert(follow_ups, now)
    return frozenset(applied)


def note(request: NoteRequest) -> Operation[frozenset[str]]:
    yield WRITE
    return (yield from _write(request.notes))


def _write(notes: Sequence[Note]) -> Operation[frozenset[str]]:
    rows = yield sql("write_notes", doc=document([replace(note, lines=()) for note in notes]))
    mine = frozenset(row[0] for row in rows)
    logged = [note for note in notes if note.lines and note.id in mine]
    if logged:
        doc = document(logged)
        yield sql("write_log", doc=doc)
        yield sql("trim_log", doc=doc, keep=LOG_LINES_KEPT)
    return mine
