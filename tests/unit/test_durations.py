"""Durations: what people may write, what it means in milliseconds, and what is refused."""

from __future__ import annotations

import contextlib
import doctest
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.errors import InvalidDuration
from mainspring.model import durations
from mainspring.model.durations import MAX_MS, format_ms, to_ms


@pytest.mark.parametrize(
    ("written", "ms"),
    [
        (0, 0),
        (90, 90_000),
        (0.25, 250),
        (timedelta(minutes=2), 120_000),
        ("90s", 90_000),
        ("2h", 7_200_000),
        ("1d", 86_400_000),
        ("500ms", 500),
        ("1h30m", 5_400_000),
        ("1.5h", 5_400_000),
        ("2w", 1_209_600_000),
        (" 1h 30 m ", 5_400_000),
        ("1m1ms", 60_001),
        ("0.4ms", 0),
    ],
)
def test_a_duration_is_seconds_or_a_timedelta_or_text(written: durations.Duration, ms: int) -> None:
    assert to_ms(written) == ms


@pytest.mark.parametrize(
    "wrong",
    [
        *(True, None, [], b"1s", object()),
        *(
            -1,
            -0.5,
            timedelta(days=-1),
            float("nan"),
            float("inf"),
            10**400,
            3_200_000_000,
            "101000d",
            "9" * 5000 + "s",
        ),
        *("", " ", "s", "90", "5x", "5 years", "1h1h", "30m1h", "-5s", "1e3s", "5S", "1..5s", "5s!", "٣s", "5\x00s"),
    ],
)
def test_anything_else_is_refused_with_its_value_and_what_to_write(wrong: object) -> None:
    with pytest.raises(InvalidDuration) as refusal:
        to_ms(wrong)  # type: ignore[arg-type]
    text = str(refusal.value)
    assert "duration " in text
    assert "; give" in text or "; write" in text
    assert len(text) < 400


@given(st.integers(0, MAX_MS))
def test_text_round_trips(ms: int) -> None:
    assert to_ms(format_ms(ms)) == ms


@given(st.integers(0, MAX_MS))
def test_a_timedelta_and_seconds_mean_the_same(ms: int) -> None:
    assert to_ms(timedelta(milliseconds=ms)) == to_ms(ms / 1000) == ms


@given(st.text() | st.floats() | st.integers())
def test_nothing_but_invalid_duration_is_ever_raised(value: str | float) -> None:
    with contextlib.suppress(InvalidDuration):
        assert 0 <= to_ms(value) <= MAX_MS


def test_format_is_short() -> None:
    assert [format_ms(ms) for ms in (0, 250, 1000, 5_400_000, 86_400_001)] == ["0s", "250ms", "1s", "1h30m", "1d1ms"]


def test_the_examples_in_the_docstrings_are_true() -> None:
    assert doctest.testmod(durations).failed == 0
