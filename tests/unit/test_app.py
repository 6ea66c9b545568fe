"""What an app is told before any store is opened: its URL, schedules, queues, observers, middleware."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import mainspring
from mainspring import (
    ConfigurationError,
    Context,
    Event,
    InvalidCron,
    InvalidDuration,
    InvalidOption,
    InvalidURL,
    Limits,
    Mainspring,
    Rate,
    StoreUnavailable,
    UnknownTask,
    ValidationError,
)
from mainspring.model.schedule import Cron, Every, Timing
from mainspring.store.base import DefineQueue, DefineTask, Settings, TaskRecord


@pytest.fixture
def app() -> Mainspring:
    return Mainspring("sqlite://")


def report(day: str = "today") -> None:
    """Something to be done now and then."""


# --- where the store is ---


def test_the_url_comes_from_the_argument_the_environment_or_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_URL", "sqlite:////tmp/env.db")
    assert Mainspring("sqlite:////tmp/given.db").url == "sqlite:////tmp/given.db"
    assert Mainspring().url == "sqlite:////tmp/env.db"
    monkeypatch.delenv("MAINSPRING_URL")
    assert Mainspring().url.endswith("/mainspring.db")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "jobs.db",
        "mysql://host/db",
        "sqlite:jobs.db",
        "sqlite://jobs.db",
        "sqlite:///",
        "sqlite:///a.db?x=1",
        "http://[",
    ],
)
def test_an_unusable_url_is_shown_with_the_forms_that_are(url: str) -> None:
    with pytest.raises(InvalidURL, match=r"sqlite:///jobs\.db"):
        Mainspring(url)


def test_a_url_must_be_text() -> None:
    with pytest.raises(InvalidURL, match="of type int"):
        Mainspring(7)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    [
        "redis://me:s3cret@host/jobs",
        "valkey://host/0?password=s3cret&pool=0",
        "rediss://host/0?ssl_password=s3cret&pool=0",
        "odd://u:s3cret@h",
        "postgresql://me:s3cret@host/db?listen=2",
        "postgresql://me:s3cret@host/db?pool=0",
        "postgresql://me:s3cret@host/db?pool=many",
        "postgresql://me:s3cret@host/db?schema=No",
        "postgresql://me:s3cret@host/db?sslnode=require",
    ],
)
def test_an_unusable_url_is_refused_and_the_password_hidden(url: str) -> None:
    with pytest.raises(InvalidURL) as refused:
        Mainspring(url)
    assert "s3cret" not in str(refused.value)
    assert "***" in str(refused.value)


def test_a_password_is_shown_nowhere() -> None:
    app = Mainspring("postgresql://me:s3cret@127.0.0.1:1/db")
    assert app.url == "postgresql://me:***@127.0.0.1:1/db"
    with pytest.raises(StoreUnavailable) as refused:
        app.jobs.count()
    assert "s3cret" not in str(refused.value)


def test_making_an_app_opens_nothing(tmp_path: Any) -> None:
    Mainspring(f"sqlite:///{tmp_path}/jobs.db")
    assert not list(tmp_path.iterdir())


# --- schedules ---


def test_cron_and_every_make_a_task_or_take_one(app: Mainspring) -> None:
    task = app.every("1h", queue="chores", priority=9)(report)
    assert task is app.tasks["report"]
    assert app.cron("0 9 * * *", name="mornings", tz="Europe/Berlin", args={"day": "x"})(task) is task
    hourly, mornings = app.declared_schedules(now=0)
    assert (hourly.name, hourly.task, hourly.queue, hourly.priority) == ("report", "report", "chores", 9)
    assert (hourly.next_at, hourly.timing, hourly.args) == (3_600_000, Timing(Every(3_600_000)).to_text(), "{}")
    assert (mornings.name, mornings.args) == ("mornings", '{"day":"x"}')
    assert mornings.timing == Timing(Cron("0 9 * * *", "Europe/Berlin")).to_text()


def test_the_decorators_stack(app: Mainspring) -> None:
    @app.cron("30 3 * * *", catch_up="all", jitter="5m")
    @app.task(queue="chores")
    def clean() -> None: ...

    (schedule,) = app.declared_schedules(now=0)
    assert (schedule.task, schedule.queue) == ("clean", "chores")
    assert schedule.timing == Timing(Cron("30 3 * * *"), "all", 300_000).to_text()


def test_two_schedules_of_one_task_need_names(app: Mainspring) -> None:
    task = app.every("1h")(report)
    with pytest.raises(InvalidOption, match="'report' already"):
        app.every("2h")(task)


def test_a_reloaded_module_declares_its_schedules_anew(app: Mainspring) -> None:
    app.every("1h")(report)
    app.every("2h")(report)
    (schedule,) = app.declared_schedules(now=0)
    assert schedule.next_at == 7_200_000


def test_options_belong_to_the_task(app: Mainspring) -> None:
    with pytest.raises(InvalidOption, match="a task already"):
        app.every("1h", queue="x")(app.task(report))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"expression": "0 25 * * *"}, InvalidCron),
        ({"expression": "* * *"}, InvalidCron),
        ({"tz": "Mars/Olympus"}, InvalidCron),
        ({"catch_up": "some"}, InvalidOption),
        ({"jitter": "x"}, InvalidDuration),
        ({"name": ""}, InvalidOption),
        ({"queue": ""}, InvalidOption),
    ],
)
def test_a_wrong_schedule_is_refused_where_it_is_written(app: Mainspring, options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        app.cron(options.pop("expression", "0 9 * * *"), **options)


@pytest.mark.parametrize("interval", [0, -1, "often"])
def test_a_wrong_interval_is_refused(app: Mainspring, interval: Any) -> None:
    with pytest.raises(ConfigurationError):
        app.every(interval)


def test_arguments_of_a_schedule_are_checked_before_they_are_stored(app: Mainspring) -> None:
    app.every("1h", args={"dya": "x"})(report)
    with pytest.raises(ValidationError, match="dya"):
        app.declared_schedules(now=0)


# --- queues, observers, middleware ---


def test_declared_queues_are_those_of_tasks_too(app: Mainspring) -> None:
    app.queue("email", concurrency=3)
    app.task(queue="email")(report)
    app.task(name="other", queue="bulk")(report)
    assert {queue.name: queue.concurrency for queue in app.declared_queues} == {"email": 3, "bulk": None}


def test_a_queue_is_declared_with_all_that_holds_in_it(app: Mainspring) -> None:
    app.queue(
        "api",
        concurrency=50,
        rate=[Rate(10), "300/1m"],
        max_queued=1000,
        partition="tenant_id",
        per_partition=Limits(concurrency=5),
        partitions={"acme": Limits(concurrency=20, weight=2)},
        sequence=True,
        on_failure="skip",
    )
    assert app.declared_queues == (
        DefineQueue(
            "api",
            50,
            (Rate(10), Rate(300, "1m")),
            1000,
            Limits(concurrency=5),
            (("acme", Limits(concurrency=20, weight=2)),),
            "skip",
        ),
    )
    app.queue("api")
    assert app.declared_queues == (DefineQueue("api"),)


@pytest.mark.parametrize("concurrency", [0, -1, True, 1.5, "3"])
def test_a_wrong_limit_is_refused(app: Mainspring, concurrency: Any) -> None:
    with pytest.raises(InvalidOption, match="concurrency"):
        app.queue("email", concurrency=concurrency)
    with pytest.raises(InvalidOption, match="concurrency"):
        app.task(concurrency=concurrency)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"rate": 5}, "rate="),
        ({"rate": "often"}, "rate 'often'"),
        ({"max_queued": 0}, "max_queued="),
        ({"partition": 7}, "partition=7 of queue 'api'"),
        ({"per_partition": 5}, "per_partition=5 is not a Limits"),
        ({"per_partition": Limits(concurrency=0)}, "concurrency=0"),
        ({"partitions": {"acme": 5}}, r"partitions\['acme'\]=5 is not a Limits"),
        ({"partitions": {" acme": Limits()}}, "partition name ' acme'"),
        ({"partitions": ["acme"]}, r"partitions=\['acme'\] is no mapping"),
        ({"sequence": "skip"}, "sequence='skip' is neither"),
        ({"on_failure": "stop"}, "on_failure='stop'"),
        ({"on_failure": "skip"}, "without sequence=True"),
    ],
)
def test_a_wrong_queue_is_refused_where_it_is_written(app: Mainspring, wrong: Any, named: str) -> None:
    with pytest.raises(InvalidOption, match=named):
        app.queue("api", **wrong)
    assert app.declared_queues == ()


def test_tasks_with_limits_are_declared(app: Mainspring) -> None:
    """And those that the store still has limits of: what the code no longer says is to go."""
    app.task(report)
    app.task(name="mail", concurrency=3, rate="10/s")(report)
    mail = DefineTask("mail", 3, (Rate(10),))
    assert app.declared_tasks() == (mail,)
    assert app.declared_tasks(gated=["report", "other"]) == (DefineTask("report"), mail)


def test_a_worker_declares_all_that_the_code_says(app: Mainspring) -> None:
    app.queue("api", concurrency=5)
    app.every("1h", queue="api")(report)
    settings = Settings(now=0, tasks=(TaskRecord("report", 3),))
    assert app.declared(settings) == (
        *app.declared_queues,
        DefineTask("report"),
        *app.declared_schedules(0),
    )


def test_observers_are_kept_in_order_by_event(app: Mainspring) -> None:
    @app.on("completed", "dead")
    def first(event: Event) -> None: ...

    @app.on("dead")
    async def second(event: Event) -> None: ...

    assert app.observers == {"completed": (first,), "dead": (first, second)}


def test_unknown_events_are_refused_with_the_nearest(app: Mainspring) -> None:
    with pytest.raises(InvalidOption, match="did you mean 'completed'"):
        app.on("complete")  # type: ignore[arg-type]
    with pytest.raises(InvalidOption, match="name the events"):
        app.on()
    with pytest.raises(InvalidOption, match="no function"):
        app.on("dead")(7)  # type: ignore[type-var]
    assert not app.observers


def test_middleware_is_kept_outermost_first_and_must_be_async(app: Mainspring) -> None:
    @app.middleware
    async def outer(ctx: Context, proceed: Callable[[], Awaitable[Any]]) -> Any:
        return await proceed()

    @app.middleware
    async def inner(ctx: Context, proceed: Callable[[], Awaitable[Any]]) -> Any:
        return await proceed()

    assert app.middlewares == (outer, inner)
    with pytest.raises(InvalidOption, match="no async function"):
        app.middleware(lambda ctx, proceed: proceed())


def test_an_unknown_task_is_named_with_the_nearest(app: Mainspring) -> None:
    app.task(report)
    with pytest.raises(UnknownTask, match="did you mean 'report'"):
        app.enqueue("reprot")


# --- the package ---


def test_the_public_names_are_one_sorted_list_and_all_there() -> None:
    assert sorted(mainspring.__all__) == mainspring.__all__
    assert [name for name in mainspring.__all__ if not hasattr(mainspring, name)] == []
    errors = vars(mainspring.errors).values()
    public = {error.__name__ for error in errors if inspect.isclass(error) and error.__module__ == "mainspring.errors"}
    assert public - {"Directive"} <= set(mainspring.__all__)


def test_public_things_are_documented() -> None:
    for name in mainspring.__all__:
        thing = getattr(mainspring, name)
        assert inspect.getdoc(thing), name
        if inspect.isclass(thing):
            members = {key: value for key, value in vars(thing).items() if not key.startswith("_") and callable(value)}
            assert [key for key, value in members.items() if not inspect.getdoc(value)] == [], name


def test_importing_loads_nothing_that_is_not_needed() -> None:
    heavy = "pydantic cronsim typer rich sqlite3 zoneinfo psycopg redis".split()
    code = f"import mainspring, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
