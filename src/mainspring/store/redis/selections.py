"""Selections of jobs: find, count, alter, prune. What people look at and what they do to many at once.

A selection is walked newest first: live jobs by creation, then final ones by their end. No script looks at more than
some thousand jobs or changes more than some hundred, so that the server is never held up: pages and batches come back
short, with a cursor to go on from.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import fields
from typing import Any

from mainspring.model.cursors import read_cursor
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
    Verb,
)
from mainspring.store.redis import stats
from mainspring.store.redis.documents import document
from mainspring.store.redis.passing import pass_on
from mainspring.store.redis.rows import flow_of, record_of
from mainspring.store.redis.scripts import Call

__all__ = ["Selections"]

PRUNED_AT_ONCE = 250
COUNTED_BY_SCRIPT = 2500
COUNTED_AT_ONCE = 10_000

_WAITING = frozenset({State.BLOCKED, State.SCHEDULED, State.QUEUED})
_SIDES = ("live", "final")
_CONCERNS = {
    Verb.CANCEL: _WAITING | {State.RUNNING},
    Verb.REVIVE: frozenset({State.SCHEDULED, State.COMPLETED, State.DEAD, State.CANCELLED}),
    Verb.RESCHEDULE: frozenset({State.SCHEDULED, State.QUEUED}),
    Verb.REPRIORITISE: _WAITING,
    Verb.DELETE: frozenset(State) - {State.RUNNING},
}
"""The states of jobs that a verb may change."""


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
        states = request.filter.states or tuple(State)
        rows, cursor = yield Call(
            "find",
            document(
                filter=_filter(request.filter),
                states=states,
                limit=request.limit,
                cursor=request.cursor,
                with_log=request.with_log or None,
                bookmarks={mark.job: (mark.line, mark.piece) for mark in request.bookmarks} or None,
                with_parents=request.with_parents or None,
                brief=request.brief or None,
            ),
        )
        return Page(tuple(map(record_of, rows)), cursor)

    def count(self, request: CountRequest) -> Operation[CountReply]:
        if request.stats is not None:
            return (yield from stats.read(request, request.stats))
        chosen = {"filter": _filter(request.filter), "states": request.filter.states or tuple(State)}
        left = min(COUNTED_AT_ONCE, request.most or COUNTED_AT_ONCE)
        counts: defaultdict[tuple[str, State], int] = defaultdict(int)
        oldest: dict[tuple[str, State], int] = {}
        cursor = request.cursor
        while True:
            some = min(left, COUNTED_BY_SCRIPT)
            asked = document(**chosen, cursor=cursor, reach=some, ahead_of=request.ahead_of, now=request.now)
            now, cursor, tallies = yield Call("count", asked)
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
        states = _CONCERNS[request.verb] & set(request.filter.states or State)
        if not states:
            return AlterReply(0, None)
        count, cursor, more = yield Call(
            "alter",
            document(
                verb=request.verb,
                filter=_filter(request.filter),
                states=sorted(states),
                value=request.value if request.value is not None else 0,
                reason=request.reason,
                limit=request.limit,
                cursor=request.cursor,
                now=request.now,
            ),
        )
        if more:
            yield from pass_on(request.now)
        return AlterReply(count, cursor)

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


_FINAL = frozenset({State.COMPLETED, State.DEAD, State.CANCELLED})


def _filter(filter: Filter) -> dict[str, Any]:
    """What is asked for, without the states."""
    named = {field.name: getattr(filter, field.name) for field in fields(filter) if field.name != "states"}
    given = {name: value for name, value in named.items() if value is not None and value != ()}
    if filter.text is not None:
        given |= {"text": small(filter.text), "searched": TEXT_SEARCHED}
    return given
