"""Worker processes on each kind of store: a folder with a module of tasks, and who is at work on them."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from servers.postgres import running_postgres
from servers.valkey import running_valkey

from mainspring import Job, Mainspring

from .scene import bury, wait_until

__all__ = ["STORES", "Place", "Servers"]

STORES = ("sqlite", "postgresql", "redis")

PRELUDE = '''
import asyncio, os, signal, sys, threading, time
from pathlib import Path
from mainspring import Context, HandBack, Mainspring, Retry

HERE = Path(__file__).parent
app = Mainspring()

def note(*what):
    """One line of this process's own file, written at once: what a killed process noted stays."""
    with open(HERE / f"notes-{os.getpid()}.txt", "a") as notes:
        notes.write(" ".join(map(str, what)) + "\\n")

def told(what):
    """Whether the test has said so."""
    return (HERE / what).exists()
'''

WORKER = """
import json, logging, os, sys, time
off, real = float(os.environ.get("TEST_CLOCK_OFF", 0)), (time.time, time.time_ns)
if off:
    time.time, time.time_ns = (lambda: real[0]() + off), (lambda: real[1]() + int(off * 1e9))
from jobs import app
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
app.worker(**json.loads(sys.argv[1])).run()
"""


class Place:
    """A store, a module of tasks, and the worker processes at work on them."""

    def __init__(self, folder: Path, url: str, module: str) -> None:
        self.folder = folder
        self.url = url
        (folder / "jobs.py").write_text(PRELUDE + module)
        self.app = Mainspring(url)
        self.app.store.migrate()
        self.processes: list[subprocess.Popen[bytes]] = []

    def enqueue(self, task: str, n: int = 0, **options: Any) -> Job[Any]:
        """A job of a task that is known here by its name; what it does is the module's business."""
        if task not in self.app.tasks:
            self.app.task(name=task)(_elsewhere)
        job: Job[Any] = self.app.tasks[task].using(**options).enqueue(n)
        return job

    def tell(self, what: str) -> None:
        (self.folder / what).touch()

    def start(self, *, clock_off: float = 0, **options: Any) -> subprocess.Popen[bytes]:
        """A worker process, from its beginning."""
        environment = {"MAINSPRING_URL": self.url, "TEST_CLOCK_OFF": str(clock_off)}
        with (self.folder / f"errors-{len(self.processes)}.txt").open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-c", WORKER, json.dumps(options)],
                cwd=self.folder,
                env=os.environ | environment,
                stderr=errors,
            )
        self.processes.append(process)
        return process

    def worker(self, **options: Any) -> subprocess.Popen[bytes]:
        """One that has registered."""
        before = {each.id for each in self.app.workers.list()}
        process = self.start(**options)
        wait_until(lambda: any(worker.id not in before for worker in self.app.workers.list()), what="it registers")
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """A worker dies, and its lease with it."""
        process.kill()
        process.wait()
        bury(self.app, process)

    def alive(self) -> int:
        return sum(worker.alive for worker in self.app.workers.list())

    def notes(self, process: subprocess.Popen[bytes] | None = None) -> list[list[str]]:
        """What tasks noted."""
        pattern = f"notes-{process.pid if process else '*'}.txt"
        return [line.split() for path in self.folder.glob(pattern) for line in path.read_text().splitlines()]

    def errors(self, process: subprocess.Popen[bytes] | None = None) -> str:
        number = "*" if process is None else self.processes.index(process)
        return "\n".join(path.read_text() for path in sorted(self.folder.glob(f"errors-{number}.txt")))

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.app.close()


def _elsewhere(n: int = 0) -> Any: ...


class Servers:
    """Each started when it is first asked for."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._urls: dict[str, str] = {}
        self._numbers = itertools.count(1)

    def url(self, kind: str, folder: Path) -> str:
        """A store that is new."""
        if kind == "sqlite":
            return f"sqlite:///{folder}/jobs.db"
        if kind not in self._urls:
            running = running_postgres() if kind == "postgresql" else running_valkey()
            self._urls[kind] = self._stack.enter_context(running).url
        word = "schema" if kind == "postgresql" else "namespace"
        return f"{self._urls[kind]}?{word}=test_{next(self._numbers)}_{time.monotonic_ns()}"
