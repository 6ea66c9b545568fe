"""This machine's clock and chance: times as the model counts them and as people write them, and ids of new jobs.

What others rely on is decided by the store's clock, never by this one.
"""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime

from mainspring.errors import InvalidOption
from mainspring.ids import IdMaker
from mainspring.model.text import quote

__all__ = ["MachineClock", "aware_ms", "moment", "new_id", "now_ms"]


class MachineClock:
    """This machine's clock: milliseconds since 1970 UTC. Decides nothing that others rely on."""

    __slots__ = ("stopped_at",)

    def __init__(self) -> None:
        self.stopped_at: int | None = None
        """Where `mainspring.testing.freeze` has stopped it; then stores go by it too, instead of their own clocks."""

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000 if self.stopped_at is None else self.stopped_at


now_ms = MachineClock()


def moment(ms: int) -> datetime:
    """A time of the store as an aware `datetime` in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def aware_ms(name: str, at: datetime) -> int:
    """A point in time in milliseconds since 1970 UTC; `InvalidOption` where the time zone is missing."""
    if not isinstance(at, datetime):
        raise InvalidOption(f"{name}={quote(at)} is of type {type(at).__name__}; give a datetime with a time zone")
    if at.utcoffset() is None:
        raise InvalidOption(f"{name}={at.isoformat()} has no time zone; give one, such as datetime.now(UTC)")
    return round(at.timestamp() * 1000)


new_id = IdMaker(now_ms, random.SystemRandom().getrandbits)
"""Makes the ids of this process's jobs and workers."""
