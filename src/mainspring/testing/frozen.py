"""Time that stands still, and moves when a test says so."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime

from mainspring.clock import aware_ms, moment, now_ms
from mainspring.model.durations import Duration, to_ms

__all__ = ["Clock", "freeze", "is_frozen"]


class Clock:
    """The time that `freeze` has stopped."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<Clock {self.now:%Y-%m-%d %H:%M:%S.%f %Z}>"

    @property
    def now(self) -> datetime:
        """Mainspring's time, in UTC."""
        return moment(now_ms())

    def travel(self, duration: Duration) -> None:
        """Move on by a duration: seconds, a `timedelta`, or text such as "90s" or "2h"."""
        now_ms.stopped_at = now_ms() + to_ms(duration)

    def travel_to(self, at: datetime) -> None:
        """Move to that moment, which needs a time zone."""
        now_ms.stopped_at = aware_ms("at", at)


@contextmanager
def freeze(at: datetime | None = None) -> Generator[Clock]:
    """Stop Mainspring's time, now or `at` a moment, and give the clock that moves it.

        with freeze() as clock:
            job = remind.using(delay="2h").enqueue(7)
            clock.travel("2h")
            assert drain(app).completed == 1

    Everything in this process goes by it: delays, retries, schedules, leases, on every kind of store. Only Mainspring's
    time stands still, not that of `datetime.now()` in your own code. Raises `InvalidOption` for a moment without a
    time zone.
    """
    before = now_ms.stopped_at
    now_ms.stopped_at = now_ms() if at is None else aware_ms("at", at)
    try:
        yield Clock()
    finally:
        now_ms.stopped_at = before


def is_frozen() -> bool:
    """Whether time stands still."""
    return now_ms.stopped_at is not None
