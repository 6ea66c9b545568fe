"""Selections of jobs: find, count, alter, prune. What people look at and what they do to many at once.

A selection is walked newest first: live jobs by creation, then final ones by their end. One call reads at most
`SCANNED_AT_ONCE` index entries, so a page or a batch may come back short, with a cursor to go on from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from mainspring.model.job import JobRecord
from mainspring.model.states import FINAL, LIVE, State
from mainspring.store.base import (
    AlterReply,
    AlterRequest,
    CountReply,
    CountRequest,
    Filter,
    FindRequest,
    Operation,
    Page,
    PruneRequest,
    Tally,
    Verb,
)
from mainspring.store.sql import edges, endings, flows, gates, sayings
from mainspring.store.sql.documents import document
from mainspring.store.sql.statements import READ, WRITE, Query, Row, sql, time_of

__all__ = ["alter", "count", "find", "prune"]

SCANNED_AT_ONCE = 5000
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class _Side:
    """The live or the finished jobs, as far as walking over them goes."""

    table: str
    time: str
    states: frozenset[State]
    records: str
    by_flow: str
    """The word for the index by flow."""


_LIVE = _Side("mainspring_jobs", "created_at", LIVE, "live_jobs", "{by jobs_flow}")
_FINISHED = _Side("mainspring_finished", "finished_at", FINAL, "finished_jobs", "{by finished_flow}")


@dataclass(frozen=True, slots=True)
class _Walk:
    """One stretch of a selection: the rowids that fit, and where to go on."""

    live: tuple[int, ...]
    finished: tuple[int, ...]
    cursor: str | None


def _walk(filter: Filter, limit: int, cursor: str | None) -> Operation[_Walk]:
    """Up to `limit` jobs that fit, from `cursor` on."""
    found: dict[str, tuple[int, ...]] = {_LIVE.table: (), _FINISHED.table: ()}
    start = cursor.split(":", 2) if cursor else None
    parts = (yield from flows.parts_of(filter.flow)) if filter.flow is not None else ()
    for side in (_LIVE, _FINISHED):
        if start and start[0] != side.table:
            continue
        after = (int(start[1]), start[2]) if start else None
        start = None
        states = side.states & set(filter.states or side.states)
        room = limit - sum(len(rowids) for rowids in found.values())
        if not states:
            continue
        if room <= 0:
            # Full exactly at the end of the live jobs: the next call begins with the finished ones.
            return _Walk(found[_LIVE.table], (), f"{side.table}:{_END_OF_TIME}:")
        reach = 1 + (SCANNED_AT_ONCE if _sifts(filter) else room)
        rows = yield _scan(side, filter, parts, states, after, reach)
        fitting = [row for row in rows if row[3]]
        found[side.table] = tuple(row[0] for row in fitting[:room])
        if len(fitting) > room:
            last = fitting[room - 1]
        elif _sifts(filter) and len(rows) > SCANNED_AT_ONCE:
            last = rows[-1]
        else:
            continue
        return _Walk(found[_LIVE.table], found[_FINISHED.table], f"{side.table}:{last[1]}:{last[2]}")
    return _Walk(found[_LIVE.table], found[_FINISHED.table], None)


_END_OF_TIME = 2**62


def _sifts(filter: Filter) -> bool:
    """Whether not all that a walk meets may fit."""
    return bool(filter.queue or filter.task or filter.partition is not None)


def _scan(
    side: _Side,
    filter: Filter,
    parts: Sequence[str],
    states: Iterable[State],
    after: tuple[int, str] | None,
    limit: int,
) -> Query:
    """Gives place, time, id, fits?: newest first, one index range per state, merged."""
    conditions, parameters = _conditions(filter, side, parts)
    if after:
        conditions.append(f"({side.time}, id) < (:after_at, :after_id)")
        parameters |= {"after_at": after[0], "after_id": after[1]}
    where = "".join(f" AND {condition}" for condition in conditions)
    column, index = _way(filter, side)
    # The jobs of several flows are sorted: a planner that is shown an index in the order of the times would rather walk
    # all jobs along it.
    order = f"{side.time} + 0" if len(parts) > 1 else side.time
    ranges = []
    for number, state in enumerate(sorted(states)):
        ranges.append(
            f"SELECT * FROM (SELECT {{place}} AS place, {side.time} AS at, id, "
            "coalesce(queue = :queue, true) AND coalesce(task = :task, true) "
            "AND coalesce(partition = :partition, true) AS fits "
            f"FROM {side.table} {index} WHERE {column} = '{state.value}'{where} "
            f"ORDER BY {order} DESC, id DESC LIMIT :limit) AS range{number}"
        )
    parameters |= {"queue": filter.queue, "task": filter.task, "partition": filter.partition, "limit": limit}
    return Query(f"{' UNION ALL '.join(ranges)} ORDER BY at DESC, id DESC LIMIT :limit", parameters)


def _way(filter: Filter, side: _Side) -> tuple[str, str]:
    """How the column of the state is written, and which index is named, so that no backlog is walked."""
    if filter.ids:
        # Not by the index of the state: looking up the ids is better.
        return "{off}state", ""
    return "state", side.by_flow if filter.flow is not None else ""


def _conditions(filter: Filter, side: _Side, parts: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    conditions: list[str] = []
    parameters: dict[str, Any] = {}
    if filter.flow is not None:
        column = "{off}flow" if filter.ids else "flow"
        # One flow's jobs stand in order in the index; those of several are sorted.
        several = "{among parts}" if len(parts) > 1 else "= :flow"
        conditions.append(f"{column} {several}")
        parameters |= {"parts": document(parts)} if len(parts) > 1 else {"flow": filter.flow}
    if filter.ids:
        conditions.append("id {among ids}")
        parameters["ids"] = document(filter.ids)
    if filter.since is not None:
        conditions.append(f"{side.time} >= :since")
        parameters["since"] = filter.since
    if filter.until is not None:
        conditions.append(f"{side.time} <= :until")
        parameters["until"] = filter.until
    return conditions, parameters


def find(request: FindRequest) -> Operation[Page]:
    yield READ
    if request.flows:
        return (yield from flows.page(request))
    if request.stamps:
        return Page((), None, stamps=tuple((yield sql("stamps", doc=document(request.filter.ids)))))
    walk: _Walk = yield from _walk(request.filter, request.limit, request.cursor)
    jobs: list[JobRecord] = []
    for side, rowids in ((_LIVE, walk.live), (_FINISHED, walk.finished)):
        if rowids:
            records = [_record(row) for row in (yield sql(side.records, doc=document(rowids)))]
            key = "created_at" if side is _LIVE else "finished_at"
            jobs += sorted(records, key=lambda job, key=key: (getattr(job, key), job.id), reverse=True)  # type: ignore[misc]
    if request.with_log and jobs:
        jobs = yield from sayings.with_sayings(jobs, request.bookmarks)
    if request.with_parents:
        jobs = yield from edges.with_parents(jobs)
    return Page(tuple(jobs), walk.cursor)


_NAMES = [column.name for column in fields(JobRecord)]
_STATE, _CANCEL_REQUESTED = _NAMES.index("state"), _NAMES.index("cancel_requested")


def _record(row: Row) -> JobRecord:
    values = list(row)
    values[_STATE] = State(values[_STATE])
    values[_CANCEL_REQUESTED] = bool(values[_CANCEL_REQUESTED])
    return JobRecord(*values)


def count(request: CountRequest) -> Operation[CountReply]:
    yield READ
    filter = request.filter
    parts = (yield from flows.parts_of(filter.flow)) if filter.flow is not None else ()
    tallies: list[Tally] = []
    for side in (_LIVE, _FINISHED):
        for state in sorted(side.states & set(filter.states or side.states)):
            conditions, parameters = _conditions(filter, side, parts)
            for name in ("queue", "task", "partition"):
                if getattr(filter, name) is not None:
                    conditions.append(f"{name} = :{name}")
                    parameters[name] = getattr(filter, name)
            # The state is written out, not a parameter: only so does SQLite use the partial index of that state.
            column, index = _way(filter, side)
            where = " AND ".join([f"{column} = '{state.value}'", *conditions])
            plain = replace(filter, states=(), queue=None) == Filter()
            oldest = "min(run_at)" if state is State.QUEUED and plain else "NULL"
            # Left to itself SQLite reads each row for its `run_at`; the index in which they wait has it.
            index = "{by jobs_queued}" if oldest != "NULL" else index
            text = f"SELECT queue, count(*), {oldest} FROM {side.table} {index} WHERE {where} GROUP BY queue"
            tallies += [Tally(row[0], state, row[1], row[2]) for row in (yield Query(text, parameters))]
    tallies.sort(key=lambda tally: (tally.queue, tally.state))
    return CountReply(tuple(tallies), (yield from time_of(request.now)))


_CONCERNS = {
    Verb.CANCEL: LIVE,
    Verb.REVIVE: FINAL | {State.SCHEDULED},
    Verb.RESCHEDULE: frozenset({State.SCHEDULED, State.QUEUED}),
    Verb.REPRIORITISE: LIVE - {State.RUNNING},
    Verb.DELETE: (LIVE | FINAL) - {State.RUNNING},
}
"""The states that each verb does anything to: the others are not even walked."""


def alter(request: AlterRequest) -> Operation[AlterReply]:
    states = _CONCERNS[request.verb] & set(request.filter.states or State)
    if not states:
        return AlterReply(0, None)
    yield WRITE
    now = yield from time_of(request.now)
    chosen = replace(request.filter, states=tuple(sorted(states)))
    walk: _Walk = yield from _walk(chosen, request.limit, request.cursor)
    live, finished = document(walk.live), document(walk.finished)
    if walk.live:
        # A claim or a settle may have been faster, and is waited for.
        crossed = {row[0] for row in (yield sql("lock_jobs", doc=live, states=document(chosen.states)))}
        live = document([place for place in walk.live if place not in crossed]) if crossed else live
    match request.verb:
        case Verb.CANCEL:
            changed = yield sql("ask_to_cancel", doc=live, reason=request.reason)
            moved = yield sql("cancel_waiting", doc=live, reason=request.reason, now=now)
            yield sql("forget_finished", doc=_ids(moved))
            yield from endings.ended([row[0] for row in moved], now)
            changed += moved
        case Verb.REVIVE:
            changed = yield sql("hurry_scheduled", doc=live, now=now)
            moved = yield sql("revive_finished", doc=finished, now=now)
            yield sql("forget_revived", doc=_ids(moved))
            changed += moved
            if moved and (yield sql("any_edge")):
                blocked = yield from edges.reopen([row[0] for row in moved], now)
                changed = [row for row in changed if row[0] not in blocked]
        case Verb.RESCHEDULE:
            changed = yield sql("reschedule", doc=live, value=request.value, now=now)
        case Verb.REPRIORITISE:
            changed = yield sql("reprioritise", doc=live, value=request.value)
        case Verb.DELETE:
            yield from gates.leave(walk.live, walk.finished)
            changed = yield sql("delete_live", doc=live)
            changed += yield sql("delete_finished", doc=finished)
            yield sql("delete_log", doc=_ids(changed))
            yield from endings.ended([row[0] for row in changed], now, deleted=True)
    yield from gates.wake([row[0] for row in changed])
    return AlterReply(len(changed), walk.cursor)


def _ids(rows: Sequence[Row]) -> str:
    return document([row[0] for row in rows])


def prune(request: PruneRequest) -> Operation[int]:
    yield WRITE
    now = yield from time_of(request.now)
    outdated: list[int] = []
    for state, keep_ms in request.keep_ms.items():
        room = request.limit - len(outdated)
        outdated += [row[0] for row in (yield sql("outdated", state=state.value, before=now - keep_ms, limit=room))]
    yield from gates.leave(finished=outdated)
    gone = yield sql("delete_finished", doc=document(outdated))
    yield sql("delete_log", doc=_ids(gone))
    if gone and (yield sql("any_edge")):
        yield from edges.drop([row[0] for row in gone])
    yield from flows.forget_empty(request.limit)
    yield from gates.prune([row[0] for row in gone], now, request.limit)
    yield sql("give_back_expired_keys", now=now, limit=request.limit)
    return len(gone) + (yield from _forget_days(request, now))


def _forget_days(request: PruneRequest, now: int) -> Operation[int]:
    """Where completed jobs are kept by the day: open the next one before anybody needs it; forget those that are over,
    which is for the end, since nobody comes to finished jobs until this is committed."""
    yield sql("open_day", now=now + DAY_MS)
    keep_ms = request.keep_ms.get(State.COMPLETED)
    if keep_ms is None:
        return 0
    return sum(row[0] for row in (yield sql("forget_days", before=now - keep_ms, limit=request.limit)))
