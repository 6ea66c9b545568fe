"""`app.stats`: what happened, how often, and how long it took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mainspring.admin.door import Door
from mainspring.clock import moment
from mainspring.model.durations import Duration, to_ms
from mainspring.model.stats import Point, Series, point, starts, step_of
from mainspring.store.base import CountRequest, Filter, Window
from mainspring.twin import Steps, ask, twins

__all__ = ["Stats"]


class Stats(Door):
    """`app.stats`.

    What is enqueued counts at once, and so does what is cancelled before it runs; what workers do comes with their
    heartbeats, so up to ten seconds later. How many jobs are due, and how long the oldest has been, some worker looks
    once a minute. Kept for 30 days.
    """

    def _series(self, span: Duration = "1h", queue: str | None = None, task: str | None = None) -> Steps[Series]:
        """The last `span`, point by point, of all jobs or those of one queue, one task.

        How long a point is goes by the span: up to three hours it is a minute, for a day five minutes, for a week an
        hour. The last one has not ended yet. Raises `InvalidOption` for a span that is longer than 30 days, or shorter
        than a minute.
        """
        span_ms = to_ms(span)
        step_ms = step_of(span_ms)
        window = Window(span_ms, step_ms)
        # First how often one has looked, then what was seen: a look that comes in between is not one that saw nothing.
        looks = (yield from _looks(window)) if queue is not None and task is None else None
        counted = yield from ask(CountRequest(Filter(queue=queue, task=task), stats=window))
        found = {sum.at: sum.numbers for sum in counted.stats}
        points = tuple(
            point(at, found.get(at, {}), None if looks is None else looks.get(at, 0))
            for at in starts(counted.now, span_ms, step_ms)
        )
        return Series(points, step_ms / 1000, moment(counted.now))

    series, aseries = twins(_series)

    def _totals(self, span: Duration = "1h", by: Literal["queue", "task"] = "queue") -> Steps[Mapping[str, Point]]:
        """What the last `span` comes to, for each queue or task of which anything was counted, by name."""
        span_ms = to_ms(span)
        window = Window(span_ms, step_of(span_ms), by)
        counted = yield from ask(CountRequest(Filter(), stats=window))
        found = {sum.name: sum for sum in counted.stats}
        # What is under no name was seen of all queues, or of one without regard to tasks.
        whole = found.pop("", None)
        looks = None if by == "task" else 0 if whole is None else whole.numbers.get("samples", 0)
        return {name: point(sum.at, sum.numbers, looks) for name, sum in found.items()}

    totals, atotals = twins(_totals)


def _looks(window: Window) -> Steps[Mapping[int, int]]:
    """How often it was looked at all queues, for each stretch of time."""
    counted = yield from ask(CountRequest(Filter(queue="", task=""), stats=window))
    return {sum.at: sum.numbers.get("samples", 0) for sum in counted.stats}
