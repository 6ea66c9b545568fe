"""Statistics: what is counted as it happens, and reports of what workers have counted.

A cell is a row: its place (stretch of time, queue, task) and its numbers as JSON, of which `enqueued` has a column of
its own. Numbers are added up here, not in SQL. Where several write at once, new cells are set aside in a table that is
only added to, so that nobody waits for anybody, and folded in by `roll_up`; where there is one writer, they are added
at once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from mainspring.model.job import NewJob
from mainspring.model.stats import HOUR_MS, KEEP_MS, MINUTE_MS, ROLLS, Cell, Report, add, gathered, starts
from mainspring.store.base import CountReply, CountRequest, Operation, PruneRequest, Sum, Window
from mainspring.store.sql.documents import document
from mainspring.store.sql.statements import READ, WRITE, Row, sql, time_of

__all__ = ["cancelled", "enqueued", "read", "roll_up", "take"]

READ_AT_ONCE = 5000
REPORTS_KEPT_MS = 7 * 24 * HOUR_MS
"""For how long it is known which report of a worker was the last."""


def enqueued(jobs: Iterable[NewJob], now: int) -> Operation[None]:
    """These were stored just now."""
    counts = sorted(Counter((job.queue, job.task) for job in jobs).items())
    if len(counts) == 1:
        (((queue, task), count),) = counts
        yield sql("count_enqueued_of_one", queue=queue, task=task, count=count, at=_minute(now))
    elif counts:
        yield sql("count_enqueued", doc=document([(*place, count) for place, count in counts]), at=_minute(now))


def cancelled(places: Iterable[Row], now: int) -> Operation[None]:
    """Jobs of these queues and tasks were cancelled just now, by no worker."""
    counts = sorted(Counter(places).items())
    yield from _count([Cell(_minute(now), queue, task, {"cancelled": count}) for (queue, task), count in counts])


def take(reports: Sequence[Report], now: int) -> Operation[None]:
    """Count what is reported, if it was not before."""
    for report in reports:
        if (yield sql("take_report", source=report.source, number=report.number, now=now)):
            yield from _count(report.cells)


def _minute(at: int) -> int:
    return at // MINUTE_MS * MINUTE_MS


def _count(cells: Sequence[Cell]) -> Operation[None]:
    if cells and not (yield sql("set_aside", doc=document(list(map(_written, cells))))):
        yield from _add(cells, MINUTE_MS)


def _add(cells: Iterable[Cell], step: int) -> Operation[None]:
    """Add them to what is kept by stretches of that length, in an operation that is alone with it."""
    new = gathered(cells, step)
    if new:
        places = document([(cell.at, cell.queue, cell.task) for cell in new])
        there = [_cell(row) for row in (yield sql("stats_at", doc=places, step=step))]
        sums = gathered([*there, *new], step)
        yield sql("write_stats", doc=document(list(map(_written, sums))), step=step)


def _written(cell: Cell) -> tuple[object, ...]:
    """A cell as its row has it."""
    others = {name: number for name, number in cell.numbers.items() if name != "enqueued"}
    return (cell.at, cell.queue, cell.task, cell.numbers.get("enqueued", 0), json.dumps(others, separators=(",", ":")))


def _cell(row: Row) -> Cell:
    at, queue, task, enqueued, numbers = row
    return Cell(at, queue, task, json.loads(numbers) | ({"enqueued": enqueued} if enqueued else {}))


# --- reading ---------------------------------------------------------------------------------------------------------


def read(request: CountRequest, window: Window) -> Operation[CountReply]:
    yield READ
    now = yield from time_of(request.now)
    since = starts(now, window.span_ms, window.step_ms)[0]
    which = {"only_queue": request.filter.queue, "only_task": request.filter.task}
    sums: dict[tuple[int, str], dict[str, int]] = {}
    _sum_up(sums, (yield sql("set_aside_since", since=since, **which)), since, window)
    for step in (*(roll.step_ms for roll in ROLLS), HOUR_MS):
        if request.filter.queue is not None and request.filter.task is not None:
            place = {"queue": request.filter.queue, "task": request.filter.task}
            _sum_up(sums, (yield sql("stats_of", step=step, since=since, **place)), since, window)
            continue
        # Before the first cell of all, which may have names that are empty: none begins within a minute.
        last: tuple[int, str, str] = (since - 1, "", "")
        while True:
            at, queue, task = last
            rows = yield sql("stats_since", step=step, at=at, queue=queue, task=task, limit=READ_AT_ONCE, **which)
            _sum_up(sums, rows, since, window)
            if len(rows) < READ_AT_ONCE:
                break
            last = rows[-1][:3]
    return CountReply((), now, tuple(Sum(*place, numbers) for place, numbers in sorted(sums.items()) if numbers))


def _sum_up(sums: dict[tuple[int, str], dict[str, int]], rows: Sequence[Row], since: int, window: Window) -> None:
    for cell in map(_cell, rows):
        if window.by is None:
            place = (since + (cell.at - since) // window.step_ms * window.step_ms, "")
        else:
            place = (since, cell.queue if window.by == "queue" else cell.task)
        add(sums.setdefault(place, {}), cell.numbers)


# --- rolling up ------------------------------------------------------------------------------------------------------


def roll_up(request: PruneRequest) -> Operation[int]:
    # A look without the write lock first: all workers come by, and there is mostly nothing to be done.
    now = yield from time_of(request.now)
    if not (yield from _due(now)):
        return 0
    yield WRITE
    yield sql("lock_stats")
    now = yield from time_of(request.now)
    folded = yield sql("fold", limit=request.limit)
    yield from _add(_folded(folded), MINUTE_MS)
    done: int = sum(row[-1] for row in folded)
    for roll in ROLLS:
        rows = yield sql("take_stats", step=roll.step_ms, before=roll.before(now), limit=request.limit)
        yield from _add(map(_cell, rows), roll.into_ms)
        done += len(rows)
    done += len((yield sql("take_stats", step=HOUR_MS, before=now - KEEP_MS, limit=request.limit)))
    yield sql("forget_reports", before=now - REPORTS_KEPT_MS)
    return done


def _due(now: int) -> Operation[bool]:
    if (yield sql("any_set_aside")):
        return True
    for step, before in (*((roll.step_ms, roll.before(now)) for roll in ROLLS), (HOUR_MS, now - KEEP_MS)):
        if (yield sql("any_stats", step=step, before=before)):
            return True
    return False


def _folded(rows: Iterable[Row]) -> Iterator[Cell]:
    """Of rows that are sums already, save for their lists of numbers."""
    for at, queue, task, enqueued, numbers, _ in rows:
        yield Cell(at, queue, task, {"enqueued": enqueued} if enqueued else {})
        for some in json.loads(numbers) if numbers else ():
            yield Cell(at, queue, task, some)
