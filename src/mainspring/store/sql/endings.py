"""What follows when jobs end, whichever way: settled, cancelled, deleted, or gone down with a parent."""

from __future__ import annotations

from collections.abc import Sequence

from mainspring.store.base import Operation
from mainspring.store.sql import edges, gates, stats
from mainspring.store.sql.documents import document
from mainspring.store.sql.statements import sql

__all__ = ["ended", "pass_on"]


def ended(
    ids: Sequence[str], now: int, *, deleted: bool = False, first: Operation[edges.Told] | None = None
) -> Operation[None]:
    """These jobs are among the finished ones now; or they were `deleted`, whatever they were.

    Their keys are given back, then `first` is done, then their children are told, and those that this concerns besides.
    """
    yield from _give_back_keys(ids, deleted=deleted)
    told = edges.Told() if first is None else (yield from first)
    if ids and (yield sql("any_edge")):
        if deleted:
            yield from edges.drop(ids)
        yield from edges.tell(ids, told, deleted=deleted)
    yield from pass_on(told, now)
    yield from gates.wake(ids)


def pass_on(told: edges.Told, now: int) -> Operation[None]:
    """Let go of the children that wait no longer, one way or the other."""
    passed = yield from edges.pass_on(told, now)
    yield from _give_back_keys(passed.cancelled)
    yield from stats.cancelled(passed.fell, now)
    if passed.released or passed.cancelled:
        yield from gates.wake([*passed.released, *passed.cancelled])


def _give_back_keys(ids: Sequence[str], *, deleted: bool = False) -> Operation[None]:
    if ids and (yield sql("any_key")):
        yield sql("give_back_keys_of_deleted" if deleted else "give_back_keys_of_ended", doc=document(ids))
