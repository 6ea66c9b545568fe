"""How many jobs are due, and for how long, is looked at once a minute, by one of all workers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from mainspring import Mainspring, Point
from mainspring.clock import now_ms
from mainspring.model.clock import StoreClock
from mainspring.store.base import AsyncDriver, BeatRequest, CountRequest, Presence, PruneRequest, Reply, Request
from mainspring.testing import freeze
from mainspring.testing.frozen import Clock
from mainspring.worker.chores import Sample

from .places import Place

MODULE = ""
NOON = datetime(2031, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> Iterator[Clock]:
    with freeze(NOON) as clock:
        yield clock


def seconds_now() -> float:
    return now_ms() / 1000


class Sampler:
    """A worker's sampling, on a driver that counts what is asked of the store."""

    def __init__(self, app: Mainspring, name: str, clock: Clock, seconds: float = 0) -> None:
        self.driver = app.store.async_driver()
        self.presence = Presence(name, name, (), (), 1, 0, 60_000)
        self.clock = clock
        self.seconds = seconds
        """How long the store takes to count."""
        self.counted = 0
        self.chore = Sample(self, StoreClock(seconds_now, now_ms()), lambda: self.presence, seconds_now)
        self.pause = 0.0

    async def run(self, request: Request[Reply]) -> Reply:
        if isinstance(request, CountRequest) and request.stats is None:
            self.counted += 1
            self.clock.travel(self.seconds)
        return await self.driver.run(request)

    async def watch(self, topics: tuple[str, ...]) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        await self.driver.aclose()


async def passes(clock: Clock, minutes: int, *samplers: Sampler) -> None:
    """So many minutes go by, in each of which every worker has its moment."""
    due = {sampler: now_ms() + 1000 * await sampler.chore() for sampler in samplers}
    end = now_ms() + minutes * 60_000
    while True:
        sampler = min(due, key=lambda each: due[each])
        if due[sampler] > end:
            clock.travel(max(0, end - now_ms()) / 1000)
            return
        # It may be due already: another has counted meanwhile.
        clock.travel(max(0, math.ceil(due[sampler] - now_ms())) / 1000)
        due[sampler] = now_ms() + 1000 * await sampler.chore()


def of_minutes(app: Mainspring, queue: str | None = None) -> list[Point]:
    """The points of which something is known about depth."""
    return [point for point in app.stats.series("1h", queue).points if point.samples]


async def test_each_minute_is_sampled_once_whoever_looks(place: Place, clock: Clock) -> None:
    app = place.app
    for n in range(3):
        place.enqueue("work", n)
    clock.travel("1m")
    place.enqueue("work", queue="email")
    first, second = Sampler(app, "first", clock), Sampler(app, "second", clock)
    await passes(clock, 3, first, second)
    assert first.counted + second.counted == 3
    assert 0 in (first.counted, second.counted), "it is always the earlier one"
    points = of_minutes(app)
    assert [point.samples for point in points] == [1, 1, 1]
    assert [point.depth for point in points] == [4, 4, 4]
    ages = [point.oldest_seconds or 0 for point in points]
    assert 60 < ages[0] < 120
    assert [round(age - ages[0], 3) for age in ages] == [0, 60, 120], "of one look the age is exact"
    assert [(point.depth, point.oldest_seconds) for point in of_minutes(app, "default")] == [(3, age) for age in ages]
    assert [(point.depth, point.oldest_seconds) for point in of_minutes(app, "email")] == [
        (1, pytest.approx(age - 60)) for age in ages
    ]
    for sampler in (first, second):
        await sampler.aclose()


async def test_who_is_gone_is_followed_by_the_next_and_an_empty_queue_is_empty(place: Place, clock: Clock) -> None:
    app = place.app
    place.enqueue("work", 1)
    first, second = Sampler(app, "first", clock), Sampler(app, "second", clock)
    await passes(clock, 2, first, second)
    earlier, later = sorted((first, second), key=lambda each: -each.counted)
    app.jobs.delete(task="work")
    await passes(clock, 2, later)
    assert (earlier.counted, later.counted) == (2, 2)
    for queue in (None, "default"):
        points = of_minutes(app, queue)
        assert [point.depth for point in points] == [1, 1, 0, 0]
        assert [point.oldest_seconds is not None for point in points] == [True] * 4
        assert [point.oldest_seconds for point in points[2:]] == [0, 0]
    totals = app.stats.totals("1h", by="queue")
    assert {name: (point.samples, point.depth) for name, point in totals.items()} == {"default": (4, 0.5)}
    assert "" not in app.stats.totals("1h", by="task")
    for sampler in (first, second):
        await sampler.aclose()


async def test_what_is_rolled_up_is_the_mean_and_the_worst(place: Place, clock: Clock) -> None:
    app, sampler = place.app, Sampler(place.app, "one", clock)
    await passes(clock, 5, sampler)
    for n in range(6):
        place.enqueue("work", n)
    await passes(clock, 5, sampler)
    clock.travel("4h")
    while await sampler.driver.run(PruneRequest({}, 1000, stats=True)):
        pass
    for queue in (None, "default"):
        points = [point for point in app.stats.series("24h", queue).points if point.samples]
        assert sum(point.samples for point in points) == 10
        assert sum(point.due for point in points) == 30
        assert {point.depth for point in points} <= {None, 0, 1.2, 2.4, 3.6, 4.8, 6}
        assert 240 < max(point.oldest_seconds or 0 for point in points) < 300 * 1.25
    assert app.stats.series("24h", task="work").points[-1].depth is None
    await sampler.aclose()


async def test_the_longer_counting_takes_the_less_often_all_together_do_it(clock: Clock) -> None:
    """A two-hundredth of the time, whoever does it."""
    with Mainspring("sqlite://") as app:
        slow = [Sampler(app, name, clock, 0.35) for name in ("first", "second")]
        await passes(clock, 6, *slow)
        assert sum(sampler.counted for sampler in slow) == 3
        points = of_minutes(app)
        assert all((late.at - soon.at).total_seconds() >= 120 for soon, late in pairwise(points))
        for sampler in slow:
            await sampler.aclose()


async def test_a_look_that_fails_is_not_tried_again_at_once(clock: Clock) -> None:
    with Mainspring("sqlite://") as app:
        sampler = Sampler(app, "one", clock)

        class Refusing:
            async def run(self, request: Request[Reply]) -> Reply:
                raise OSError("no")

        failing: AsyncDriver = Refusing()  # type: ignore[assignment]
        driver, sampler.driver = sampler.driver, failing
        clock.travel(await sampler.chore())
        with pytest.raises(OSError, match="no"):
            await sampler.chore()
        assert await sampler.chore() == pytest.approx(60, abs=1)
        await driver.aclose()


async def test_a_beat_that_brings_a_sample_is_a_beat(clock: Clock) -> None:
    """It says nothing else than the worker's heart does."""
    with Mainspring("sqlite://") as app:
        sampler = Sampler(app, "one", clock)
        await sampler.driver.run(BeatRequest(sampler.presence, "join"))
        await passes(clock, 1, sampler)
        (worker,) = app.workers.list()
        assert (worker.name, worker.alive, worker.concurrency) == ("one", True, 1)
        await sampler.aclose()
