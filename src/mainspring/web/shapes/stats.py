"""Statistics in JSON."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any

from pydantic import Field

from mainspring.model.stats import EVENTS, Histogram, Point, Series
from mainspring.web.shapes.base import Moment, Shape

__all__ = ["SeriesShape", "TotalShape", "series_shape", "total_shape"]


class TimesShape(Shape):
    """How long something took, in seconds; null: it never happened. Percentiles are right within a quarter."""

    count: int
    mean_seconds: float | None
    p50_seconds: float | None
    p95_seconds: float | None
    p99_seconds: float | None


class CountsShape(Shape):
    """What happened in a stretch of time."""

    enqueued: int
    started: int = Field(description="Runs that began.")
    completed: int
    failed: int = Field(description="Runs that raised, whether they are tried again or not.")
    retried: int = Field(description="Of the failed ones, those that are tried again.")
    dead: int
    cancelled: int
    crashed: int = Field(description="Runs whose worker, or process, died.")
    limited: int = Field(description='Runs that were told "too many requests".')
    wait: TimesShape = Field(description="From when a job was due until it was claimed.")
    run: TimesShape = Field(description="From the claim to the end.")
    depth: float | None = Field(
        description="How many jobs were due, on average over the looks, one a minute; null: nobody has looked."
    )
    oldest_seconds: float | None = Field(
        description="For how long the longest-waiting job had been due, at worst; 0: none was; null: nobody has looked."
    )


class PointShape(CountsShape):
    """What happened in the stretch of time that begins then."""

    at: Moment


class SeriesShape(Shape):
    """Statistics over a time, point by point; the last one is not over yet."""

    seconds_per_point: float
    points: list[PointShape]
    total: CountsShape = Field(description="All of it together.")


class TotalShape(CountsShape):
    """What a time came to for one queue, or one task."""

    name: str


def series_shape(series: Series) -> SeriesShape:
    """Statistics over a time."""
    return SeriesShape(
        seconds_per_point=series.seconds_per_point,
        points=[PointShape(at=point.at, **_counts(point)) for point in series.points],
        total=CountsShape(**_counts(reduce(add, series.points))),
    )


def total_shape(name: str, point: Point) -> TotalShape:
    """What a time came to for one queue, or one task."""
    return TotalShape(name=name, **_counts(point))


def _counts(point: Point) -> dict[str, Any]:
    counts: dict[str, Any] = {name: getattr(point, name) for name in EVENTS}
    return counts | {
        "wait": _times(point.wait),
        "run": _times(point.run),
        "depth": point.depth,
        "oldest_seconds": point.oldest_seconds,
    }


def _times(seen: Histogram) -> TimesShape:
    return TimesShape(
        count=seen.count,
        mean_seconds=seen.mean,
        p50_seconds=seen.percentile(0.5),
        p95_seconds=seen.percentile(0.95),
        p99_seconds=seen.percentile(0.99),
    )
