"""Limits: how they are written, what is refused, and the arithmetic of rates against an exact log of starts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring import InvalidDuration, InvalidOption, Limits, Rate
from mainspring.model.limits import NO_LIMITS, Spent, check_cost, check_rates, share

# --- as they are written ---------------------------------------------------------------------------------------------


def test_a_rate_is_so_many_in_a_time() -> None:
    rate = Rate(50, per="1m")
    assert (rate.limit, rate.per_ms, str(rate)) == (50, 60_000, "50/1m")
    assert rate == Rate(50, 60) == Rate(50, "60s") == Rate.parse("50/1m") == Rate.parse(" 50 / 60s ")
    assert Rate(10) == Rate.parse("10/s") == Rate.parse("10/1s")


@pytest.mark.parametrize(
    ("limit", "per"), [(0, "1s"), (-1, "1s"), (True, "1s"), (1.5, "1s"), ("5", "1s"), (10**10, "1s"), (1, 0)]
)
def test_a_wrong_rate_is_refused(limit: Any, per: Any) -> None:
    with pytest.raises(InvalidOption, match=r"^(limit|per)="):
        Rate(limit, per)


@pytest.mark.parametrize("text", ["", "50", "50/", "/1m", "fifty/1m", "50/1m/2", "-5/1s", "5 per minute"])
def test_a_rate_that_cannot_be_read_shows_the_form(text: str) -> None:
    with pytest.raises((InvalidOption, InvalidDuration), match=r"such as|form 50/1m"):
        Rate.parse(text)


@pytest.mark.parametrize(
    ("given", "rates"),
    [
        (None, ()),
        ((), ()),
        ("50/1m", (Rate(50, "1m"),)),
        (Rate(10), (Rate(10),)),
        ([Rate(10), "300/1m"], (Rate(10), Rate(300, "1m"))),
    ],
)
def test_rates_are_one_or_several_or_none(given: Any, rates: tuple[Rate, ...]) -> None:
    assert check_rates(given) == rates


@pytest.mark.parametrize("given", [5, {"a": 1}, [5], [None], ["50"], b"50/1m", ["1/s"] * 11])
def test_what_is_no_rate_is_refused(given: Any) -> None:
    with pytest.raises(InvalidOption, match="rate"):
        check_rates(given)


def test_limits_keep_their_rates_as_a_tuple() -> None:
    assert Limits(rate="5/s").rate == Limits(rate=Rate(5)).rates == Limits(rate=[Rate(5)]).rates == (Rate(5),)
    assert Limits() == NO_LIMITS
    assert NO_LIMITS.rates == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"concurrency": -1},
        {"concurrency": True},
        {"concurrency": "5"},
        {"concurrency": 10**9 + 1},
        {"max_queued": 2**63},
        {"rate": 5},
        {"max_queued": 0},
        {"max_queued": 1.5},
        {"weight": 0},
        {"weight": -1},
        {"weight": 1001},
        {"weight": float("nan")},
        {"weight": True},
        {"weight": "2"},
    ],
)
def test_wrong_limits_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match=f"^{next(iter(wrong))}="):
        Limits(**wrong)


@pytest.mark.parametrize("cost", [0, -1, True, 1.0, "1", None, 1_000_001])
def test_wrong_costs_are_refused(cost: Any) -> None:
    with pytest.raises(InvalidOption, match=r"^cost="):
        check_cost(cost)


rates = st.builds(Rate, st.integers(1, 10**9), st.sampled_from(["1ms", "1s", "1m", "1d", 0.25]))
limits = st.builds(
    Limits,
    st.none() | st.integers(0, 10**6),
    st.lists(rates, max_size=3),
    st.none() | st.integers(1, 10**6),
    st.floats(0.001, 1000),
)


@given(limits)
def test_stored_limits_round_trip(given: Limits) -> None:
    assert Limits.from_json(json.loads(json.dumps(given.to_json()))) == given


def test_what_is_not_set_is_not_stored() -> None:
    """So that it is left to what holds for every partition."""
    assert Limits().to_json() == {}


def test_a_later_word_wins_setting_by_setting() -> None:
    code, operator = Limits(5, "10/s", weight=2).to_json(), {"concurrency": None, "max_queued": 7}
    assert Limits.from_json(code, operator) == Limits(None, "10/s", 7, 2)


def test_a_share_is_cost_by_weight_and_never_nothing() -> None:
    assert share(1, 1.0) == 2 * share(1, 2.0) == share(5, 1.0) // 5
    assert share(1, 10**9) == 1


# --- what has started through a gate ---------------------------------------------------------------------------------

PER_MS = 1000
WIDTH = PER_MS // 100


def in_any_window(starts: list[tuple[int, int]], per_ms: int) -> int:
    """The most that was spent in any stretch of that length."""
    return max((sum(cost for at, cost in starts if first <= at < first + per_ms) for first, _ in starts), default=0)


@given(
    st.integers(1, 8),
    st.lists(st.tuples(st.integers(0, 700), st.integers(1, 4)), max_size=60),
    st.sampled_from([0, 5_000_003]),
)
def test_no_window_has_more_than_the_rate_and_none_waits_a_bucket_too_long(
    limit: int, arrivals: list[tuple[int, int]], now: int
) -> None:
    """Against an exact log: a job starts as soon as the gate lets it; nobody else wants to."""
    rate, text = Rate(limit, PER_MS / 1000), None
    starts: list[tuple[int, int]] = []
    for pause, cost in arrivals:
        now += pause
        spent = Spent((rate,), text, now)
        price = spent.price(cost)
        assert price == min(cost, limit)
        opens_at = spent.opens_at(cost)
        exact = next(
            at
            for at in sorted({now, *(start + PER_MS for start, _ in starts if start + PER_MS > now)})
            if sum(paid for start, paid in starts if start > at - PER_MS) + price <= limit
        )
        assert exact <= opens_at <= max(now, exact + WIDTH)
        now = opens_at
        spent = Spent((rate,), text, now)
        left = spent.left()
        assert left is not None
        assert left >= price
        assert spent.opens_at(cost) == now
        spent.add(price)
        text = spent.to_text()
        starts.append((now, price))
    assert in_any_window(starts, PER_MS) <= limit


def test_all_rates_hold() -> None:
    spent = Spent((Rate(2, "1s"), Rate(3, "1m")), None, 0)
    assert (spent.left(), spent.price(9)) == (2, 2)
    spent.add(2)
    assert (spent.left(), spent.opens_at()) == (0, 1010)
    later = Spent((Rate(2, "1s"), Rate(3, "1m")), spent.to_text(), 2000)
    assert later.left() == 1
    later.add(1)
    assert later.opens_at() == 60_600


def test_of_two_rates_of_one_length_the_lower_holds() -> None:
    spent = Spent((Rate(5), Rate(3)), None, 0)
    spent.add(3)
    assert (spent.left(), spent.to_text()) == (0, '{"1000":[[0,3]]}')


def test_without_a_rate_there_is_nothing_to_keep() -> None:
    spent = Spent((), None, 0)
    spent.add(5)
    assert (spent.left(), spent.opens_at(), spent.price(7), spent.to_text()) == (None, 0, 7, None)


def test_what_is_over_is_forgotten() -> None:
    spent = Spent((Rate(2),), None, 0)
    spent.add(2)
    assert Spent((Rate(2),), spent.to_text(), 5000).to_text() == '{"1000":[]}'


def test_a_clock_that_was_put_back_keeps_the_gate_shut_no_longer_than_one_length() -> None:
    spent = Spent((Rate(2),), None, 10_000_000)
    spent.add(2)
    back = Spent((Rate(2),), spent.to_text(), 1000)
    assert (back.left(), back.opens_at()) == (0, 2010)


def test_a_changed_length_remembers_what_has_started() -> None:
    """Or every change of a limit would let a whole rate through at once."""
    spent = Spent((Rate(5, "1s"),), None, 0)
    spent.add(5)
    assert Spent((Rate(5, "1m"),), spent.to_text(), 100).left() == 0
    assert Spent((Rate(8, "500ms"),), spent.to_text(), 100).left() == 3
    assert Spent((Rate(8, "500ms"),), spent.to_text(), 900).left() == 8
