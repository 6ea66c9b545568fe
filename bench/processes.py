"""The measured program from outside: jobs put in by this process, worker processes that run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from mainspring import Mainspring

__all__ = ["WorkerProcess", "drain", "enqueue_noops", "opened", "share", "worker_process"]

BATCH = 1000


def opened(url: str) -> Mainspring:
    """The measured program, on this store."""
    app = Mainspring(url)

    @app.task
    async def noop(user_id: int, email: str) -> None: ...

    @app.task
    async def pick_up(sent_at: float) -> float:
        return sent_at

    @app.task
    async def nap() -> None: ...

    return app


def enqueue_noops(url: str, jobs: int) -> None:
    """So many jobs on the default queue, by the public API."""
    with opened(url) as app:
        noop = app.tasks["noop"]
        for first in range(0, jobs, BATCH):
            app.enqueue_many(noop.job(number, email="a@b.c") for number in range(first, min(first + BATCH, jobs)))


class WorkerProcess:
    """A worker in a process of its own, which speaks in lines of JSON."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def said(self) -> dict[str, Any]:
        """The next thing that it says."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the measured worker failed, see above")
        said: dict[str, Any] = json.loads(line)
        return said

    def tell(self) -> None:
        """Tell it to go on."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()


@contextmanager
def worker_process(url: str, *arguments: object) -> Iterator[WorkerProcess]:
    with subprocess.Popen(
        [sys.executable, "-m", "bench.noop", *map(str, arguments)],
        env=os.environ | {"MAINSPRING_URL": url},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield WorkerProcess(process)
        assert process.stdin is not None
        process.stdin.close()


def drain(url: str, queue: str, jobs: int, concurrency: int, *, counted: bool = True) -> dict[str, Any]:
    """What one worker process says of having run so many jobs, `counted` for statistics or not."""
    with worker_process(url, "drain" if counted else "uncounted", queue, jobs, concurrency) as worker:
        return worker.said()


def share(url: str, processes: int, concurrency: int) -> float:
    """Jobs per second by several worker processes that run all there is on the default queue."""
    with ExitStack() as stack:
        workers = [stack.enter_context(worker_process(url, "share", "default", concurrency)) for _ in range(processes)]
        for worker in workers:
            worker.said()  # it is ready
        for worker in workers:
            worker.tell()
        parts = [part for worker in workers if (part := worker.said())["ran"]]
    seconds = max(part["last_at"] for part in parts) - min(part["first_at"] for part in parts)
    return float(sum(part["ran"] for part in parts) / seconds)
