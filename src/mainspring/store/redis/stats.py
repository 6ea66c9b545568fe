"""Statistics: cells are hashes whose numbers scripts add to; what they come to together is added up here."""

from __future__ import annotations

from collections.abc import Sequence

from mainspring.model.stats import HOUR_MS, KEEP_MS, ROLLS, add, starts
from mainspring.store.base import CountReply, CountRequest, Operation, PruneRequest, Sum, Window
from mainspring.store.redis.documents import document
from mainspring.store.redis.scripts import Call

__all__ = ["read", "roll_up"]

READ_AT_ONCE = 500
ROLLED_AT_ONCE = 250
TRIES = 3
"""How often reading begins again where cells were rolled up meanwhile."""


def read(request: CountRequest, window: Window) -> Operation[CountReply]:
    for _ in range(TRIES):
        now, sums, whole = yield from _read(request, window)
        if whole:
            break
    return CountReply((), now, tuple(Sum(*place, numbers) for place, numbers in sorted(sums.items())))


def _read(request: CountRequest, window: Window) -> Operation[tuple[int, dict[_Place, dict[str, int]], bool]]:
    """One try: the time, what it all comes to, and whether no cell can have been missed or met twice."""
    now = yield Call("time", document(now=request.now))
    since = starts(now, window.span_ms, window.step_ms)[0]
    steps = [*(roll.step_ms for roll in ROLLS), HOUR_MS]
    which = {"queue": request.filter.queue, "task": request.filter.task}
    sums = _Sums(window, since)
    cursor, rolled = None, set[str]()
    while True:
        asked = document(steps=steps, since=since, **which, cursor=cursor, limit=READ_AT_ONCE)
        times, cursor, stretches = yield Call("stats_page", asked)
        rolled.add(times)
        for stretch in stretches:
            sums.take(*stretch)
        if cursor is None:
            return now, sums.found, len(rolled) == 1


_Place = tuple[int, str]


class _Sums:
    """What all stretches come to that were read so far."""

    def __init__(self, window: Window, since: int) -> None:
        self._window = window
        self._since = since
        self._stretch = (0, 0)
        """The one that was read last, and what was met of it, which may come again."""
        self._met = set[tuple[str, str]]()
        self.found: dict[_Place, dict[str, int]] = {}

    def take(self, step: int, at: int, cells: Sequence[str]) -> None:
        """Add these cells of one stretch: queue, task, numbers, queue, task, numbers."""
        if (step, at) != self._stretch:
            self._stretch, self._met = (step, at), set()
        for queue, task, text in zip(cells[::3], cells[1::3], cells[2::3], strict=True):
            if (queue, task) in self._met:
                continue
            self._met.add((queue, task))
            words = text.split(" ")
            numbers = dict(zip(words[::2], map(int, words[1::2]), strict=True))
            add(self.found.setdefault(self._place(at, queue, task), {}), numbers)

    def _place(self, at: int, queue: str, task: str) -> _Place:
        since, step = self._since, self._window.step_ms
        if self._window.by is None:
            return since + (at - since) // step * step, ""
        return since, queue if self._window.by == "queue" else task


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
