"""What `mainspring top` shows: one look at a store, as text, as a picture for terminals, as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

from mainspring.admin import QueueView, WorkerView
from mainspring.app import Mainspring
from mainspring.cli.output import Column, ago, grid, iso, one_line, say, span, table
from mainspring.cli.queue_views import queue_json
from mainspring.cli.workers import worker_json, worker_memory, worker_state
from mainspring.model.durations import to_ms
from mainspring.model.states import State
from mainspring.model.stats import EVENTS, Histogram, Point, Series

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Sight", "as_json", "drawn", "sight_of", "written"]

PERCENTILES = (0.5, 0.95, 0.99)
BARS = "▁▂▃▄▅▆▇█"

QUEUES = (
    Column("QUEUE"),
    Column("WAITING", right=True, whole=True),
    Column("RUNNING", right=True, whole=True),
    Column("DEAD", right=True, whole=True, from_width=90),
    Column("OLDEST", right=True, whole=True),
    Column("COMPLETED", right=True, whole=True),
    Column("FAILED", right=True, whole=True),
    Column("WAIT 95%", right=True, whole=True),
    Column("RUN 95%", right=True, whole=True),
)
WORKERS = (
    Column("WORKER"),
    Column("STATE", is_state=True, whole=True),
    Column("JOBS", right=True, whole=True),
    Column("MEMORY", right=True, whole=True, from_width=90),
    Column("QUEUES"),
    Column("LAST HEARD", right=True, whole=True),
)


@dataclass(frozen=True, slots=True)
class Sight:
    """One look at a store."""

    url: str
    at: datetime
    span_seconds: float
    series: Series
    by_queue: Mapping[str, Point]
    queues: Sequence[QueueView]
    workers: Sequence[WorkerView]

    @property
    def total(self) -> Point:
        """All that happened."""
        return reduce(add, self.series.points)

    @property
    def recent_seconds(self) -> float:
        """Over how long rates are taken: the present stretch, as far as it has come, and the one before."""
        step = self.series.seconds_per_point
        present = (self.series.until - self.series.points[-1].at).total_seconds()
        return min(step, max(1.0, present)) + step * len(self.series.points[-2:-1])

    def rate(self, event: str) -> float:
        """How often it happened a second, lately."""
        happened: int = sum(getattr(point, event) for point in self.series.points[-2:])
        return happened / self.recent_seconds


def sight_of(app: Mainspring, span: str) -> Sight:
    """Look."""
    return Sight(
        url=app.url,
        at=datetime.now(UTC),
        span_seconds=to_ms(span) / 1000,
        series=app.stats.series(span),
        by_queue=app.stats.totals(span, by="queue"),
        queues=app.queues.list(),
        workers=app.workers.list(),
    )


# --- for people ------------------------------------------------------------------------------------------------------


def written(sight: Sight) -> None:
    """As text, nothing of it cut."""
    say(f"{sight.url}, the last {span(sight.span_seconds)}, {iso(sight.at)}")
    for title, fact in _facts(sight):
        say(f"  {title:<10} {fact}")
    for columns, rows in _tables(sight):
        say()
        table(columns, rows)


def drawn(sight: Sight, width: int, trouble: str = "") -> RenderableType:
    """For a terminal of so many columns."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    head = Table.grid(expand=True)
    head.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    head.add_column(justify="right", no_wrap=True)
    when = f"last {span(sight.span_seconds)}   {sight.at.astimezone():%H:%M:%S}"
    head.add_row(Text.assemble(("mainspring top", "bold"), "  ", one_line(sight.url)), Text(when, "dim"))
    facts = Table.grid(padding=(0, 2, 0, 0))
    for title, fact in _facts(sight):
        facts.add_row(Text(title, "dim"), Text(fact, no_wrap=True, overflow="ellipsis"))
    bars, peak = _bars(sight.series.points, max(10, width - 20))
    facts.add_row(Text("completed", "dim"), Text.assemble((bars, "green"), (f" {peak}", "dim")))
    parts: list[RenderableType] = [head, Text(), facts]
    for columns, rows in _tables(sight):
        parts += [Text(), grid(columns, [[one_line(cell) for cell in row] for row in rows], width)]
    if trouble:
        parts += [Text(), Text(f"this is what was seen last: {one_line(trouble)}", "red")]
    return Group(*parts)


def _facts(sight: Sight) -> list[tuple[str, str]]:
    total = sight.total
    return [
        ("jobs", _listed(total, "enqueued", "completed", "dead", "cancelled")),
        ("runs", _listed(total, "started", "failed", "retried", "crashed", "limited")),
        ("lately", f"{_rates(sight, 'enqueued', 'completed', 'failed')} (over {span(sight.recent_seconds)})"),
        ("due", _depths(sight.series.points, total)),
        ("waited", _percentiles(total.wait)),
        ("ran", _percentiles(total.run)),
    ]


def _tables(sight: Sight) -> list[tuple[Sequence[Column], list[tuple[str, ...]]]]:
    nothing = Point(sight.at)
    queues = [_queue_row(view, sight.by_queue.get(view.name, nothing)) for view in sight.queues]
    workers = [_worker_row(view) for view in sight.workers]
    return [each for each in ((QUEUES, queues), (WORKERS, workers)) if each[1]]


def _listed(point: Point, *events: str) -> str:
    return ", ".join(f"{getattr(point, name):,} {name}" for name in events)


def _depths(points: Sequence[Point], total: Point) -> str:
    """How many jobs were due, by the looks of one worker a minute."""
    if total.depth is None:
        return "-"
    most = max(point.depth or 0 for point in points)
    oldest = f", the oldest for {span(total.oldest_seconds)}" if total.oldest_seconds else ""
    return f"{_mean(total.depth)} on average, {_mean(most)} at most{oldest}"


def _mean(number: float) -> str:
    return f"{number:,.1f}" if number < 10 and number != int(number) else f"{number:,.0f}"


def _rates(sight: Sight, *events: str) -> str:
    return ", ".join(f"{_per_second(sight.rate(name))} {name}" for name in events)


def _per_second(rate: float) -> str:
    return f"{rate:,.0f}/s" if rate >= 100 else f"{rate:.1f}/s" if rate >= 0.1 or not rate else f"{rate * 60:.1f}/min"


def _percentiles(histogram: Histogram) -> str:
    if not histogram.count:
        return "-"
    return ", ".join(f"{fraction:.0%} {_time(histogram, fraction)}" for fraction in PERCENTILES)


def _time(histogram: Histogram, fraction: float) -> str:
    seconds = histogram.percentile(fraction)
    return "-" if seconds is None else span(seconds)


def _queue_row(view: QueueView, point: Point) -> tuple[str, ...]:
    waiting = sum(view.counts.get(state, 0) for state in (State.QUEUED, State.SCHEDULED, State.BLOCKED))
    return (
        f"{view.name} (paused)" if view.paused else view.name,
        f"{waiting:,}",
        f"{view.counts.get(State.RUNNING, 0):,}",
        f"{view.counts.get(State.DEAD, 0):,}",
        "-" if view.oldest_waiting is None else span(view.oldest_waiting),
        f"{point.completed:,}",
        f"{point.failed:,}",
        _time(point.wait, 0.95),
        _time(point.run, 0.95),
    )


def _worker_row(view: WorkerView) -> tuple[str, ...]:
    running = f"{view.running}/{view.concurrency}"
    memory = worker_memory(view)
    return view.name, worker_state(view), running, memory, ", ".join(view.queues), ago(view.beat_at)


def _bars(points: Sequence[Point], width: int) -> tuple[str, str]:
    """Completed jobs from then to now, as a row of bars, and what the highest stands for."""
    group = -(-len(points) // width)
    sums = [sum(point.completed for point in points[at : at + group]) for at in range(0, len(points), group)]
    peak = max(sums)
    bars = "".join(" " if not each else BARS[(each * 8 - 1) // peak] for each in sums)
    return bars, f"≤ {peak:,}" if peak else ""


# --- for programs ----------------------------------------------------------------------------------------------------


def as_json(sight: Sight) -> dict[str, Any]:
    """For programs. The names stay as they are from version to version."""
    return {
        "url": sight.url,
        "at": iso(sight.at),
        "span_seconds": sight.span_seconds,
        "seconds_per_point": sight.series.seconds_per_point,
        "total": _point_json(sight.total),
        "recent_seconds": round(sight.recent_seconds, 3),
        "per_second": {name: round(sight.rate(name), 3) for name in EVENTS},
        "points": [{"at": iso(point.at), **_point_json(point)} for point in sight.series.points],
        "queues": [
            {**queue_json(view), "stats": _point_json(sight.by_queue.get(view.name, Point(sight.at)))}
            for view in sight.queues
        ],
        "workers": [worker_json(view) for view in sight.workers],
    }


def _point_json(point: Point) -> dict[str, Any]:
    return {name: getattr(point, name) for name in EVENTS} | {
        "wait": _histogram_json(point.wait),
        "run": _histogram_json(point.run),
        "depth": point.depth,
        "oldest_seconds": point.oldest_seconds,
    }


def _histogram_json(histogram: Histogram) -> dict[str, Any]:
    seconds = {f"p{fraction * 100:.0f}_seconds": histogram.percentile(fraction) for fraction in PERCENTILES}
    return {"count": histogram.count, "mean_seconds": histogram.mean} | seconds
