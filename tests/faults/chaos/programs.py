"""The programs of a chaos run: started, killed, stopped for a while, ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..events import Fault
from ..history import HistoryFile
from .records import clock

__all__ = ["Program"]

TESTS = Path(__file__).parents[2]


class Program:
    """One program, by the same name in all its lives."""

    def __init__(self, name: str, command: list[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self._command = [sys.executable, "-m", *command]
        self._log = folder / f"{name.replace(' ', '-')}.log"
        paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
        own = {"CHAOS_WHO": name, "CHAOS_FOLDER": str(folder), "PYTHONPATH": os.pathsep.join(paths)}
        self._environment = os.environ | dict(environment) | own
        self._history = HistoryFile(folder / f"{name.replace(' ', '-')}-fate.jsonl")
        self._process: subprocess.Popen[bytes] | None = None
        self._said_before = 0

    def fault(self, what: str) -> None:
        """Write down what is about to be done to it."""
        self._history.add(Fault(at=clock(), process=self.name, what=what))  # type: ignore[arg-type]

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def code(self) -> int | None:
        """How it ended; None: it was not started, or runs."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        if self.runs:
            return
        self.fault("begun")
        self._said_before = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment, cwd=TESTS
            )

    def kill(self) -> None:
        """kill -9."""
        self.fault("killed")
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        self.fault("frozen")
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.fault("thawed")
        self._signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Ask it to stop gracefully; asked again, at once."""
        self.fault("stopping")
        self._signal(signal.SIGTERM)

    def hurry(self) -> None:
        self.fault("hurried")
        self._signal(signal.SIGTERM)

    def wait(self, seconds: float) -> int | None:
        """How it ended; None: it did not in that time."""
        if self._process is None:
            return 0
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()

    @property
    def came_up(self) -> bool:
        """Whether this life got to its work: before that a signal ends a program as it ends any, and a worker whose
        store cannot be opened says so and ends."""
        said = self._log.read_bytes()[self._said_before :]
        return b" serves " in said or b"ready" in said

    @property
    def ended_well(self) -> bool:
        """Whether it ended as who is told to, or as who could not even begin."""
        return self.code == 0 or (self.code in (1, -15) and not self.came_up)

    def last_words(self, lines: int = 30) -> str:
        """The end of what it said."""
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)
