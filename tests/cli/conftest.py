"""A project in a folder of its own, and the command line: in this process (`run`) or as the real command (`start`)."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner, Result

from mainspring import Mainspring
from mainspring.cli.root import cli
from mainspring.cli.target import load_app

JOBS = """
import time
from mainspring import Bury, Context, Mainspring, Retry

app = Mainspring("sqlite:///shop.db")

@app.task
async def add(a: int, b: int) -> int:
    return a + b

@app.task(queue="email", retry=Retry(attempts=2, delay=0))
def send_welcome(user_id: int, email: str, code: str = "") -> str:
    if "@" not in email:
        raise ValueError(f"no address: {email}")
    return f"{user_id} {email} {code}"

@app.task(queue="slow")
def slow(ctx: Context, seconds: float = 0) -> None:
    ctx.progress(40, "rendering")
    ctx.log("half way")
    time.sleep(seconds)

# Not due before 2052: no worker that runs at the full hour makes a job of it in the middle of a test.
@app.every("10000d", name="rarely", queue="nightly")
def clean() -> None: ...
"""

PATIENCE = 90.0
"""Seconds until what does not happen fails its test: far more than it takes on a busy machine."""


@dataclass
class Project:
    """A user's folder: `shop/jobs.py` with an app on `shop.db`."""

    folder: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def app(self) -> Mainspring:
        return load_app("shop.jobs:app")

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def run(self, *args: str, code: int = 0) -> Result:
        """Run a command in this process; its exit code must be `code`, and no traceback of ours may show."""
        result = CliRunner().invoke(cli, list(args), prog_name="mainspring")
        assert result.exit_code == code, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    def json(self, *args: str, code: int = 0) -> Any:
        return json.loads(self.run(*args, "--json", code=code).stdout)

    def start(self, *args: str, **settings: Any) -> subprocess.Popen[str]:
        """Start the real command."""
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(
            [sys.executable, "-m", "mainspring", *args], cwd=self.folder, text=True, **streams | settings
        )
        self.processes.append(process)
        return process

    def finish(self, *args: str) -> tuple[int, str, str]:
        """Run the real command to its end: exit code, standard output, standard error."""
        process = self.start(*args)
        out, err = process.communicate(timeout=PATIENCE)
        return process.returncode, out, err

    def end(self) -> None:
        """Kill whatever still runs of what was started, and of what that has started itself: whoever lives holds the
        pipes open that are to be closed, and that would wait for ever."""
        for own in self.processes:
            own.kill()
            own.wait()
        while living := [process for process in psutil.process_iter() if self._is_of_here(process)]:
            for process in living:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(living, PATIENCE)

    def _is_of_here(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            return process.pid != os.getpid() and Path(process.cwd()) == self.folder
        return False

    def on_terminal(self, *args: str, answer: str = "", columns: int = 100) -> tuple[int, str]:
        """Run the real command on a terminal, typing `answer`: exit code and all that the terminal showed."""
        ours, theirs = pty.openpty()
        try:
            environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns), "LINES": "50"}
            process = self.start(*args, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
            os.close(theirs)
            os.write(ours, answer.encode())
            shown = b""
            try:
                while piece := os.read(ours, 4096):
                    shown += piece
            except OSError:
                pass  # the end of a terminal is an error on Linux
            return process.wait(PATIENCE), shown.decode()
        finally:
            os.close(ours)


def pytest_itemcollected(item: pytest.Item) -> None:
    """A test here waits for several processes, one after the other, each of which may be slow where many run."""
    item.add_marker(pytest.mark.timeout(4 * PATIENCE), append=False)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    for name in ("MAINSPRING_APP", "MAINSPRING_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    project = Project(tmp_path)
    project.write("shop/__init__.py", "")
    project.write("shop/jobs.py", JOBS)
    yield project
    project.end()
    for process in project.processes:
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            app = getattr(sys.modules[name], "app", None)
            if isinstance(app, Mainspring):
                app.close()
            del sys.modules[name]
    # A package's modules without a file.
    sys.modules.pop("shop", None)


def until(holds: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Wait for a condition, and give what it came to."""
    deadline = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)
    return value
