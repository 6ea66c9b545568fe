"""Rules for unique jobs, debounce and throttle, and the keys that they make of a job's arguments."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.errors import InvalidDuration, InvalidOption
from mainspring.model.job import Conflict, Key, Until
from mainspring.model.keys import By, Debounce, KeyRule, Throttle, Unique, idempotency

ARGS = {"user_id": 7, "text": "hello"}

RULES: list[Callable[[By], KeyRule]] = [
    lambda by: Unique(by=by),
    lambda by: Debounce("5s", by=by),
    lambda by: Throttle(1, per="10m", by=by),
]
each_rule = pytest.mark.parametrize("rule", RULES, ids=["unique", "debounce", "throttle"])

args = st.dictionaries(
    st.text(max_size=5), st.one_of(st.none(), st.integers(), st.text(max_size=200), st.lists(st.booleans())), max_size=4
)


class TestUnique:
    """One job at a time."""

    def test_by_default_it_counts_until_the_end_and_gives_the_existing_job(self) -> None:
        key = Unique().key("mail", ARGS)
        assert key == Key('unique:mail:{"text":"hello","user_id":7}', Until.SETTLED, None, Conflict.EXISTING)
        assert (key.seats, key.max_delay_ms) == (1, None)

    @pytest.mark.parametrize("until", ["started", "settled"])
    @pytest.mark.parametrize("conflict", ["existing", "reject", "replace"])
    def test_what_is_said_is_in_the_key(self, until: str, conflict: str) -> None:
        key = Unique(until=until, for_="1h", on_conflict=conflict).key("mail", ARGS)
        assert (key.until, key.expires_ms, key.on_conflict) == (Until(until), 3_600_000, Conflict(conflict))
        assert type(key.until) is Until
        assert type(key.on_conflict) is Conflict

    def test_the_models_own_words_will_do(self) -> None:
        assert Unique(until=Until.STARTED, on_conflict=Conflict.REJECT) == Unique(until="started", on_conflict="reject")

    @pytest.mark.parametrize("until", ["expiry", "ended", "", None, 5])
    def test_it_lasts_until_started_or_settled_and_nothing_else(self, until: Any) -> None:
        with pytest.raises(InvalidOption, match="neither 'started' nor 'settled'"):
            Unique(until=until)

    @pytest.mark.parametrize("conflict", ["raise", "", None, 5])
    def test_other_words_about_conflicts_are_refused_and_the_right_ones_named(self, conflict: Any) -> None:
        with pytest.raises(InvalidOption, match="none of existing, reject, replace"):
            Unique(on_conflict=conflict)

    @pytest.mark.parametrize("for_", [0, "0s", 0.0001, timedelta(0)])
    def test_no_time_at_all_is_refused(self, for_: Any) -> None:
        with pytest.raises(InvalidOption, match=r"for_=.* is no time at all"):
            Unique(for_=for_)

    @pytest.mark.parametrize("for_", ["soon", -1, True])
    def test_what_is_no_duration_is_refused_as_everywhere(self, for_: Any) -> None:
        with pytest.raises(InvalidDuration):
            Unique(for_=for_)


class TestDebounce:
    """One job once things are quiet."""

    def test_its_key_lasts_until_the_start_and_is_taken_over_by_who_comes_last(self) -> None:
        rule = Debounce("5s", max_delay="1m", by=("user_id",))
        assert rule.wait_ms == 5000
        assert rule.key("mail", ARGS) == Key(
            'debounce:mail:{"user_id":7}', Until.STARTED, None, Conflict.REPLACE, 1, max_delay_ms=60_000
        )

    def test_without_a_longest_delay_it_may_be_put_off_for_ever(self) -> None:
        assert Debounce(5).key("mail", ARGS) == Key("debounce:mail:", Until.STARTED, on_conflict=Conflict.REPLACE)

    @pytest.mark.parametrize(("wait", "max_delay", "wrong"), [(0, None, "wait"), ("1s", 0, "max_delay")])
    def test_no_time_at_all_is_refused(self, wait: Any, max_delay: Any, wrong: str) -> None:
        with pytest.raises(InvalidOption, match=rf"^{wrong}="):
            Debounce(wait, max_delay)

    def test_what_is_no_duration_is_refused(self) -> None:
        with pytest.raises(InvalidDuration):
            Debounce("soon")

    def test_an_end_before_the_first_quiet_is_refused(self) -> None:
        with pytest.raises(InvalidOption, match="max_delay='4s' is shorter than wait='5s'"):
            Debounce("5s", "4s")
        assert Debounce("5s", "5s").wait_ms == 5000


class TestThrottle:
    """So many jobs in a stretch of time."""

    def test_its_key_has_a_seat_for_each_job_and_comes_free_with_time_alone(self) -> None:
        key = Throttle(3, per="10m").key("mail", ARGS)
        assert key == Key("throttle:mail:", Until.EXPIRY, 600_000, Conflict.EXISTING, seats=3)
        assert key.held_as() == ("throttle:mail:#1", "throttle:mail:#2", "throttle:mail:#3")

    @pytest.mark.parametrize("limit", [1, 1000])
    def test_limits(self, limit: int) -> None:
        assert Throttle(limit, per=1).key("mail", {}).seats == limit

    @pytest.mark.parametrize("limit", [0, -1, 1001, True, 1.0, "1", None])
    def test_other_limits_are_refused(self, limit: Any) -> None:
        with pytest.raises(InvalidOption, match="whole number from 1 to 1000"):
            Throttle(limit, per="1s")

    def test_no_time_at_all_is_refused(self) -> None:
        with pytest.raises(InvalidOption, match=r"^per="):
            Throttle(1, per=0)


class TestBy:
    """What tells jobs apart."""

    def name(self, rule: Callable[[By], KeyRule], by: By, args: Mapping[str, Any] = ARGS, task: str = "mail") -> str:
        return rule(by).key(task, args).name

    @each_rule
    def test_all_arguments_in_whatever_order(self, rule: Callable[[By], KeyRule]) -> None:
        assert self.name(rule, "all") == self.name(rule, "all", {"text": "hello", "user_id": 7})
        assert self.name(rule, "all") != self.name(rule, "all", {**ARGS, "text": "bye"})

    @each_rule
    def test_those_of_some_names(self, rule: Callable[[By], KeyRule]) -> None:
        assert self.name(rule, ("user_id",)) == self.name(rule, ("user_id",), {**ARGS, "text": "bye"})
        assert self.name(rule, ("user_id",)) != self.name(rule, ("user_id",), {**ARGS, "user_id": 8})
        assert self.name(rule, ("user_id", "text")) == self.name(rule, ("text", "user_id"))

    @each_rule
    def test_an_argument_that_is_not_there_is_like_none(self, rule: Callable[[By], KeyRule]) -> None:
        assert self.name(rule, ("user_id",), {}) == self.name(rule, ("user_id",), {"user_id": None})

    @each_rule
    def test_no_names_make_all_jobs_of_a_task_alike(self, rule: Callable[[By], KeyRule]) -> None:
        assert self.name(rule, ()) == self.name(rule, (), {"user_id": 8})
        assert self.name(rule, ()) != self.name(rule, (), task="print")

    @each_rule
    def test_what_a_function_makes_of_them(self, rule: Callable[[By], KeyRule]) -> None:
        def by(args: Mapping[str, Any]) -> object:
            return args["user_id"] % 5

        assert self.name(rule, by) == self.name(rule, by, {"user_id": 2})
        assert self.name(rule, by) != self.name(rule, by, {"user_id": 3})

    @pytest.mark.parametrize("told", [{1, 2}, object(), float, {"a": b"x"}])
    @each_rule
    def test_what_has_no_lasting_text_is_no_name(self, rule: Callable[[By], KeyRule], told: object) -> None:
        with pytest.raises(InvalidOption, match=r"the `by` function of task 'mail' gave .*; give text, numbers"):
            rule(lambda args: told).key("mail", ARGS)

    @pytest.mark.parametrize("by", ["user_id", ["user_id"], ("user_id", 5), None, 5, {"user_id"}])
    @each_rule
    def test_anything_else_is_refused(self, rule: Callable[[By], KeyRule], by: Any) -> None:
        with pytest.raises(InvalidOption, match=r"neither 'all', a tuple .* nor a function"):
            rule(by)

    def test_each_rule_and_each_task_has_names_of_its_own(self) -> None:
        names = {rule("all").key(task, ARGS).name for rule in RULES for task in ("mail", "print")}
        assert len(names) == 6

    def test_long_arguments_make_a_short_name(self) -> None:
        long = self.name(RULES[0], "all", {"text": "x" * 10_000})
        assert len(long) < 100
        assert long != self.name(RULES[0], "all", {"text": "x" * 9_999 + "y"})

    @given(args, args)
    def test_names_are_equal_where_arguments_are(self, one: dict[str, Any], other: dict[str, Any]) -> None:
        equal = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
        assert (self.name(RULES[0], "all", one) == self.name(RULES[0], "all", other)) is equal

    @given(args)
    def test_a_name_is_fit_for_any_store(self, args: dict[str, Any]) -> None:
        name = self.name(RULES[0], "all", {**args, "hostile": "\x00\ud800\n"})
        assert name.isascii()
        assert name.isprintable()


class TestIdempotency:
    """One job for a name that the caller chose."""

    def test_its_key_lasts_for_its_time_alone(self) -> None:
        key = idempotency("charge", "order-123", "24h")
        assert (key.until, key.expires_ms, key.on_conflict) == (Until.EXPIRY, 86_400_000, Conflict.EXISTING)
        assert (key.seats, key.max_delay_ms) == (1, None)

    def test_other_tasks_and_other_names_are_other_keys(self) -> None:
        pairs = [("a", "x"), ("b", "x"), ("a", "y"), ("a", "x "), ("a", "X")]
        assert len({idempotency(*pair, "1h").name for pair in pairs}) == len(pairs)

    @pytest.mark.parametrize("key", ["x", "order 1", "a:b", "ключ", "x" * 200])
    def test_most_text_is_a_name(self, key: str) -> None:
        assert key in idempotency("charge", key, 1).name

    @pytest.mark.parametrize("key", ["", "  ", "x" * 201, "a\x00b", "a\ud800", "\x1b[1m", None, 5, b"x"])
    def test_other_names_are_refused(self, key: Any) -> None:
        with pytest.raises(InvalidOption, match="1 to 200 printable characters"):
            idempotency("charge", key, "24h")

    def test_no_time_at_all_is_refused(self) -> None:
        with pytest.raises(InvalidOption, match=r"^idempotency_for="):
            idempotency("charge", "x", 0)
