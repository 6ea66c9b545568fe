"""Flows: jobs that belong together, and what is known of them as a whole."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence

from mainspring.model.cursors import read_cursor
from mainspring.model.job import Policy
from mainspring.model.states import State
from mainspring.store.base import Callback, FindRequest, FlowRecord, NewFlow, Operation, Page
from mainspring.store.sql.documents import document
from mainspring.store.sql.statements import Row, sql

__all__ = ["add", "forget_empty", "page", "parts_of"]


def add(flows: Sequence[NewFlow], now: int) -> Operation[None]:
    """Write those that are not there yet."""
    if flows:
        yield sql("add_flows", doc=document(flows), now=now)


def parts_of(flow: str) -> Operation[list[str]]:
    """A flow, and all that are a part of it."""
    return [row[0] for row in (yield sql("parts_of", flow=flow))]


def page(request: FindRequest) -> Operation[Page]:
    """Flows instead of jobs, newest first."""
    if request.filter.flow is not None:
        rows = yield sql("flow", flow=request.filter.flow)
    else:
        _, at, id = read_cursor(request.cursor) if request.cursor is not None else ("", 2**62, "")
        rows = yield sql("flow_page", at=at, id=id, limit=request.limit + 1)
    shown = rows[: request.limit]
    counts: defaultdict[str, dict[State, int]] = defaultdict(dict)
    for flow, state, count in (yield sql("flow_counts", doc=document([row[0] for row in shown]))):
        counts[flow][State(state)] = count
    flows = tuple(_record(row, counts[row[0]]) for row in shown)
    last = flows[-1] if len(rows) > len(shown) else None
    return Page((), f"{last.created_at}:{last.id}" if last else None, flows)


def _record(row: Row, counts: dict[State, int]) -> FlowRecord:
    id, name, parent, created_at, callbacks = row
    return FlowRecord(
        id,
        name,
        parent,
        created_at,
        tuple(Callback(each["job"], Policy(each["policy"])) for each in json.loads(callbacks)),
        tuple((state, counts[state]) for state in State if state in counts),
    )


def forget_empty(limit: int) -> Operation[None]:
    """Flows of which nothing is left are gone; looks at the oldest `limit`, and at those that they were a part of."""
    rows = yield sql("oldest_flows", limit=limit)
    while rows:
        gone = yield sql("forget_flows", doc=document([row[0] for row in rows]))
        # The flows that these were a part of may be empty now.
        above = sorted({row[0] for row in gone if row[0] is not None})
        rows = (yield sql("lock_flows", doc=document(above))) if above else ()
