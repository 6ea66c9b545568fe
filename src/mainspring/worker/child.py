"""One worker process, as its supervisor sees it: from its start to its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

from mainspring.worker.health import WorkerHealth
from mainspring.worker.tether import ORDER, read_signs
from mainspring.worker.vitals import Signs

__all__ = ["DISMISSED", "Child"]

DISMISSED = 3
"""The exit code of a worker that an operator has told to stop: it wants no successor."""

SILENT_SECONDS = 5.0
"""How long a worker, which reports every second, may say nothing."""
STARTING_SECONDS = 300.0
"""How long a worker may take from its start to its first claim: some load gigabytes when they are imported."""
STOPPING_SECONDS = 60.0
"""How long a worker may take to stop, beyond the grace of its jobs."""

_NOT_INHERITED = {"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"}


class Child:
    """Starts the process: a new interpreter, which imports everything anew. Raises `OSError` where it cannot.

    It has a process group of its own: what a terminal sends to its supervisor's group does not reach it.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.setblocking(False)
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - our own command line
                    [*command, f"--tether={theirs.fileno()}"],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    process_group=0,
                    env={name: value for name, value in os.environ.items() if name not in _NOT_INHERITED},
                )
        except BaseException:
            self.socket.close()
            raise
        self.pid = self._process.pid
        self.started_at = time.monotonic()
        self.was_ready = False
        self.spared_until = self.started_at
        """Not before that is it replaced for having reached a bound."""
        self._orders = 0
        self._kill_at: float | None = None
        self._signs: Signs | None = None
        self._reported_at = 0.0
        self._heard = b""

    @property
    def name(self) -> str:
        """For people."""
        return f"worker {self._signs.name}" if self._signs else f"worker {self.pid}"

    @property
    def age(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self.started_at

    @property
    def told(self) -> bool:
        """Whether it was told to stop."""
        return self._orders > 0

    @property
    def signs(self) -> Signs | None:
        """What it has reported last, as old as that is by now."""
        return self._signs and self._signs.older(time.monotonic() - self._reported_at)

    @property
    def overdue(self) -> bool:
        """Whether it should long be ready."""
        return not self.was_ready and self.age > STARTING_SECONDS

    def read(self) -> bool:
        """Take in what it has reported. False: it will not report any more."""
        try:
            heard = self.socket.recv(65536)
        except BlockingIOError:
            return True
        except OSError:
            return False
        *lines, self._heard = (self._heard + heard).split(b"\n")
        for line in lines:
            if (signs := read_signs(line)) is not None:
                self._signs, self._reported_at = signs, time.monotonic()
                self.was_ready = self.was_ready or signs.hindrance() is None
        return bool(heard)

    def stop(self, times: int, grace: float) -> None:
        """Let it stop: gracefully, or (2 times) at once. Repeated, it changes nothing."""
        while self._orders < times:
            self._orders += 1
            allowed = STOPPING_SECONDS + (grace if self._orders == 1 else 0.0)
            self._kill_at = min(self._kill_at or float("inf"), time.monotonic() + allowed)
            # One that is gone already has no need of it.
            with suppress(OSError):
                self.socket.send(ORDER)
                if self._signs is None:
                    # It may never come to read that: an import can hang. A signal ends it where it stands.
                    os.kill(self.pid, signal.SIGTERM)

    def kill_if_stuck(self) -> bool:
        """Kill it, if it should long have stopped. True: it was killed just now."""
        if self._kill_at is None or time.monotonic() < self._kill_at:
            return False
        self._kill_at = None
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        return True

    def ended(self, status: int) -> int:
        """It was waited for, with this status. Its exit code; negative: the signal that killed it."""
        self._process.returncode = code = os.waitstatus_to_exitcode(status)
        self.socket.close()
        return code

    def health(self, state: str) -> WorkerHealth:
        """How it is, as far as one knows."""
        signs = self.signs
        if signs is None:
            late = f"it has not come up for {STARTING_SECONDS:g} s" if self.overdue else None
            return WorkerHealth("starting", self.pid, None, late, late or "it is starting")
        silent = time.monotonic() - self._reported_at
        if silent > SILENT_SECONDS:
            reason = f"it has not reported for {silent:.0f} s"
            return WorkerHealth(state, self.pid, signs, reason, reason)
        return WorkerHealth.of(signs, state)
