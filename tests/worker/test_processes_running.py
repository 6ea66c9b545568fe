"""Tasks in processes: found there, run there, and all that a task can do works from inside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mainspring import Context, InvalidOption, JobFailed, Mainspring, State, chain, previous

from .program import children, gone, noted, program
from .scene import ended, until, wait_until, working


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Any]:
    with program(tmp_path) as module:
        yield module


async def test_jobs_run_in_warm_processes_beside_the_worker_at_most_as_many_as_it_runs_jobs(jobs: Any) -> None:
    async with working(jobs.app, concurrency=2):
        results = [await job.aresult(30) for job in [await jobs.where.aenqueue(n) for n in range(20)]]
        assert [n for n, _, _ in results] == list(range(20))
        assert {parent for _, _, parent in results} == {os.getpid()}
        pids = {pid for _, pid, _ in results}
        assert 1 <= len(pids) <= 2
        alone = [await (await jobs.where.aenqueue(n)).aresult(30) for n in range(5)]
        assert len({pid for _, pid, _ in alone}) == 1
        assert pids.issuperset(children())
    assert all(gone(pid) for pid in pids), "they end with the worker"


async def test_a_workers_memory_is_also_that_of_its_processes(jobs: Any) -> None:
    async with working(jobs.app, lease=9):
        (worker,) = await jobs.app.workers.alist()
        assert worker.memory is not None
        assert worker.memory > 10_000_000
        await (await jobs.where.aenqueue(1)).aresult(30)
        # An interpreter is more than what a worker grows by in a moment.
        await until(lambda: jobs.app.workers.list()[0].memory > worker.memory + 8_000_000)


async def test_values_cross_as_their_types_say(jobs: Any) -> None:
    async with working(jobs.app):
        assert await (await jobs.mirrored.aenqueue(jobs.Point(1, 2))).aresult(30) == jobs.Point(2, 1)
        assert await (await jobs.doubled.aenqueue(21)).aresult(30) == 42
        assert await (await jobs.doubled.map([1, 2, 3], chunk=2).aenqueue()).aresult(timeout=30) == [2, 4, 6]
        assert await (await jobs.charged.map(["1", "22"], chunk=2).aenqueue()).aresult(timeout=30) == [1, 2]
        assert await (await jobs.odd.aenqueue("surrogate")).aresult(30) == "\ud800 and \0"
        assert len(await (await jobs.odd.aenqueue("large")).aresult(30)) == 900_000
        job = await jobs.odd.aenqueue("lambda")
        await ended(job)
        assert job.state is State.DEAD
        assert "its result cannot be stored" in job.reason


async def test_what_it_says_is_seen_while_it_runs(jobs: Any, tmp_path: Path) -> None:
    async with working(jobs.app):
        job = await jobs.says.aenqueue(50)
        await until(lambda: noted(tmp_path, "said"))
        await until(lambda: job.refresh().progress == 98 and len(jobs.app.jobs.log(job.id)) == 50)
        assert job.state is State.RUNNING
        (tmp_path / "go").touch()
        assert await job.aresult(30) == f"{job.id} 1 1 says"
        await job.arefresh()
        assert (job.progress, job.progress_text) == (100, "done")
        assert [line.text for line in jobs.app.jobs.log(job.id)] == [f"line {n}" for n in range(50)]
        assert jobs.app.jobs.get(job.id).output == "".join(f"{n} " for n in range(50))


async def test_flows_go_through_processes(jobs: Any) -> None:
    async with working(jobs.app):
        flow = chain(jobs.doubled.job(4), jobs.sees_parents.job(previous))
        assert await (await flow.aenqueue()).aresult(timeout=30) == [8, "completed"]
        assert await (await jobs.spawns.aenqueue(3)).aresult(30) == 3
        await until(lambda: jobs.app.jobs.count(task="doubled", state="completed") == 4)
        inner = await (await jobs.enqueues.aenqueue()).aresult(30)
        assert await (await jobs.app.jobs.aget(inner)).aresult(30) == 42


@pytest.mark.parametrize(
    ("kind", "state", "error", "message"),
    [
        ("value", State.DEAD, "ValueError", "\ufffd is odd"),
        ("hostile", State.DEAD, "Hostile", "<its text cannot be had: SystemExit>"),
        ("exit", State.DEAD, "SystemExit", "3"),
        ("interrupt", State.DEAD, "KeyboardInterrupt", ""),
        ("lock", State.DEAD, "LookupError", None),
        ("group", State.DEAD, "ExceptionGroup", "two (2 sub-exceptions)"),
        ("cancelled", State.DEAD, "MainspringError", "the task raised CancelledError, though nobody had cancelled it"),
        ("bury", State.DEAD, None, "buried: enough"),
        ("cancel", State.CANCELLED, None, "cancelled: withdrawn"),
        ("snooze", State.SCHEDULED, None, "later"),
    ],
)
async def test_exceptions_keep_their_meaning_and_travel_as_text(
    jobs: Any, kind: str, state: State, error: str | None, message: str | None
) -> None:
    async with working(jobs.app):
        job = await jobs.raises.aenqueue(kind)
        await until(lambda: job.refresh().state is state)
    if error is None:
        assert job.reason == message
        return
    assert job.error.type == error
    assert message is None or job.error.message == message
    if kind == "value":
        assert "raise error" in job.error.traceback
        assert "mainspring/worker" not in job.error.traceback


async def test_retry_rules_are_asked_where_the_exception_is(jobs: Any) -> None:
    async with working(jobs.app):
        allowed, other = await jobs.ruled.aenqueue("lookup", 3), await jobs.ruled.aenqueue("value")
        put_off = await jobs.later.aenqueue()
        await until(lambda: allowed.refresh().state is put_off.refresh().state is State.SCHEDULED)
        await ended(other)
    assert other.reason == "not retried: ValueError"
    assert timedelta(seconds=290) < allowed.run_at - allowed.attempts[0].ended_at < timedelta(seconds=310)
    assert put_off.error.type == "OSError"
    assert timedelta(seconds=290) < put_off.run_at - put_off.attempts[0].ended_at < timedelta(seconds=310)


async def test_middleware_runs_around_it_in_the_worker(jobs: Any) -> None:
    seen: list[object] = []

    @jobs.app.middleware
    async def watch(ctx: Context, proceed: Any) -> Any:
        try:
            value = await proceed()
            seen.append(value)
            return value
        except Exception as error:
            seen.append(str(error))
            raise

    async with working(jobs.app):
        assert await (await jobs.mirrored.aenqueue(jobs.Point(1, 2))).aresult(30) == jobs.Point(2, 1)
        job = await jobs.ruled.aenqueue("value")
        await ended(job)
    assert seen == [jobs.Point(2, 1), "ValueError: 1"]
    assert job.reason == "not retried: ValueError"


async def test_completing_in_a_transaction_is_refused_clearly(jobs: Any) -> None:
    async with working(jobs.app):
        job = await jobs.completes.aenqueue()
        with pytest.raises(JobFailed, match="works only inside the worker"):
            await job.aresult(30)


async def test_a_process_is_replaced_after_so_many_jobs_or_when_it_keeps_much_memory(jobs: Any) -> None:
    async with working(jobs.app, concurrency=1, process_jobs=3):
        pids = [(await (await jobs.where.aenqueue(n)).aresult(30))[1] for n in range(7)]
        assert [pids.index(pid) for pid in pids] == [0, 0, 0, 3, 3, 3, 6]
    async with working(jobs.app, concurrency=1, process_memory="200MB"):
        small, large = [await (await jobs.grows.aenqueue(n)).aresult(30) for n in (1, 250)]
        assert small == large
        assert await (await jobs.grows.aenqueue(1)).aresult(30) != large


async def test_an_idle_process_ends_after_a_while(jobs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mainspring.worker.processes.pool.IDLE_SECONDS", 0.2)
    async with working(jobs.app):
        _, pid, _ = await (await jobs.where.aenqueue(1)).aresult(30)
        await until(lambda: gone(pid))
        assert (await (await jobs.where.aenqueue(2)).aresult(30))[1] != pid


async def test_a_task_that_no_process_could_find_is_refused_at_start(app: Mainspring) -> None:
    @app.task(executor="process")
    def hidden() -> None: ...

    with pytest.raises(InvalidOption, match=r"'hidden'.*could not find it"):
        await app.worker().arun()
    assert app.workers.list() == []


async def test_a_store_in_memory_is_refused_for_tasks_in_processes(tmp_path: Path) -> None:
    with (
        program(tmp_path, "sqlite://") as module,
        pytest.raises(InvalidOption, match="a store in memory is in one process alone"),
    ):
        await module.app.worker().arun()


def test_drain_runs_them_on_the_spot(jobs: Any) -> None:
    from mainspring.testing import drain

    job = jobs.where.enqueue(1)
    drain(jobs.app)
    assert job.result(0)[1] == os.getpid()


SCRIPT = """
import os
from mainspring import Mainspring
app = Mainspring("sqlite:///main.db")
print("imported as", __name__, flush=True)

@app.task(executor="process")
def where() -> list[str]:
    return [__name__, str(os.getppid())]

if GUARD:
    job = where.enqueue()
    import threading
    worker = app.worker()
    def stop():
        print(job.result(30), flush=True)
        worker.stop()
    threading.Thread(target=stop).start()
    worker.run()
"""


def test_a_script_is_found_by_its_processes_though_it_is_no_module(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT.replace("GUARD", '__name__ == "__main__"'))
    ran = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[:2] == ["imported as __main__", "imported as __mp_main__"]
    assert lines[2].startswith("['__mp_main__'")


WORKER = """
import importlib, json, logging, sys
module = importlib.import_module(sys.argv[1])
logging.basicConfig(level=logging.INFO)
module.app.worker(**json.loads(sys.argv[2])).run()
"""


def test_what_a_task_prints_and_logs_goes_where_the_worker_s_own_goes(jobs: Any, tmp_path: Path) -> None:
    job = jobs.talks.enqueue()
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, jobs.__name__, json.dumps({"grace": 5})],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        job.result(30)
        wait_until(lambda: jobs.app.workers.list())
    finally:
        worker.terminate()
        out, err = worker.communicate(timeout=30)
    assert "to standard output" in out
    assert "to standard error" in err
    assert "to the log" in err
