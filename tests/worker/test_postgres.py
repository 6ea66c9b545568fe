"""Workers on PostgreSQL: they, and who enqueues, outlive the server's sudden death; nothing acknowledged is lost."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.postgres import PostgresServer, running_postgres

from mainspring import Job, Mainspring
from mainspring.errors import StoreError

from .scene import wait_until

MODULE = """
import asyncio, os
from mainspring import Mainspring
app = Mainspring()

@app.task
async def double(n: int) -> int:
    await asyncio.sleep(0.002)
    return 2 * n
"""
JOBS = 1500
KILLS = 3


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    # Durable: what it has acknowledged must be there after kill -9.
    with running_postgres(durable=True) as server:
        yield server


def workers(folder: Path, url: str, count: int) -> list[subprocess.Popen[bytes]]:
    (folder / "jobs.py").write_text(MODULE)
    command = [sys.executable, "-m", "mainspring", "worker", "jobs:app", "-c", "20"]
    started = []
    for number in range(count):
        with (folder / f"worker{number}.log").open("wb") as log:
            started.append(
                subprocess.Popen(command, cwd=folder, env=os.environ | {"MAINSPRING_URL": url}, stdout=log, stderr=log)
            )
    return started


class Enqueuer(threading.Thread):
    """Enqueues one after the other, and tries each again until it is acknowledged."""

    def __init__(self, app: Mainspring, numbers: range) -> None:
        super().__init__()
        self._app = app
        self._numbers = numbers
        self.acknowledged: dict[str, int] = {}
        self.refused = 0

    def run(self) -> None:
        for number in self._numbers:
            id = f"job {number}"
            while id not in self.acknowledged:
                try:
                    self._app.tasks["double"].using(id=id).enqueue(number)
                    self.acknowledged[id] = number
                except StoreError:
                    self.refused += 1
                    time.sleep(0.02)


def test_kill_9_of_the_server_loses_nothing_that_was_acknowledged(server: PostgresServer, tmp_path: Path) -> None:
    app = Mainspring(server.url)
    app.store.migrate()

    @app.task
    async def double(n: int) -> int: ...

    running = workers(tmp_path, server.url, 2)
    enqueuers = [Enqueuer(app, range(first, JOBS, 2)) for first in range(2)]
    try:
        wait_until(lambda: len(app.workers.list()) == 2)
        for enqueuer in enqueuers:
            enqueuer.start()
        for kill in range(KILLS):
            wait_until(lambda mark=(kill + 1) * JOBS // 5: sum(len(each.acknowledged) for each in enqueuers) > mark, 60)  # type: ignore[misc]
            server.kill()
            time.sleep(0.2)
            server.start()
        for enqueuer in enqueuers:
            enqueuer.join(60)
            assert not enqueuer.is_alive()
        wait_until(lambda: app.jobs.count(state="completed") == JOBS, 60, "all have completed")
        jobs = {job.id: job for job in every(app)}
        assert jobs.keys() == {id for each in enqueuers for id in each.acknowledged}
        assert all(job.result() == 2 * int(id.split()[1]) for id, job in jobs.items())
        assert all(len(job.attempts) == 1 for job in jobs.values()), "none was settled twice, or lost with a worker"
        assert all(process.poll() is None for process in running), "no worker had to be started anew"
    finally:
        for process in running:
            process.terminate()
        for process in running:
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
