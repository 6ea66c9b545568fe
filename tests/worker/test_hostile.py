"""Whatever a task raises, whatever stands in the store: it costs its own job, never the worker nor another job."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mainspring import Bury, Cancel, Job, Mainspring, Retry, RetryAfter, Snooze, State, UnknownTask

from .scene import AT_ONCE, ended, is_alive, sql, until, working

LAG = timedelta(seconds=1)
"""How old it may be on a busy machine what a worker has heard of the store's clock."""


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")

    __repr__ = __str__


class UnprintableExit(SystemExit):
    def __str__(self) -> str:
        raise KeyboardInterrupt

    __repr__ = __str__


class OwnRoot(BaseException):
    pass


class Careless(Bury):
    def __init__(self) -> None:
        """Forgets `super().__init__`, and with it the reason."""


class Shameless(Exception):
    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise RuntimeError("what I am is none of your business")


class Text(str):
    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __format__ = __str__  # type: ignore[assignment]


def looped() -> Exception:
    first, second = ValueError("one"), ValueError("two")
    first.__cause__, second.__cause__ = second, first
    return first


def group(depth: int) -> Exception:
    error: Exception = ValueError("bottom")
    for _ in range(depth):
        error = ExceptionGroup("layer", [error])
    return error


HOSTILE: dict[str, Callable[[], BaseException]] = {
    "unprintable": Unprintable,
    "system exit": lambda: SystemExit(3),
    "unprintable exit": UnprintableExit,
    "keyboard interrupt": KeyboardInterrupt,
    "generator exit": GeneratorExit,
    "stop iteration": lambda: StopIteration(1),
    "stop async iteration": StopAsyncIteration,
    "cancelled error": asyncio.CancelledError,
    "own root": OwnRoot,
    "lone surrogate": lambda: ValueError("\ud800 lone"),
    "NUL": lambda: ValueError("\x00 nul \x1b[31m"),
    "10 MB": lambda: ValueError("x" * 10_000_000),
    "bytes": lambda: ValueError(b"\xff\xfe"),
    "looped": looped,
    "deep group": lambda: group(500),
    "recursion": RecursionError,
    "memory": MemoryError,
    "careless directive": Careless,
    "shameless": Shameless,
    "bury with an object": lambda: Bury(Unprintable()),  # type: ignore[arg-type]
    "bury with a hostile text": lambda: Bury(Text("x")),
    "cancel with a number": lambda: Cancel(42),  # type: ignore[arg-type]
    "snooze with an object": lambda: Snooze("1h", Unprintable()),  # type: ignore[arg-type]
    "snooze for a nonsense time": lambda: Snooze("soonish"),
    "snooze for an object": lambda: Snooze(Unprintable.__new__(Unprintable)),  # type: ignore[arg-type]
    "retry after NaN": lambda: RetryAfter(float("nan")),
    "reason with NUL": lambda: Bury("\x00 \ud800" + "x" * 100_000),
}


def add_hostile_tasks(app: Mainspring) -> dict[str, Any]:
    @app.task(retry=AT_ONCE)
    async def hostile(kind: str) -> None:
        raise HOSTILE[kind]()

    @app.task(retry=AT_ONCE)
    def hostile_plain(kind: str) -> None:
        raise HOSTILE[kind]()

    @app.task(retry=AT_ONCE)
    async def hostile_below(kind: str) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_exception(HOSTILE[kind]())
        await future

    @app.task
    async def fine(n: int) -> int:
        return n

    @app.task
    def fine_plain(n: int) -> int:
        return n

    return dict(app.tasks)


def at_rest(jobs: list[Job[Any]]) -> bool:
    return all(job.refresh().state not in (State.QUEUED, State.RUNNING) for job in jobs)


async def test_no_exception_stops_the_worker_or_touches_another_job(app: Mainspring) -> None:
    tasks = add_hostile_tasks(app)
    async with working(app, concurrency=4) as worker:
        ways = ("hostile", "hostile_plain", "hostile_below")
        bad = [await tasks[name].aenqueue(kind) for kind in HOSTILE for name in ways]
        good = [await tasks[name].aenqueue(n) for n in range(20) for name in ("fine", "fine_plain")]
        assert [await job.aresult(20) for job in good] == [n for n in range(20) for _ in range(2)]
        await until(lambda: at_rest(bad))
        # All its places are free again: nothing of it hangs.
        more = [await tasks[name].aenqueue(n) for n in range(20) for name in ("fine", "fine_plain")]
        assert len([await job.aresult(20) for job in more]) == 40
        assert is_alive(app, worker.id)
    for job in bad:
        kind = job.args["kind"]
        expected = {"cancel with a number": State.CANCELLED, "snooze with an object": State.SCHEDULED}
        assert job.state is expected.get(kind, State.DEAD), (job, job.reason)
        if kind not in expected and "bury" not in kind and kind != "reason with NUL":
            assert job.error is not None, kind
            assert len(job.error.message) <= 8 * 1024
    told = {job.args["kind"]: job.error.type for job in bad if job.task == "hostile" and job.error}
    assert (told["system exit"], told["own root"], told["unprintable"]) == ("SystemExit", "OwnRoot", "Unprintable")


async def test_hostile_exceptions_from_middleware_stop_nothing(app: Mainspring) -> None:
    tasks = add_hostile_tasks(app)

    @app.middleware
    async def spoil(ctx, proceed):  # type: ignore[no-untyped-def]
        if ctx.job.task == "hostile":
            raise HOSTILE[ctx.job.args["kind"]]()
        return await proceed()

    async with working(app, concurrency=4):
        bad = [await tasks["hostile"].aenqueue(kind) for kind in HOSTILE]
        good = [await tasks["fine_plain"].aenqueue(n) for n in range(10)]
        assert [await job.aresult(20) for job in good] == list(range(10))
        await until(lambda: at_rest(bad))


async def test_retry_rules_that_cannot_even_compare_bury_their_job(app: Mainspring) -> None:
    class Meta(type):
        def __instancecheck__(cls, instance: object) -> bool:
            raise RuntimeError("no comparing")

    class Odd(Exception, metaclass=Meta):
        pass

    @app.task(retry=Retry(attempts=3, delay=0, on=(Odd,)))
    async def fail() -> None:
        raise ValueError("the cause")

    async with working(app):
        job = await fail.aenqueue()
        await ended(job)
    assert job.state is State.DEAD
    assert job.error is not None
    assert job.error.message == "the cause"


@pytest.mark.fault("malformed row", "sqlite")
async def test_malformed_stored_jobs_are_set_aside_and_the_rest_goes_on(app: Mainspring) -> None:
    runs: list[int] = []

    @app.task(retry=Retry(attempts=2, delay=0))
    async def work(n: int) -> int:
        runs.append(n)
        return n

    bad = {
        "args": ["", "null", "[]", "{", '{"n": "many"}', '{"m": 1}', '{"n": 1, "x": 2}', "[" * 100_000, "\x00"],
        "options": ["", "[]", "{", '{"retry": 3}', '{"retry": {"delay": "soon"}}', '{"timeout_ms": -1}', "[" * 100_000,
                    '{"retry": {"attempts": 2, "max_delay": null}}', '{"what": 1}', '{"retry": {"delay": [[]]}}'],
        "history": ["", "null", "{", '[{"number": 1}]', "[" * 100_000],
    }  # fmt: skip
    jobs: dict[str, list[Job[int]]] = {column: [] for column in bad}
    for column, texts in bad.items():
        for text in texts:
            job = await work.aenqueue(1)
            jobs[column].append(job)
            sql(app, f"UPDATE mainspring_jobs SET {column} = ? WHERE id = ?", text, job.id)
    no_text = await work.aenqueue(1)
    jobs["args"].append(no_text)
    sql(app, "UPDATE mainspring_jobs SET args = CAST(x'7b226eff223a317d' AS TEXT) WHERE id = ?", no_text.id)
    good = [await work.aenqueue(n) for n in range(100, 120)]
    async with working(app, concurrency=3):
        assert [await job.aresult(20) for job in good] == list(range(100, 120))
        everything = "SELECT state, count(*) FROM mainspring_jobs GROUP BY state"
        await until(lambda: sql(app, everything) == [], what=f"no job is left over: {sql(app, everything)}")
    finished = dict(sql(app, "SELECT id, state FROM mainspring_finished"))
    assert {finished[job.id] for job in jobs["args"] + jobs["options"]} == {"dead"}
    assert {finished[job.id] for job in jobs["history"]} == {"completed"}
    reasons = sql(app, "SELECT error FROM mainspring_finished WHERE state = 'dead'")
    assert all(json.loads(error)["message"] for (error,) in reasons)


async def test_an_unreadable_schedule_neither_stops_the_others_nor_floods_the_log(
    app: Mainspring, worker_log: pytest.LogCaptureFixture
) -> None:
    @app.every("1s")
    async def tick() -> None: ...

    async with working(app):
        for name, timing in {"broken": "{", "strange": '{"every_ms": "x"}', "deep": "[" * 100_000}.items():
            sql(
                app,
                "INSERT INTO mainspring_schedules (name, task, queue, args, priority, timing, next_at) "
                "VALUES (?, 'tick', 'default', '{}', 5, ?, 1000)",
                name,
                timing,
            )
        already = app.jobs.count(task="tick")
        await until(lambda: app.jobs.count(task="tick") >= already + 3)
    ours = [record for record in worker_log.records if record.name.startswith("mainspring")]
    complaints = [record for record in ours if record.levelno >= logging.ERROR]
    assert len(complaints) == 3, [record.getMessage() for record in complaints]


async def test_an_unknown_task_is_parked_ever_longer_and_runs_once_a_worker_knows_it(app: Mainspring) -> None:
    other = Mainspring(app.url)

    @other.task
    async def novelty(n: int) -> int:
        return n + 1

    job = await novelty.aenqueue(1)
    with pytest.raises(UnknownTask):
        app.enqueue("novelty", {"n": 1})
    async with working(app):
        for parked, delay in enumerate((5, 10, 20), 1):
            await until(lambda parked=parked: job.refresh().record.postponed == parked)  # type: ignore[misc]
            assert job.state is State.SCHEDULED
            assert "knows task 'novelty'" in (job.reason or "")
            assert (job.attempt, job.crashes, job.attempts) == (0, 0, ())
            assert job.started_at is not None
            pause = timedelta(seconds=delay)
            assert job.started_at + pause - LAG <= job.run_at <= datetime.now(UTC) + pause
            if parked < 3:
                assert await job.aretry()
    async with working(other):
        assert await job.aretry()
        assert await job.aresult(20) == 2
    await job.arefresh()
    assert job.attempt == 1
    await other.aclose()


async def test_an_unknown_job_that_is_to_be_cancelled_ends(app: Mainspring) -> None:
    other = Mainspring(app.url)

    @other.task
    async def novelty() -> None: ...

    job = await novelty.aenqueue()
    sql(app, "UPDATE mainspring_jobs SET cancel_requested = 1")
    async with working(app):
        await ended(job)
    assert job.state is State.CANCELLED
    assert job.record.lease == 1
    await other.aclose()
