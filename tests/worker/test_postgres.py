"""Workers on PostgreSQL: they, and who enqueues, outlive the server's sudden death; nothing acknowledged is lost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.postgres import PostgresServer, running_postgres

from mainspring import Job, Mainspring

from .scene import wait_until

MODULE = """
import asyncio, sys, time
from mainspring import Mainspring
from mainspring.errors import StoreError
app = Mainspring()

@app.task
async def double(n: int) -> int:
    await asyncio.sleep(0.002)
    return 2 * n

if __name__ == "__main__":
    # Some at a time; they are tried again until they are acknowledged, and then said.
    refused, numbers = 0, range(int(sys.argv[1]), int(sys.argv[2]), 2)
    while numbers:
        some, numbers = numbers[:10], numbers[10:]
        while True:
            try:
                app.enqueue_many(double.using(id=f"job {number}").job(number) for number in some)
                break
            except StoreError:
                refused += 1
                time.sleep(0.02)
        print(*(f"job {number}" for number in some), sep="\\n", flush=True)
    print("refused", refused, file=sys.stderr)
"""
JOBS = int(os.environ.get("MAINSPRING_RESTART_JOBS", "4000"))
"""The full measure is 20000."""
PATIENCE = 60 + JOBS / 50
HOW = {
    "kill -9": ("kill", "kill", "kill"),
    "pg_ctl restart": ("immediate", "fast", "immediate"),
}


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    # Durable: what it has acknowledged must be there after kill -9.
    with running_postgres(durable=True) as server:
        yield server


def started(folder: Path, url: str, name: str, *arguments: object) -> subprocess.Popen[bytes]:
    """A process that says what it says in a file of its name."""
    with (folder / name).open("wb") as said, (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=folder,
            env=os.environ | {"MAINSPRING_URL": url},
            stdout=said,
            stderr=log,
        )


@pytest.mark.timeout(2 * PATIENCE + 60)
@pytest.mark.parametrize("how", list(HOW))
@pytest.mark.fault("kill -9 the server", "postgres")
def test_a_server_that_dies_three_times_loses_nothing_that_was_acknowledged(
    server: PostgresServer, tmp_path: Path, how: str
) -> None:
    app = Mainspring(server.url)
    app.store.migrate()

    @app.task
    async def double(n: int) -> int: ...

    def acknowledged() -> list[str]:
        return [line for n in range(2) for line in (tmp_path / f"enqueuer{n}").read_text().splitlines()]

    (tmp_path / "jobs.py").write_text(MODULE)
    command = ("-m", "mainspring", "worker", "jobs:app", "-c", "20")
    workers = [started(tmp_path, server.url, f"worker{n}", *command) for n in range(2)]
    enqueuers: list[subprocess.Popen[bytes]] = []
    try:
        wait_until(lambda: len(app.workers.list()) == 2)
        ids = {worker.id for worker in app.workers.list()}
        enqueuers += [started(tmp_path, server.url, f"enqueuer{n}", "jobs.py", n, JOBS) for n in range(2)]
        for number, way in enumerate(HOW[how], 1):
            wait_until(lambda number=number: len(acknowledged()) > number * JOBS // 5, PATIENCE)  # type: ignore[misc]
            if way == "kill":
                server.kill()
                time.sleep(0.2)
                server.start()
            else:
                server.restart(way)
        for enqueuer in enqueuers:
            assert enqueuer.wait(PATIENCE) == 0
        wait_until(lambda: app.jobs.count(state="completed") == JOBS, PATIENCE, "all have completed")
        jobs = {job.id: job for job in every(app)}
        assert jobs.keys() == set(acknowledged())
        assert all(job.result() == 2 * int(id.split()[1]) for id, job in jobs.items())
        assert all(len(job.attempts) == 1 for job in jobs.values()), "none was settled twice, or lost with a worker"
        assert all(process.poll() is None for process in workers), "no worker had to be started anew"
        assert {worker.id for worker in app.workers.list()} == ids, "none lost its lease"
    finally:
        for process in [*workers, *enqueuers]:
            process.terminate()
        for process in [*workers, *enqueuers]:
            process.wait(40)
        app.close()


def every(app: Mainspring) -> Iterator[Job[Any]]:
    """All jobs, page by page."""
    cursor = None
    while True:
        page = app.jobs.find(state="completed", limit=1000, cursor=cursor)
        yield from page
        if (cursor := page.cursor) is None:
            return
