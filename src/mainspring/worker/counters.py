"""What a worker counts: runs that began, and what became of those that the store has settled.

Counted on the event loop, brought to the store by the heartbeat's thread. This is on the way of every job, so a count
is an addition to a number in a list, and what it means is found out when it is reported.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from itertools import islice

from mainspring.model.job import Claim
from mainspring.model.outcome import Verdict
from mainspring.model.states import State
from mainspring.model.stats import BUCKETS, MINUTE_MS, Cell, Report, bucket
from mainspring.worker.settler import Settled

__all__ = ["Counters"]

CELLS_AT_ONCE = 500
"""How many cells one report has at most."""

_EVENTS = ("started", "completed", "failed", "retried", "dead", "cancelled", "crashed", "limited")
_STARTED, _COMPLETED, _FAILED, _RETRIED, _DEAD, _CANCELLED, _CRASHED, _LIMITED = range(8)
_WAIT_MS, _RUN_MS = 8, 9
_WAIT = 10
_RUN = _WAIT + BUCKETS
_NAMES = (
    *_EVENTS,
    *("wait", "run"),
    *(f"wait:{number}" for number in range(BUCKETS)),
    *(f"run:{number}" for number in range(BUCKETS)),
)

_SHORT = 8192
_BUCKETS = tuple(map(bucket, range(_SHORT)))
"""For most times, without a call."""

_Place = tuple[int, str, str]
"""Number of the minute since 1970, queue, task."""


class Counters:
    """`source` is a name for this worker's life that no other has."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._number = 0
        self._lock = threading.Lock()
        self._counted: dict[_Place, list[int]] = {}
        self._minute, self._queue, self._task = -1, "", ""
        """What was counted last, and `_numbers` of it."""
        self._numbers: list[int] = []
        self._unheard: Report | None = None
        """What was reported, and is not known to have arrived."""

    def started(self, claim: Claim) -> None:
        """A run began."""
        at = claim.started_at
        ms = at - claim.run_at
        with self._lock:
            numbers = self._at(at // MINUTE_MS, claim.queue, claim.task)
            numbers[_STARTED] += 1
            if 0 <= ms < _SHORT:
                numbers[_WAIT + _BUCKETS[ms]] += 1
                numbers[_WAIT_MS] += ms
            else:
                _long(numbers, _WAIT, _WAIT_MS, ms)

    def settled(self, batch: Iterable[Settled]) -> None:
        """The store has applied what was decided about these runs."""
        with self._lock:
            for claim, outcome, settlement, at in batch:
                numbers = self._at(at // MINUTE_MS, claim.queue, claim.task)
                verdict = outcome.verdict
                if verdict is Verdict.COMPLETED:
                    numbers[_COMPLETED] += 1
                elif verdict is Verdict.FAILED or verdict is Verdict.BURIED:
                    numbers[_FAILED] += 1
                    numbers[_DEAD if settlement.state is State.DEAD else _RETRIED] += 1
                else:
                    _other(numbers, verdict, settlement.state)
                    continue
                ms = at - claim.started_at
                if 0 <= ms < _SHORT:
                    numbers[_RUN + _BUCKETS[ms]] += 1
                    numbers[_RUN_MS] += ms
                else:
                    _long(numbers, _RUN, _RUN_MS, ms)

    def _at(self, minute: int, queue: str, task: str) -> list[int]:
        # Mostly it is that of the job before. Its strings have never been hashed: comparing them is less.
        if minute == self._minute and task == self._task and queue == self._queue:
            return self._numbers
        place = (minute, queue, task)
        numbers = self._counted.get(place)
        if numbers is None:
            numbers = self._counted[place] = [0] * len(_NAMES)
        self._minute, self._queue, self._task, self._numbers = minute, queue, task, numbers
        return numbers

    def report(self) -> tuple[Report, ...]:
        """What the store does not have, as far as is known: the same as before, until `heard`. From one thread at a
        time."""
        if self._unheard is None:
            self._unheard = self._next()
        return () if self._unheard is None else (self._unheard,)

    @property
    def has_more(self) -> bool:
        """Whether one report does not hold all that was counted: then the next is not to wait."""
        return len(self._counted) > CELLS_AT_ONCE

    def heard(self, reports: Sequence[Report]) -> None:
        """The store has these."""
        if self._unheard is not None and self._unheard in reports:
            self._unheard = None

    def forget(self) -> None:
        """Let go of what was reported last: it cannot be stored, and must not stand in the way of anything."""
        self._unheard = None

    def rest(self) -> tuple[Report, ...]:
        """All that the store does not have, when nothing will be counted any more."""
        reports = list(self.report())
        while (report := self._next()) is not None:
            reports.append(report)
        return tuple(reports)

    def _next(self) -> Report | None:
        with self._lock:
            places = list(islice(self._counted, CELLS_AT_ONCE))
            taken = [(place, self._counted.pop(place)) for place in places]
            self._minute = -1
        if not taken:
            return None
        self._number += 1
        return Report(self._source, self._number, tuple(_cell(*each) for each in taken))


def _long(numbers: list[int], buckets: int, sum: int, ms: int) -> None:
    """A time that is not in the table; one that is negative was none."""
    numbers[buckets + bucket(ms)] += 1
    numbers[sum] += max(ms, 0)


def _other(numbers: list[int], verdict: Verdict, state: State) -> None:
    """A run that neither completed nor failed."""
    if verdict is Verdict.CANCELLED:
        numbers[_CANCELLED] += 1
    elif verdict is Verdict.RATE_LIMITED:
        numbers[_LIMITED] += 1
    elif verdict is Verdict.LOST:
        numbers[_CRASHED] += 1
        if state is State.DEAD:
            numbers[_DEAD] += 1


def _cell(place: _Place, numbers: list[int]) -> Cell:
    minute, queue, task = place
    return Cell(minute * MINUTE_MS, queue, task, {_NAMES[at]: number for at, number in enumerate(numbers) if number})
