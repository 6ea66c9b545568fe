"""The way of a job: insert, claim, settle, note. The hot operations."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

from mainspring.errors import DuplicateJob, QueueFull
from mainspring.model.job import NewJob, Note
from mainspring.model.settlement import Settlement
from mainspring.model.states import FINAL
from mainspring.store.base import (
    LOG_LINES_KEPT,
    Inserted,
    InsertRequest,
    NoteRequest,
    Operation,
    SettleRequest,
)
from mainspring.store.sql import edges, endings, flows, gates, sayings, stats
from mainspring.store.sql.documents import document
from mainspring.store.sql.plans.keys import Holder, Replacement, plan
from mainspring.store.sql.statements import WRITE, sql, time_of

__all__ = ["ending", "insert", "is_plain", "note", "settle", "short"]


def insert(request: InsertRequest) -> Operation[tuple[Inserted, ...]]:
    yield WRITE
    now = yield from time_of(request.now)
    jobs = request.jobs
    if request.ticks:
        ticks = sorted(request.ticks, key=lambda tick: tick.schedule)
        won = {row[0] for row in (yield sql("move_schedules", doc=document(ticks)))}
        jobs += tuple(job for tick in request.ticks if tick.schedule in won for job in tick.jobs)
    yield from flows.add(request.flows, now)
    replies = yield from _insert(jobs, now, request.all_or_none, limited=len(request.jobs))
    yield from endings.pass_on((yield from _link(jobs, replies, strict=True)), now)
    return replies


def _link(jobs: Sequence[NewJob], replies: Sequence[Inserted], *, strict: bool) -> Operation[edges.Told]:
    """Tie the new ones among these jobs to their parents and flows."""
    told = edges.Told()
    if not any(job.parents or job.flow for job in jobs):
        return told
    new, instead = dict[str, NewJob](), dict[str, str]()
    for job, reply in zip(jobs, replies, strict=True):
        if reply.id != job.id:
            instead[job.id] = reply.id
        elif not reply.existed and reply.full is None:
            new[job.id] = job
    yield from edges.link(new, instead, told, strict=strict)
    return told


def _insert(
    jobs: Sequence[NewJob], now: int, all_or_none: bool = False, *, limited: int = 0
) -> Operation[tuple[Inserted, ...]]:
    """`limited`: for how many of the jobs, the first ones, there must be room."""
    capacities = (yield from gates.capacities(jobs[:limited])) if limited else {}
    if not capacities and not any(job.keys for job in jobs):
        return (yield from _add(jobs, now))
    names = sorted({name for job in jobs for key in job.keys for name in key.held_as()})
    if names:
        yield sql("lock_keys", doc=document(names))
    while True:
        known = yield sql("known_jobs", doc=document([job.id for job in jobs]))
        held = (yield sql("key_holders", doc=document(names), now=now)) if names else ()
        holders = {
            name: Holder(job, bool(waiting), created_at, expires_at, (queue, partition), bool(blocked))
            for name, job, waiting, created_at, expires_at, queue, partition, blocked in held
        }
        planned = plan(jobs, {row[0] for row in known}, holders, now, deepcopy(capacities), limited)
        if all_or_none:
            _all_or_none(planned.replies)
        new = {job.id for job in planned.jobs}
        # One that has started since it was looked at is in nobody's place any more: everything is looked at again.
        if (yield from _replace([each for each in planned.replacements.values() if each.id not in new], now)):
            break
    crossed = {reply.id for reply in (yield from _add(planned.jobs, now)) if reply.existed}
    taken = [each for each in planned.taken if each.job not in crossed]
    if taken:
        yield sql("take_keys", doc=document(taken))
    yield from _replace([each for each in planned.replacements.values() if each.id in new], now)
    yield from gates.wake(planned.replacements)
    yield from _move([each for each in planned.replacements.values() if each.left is not None])
    return tuple(replace(reply, existed=True) if reply.id in crossed else reply for reply in planned.replies)


def _replace(replacements: Sequence[Replacement], now: int) -> Operation[bool]:
    """Put new jobs in the place of waiting ones; whether all of these wait still."""
    if not replacements:
        return True
    doc = document(sorted(replacements, key=lambda each: each.id))
    return len((yield sql("replace_jobs", doc=doc, now=now))) == len(replacements)


def _move(moved: Sequence[Replacement]) -> Operation[None]:
    """These are in another queue or partition than before."""
    if moved:
        yield sql("insert_queues", doc=document(sorted({each.queue for each in moved})))
        yield from gates.enter({(each.queue, each.partition) for each in moved})
        yield from gates.move([(each.id, *each.left) for each in moved if each.left is not None])


def _all_or_none(replies: Sequence[Inserted]) -> None:
    """Raises for the first that was turned away."""
    for reply in replies:
        if reply.rejected is not None:
            raise DuplicateJob(reply.id, reply.rejected)
        if reply.full is not None:
            raise QueueFull(reply.full.queue, reply.full.partition, reply.full.limit)


def _add(jobs: Sequence[NewJob], now: int) -> Operation[tuple[Inserted, ...]]:
    """Insert jobs inside an operation that writes already."""
    if not jobs:
        return ()
    # Of several with one id the first is the one: a database may take them in any order.
    first = {job.id: job for job in reversed(jobs)}
    distinct = jobs if len(first) == len(jobs) else [job for job in jobs if first[job.id] is job]
    if all(map(is_plain, distinct)):
        rows = yield sql("insert_plain_jobs", doc=document(list(map(short, distinct))), now=now)
    else:
        rows = yield sql("insert_jobs", doc=document(distinct), now=now)
    yield sql("insert_queues", doc=document(sorted({job.queue for job in jobs})))
    yield from gates.enter({(job.queue, job.partition) for job in jobs})
    new = {row[0] for row in rows}
    if new:
        new.difference_update(row[0] for row in (yield sql("undo_finished", doc=document(sorted(new)))))
    yield from stats.enqueued((job for job in distinct if job.id in new), now)
    replies = []
    for job in jobs:
        replies.append(Inserted(job.id, existed=job.id not in new))
        new.discard(job.id)
    return tuple(replies)


def short(job: NewJob) -> tuple[object, ...]:
    """A plain one as `insert_plain_jobs` takes it: what comes by here comes by in great numbers."""
    return (job.id, job.task, job.queue, job.args, job.priority)


def is_plain(job: NewJob) -> bool:
    """Whether its row has nothing but what every job has."""
    return (
        job.run_at is None
        and not job.delay_ms
        and job.options is None
        and not job.partition
        and job.cost == 1
        and job.flow is None
        and not job.parents
    )


def settle(request: SettleRequest) -> Operation[frozenset[str]]:
    yield WRITE
    now = yield from time_of(request.now)
    if request.notes:
        yield from _write(request.notes)
    moved: list[str] = []
    # In the order of their ids, so that no two that settle the same jobs wait for each other.
    settlements = sorted(request.settlements, key=lambda settlement: settlement.id)
    final = [settlement for settlement in settlements if settlement.state in FINAL]
    if final:
        yield sql("open_day", now=now)
        moved = [row[0] for row in (yield sql("finish_jobs", doc=document([ending(each) for each in final]), now=now))]
        yield sql("forget_finished", doc=document(moved))
    applied = set(moved)
    back = [settlement for settlement in settlements if settlement.state not in FINAL]
    if back:
        applied.update(row[0] for row in (yield sql("give_back", doc=document(back), now=now)))
    yield from gates.close([settlement for settlement in request.settlements if settlement.id in applied], now)
    yield from gates.wake(applied.difference(moved))
    follow_ups = [job for done in request.settlements if done.id in applied for job in done.follow_ups]
    yield from endings.ended(moved, now, first=_follow_up(follow_ups, now) if follow_ups else None)
    return frozenset(applied)


def ending(done: Settlement) -> tuple[object, ...]:
    """One that is final as `finish_jobs` takes it."""
    return (
        done.id,
        done.lease,
        done.state,
        done.attempt,
        done.crashes,
        done.postponed,
        done.result,
        done.error,
        done.reason,
        done.history,
    )


def _follow_up(jobs: Sequence[NewJob], now: int) -> Operation[edges.Told]:
    replies = yield from _insert(jobs, now)
    return (yield from _link(jobs, replies, strict=False))


def note(request: NoteRequest) -> Operation[frozenset[str]]:
    yield WRITE
    return (yield from _write(request.notes))


def _write(notes: Sequence[Note]) -> Operation[frozenset[str]]:
    bare = sorted((replace(note, lines=(), pieces=()) for note in notes), key=lambda note: note.id)
    rows = yield sql("write_notes", doc=document(bare))
    mine = frozenset(row[0] for row in rows)
    said = [note for note in notes if (note.lines or note.pieces) and note.id in mine]
    if said:
        yield sql("write_log", doc=document([row for note in said for row in sayings.rows(note)]))
    if logged := [note.id for note in said if note.lines]:
        yield sql("trim_log", doc=document(logged), keep=LOG_LINES_KEPT)
    if kept := [(note.id, sayings.piece_at(note, note.kept_from)) for note in said if note.pieces]:
        yield sql("trim_output", doc=document(kept))
    return mine
