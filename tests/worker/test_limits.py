"""Rates, limits, partitions and sequences, as real workers keep to them; two of them in one process."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext

from punctual import TRIES, atakes_less_than

from mainspring import Context, Event, Job, Limits, Mainspring, Rate, RateLimited

from .scene import AT_ONCE, ended, until, working
from .test_order import Gauge

SOON = 2.0
"""Seconds in which a change is obeyed: one, and another for a busy machine."""


async def seconds_until(condition: Callable[[], object]) -> float:
    began = time.monotonic()
    await until(condition)
    return time.monotonic() - began


@asynccontextmanager
async def two_working(app: Mainspring, concurrency: int = 10) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(working(app, concurrency=concurrency))
        yield


async def started(app: Mainspring, *jobs: Job[None]) -> list[int]:
    """When the store gave them out, in order."""
    page = await app.jobs.afind([job.id for job in jobs], limit=1000)
    return sorted(job.record.started_at for job in page if job.record.started_at is not None)


def most_in(starts: list[int], per_ms: int) -> int:
    """The most starts in any stretch of that length."""
    return max(sum(first <= at < first + per_ms for at in starts) for first in starts)


async def test_two_workers_together_keep_a_rate_in_every_window(app: Mainspring) -> None:
    """And they are no slower than they must be."""
    queues = [f"api {number}" for number in range(TRIES)]
    for queue in queues:
        app.queue(queue, rate=["20/500ms", "30/1s"])

    @app.task
    async def call() -> None: ...

    async def calling() -> float:
        begun, call_now = time.monotonic(), call.using(queue=queues.pop())
        jobs = await app.aenqueue_many(call_now.job() for _ in range(80))
        await ended(*jobs)
        took = time.monotonic() - begun
        starts = await started(app, *jobs)
        assert len(starts) == 80
        assert most_in(starts, 500) <= 20
        assert most_in(starts, 1000) <= 30
        return took

    async with two_working(app):
        await atakes_less_than(10, calling)


async def test_a_job_that_costs_more_takes_the_place_of_several(app: Mainspring) -> None:
    @app.task(rate="4/1s", cost=2)
    async def call() -> None: ...

    async with two_working(app):
        jobs = await app.aenqueue_many(call.job() for _ in range(5))
        await ended(*jobs)
    assert most_in(await started(app, *jobs), 1000) == 2


async def test_concurrency_of_a_queue_a_task_and_partitions_holds_over_workers(app: Mainspring) -> None:
    queue, task, acme = Gauge(), Gauge(), Gauge()
    full = asyncio.Event()
    # By its weight alone acme would have nearly all of the queue.
    each, heavy = Limits(concurrency=2), Limits(weight=20)
    app.queue("api", concurrency=6, partition="tenant", per_partition=each, partitions={"acme": heavy})

    @app.task(queue="api", concurrency=4)
    async def call(tenant: str) -> None:
        with task:
            await work(tenant)

    @app.task(queue="api")
    async def sync(tenant: str) -> None:
        await work(tenant)

    async def work(tenant: str) -> None:
        with queue, acme if tenant == "acme" else nullcontext():
            await full.wait()
            await asyncio.sleep(0.01)

    tenants = ["acme"] * 3 + ["bolt", "cork", "dunn"]
    drafts = [of.job(tenant) for _ in range(10) for of in (call, sync) for tenant in tenants]
    async with two_working(app):
        await app.aenqueue_many(drafts)
        await until(lambda: queue.inside == 6)
        full.set()
        await until(lambda: queue.visits == len(drafts))
    assert (queue.most, acme.most) == (6, 2)
    assert 1 <= task.most <= 4


async def test_a_task_at_its_limit_keeps_nobody_else_waiting(app: Mainspring) -> None:
    go_on, gauge = asyncio.Event(), Gauge()

    @app.task(concurrency=1)
    async def scarce() -> None:
        with gauge:
            await go_on.wait()

    @app.task
    async def free() -> None: ...

    async with working(app):
        scarce_ones = await app.aenqueue_many(scarce.job() for _ in range(20))
        await until(lambda: gauge.inside == 1)
        await (await free.aenqueue()).aresult(20)
        go_on.set()
        await ended(*scarce_ones)
    assert gauge.most == 1


async def test_rate_limited_closes_the_queue_for_all_and_uses_no_attempt(app: Mainspring) -> None:
    told, heard = set[str](), list[Event]()

    @app.task(retry=1)
    async def fetch(ctx: Context) -> None:
        if ctx.job.queue not in told:
            told.add(ctx.job.queue)
            raise RateLimited("3s", "429")

    @app.on("snoozed")
    async def note(event: Event) -> None:
        heard.append(event)

    async def closing() -> float:
        heard.clear()
        fetch_now = fetch.using(queue=f"partner {len(told)}")
        first = await fetch_now.aenqueue()
        await until(lambda: first.refresh().reason is not None)
        assert (first.state, first.attempt, first.reason) == ("queued", 0, "rate limited for 3s: 429")
        others = [await fetch_now.aenqueue() for _ in range(5)]
        await ended(first, *others)
        await until(lambda: heard)
        assert {job.state for job in (first, *others)} == {"completed"}
        assert (first.attempt, len(first.attempts)) == (1, 1)
        assert [(event.job.id, event.reason) for event in heard] == [(first.id, "rate limited for 3s: 429")]
        opened = min(job.started_at for job in (first, *others) if job.started_at)
        closed_for = (opened - heard[0].at).total_seconds()
        assert closed_for >= 3
        return closed_for

    for number in range(TRIES):
        app.queue(f"partner {number}")
    async with two_working(app, concurrency=1):
        await atakes_less_than(4.7, closing)


async def test_rate_limited_closes_the_partition_and_leaves_the_others_open(app: Mainspring) -> None:
    app.queue("api", partition="tenant")
    ran: list[str] = []

    @app.task(queue="api")
    async def sync(tenant: str) -> None:
        if tenant == "acme" and not ran:
            ran.append("told")
            raise RateLimited("1m")
        ran.append(tenant)

    async with working(app, concurrency=1):
        first = await sync.aenqueue("acme")
        await until(lambda: first.refresh().reason is not None)
        await app.aenqueue_many([sync.job("acme"), sync.job("bolt"), sync.job("bolt")])
        await until(lambda: ran == ["told", "bolt", "bolt"])
        assert app.jobs.count(state="queued", partition="acme") == 2


async def test_a_retry_after_that_makes_no_sense_is_a_failed_run(app: Mainspring) -> None:
    @app.task(retry=1)
    async def fetch() -> None:
        raise RateLimited("soon")

    async with working(app):
        job = await fetch.aenqueue()
        await ended(job)
    assert job.state == "dead"
    assert job.error is not None
    assert job.error.type == "InvalidDuration"


async def test_changed_limits_are_obeyed_within_a_second(app: Mainspring) -> None:
    gauge, go_on = Gauge(), asyncio.Event()
    queues = [f"api {number}" for number in range(TRIES)]
    for queue in queues:
        app.queue(queue, rate="1/1h")

    @app.task
    async def call() -> None:
        with gauge:
            await go_on.wait()

    async def changing() -> float:
        """How long the slowest of some changes takes."""
        queue, took = queues.pop(), list[float]()
        go_on.clear()
        await app.aenqueue_many(call.using(queue=queue).job() for _ in range(10))
        await until(lambda: gauge.inside == 1)
        await app.queues.aset_limits(queue, rate="3/1h")
        took.append(await seconds_until(lambda: gauge.inside == 3))
        await app.queues.aset_limits(queue, rate=None, concurrency=5)
        took.append(await seconds_until(lambda: gauge.inside == 5))
        await app.queues.aset_task_limits("call", concurrency=6)
        await app.queues.aset_limits(queue, concurrency=None)
        took.append(await seconds_until(lambda: gauge.inside == 6))
        await app.queues.aset_task_limits("call", concurrency=None)
        took.append(await seconds_until(lambda: gauge.inside == 10))
        go_on.set()
        await until(lambda: gauge.inside == 0)
        return max(took)

    async with two_working(app):
        await atakes_less_than(SOON, changing)


async def test_a_resumed_partition_goes_on_within_a_second(app: Mainspring) -> None:
    ran: list[int] = []

    @app.task
    async def sync(page: int) -> None:
        ran.append(page)

    async def resuming() -> float:
        ran.clear()
        await app.queues.apause("default", "acme")
        await app.aenqueue_many(sync.using(partition="acme").job(page) for page in range(3))
        await (await sync.aenqueue(99)).aresult(20)
        assert ran == [99]
        await app.queues.aresume("default", "acme")
        return await seconds_until(lambda: len(ran) == 4)

    async with working(app):
        await atakes_less_than(SOON, resuming)


async def test_limits_that_the_code_no_longer_has_are_gone_when_a_worker_starts(app: Mainspring) -> None:
    @app.task(rate="1/1h")
    async def call() -> None: ...

    async with working(app):
        await (await call.aenqueue()).aresult(20)
    assert [view.rates for view in app.queues.task_limits()] == [(Rate(1, "1h"),)]

    after = Mainspring(app.url)
    again = after.task(name="call")(call.function)
    async with working(after):
        await (await again.aenqueue()).aresult(20)
    await after.aclose()
    assert [view.rates for view in app.queues.task_limits()] == [()]


async def test_a_sequence_runs_in_order_however_often_its_jobs_fail(app: Mainspring) -> None:
    app.queue("ledger", partition="account", sequence=True)
    ran, tries, inside = list[tuple[str, int]](), Counter[tuple[str, int]](), Counter[str]()

    @app.task(queue="ledger", retry=AT_ONCE)
    async def book(account: str, number: int) -> None:
        inside[account] += 1
        tries[account, number] += 1
        assert inside[account] == 1, "one at a time"
        await asyncio.sleep(0.002)
        inside[account] -= 1
        if number % 3 == 0 and tries[account, number] < 3:
            raise OSError("try again")
        ran.append((account, number))

    async with two_working(app):
        jobs = await app.aenqueue_many(book.job(account, number) for number in range(12) for account in "ABC")
        await ended(*jobs)
    assert {job.state for job in jobs} == {"completed"}
    for account in "ABC":
        assert [number for whose, number in ran if whose == account] == list(range(12))


async def test_a_dead_one_holds_up_those_behind_it_until_it_is_retried_or_deleted(app: Mainspring) -> None:
    app.queue("ledger", sequence=True)
    ran, broken = list[int](), {0, 2}

    @app.task(queue="ledger", retry=1)
    async def book(number: int) -> None:
        if number in broken:
            raise ValueError("no")
        ran.append(number)

    async with two_working(app):
        jobs = await app.aenqueue_many(book.job(number) for number in range(4))
        await ended(jobs[0])
        other = await (await book.using(queue="default").aenqueue(9)).aresult(20)
        assert other is None
        assert ran == [9]
        broken.remove(0)
        await jobs[0].aretry()
        await ended(jobs[2])
        assert ran == [9, 0, 1]
        assert jobs[3].refresh().state == "queued"
        await app.jobs.adelete(jobs[2].id)
        await ended(jobs[3])
    assert ran == [9, 0, 1, 3]


async def test_or_is_skipped(app: Mainspring) -> None:
    app.queue("ledger", sequence=True, on_failure="skip")
    ran: list[int] = []

    @app.task(queue="ledger", retry=1)
    async def book(number: int) -> None:
        if number % 2:
            raise ValueError("no")
        ran.append(number)

    async with two_working(app):
        jobs = await app.aenqueue_many(book.job(number) for number in range(10))
        await ended(*jobs)
    assert ran == [0, 2, 4, 6, 8]


async def test_partitions_share_by_weight_and_none_starves(app: Mainspring) -> None:
    app.queue("api", partition="tenant", partitions={"acme": Limits(weight=2)})
    ran: list[str] = []

    @app.task(queue="api")
    async def sync(tenant: str) -> None:
        ran.append(tenant)

    await app.aenqueue_many(sync.job(tenant) for tenant in ("acme", "bolt", "cork") for _ in range(200))
    async with working(app, concurrency=1):
        await until(lambda: len(ran) == 600)
    shares = Counter(ran[:400])
    assert abs(shares["acme"] - 200) <= 4
    assert abs(shares["bolt"] - 100) <= 4
    assert abs(shares["cork"] - 100) <= 4


async def test_a_newcomer_does_not_wait_behind_a_long_queue(app: Mainspring) -> None:
    app.queue("api", partition="tenant")
    ran: list[str] = []

    @app.task(queue="api")
    async def sync(tenant: str, ctx: Context) -> None:
        ran.append(ctx.job.id)
        await asyncio.sleep(0.001)

    await app.aenqueue_many(sync.job("many") for _ in range(3000))  # type: ignore[call-arg]
    async with working(app, concurrency=2):
        await until(lambda: len(ran) > 20)
        few = await sync.aenqueue("few")  # type: ignore[call-arg]
        await few.aresult(20)
        before = ran[: ran.index(few.id)]
        await app.queues.apause("api")
    # Those that were claimed once it was there; how long its own way into the store took says something about the disk.
    found = [job for n in range(0, len(before), 1000) for job in await app.jobs.afind(before[n : n + 1000], limit=1000)]
    assert sum((job.record.started_at or 0) > few.record.created_at for job in found) < 200
