"""The overview: how it goes, now and over the last hour, day or week."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from mainspring.admin import QueueView, WorkerView
from mainspring.model.states import State
from mainspring.model.stats import Point
from mainspring.web.identity import Role
from mainspring.web.pages import axes
from mainspring.web.pages.charts import Chart, Curve, Span, Trace, lines, spark, stacked
from mainspring.web.pages.links import Links
from mainspring.web.pages.reads import Counts, reads_of
from mainspring.web.pages.rendering import Page, page_of
from mainspring.web.pages.statistics import Depths, History
from mainspring.web.pages.words import amount, counted, number, percent, seconds
from mainspring.web.site import may

__all__ = ["SPANS", "Attention", "Tile", "attention", "charts_of", "router", "tiles_of"]

SPANS = {"1h": "Hour", "24h": "Day", "7d": "Week"}
OLD_SECONDS = 15 * 60
"""From when on a job that waits in a queue that is open is worth a word."""

router = APIRouter(dependencies=[may(Role.VIEWER)])
AtPage = Annotated[Page, Depends(page_of)]


@dataclass(frozen=True, slots=True)
class Tile:
    """One number, and how it came to be."""

    label: str
    value: str
    unit: str
    note: str
    href: str = ""
    tone: str = ""
    spark: Trace | None = None
    points: int = 1
    key: str = "c1"


@dataclass(frozen=True, slots=True)
class Attention:
    """Something that somebody should look at."""

    text: str
    href: str
    action: str


def attention(queues: Sequence[QueueView], workers: Sequence[WorkerView], links: Links) -> tuple[Attention, ...]:
    """What is amiss, the worst first."""
    told: list[Attention] = []
    counts = Counts.over(queues)
    at_work = [worker for worker in workers if worker.alive and not worker.quiet]
    if counts.waiting and not at_work:
        told.append(Attention("No worker takes jobs, and some wait.", links("workers"), "Workers"))
    gone = [worker for worker in workers if not worker.alive]
    if gone:
        said = f"{counted(len(gone), 'worker')} {'has' if len(gone) == 1 else 'have'} not been heard of for too long."
        told.append(Attention(said, links("workers"), "Workers"))
    for queue in queues:
        there = links("queue", name=queue.name)
        queued = queue.counts.get(State.QUEUED, 0)
        if queue.paused:
            told.append(Attention(f"Queue {queue.name} is paused; {_waiting(queued)}.", there, "Look"))
        elif queued and at_work and not any(queue.name in worker.queues for worker in at_work):
            told.append(Attention(f"No worker takes queue {queue.name}; {_waiting(queued)}.", there, "Look"))
        elif (queue.oldest_waiting or 0) > OLD_SECONDS:
            age = seconds(queue.oldest_waiting)
            told.append(Attention(f"In queue {queue.name} a job has been due for {age}.", there, "Look"))
    return tuple(told)


def _waiting(count: int) -> str:
    return "nothing waits" if not count else f"{counted(count, 'job')} {'waits' if count == 1 else 'wait'}"


def tiles_of(
    history: History,
    queues: Sequence[QueueView],
    workers: Sequence[WorkerView],
    links: Links,
) -> tuple[Tile, ...]:
    """What counts, each as one number."""
    counts = Counts.over(queues)
    oldest = max((queue.oldest_waiting for queue in queues if queue.oldest_waiting is not None), default=None)
    alive = [worker for worker in workers if worker.alive]
    slots = sum(worker.concurrency for worker in alive)
    ages = history.oldest()
    tiles = [
        Tile(
            "Queued",
            counts.told(State.QUEUED),
            "due",
            f"{number(counts[State.SCHEDULED])} scheduled, {number(counts[State.BLOCKED])} blocked",
            links("jobs", state="queued"),
            spark=spark(history.depth(due_now(counts)).known),
            points=history.span.points,
            key="c3",
        ),
        Tile(
            "Oldest",
            seconds(oldest),
            "waiting" if oldest is not None else "",
            "of the jobs that are due" if oldest is not None else "nothing is due",
            links("queues"),
            "bad" if oldest is not None and oldest > OLD_SECONDS else "",
            spark=spark(ages) if any(ages) else None,
            points=history.span.points,
            key="c3",
        ),
        Tile(
            "Running",
            counts.told(State.RUNNING),
            f"of {amount(slots)} slots" if slots else "",
            f"on {counted(len(alive), 'worker')}",
            links("jobs", state="running"),
        ),
        Tile(
            "Dead letters",
            counts.told(State.DEAD),
            "",
            "to be looked at" if counts[State.DEAD] else "nothing to look at",
            links("dead"),
            "bad" if counts[State.DEAD] else "",
            spark=spark(history.of("dead")) if history.total("dead") else None,
            points=history.span.points,
            key="c2",
        ),
    ]
    return (*tiles, *_of_history(history))


def _of_history(history: History) -> tuple[Tile, ...]:
    done, failed = history.total("completed"), history.total("failed")
    minutes = history.span.points * history.span.seconds / 60
    share = failed / (failed + done) if failed + done else None
    points = history.span.points
    wait, run = history.merged("wait"), history.merged("run")
    return (
        Tile(
            "Throughput",
            amount(done / minutes) if minutes else "–",
            "per min",
            f"{number(done)} completed",
            spark=spark(history.of("completed")),
            points=points,
        ),
        Tile(
            "Failed tries",
            percent(share),
            "",
            f"{number(failed)} of {number(failed + done)} tries",
            tone="bad" if share is not None and share > 0.1 else "",
            spark=spark(history.of("failed")),
            points=points,
            key="c2",
        ),
        Tile(
            "Wait",
            seconds(wait.percentile(0.95)),
            "p95",
            f"half within {seconds(wait.percentile(0.5))}",
            spark=spark(history.percentiles("wait", 0.95)),
            points=points,
        ),
        Tile(
            "Run",
            seconds(run.percentile(0.95)),
            "p95",
            f"half within {seconds(run.percentile(0.5))}",
            spark=spark(history.percentiles("run", 0.95)),
            points=points,
        ),
    )


def due_now(counts: Counts) -> int | None:
    """How many jobs are due, if they were counted to the last."""
    return None if State.QUEUED in counts.more else counts[State.QUEUED]


def charts_of(history: History, counts: Counts) -> tuple[Chart, ...]:
    """The charts of the overview, and of a queue in which there is so much now."""
    span = history.span
    per = _per(span.seconds)
    done, failed = history.of("completed"), history.of("failed")
    largest = max((a + b for a, b in zip(done, failed, strict=True)), default=0)
    rates = [b / (a + b) if a + b else None for a, b in zip(done, failed, strict=True)]
    return (
        stacked(
            "throughput",
            "Throughput",
            f"tries per {per}",
            span,
            (Curve("completed", "c1", done), Curve("failed", "c2", failed)),
            axes.counts(largest),
            number,
        ),
        stacked(
            "failures",
            "Failure rate",
            "of all tries that ended",
            span,
            (Curve("failed", "c2", rates),),
            axes.shares(max((rate or 0 for rate in rates), default=0)),
            percent,
        ),
        _depth(history.depth(due_now(counts)), span),
        _oldest(history.oldest(), span),
        _times("wait", "Wait", "from due to start", history, span),
        _times("run", "Run", "from start to end", history, span),
        stacked(
            "arrivals",
            "Arrivals",
            f"jobs per {per}",
            span,
            (Curve("enqueued", "c1", history.of("enqueued")), Curve("retried", "c3", history.of("retried"))),
            axes.counts(max(map(sum, zip(history.of("enqueued"), history.of("retried"), strict=True)), default=0)),
            number,
        ),
    )


def _times(id: str, title: str, about: str, history: History, span: Span) -> Chart:
    curves = tuple(
        Curve(f"p{round(100 * share)}", f"p{round(100 * share)}", history.percentiles(id, share))
        for share in (0.99, 0.95, 0.5)
    )
    known = [value for curve in curves for value in curve.values if value]
    scale = axes.durations(min(known, default=0.01), max(known, default=1))
    return lines(id, title, about, span, curves, scale, seconds)


def _depth(depths: Depths, span: Span) -> Chart:
    curves = [Curve("due", "c3", depths.measured)]
    if not depths.is_measured:
        curves.append(Curve("reckoned", "c3 reckoned", depths.reckoned))
    largest = max((depth for depth in depths.known if depth is not None), default=0)
    return stacked(
        "depth", "Queue depth", "jobs that are due", span, curves, axes.counts(largest), _mean, measured=True
    )


def _mean(value: float) -> str:
    return f"{value:.1f}" if value < 10 and value != int(value) else number(value)


def _oldest(ages: Sequence[float | None], span: Span) -> Chart:
    largest = max((age for age in ages if age is not None), default=0)
    curve = Curve("oldest", "c3", ages)
    return stacked(
        "oldest", "Oldest job", "longest time due", span, (curve,), axes.ages(largest), seconds, measured=True
    )


def _per(length: int) -> str:
    return {60: "min", 300: "5 min", 600: "10 min", 900: "15 min", 1800: "30 min", 3600: "h"}.get(
        length, seconds(length)
    )


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task and what it did in the time shown."""

    name: str
    started: int
    completed: int
    failed: int
    dead: int
    wait: float | None
    run: float | None
    share: float
    """Of all time spent running."""


def task_rows(totals: Mapping[str, Point], most: int = 12) -> tuple[TaskRow, ...]:
    """The tasks that ran longest in all."""
    spent = {name: (point.run.mean or 0) * point.run.count for name, point in totals.items()}
    whole = sum(spent.values()) or 1
    rows = [
        TaskRow(
            name,
            point.started,
            point.completed,
            point.failed,
            point.dead,
            point.wait.percentile(0.95),
            point.run.percentile(0.95),
            spent[name] / whole,
        )
        for name, point in totals.items()
        if point.started or point.dead
    ]
    return tuple(sorted(rows, key=lambda row: (-row.share, row.name))[:most])


@router.get("/", include_in_schema=False)
async def overview(page: AtPage) -> Response:
    """The first page."""
    span = page.request.query_params.get("span", "1h")
    span = span if span in SPANS else "1h"
    reads = reads_of(page)
    queues, workers = await reads.queues(), await reads.workers()
    history = await reads.history(span, page.now.zone)
    return page.show(
        "overview.html",
        span=span,
        spans=SPANS,
        attention=attention(queues, workers, page.links),
        tiles=tiles_of(history, queues, workers, page.links),
        charts=charts_of(history, Counts.over(queues)),
        tasks=task_rows(await reads.totals(span)),
        queues=queues,
        nothing=not queues and not workers,
    )
