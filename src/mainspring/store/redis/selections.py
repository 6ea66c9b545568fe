"""Selections of jobs: find, count, alter, prune. What people look at and what they do to many at once.

A selection is walked newest first: live jobs by creation, then final ones by their end. No script looks at more than
some thousand jobs or changes more than some hundred, so that the server is never held up: pages and batches come back
short, with a cursor to go on from.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import fields, replace
from typing import Any

from mainspring.model.cursors import read_cursor, some_of
from mainspring.model.options import TEXT_SEARCHED
from mainspring.model.states import State
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
)
from mainspring.store.redis import stats
from mainspring.store.redis.documents import document
from mainspring.store.redis.passing import pass_on
from mainspring.store.redis.rows import flow_of, record_of
from mainspring.store.redis.scripts import Call

__all__ = ["Selections"]

PRUNED_AT_ONCE = 250
NAMED_AT_ONCE = 500
"""How many ids one script looks up, where it need not be all of them."""
ALTERED_AT_ONCE = 100
COUNTED_BY_SCRIPT = 2500
COUNTED_AT_ONCE = 10_000

_SIDES = ("live", "final")


class Selections:
    """Operations on many jobs."""

    keep: int
    """How many final jobs of each state are kept at most, whatever their age."""

    def find(self, request: FindRequest) -> Operation[Page]:
        if request.cursor is not None:
            read_cursor(request.cursor, () if request.flows else _SIDES)
        if request.flows:
            asked = document(flow=request.filter.flow, limit=request.limit, cursor=request.cursor)
            rows, cursor = yield Call("flow_page", asked)
            return Page((), cursor, tuple(map(flow_of, rows)))
        if request.stamps:
            flat = yield Call("stamps", document(ids=request.filter.ids))
            return Page((), None, stamps=tuple(zip(flat[::2], flat[1::2], strict=True)))
        filter, cursor, further = request.filter, request.cursor, None
        states = filter.states or tuple(State)
        if len(filter.ids) > request.limit or (filter.ids and cursor):
            filter, further = yield from _named(filter, request.limit, cursor)
            cursor = None
        rows, cursor = yield Call(
            "find",
            document(
                filter=_filter(filter),
                states=states,
                limit=request.limit,
                cursor=cursor,
                with_log=request.with_log or None,
                bookmarks={mark.job: (mark.line, mark.piece) for mark in request.bookmarks} or None,
                with_parents=request.with_parents or None,
                brief=request.brief or None,
            ),
        )
        return Page(tuple(map(record_of, rows)), further if filter.ids else cursor)

    def count(self, request: CountRequest) -> Operation[CountReply]:
        if request.stats is not None:
            return (yield from stats.read(request, request.stats))
        left = min(COUNTED_AT_ONCE, request.most or COUNTED_AT_ONCE)
        counts: defaultdict[tuple[str, State], int] = defaultdict(int)
        oldest: dict[tuple[str, State], int] = {}
        cursor = request.cursor
        while True:
            filter, place, some, further = request.filter, cursor, min(left, COUNTED_BY_SCRIPT), None
            if filter.ids:
                ids, further = some_of(filter.ids, NAMED_AT_ONCE, cursor)
                filter, place, some = replace(filter, ids=ids), None, len(ids)
            asked = document(
                filter=_filter(filter, loose=True),
                states=filter.states or tuple(State),
                cursor=place,
                reach=some,
                ahead_of=request.ahead_of,
                now=request.now,
            )
            now, cursor, tallies = yield Call("count", asked)
            cursor = further if filter.ids else cursor
            left -= some
            for queue, state, count, since in tallies:
                counts[queue, State(state)] += count
                if since is not None:
                    oldest[queue, State(state)] = since
            if cursor is None or left <= 0:
                break
        tallied = tuple(Tally(*place, count, oldest.get(place)) for place, count in counts.items())
        return CountReply(tallied, now, cursor=cursor)

    def alter(self, request: AlterRequest) -> Operation[AlterReply]:
        states = set(request.verb.changes) & set(request.filter.states or State)
        if not states:
            return AlterReply(0, None)
        filter, cursor, further = request.filter, request.cursor, None
        if filter.ids:
            ids, further = some_of(filter.ids, min(request.limit, ALTERED_AT_ONCE), cursor)
            filter, cursor = replace(filter, ids=ids), None
        count, cursor, more = yield Call(
            "alter",
            document(
                verb=request.verb,
                filter=_filter(filter, loose=True),
                states=sorted(states),
                value=request.value if request.value is not None else 0,
                reason=request.reason,
                limit=min(request.limit, ALTERED_AT_ONCE),
                cursor=cursor,
                now=request.now,
            ),
        )
        if more:
            yield from pass_on(request.now)
        return AlterReply(count, further if filter.ids else cursor)

    def prune(self, request: PruneRequest) -> Operation[int]:
        if request.stats:
            return (yield from stats.roll_up(request))
        gone, more = 0, True
        final = {state: keep_ms for state, keep_ms in request.keep_ms.items() if state in _FINAL}
        while more:
            limit = min(PRUNED_AT_ONCE, request.limit - gone)
            audit = request.keep_audit_ms
            asked = document(keep_ms=final, most=self.keep, limit=limit, keep_audit_ms=audit, now=request.now)
            pruned = yield Call("prune", asked)
            gone += pruned
            more = pruned > 0 and gone < request.limit
        return gone


def _named(filter: Filter, limit: int, cursor: str | None) -> Operation[tuple[Filter, str | None]]:
    """The same filter with the ids of one page alone, and where the next one begins. Many ids are looked up by many
    scripts, and put in order here."""
    places: list[tuple[int, int, str]] = []
    rest: str | None = None
    while True:
        ids, rest = some_of(filter.ids, NAMED_AT_ONCE, rest)
        asked = document(filter=_filter(replace(filter, ids=ids)), states=filter.states or tuple(State))
        places += [(-final, time, id) for final, time, id in (yield Call("named", asked))]
        if rest is None:
            break
    if cursor is not None:
        side, time, id = read_cursor(cursor, _SIDES)
        start = (-_SIDES.index(side), time, id)
        places = [place for place in places if place < start]
    places = sorted(set(places), reverse=True)
    page, last = places[:limit], places[limit - 1 : limit]
    more = len(places) > limit
    further = f"{_SIDES[-last[0][0]]}:{last[0][1]}:{last[0][2]}" if more else None
    return replace(filter, ids=tuple(id for *_, id in page) or ("",)), further


_FINAL = frozenset({State.COMPLETED, State.DEAD, State.CANCELLED})


def _filter(filter: Filter, *, loose: bool = False) -> dict[str, Any]:
    """What is asked for, without the states; `loose`: where ids are named, in any order."""
    named = {field.name: getattr(filter, field.name) for field in fields(filter) if field.name != "states"}
    given = {name: value for name, value in named.items() if value is not None and value != ()}
    if filter.text is not None:
        given |= {"text": small(filter.text), "searched": TEXT_SEARCHED}
    if loose:
        given["loose"] = True
    return given
