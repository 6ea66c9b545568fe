"""How durations, times and foreign text are shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from mainspring.cli.output import block, iso, one_line, span

from .conftest import Project


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 ms"),
        (0.25, "250 ms"),
        (0.9999, "1.0 s"),
        (3.21, "3.2 s"),
        (9.99, "10 s"),
        (42, "42 s"),
        (59.9, "1 min"),
        (185, "3 min"),
        (7500, "2 h 5 min"),
        (7200, "2 h"),
        (50_000, "13 h"),
        (90_000, "1 d 1 h"),
        (864_000, "10 d"),
    ],
)
def test_durations_for_people(seconds: float, shown: str) -> None:
    assert span(seconds) == shown


def test_times_for_programs_are_utc() -> None:
    at = datetime(2031, 5, 1, 9, 30, tzinfo=timezone(timedelta(hours=2)))
    assert iso(at) == "2031-05-01T07:30:00.000Z"
    assert datetime.fromisoformat(iso(at) or "") == at.astimezone(UTC)


def test_foreign_text_keeps_letters_and_loses_power() -> None:
    assert one_line("é 漢 👩‍👧 [red]") == "é 漢 👩‍👧 [red]"
    assert one_line("a\nb\x1b[2J\x9b\u202e\ud800") == "a\\nb\\x1b[2J\\x9b\\u202e\\ud800"
    assert block("a\n\tb\r\x00") == "a\n\tb\\r\\x00"


def test_a_terminal_gets_a_table_with_relative_times_and_colour(project: Project) -> None:
    project.app.tasks["add"].enqueue(1, 2)
    code, shown = project.on_terminal("jobs", "list", "--app", "shop.jobs")
    assert code == 0
    assert "ago" in shown or "now" in shown
    assert "\x1b[1m" in shown


def test_a_narrow_terminal_still_shows_whole_ids(project: Project) -> None:
    job = project.app.tasks["add"].enqueue(1, 2)
    _, shown = project.on_terminal("jobs", "list", "--app", "shop.jobs", columns=60)
    assert job.id in shown
