"""Counters: numbers that only rise, made of statistics that are sums over a time, and are forgotten.

They begin at nothing when a process first looks, as every process's counters do. From then on it sums up the statistics
since its *base*, a moment that lies between a quarter of an hour and an hour back, and adds what that sum has gained
since it looked before. So what workers report late still counts, and no reading gets longer with time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

from mainspring.admin.stats import Stats
from mainspring.model.stats import EVENTS, HOUR_MS, MINUTE_MS, Point

__all__ = ["Risen", "Rising"]

By = Literal["queue", "task"]
Risen = Mapping[tuple[By, str], Mapping[str, int]]
"""Of each queue and each task the numbers, by the names that statistics give them."""

BYS: tuple[By, ...] = ("queue", "task")

LATE_MS = 15 * MINUTE_MS
"""For so long what is reported late is still seen."""
LONGEST_MS = HOUR_MS
"""A base that is older is moved."""
GIVEN_UP_MS = 2 * HOUR_MS
"""Who has not looked for so long begins anew where he stands: he would not see minute by minute any more."""
TRIES = 3


class Rising:
    """Of one process."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._base: int | None = None
        self._seen: dict[tuple[By, str], Counter[str]] = {}
        """What the statistics since the base came to when they were looked at last."""
        self._risen: dict[tuple[By, str], Counter[str]] = {}

    async def read(self, queues: Iterable[str] = (), tasks: Iterable[str] = ()) -> Risen:
        """What has been counted since the first reading: of these, and of all others of which anything was."""
        minute = await self._minute()
        if self._base is None or minute - self._base > GIVEN_UP_MS:
            await self._begin(minute)
        else:
            self._gain(await self._since(self._base) or {})
            if minute - self._base > LONGEST_MS:
                # What is counted between these two readings, some milliseconds an hour, is missed.
                await self._begin(minute - LATE_MS)
        places: list[tuple[By, str]] = [*(("queue", name) for name in queues), *(("task", name) for name in tasks)]
        return {place: Counter[str]() for place in places} | self._risen

    async def _begin(self, base: int) -> None:
        sums = await self._since(base)
        if sums is not None:
            self._base, self._seen = base, sums

    def _gain(self, sums: Mapping[tuple[By, str], Counter[str]]) -> None:
        for place, numbers in sums.items():
            seen = self._seen.get(place, Counter())
            self._risen[place] = self._risen.get(place, Counter()) + (numbers - seen)
            self._seen[place] = seen | numbers

    async def _minute(self) -> int:
        """Which minute it is, by the store's clock."""
        series = await self._stats.aseries("1m")
        return _ms(series.points[-1])

    async def _since(self, base: int) -> dict[tuple[By, str], Counter[str]] | None:
        """What the statistics come to from then on. None: that could not be found out just now."""
        for _ in range(TRIES):
            span = (await self._minute() - base + MINUTE_MS) / 1000
            points: dict[tuple[By, str], Point] = {}
            for by in BYS:
                points |= {(by, name): point for name, point in (await self._stats.atotals(span, by)).items()}
            if all(_ms(point) == base for point in points.values()):
                return {place: _numbers(point) for place, point in points.items()}
            # The minute has ended meanwhile, so that some begin one later.
        return None


def _ms(point: Point) -> int:
    return round(point.at.timestamp() * 1000)


def _numbers(point: Point) -> Counter[str]:
    """As statistics are kept."""
    numbers = Counter({name: getattr(point, name) for name in EVENTS})
    for kind, histogram in (("wait", point.wait), ("run", point.run)):
        numbers[kind] = histogram.total_ms
        for bucket, count in histogram.counts:
            numbers[f"{kind}:{bucket}"] = count
    return numbers
