"""Exact numbers of jobs, in however many pieces a store gives them."""

from __future__ import annotations

from collections import Counter

from mainspring.model.states import State
from mainspring.store.base import CountRequest, Filter
from mainspring.twin import Steps, ask

__all__ = ["counted"]


def counted(filter: Filter) -> Steps[Counter[tuple[str, State]]]:
    """How many jobs fit, by queue and state."""
    counts: Counter[tuple[str, State]] = Counter()
    request = CountRequest(filter)
    while True:
        reply = yield from ask(request)
        counts.update({(tally.queue, tally.state): tally.count for tally in reply.tallies})
        if reply.cursor is None:
            return counts
        request = CountRequest(filter, cursor=reply.cursor)
