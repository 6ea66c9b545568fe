"""Statistics as the charts want them: over one span, in as many points as can be told apart on a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from functools import reduce
from itertools import groupby
from operator import add

from mainspring.model.stats import Histogram, Point, Series
from mainspring.web.pages.charts import Span

__all__ = ["Depths", "History"]

MOST = 180
"""More points than that cannot be told apart."""
SHORT = 600
"""Of longer points, in seconds, also the one that has not ended yet is shown."""


@dataclass(frozen=True, slots=True)
class History:
    """What happened, point by point."""

    span: Span
    points: Sequence[Point]

    @classmethod
    def of_series(cls, series: Series, zone: tzinfo) -> History:
        """What `app.stats` gives, as the charts want it: without the point that has not ended yet (its numbers would
        look like a fall), and several made one where there are more than can be told apart."""
        step, points = round(series.seconds_per_point), list(series.points)
        if step <= SHORT and len(points) > 1:
            points.pop()
        times = -(-len(points) // MOST)
        if times > 1:
            points = _joined(points, times, step * times)
        return cls(Span(points[0].at, step * times, len(points), zone), points)

    def of(self, name: str) -> list[int]:
        """A number per point."""
        return [getattr(point, name) for point in self.points]

    def total(self, name: str) -> int:
        """All of it."""
        return sum(self.of(name))

    def percentiles(self, name: str, share: float) -> list[float | None]:
        """Of "wait" or "run" times, that percentile in seconds per point."""
        return [getattr(point, name).percentile(share) for point in self.points]

    def merged(self, name: str) -> Histogram:
        """The "wait" or "run" times of all points together."""
        times: list[Histogram] = [getattr(point, name) for point in self.points]
        return reduce(add, times, Histogram())

    def depth(self, now: int | None = None) -> Depths:
        """How many jobs were due in each point. `now` is how many are, if that is known."""
        measured = [point.depth for point in self.points]
        return Depths(measured, _reckoned(self.points, measured, now))

    def oldest(self) -> list[float | None]:
        """For how many seconds the longest-waiting job had been due, at worst in each point."""
        return [point.oldest_seconds for point in self.points]


@dataclass(frozen=True, slots=True)
class Depths:
    """How many jobs were due, point by point: measured, or else reckoned, or else unknown."""

    measured: Sequence[float | None]
    reckoned: Sequence[float | None]

    @property
    def known(self) -> list[float | None]:
        """Either."""
        return [one if one is not None else other for one, other in zip(self.measured, self.reckoned, strict=True)]

    @property
    def is_measured(self) -> bool:
        """Whether nothing is reckoned."""
        return all(depth is None for depth in self.reckoned)


def _reckoned(points: Sequence[Point], measured: Sequence[float | None], now: int | None) -> list[float | None]:
    """Where nobody has looked, as while no worker was there: the depth before, and what came, less what was started.
    What is before the first look, or after the last one, is reckoned back from that, or from what is due now."""
    depths = list(measured)
    known = [index for index, depth in enumerate(measured) if depth is not None]
    first, last = (known[0], known[-1]) if known else (len(points), -1)

    def back(start: int, end: int, depth: float | None) -> None:
        if depth is None:
            return
        for index in reversed(range(start, end)):
            depths[index] = depth
            depth = max(0, depth - _growth(points[index]))

    back(0, first, measured[first] if known else now)
    if known:
        back(last + 1, len(points), now)
    for index in range(first, len(points)):
        if depths[index] is None and (before := depths[index - 1]) is not None:
            depths[index] = max(0, before + _growth(points[index]))
    return [None if seen is not None else depth for seen, depth in zip(measured, depths, strict=True)]


def _growth(point: Point) -> int:
    return point.enqueued + point.retried - point.started


def _joined(points: Sequence[Point], times: int, seconds: int) -> list[Point]:
    """Points of that length, each made of so many shorter ones; always of the same, whenever one looks."""
    groups = [list(some) for _, some in groupby(points, key=lambda point: int(point.at.timestamp()) // seconds)]
    if len(groups) > 1 and len(groups[0]) < times:
        del groups[0]
    # The last one may be a part too, and look like a fall.
    if len(groups) > 1 and len(groups[-1]) < times and seconds <= SHORT:
        del groups[-1]
    return [reduce(add, group) for group in groups]
