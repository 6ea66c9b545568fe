"""Tasks in processes that crash, hang, take too much memory or are killed: what that costs, and whom."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from punctual import atakes_less_than
from servers.postgres import running_postgres
from servers.valkey import running_valkey

from mainspring import State
from mainspring.model.outcome import Verdict

from .program import TASKS, children, gone, noted, program
from .scene import ended, until, wait_until, working


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Any]:
    with program(tmp_path) as module:
        yield module


@pytest.mark.parametrize(
    ("how", "arguments", "said"),
    [
        ("segfault", (), "was killed by SIGSEGV"),
        ("leave", (0,), "ended with exit status 0"),
        ("leave", (7,), "ended with exit status 7"),
    ],
)
async def test_a_job_that_crashes_its_process_is_dead_as_poison_at_the_third_time(
    jobs: Any, how: str, arguments: tuple[int, ...], said: str
) -> None:
    async with working(jobs.app, concurrency=1):
        job = await getattr(jobs, how).aenqueue(*arguments)
        after = await jobs.where.aenqueue(1)
        await ended(job)
        await after.aresult(30)
    assert (job.state, job.reason, job.attempt, job.crashes) == (State.DEAD, "poison", 0, 3)
    assert [attempt.verdict for attempt in job.attempts] == [Verdict.LOST] * 3
    assert job.error.type == "ProcessCrashed"
    assert job.error.message == f"the process that ran the job {said}"


async def test_a_crash_is_noticed_although_something_holds_the_connection_open(jobs: Any, tmp_path: Path) -> None:
    async with working(jobs.app):
        job = await jobs.leaves_one_behind.aenqueue()
        await ended(job)
        await until(lambda: all(gone(pid) for pid in noted(tmp_path, "left")), what="and ends with the process")
    assert (job.reason, job.error.message) == ("poison", "the process that ran the job ended with exit status 3")


@pytest.mark.fault("segfault, exit, OOM kill in a process", "sqlite")
async def test_of_twenty_jobs_at_once_the_one_that_crashes_pays_alone(jobs: Any) -> None:
    async with working(jobs.app, concurrency=8):
        napping = [await jobs.nap.aenqueue(1) for _ in range(10)]
        crashing = await jobs.segfault.aenqueue()
        napping += [await jobs.nap.aenqueue(0.2) for _ in range(9)]
        await ended(crashing, *napping)
    assert crashing.reason == "poison"
    for job in napping:
        assert (job.state, job.attempt, job.crashes, len(job.attempts)) == (State.COMPLETED, 1, 0, 1)


async def test_a_process_killed_from_outside_costs_its_job_a_crash_and_nobody_else_anything(
    jobs: Any, tmp_path: Path
) -> None:
    async with working(jobs.app, concurrency=2):
        job, other = await jobs.waits_for_go.aenqueue(), await jobs.waits_for_go.aenqueue()
        await until(lambda: len(noted(tmp_path, "waiting")) == 2)
        os.kill(noted(tmp_path, "waiting")[0], signal.SIGKILL)
        await until(lambda: len(noted(tmp_path, "waiting")) == 3, what="one runs again")
        (tmp_path / "go").touch()
        await ended(job, other)
    assert {each.state for each in (job, other)} == {State.COMPLETED}
    assert sorted([job.crashes, other.crashes]) == [0, 1]


async def test_an_idle_process_that_was_killed_costs_nobody_anything(jobs: Any) -> None:
    async with working(jobs.app, concurrency=1):
        for n in range(5):
            _, pid, _ = await (await jobs.where.aenqueue(n)).aresult(30)
            os.kill(pid, signal.SIGKILL)
            job = await jobs.where.aenqueue(n)
            assert (await job.aresult(30))[1] != pid
            await job.arefresh()
            assert (job.attempt, job.crashes) == (1, 0)


async def test_signals_to_all_processes_are_left_to_the_worker(jobs: Any, tmp_path: Path) -> None:
    async with working(jobs.app):
        job = await jobs.waits_for_go.aenqueue()
        await until(lambda: noted(tmp_path, "waiting"))
        (pid,) = noted(tmp_path, "waiting")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGURG):
            os.kill(pid, number)
        (tmp_path / "go").touch()
        assert await job.aresult(30) == pid
        await job.arefresh()
        assert job.crashes == 0


@pytest.mark.fault("a job that eats up the memory", "sqlite")
@pytest.mark.parametrize("chunk", [1_000_000, 300_000_000])
async def test_a_job_that_takes_too_much_memory_is_killed_and_that_is_a_failed_attempt(jobs: Any, chunk: int) -> None:
    async with working(jobs.app, concurrency=2):
        small, large = await jobs.hog.aenqueue(10, 1_000_000), await jobs.hog.aenqueue(2_000, chunk)
        await ended(small, large)
    assert small.state is State.COMPLETED
    assert (large.state, large.attempt, large.crashes) == (State.DEAD, 1, 0)
    assert (large.error.type, large.error.message) == (
        "MemoryExceeded",
        "the job used more than its memory of 150 MB",
    )


@pytest.mark.parametrize("name", ["spin", "deaf", "in_c", "waits"])
async def test_a_job_past_its_timeout_ends_whatever_it_does(jobs: Any, name: str) -> None:
    async def overdue() -> float:
        await (await jobs.where.aenqueue(1)).aresult(30)
        job = await getattr(jobs, name).aenqueue()
        began = time.monotonic()
        await ended(job)
        took = time.monotonic() - began
        assert (job.state, job.attempt, job.crashes) == (State.DEAD, 1, 0)
        assert job.error.type == "JobTimeout"
        assert "longer than its timeout of 300ms" in job.error.message
        return took

    async with working(jobs.app, concurrency=1):
        await atakes_less_than(3, overdue)
        _, pid, _ = await (await jobs.where.aenqueue(2)).aresult(30)
        await until(lambda: children() == [pid])


SLOW_TO_START = """
if any("mainspring.worker.processes" in word for word in sys.orig_argv):
    time.sleep(3)
"""


async def test_the_time_that_a_process_takes_to_start_does_not_count(tmp_path: Path) -> None:
    with program(tmp_path, text=TASKS + SLOW_TO_START) as jobs:
        async with working(jobs.app):
            began = time.monotonic()
            job = await jobs.nap.using(timeout="2s").aenqueue(0.01)
            assert await job.aresult(30)
        assert time.monotonic() - began > 3


async def test_it_may_tidy_up_within_its_grace(jobs: Any) -> None:
    async with working(jobs.app):
        job = await jobs.tidy.aenqueue()
        await ended(job)
    assert job.error.type == "JobTimeout"
    assert "time.sleep(60)" in job.error.traceback
    assert [line.text for line in jobs.app.jobs.log(job.id)] == ["tidied, cancelled=True"]


@pytest.mark.parametrize("how", ["looks", "looks not", "deaf"])
async def test_cancelling_takes_effect_within_two_seconds(jobs: Any, tmp_path: Path, how: str) -> None:
    async def cancelling() -> float:
        before = len(noted(tmp_path, "endless"))
        job = await jobs.endless.aenqueue(how)
        await until(lambda: len(noted(tmp_path, "endless")) > before)
        asked = time.monotonic()
        await job.acancel("enough")
        await ended(job)
        took = time.monotonic() - asked
        assert (job.state, job.reason) == (State.CANCELLED, "cancelled: enough")
        return took

    async with working(jobs.app):
        await atakes_less_than(2 if how != "deaf" else 2.5, cancelling)


async def test_a_stopping_worker_hands_back_what_does_not_end_and_no_attempt_is_used(jobs: Any, tmp_path: Path) -> None:
    async with working(jobs.app, grace=0.2):
        gentle, deaf = await jobs.endless.aenqueue("looks not"), await jobs.endless.aenqueue("deaf")
        turning = await jobs.turns_it_into_an_error.aenqueue()
        await until(lambda: len(noted(tmp_path, "endless") + noted(tmp_path, "turning")) == 3)
    assert children() == []
    for job in (gentle, deaf, turning):
        await job.arefresh()
        assert (job.state, job.attempt, job.crashes) == (State.QUEUED, 0, 0)


async def test_what_a_killed_job_had_started_goes_with_it(jobs: Any, tmp_path: Path) -> None:
    async with working(jobs.app):
        job = await jobs.starts_another.aenqueue()
        await until(lambda: noted(tmp_path, "started"))
        grandchild = int((tmp_path / "grandchild").read_text())
        os.kill(noted(tmp_path, "started")[0], signal.SIGSTOP)  # so that it must be killed
        await job.acancel()
        await ended(job)
        await until(lambda: gone(grandchild))


WORKER = """
import importlib, json, logging, sys
module = importlib.import_module(sys.argv[1])
logging.basicConfig(level=logging.INFO)
module.app.worker(**json.loads(sys.argv[2])).run()
"""


def worker_of(jobs: Any, folder: Path, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, jobs.__name__, json.dumps(options)],
        cwd=folder,
        text=True,
        start_new_session=True,
    )


def test_no_process_outlives_a_worker_that_was_killed(jobs: Any, tmp_path: Path) -> None:
    worker = worker_of(jobs, tmp_path, concurrency=3)
    try:
        for task in (jobs.nap.job(600), jobs.endless.job("deaf")):
            jobs.app.enqueue_many([task])
        wait_until(lambda: noted(tmp_path, "napping") and noted(tmp_path, "endless"))
        pids = noted(tmp_path, "napping") + noted(tmp_path, "endless")
    finally:
        worker.kill()
        worker.wait()
    wait_until(lambda: all(gone(pid) for pid in pids))


def test_ctrl_c_in_a_terminal_lets_jobs_finish(jobs: Any, tmp_path: Path) -> None:
    """It goes to the whole group of the terminal's foreground."""
    worker = worker_of(jobs, tmp_path, grace=60)
    job = jobs.waits_for_go.enqueue()
    wait_until(lambda: noted(tmp_path, "waiting"))
    os.killpg(worker.pid, signal.SIGINT)
    wait_until(lambda: jobs.app.workers.list()[0].quiet, what="it stops")
    (tmp_path / "go").touch()
    assert worker.wait(30) == 0
    assert job.refresh().state is State.COMPLETED
    assert (job.attempt, job.crashes) == (1, 0)
    assert all(gone(pid) for pid in noted(tmp_path, "waiting"))


@pytest.mark.fault("segfault, exit, OOM kill in a process", "postgres", "redis")
@pytest.mark.fault("a job that eats up the memory", "postgres", "redis")
@pytest.mark.parametrize("kind", ["postgres", "redis"])
def test_crashes_timeouts_and_memory_are_the_same_on_every_store(tmp_path: Path, kind: str) -> None:
    with (
        running_postgres() if kind == "postgres" else running_valkey() as server,
        program(tmp_path, server.url) as jobs,
    ):
        if kind == "postgres":
            jobs.app.store.migrate()
        worker = worker_of(jobs, tmp_path, concurrency=4)
        try:
            crash, slow, hog = jobs.segfault.enqueue(), jobs.in_c.enqueue(), jobs.hog.enqueue(2_000, 1_000_000)
            inside = jobs.enqueues.enqueue()
            if kind == "postgres":
                with psycopg.connect(server.url) as connection:
                    in_sql = "SELECT mainspring.enqueue('on_thread', '{}', '{\"timeout\": \"200ms\"}')"
                    (id,) = connection.execute(in_sql).fetchone() or ("",)
                wait_until(lambda: jobs.app.jobs.get(id).state is State.DEAD)
                assert jobs.app.jobs.get(id).error.type == "JobTimeout"
            wait_until(lambda: all(job.refresh().state is State.DEAD for job in (crash, slow, hog)), patience=40)
            assert (crash.reason, crash.crashes) == ("poison", 3)
            assert [job.error.type for job in (slow, hog)] == ["JobTimeout", "MemoryExceeded"]
            assert jobs.app.jobs.get(inside.result(30)).result(30) == 42
        finally:
            worker.terminate()
            assert worker.wait(30) == 0
