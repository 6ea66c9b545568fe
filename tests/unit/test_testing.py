"""`mainspring.testing`: drain, inline, isolated, freeze, and the pytest fixtures."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mainspring import (
    Bury,
    Cancel,
    Context,
    Event,
    InvalidOption,
    JobFailed,
    Mainspring,
    Retry,
    RetryAfter,
    Snooze,
    State,
    ValidationError,
    chain,
    current,
    group,
    previous,
)
from mainspring.testing import Clock, EndlessDrain, adrain, drain, freeze, inline, isolated

pytest_plugins = ["pytester"]


@pytest.fixture
def app() -> Iterator[Mainspring]:
    with isolated(Mainspring("sqlite:///never-opened.db")) as app:
        yield app


# --- drain ---


def test_a_drain_runs_what_is_due_and_reports_it(app: Mainspring) -> None:
    @app.task
    async def double(n: int) -> int:
        return 2 * n

    @app.task
    def shout(text: str) -> str:
        return text.upper()

    first, second = double.enqueue(4), shout.enqueue("hi")
    report = drain(app)
    assert report.completed == report.ran == 2
    assert [job.id for job in report.jobs] == [first.id, second.id]
    assert all(job.state is State.COMPLETED for job in report.jobs)
    assert (first.result(timeout=0), second.result(timeout=0)) == (8, "HI")
    assert drain(app).ran == 0


def test_what_a_drain_runs_is_counted_as_a_workers_runs_are(app: Mainspring) -> None:
    @app.task(retry=Retry(attempts=1))
    def divide(n: int) -> float:
        return 1 / n

    app.enqueue_many([divide.job(n) for n in range(3)])
    drain(app)
    counted = app.stats.totals(by="task")["divide"]
    assert (counted.enqueued, counted.started, counted.completed, counted.failed, counted.dead) == (3, 3, 2, 1, 1)
    assert counted.wait.count == counted.run.count == 3


def test_a_drain_goes_on_with_what_the_jobs_enqueue(app: Mainspring) -> None:
    @app.task
    def count_down(n: int) -> None:
        if n:
            count_down.enqueue(n - 1)

    count_down.enqueue(3)
    assert drain(app).completed == 4


def test_a_drain_runs_one_job_after_the_other_by_priority_and_age(app: Mainspring) -> None:
    seen: list[int] = []

    @app.task
    async def see(n: int) -> None:
        seen.append(n)
        await asyncio.sleep(0)
        seen.append(n)

    see.enqueue(1)
    see.using(priority=9).enqueue(2)
    see.using(priority=1).enqueue(3)
    see.enqueue(4)
    drain(app)
    assert seen == [3, 3, 1, 1, 4, 4, 2, 2]


def test_a_drain_serves_all_queues_or_those_named_in_their_order(app: Mainspring) -> None:
    @app.task
    def work() -> None: ...

    jobs = [work.using(queue=name).enqueue() for name in ("mail", "reports", "default")]
    assert [job.queue for job in drain(app, queues=["reports", "mail"]).jobs] == ["reports", "mail"]
    assert [job.id for job in drain(app).jobs] == [jobs[2].id]


def test_a_drain_leaves_paused_queues_and_later_jobs(app: Mainspring) -> None:
    @app.task(queue="mail")
    def work() -> None: ...

    later = work.using(delay="1h").enqueue()
    assert drain(app).ran == 0
    app.queues.pause("mail")
    work.enqueue()
    assert drain(app).ran == 0
    app.queues.resume("mail")
    assert drain(app).completed == 1
    assert later.refresh().state is State.SCHEDULED


def test_plain_functions_run_on_the_thread_of_the_test(app: Mainspring) -> None:
    @app.task
    def where() -> int:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return threading.get_ident()

    told: list[int] = []
    app.on("completed")(lambda event: told.append(threading.get_ident()))
    job = where.enqueue()
    drain(app)
    assert [job.result(timeout=0)] == told == [threading.get_ident()]


def test_a_drain_reports_every_kind_of_end(app: Mainspring) -> None:
    @app.task
    def end(how: str) -> None:
        match how:
            case "fails":
                raise OSError("no network")
            case "retries":
                raise RetryAfter("1h")
            case "snoozes":
                raise Snooze("1h")
            case "buries":
                raise Bury("no such customer")
            case "cancels":
                raise Cancel("withdrawn")

    for how in ("completes", "fails", "retries", "snoozes", "buries", "cancels"):
        end.enqueue(how)
    end.using(retry=1).enqueue("fails")
    report = drain(app)
    counts = (report.completed, report.retried, report.snoozed, report.dead, report.cancelled, report.parked)
    assert counts == (1, 2, 1, 2, 1, 0)
    assert report.ran == 7
    assert [type(error) for error in report.errors] == [OSError, JobFailed, OSError]


def test_a_job_of_a_task_that_the_app_does_not_have_is_parked(app: Mainspring) -> None:
    other = Mainspring("sqlite:///never-opened.db")
    unknown = other.task(name="elsewhere")(print)
    app.enqueue_many([unknown.job()])
    assert drain(app).parked == 1


def test_a_drain_can_raise_the_first_error_once_its_job_is_settled(app: Mainspring) -> None:
    mistake = LookupError("nobody home")

    @app.task
    def fail() -> None:
        raise mistake

    job, after = fail.enqueue(), fail.enqueue()
    with pytest.raises(LookupError) as raised:
        drain(app, raise_errors=True)
    assert raised.value is mistake
    assert job.refresh().state is State.SCHEDULED
    assert after.refresh().state is State.QUEUED
    assert app.workers.list() == []


def test_a_job_that_is_buried_counts_as_an_error_and_a_snoozed_one_does_not(app: Mainspring) -> None:
    @app.task
    def direct(how: str) -> None:
        raise Snooze("1h") if how == "snooze" else Bury("no such customer")

    direct.enqueue("snooze")
    assert drain(app, raise_errors=True).snoozed == 1
    direct.enqueue("bury")
    with pytest.raises(JobFailed, match="no such customer"):
        drain(app, raise_errors=True)


def test_a_task_that_enqueues_itself_does_not_keep_a_drain_for_ever(app: Mainspring) -> None:
    @app.task
    def again() -> None:
        again.enqueue()

    again.enqueue()
    with pytest.raises(EndlessDrain, match="20 jobs have run, and there is more to do, such as 'again'"):
        drain(app, limit=20)
    assert app.jobs.count(state="completed") == 20
    assert app.jobs.count(state="queued") == 1
    (left,) = app.jobs.find(state="queued")
    assert left.attempt == 0


def test_a_drain_of_exactly_the_limit_ends(app: Mainspring) -> None:
    @app.task
    def work() -> None: ...

    app.enqueue_many(work.job() for _ in range(5))
    assert drain(app, limit=5, concurrency=3).completed == 5


def test_a_drain_runs_flows_to_their_end_as_time_lets_it() -> None:
    with freeze() as clock, isolated(Mainspring("sqlite://")) as app:

        @app.task(retry=Retry(attempts=2, delay="1m", jitter=False))
        def fetch(ctx: Context) -> int:
            if ctx.attempt == 1:
                raise ConnectionError
            return 7

        @app.task
        def keep(n: int) -> int:
            return n

        flow = chain(fetch.job(), keep.using(delay="1h").job(previous)).enqueue()
        assert drain(app).retried == 1
        clock.travel("1m")
        assert drain(app).completed == 1
        assert [job.state for job in flow.jobs()] == [State.COMPLETED, State.SCHEDULED]
        clock.travel("1h")
        assert drain(app).completed == 1
        assert flow.result(timeout=0) == 7


def test_jobs_that_wait_for_each_other_need_concurrency(app: Mainspring) -> None:
    @app.task
    async def ask() -> int:
        job = await answer.aenqueue()
        return await job.aresult(timeout=60)

    @app.task
    async def answer() -> int:
        return 42

    job = ask.enqueue()
    assert drain(app, concurrency=2).completed == 2
    assert job.result(timeout=0) == 42


def test_observers_and_middleware_take_part_and_what_they_enqueue_runs_too(app: Mainspring) -> None:
    seen: list[str] = []

    @app.task
    def work() -> str:
        return "done"

    @app.task
    def celebrate() -> None: ...

    @app.middleware
    async def wrap(ctx: Context, proceed: Any) -> Any:
        seen.append(f"before {ctx.job.task}")
        return await proceed()

    @app.on("completed")
    def follow_up(event: Event) -> None:
        if event.task == "work":
            celebrate.enqueue()

    @app.on("started", "completed")
    async def tell(event: Event) -> None:
        seen.append(f"{event.name} {event.task}")

    work.enqueue()
    assert drain(app).completed == 2
    assert set(seen) == {
        f"{what} {task}" for what in ("before", "started", "completed") for task in ("work", "celebrate")
    }
    assert seen.index("completed work") < seen.index("before celebrate")


def test_progress_and_log_are_there_after_the_drain(app: Mainspring) -> None:
    @app.task
    def work() -> None:
        current().progress(40, "rendering")
        current().log("half-way")

    work.enqueue()
    (job,) = drain(app).jobs
    assert (job.progress, job.progress_text) == (40, "rendering")
    assert [line.text for line in job.log] == ["half-way"]


async def test_adrain_runs_on_the_loop_that_is_there(app: Mainspring) -> None:
    here = asyncio.get_running_loop()

    @app.task
    async def work() -> bool:
        return asyncio.get_running_loop() is here

    @app.task
    def block() -> bool:
        return threading.current_thread() is not threading.main_thread()

    jobs = [await work.aenqueue(), await block.aenqueue()]
    report = await adrain(app)
    assert report.completed == 2
    assert [await job.aresult(timeout=0) for job in jobs] == [True, True]


async def test_drain_works_where_a_loop_runs(app: Mainspring) -> None:
    @app.task
    async def work() -> None: ...

    work.enqueue()
    assert drain(app).completed == 1


def test_ctrl_c_in_a_plain_task_ends_the_drain_and_hands_the_job_back(app: Mainspring) -> None:
    @app.task
    def interrupted() -> None:
        raise KeyboardInterrupt

    interrupted.enqueue()
    job = interrupted.enqueue()
    with pytest.raises(KeyboardInterrupt):
        drain(app)
    assert job.refresh().state is State.QUEUED
    assert app.workers.list() == []
    assert app.jobs.count(state="running") == 0


def test_a_drain_works_on_the_apps_own_store(tmp_path: Path) -> None:
    with Mainspring(f"sqlite:///{tmp_path}/jobs.db") as app:

        @app.task
        def work() -> None: ...

        work.enqueue()
        assert drain(app).completed == 1


# --- time ---


def test_time_stands_still_and_moves_by_hand() -> None:
    at = datetime(2026, 3, 1, 9, tzinfo=UTC)
    with freeze(at) as clock:
        assert clock.now == at
        clock.travel("1h30m")
        assert clock.now == at + timedelta(minutes=90)
        clock.travel_to(at)
        assert clock.now == at
        with freeze() as inner:
            inner.travel("1d")
        assert clock.now == at
    assert abs(Clock().now - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(InvalidOption, match="has no time zone"), freeze(datetime(2026, 3, 1)):
        pass
    assert abs(Clock().now - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_delayed_job_runs_when_its_time_has_come(app: Mainspring) -> None:
    @app.task
    def work() -> None: ...

    with freeze() as clock:
        job = work.using(delay="2h").enqueue()
        assert job.run_at == clock.now + timedelta(hours=2)
        clock.travel("1h59m59.999s")
        assert drain(app).ran == 0
        clock.travel("1ms")
        assert drain(app).completed == 1
        assert job.refresh().finished_at == clock.now


def test_retries_come_exactly_after_their_longest_delay(app: Mainspring) -> None:
    @app.task(retry=Retry(attempts=3, delay="10s", factor=2))
    def fail() -> None:
        raise OSError("no network")

    with freeze() as clock:
        job = fail.enqueue()
        assert drain(app).retried == 1
        clock.travel("9.999s")
        assert drain(app).ran == 0
        clock.travel("1ms")
        assert drain(app).retried == 1
        clock.travel("20s")
        assert drain(app).dead == 1
    assert [attempt.number for attempt in job.refresh().attempts] == [1, 2, 3]
    assert job.attempts[1].ended_at - job.attempts[0].ended_at == timedelta(seconds=10)


def test_schedules_tick_when_time_is_moved_and_only_then() -> None:
    app = Mainspring("sqlite:///never-opened.db")
    ran: list[datetime] = []

    @app.cron("0 9 * * *", tz="Europe/Berlin")
    def report() -> None:
        ran.append(current().job.run_at)

    with freeze(datetime(2026, 3, 28, 12, tzinfo=UTC)) as clock, isolated(app):
        assert drain(app).ran == 0
        clock.travel("1d")
        assert drain(app).completed == 1
        clock.travel("1d")
        assert drain(app).completed == 1
    # 9 o'clock in Berlin, before and after the clocks went forward.
    assert ran == [datetime(2026, 3, 29, 7, tzinfo=UTC), datetime(2026, 3, 30, 7, tzinfo=UTC)]


def test_a_schedule_catches_up_as_it_says() -> None:
    app = Mainspring("sqlite:///never-opened.db")

    @app.every("1m", catch_up="all")
    def each() -> None: ...

    @app.every("1m")
    def latest() -> None: ...

    with freeze() as clock, isolated(app):
        clock.travel("1h")
        counts = [job.task for job in drain(app).jobs]
        assert (counts.count("each"), counts.count("latest")) == (60, 1)


def test_schedules_stand_still_while_time_runs() -> None:
    app = Mainspring("sqlite:///never-opened.db")

    @app.every("1ms")
    def often() -> None: ...

    with isolated(app):
        assert app.schedules.list()[0].next_at < datetime.now(UTC) + timedelta(seconds=1)
        assert drain(app).ran == 0


def test_operators_verbs_go_by_the_frozen_time(app: Mainspring) -> None:
    @app.task
    def work() -> None: ...

    with freeze() as clock:
        work.enqueue()
        drain(app)
        clock.travel("3h")
        assert app.jobs.count(since="2h") == 0
        job = work.using(delay="10m").enqueue()
        app.jobs.reschedule(job.id, delay="5m")
        clock.travel("5m")
        assert drain(app).completed == 1


# --- isolated ---


def test_an_isolated_app_is_empty_and_afterwards_itself_again(tmp_path: Path) -> None:
    with Mainspring(f"sqlite:///{tmp_path}/jobs.db") as app:

        @app.task(queue="mail")
        def work() -> None: ...

        work.enqueue()
        with isolated(app) as same:
            assert same is app
            assert app.url == "sqlite://"
            assert app.jobs.count() == 0
            assert [queue.name for queue in app.queues.list()] == ["mail"]
            work.enqueue()
            work.enqueue()
            with isolated(app):
                assert app.jobs.count() == 0
            assert app.jobs.count() == 2
        assert app.jobs.count() == 1


async def test_an_app_is_isolated_in_async_code_too() -> None:
    app = Mainspring("sqlite:///never-opened.db")

    @app.task
    async def work() -> int:
        return 7

    with isolated(app):
        job = await work.aenqueue()
        assert (await adrain(app)).completed == 1
        assert await job.aresult() == 7


def test_isolation_leaves_no_threads_behind() -> None:
    app = Mainspring("sqlite:///never-opened.db")

    @app.task
    async def work() -> None: ...

    before = set(threading.enumerate())
    for _ in range(3):
        with isolated(app):
            work.enqueue()
            drain(app)
    assert set(threading.enumerate()) <= before
    assert not Path("never-opened.db").exists()


# --- inline ---


def test_inline_a_job_has_run_when_enqueue_returns(app: Mainspring) -> None:
    @app.task
    def stamp(at: datetime) -> str:
        return f"{at:%Y}"

    with inline(app):
        job = stamp.enqueue(datetime(2026, 3, 1, tzinfo=UTC))
        assert job.result(timeout=0) == "2026"
        with pytest.raises(ValidationError):
            stamp.enqueue("yesterday")  # type: ignore[arg-type]
        assert app.jobs.count() == 1
    stamp.enqueue(datetime(2026, 3, 1, tzinfo=UTC))
    assert app.jobs.count(state="queued") == 1


async def test_inline_works_for_async_code(app: Mainspring) -> None:
    @app.task
    async def double(n: int) -> int:
        return 2 * n

    with inline(app):
        job = await double.aenqueue(4)
        assert await job.aresult(timeout=0) == 8
        jobs = await asyncio.gather(*(double.aenqueue(n) for n in range(20)))
        assert [await job.aresult(timeout=0) for job in jobs] == [2 * n for n in range(20)]
        assert double.enqueue(5).result(timeout=0) == 10


def test_inline_what_a_job_enqueues_runs_after_it(app: Mainspring) -> None:
    seen: list[str] = []

    @app.task
    def parent() -> None:
        child.enqueue()
        seen.append("parent")

    @app.task
    async def child() -> None:
        await grandchild.aenqueue()
        seen.append("child")

    @app.task
    def grandchild() -> None:
        seen.append("grandchild")

    with inline(app):
        parent.enqueue()
    assert seen == ["parent", "child", "grandchild"]


def test_inline_a_whole_flow_has_run_when_enqueue_returns(app: Mainspring) -> None:
    @app.task
    async def double(ctx: Context, n: int) -> int:
        if n == 1 and ctx.flow is not None:
            ctx.spawn(double.job(10), then=total.job(previous))
            ctx.flow.add(double.job(20))
            await ctx.flow.aenqueue()
        return 2 * n

    @app.task
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    with inline(app):
        flow = chain(group(double.job(n) for n in range(3)), total.job(previous)).enqueue()
        assert flow.result(timeout=0) == 6
        assert flow.progress().done == flow.progress().total == 7


def test_inline_errors_stay_with_the_job_or_come_out_as_asked(app: Mainspring) -> None:
    @app.task(retry=1)
    def fail() -> None:
        raise OSError("no network")

    with inline(app), pytest.raises(JobFailed, match="no network"):
        fail.enqueue().result(timeout=0)
    with inline(app, raise_errors=True), pytest.raises(OSError, match="no network"):
        fail.enqueue()


def test_inline_a_job_for_later_waits_and_a_replayed_one_runs_at_once(app: Mainspring) -> None:
    broken = True

    @app.task(retry=1)
    def work() -> str:
        if broken:
            raise OSError("no network")
        return "done"

    with inline(app), freeze() as clock:
        later = work.using(delay="1h").enqueue()
        dead = work.enqueue()
        assert dead.refresh().state is State.DEAD
        broken = False
        assert dead.retry()
        assert dead.result(timeout=0) == "done"
        assert later.refresh().state is State.SCHEDULED
        clock.travel("1h")
        drain(app)
        assert later.result(timeout=0) == "done"


# --- the pytest plugin ---

INI = "[pytest]\npythonpath = .\nasyncio_default_fixture_loop_scope = function\n"

JOBS = """
from mainspring import Mainspring
app = Mainspring("sqlite:///production.db")

@app.task
def greet(name: str) -> str:
    return f"Hello, {name}"

@app.every("1h")
def tidy() -> None: ...
"""

TESTS = """
from pathlib import Path
from jobs import app, greet
from mainspring.testing import drain

def test_one(mainspring_app):
    assert mainspring_app is app
    job = greet.enqueue("Ann")
    assert drain(app, raise_errors=True).completed == 1
    assert job.result(timeout=0) == "Hello, Ann"

def test_two(mainspring_app, mainspring_time):
    assert app.jobs.count() == 0
    greet.using(delay="30m").enqueue("Bob")
    mainspring_time.travel("1h")
    assert sorted(job.task for job in drain(app).jobs) == ["greet", "tidy"]

async def test_three(mainspring_app):
    job = await greet.aenqueue("Cy")
    assert not Path("production.db").exists()
"""


@pytest.mark.timeout(400)  # another pytest has to start
def test_the_fixtures_isolate_the_app_that_the_option_names(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(jobs=JOBS, test_shop=TESTS)
    pytester.makeini(f"{INI}mainspring_app = jobs:app\nasyncio_mode = auto\nfilterwarnings = error\n")
    pytester.runpytest_subprocess().assert_outcomes(passed=3)


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("option", "message"), [("", "needs to know your app"), ("jobs:greet", "of type SyncTask, and no Mainspring app")]
)
def test_a_missing_or_wrong_app_is_named(pytester: pytest.Pytester, option: str, message: str) -> None:
    pytester.makepyfile(jobs=JOBS, test_shop="def test_one(mainspring_app): ...")
    pytester.makeini(f"{INI}mainspring_app = {option}\n")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*{message}*"])


def test_the_plugin_loads_no_part_of_a_worker_nor_pydantic() -> None:
    code = (
        "import sys, mainspring.testing.plugin; "
        "print([name for name in ('pydantic', 'sqlite3', 'typer', 'mainspring.worker.worker') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_drain_leaves_what_webhooks_would_send(app: Mainspring) -> None:
    app.webhook("https://example.com/", on="completed", secret="a secret of the tests' own")

    @app.task
    def work() -> None: ...

    work.enqueue()
    report = drain(app)
    assert [job.task for job in report.jobs] == ["work"]
    (delivery,) = app.jobs.find(task="mainspring.webhook")
    assert (delivery.state, delivery.args["webhook"]) == ("queued", "example.com")
