"""`mainspring dev`: a worker and the dashboard, which start anew whenever the code changes.

A small parent watches the files and runs `mainspring worker` and `mainspring web` as its children, so that the code is
always imported afresh. The socket on which the dashboard is served is the parent's, so a browser that asks while it
starts anew waits, and is not refused. The children have process groups of their own: Ctrl-C reaches the parent alone,
which passes it on once and waits.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from mainspring.cli.options import outer_place
from mainspring.cli.output import one_line, warn
from mainspring.cli.worker import AppArgument, AppOption, Concurrency, Grace, Level, LogLevel, Queues, read_queues
from mainspring.errors import ConfigurationError
from mainspring.model.durations import to_ms
from mainspring.web import require_extra

__all__ = ["dev"]

LOOK_SECONDS = 0.3
"""How often the files are looked at."""
CALM_SECONDS = 0.15
"""An editor or git may write several files: how long nothing must change before the worker starts anew."""
SETTLE_SECONDS = 20.0
"""How long after its grace period a worker may take to settle."""
PORTS_TRIED = 20
LEFT_OUT = frozenset({"__pycache__", "node_modules", "site-packages", "venv", "env", "build", "dist"})

Port = Annotated[int, typer.Option(min=1, max=65535, metavar="N", help="Where the dashboard is served.")]
Web = Annotated[bool, typer.Option("--web/--no-web", help="Whether it is.")]


def dev(
    context: typer.Context,
    app: AppArgument = None,
    app_option: AppOption = None,
    queue: Queues = None,
    concurrency: Concurrency = 10,
    grace: Grace = "5s",
    log_level: Level = LogLevel.INFO,
    port: Port = 8000,
    web: Web = True,
) -> None:
    """Run a worker and the dashboard, which start anew when the code changes. For development.

    \b
    mainspring dev shop.jobs:app

    It watches the *.py files in the current folder and below. Running jobs get the grace period before each new
    start; what is left runs again afterwards. The dashboard is for this machine alone; where its port is taken, the
    next one that is free is used.
    """
    target = app or app_option or outer_place(context).named_app()
    if target is None:
        raise ConfigurationError("say which app: module:app, such as shop.jobs:app (or set $MAINSPRING_APP)")
    read_queues(queue or ())
    command = [sys.executable, "-m", "mainspring", "worker", f"--app={target}", "-c", str(concurrency)]
    command += [f"--grace={grace}", f"--log-level={log_level}", *(f"--queue={name}" for name in queue or ())]
    children = [Child("worker", command, to_ms(grace) / 1000 + SETTLE_SECONDS)]
    with ExitStack() as open_meanwhile:
        listening = _listening(port) if web else None
        if listening is not None:
            open_meanwhile.enter_context(listening)
            command = [sys.executable, "-m", "mainspring", "web", f"--app={target}", f"--log-level={log_level}"]
            command += [f"--listen-on={listening.fileno()}"]
            children.append(Child("dashboard", command, SETTLE_SECONDS, (listening.fileno(),)))
        raise typer.Exit(_Supervisor(children, Path.cwd()).run())


def _listening(port: int) -> socket.socket | None:
    """Where the dashboard is served: on that port or, where it is taken, one of the next. None: it cannot be."""
    try:
        require_extra()
    except ConfigurationError as error:
        warn(f"no dashboard: {error}")
        return None
    from mainspring.web.serve import AddressInUse, listen

    for each in range(port, min(port + PORTS_TRIED, 65536)):
        with suppress(AddressInUse):
            return listen("127.0.0.1", each, authenticated=False)
    warn(f"no dashboard: port {port} and the next ones are taken; name another one, by --port")
    return None


@dataclass(slots=True)
class Child:
    """A command that runs on the newest code, as a process of its own."""

    name: str
    command: list[str]
    patience: float
    """How many seconds it may take to end."""
    descriptors: tuple[int, ...] = ()
    """What it is handed down."""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        # Of a background process group, it may not read from the terminal: better no input than standing still.
        self.process = subprocess.Popen(  # noqa: S603
            self.command, stdin=subprocess.DEVNULL, process_group=0, pass_fds=self.descriptors
        )

    def tell(self) -> None:
        """Pass a signal on to it: the first lets it stop gracefully, the second at once."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.terminate()

    def end(self) -> None:
        """Wait for it to end once it was told to; kill it if it does not."""
        if self.process is None:
            return
        try:
            self.process.wait(self.patience)
        except subprocess.TimeoutExpired:
            warn(f"the {self.name} does not stop and is killed; jobs that it runs, run again after its lease")
            self.process.kill()
            self.process.wait()
        self.process = None

    def has_ended(self) -> int | None:
        """Its exit code, once, if it has ended by itself."""
        if self.process is None or self.process.poll() is None:
            return None
        code, self.process = self.process.returncode, None
        return code


class _Supervisor:
    """Keeps its children running on the newest code, until a signal says to stop."""

    def __init__(self, children: list[Child], folder: Path) -> None:
        self._children = children
        self._folder = folder
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
            elif not self._stopping:
                self._look()
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

    def _look(self) -> None:
        """Say so where one has ended by itself."""
        for child in self._children:
            code = child.has_ended()
            if code is not None:
                warn(f"the {child.name} ended with exit code {code}; it starts again when a file changes")

    def _start(self) -> None:
        if not self._stopping:
            for child in self._children:
                child.start()
            self._told = False

    def _stop(self) -> None:
        """Let the children stop gracefully; kill those that do not."""
        if not self._told:
            self._tell()
        for child in self._children:
            child.end()

    def _tell(self) -> None:
        self._told = True
        for child in self._children:
            child.tell()

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
