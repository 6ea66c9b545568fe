"""Schedules: which slots there are, across every change of clocks, and which are due after a pause."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mainspring.errors import ConfigurationError, InvalidCron, InvalidOption
from mainspring.model.durations import MAX_MS
from mainspring.model.schedule import CatchUp, Cron, Every, Timing, jitter, parse_timing, tick_id

DAY = 86_400_000
CHANGES = [
    ("Europe/Berlin", "2024-03-31", "an hour forward"),
    ("Europe/Berlin", "2024-10-27", "an hour back"),
    ("America/New_York", "2024-03-10", "an hour forward"),
    ("America/New_York", "2024-11-03", "an hour back"),
    ("Australia/Lord_Howe", "2024-10-06", "half an hour forward"),
    ("Australia/Lord_Howe", "2024-04-07", "half an hour back"),
    ("America/Sao_Paulo", "2018-11-04", "forward at midnight"),
    ("America/Sao_Paulo", "2018-02-18", "back at midnight"),
    ("Antarctica/Troll", "2024-03-31", "two hours forward"),
    ("Antarctica/Troll", "2024-10-27", "two hours back"),
    ("Pacific/Apia", "2011-12-30", "a whole day left out"),
    ("Asia/Kathmandu", "2024-06-01", "no change, an odd offset"),
    ("UTC", "2024-02-29", "no change"),
]


def ms(text: str) -> int:
    """Milliseconds of an ISO time; UTC where it says nothing else."""
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def slots(spec: Cron | Every, start: int, end: int) -> list[int]:
    """All slots after `start`, up to `end`."""
    found = []
    while (start := spec.next(start)) <= end:
        found.append(start)
    return found


def local(spec: Cron, day: str) -> list[str]:
    """What the clock shows at each slot of a local day."""
    zone = ZoneInfo(spec.tz)
    start = datetime.fromisoformat(day).replace(tzinfo=zone)
    end = (datetime.fromisoformat(day) + timedelta(days=1)).replace(tzinfo=zone)
    moments = slots(spec, int(start.timestamp() * 1000) - 1, int(end.timestamp() * 1000) - 1)
    return [datetime.fromtimestamp(at / 1000, zone).strftime("%H:%M %z") for at in moments]


@st.composite
def lines(draw: st.DrawFn) -> tuple[str, set[int], set[int], bool]:
    """A daily line, the minutes and hours in it, and whether it names its times."""

    def part(size: int) -> tuple[str, set[int]]:
        step = draw(st.sampled_from([1, 2, 5, 7, 15]))
        kind = draw(st.sampled_from(["*", "*/n", "list"]))
        if kind == "*":
            return "*", set(range(size))
        if kind == "*/n":
            return f"*/{step}", set(range(0, size, step))
        named = draw(st.sets(st.integers(0, min(size, 60) - 1), min_size=1, max_size=4))
        return ",".join(map(str, sorted(named))), named

    (minute, minutes), (hour, hours) = part(60), part(24)
    return f"{minute} {hour} * * *", minutes, hours, not (minute.startswith("*") or hour.startswith("*"))


@cache
def clock_around(tz: str, day: str) -> tuple[range, list[datetime]]:
    """The minutes of three days around that one, and what the zone's clock shows at each."""
    zone = ZoneInfo(tz)
    first = ms(day) // 60_000 - 36 * 60
    moments = range(first, first + 3 * 24 * 60)
    return moments, [datetime.fromtimestamp(at * 60, zone).replace(tzinfo=None) for at in moments]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(CHANGES), lines())
@example(CHANGES[5], ("0 */2 * * *", {0}, set(range(0, 24, 2)), False))
@example(CHANGES[1], ("30 2 * * *", {30}, {2}, True))
def test_slots_are_those_that_the_clock_on_the_wall_says(
    change: tuple[str, str, str], line: tuple[str, set[int], set[int], bool]
) -> None:
    """Against a plain oracle that looks at the zone's clock minute by minute, over three days around a change."""
    tz, day, _ = change
    expression, minutes, hours, names_times = line
    moments, walls = clock_around(tz, day)
    expected = set()
    if names_times:
        shown, wanted, last = 0, walls[0], max(walls)
        while wanted <= last:
            if wanted.minute in minutes and wanted.hour in hours:
                while walls[shown] < wanted:
                    shown += 1
                expected.add(moments[shown])
            wanted += timedelta(minutes=1)
    else:
        expected = {
            at for at, wall in zip(moments, walls, strict=True) if wall.minute in minutes and wall.hour in hours
        }
    found = slots(Cron(expression, tz), moments[0] * 60_000 - 1, moments[-1] * 60_000)
    assert found == [at * 60_000 for at in sorted(expected)]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(CHANGES),
    st.sampled_from(
        ["30 2 * * *", "0 * * * *", "*/7 * * * *", "15 */2 * * *", "0 0 2 * * *", "*/20 30 1 * * *", "5 1-3 * * SUN"]
    ),
    st.integers(-2 * DAY, 2 * DAY),
    st.integers(0, DAY),
)
def test_next_is_one_function_of_time(change: tuple[str, str, str], expression: str, offset: int, ahead: int) -> None:
    """Strictly after, and the same slots from wherever one looks."""
    spec = Cron(expression, change[0])
    after = ms(change[1]) + offset
    slot = spec.next(after)
    assert slot > after
    assert slot % 1000 == 0
    between = min(after + ahead, slot - 1)
    assert spec.next(between) == slot
    assert spec.next(slot) > slot


def test_a_named_time_that_is_skipped_runs_at_the_change_and_a_repeated_one_runs_once() -> None:
    nightly = Cron("30 2 * * *", "Europe/Berlin")
    assert local(nightly, "2024-03-31") == ["03:00 +0200"]
    assert local(nightly, "2024-10-27") == ["02:30 +0200"]
    assert local(Cron("0 30 2 * * *", "Europe/Berlin"), "2024-10-27") == ["02:30 +0200"]
    assert local(Cron("15 2 * * *", "Australia/Lord_Howe"), "2024-10-06") == ["02:30 +1100"]
    assert local(Cron("45 1 * * *", "Australia/Lord_Howe"), "2024-04-07") == ["01:45 +1100"]


def test_the_second_time_around_a_named_time_is_over() -> None:
    nightly = Cron("30 2 * * *", "Europe/Berlin")
    assert nightly.next(ms("2024-10-27T02:10+01:00")) == ms("2024-10-28T02:30+01:00")


def test_an_hourly_line_runs_in_both_hours_that_the_clock_calls_two() -> None:
    hourly = Cron("0 * * * *", "Europe/Berlin")
    assert local(hourly, "2024-10-27")[1:5] == ["01:00 +0200", "02:00 +0200", "02:00 +0100", "03:00 +0100"]
    assert local(hourly, "2024-03-31")[1:4] == ["01:00 +0100", "03:00 +0200", "04:00 +0200"]


def test_the_examples_of_the_documentation() -> None:
    assert Cron("30 9 * * MON-FRI").next(ms("2024-11-22T09:30")) == ms("2024-11-25T09:30")
    assert Cron("0 0 L * *").next(ms("2024-02-01")) == ms("2024-02-29")
    assert Cron("0 0 * * MON#1").next(ms("2024-11-22")) == ms("2024-12-02")
    assert Cron("*/10 * * * * *").next(ms("2024-11-22T10:00:05")) == ms("2024-11-22T10:00:10")
    assert Cron("0 9 * * *", "Europe/Berlin").next(ms("2024-07-01")) == ms("2024-07-01T09:00+02:00")
    assert Cron("0 0 29 2 *", "America/New_York").next(ms("2024-03-01")) == ms("2028-02-29T00:00-05:00")
    assert Cron("*/5 0 1 1 *", "Europe/Berlin").next(ms("2024-03-01")) == ms("2025-01-01T00:00+01:00")


def test_equal_lines_are_equal() -> None:
    assert Cron(" 0  9 * * * ") == Cron("0 9 * * *", "UTC")
    assert Cron("0 9 * * *").expression == "0 9 * * *"


WRONG_LINES = """
* * * *
* * * * * * *
61 * * * *
* 24 * * *
0 0 31 2 *
0 0 * * MON#6
x * * * *
5-1 * * * *
*/0 * * * *
0 0 * * 5L/2
@daily
0 0 1 1 *\x00
* * */20 * 1L
""".split("\n")


@pytest.mark.parametrize("line", [*WRONG_LINES, "9" * 200, "0 9 * * *" * 50, None, 5])
def test_a_wrong_line_is_refused_and_shown(line: Any) -> None:
    with pytest.raises(InvalidCron, match="cron line"):
        Cron(line)


def test_the_refusal_names_line_zone_and_reason() -> None:
    with pytest.raises(
        InvalidCron, match=r"'61 \* \* \* \*' in time zone Europe/Berlin cannot be read: bad minute; write"
    ):
        Cron("61 * * * *", "Europe/Berlin")


@pytest.mark.parametrize(
    "tz", ["Mars/Olympus", "", "/etc/passwd", "../../etc/passwd", "Europe", "\x00", "a" * 5000, None, 5]
)
def test_a_wrong_zone_is_refused_and_shown(tz: Any) -> None:
    with pytest.raises(InvalidCron, match=r"time zone .* IANA name"):
        Cron("* * * * *", tz)


@given(st.text(st.sampled_from("0123456789*/,-#LW MONJA"), max_size=30) | st.text(max_size=30))
def test_no_line_raises_anything_else(line: str) -> None:
    try:
        spec = Cron(line)
    except InvalidCron:
        return
    assert spec.next(0) > 0


@given(st.integers(1, MAX_MS), st.integers(-(10**13), 10**13))
def test_an_interval_is_counted_from_1970(interval: int, after: int) -> None:
    slot = Every(interval).next(after)
    assert after < slot <= after + interval
    assert slot % interval == 0


@pytest.mark.parametrize("interval", [0, -1, 1.5, True, "1h", 10**15])
def test_a_wrong_interval_is_refused(interval: Any) -> None:
    with pytest.raises(InvalidOption, match="interval_ms="):
        Every(interval)


specs = st.sampled_from(
    [Every(1000), Every(3_600_000), Cron("*/5 * * * *", "Europe/Berlin"), Cron("30 2 * * *", "America/New_York")]
)
starts = st.integers(ms("2024-01-01"), ms("2025-01-01"))


@settings(deadline=None)
@given(specs, st.sampled_from(["none", "latest", "all"]), starts, st.integers(-DAY, 3 * DAY), st.integers(1, 50))
def test_the_laws_of_what_is_due(spec: Cron | Every, catch_up: CatchUp, start: int, later: int, limit: int) -> None:
    first = spec.next(start)
    now = first + later
    due = Timing(spec, catch_up).due(first, now, limit)
    assert list(due.slots) == sorted(set(due.slots))
    if now < first:
        assert due.slots == ()
        assert due.next_at == first
        return
    assert all(first <= slot <= now for slot in due.slots)
    if catch_up == "all":
        assert due.slots[0] == first
        assert len(due.slots) <= limit
        assert all(spec.next(one) == other for one, other in zip(due.slots, (*due.slots[1:], due.next_at), strict=True))
        assert len(due.slots) == limit or due.next_at > now
    else:
        assert due.next_at == spec.next(now)
        last = due.slots[-1] if due.slots else None
        if last is not None:
            assert spec.next(last) > now
        if catch_up == "latest":
            assert len(due.slots) == 1
        elif last is None:
            assert spec.next(now - 60_001) > now, "there was no slot in the past minute"
        else:
            assert now - last <= 60_000


@settings(deadline=None)
@given(specs, starts, st.lists(st.integers(0, 2 * DAY), max_size=5), st.integers(50, 500))
def test_with_catch_up_all_no_slot_is_ever_lost_or_doubled(
    spec: Cron | Every, start: int, waits: list[int], limit: int
) -> None:
    timing, next_at, now = Timing(spec, "all"), spec.next(start), start
    served: list[int] = []
    for wait in waits:
        now += wait
        due = timing.due(next_at, now, limit)
        served += due.slots
        next_at = due.next_at
    assert [*served, next_at] == slots(spec, start, next_at)


@dataclass(frozen=True)
class Counted:
    """A spec that counts how often it is asked."""

    spec: Cron | Every
    asked: list[int] = field(default_factory=list)

    def next(self, after_ms: int) -> int:
        self.asked.append(after_ms)
        return self.spec.next(after_ms)


@pytest.mark.parametrize("catch_up", ["none", "latest"])
@pytest.mark.parametrize("spec", [Cron("* * * * * *", "Europe/Berlin"), Every(1), Cron("0 0 1 1 *")])
def test_a_year_of_missed_ticks_is_not_counted_one_by_one(catch_up: CatchUp, spec: Cron | Every) -> None:
    counted = Counted(spec)
    start = spec.next(ms("2023-01-01"))
    Timing(counted, catch_up).due(start, start + 366 * DAY)  # type: ignore[arg-type]
    assert len(counted.asked) < 50


def test_a_slot_served_within_a_minute_is_not_missed() -> None:
    timing = Timing(Every(3_600_000), "none")
    assert timing.due(0, 60_000).slots == (0,)
    assert timing.due(0, 60_001).slots == ()


@pytest.mark.parametrize("wrong", [{"catch_up": "some"}, {"jitter_ms": -1}, {"jitter_ms": 1.5}, {"jitter_ms": True}])
def test_wrong_timings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption):
        Timing(Every(1), **wrong)


@given(
    st.builds(
        Timing,
        specs | st.builds(Every, st.integers(1, MAX_MS)),
        st.sampled_from(["none", "latest", "all"]),
        st.integers(0, DAY),
    )
)
def test_a_timing_round_trips_as_text(timing: Timing) -> None:
    assert parse_timing(timing.to_text()) == timing
    assert parse_timing(timing.to_text()).to_text() == timing.to_text()


WRONG_TIMINGS = """
[]
3
{}
{"every_ms":0,"catch_up":"all","jitter_ms":0}
{"every_ms":1,"catch_up":"x","jitter_ms":0}
{"cron":"x","tz":"UTC","catch_up":"all","jitter_ms":0}
{"cron":"* * * * *","catch_up":"all","jitter_ms":0}
""".split("\n")


@pytest.mark.parametrize("text", WRONG_TIMINGS)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_timing(text)


@given(st.text(max_size=20), st.integers(0, 10**13), st.integers(0, DAY))
def test_jitter_is_within_its_bounds_and_always_the_same(name: str, slot: int, jitter_ms: int) -> None:
    delay = jitter(name, slot, jitter_ms)
    assert 0 <= delay < max(jitter_ms, 1)
    assert delay == jitter(name, slot, jitter_ms)


def test_jitter_spreads() -> None:
    delays = [jitter("report", slot, 1000) for slot in range(0, 10**6, 1000)]
    assert min(delays) < 100
    assert max(delays) > 900


@given(st.tuples(st.text(max_size=20), st.integers(0, 10**13)), st.tuples(st.text(max_size=20), st.integers(0, 10**13)))
def test_each_tick_has_its_own_id(one: tuple[str, int], other: tuple[str, int]) -> None:
    assert (tick_id(*one) == tick_id(*other)) == (one == other)
    assert str(UUID(tick_id(*one))) == tick_id(*one)
