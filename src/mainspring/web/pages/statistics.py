"""Statistics as the charts want them: over one span, in as many points as can be told apart on a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from functools import reduce
from typing import Any

from mainspring.web.pages.charts import Span

__all__ = ["History"]

MOST = 120
"""More points than that cannot be told apart."""


@dataclass(frozen=True, slots=True)
class History:
    """What happened, point by point."""

    span: Span
    points: Sequence[Any]

    @classmethod
    def of_series(cls, series: Any, zone: tzinfo) -> History:
        """What `app.stats` gives, as the charts want it."""
        points = series.points
        return cls(Span(points[0].at, series.seconds_per_point, len(points), zone), points)

    def of(self, name: str) -> list[int]:
        """A number per point."""
        return [getattr(point, name) for point in self.points]

    def total(self, name: str) -> int:
        """All of it."""
        return sum(self.of(name))

    def percentiles(self, name: str, share: float) -> list[float | None]:
        """Of "wait" or "run" times, that percentile in seconds per point."""
        return [getattr(point, name).percentile(share) for point in self.points]

    def merged(self, name: str) -> Any:
        """The "wait" or "run" times of all points together."""
        return reduce(lambda one, other: one + other, (getattr(point, name) for point in self.points))

    def backlog(self, now: int) -> list[int]:
        """How many jobs waited at the end of each point, reckoned back from how many do now: what came, less what was
        started."""
        waiting = now
        back = []
        for point in reversed(self.points):
            back.append(max(0, waiting))
            waiting -= point.enqueued + point.retried - point.started
        return back[::-1]
