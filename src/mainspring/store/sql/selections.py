"""Selections of jobs: find, count, alter, prune. What people look at and what they do to many at once.

A selection is walked newest first: live jobs by creation, then final ones by their end. One call reads at most
`SCANNED_AT_ONCE` index entries of each state, or `READ_AT_ONCE` rows, so a page or a batch may come back short, with a
cursor to go on from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from mainspring.model.cursors import read_cursor, some_of
from mainspring.model.job import JobRecord
from mainspring.model.states import FINAL, LIVE, State
from mainspring.model.text import small
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
from mainspring.store.sql import audit, edges, endings, flows, gates, sayings, stats
from mainspring.store.sql.documents import document
from mainspring.store.sql.statements import READ, WRITE, Query, Row, sql, time_of

__all__ = ["alter", "count", "find", "prune"]

SCANNED_AT_ONCE = 20_000
READ_AT_ONCE = 2000
"""Where it is the row that says whether a job fits, which may be large."""
NAMED_AT_ONCE = 5000
"""How many ids one request looks up, where it need not be all of them."""
COUNTED_AT_ONCE = 200_000
COUNTED_BY_STATE = 10_000
"""How far jobs are counted queue by queue that stand in no index by queue."""


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


@dataclass(frozen=True, slots=True)
class _Stretch:
    """The jobs of one side of one filter, from a place on, and how many of each state are looked at."""

    side: _Side
    filter: Filter
    parts: Sequence[str]
    after: tuple[int, str] | None
    reach: int


def _walk(filter: Filter, limit: int, cursor: str | None) -> Operation[_Walk]:
    """Up to `limit` jobs that fit, from `cursor` on."""
    found: dict[str, tuple[int, ...]] = {_LIVE.table: (), _FINISHED.table: ()}
    start = read_cursor(cursor, (_LIVE.table, _FINISHED.table)) if cursor is not None else None
    parts = (yield from flows.parts_of(filter.flow)) if filter.flow is not None else ()
    for side in (_LIVE, _FINISHED):
        if start and start[0] != side.table:
            continue
        after = start[1:] if start else None
        start = None
        states = sorted(side.states & set(filter.states or side.states))
        room = limit - sum(len(rowids) for rowids in found.values())
        if not states:
            continue
        if room <= 0:
            # Full exactly at the end of the live jobs: the next call begins with the finished ones.
            return _Walk(found[_LIVE.table], (), f"{side.table}:{_END_OF_TIME}:")
        reach = _reach(filter) or room + 1
        rows, last = yield from _fitting(_Stretch(side, filter, parts, after, reach), states, room)
        found[side.table] = tuple(row[0] for row in rows)
        if last is not None:
            return _Walk(found[_LIVE.table], found[_FINISHED.table], f"{side.table}:{last[0]}:{last[1]}")
    return _Walk(found[_LIVE.table], found[_FINISHED.table], None)


_END_OF_TIME = 2**62


def _fitting(
    stretch: _Stretch, states: Sequence[State], room: int
) -> Operation[tuple[Sequence[Row], tuple[int, str] | None]]:
    """Up to `room` of those that fit: place, time, id, state, newest first; and where to go on, None at the end."""
    rows = yield _scan(stretch, states, room + 1)
    rows = sorted(rows, key=lambda row: (row[1], row[2]), reverse=True)
    # What has given all that there was room for has nothing to hide before its last one.
    short = [state for state in states if sum(row[3] == state for row in rows) <= room]
    if _reach(stretch.filter) and short:
        ends = [(row[0], row[1]) for row in (yield _ends(stretch, short))]
        if ends:
            # Of the states that were not walked to their end, the one that was left the earliest.
            horizon = max(ends)
            rows = [row for row in rows if (row[1], row[2]) >= horizon]
            if len(rows) <= room:
                return rows, horizon
    last = (rows[room - 1][1], rows[room - 1][2]) if len(rows) > room else None
    return rows[:room], last


def _reach(filter: Filter) -> int:
    """How much of each state one walk meets at most, where not all of it may fit; else 0."""
    if filter.reads_rows:
        return READ_AT_ONCE
    return SCANNED_AT_ONCE if filter.queue or filter.task or filter.partition is not None else 0


def _fits(filter: Filter) -> tuple[list[str], dict[str, Any]]:
    """The conditions that are looked at job by job."""
    conditions: list[str] = []
    parameters: dict[str, Any] = {}
    for name in ("queue", "task", "partition"):
        if getattr(filter, name) is not None:
            conditions.append(f"{name} = :{name}")
            parameters[name] = getattr(filter, name)
    if filter.text is not None:
        conditions.append("{contains text}")
        parameters["text"] = small(filter.text)
    if filter.tag is not None:
        conditions.append("{tagged tag}")
        # Most rows are told by that they do not have the word; of the others the JSON is read.
        parameters |= {"tag": filter.tag, "tag_written": json.dumps(filter.tag) if filter.tag.isascii() else '"tags"'}
    return conditions, parameters


def _columns(filter: Filter) -> str:
    """What of a job is looked at."""
    return (
        "queue, task, partition"
        + (", args" if filter.text is not None else "")
        + (", options" if filter.tag is not None else "")
    )


def _range(stretch: _Stretch, state: State, columns: str, limit: str) -> str:
    """The jobs of one state, newest first, in the order of an index."""
    side = stretch.side
    conditions, _ = _conditions(stretch.filter, side, stretch.parts)
    if stretch.after:
        conditions.append(f"({side.time}, id) < (:after_at, :after_id)")
    where = "".join(f" AND {condition}" for condition in conditions)
    column, index = _way(stretch.filter, side)
    # The jobs of several flows are sorted: a planner that is shown an index in the order of the times would rather walk
    # all jobs along it.
    order = f"{side.time} + 0" if len(stretch.parts) > 1 else side.time
    return (
        f"SELECT {columns} FROM {side.table} {index} WHERE {column} = '{state.value}'{where} "
        f"ORDER BY {order} DESC, id DESC {limit}"
    )


def _parameters(stretch: _Stretch) -> dict[str, Any]:
    _, parameters = _conditions(stretch.filter, stretch.side, stretch.parts)
    after = {"after_at": stretch.after[0], "after_id": stretch.after[1]} if stretch.after else {}
    return parameters | after | {"reach": stretch.reach}


def _scan(stretch: _Stretch, states: Sequence[State], room: int) -> Query:
    """Gives place, time, id, state of those that fit, up to `room` of each state, newest first within each. No ORDER BY
    outside: it would have all of a range read before the first of it is seen."""
    fits, parameters = _fits(stretch.filter)
    where = f"WHERE {' AND '.join(fits)} " if fits else ""
    columns = f"{{place}} AS place, {stretch.side.time} AS at, id, {_columns(stretch.filter)}"
    ranges = [
        f"SELECT * FROM (SELECT place, at, id, '{state.value}' AS state "
        f"FROM ({_range(stretch, state, columns, 'LIMIT :reach')}) AS jobs{number} {where}LIMIT :room) AS range{number}"
        for number, state in enumerate(states)
    ]
    return Query(" UNION ALL ".join(ranges), _parameters(stretch) | parameters | {"room": room})


def _ends(stretch: _Stretch, states: Sequence[State]) -> Query:
    """Gives time and id of the last that a scan looks at, for the states that have more."""
    at = f"{stretch.side.time} AS at, id"
    ranges = [
        f"SELECT * FROM ({_range(stretch, state, at, 'LIMIT 1 OFFSET :last')}) AS range{number}"
        for number, state in enumerate(states)
    ]
    parameters = _parameters(stretch)
    return Query(" UNION ALL ".join(ranges), parameters | {"last": parameters.pop("reach") - 1})


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
            name = f"{side.records}_brief" if request.brief else side.records
            records = [_record(row) for row in (yield sql(name, doc=document(rowids)))]
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
    if request.stats is not None:
        return (yield from stats.read(request, request.stats))
    yield READ
    filter = request.filter
    if request.ahead_of is not None:
        rows = yield sql("jobs_ahead", id=request.ahead_of, each=request.each)
        ahead = tuple(Tally(queue, State.QUEUED, count, more=count == request.each) for queue, count in rows if count)
        return CountReply(ahead, (yield from time_of(request.now)))
    if request.each is not None:
        tallies, cut = yield from _depths(filter, request.each)
        return CountReply(_sorted(tallies), (yield from time_of(request.now)), cut=cut)
    parts = (yield from flows.parts_of(filter.flow)) if filter.flow is not None else ()
    cursor = None
    if filter.ids:
        ids, cursor = some_of(filter.ids, NAMED_AT_ONCE, request.cursor)
        filter = replace(filter, ids=ids)
    elif filter.reads_rows or request.most is not None or request.cursor is not None:
        tallies, cursor = yield from _piece(request, parts)
        return CountReply(_sorted(tallies), (yield from time_of(request.now)), cursor=cursor)
    tallies = []
    for side in (_LIVE, _FINISHED):
        for state in sorted(side.states & set(filter.states or side.states)):
            conditions, parameters = _conditions(filter, side, parts)
            fits, more = _fits(filter)
            # The state is written out, not a parameter: only so does SQLite use the partial index of that state.
            column, index = _way(filter, side)
            where = " AND ".join([f"{column} = '{state.value}'", *conditions, *fits])
            oldest = "min(run_at)" if state is State.QUEUED and _is_plain(filter) else "NULL"
            # Left to itself SQLite reads each row for its `run_at`; the index in which they wait has it.
            index = "{by jobs_queued}" if oldest != "NULL" else index
            text = f"SELECT queue, count(*), {oldest} FROM {side.table} {index} WHERE {where} GROUP BY queue"
            rows = yield Query(text, parameters | more)
            tallies += [Tally(row[0], state, row[1], row[2]) for row in rows]
    return CountReply(_sorted(tallies), (yield from time_of(request.now)), cursor=cursor)


def _is_plain(filter: Filter) -> bool:
    """Whether it is by states and queue alone."""
    return replace(filter, states=(), queue=None) == Filter()


def _sorted(tallies: Iterable[Tally]) -> tuple[Tally, ...]:
    return tuple(sorted(tallies, key=lambda tally: (tally.queue, tally.state)))


def _piece(request: CountRequest, parts: Sequence[str]) -> Operation[tuple[list[Tally], str | None]]:
    """Count no further than so many jobs from the cursor on: state by state, and the newest of each first."""
    filter = request.filter
    left = request.most if request.most is not None else COUNTED_AT_ONCE
    left = min(left, READ_AT_ONCE * 5) if filter.reads_rows else left
    start = request.cursor.split(":", 2) if request.cursor else None
    tallies: list[Tally] = []
    for side in (_LIVE, _FINISHED):
        for state in sorted(side.states & set(filter.states or side.states)):
            if start and start[0] != state:
                continue
            after = (int(start[1]), start[2]) if start and start[1] else None
            start = None
            if left <= 0:
                return tallies, f"{state.value}::"
            stretch = _Stretch(side, filter, parts, after, left)
            rows = yield _tallied(stretch, state)
            tallies += [Tally(row[0], state, row[1]) for row in rows if row[1]]
            seen = sum(row[2] for row in rows)
            left -= seen
            if left == 0 and (ends := (yield _ends(replace(stretch, reach=seen), (state,)))):
                return tallies, f"{state.value}:{ends[0][0]}:{ends[0][1]}"
    return tallies, None


def _tallied(stretch: _Stretch, state: State) -> Query:
    """Gives queue, how many fit, how many were looked at."""
    fits, parameters = _fits(stretch.filter)
    which = f"count(CASE WHEN {' AND '.join(fits)} THEN 1 END)" if fits else "count(*)"
    jobs = _range(stretch, state, _columns(stretch.filter), "LIMIT :reach")
    text = f"SELECT queue, {which}, count(*) FROM ({jobs}) AS jobs GROUP BY queue"
    return Query(text, _parameters(stretch) | parameters)


_BY_QUEUE = (State.QUEUED, State.SCHEDULED, State.RUNNING)
"""The states whose jobs stand in an index by queue."""


def _depths(filter: Filter, each: int) -> Operation[tuple[list[Tally], frozenset[State]]]:
    """What is in each queue, no state of it counted further than to `each`."""
    states = filter.states or tuple(State)
    tallies: list[Tally] = []
    queues = [filter.queue] if filter.queue is not None else [row[0] for row in (yield sql("queue_names"))]
    for state in states:
        if state in _BY_QUEUE:
            for queue, count, oldest in (yield sql(f"depths_{state.value}", doc=document(queues), each=each)):
                if count:
                    tallies.append(Tally(queue, state, count, oldest, more=count == each))
    cut: set[State] = set()
    for side in (_LIVE, _FINISHED):
        for state in sorted(side.states & set(states) - set(_BY_QUEUE)):
            rows = yield _tallied(_Stretch(side, filter, (), None, COUNTED_BY_STATE), state)
            if sum(row[2] for row in rows) == COUNTED_BY_STATE:
                cut.add(state)
            tallies += [Tally(row[0], state, row[1], more=state in cut) for row in rows if row[1]]
    return tallies, frozenset(cut)


def alter(request: AlterRequest) -> Operation[AlterReply]:
    states = set(request.verb.changes) & set(request.filter.states or State)
    if not states:
        return AlterReply(0, None)
    yield WRITE
    now = yield from time_of(request.now)
    chosen, cursor, more = replace(request.filter, states=tuple(sorted(states))), request.cursor, None
    if chosen.ids:
        ids, more = some_of(chosen.ids, min(request.limit, READ_AT_ONCE), cursor)
        chosen, cursor = replace(chosen, ids=ids), None
    walk: _Walk = yield from _walk(chosen, request.limit, cursor)
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
            yield from stats.cancelled([row[1:] for row in moved], now)
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
    return AlterReply(len(changed), more if chosen.ids else walk.cursor)


def _ids(rows: Sequence[Row]) -> str:
    return document([row[0] for row in rows])


def prune(request: PruneRequest) -> Operation[int]:
    if request.stats:
        return (yield from stats.roll_up(request))
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
    yield from audit.prune(request, now)
    return len(gone) + (yield from _forget_days(request, now))


def _forget_days(request: PruneRequest, now: int) -> Operation[int]:
    """Where completed jobs are kept by the day: open the next ones before anybody needs them; forget those that are
    over, which is for the end, since nobody comes to finished jobs until this is committed."""
    yield sql("open_days", now=now)
    keep_ms = request.keep_ms.get(State.COMPLETED)
    if keep_ms is None:
        return 0
    return sum(row[0] for row in (yield sql("forget_days", before=now - keep_ms, limit=request.limit)))
