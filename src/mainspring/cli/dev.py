"""`mainspring dev`: a worker that starts anew whenever the code changes.

A small parent watches the files and runs `mainspring worker` as its child, so that the code is always imported afresh.
The child has a process group of its own: Ctrl-C reaches the parent alone, which passes it on once and waits.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType

import typer

from mainspring.cli.options import outer_place
from mainspring.cli.output import one_line, warn
from mainspring.cli.worker import AppArgument, AppOption, Concurrency, Grace, Level, LogLevel, Queues, read_queues
from mainspring.errors import ConfigurationError
from mainspring.model.durations import to_ms

__all__ = ["dev"]

LOOK_SECONDS = 0.3
"""How often the files are looked at."""
CALM_SECONDS = 0.15
"""An editor or git may write several files: how long nothing must change before the worker starts anew."""
SETTLE_SECONDS = 20.0
"""How long after its grace period a worker may take to settle."""
LEFT_OUT = frozenset({"__pycache__", "node_modules", "site-packages", "venv", "env", "build", "dist"})


def dev(
    context: typer.Context,
    app: AppArgument = None,
    app_option: AppOption = None,
    queue: Queues = None,
    concurrency: Concurrency = 10,
    grace: Grace = "5s",
    log_level: Level = LogLevel.INFO,
) -> None:
    """Run a worker that starts anew when the code changes. For development.

    \b
    mainspring dev shop.jobs:app

    It watches the *.py files in the current folder and below. Running jobs get the grace period before each new
    start; what is left runs again afterwards.
    """
    target = app or app_option or outer_place(context).named_app()
    if target is None:
        raise ConfigurationError("say which app: module:app, such as shop.jobs:app (or set $MAINSPRING_APP)")
    read_queues(queue or ())
    command = [sys.executable, "-m", "mainspring", "worker", f"--app={target}", "-c", str(concurrency)]
    command += [f"--grace={grace}", f"--log-level={log_level}", *(f"--queue={name}" for name in queue or ())]
    raise typer.Exit(_Supervisor(command, to_ms(grace) / 1000, Path.cwd()).run())


class _Supervisor:
    """Keeps one child running on the newest code, until a signal says to stop."""

    def __init__(self, command: list[str], grace: float, folder: Path) -> None:
        self._command = command
        self._grace = grace
        self._folder = folder
        self._child: subprocess.Popen[bytes] | None = None
        self._told = True
        self._stopping = False

    def run(self) -> int:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._signalled)
        seen = snapshot(self._folder)
        warn(f"watching *.py in {self._folder}")
        self._start()
        while not self._stopping:
            time.sleep(LOOK_SECONDS)
            now = snapshot(self._folder)
            if now != seen:
                changed = sorted(str(path) for path, _ in now.items() ^ seen.items())
                seen = self._calm(now)
                if not self._stopping:
                    more = f" and {len(set(changed)) - 1} more" if len(set(changed)) > 1 else ""
                    warn(f"{one_line(os.path.relpath(changed[0], self._folder))}{more} changed: starting anew")
                    self._stop()
                    self._start()
            elif self._child is not None and self._child.poll() is not None and not self._stopping:
                warn(f"the worker ended with exit code {self._child.returncode}; it starts again when a file changes")
                self._child = None
        self._stop()
        return 0

    def _calm(self, now: dict[Path, int]) -> dict[Path, int]:
        """The files once nothing changes any more."""
        while not self._stopping:
            time.sleep(CALM_SECONDS)
            before, now = now, snapshot(self._folder)
            if before == now:
                break
        return now

    def _start(self) -> None:
        if not self._stopping:
            # Of a background process group, it may not read from the terminal: better no input than standing still.
            self._child = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, process_group=0)  # noqa: S603
            self._told = False

    def _stop(self) -> None:
        """Let the child stop gracefully; kill it if it does not."""
        if self._child is None:
            return
        if not self._told:
            self._tell()
        try:
            self._child.wait(self._grace + SETTLE_SECONDS)
        except subprocess.TimeoutExpired:
            warn("the worker does not stop and is killed; its jobs run again after its lease")
            self._child.kill()
            self._child.wait()
        self._child = None

    def _tell(self) -> None:
        """Pass a signal on to the child: the first lets it stop gracefully, the second at once."""
        self._told = True
        if self._child is not None:
            with suppress(ProcessLookupError):
                self._child.terminate()

    def _signalled(self, number: int, _: FrameType | None) -> None:
        if self._stopping or not self._told:
            self._tell()
        self._stopping = True


def snapshot(folder: Path) -> dict[Path, int]:
    """When each *.py file below was changed last; hidden folders and those of other people's code are left out."""
    return dict(_files(folder))


def _files(folder: Path) -> Iterator[tuple[Path, int]]:
    for where, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if name not in LEFT_OUT and not name.startswith(".") and not os.path.exists(f"{where}/{name}/pyvenv.cfg")
        ]
        for name in names:
            if name.endswith(".py"):
                # It may be gone by now, for good or while an editor replaces it.
                with suppress(OSError):
                    path = Path(where, name)
                    yield path, path.stat().st_mtime_ns
