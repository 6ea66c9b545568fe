"""Options of tasks and jobs: checks, what a job overrides, and how that is stored."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.errors import InvalidOption
from mainspring.model.backoff import Retry
from mainspring.model.options import JobOptions, TaskOptions, check_name, check_priority


def test_the_defaults_are_a_default_queue_priority_five_and_no_timeout() -> None:
    options = TaskOptions()
    assert (options.queue, options.priority, options.retry, options.timeout_ms) == ("default", 5, Retry(), None)


@pytest.mark.parametrize("name", ["a", "send_welcome", "Größe", "mail:urgent", "two words", "x" * 200, "日本"])
def test_most_text_is_a_name(name: str) -> None:
    assert check_name("task", name) == name


@pytest.mark.parametrize("name", ["", "x" * 201, " a", "a\n", "a\x00b", "a\ud800", "a\u0085b", None, 5, b"a"])
def test_other_names_are_refused_and_shown(name: object) -> None:
    with pytest.raises(InvalidOption, match=r"^queue name .*; (give|take)"):
        check_name("queue", name)


@pytest.mark.parametrize("priority", [-1000, 0, 5, 1000])
def test_a_priority_is_a_small_integer(priority: int) -> None:
    assert check_priority(priority) == priority


@pytest.mark.parametrize("priority", [-1001, 1001, True, 5.0, "5", None])
def test_other_priorities_are_refused(priority: object) -> None:
    with pytest.raises(InvalidOption, match="lower runs first"):
        check_priority(priority)


@pytest.mark.parametrize(
    "wrong",
    [
        {"queue": ""},
        {"priority": 1.5},
        {"retry": 3},
        {"timeout_ms": 0},
        {"timeout_ms": "30s"},
        {"timeout_ms": True},
        {"timeout_ms": 10**15},
        {"executor": "magic"},
        {"keys": ("unique",)},
    ],
)
def test_wrong_task_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption):
        TaskOptions(**wrong)


@pytest.mark.parametrize("wrong", [{"retry": 3}, {"timeout_ms": 0}])
def test_wrong_job_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption):
        JobOptions(**wrong)


def test_nothing_overridden_is_stored_as_nothing() -> None:
    assert JobOptions().to_text() is None
    assert JobOptions.from_text(None) == JobOptions()


@given(
    st.builds(
        JobOptions,
        retry=st.none() | st.builds(Retry, attempts=st.integers(1, 99), delay=st.integers(0, 60)),
        timeout_ms=st.none() | st.integers(1, 10**9),
        sealed=st.sampled_from([(), (("card",), ("keys", "*"))]),
        trace=st.dictionaries(st.text(), st.text()).map(lambda trace: tuple(trace.items())),
    )
)
def test_overridden_options_round_trip(options: JobOptions) -> None:
    assert JobOptions.from_text(options.to_text()) == options


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", '{"color":1}', "{", '{"retry":5}', '{"timeout_ms":0}', '{"trace":[]}', '{"trace":{"a":1}}'],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidOption):
        JobOptions.from_text(text)


def test_a_job_overrides_its_task_but_not_which_exceptions_are_tried_again() -> None:
    task = TaskOptions(queue="mail", retry=Retry(3, never=ValueError), timeout_ms=1000)
    assert JobOptions().over(task) == task
    merged = JobOptions(retry=Retry(9), timeout_ms=50).over(task)
    assert merged == TaskOptions(queue="mail", retry=Retry(9, never=ValueError), timeout_ms=50)
