"""`mainspring worker` with several processes, or with its health served, as tests look at it from outside."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from subprocess import Popen
from typing import Any

import psutil

from .conftest import PATIENCE, Project, until

ASKED_AGAIN = 3
STARVED = ("successful claim was", "answered its heart", "has been blocked", "has not reported", "no heartbeat")
"""What is said of a worker that should work, and was given no turn for seconds."""

MODULE = """
import asyncio, os, subprocess, time
from pathlib import Path
from mainspring import Context, Mainspring

HERE = Path(__file__).parent
VERSION = {version}
app = Mainspring({url!r})
kept = []

def note(*what):
    with open(HERE / f"notes-{{os.getpid()}}.txt", "a") as notes:
        notes.write(" ".join(map(str, what)) + "\\n")

@app.task
async def version() -> list[int]:
    return [VERSION, os.getpid()]

@app.task
async def held(name: str) -> int:
    note(name)
    while not (HERE / f"go-{{name}}").exists():
        await asyncio.sleep(0.01)
    return os.getpid()

@app.task
async def blocks(name: str) -> None:
    note(name)
    while not (HERE / f"go-{{name}}").exists():
        time.sleep(0.01)

@app.task
def leak(megabytes: int) -> int:
    kept.append(b"x" * (megabytes << 20))
    return os.getpid()

@app.task
def orphan() -> int:
    shell = ["sh", "-c", "sleep 1 >/dev/null & echo $!"]
    return int(subprocess.run(shell, stdout=subprocess.PIPE, check=True).stdout)
"""


class Fleet:
    """A supervisor (or a plain worker) of the module `fleet`, and how it answers."""

    def __init__(self, project: Project, *options: str, url: str = "sqlite:///fleet.db", **settings: Any) -> None:
        self.project = project
        self.url = url
        if not (project.folder / "fleet.py").exists():
            self.write(1)
        self.process: Popen[str] = project.start("worker", "fleet:app", "--health=127.0.0.1:0", *options, **settings)
        self.lines: list[str] = []
        assert self.process.stderr is not None
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr.readline,), daemon=True)
        self._reader.start()
        self.port = int(self.said(r"health at http://127\.0\.0\.1:(\d+)")[0])

    def _read(self, readline: Callable[[], str]) -> None:
        with suppress(ValueError):  # a test that fails closes it meanwhile
            # It takes lines one by one, so that they are there as soon as they are read.
            self.lines.extend(iter(readline, ""))

    def write(self, version: int, more: str = "") -> None:
        """The module, in this version. Each is of another length: Python knows compiled code by its time and size."""
        code = MODULE.format(version=version, url=self.url) + more
        self.project.write("fleet.py", code + "#" * version + "\n")

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def said(self, pattern: str, times: int = 1) -> list[Any]:
        """Wait until it has said this so often."""
        return until(lambda: len(found := re.findall(pattern, self.log)) >= times and found)

    def ask(self, path: str = "/readyz", method: str = "GET") -> tuple[int, Any]:
        """Status and document."""
        for _ in range(ASKED_AGAIN):
            # A client has two seconds for everything: one that was given no turn meanwhile asks once more.
            with suppress(ConnectionResetError, BrokenPipeError):
                return self._ask(path, method)
        return self._ask(path, method)

    def _ask(self, path: str, method: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            body = response.read()
            return response.status, json.loads(body) if body else None
        finally:
            connection.close()

    def ready(self, workers: int = 1) -> list[int]:
        """Wait until so many are ready; their processes."""

        def pids() -> list[int]:
            return [worker["pid"] for worker in self.ask()[1]["workers"] if worker["ready"]]

        return until(lambda: len(found := pids()) >= workers and found)

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def notes(self, pid: int | str = "*") -> list[str]:
        files = self.project.folder.glob(f"notes-{pid}.txt")
        return [line for path in files for line in path.read_text().splitlines()]

    def go(self, name: str) -> None:
        (self.project.folder / f"go-{name}").touch()

    def tell(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code."""
        self.tell(number)
        return self.ended()

    def ended(self) -> int:
        code = self.process.wait(PATIENCE)
        self._reader.join(10)
        return code


class Probe:
    """Asks whether it is ready, again and again, and remembers each time that it was not."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._ended = threading.Event()
        self.asked = 0
        self.refused: list[Any] = []
        """What it was told then. Not where a worker stood in its place and only got no turn: that is the machine's
        doing, and no gap between one worker and the next."""
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Probe:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(10)

    def _ask(self) -> None:
        while not self._ended.is_set():
            status, document = self._fleet.ask()
            self.asked += 1
            if status != 200 and not any(word in document["reason"] for word in STARVED):
                self.refused.append(document)
            time.sleep(0.05)
