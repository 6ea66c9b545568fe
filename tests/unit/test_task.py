"""Making tasks of functions, calling them, and the terms on which their jobs are drafted. No store is opened."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from mainspring import (
    ConfigurationError,
    Context,
    DuplicateTask,
    InvalidDuration,
    InvalidOption,
    Mainspring,
    PayloadTooDeep,
    Retry,
    UnsafeText,
    ValidationError,
)
from mainspring.model.options import JobOptions


@pytest.fixture
def app() -> Mainspring:
    return Mainspring("sqlite://")


def add(a: int, b: int = 2) -> int:
    """Add two numbers."""
    return a + b


async def fetch(url: str) -> str:
    return f"the page {url}"


def test_a_task_is_still_the_function(app: Mainspring) -> None:
    task = app.task(add)
    assert task(1) == 3
    assert task.function is add
    assert (task.__name__, task.__doc__) == ("add", "Add two numbers.")
    assert inspect.signature(task) == inspect.signature(add)


async def test_an_async_task_is_awaited_as_the_function_is(app: Mainspring) -> None:
    assert await app.task(fetch)("x") == "the page x"


def test_bare_and_with_options(app: Mainspring) -> None:
    bare = app.task(add)
    assert (bare.name, bare.options.queue, bare.options.priority, bare.is_async) == ("add", "default", 5, False)
    rich = app.task(name="get", queue="web", priority=1, retry=3, timeout="30s")(fetch)
    options = rich.options
    assert (rich.name, options.queue, options.priority, rich.is_async) == ("get", "web", 1, True)
    assert (options.retry, options.timeout_ms) == (Retry(attempts=3), 30_000)
    assert app.tasks == {"add": bare, "get": rich}


def test_another_function_cannot_take_a_name(app: Mainspring) -> None:
    app.task(add)
    with pytest.raises(DuplicateTask, match=r"task name 'add' is taken by .*add, so .*fetch needs another"):
        app.task(name="add")(fetch)
    assert app.tasks["add"].function is add


def define_again() -> Callable[[], str]:
    def job() -> str:
        return "it"

    return job


def test_the_same_function_anew_replaces_quietly(app: Mainspring) -> None:
    """A module that is reloaded, or that runs as __main__ and is imported besides."""
    first, reloaded, imported = define_again(), define_again(), define_again()
    imported.__module__ = "__main__"
    for function in (first, reloaded, imported):
        task = app.task(function)
        assert app.tasks["job"] is task


def generate() -> Iterator[int]:
    yield 1


async def generate_async() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("wrong", [None, 7, "add", [add], object(), int, generate, generate_async])
def test_what_is_no_function_is_refused(app: Mainspring, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="a task is"):
        app.task()(wrong)
    assert not app.tasks


def test_a_task_is_not_made_twice(app: Mainspring) -> None:
    with pytest.raises(ConfigurationError, match="a task already"):
        app.task()(app.task(add))


def test_partials_and_callable_objects_need_a_name(app: Mainspring) -> None:
    class Greet:
        async def __call__(self, who: str) -> str:
            return f"hi {who}"

    with pytest.raises(InvalidOption, match=r"no name of its own"):
        app.task(functools.partial(add, b=7))
    assert app.task(name="add7")(functools.partial(add, b=7))(1) == 8
    assert app.task(name="greet")(Greet()).is_async


@pytest.mark.parametrize(
    "options",
    [
        {"name": ""},
        {"name": "a\n"},
        {"name": "x" * 201},
        {"name": 7},
        {"queue": ""},
        {"queue": None, "priority": 1.5},
        {"priority": True},
        {"priority": 5000},
        {"retry": 0},
        {"retry": True},
        {"retry": "often"},
        {"timeout": 0},
        {"executor": "moon"},
    ],
)
def test_wrong_options_are_refused_by_name_and_value(app: Mainspring, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption):
        app.task(**options)(add)
    assert not app.tasks


@pytest.mark.parametrize("timeout", ["soon", -1, float("nan"), [3]])
def test_wrong_durations_are_refused(app: Mainspring, timeout: Any) -> None:
    with pytest.raises(InvalidDuration):
        app.task(timeout=timeout)(add)


def test_a_draft_is_a_validated_job(app: Mainspring) -> None:
    new = app.task(queue="sums", priority=3)(add).job(1, b=5).new
    assert (new.task, new.queue, new.priority, json.loads(new.args)) == ("add", "sums", 3, {"a": 1, "b": 5})
    assert UUID(new.id).version == 7


def test_the_context_is_no_argument(app: Mainspring) -> None:
    @app.task
    def resize(ctx: Context, path: str) -> None: ...

    assert json.loads(resize.job("a.png").new.args) == {"path": "a.png"}


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((1, 2, 3), {}), (("x",), {}), ((1,), {"c": 1})])
def test_arguments_that_do_not_fit_are_refused(app: Mainspring, args: Any, kwargs: Any) -> None:
    with pytest.raises(ValidationError, match="add"):
        app.task(add).job(*args, **kwargs)


def test_unsafe_payloads_are_refused(app: Mainspring) -> None:
    @app.task
    def keep(value: Any) -> None: ...

    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(PayloadTooDeep):
        keep.job(deep)
    with pytest.raises(UnsafeText):
        keep.job("\x00")


def test_a_parameter_may_have_any_name(app: Mainspring) -> None:
    """Also names that our own methods use."""

    @app.task
    def odd(self: int, owner: int, args: int, task: int) -> None: ...

    assert json.loads(odd.job(self=1, owner=2, args=3, task=4).new.args) == {
        "self": 1,
        "owner": 2,
        "args": 3,
        "task": 4,
    }


def test_using_changes_the_terms_and_nothing_else(app: Mainspring) -> None:
    @app.task(queue="sums", retry=Retry(attempts=5, delay="1s", on=OSError))
    async def task(a: int) -> int:
        return a

    at = datetime(2030, 1, 1, 12, tzinfo=UTC)
    new = task.using(delay="2h", priority=1, queue="urgent", timeout="5s", retry=3, id="order-7").job(1).new
    assert (new.delay_ms, new.priority, new.queue, new.id) == (7_200_000, 1, "urgent", "order-7")
    merged = JobOptions.from_text(new.options).over(task.options)
    assert (merged.timeout_ms, merged.retry) == (5000, Retry(attempts=3, delay="1s", on=OSError))
    assert task.using(at=at).job(1).new.run_at == 1_893_499_200_000
    assert task.job(1).new.options is None


def test_options_that_the_executor_cannot_honour_are_refused(app: Mainspring) -> None:
    with pytest.raises(InvalidOption, match=r"memory= .* say executor=\"process\" too"):
        app.task(memory="512MB")(add)
    with pytest.raises(InvalidOption, match="async function, which runs on the event loop and not on a thread"):

        @app.task(executor="thread")
        async def work() -> None: ...


def test_a_deadline_is_a_point_in_time_or_counted_from_the_enqueuing(app: Mainspring) -> None:
    task = app.task(deadline="1h")(add)
    after = JobOptions.from_text(task.using(deadline="5m").job(1).new.options)
    assert (after.deadline(task.options, 1000), JobOptions().deadline(task.options, 1000)) == (301_000, 3_601_000)
    at = JobOptions.from_text(
        task.using(deadline="5m").using(deadline=datetime(2030, 1, 1, tzinfo=UTC)).job(1).new.options
    )
    assert at.deadline(task.options, 1000) == 1_893_456_000_000
    with pytest.raises(InvalidOption, match="no time zone"):
        task.using(deadline=datetime(2030, 1, 1))


def test_using_adds_up(app: Mainspring) -> None:
    task = app.task(add)
    at = datetime(2030, 1, 1, 12, tzinfo=UTC)
    new = task.using(queue="a", at=at).using(priority=2).job(1).new
    assert (new.queue, new.priority, new.run_at) == ("a", 2, 1_893_499_200_000)
    later = task.using(at=at).using(delay=timedelta(seconds=5)).job(1).new
    assert (later.run_at, later.delay_ms) == (None, 5000)


@pytest.mark.parametrize(
    "terms",
    [
        {"delay": 1, "at": datetime(2030, 1, 1, tzinfo=UTC)},
        {"at": datetime(2030, 1, 1)},
        {"at": "tomorrow"},
        {"delay": -1},
        {"delay": "soon"},
        {"priority": 1001},
        {"queue": " x"},
        {"id": ""},
        {"id": 7},
        {"timeout": 0},
        {"retry": 0},
        {"retry": Retry(on=OSError)},
    ],
)
def test_wrong_terms_are_refused(app: Mainspring, terms: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        app.task(add).using(**terms)


def test_annotations_are_read_when_first_needed(app: Mainspring) -> None:
    """So that a type may be defined below the task; one that cannot be found at all is named."""

    @app.task
    def orphan(value: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(ConfigurationError, match="orphan"):
        orphan.job(1)  # type: ignore[call-arg]
