"""Enqueuing from inside tasks, and blocking verbs wherever they are called."""

from __future__ import annotations

import asyncio
import threading

from mainspring import Mainspring

from .scene import working


async def test_tasks_enqueue_and_wait_for_other_jobs(app: Mainspring) -> None:
    @app.task
    async def leaf(n: int) -> int:
        return n * n

    @app.task
    async def tree(n: int) -> int:
        blocking = leaf.enqueue(n)
        jobs = [blocking, await leaf.aenqueue(n + 1), *await app.aenqueue_many(leaf.job(i) for i in range(3))]
        return sum([await job.aresult(20) for job in jobs])

    @app.task
    def tree_on_thread(n: int) -> int:
        jobs = [leaf.enqueue(n), *app.enqueue_many([leaf.job(1), leaf.job(2)])]
        return sum(job.result(20) for job in jobs)

    @app.task
    def tree_with_a_loop_of_its_own(n: int) -> int:
        async def run() -> int:
            job = await leaf.aenqueue(n)
            value = await job.aresult(20)
            await app.aclose()
            return value

        return asyncio.run(run())

    async with working(app):
        jobs = [
            await tree.aenqueue(3),
            await tree_on_thread.aenqueue(4),
            await tree_with_a_loop_of_its_own.aenqueue(5),
        ]
        assert [await job.aresult(20) for job in jobs] == [9 + 16 + 0 + 1 + 4, 16 + 1 + 4, 25]


async def test_blocking_verbs_work_while_a_loop_runs_and_from_many_threads(app: Mainspring) -> None:
    @app.task
    async def work(n: int) -> int:
        return n

    ids: list[str] = []

    def enqueue_some(first: int) -> None:
        ids.extend(work.enqueue(n).id for n in range(first, first + 25))

    async with working(app):
        here = work.enqueue(-1)
        assert here.refresh().task == "work"
        threads = [threading.Thread(target=enqueue_some, args=(100 * number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        await asyncio.gather(*(asyncio.to_thread(thread.join) for thread in threads))
        results = [await (await app.jobs.aget(id)).aresult(20) for id in ids]
        assert await asyncio.to_thread(here.result, 20) == -1
    assert sorted(results) == sorted(100 * number + n for number in range(6) for n in range(25))
    assert len(set(ids)) == 150


async def test_many_coroutines_enqueue_at_once_and_each_job_is_durable_when_its_await_returns(app: Mainspring) -> None:
    @app.task
    async def work(n: int) -> int:
        return n

    async def enqueue(n: int) -> int:
        job = await work.aenqueue(n)
        assert (await app.jobs.aget(job.id)).args == {"n": n}
        return await job.aresult(20)

    async with working(app, concurrency=50):
        assert await asyncio.gather(*(enqueue(n) for n in range(200))) == list(range(200))
