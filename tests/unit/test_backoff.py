"""Retry rules: how long to wait, for which exceptions, and which rules are refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.errors import InvalidDuration, InvalidOption
from mainspring.model.backoff import Retry

chances = st.floats(0, 1, exclude_max=True)


def test_the_default_is_eight_attempts_from_15_seconds_doubled_up_to_an_hour() -> None:
    retry = Retry(jitter=False)
    assert retry.attempts == 8
    assert [retry.delay_ms(n, None, 0.5) // 1000 for n in range(1, 11)] == [
        15,
        30,
        60,
        120,
        240,
        480,
        960,
        1920,
        3600,
        3600,
    ]


def test_full_jitter_takes_its_share_of_the_whole_wait() -> None:
    assert [Retry(delay="10s").delay_ms(1, None, chance) for chance in (0, 0.25, 0.999)] == [0, 2500, 9990]


def test_factor_one_is_a_fixed_wait() -> None:
    retry = Retry(delay=timedelta(seconds=5), factor=1, jitter=False)
    assert {retry.delay_ms(n, None, 0.5) for n in (1, 2, 10_000)} == {5000}


def test_of_a_sequence_the_last_wait_repeats() -> None:
    retry = Retry(delay=["1s", 5, timedelta(minutes=1)], jitter=False)
    assert [retry.delay_ms(n, None, 0.5) for n in (1, 2, 3, 4, 10_000)] == [1000, 5000, 60_000, 60_000, 60_000]


def test_a_function_gets_the_attempt_and_the_exception_and_stays_under_the_cap() -> None:
    def wait(attempt: int, exception: BaseException | None) -> str:
        return f"{attempt}m" if isinstance(exception, OSError) else "2h"

    retry = Retry(delay=wait, jitter=False)
    assert retry.delay_ms(3, OSError(), 0.5) == 180_000
    assert retry.delay_ms(3, None, 0.5) == 3_600_000


def test_what_a_function_should_not_return_is_refused() -> None:
    with pytest.raises(InvalidDuration, match="'soon'"):
        Retry(delay=lambda attempt, exception: "soon").delay_ms(1, None, 0.5)


def test_no_wait_stays_no_wait() -> None:
    assert Retry(delay=0, jitter=False).delay_ms(10_000, None, 0.5) == 0


@given(
    st.integers(1, 10_000),
    st.integers(0, 3_600_000),
    st.floats(1, 1000),
    st.integers(3600, 10**6),
    chances,
    st.booleans(),
)
def test_a_wait_is_never_negative_and_never_over_the_cap(
    attempt: int, delay: int, factor: float, cap: int, chance: float, jitter: bool
) -> None:
    retry = Retry(delay=delay / 1000, factor=factor, max_delay=cap, jitter=jitter)
    assert 0 <= retry.delay_ms(attempt, None, chance) <= cap * 1000


@given(st.integers(1, 2000), st.floats(1, 100), st.integers(0, 100_000))
def test_the_upper_bound_only_rises(attempt: int, factor: float, delay: int) -> None:
    retry = Retry(delay=delay / 1000, factor=factor, jitter=False)
    assert retry.delay_ms(attempt, None, 0.5) <= retry.delay_ms(attempt + 1, None, 0.5)


@given(st.integers(1, 100), chances, chances)
def test_more_chance_is_never_less_wait(attempt: int, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert Retry().delay_ms(attempt, None, low) <= Retry().delay_ms(attempt, None, high)


def test_every_exception_is_tried_again_unless_named() -> None:
    assert Retry().allows(ValueError())
    assert Retry().allows(None)
    assert not Retry().allows(KeyboardInterrupt())
    assert not Retry(never=ValueError).allows(UnicodeError())
    assert Retry(on=OSError).allows(ConnectionError())
    assert not Retry(on=[OSError]).allows(ValueError())  # type: ignore[arg-type]
    assert not Retry(on=OSError, never=(ConnectionError,)).allows(ConnectionResetError())


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"attempts": 0}, "attempts=0"),
        ({"attempts": True}, "attempts=True"),
        ({"attempts": 2.5}, "attempts=2.5"),
        ({"attempts": 10**9}, "attempts=1000000000"),
        ({"factor": 0.5}, "factor=0.5"),
        ({"factor": float("nan")}, "factor=nan"),
        ({"factor": "2"}, "factor='2'"),
        ({"factor": True}, "factor=True"),
        ({"jitter": 1}, "jitter=1"),
        ({"on": "ValueError"}, "on='ValueError'"),
        ({"never": (ValueError, 3)}, "never=3"),
        ({"delay": []}, "delay=()"),
        ({"delay": "2h"}, "delay='2h'"),
        ({"delay": ["1s", "2h"]}, "delay=('1s', '2h')"),
    ],
)
def test_an_impossible_option_is_refused_with_its_value(options: dict[str, Any], shown: str) -> None:
    with pytest.raises(InvalidOption) as refusal:
        Retry(**options)
    assert shown in str(refusal.value)


@pytest.mark.parametrize("options", [{"delay": "5x"}, {"delay": None}, {"delay": ["1s", -1]}, {"max_delay": "long"}])
def test_an_impossible_duration_is_refused_with_the_name_of_its_option(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidDuration, match=f"^{next(iter(options))}: duration"):
        Retry(**options)


def test_equal_rules_are_equal_however_they_are_written() -> None:
    written = Retry(5, timedelta(seconds=1), 2, 300)
    assert written == Retry(attempts=5, delay="1s", factor=2.0, max_delay="5m")
    assert hash(written) == hash(Retry(attempts=5, delay=1, max_delay="300s"))
    assert "_delays_ms" not in repr(written)


@given(
    st.builds(
        Retry,
        attempts=st.integers(1, 1000),
        delay=st.integers(0, 3600) | st.lists(st.integers(0, 3600), min_size=1, max_size=5),
        factor=st.floats(1, 1000),
        max_delay=st.just("1h"),
        jitter=st.booleans(),
    )
)
def test_rules_round_trip_as_json(retry: Retry) -> None:
    assert Retry.from_json(retry.to_json()) == retry


@pytest.mark.parametrize("retry", [Retry(delay=lambda n, e: 1), Retry(on=OSError), Retry(never=OSError)])
def test_code_is_not_stored_with_a_job(retry: Retry) -> None:
    with pytest.raises(InvalidOption, match="give a delay function, on= and never= to the task"):
        retry.to_json()


@pytest.mark.parametrize("stored", [None, 3, "x", {"on": []}, {"attempts": 0}])
def test_other_json_is_refused(stored: object) -> None:
    with pytest.raises(InvalidOption):
        Retry.from_json(stored)
