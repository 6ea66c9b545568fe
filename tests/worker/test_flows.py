"""Flows in the hands of a real worker."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from mainspring import (
    Bury,
    Context,
    Flow,
    JobCancelled,
    Mainspring,
    Retry,
    State,
    Unique,
    ValidationError,
    chain,
    chord,
    group,
    previous,
)
from mainspring.task import Task

from .scene import AT_ONCE, ended, until, working


@pytest.fixture
def add(app: Mainspring) -> Task[..., int]:
    @app.task(retry=AT_ONCE)
    async def add(a: int, b: int = 0) -> int:
        return a + b

    return add


@pytest.fixture
def fail(app: Mainspring) -> Task[..., int]:
    @app.task
    async def fail(n: int = 0) -> int:
        raise Bury(f"number {n}")

    return fail


@pytest.fixture
def seen(app: Mainspring) -> Task[..., Any]:
    """A task that says what it sees of its parents."""

    @app.task
    async def seen(ctx: Context, values: list[Any] | None = None) -> Any:
        return [values, [[parent.state, parent.reason, parent.result] for parent in ctx.parents]]

    return seen


async def test_a_diamond(app: Mainspring, add: Task[..., int]) -> None:
    flow = Flow("diamond")
    top = flow.add(add.job(1))
    left, right = flow.add(add.job(top.result, 10)), flow.add(add.job(top.result, 100))
    bottom = flow.add(add.job(left.result, right.result))
    await flow.aenqueue()
    async with working(app):
        assert await bottom.job.aresult(timeout=20) == 112
        assert (await flow.await_(timeout=20)).states == {State.COMPLETED: 4}


async def test_results_arrive_as_the_annotations_say_wherever_they_stand(app: Mainspring) -> None:
    @app.task
    def now() -> datetime:
        return datetime(2031, 5, 1, tzinfo=UTC)

    @app.task
    def days(given: dict[str, list[tuple[int, datetime]]], first: datetime | None = None) -> list[int]:
        assert first is not None
        return [given["all"][0][0], given["all"][0][1].day, first.month]

    flow = Flow("days")
    one = flow.add(now.job())
    last = flow.add(days.job({"all": [(7, one.result)]}, first=one.result))
    await flow.aenqueue()
    async with working(app):
        assert await last.job.aresult(timeout=20) == [7, 1, 5]


async def test_a_result_that_does_not_fit_is_the_childs_error(app: Mainspring, add: Task[..., int]) -> None:
    @app.task
    async def word() -> Any:
        return "seven"

    flow = Flow("misfit")
    child = flow.add(add.job(flow.add(word.job()).result))
    await flow.aenqueue()
    async with working(app):
        await flow.await_(timeout=20)
    await child.job.arefresh()
    assert child.job.state == "dead"
    assert child.job.error is not None
    assert child.job.error.type.endswith(ValidationError.__name__)
    assert "seven" in child.job.error.message


async def test_results_of_jobs_that_turn_out_to_be_one_are_not_mixed_up(app: Mainspring) -> None:
    @app.task(unique=Unique())
    async def once(n: int) -> int:
        return n

    @app.task
    async def total(numbers: list[int]) -> int:
        return sum(numbers)

    flow = Flow("twice")
    jobs = [flow.add(once.job(n)) for n in (1, 1, 2)]
    last = flow.add(total.job([job.result for job in jobs]))
    await flow.aenqueue()
    assert jobs[1].id == jobs[0].id
    async with working(app):
        await flow.await_(timeout=20)
    await ended(last.job)
    assert last.job.state == "dead"
    assert "one and the same unique job" in str(last.job.reason)


async def test_policies(app: Mainspring, add: Task[..., int], fail: Task[..., int], seen: Task[..., Any]) -> None:
    flow = Flow("policies")
    bad, good = flow.add(fail.job(1)), flow.add(add.job(1))
    strict = flow.add(seen.job(), after=[bad, good])
    below = flow.add(seen.job(), after=strict)
    ignoring = flow.add(seen.job([bad.result, good.result]), on_failure="ignore")
    running = flow.add(seen.job([good.result]), after=bad, on_failure={bad: "run"})
    await flow.aenqueue()
    async with working(app):
        await flow.await_(timeout=20)
        assert await ignoring.job.aresult() == [[None, 1], [["dead", "buried: number 1", None], ["completed", None, 1]]]
        assert await running.job.aresult() == [[1], [["dead", "buried: number 1", None], ["completed", None, 1]]]
    await ended(strict.job, below.job)
    assert (strict.job.state, strict.job.reason) == ("cancelled", f"parent {bad.id} is dead")
    assert (below.job.state, below.job.reason) == ("cancelled", f"parent {strict.id} was cancelled")


@pytest.mark.parametrize("bad", [False, True])
async def test_callbacks(app: Mainspring, add: Task[..., int], fail: Task[..., int], bad: bool) -> None:
    flow = Flow("batch")
    for n in range(3):
        flow.add(add.job(n))
    flow.add(group(fail.job(4) if bad else add.job(4), add.job(5), name="part"))
    success, complete, dead = flow.on_success(add.job(1)), flow.on_complete(add.job(2)), flow.on_dead(add.job(3))
    await flow.aenqueue()
    async with working(app):
        await flow.await_(timeout=20)
    await ended(success.job, complete.job, dead.job)
    assert complete.job.state == "completed"
    assert (success.job.state, dead.job.state) == (("cancelled", "completed") if bad else ("completed", "cancelled"))


async def test_a_running_job_adds_to_its_flow(app: Mainspring, add: Task[..., int]) -> None:
    """The flow's callbacks wait for what is added too."""

    @app.task
    async def split(ctx: Context, n: int) -> int:
        flow = ctx.flow
        assert flow is not None
        first = flow.add(add.job(n))
        flow.add(add.job(first.result, 1))
        await flow.aenqueue()
        return n

    @app.task
    def split_plainly(ctx: Context, n: int) -> int:
        assert ctx.flow is not None
        flow = ctx.flow
        flow.add(add.job(n))
        flow.enqueue()
        return n

    @app.task
    async def count(ctx: Context) -> int:
        assert ctx.flow is not None
        return (await ctx.flow.aprogress()).done

    @app.task
    async def alone(ctx: Context) -> bool:
        return ctx.flow is None

    flow = Flow("growing")
    flow.add(split.job(1))
    flow.add(split_plainly.job(2))
    done = flow.on_complete(count.job())
    await flow.aenqueue()
    async with working(app):
        assert await done.job.aresult(timeout=20) == 5
        assert (await flow.await_(timeout=20)).total == 6
        assert await (await alone.aenqueue()).aresult(timeout=20)


async def test_spawned_jobs_appear_when_their_job_completes(app: Mainspring, add: Task[..., int]) -> None:
    spawned: list[int] = []

    @app.task(retry=AT_ONCE)
    async def spawn(ctx: Context) -> str:
        ctx.spawn(*(add.job(n) for n in range(3)), then=total.job(previous))
        spawned.append(await app.jobs.acount(task="add"))
        if ctx.attempt == 1:
            raise ConnectionError("again")
        return "spawned"

    @app.task
    async def total(numbers: list[int]) -> int:
        return sum(numbers)

    flow = Flow("spawning")
    flow.add(spawn.job())
    after = flow.on_success(add.job(100))
    await flow.aenqueue()
    async with working(app):
        assert (await flow.await_(timeout=20)).states == {State.COMPLETED: 6}
    assert spawned == [1, 1]  # the callback
    (last,) = await app.jobs.afind(task="total")
    assert (await last.aresult(), last.flow_id) == (3, flow.id)
    assert after.job.refresh().state == "completed"


async def test_spawning_outside_of_a_flow(app: Mainspring, add: Task[..., int]) -> None:
    @app.task
    def spawn(ctx: Context) -> None:
        ctx.spawn(add.job(1), then=add.job(5))
        ctx.spawn(then=nothing.job(previous))

    @app.task
    def nothing(numbers: list[int]) -> int:
        return len(numbers)

    await spawn.aenqueue()
    async with working(app):
        await until(lambda: app.jobs.count(state="completed") == 4)
    (last,) = app.jobs.find(task="nothing")
    assert (last.result(timeout=0), last.flow_id) == (0, None)


async def test_a_failed_job_leaves_nothing_behind(app: Mainspring, add: Task[..., int]) -> None:
    @app.task
    def spawn(ctx: Context) -> None:
        ctx.spawn(add.job(1))
        raise Bury("no")

    job = await spawn.aenqueue()
    async with working(app):
        await ended(job)
    assert app.jobs.count() == 1


async def test_a_chord_of_500(app: Mainspring, add: Task[..., int]) -> None:
    @app.task
    async def total(numbers: list[int]) -> int:
        return sum(numbers)

    flow = await chord((add.job(n) for n in range(500)), total.job(previous)).aenqueue()
    async with working(app, concurrency=50):
        assert await flow.aresult(timeout=30) == sum(range(500))


@pytest.mark.parametrize("plain", [False, True])
async def test_map_in_chunks(app: Mainspring, plain: bool) -> None:
    if plain:

        @app.task
        def square(n: int) -> int:
            return n * n

    else:

        @app.task  # type: ignore[no-redef]
        async def square(n: int) -> int:
            return n * n

    @app.task
    async def total(numbers: list[int]) -> int:
        return sum(numbers)

    squares = [n * n for n in range(10)]
    flow = await square.map(range(10), chunk=4).aenqueue()
    single = await square.map(range(10)).aenqueue()
    summed = await chain(square.map(range(10), chunk=3), total.job(previous)).aenqueue()
    async with working(app):
        assert await flow.aresult(timeout=20) == squares
        assert await single.aresult(timeout=20) == squares
        assert await summed.aresult(timeout=20) == sum(squares)
    assert sorted(job.args["items"][0]["n"] for job in await flow.ajobs()) == [0, 4, 8]
    first = (await flow.ajobs())[0]
    assert await first.aresult() == squares[:4]


async def test_a_chunk_fails_as_a_whole_and_is_tried_again_as_a_whole(app: Mainspring) -> None:
    calls: list[int] = []

    @app.task(retry=Retry(attempts=2, delay=0))
    def brittle(ctx: Context, n: int) -> int:
        calls.append(n)
        if n == 1 and ctx.attempt == 1:
            raise ConnectionError
        return n

    flow = await brittle.map(range(3), chunk=3).aenqueue()
    async with working(app):
        assert await flow.aresult(timeout=20) == [0, 1, 2]
    assert calls == [0, 1, 0, 1, 2]


async def test_a_chunk_of_plain_calls_ends_between_two_items_when_it_is_cancelled(app: Mainspring) -> None:
    @app.task
    def wait(ctx: Context, n: int) -> int:
        while n == 1 and not ctx.cancelled:
            pass
        return n

    flow = await wait.map([0, 1, 2], chunk=3).aenqueue()
    async with working(app, concurrency=1):
        (job,) = await flow.ajobs()
        await until(lambda: job.refresh().state == "running")
        await flow.acancel()
        await ended(job)
    assert job.state == "cancelled"


async def test_reviving_a_dead_parent_finishes_the_flow(app: Mainspring, add: Task[..., int]) -> None:
    broken = True

    @app.task(retry=1)
    async def charge(order: int) -> int:
        if broken:
            raise ConnectionError
        return order

    flow = chain(charge.job(7), add.job(previous, 1), group(add.job(previous), add.job(previous, 1)))
    flow.on_success(add.job(1))
    await flow.aenqueue()
    async with working(app):
        await flow.await_(timeout=20)
        with pytest.raises(JobCancelled):
            await flow.aresult()
        broken = False
        assert await app.jobs.aretry(flow=flow.id, state="dead") == 1
        assert (await flow.await_(timeout=20)).states == {State.COMPLETED: 5}
        assert await flow.aresult() == [8, 9]


async def test_cancelling_the_whole(app: Mainspring, add: Task[..., int]) -> None:
    @app.task
    async def long() -> None:
        await asyncio.sleep(60)

    flow = chain(group(long.job(), long.job()), add.job(1))
    flow.on_success(add.job(2))
    await flow.aenqueue()
    async with working(app):
        await until(lambda: flow.progress().states.get(State.RUNNING) == 2)
        await flow.acancel("enough")
        assert (await flow.await_(timeout=20)).states == {State.CANCELLED: 4}


async def test_300_one_after_the_other(app: Mainspring, add: Task[..., int]) -> None:
    flow = await chain(add.job(0), *(add.job(previous, 1) for _ in range(300))).aenqueue()
    async with working(app):
        assert await flow.aresult(timeout=60) == 300
