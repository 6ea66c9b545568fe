"""Statistics: buckets, histograms that add up, percentiles, what is kept by how long a stretch."""

from __future__ import annotations

import doctest
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring import Histogram, InvalidOption, Point
from mainspring.model import stats
from mainspring.model.stats import (
    BUCKETS,
    EVENTS,
    HOUR_MS,
    KEEP_MS,
    MINUTE_MS,
    POINTS_SHOWN,
    ROLLS,
    Cell,
    Depth,
    beginning,
    bucket,
    gathered,
    point,
    sampled,
    starts,
    step_of,
)

WEEK_MS = 7 * 24 * HOUR_MS
times = st.integers(0, WEEK_MS)
NOW = 1_700_000_000_000


class TestBuckets:
    """A time is in one of them."""

    @given(times)
    def test_a_bucket_holds_what_is_no_more_than_a_quarter_longer_than_its_least(self, ms: int) -> None:
        low, high = beginning(bucket(ms)), beginning(bucket(ms) + 1)
        assert low <= ms < high
        assert high - low <= max(1, low / 4)

    @given(times, times)
    def test_longer_times_are_in_later_buckets(self, one: int, other: int) -> None:
        assert (bucket(one) <= bucket(other)) == (beginning(bucket(one)) <= beginning(bucket(other)))
        assert bucket(min(one, other)) <= bucket(max(one, other))

    def test_no_time_is_outside_of_all(self) -> None:
        assert (bucket(-5), bucket(0)) == (0, 0)
        assert bucket(WEEK_MS) < BUCKETS - 1
        assert bucket(10**15) == BUCKETS - 1

    def test_each_bucket_begins_where_it_is_entered(self) -> None:
        assert [bucket(beginning(number)) for number in range(BUCKETS)] == list(range(BUCKETS))


class TestHistogram:
    """How long things took."""

    @given(st.lists(times), st.lists(times))
    def test_two_add_up_to_what_one_would_have_seen(self, one: list[int], other: list[int]) -> None:
        assert Histogram.of(one) + Histogram.of(other) == Histogram.of(one + other)

    @given(st.lists(times, min_size=1), st.floats(0.01, 1))
    def test_a_percentile_is_within_a_quarter_of_the_exact_one(self, seen: list[int], fraction: float) -> None:
        rank = min(len(seen) - 1, max(0, -(-fraction * len(seen) // 1) - 1))
        exact = sorted(seen)[int(rank)] / 1000
        found = Histogram.of(seen).percentile(fraction)
        assert found is not None
        assert exact / 1.25 - 0.002 <= found <= exact * 1.25 + 0.002

    def test_percentiles_rise(self) -> None:
        histogram = Histogram.of([*range(100), 5000, 60_000])
        found = [histogram.percentile(fraction / 100) or 0 for fraction in range(101)]
        assert found == sorted(found)

    def test_what_took_longer_than_anything_else_is_not_made_longer(self) -> None:
        assert Histogram.of([10**12]).percentile(0.5) == beginning(BUCKETS - 1) / 1000

    def test_counts_and_means_are_exact(self) -> None:
        histogram = Histogram.of([1, 2, 3, 1000])
        assert (histogram.count, histogram.mean) == (4, 0.2515)

    def test_who_has_seen_nothing_says_nothing(self) -> None:
        assert (Histogram().count, Histogram().mean, Histogram().percentile(0.5)) == (0, None, None)


class TestPoints:
    """Numbers as people see them."""

    def test_numbers_become_a_point(self) -> None:
        numbers = {**dict.fromkeys(EVENTS, 2), "wait": 30, "wait:9": 1, "wait:10": 2, "run": 7, "run:0": 3, "new": 1}
        found = point(NOW, numbers)
        assert found.at == datetime.fromtimestamp(NOW / 1000, UTC)
        assert [getattr(found, name) for name in EVENTS] == [2] * len(EVENTS)
        assert found.wait == Histogram(((9, 1), (10, 2)), 30)
        assert found.run == Histogram(((0, 3),), 7)
        assert found.ended == 6

    def test_of_no_numbers_everything_is_nothing(self) -> None:
        assert point(NOW, {}) == Point(datetime.fromtimestamp(NOW / 1000, UTC))

    def test_cells_of_one_stretch_and_place_are_gathered(self) -> None:
        cells = [
            Cell(61_000, "q", "t", {"started": 1}),
            Cell(119_000, "q", "t", {"started": 2, "dead": 1}),
            Cell(61_000, "q", "other", {"started": 1}),
            Cell(0, "q", "t", {"started": 1}),
        ]
        assert gathered(cells, MINUTE_MS) == [
            Cell(0, "q", "t", {"started": 1}),
            Cell(60_000, "q", "other", {"started": 1}),
            Cell(60_000, "q", "t", {"started": 3, "dead": 1}),
        ]


class TestKept:
    """How long what is kept, and how it is shown."""

    @given(st.integers(MINUTE_MS, KEEP_MS), st.integers(NOW, NOW + WEEK_MS))
    def test_a_series_is_no_finer_than_what_is_kept(self, span_ms: int, now: int) -> None:
        step = step_of(span_ms)
        points = starts(now, span_ms, step)
        assert len(points) <= POINTS_SHOWN
        for roll in ROLLS:
            assert step >= roll.into_ms or points[0] >= roll.before(now)

    @given(st.integers(MINUTE_MS, KEEP_MS), st.integers(NOW, NOW + WEEK_MS))
    def test_a_series_ends_with_the_present_and_has_no_gap(self, span_ms: int, now: int) -> None:
        step = step_of(span_ms)
        points = starts(now, span_ms, step)
        assert points[-1] <= now < points[-1] + step
        assert {at % step for at in points} == {0}
        assert span_ms <= len(points) * step < span_ms + step

    @pytest.mark.parametrize("span_ms", [0, MINUTE_MS - 1, KEEP_MS + 1])
    def test_a_span_is_between_a_minute_and_thirty_days(self, span_ms: int) -> None:
        with pytest.raises(InvalidOption, match="give one between 1m and 4w2d"):
            step_of(span_ms)

    def test_only_whole_stretches_are_rolled_up(self) -> None:
        for roll in ROLLS:
            assert roll.before(NOW) % roll.into_ms == 0
            assert NOW - roll.after_ms - roll.into_ms < roll.before(NOW) <= NOW - roll.after_ms


class TestDepths:
    """How many jobs are due is looked at now and then; what was seen adds up like everything else."""

    LOOKS = (sampled(0, (Depth("mail", 40, 9000), Depth("photos", 2, 100)), 7), sampled(MINUTE_MS, (), 3))

    def of(self, queue: str, samples: int | None) -> Point:
        (cell,) = gathered((cell for look in self.LOOKS for cell in look if cell.queue == queue), HOUR_MS)
        return point(0, cell.numbers, samples)

    def test_of_all_queues_it_is_the_mean_of_all_looks_and_the_worst_age(self) -> None:
        whole = self.of("", None)
        assert (whole.samples, whole.depth, whole.oldest_seconds) == (2, 21.0, 9.0)

    def test_a_queue_that_was_empty_at_a_look_counts_as_that(self) -> None:
        mail = self.of("mail", 2)
        assert (mail.depth, mail.oldest_seconds) == (20.0, 9.0)

    def test_where_nothing_was_due_and_where_nobody_looked_is_not_the_same(self) -> None:
        empty, unknown = point(0, sampled(0, (), 1)[0].numbers), point(0, {})
        assert (empty.depth, empty.oldest_seconds) == (0.0, 0.0)
        assert (unknown.depth, unknown.oldest_seconds) == (None, None)

    def test_two_points_add_up(self) -> None:
        both = self.of("mail", 2) + self.of("photos", 2)
        assert (both.samples, both.due, both.oldest.count) == (4, 42, 2)
        assert both.oldest_seconds == pytest.approx(9, rel=0.25)


def test_the_examples_hold() -> None:
    assert doctest.testmod(stats, optionflags=doctest.ELLIPSIS).failed == 0
