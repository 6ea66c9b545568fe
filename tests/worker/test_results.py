"""A job's way through a worker: arguments in, result out, and what the task can know and say meanwhile."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import BaseModel

from mainspring import Context, InvalidOption, JobFailed, Mainspring, MainspringError, State, current

from .scene import AT_ONCE, ended, until, working


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    x: int
    y: float = 0.5


class Order(BaseModel):
    number: int
    points: list[Point]


async def test_async_and_plain_functions_give_their_results(app: Mainspring) -> None:
    @app.task
    async def add(a: int, b: int) -> int:
        await asyncio.sleep(0)
        return a + b

    @app.task
    def multiply(a: int, b: int) -> int:
        assert threading.current_thread() is not threading.main_thread()
        return a * b

    async with working(app):
        jobs = [await add.aenqueue(2, 3), await multiply.aenqueue(2, b=3)]
        assert [await job.aresult(20) for job in jobs] == [5, 6]


async def test_a_store_in_memory_serves_a_worker_of_the_same_process() -> None:
    async with Mainspring("sqlite://") as app:

        @app.task
        def double(n: int) -> int:
            return 2 * n

        async with working(app):
            jobs = [await double.using(delay=0.02 * n).aenqueue(n) for n in range(5)]
            assert [await job.aresult(20) for job in jobs] == [0, 2, 4, 6, 8]


async def test_arguments_and_results_of_rich_types_arrive_as_what_they_were(app: Mainspring) -> None:
    seen: list[object] = []

    @app.task
    async def keep(
        when: datetime,
        day: date,
        span: timedelta,
        id: UUID,
        amount: Decimal,
        colour: Colour,
        path: Path,
        data: bytes,
        point: Point,
        order: Order,
        names: set[str],
        pair: tuple[int, str],
        *rest: Colour,
        **more: Decimal,
    ) -> Order:
        seen.extend([when, day, span, id, amount, colour, path, data, point, order, names, pair, rest, more])
        return order

    given = [
        datetime(2026, 2, 3, 4, 5, 6, 789000, tzinfo=UTC),
        date(2026, 2, 3),
        timedelta(seconds=90),
        UUID(int=7),
        Decimal("0.10"),
        Colour.BLUE,
        Path("/tmp/ä"),
        b"\x00\xff",
        Point(1, 2.5),
        Order(number=3, points=[Point(4)]),
        {"a", "b"},
        (1, "x"),
    ]
    async with working(app):
        job = await keep.aenqueue(*given, Colour.RED, Colour.BLUE, extra=Decimal("1.50"))  # type: ignore[arg-type]
        assert await job.aresult(20) == Order(number=3, points=[Point(4)])
    assert seen == [*given, (Colour.RED, Colour.BLUE), {"extra": Decimal("1.50")}]


async def test_an_unstorable_result_costs_its_job_alone_and_is_not_tried_again(app: Mainspring) -> None:
    runs: list[str] = []

    @app.task(retry=AT_ONCE)
    async def unstorable(kind: str) -> object:
        runs.append(kind)
        deep: list[object] = []
        for _ in range(10_000):
            deep = [deep]
        return {"object": object(), "large": "x" * 2_000_000, "deep": deep, "set": {1: {2}, "x": object()}}[kind]

    @app.task
    async def wrong() -> int:
        return "no number"  # type: ignore[return-value]

    @app.task
    async def fine(n: int) -> int:
        return n

    async with working(app, concurrency=100):
        bad = [await unstorable.aenqueue(kind) for kind in ("object", "large", "deep", "set")] + [
            await wrong.aenqueue()
        ]
        good = [await fine.aenqueue(n) for n in range(20)]
        assert [await job.aresult(20) for job in good] == list(range(20))
        await ended(*bad)
    assert {job.state for job in bad} == {State.DEAD}
    assert all("result" in (job.reason or "") and job.error for job in bad), [job.reason for job in bad]
    assert sorted(runs) == ["deep", "large", "object", "set"]


async def test_results_may_contain_any_text(app: Mainspring) -> None:
    @app.task
    async def say() -> list[str]:
        return ["NUL \x00", "lone \ud800", '"\\u0000', "\N{SNOWMAN}"]

    async with working(app):
        assert await (await say.aenqueue()).aresult(20) == ["NUL \x00", "lone \ud800", '"\\u0000', "\N{SNOWMAN}"]


async def test_a_task_knows_its_job_its_attempt_and_its_fence(app: Mainspring) -> None:
    seen: list[tuple[str, str, int, int]] = []

    @app.task(retry=AT_ONCE)
    def look(ctx: Context, name: str) -> None:
        assert current() is ctx
        assert ctx.job.args == {"name": name}
        assert ctx.job.state is State.RUNNING
        seen.append((ctx.job.id, ctx.job.task, ctx.attempt, ctx.fence))
        if ctx.attempt < 3:
            raise ValueError

    async with working(app):
        job = await look.aenqueue("x")
        await job.aresult(20)
    assert seen == [(job.id, "look", attempt, attempt) for attempt in (1, 2, 3)]


async def test_current_works_in_what_a_task_calls_and_nowhere_else(app: Mainspring) -> None:
    @app.task
    async def deep() -> list[str]:
        return [current().job.id, await asyncio.create_task(inner()), await asyncio.to_thread(lambda: current().job.id)]

    async def inner() -> str:
        return current().job.id

    async with working(app):
        job = await deep.aenqueue()
        assert await job.aresult(20) == [job.id] * 3
        with pytest.raises(MainspringError, match="no current job"):
            current()


async def test_runs_do_not_see_each_others_context_variables(app: Mainspring) -> None:
    variable = contextvars.ContextVar("variable", default=0)

    @app.task
    async def leave(n: int) -> int:
        before = variable.get()
        variable.set(n)
        return before

    @app.task
    def leave_plainly(n: int) -> int:
        before = variable.get()
        variable.set(n)
        return before

    async with working(app, concurrency=1):
        jobs = [await task.aenqueue(n) for n in range(1, 4) for task in (leave, leave_plainly)]
        assert [await job.aresult(20) for job in jobs] == [0] * 6


async def test_progress_and_log_are_seen_while_the_task_runs(app: Mainspring) -> None:
    go_on = threading.Event()

    @app.task
    def work(ctx: Context) -> None:
        ctx.progress(40, "rendering")
        ctx.log("began")
        go_on.wait(20)

    async with working(app):
        job = await work.aenqueue()

        async def shown() -> bool:
            seen = await app.jobs.aget(job.id)
            return (seen.progress, seen.progress_text, [line.text for line in seen.log]) == (40, "rendering", ["began"])

        await until(shown)
        go_on.set()
        await job.aresult(20)


async def test_the_last_words_before_the_end_are_kept(app: Mainspring) -> None:
    @app.task
    async def work(ctx: Context, n: int) -> None:
        for step in range(5):
            ctx.progress(20 * step)
            ctx.log(f"step {step}")
        ctx.progress(100, "done")
        ctx.log("last")

    @app.task
    def work_on_threads(ctx: Context, n: int) -> None:
        lines = [threading.Thread(target=ctx.log, args=(f"line {line}",)) for line in range(20)]
        for thread in lines:
            thread.start()
        for thread in lines:
            thread.join()
        ctx.progress(100, "done")
        ctx.log("last")

    @app.task(retry=1)
    def fail(ctx: Context, n: int) -> None:
        ctx.progress(70, "done")
        ctx.log("last")
        raise ValueError

    async with working(app, concurrency=20):
        drafts = [task.job(n) for n in range(30) for task in (work, work_on_threads, fail)]
        jobs = await app.aenqueue_many(drafts)
        await ended(*jobs)
    for job in jobs:
        seen = await app.jobs.aget(job.id)
        assert seen.progress == (70 if job.task == "fail" else 100)
        assert seen.progress_text == "done"
        lines = [line.text for line in seen.log]
        assert lines[-1] == "last"
        assert len(lines) == {"work": 6, "work_on_threads": 21, "fail": 1}[job.task]


async def test_progress_is_bounded_and_nonsense_is_the_tasks_own_error(app: Mainspring) -> None:
    @app.task(retry=1)
    async def work(ctx: Context) -> None:
        ctx.progress(-5)
        ctx.progress(10**400, "x" * 100_000 + "\x00\ud800")
        ctx.log("\x00\ud800" + "y" * 100_000)
        for nonsense in ("50", None, float("nan"), float("inf")):
            with pytest.raises(InvalidOption):
                ctx.progress(nonsense)  # type: ignore[arg-type]

    async with working(app):
        job = await work.aenqueue()
        await job.aresult(20)
    seen = await app.jobs.aget(job.id)
    assert seen.progress == 100
    assert len(seen.progress_text or "") <= 1024
    assert len(seen.log[0].text) <= 8192


async def test_middleware_goes_around_every_run_the_first_one_outermost(app: Mainspring) -> None:
    steps: list[str] = []

    for name in ("outer", "inner"):

        @app.middleware
        async def around(ctx, proceed, name=name):  # type: ignore[no-untyped-def]
            steps.append(f"{name} in {ctx.job.task} {current().attempt}")
            value = await proceed()
            steps.append(f"{name} out")
            return [*value, name]

    @app.task
    async def coroutine() -> list[str]:
        steps.append("run")
        return []

    @app.task
    def plain() -> list[str]:
        steps.append("run")
        return []

    async with working(app, concurrency=1):
        for task in (coroutine, plain):
            steps.clear()
            assert await (await task.aenqueue()).aresult(20) == ["inner", "outer"]
            assert steps == [
                f"outer in {task.name} 1",
                f"inner in {task.name} 1",
                "run",
                "inner out",
                "outer out",
            ]


async def test_what_middleware_raises_or_catches_decides_about_the_run(app: Mainspring) -> None:
    @app.middleware
    async def judge(ctx, proceed):  # type: ignore[no-untyped-def]
        if ctx.job.task == "refused":
            raise PermissionError("not today")
        try:
            return await proceed()
        except KeyError:
            return "rescued"

    @app.task(retry=1)
    async def refused() -> None:
        pytest.fail("must not run")

    @app.task(retry=1)
    async def rescued() -> str:
        raise KeyError

    async with working(app):
        assert await (await rescued.aenqueue()).aresult(20) == "rescued"
        with pytest.raises(JobFailed, match="not today") as failed:
            await (await refused.aenqueue()).aresult(20)
        assert failed.value.type == "PermissionError"
