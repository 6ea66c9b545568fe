"""Statistics as the charts want them: over one span, in as many points as can be told apart on a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from functools import reduce
from itertools import groupby
from operator import add

from mainspring.model.stats import EVENTS, Histogram, Point, Series
from mainspring.web.pages.charts import Span

__all__ = ["History"]

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
            points = _joined(points, step * times)
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

    def backlog(self, now: int) -> list[int]:
        """How many jobs waited at the end of each point, reckoned back from how many do now: what came, less what was
        started."""
        waiting = now
        back = []
        for point in reversed(self.points):
            back.append(max(0, waiting))
            waiting -= point.enqueued + point.retried - point.started
        return back[::-1]


def _joined(points: Sequence[Point], seconds: int) -> list[Point]:
    """Points of that length, made of shorter ones; always of the same, whenever one looks."""
    joined = [_sum(list(some)) for _, some in groupby(points, key=lambda point: int(point.at.timestamp()) // seconds)]
    # The first one may be a part only.
    return joined[1:] if len(joined) > 1 else joined


def _sum(points: Sequence[Point]) -> Point:
    first = points[0]
    events = {name: sum(getattr(point, name) for point in points) for name in EVENTS}
    wait = reduce(add, (point.wait for point in points))
    run = reduce(add, (point.run for point in points))
    return Point(first.at, **events, wait=wait, run=run)
