"""Jobs and workers on Redis while servers die, hang up, lose answers, fail over and move slots about."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from servers.cluster import Cluster, running_cluster
from servers.proxy import proxy_to
from servers.sentinels import running_sentinels
from servers.valkey import ValkeyServer, running_valkey
from worker.scene import until, wait_until, working

from mainspring import Mainspring, Retry, Task
from mainspring.errors import StoreError
from mainspring.store.redis import drivers

from .test_redis_access import rights


def stage(url: str) -> tuple[Mainspring, Task[Any, Any], Counter[int]]:
    """An app with one task, and how often each job of it has run."""
    app, runs = Mainspring(url), Counter[int]()

    @app.task(retry=Retry(attempts=20, delay=0))
    async def work(n: int) -> int:
        runs[n] += 1
        await asyncio.sleep(0.005)
        return n

    return app, work, runs


@contextmanager
def meanwhile(disturb: Callable[[], object], every: float, done: list[Any]) -> Iterator[None]:
    """Again and again, on a thread of its own; each time when something more has been done."""
    enough = threading.Event()

    def go_on() -> None:
        seen = -1
        while not enough.wait(every):
            if len(done) > seen:
                seen = len(done)
                disturb()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operations have all the time in which a server comes back on a busy machine."""
    monkeypatch.setattr(drivers, "OPERATION_SECONDS", 30.0)


def all_completed(app: Mainspring, number: int) -> bool:
    return app.jobs.count(state="completed") == number


@pytest.mark.fault("cut connections", "redis")
async def test_connections_that_are_ended_are_opened_anew_and_nobody_is_told() -> None:
    with running_valkey() as server:
        app, work, _ = stage(server.url)

        def hang_up() -> None:
            for kind in ("normal", "pubsub"):
                server.ask("CLIENT", "KILL", "TYPE", kind)

        jobs = list[str]()

        def enqueue() -> None:
            for n in range(300):
                jobs.append(work.enqueue(n).id)

        async with working(app, concurrency=20) as worker:
            id = worker.id
            with meanwhile(hang_up, 0.05, jobs):
                await asyncio.to_thread(enqueue)
            await until(lambda: all_completed(app, 300), patience=60)
            assert worker.id == id
        assert {job.id for job in app.jobs.find(limit=1000)} == set(jobs)
        app.close()


@pytest.mark.usefixtures("patient")
@pytest.mark.fault("kill -9 the server", "redis")
async def test_a_server_that_is_killed_while_jobs_run_costs_none_of_them() -> None:
    """It writes to its disk before it answers; killed three times."""
    with running_valkey(appendonly="yes", appendfsync="always") as server:
        app, work, runs = stage(f"{server.url}?durability=always")
        acknowledged = list[str]()

        def enqueue() -> None:
            for n in range(1500):
                acknowledged.append(work.enqueue(n).id)

        def kill_and_start() -> None:
            server.kill()
            server.start()

        async with working(app, concurrency=50) as worker:
            id = worker.id
            enqueuing = asyncio.create_task(asyncio.to_thread(enqueue))
            for served in (200, 600, 1000):
                await until(lambda served=served: len(acknowledged) > served, patience=60)
                await asyncio.to_thread(kill_and_start)
            await enqueuing
            await until(lambda: all_completed(app, 1500), patience=60)
            assert worker.id == id
        assert kept(app) == set(acknowledged)
        # What had ended when the server died had ended: nothing is run again that was settled.
        assert sum(runs.values()) <= 1500 + 3 * 50
        app.close()


@pytest.mark.fault("kill -9 the server", "redis")
async def test_of_a_server_that_syncs_once_a_second_what_is_not_on_its_disk_is_lost_and_nothing_else() -> None:
    """What it had on its disk a second before it died is all that is there afterwards, as when the power fails."""
    with running_valkey(appendonly="yes", appendfsync="everysec") as server:
        app, work, _ = stage(f"{server.url}?durability=everysec")
        acknowledged, ended = list[str](), threading.Event()

        def enqueue() -> None:
            while not ended.is_set():
                try:
                    acknowledged.append(work.enqueue(len(acknowledged)).id)
                except StoreError:
                    return

        async with working(app, concurrency=20, lease="6s"):
            enqueuing = asyncio.create_task(asyncio.to_thread(enqueue))
            await until(lambda: len(acknowledged) > 200)
            on_disk, size = await asyncio.to_thread(lambda: (list(acknowledged), synced(server)))
            some_more = len(acknowledged) + 200
            await until(lambda: len(acknowledged) > some_more)
            await asyncio.to_thread(server.kill)
            ended.set()
            os.truncate(written(server), size)
            await asyncio.to_thread(server.start)
            await enqueuing
            await until(lambda: app.jobs.count() == app.jobs.count(state="completed"), patience=60)
        assert set(on_disk) <= kept(app) < set(acknowledged)
        app.close()


def synced(server: ValkeyServer) -> int:
    """How large the file that grows with each change is, once all that was done so far is on the disk."""
    with server.client() as client:
        client.set("so far", "")
        assert client.execute_command("WAITAOF", 1, 0, 60_000)[0] == 1
    return written(server).stat().st_size


def written(server: ValkeyServer) -> Path:
    """The file that grows with each change."""
    return max((path for path in server.folder.rglob("*.aof")), key=lambda path: path.stat().st_mtime)


def kept(app: Mainspring) -> set[str]:
    """The ids of all jobs."""
    ids, cursor = set[str](), None
    while True:
        page = app.jobs.find(limit=1000, cursor=cursor)
        ids |= {job.id for job in page}
        cursor = page.cursor
        if cursor is None:
            return ids


@pytest.mark.usefixtures("patient")
@pytest.mark.fault("kill -9 the server", "redis")
def test_who_enqueues_while_the_server_restarts_waits_for_it() -> None:
    with running_valkey(appendonly="yes", appendfsync="always") as server:
        app, work, _ = stage(server.url)
        done, ids = threading.Event(), list[str]()

        def enqueue() -> None:
            while not done.is_set():
                ids.append(work.enqueue(len(ids)).id)

        with ThreadPoolExecutor(2) as threads:
            enqueuers = [threads.submit(enqueue) for _ in range(2)]
            wait_until(lambda: len(ids) > 50)
            server.stop()
            server.start()
            before = len(ids)
            try:
                wait_until(lambda: len(ids) > before + 50)
            finally:
                done.set()
            for each in enqueuers:
                each.result(40)
        assert app.jobs.count() == len(ids)
        app.close()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.fault("lost replies", "redis")
async def test_answers_that_are_lost_at_random_double_nothing(seed: int) -> None:
    with running_valkey() as server, proxy_to(server.url) as proxy:
        app, work, runs = stage(proxy.url(server.url))
        dice = random.Random(seed)
        proxy.loses = lambda piece: dice.random() < 0.03
        async with working(app, concurrency=20) as worker:
            id = worker.id
            jobs = await asyncio.gather(*(work.aenqueue(n) for n in range(200)))
            ids = [job.id for job in jobs]
            while len(ids) < 400 or proxy.lost <= 10:
                ids.append((await asyncio.to_thread(work.enqueue, len(ids))).id)
            await until(lambda: settled(server) == len(ids), patience=60)
            assert worker.id == id
            proxy.loses = lambda piece: False
        found = app.jobs.find(limit=1000)
        assert sorted(job.id for job in found) == sorted(ids)
        assert {job.state for job in found} == {"completed"}
        assert runs.keys() == set(range(len(ids)))
        await app.aclose()


def settled(server: ValkeyServer) -> int:
    """How many jobs have completed, by a way that loses nothing."""
    looker = Mainspring(server.url)
    try:
        return looker.jobs.count(state="completed")
    finally:
        looker.close()


async def test_a_user_with_few_rights_runs_jobs() -> None:
    with running_valkey() as server:
        server.ask("ACL", "SETUSER", "jobs", "on", ">s3cret", *rights(server))
        app, work, _ = stage(f"redis://jobs:s3cret@{server.address}/0")
        async with working(app):
            job = await work.aenqueue(7)
            assert await job.aresult(timeout=30) == 7
            progress = app.jobs.find(state="completed")
            assert len(progress) == 1
        app.queues.pause("default")
        assert [queue.paused for queue in app.queues.list() if queue.name == "default"] == [True]
        await app.aclose()


# --- other servers ---------------------------------------------------------------------------------------------------


@pytest.mark.fault("fail-over", "redis")
async def test_a_fail_over_by_sentinels_in_the_middle_of_jobs() -> None:
    with running_sentinels() as sentinels:
        app, work, _ = stage(sentinels.url)
        jobs = app.enqueue_many([work.job(n) for n in range(400)])
        # What the replica has not got yet is lost by a fail-over.
        with sentinels.primary.client() as client:
            client.set("so far", "")
            wait_until(lambda: client.wait(1, 1000) >= 1)
        async with working(app, concurrency=10, lease="3s"):
            await until(lambda: app.jobs.count(state="completed") > 50)
            await asyncio.to_thread(sentinels.fail_over)
            await until(lambda: all_completed(app, 400), patience=60)
        assert {job.id for job in app.jobs.find(limit=1000)} == {job.id for job in jobs}
        app.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster(replicas=True) as cluster:
        yield cluster


async def test_a_slot_moves_and_its_primary_fails_over_in_the_middle_of_jobs(cluster: Cluster) -> None:
    app, work, runs = stage(f"{cluster.url}?namespace=shop")
    slot = int(cluster.nodes[0].ask("CLUSTER", "KEYSLOT", "shop"))
    ids = [job.id for job in app.enqueue_many([work.job(n) for n in range(500)])]
    async with working(app, concurrency=10) as worker:
        id = worker.id
        await until(lambda: app.jobs.count(state="completed") > 50)
        await asyncio.to_thread(cluster.migrate, slot, cluster.other(cluster.holder(slot)))
        ids += await asyncio.to_thread(lambda: [work.enqueue(n).id for n in range(500, 600)])
        await until(lambda: app.jobs.count(state="completed") > 150)
        await asyncio.to_thread(cluster.fail_over, slot)
        ids += await asyncio.to_thread(lambda: [work.enqueue(n).id for n in range(600, 700)])
        await until(lambda: all_completed(app, 700), patience=60)
        assert worker.id == id
    assert sorted(job.id for job in app.jobs.find(limit=1000)) == sorted(ids)
    assert set(runs) == set(range(700))
    await app.aclose()


async def test_hints_are_heard_whichever_node_has_the_slot(cluster: Cluster) -> None:
    app, work, _ = stage(f"{cluster.url}?namespace=hints")
    took = list[float]()
    async with working(app):
        for n in range(5):
            job = await work.aenqueue(n)
            started = time.monotonic()
            assert await job.aresult(timeout=30) == n
            took.append(time.monotonic() - started)
    assert median(took) < 5
    await app.aclose()
