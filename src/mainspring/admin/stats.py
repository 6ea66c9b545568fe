"""`app.stats`: what happened, how often, and how long it took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mainspring.admin.door import Door
from mainspring.model.durations import Duration, to_ms
from mainspring.model.stats import Point, Series, point, starts, step_of
from mainspring.store.base import CountRequest, Filter, Window
from mainspring.twin import Steps, ask, twins

__all__ = ["Stats"]


class Stats(Door):
    """`app.stats`.

    What is enqueued counts at once, and so does what is cancelled before it runs; what workers do comes with their
    heartbeats, so up to ten seconds later. Kept for 30 days.
    """

    def _series(self, span: Duration = "1h", queue: str | None = None, task: str | None = None) -> Steps[Series]:
        """The last `span`, point by point, of all jobs or those of one queue, one task.

        How long a point is goes by the span: up to three hours it is a minute, for a day five minutes, for a week an
        hour. The last one has not ended yet. Raises `InvalidOption` for a span that is longer than 30 days, or shorter
        than a minute.
        """
        span_ms = to_ms(span)
        step_ms = step_of(span_ms)
        counted = yield from ask(CountRequest(Filter(queue=queue, task=task), stats=Window(span_ms, step_ms)))
        found = {sum.at: sum.numbers for sum in counted.stats}
        points = tuple(point(at, found.get(at, {})) for at in starts(counted.now, span_ms, step_ms))
        return Series(points, step_ms / 1000)

    series, aseries = twins(_series)

    def _totals(self, span: Duration = "1h", by: Literal["queue", "task"] = "queue") -> Steps[Mapping[str, Point]]:
        """What the last `span` comes to, for each queue or task of which anything was counted, by name."""
        span_ms = to_ms(span)
        window = Window(span_ms, step_of(span_ms), by)
        counted = yield from ask(CountRequest(Filter(), stats=window))
        return {sum.name: point(sum.at, sum.numbers) for sum in counted.stats}

    totals, atotals = twins(_totals)
