"""The arithmetic that the scripts do themselves, against the model's: equal answers for equal questions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis import Redis

from mainspring.model.limits import MAX_COST, Rate, Spent, share
from mainspring.store.redis.scripts import script
from mainspring.store.sql.plans.turns import sequence_key

from .conformance.texts import HOSTILE

Evaluate = Callable[[str, str, Any], Any]
"""A Lua file, an expression over what it and those it needs define, and `given`; gives its value."""


@pytest.fixture(scope="module")
def evaluate(redis_server: str) -> Iterator[Evaluate]:
    with Redis.from_url(redis_server, protocol=2, decode_responses=True) as client:

        def run(file: str, expression: str, given: Any) -> Any:
            text = f"{script(file).text}\nlocal given = cjson.decode(ARGV[1])\n{expression}"
            return client.eval(text, 1, "{arithmetic}", json.dumps(given))

        yield run


SPENT = """
local text, answers = nil, {}
for _, step in ipairs(given) do
  local spent = Spent.new(step.rates, text, step.now)
  local price = Spent.price(spent, step.cost)
  local answer = { Spent.left(spent), price, Spent.opens_at(spent, step.cost) }
  Spent.add(spent, price)
  answer[4], answer[5], answer[6] = Spent.left(spent), Spent.opens_at(spent, 1), Spent.to_text(spent)
  answers[#answers + 1], text = answer, answer[6]
end
return answers
"""

Step = tuple[Sequence[Rate], int, int]
"""The rates at that time, the time, and what a job costs that starts then."""


def answers(steps: Sequence[Step]) -> list[list[Any]]:
    """What the model says, step by step."""
    text, said = None, []
    for rates, now, cost in steps:
        spent = Spent(rates, text, now)
        price = spent.price(cost)
        before = [spent.left(), price, spent.opens_at(cost)]
        spent.add(price)
        text = spent.to_text()
        said.append([*before, spent.left(), spent.opens_at(), text])
    return said


def asked(steps: Sequence[Step]) -> list[dict[str, Any]]:
    return [
        {"rates": [[rate.limit, rate.per_ms] for rate in rates], "now": now, "cost": cost} for rates, now, cost in steps
    ]


BOTH = (Rate(2, "1s"), Rate(3, "1m"))
lengths = st.sampled_from(["1ms", "50ms", 0.333, "1s", "10s", "1m", "1h", "365d"])
rates = st.lists(st.builds(Rate, st.one_of(st.integers(1, 20), st.integers(1, 10**9)), lengths), min_size=1, max_size=4)
pauses = st.one_of(st.integers(-50, 2000), st.integers(-(10**8), 10**8), st.just(0))
costs = st.one_of(st.integers(1, 10), st.integers(1, MAX_COST))


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    """Mostly with one and the same rates; times go back now and then."""
    now, steps, said = draw(st.sampled_from([10**9, 1_700_000_000_000])), list[Step](), draw(rates)
    for pause, cost, new in draw(st.lists(st.tuples(pauses, costs, st.one_of(*[st.none()] * 4, rates)), max_size=40)):
        now, said = max(0, now + pause), new or said
        steps.append((said, now, cost))
    return steps


@example([(BOTH, 0, 9), (BOTH, 2000, 1), (BOTH, 2000, 1)])
@example([((Rate(5), Rate(3)), 0, 3)])
@example([((Rate(2),), 0, 2), ((Rate(2),), 5000, 1)])
@example([((Rate(2),), 10_000_000, 2), ((Rate(2),), 1000, 1)])
@example([((Rate(5, "1s"),), 0, 5), ((Rate(5, "1m"),), 100, 1)])
@example([((Rate(5, "1s"),), 0, 5), ((Rate(8, "500ms"),), 100, 1), ((Rate(8, "500ms"),), 900, 9)])
@given(steps=histories())
def test_a_gate_remembers_and_answers_as_the_model_does(evaluate: Evaluate, steps: list[Step]) -> None:
    """How much is left, what a job counts, when it may start, and the text that is kept: after every start."""
    assert evaluate("spent", SPENT, asked(steps)) == answers(steps)


@example([(1, 1.0), (1, 3.0), (1, 0.3), (1, 1000.0), (MAX_COST, 0.001)])
@given(st.lists(st.tuples(costs, st.floats(0.001, 1000)), max_size=50))
def test_a_share_is_rounded_as_the_model_does(evaluate: Evaluate, given: list[tuple[int, float]]) -> None:
    expression = """
    local shares = {}
    for number, each in ipairs(given) do shares[number] = string.format('%.0f', share(each[1], tonumber(each[2]))) end
    return shares
    """
    found = evaluate("turns", expression, [[cost, repr(weight)] for cost, weight in given])
    assert list(map(int, found)) == [share(cost, weight) for cost, weight in given]


def test_halves_go_to_the_even_neighbour(evaluate: Evaluate) -> None:
    weights = [float(Fraction(10**6) / Fraction(2 * whole + 1, 2)) for whole in range(1000, 1100)]
    halves = [weight for weight in weights if (10**6 / weight) % 1 == 0.5]
    assert len(halves) > 10
    expression = "local s = {} for n, each in ipairs(given) do s[n] = share(1, tonumber(each)) end return s"
    assert evaluate("turns", expression, list(map(repr, halves))) == [share(1, weight) for weight in halves]


def test_the_key_of_a_sequence_is_called_as_everywhere(evaluate: Evaluate) -> None:
    """So that whoever looks for it finds it, whatever its queue and its partition are called."""
    texts = [*HOSTILE.values(), "", "plain", 'a"b\\c/d\x7f\b\f', "é", "\ud7ff"]
    pairs = [[queue, partition] for queue in texts for partition in texts]
    expression = "local k = {} for n, each in ipairs(given) do k[n] = Keys.of_sequence(each[1], each[2]) end return k"
    assert evaluate("turns", expression, pairs) == [sequence_key(*pair) for pair in pairs]
