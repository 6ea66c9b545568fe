"""Statistics: cells are hashes whose numbers scripts add to; what they come to together is added up here."""

from __future__ import annotations

from mainspring.model.stats import HOUR_MS, KEEP_MS, ROLLS, add, starts
from mainspring.store.base import CountReply, CountRequest, Operation, PruneRequest, Sum, Window
from mainspring.store.redis.documents import document
from mainspring.store.redis.scripts import Call

__all__ = ["read", "roll_up"]

READ_AT_ONCE = 500
ROLLED_AT_ONCE = 250
TRIES = 3
"""How often reading begins again where cells were rolled up meanwhile."""

_Sums = dict[tuple[int, str], dict[str, int]]


def read(request: CountRequest, window: Window) -> Operation[CountReply]:
    for _ in range(TRIES):
        now, sums, whole = yield from _read(request, window)
        if whole:
            break
    return CountReply((), now, tuple(Sum(*place, numbers) for place, numbers in sorted(sums.items())))


def _read(request: CountRequest, window: Window) -> Operation[tuple[int, _Sums, bool]]:
    """One try: the time, what it all comes to, and whether no cell can have been missed or met twice."""
    now = yield Call("time", document(now=request.now))
    since = starts(now, window.span_ms, window.step_ms)[0]
    steps = [*(roll.step_ms for roll in ROLLS), HOUR_MS]
    which = {"queue": request.filter.queue, "task": request.filter.task}
    sums: _Sums = {}
    cursor, rolled = None, set[str]()
    while True:
        asked = document(steps=steps, since=since, **which, cursor=cursor, limit=READ_AT_ONCE)
        times, cursor, cells = yield Call("stats_page", asked)
        rolled.add(times)
        for at, queue, task, text in cells:
            if window.by is None:
                place = (since + (at - since) // window.step_ms * window.step_ms, "")
            else:
                place = (since, queue if window.by == "queue" else task)
            words = text.split(" ") if text else ()
            add(sums.setdefault(place, {}), dict(zip(words[::2], map(int, words[1::2]), strict=True)))
        if cursor is None:
            return now, sums, len(rolled) == 1


def roll_up(request: PruneRequest) -> Operation[int]:
    now = yield Call("time", document(now=request.now))
    rolls: list[dict[str, int]] = [
        {"step": roll.step_ms, "into": roll.into_ms, "before": roll.before(now)} for roll in ROLLS
    ]
    rolls.append({"step": HOUR_MS, "before": now - KEEP_MS})
    done = 0
    while done < request.limit:
        some = min(ROLLED_AT_ONCE, request.limit - done)
        rolled = yield Call("stats_roll", document(rolls=rolls, limit=some))
        done += rolled
        if rolled < some:
            break
    return done
