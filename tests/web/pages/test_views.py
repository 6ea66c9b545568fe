"""What the pages are made of: texts, numbers, axes, charts, graphs and forms, as plain functions."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from mainspring import Flow, InvalidOption, Mainspring, State
from mainspring.model.stats import Histogram, Point, Series
from mainspring.testing import drain
from mainspring.web.pages import axes, charts, graph, text, words
from mainspring.web.pages.charts import Curve, Span
from mainspring.web.pages.filters import Chosen
from mainspring.web.pages.job import timeline
from mainspring.web.pages.links import Links
from mainspring.web.pages.notices import notice
from mainspring.web.pages.overview import charts_of
from mainspring.web.pages.queues import limits_words
from mainspring.web.pages.reads import Counts
from mainspring.web.pages.statistics import History

from .html import parse

NOON = datetime(2031, 5, 1, 12, tzinfo=UTC)
THIN = words.THIN


# --- texts -----------------------------------------------------------------------------------------------------------


@given(st.text())
def test_any_text_is_shown_as_text_and_nothing_in_it_unseen(given: str) -> None:
    for shown in (text.line(given), text.block(given), text.json_block(given)):
        parsed = parse(str(shown))
        assert {tag for tag, _ in parsed.elements} <= {"bdi", "span"}
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b-\u200f\ufeff\x00-\x08\x1b\ud800-\udfff]", parsed.text)
        str(shown).encode()


def test_what_is_long_is_cut_and_says_so() -> None:
    shown = text.line("x" * 200)
    assert str(shown) == f'<bdi>{"x" * 120}<span class="cut" title="80 more characters">…</span></bdi>'
    assert len(text.block("y" * 50_000)) < 21_000
    assert text.plain("a\u202eb\nc" + "x" * 200) == "a<U+202E>b↵c" + "x" * 115 + "…"


def test_line_ends_are_seen_in_a_line_and_kept_in_a_block() -> None:
    assert str(text.line("a\r\nb\nc")) == "<bdi>a↵b↵c</bdi>"
    assert str(text.block("a\r\nb")) == "<bdi>a\nb</bdi>"


def test_json_tells_names_texts_and_numbers_apart() -> None:
    shown = str(text.json_block(text.pretty({"a<": ["x: 1", -1.5e3, None, True]})))
    assert '<span class="j-k">&#34;a&lt;&#34;</span>:' in shown
    assert '<span class="j-s">&#34;x: 1&#34;</span>' in shown
    assert shown.count("j-n") == 3


def test_ids_that_begin_with_their_time_are_told_apart_by_their_end() -> None:
    assert text.short_id("0198c0de-0000-7000-8000-00000000abcd") == "…0000abcd"
    assert text.short_id("order-7") == "order-7"


# --- numbers and times -----------------------------------------------------------------------------------------------


def test_numbers_have_thin_spaces_and_tiles_short_ones() -> None:
    assert words.number(1_234_567) == f"1{THIN}234{THIN}567"
    assert [words.amount(value) for value in (None, 0, 2.5, 12_345, 1_240_000, 3.2e9)] == [
        "–", "0", "2.5", f"12{THIN}345", f"1.24{THIN}M", f"3.2{THIN}G"
    ]  # fmt: skip
    assert [words.percent(value) for value in (None, 0, 0.0004, 0.008, 0.5, 1)] == [
        "–", f"0{THIN}%", f"<{THIN}0.1{THIN}%", f"0.8{THIN}%", f"50{THIN}%", f"100{THIN}%"
    ]  # fmt: skip
    assert words.counted(1, "try", "tries") == "1 try"
    assert words.counted(1200, "job") == f"1{THIN}200 jobs"


def test_times_say_how_long_ago_and_have_the_exact_time_by_the_readers_clock() -> None:
    now = words.Now(NOON, ZoneInfo("Europe/Berlin"))
    assert now.ago(NOON - timedelta(minutes=4)) == f"4{THIN}min ago"
    assert now.ago(NOON + timedelta(hours=2)) == f"in 2{THIN}h"
    assert now.ago(NOON) == "now"
    assert now.is_past(NOON - timedelta(minutes=1))
    assert not now.is_past(NOON - timedelta(seconds=5))
    assert now.exact(NOON) == "2031-05-01 14:00:00.000 CEST"
    assert now.clock(NOON - timedelta(days=2)) == "29 Apr 14:00:00"
    shown = str(now.time(NOON - timedelta(seconds=30)))
    assert 'datetime="2031-05-01T11:59:30+00:00"' in shown
    assert 'title="2031-05-01 13:59:30.000 CEST"' in shown


def test_what_is_said_of_a_job_is_a_sentence() -> None:
    assert words.sentence("waits for 2 of 5 parents") == "It waits for 2 of 5 parents."
    assert words.sentence("queue 'api' is paused") == "Queue 'api' is paused."


@pytest.mark.parametrize("name", [None, "", "Mars/Base", "../etc", "x" * 99, "\x00"])
def test_a_time_zone_that_is_none_is_utc(name: str | None) -> None:
    assert words.zone_named(name) is UTC


# --- axes and charts -------------------------------------------------------------------------------------------------


@given(st.floats(0, 1e12))
def test_a_scale_of_counts_begins_at_0_and_ends_at_a_round_number_above_the_largest(largest: float) -> None:
    scale = axes.counts(largest)
    assert scale.ticks[0] == axes.Tick(0, "0")
    assert scale.ticks[-1].at == 1
    assert 2 <= len(scale.ticks) <= 6
    assert 0 <= scale.place(largest) <= 1


@given(st.floats(0, 1e9))
def test_a_scale_of_ages_begins_at_0_and_ends_at_a_round_time_above_the_oldest(oldest: float) -> None:
    scale = axes.ages(oldest)
    labels = [tick.label for tick in scale.ticks]
    assert scale.ticks[0] == axes.Tick(0, "0")
    assert scale.ticks[-1].at == 1
    assert len(set(labels)) == len(labels) <= 6
    assert 0 <= scale.place(oldest) <= 1
    assert scale.place(oldest / 2) == pytest.approx(scale.place(oldest) / 2), "it is even"


def test_ticks_are_round() -> None:
    assert [tick.label for tick in axes.counts(73).ticks] == ["0", "20", "40", "60", "80"]
    assert [tick.label for tick in axes.shares(0.12).ticks] == [f"{n}{THIN}%" for n in (0, 5, 10, 15)]
    assert [tick.label for tick in axes.durations(0.05, 4).ticks] == [
        f"10{THIN}ms", f"100{THIN}ms", f"1{THIN}s", f"10{THIN}s"
    ]  # fmt: skip
    assert [tick.label for tick in axes.ages(0.02).ticks] == ["0", f"1{THIN}s"]
    assert [tick.label for tick in axes.ages(50).ticks] == ["0", *(f"{n}{THIN}s" for n in (15, 30, 45)), f"1{THIN}min"]
    assert [tick.label for tick in axes.ages(4000).ticks] == ["0", f"1{THIN}h", f"2{THIN}h"]


@given(st.floats(1e-6, 1e8), st.floats(1e-6, 1e8))
def test_durations_of_any_size_are_on_their_axis(one: float, other: float) -> None:
    scale = axes.durations(min(one, other), max(one, other))
    places = [tick.at for tick in scale.ticks]
    assert places == sorted(places)
    assert places[0] == 0
    assert 0 <= scale.place(one) <= 1


@pytest.mark.parametrize(
    ("hours", "zone", "labels"),
    [
        (1, "UTC", ["11:00", "11:10", "11:20", "11:30", "11:40", "11:50", "12:00"]),
        (24, "Europe/Berlin", ["18:00", "Thu 01", "06:00", "12:00"]),
        (24, "UTC", ["12:00", "18:00", "Thu 01", "06:00", "12:00"]),
    ],
)
def test_times_are_ticked_at_full_minutes_hours_and_days_of_the_readers_clock(
    hours: int, zone: str, labels: list[str]
) -> None:
    ticks = axes.time_ticks(NOON - timedelta(hours=hours), NOON, ZoneInfo(zone))
    assert [tick.label for tick in ticks] == labels
    assert all(0 <= tick.at <= 1 for tick in ticks)


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe"]),
    st.sampled_from([1, 3, 24, 7 * 24]),
)
@example(datetime(2031, 10, 26, 1, 40), "Europe/Berlin", 1)
@example(datetime(2031, 3, 30, 1, 20), "Europe/Berlin", 1)
def test_ticks_follow_each_other_also_where_clocks_are_put_forward_or_back(
    end: datetime, zone: str, hours: int
) -> None:
    end = end.replace(tzinfo=UTC)
    ticks = axes.time_ticks(end - timedelta(hours=hours), end, ZoneInfo(zone))
    places = [tick.at for tick in ticks]
    assert places == sorted(set(places))
    assert all(0 <= place <= 1 for place in places)
    assert 3 <= len(ticks) <= 9


def span(points: int) -> Span:
    return Span(NOON, 60, points, UTC)


def test_stacked_areas_stand_on_whole_pixels_and_on_each_other() -> None:
    chart = charts.stacked(
        "x", "Throughput", "per min", span(3), (Curve("ok", "c1", [1, 2, 2]), Curve("bad", "c2", [1, 0, 2])),
        axes.counts(4), words.number,
    )  # fmt: skip
    bad, ok = chart.traces
    assert ok.path == "M0 108 H1 V72 H3"
    assert ok.area == "M0 108 H1 V72 H3 L3 144 0 144Z"
    assert bad.path == "M0 72 H2 V0 H3"
    assert bad.area == "M0 72 H2 V0 H3 L3 72 1 72 1 108 0 108Z"
    assert chart.rows == (("12:00", "1", "1"), ("12:01", "2", "0"), ("12:02", "2", "2"))
    assert chart.summary == "Throughput. ok: most 2, last 2; bad: most 2, last 2."


def test_lines_have_gaps_where_there_is_nothing() -> None:
    scale = axes.counts(4)
    chart = charts.lines("x", "Wait", "", span(5), (Curve("p50", "p50", [0, 4, None, 2, None]),), scale, words.number)
    assert chart.traces[0].path == "M0.5 144L1.5 0M3.1 72h.8"
    assert chart.rows[2] == ("12:02", "–")


def test_a_chart_of_nothing_says_so() -> None:
    chart = charts.stacked("x", "Dead", "", span(2), (Curve("dead", "c2", [0, 0]),), axes.counts(0), words.number)
    assert chart.empty
    assert chart.nothing == "Nothing in this time"
    assert chart.summary == "Dead. Nothing in this time."
    assert chart.traces[0].area == ""
    unseen = charts.stacked(
        "x", "Due", "", span(2), (Curve("due", "c3", [None] * 2),), axes.counts(0), words.number, measured=True
    )
    assert unseen.nothing == "Not measured in this time"
    unrun = charts.lines("x", "Run", "", span(2), (Curve("p50", "p50", [None] * 2),), axes.counts(0), words.number)
    assert unrun.nothing == "Nothing in this time"


def test_history_leaves_out_the_point_that_has_not_ended_and_joins_what_is_too_fine() -> None:
    wait = Histogram.of([100])
    points = tuple(Point(NOON + timedelta(minutes=5 * n), started=1, enqueued=2, wait=wait) for n in range(289))
    history = History.of_series(Series(points, 300, points[-1].at), UTC)
    assert (history.span.seconds, len(history.points)) == (600, 144)
    assert history.of("started") == [2] * 144
    assert history.merged("wait").count == 288
    part = History.of_series(Series(points[1:288], 300, points[288].at), UTC)
    assert (len(part.points), {point.started for point in part.points}) == (142, {2}), "none of them is a part only"
    hours = History.of_series(Series(points[:24], 3600, points[24].at), UTC)
    assert (hours.span.seconds, len(hours.points)) == (3600, 24)


def test_where_nobody_has_looked_depth_is_reckoned_from_what_came_and_was_started() -> None:
    seen = {"samples": 2, "due": 9}
    points = [
        Point(NOON, enqueued=1, started=3),
        Point(NOON, enqueued=5, started=2),
        Point(NOON, **seen),
        Point(NOON, enqueued=5, retried=1, started=2),
        Point(NOON, started=99),
        Point(NOON, samples=1),
    ]
    depths = History(span(6), points).depth(now=77)
    assert depths.measured == [None, None, 4.5, None, None, 0]
    assert depths.reckoned == [1.5, 4.5, None, 8.5, 0, None]
    assert depths.known == [1.5, 4.5, 4.5, 8.5, 0, 0]
    ends = [Point(NOON, samples=1, due=3), Point(NOON, enqueued=9), Point(NOON, enqueued=5, started=1)]
    assert History(span(3), ends).depth(now=14).reckoned == [None, 10, 14], "what is due now is known too"
    assert History(span(3), ends).depth().reckoned == [None, 12, 16]
    unseen = [Point(NOON, enqueued=5, started=2), Point(NOON, enqueued=1, started=4, retried=1), Point(NOON, started=9)]
    assert History(span(3), unseen).depth(now=2).reckoned == [13, 11, 2]
    assert History(span(3), unseen).depth().known == [None, None, None]


def test_points_that_are_joined_have_the_mean_depth_and_the_worst_age() -> None:
    looks = [
        {"samples": 1, "due": 10 * n, "oldest": Histogram.of([1000 * n] if n else [])} if n < 3 else {}
        for n in range(4)
    ]
    series = Series(tuple(Point(NOON + timedelta(hours=n), **looks[n % 4]) for n in range(720)), 3600, NOON)
    history = History.of_series(series, UTC)
    assert history.span.seconds == 4 * 3600
    assert set(history.depth().measured) == {10}
    (age,) = set(history.oldest())
    assert age == pytest.approx(2, rel=0.25)
    assert History(span(2), [Point(NOON, samples=1), Point(NOON)]).oldest() == [0, None]


def test_of_queues_with_more_jobs_than_were_counted_nothing_is_reckoned() -> None:
    points = [Point(NOON, enqueued=5)]
    counted = Counts({State.QUEUED: 10_000})
    (depth,) = (chart for chart in charts_of(History(span(1), points), counted) if chart.id == "depth")
    assert (depth.columns, depth.rows) == (("due", "reckoned"), (("12:00", "–", f"10{THIN}000"),))
    counted = replace(counted, more=frozenset({State.QUEUED}))
    (depth,) = (chart for chart in charts_of(History(span(1), points), counted) if chart.id == "depth")
    assert (depth.columns, depth.rows) == (("due",), (("12:00", "–"),))


def test_areas_have_gaps_where_there_is_nothing() -> None:
    curves = (Curve("due", "c3", [2, None, 0, 4]), Curve("reckoned", "c3", [None, 2, None, None]))
    chart = charts.stacked("x", "Depth", "", span(4), curves, axes.counts(4), words.number)
    reckoned, due = chart.traces
    assert due.path == "M0 72 H1 M2 144 H3 V0 H4"
    assert due.area == "M0 72 H1 L1 144 0 144Z M2 144 H3 V0 H4 L4 144 2 144Z"
    assert reckoned.path == "M1 72 H2"
    assert chart.rows[1] == ("12:01", "–", "2")
    assert charts.spark([None, 3]).path == "M1 0 H2"


# --- graphs ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def app() -> Any:
    with Mainspring("sqlite://") as app:

        @app.task
        def step(n: int = 0) -> int:
            return n

        yield app


def test_a_graph_has_a_column_for_each_step_and_a_line_for_each_wait(app: Mainspring) -> None:
    step = app.tasks["step"]
    flow = Flow("diamond")
    first = flow.add(step.job(1))
    left, right = (flow.add(step.job(n), after=[first]) for n in (2, 3))
    flow.add(step.job(4), after=[left, right], on_failure="run")
    flow.enqueue()
    drawn = graph.graph_of(app.flows.view(flow.id), Links(""))
    columns = sorted({node.x for node in drawn.nodes})
    assert [sum(node.x == x for node in drawn.nodes) for x in columns] == [1, 2, 1]
    assert sorted(edge.dotted for edge in drawn.edges) == [False, False, True, True]
    assert all(0 <= node.x < drawn.width and 0 <= node.y < drawn.height for node in drawn.nodes)


def test_many_alike_are_one_node_and_the_job_of_the_page_is_apart(app: Mainspring) -> None:
    flow = app.tasks["step"].map(range(100))
    flow.enqueue()
    view = app.flows.view(flow.id)
    (node,) = graph.graph_of(view, Links("")).nodes
    assert (node.label, node.sub, node.is_many) == ("100 × step", "100 queued", True)
    marked, others = graph.graph_of(view, Links(""), this=view.jobs[7].id).nodes
    assert (marked.is_this, others.label) == (True, "99 × step")


def test_a_timeline_tells_what_happened_in_order(app: Mainspring) -> None:
    job = app.tasks["step"].enqueue(1)
    drain(app)
    told = timeline(app.jobs.get(job.id))
    assert [event.kind for event in told] == ["queued", "running", "completed", "completed"]
    assert told[0].passed is None
    assert all(event.passed >= 0 for event in told[1:] if event.passed is not None)


# --- addresses, filters, notices -------------------------------------------------------------------------------------


def test_addresses_keep_foreign_names_in_the_query() -> None:
    links = Links("/ops")
    assert links("queue", name="a/../b?c=d&é") == "/ops/queue?name=a%2F..%2Fb%3Fc%3Dd%26%C3%A9"
    assert links("jobs", state=["dead", "queued"], queue="", task=None) == "/ops/jobs?state=dead&state=queued"
    assert links() == "/ops/"


def test_a_filter_is_what_its_address_says() -> None:
    asked = "state=dead&state=odd&queue= email &since=2h&id=1&id=2"
    chosen = Chosen.of(QueryParams(asked))
    assert chosen.ids == ("1", "2")
    assert chosen.query == {"state": (State.DEAD,), "queue": "email", "since": "2h"}
    assert chosen.where() == {"state": (State.DEAD,), "queue": "email", "since": "2h"}
    assert Chosen.of(QueryParams("")).is_everything
    local = replace(chosen, since="2031-05-01 09:30").where(ZoneInfo("Asia/Tokyo"))
    assert local["since"] == datetime(2031, 5, 1, 0, 30, tzinfo=UTC)
    for wrong in ("yesterday", "2031-13-01", "-5m"):
        with pytest.raises(InvalidOption):
            replace(chosen, since=wrong).where()


def test_a_notice_is_one_of_ours_whatever_the_address_says() -> None:
    assert notice({"done": "retried", "n": "1200"}) == f"1{THIN}200 jobs queued again."
    assert notice({"done": "retried", "n": "0"}) == "No job was changed: none fits any more."
    for strange in ({"done": "<b>"}, {"done": "retried"}, {"done": "retried", "n": "9" * 99}, {"n": "5"}, {}):
        assert notice(strange) is None


def test_limits_are_told_in_words() -> None:
    from mainspring import Rate

    rates = (Rate(50, "1m"), Rate(10, "1s"), Rate(900, "5m"), Rate(3, "1m30s"))
    assert limits_words(5, rates, 1000, 2.5) == (
        "5 at once", "50 per min", "10 per s", "900 per 5 min", "3 per 1m30s", f"1{THIN}000 waiting at most",
        "weight 2.5",
    )  # fmt: skip
