"""One process that runs jobs, as the worker sees it: started, given orders, measured, killed."""

from __future__ import annotations

import json
import logging
import multiprocessing.spawn
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from mainspring.errors import ProcessCrashed
from mainspring.worker.processes import memory
from mainspring.worker.processes.ends import too_much
from mainspring.worker.processes.orders import Order
from mainspring.worker.processes.wire import Wire

__all__ = ["Child", "Gone", "Listener", "Program"]

logger = logging.getLogger("mainspring.worker")

LOOK_SECONDS = 0.1
"""How often a job's memory is looked at."""
IDLE_LOOK_SECONDS = 1.0
"""How often it is looked whether a process is there still that holds its connection open, or seems to."""
START_SECONDS = 60.0
"""How long a process may take to start, and to import what it needs."""
END_SECONDS = 2.0
"""How long a process may take to end by itself when it is not needed any more."""
DEATH_SECONDS = 10.0
"""How long a killed process may take to die; one that hangs in the kernel is left behind."""

DYING_LOOK_SECONDS = 0.005
"""How often it is looked whether one that should end has done so."""

_CODE = (
    "import json, os, sys; sys.path[:] = json.loads(os.environ.pop({path!r})); "
    "from mainspring.worker.processes.inside import main; main({end}, {parent})"
)
_PATH = "MAINSPRING_PROCESS_PATH"


class Gone(Exception):
    """The process has ended before it began with the job, to which nothing has happened. Its text says how it ended."""


class Listener:
    """Is told what a job's process says meanwhile, on the thread that waits for it."""

    def begun(self) -> None:
        """The task begins now."""

    def noted(
        self, percent: float | None, text: str | None, lines: list[str], checkpoint: str | None, output: str
    ) -> None:
        """It has said something about itself."""

    def stands(self, stack: str) -> None:
        """Where it stood when it was interrupted."""


@dataclass(frozen=True, slots=True)
class Program:
    """What a process needs to know of this one, to become like it without being a copy of it."""

    url: str
    """Where the store is, by which it can tell whether it has the same."""
    log_level: int | None
    prepare: Mapping[str, Any]

    @classmethod
    def here(cls, url: str, *, with_main: bool) -> Program:
        """This program. `with_main`: its tasks are in the script that was started, which is to be run there too, but
        not as `__main__`; the standard library's `multiprocessing` does just that."""
        data = multiprocessing.spawn.get_preparation_data("mainspring job process")
        wanted = ["name", "sys_path", "sys_argv", "orig_dir", "dir"]
        wanted += ["init_main_from_name", "init_main_from_path"] if with_main else []
        root = logging.getLogger()
        return cls(url, root.level if root.handlers else None, {key: data[key] for key in wanted if key in data})


class Child:
    """A process, and the thread that uses this. Only `interrupt` and `kill` are for other threads."""

    def __init__(self, program: Program) -> None:
        """Start it. Raises `Gone` where it does not get so far as to take orders."""
        self.jobs = 0
        """How many it has run."""
        self._lock = threading.Lock()
        """Held to kill, and while it becomes a fact that there is nothing to kill any more."""
        self._killed = False
        self._begun = False
        self._interruption: dict[str, Any] | None = None
        """What is to be said as soon as the job has begun."""
        self._warned = False
        """The job is to hear, as soon as it has begun, that its worker stops."""
        here, there = socket.socketpair()
        self._wire = Wire(here)
        try:
            with there:
                self._process = _start(there)
        except BaseException:
            here.close()
            raise
        try:
            self._wire.send({"url": program.url, "log": program.log_level, "program": dict(program.prepare)})
            if self._wire.receive(START_SECONDS) is None:
                self._give_up_start()
        except (EOFError, OSError):
            raise Gone(self._how_it_ended()) from None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        with self._lock:
            if self._process.returncode is not None:
                return False
            if sys.platform == "darwin":
                return self._process.poll() is None
            # Not reaped yet, so that its number stays that of its group, and of nobody else.
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    @property
    def memory(self) -> int:
        """How many bytes it has in use."""
        return memory.resident(self.pid)

    def run(self, order: Order, listener: Listener) -> dict[str, Any]:
        """What became of the job. Raises `Gone`, `ProcessCrashed`, or `MemoryExceeded`; after these, the process is no
        more."""
        self.jobs += 1
        try:
            self._wire.send({"order": order.to_json()})
            return self._converse(order, listener)
        except (EOFError, OSError):
            how = self._how_it_ended()
            if not self._begun:
                raise Gone(how) from None
            raise ProcessCrashed(f"the process that ran the job {how}") from None
        finally:
            with self._lock:
                self._begun, self._interruption, self._warned = False, None, False

    def _converse(self, order: Order, listener: Listener) -> dict[str, Any]:
        pause = IDLE_LOOK_SECONDS if order.memory is None else LOOK_SECONDS
        began = looked = time.monotonic()
        while True:
            alive = self.alive
            document = self._wire.receive(pause if alive else 0)
            if document is None and not alive:
                # Its own end of the connection is held open by a process that it has left behind.
                raise EOFError
            now = time.monotonic()
            if document is None or now - looked >= pause:
                looked = now
                self._look(order, overdue=not self._begun and now - began > START_SECONDS)
            match document:
                case None:
                    pass
                case {"end": _}:
                    return document
                case {"notes": notes}:
                    listener.noted(
                        notes["percent"], notes["text"], notes["lines"], notes["checkpoint"], notes["output"]
                    )
                case {"begun": _}:
                    listener.begun()
                    self._begin()
                case {"stack": stack}:
                    listener.stands(stack)

    def _look(self, order: Order, *, overdue: bool) -> None:
        """Whether all is well with it."""
        if overdue:
            self._give_up_start()
        if order.memory is not None and self.memory > order.memory:
            self.kill()
            self._how_it_ended()
            raise too_much(order.memory)

    def _give_up_start(self) -> NoReturn:
        self.kill()
        self._how_it_ended()
        raise Gone(f"was not ready after {START_SECONDS:g} s")

    def _begin(self) -> None:
        with self._lock:
            self._begun = True
            waiting, warned = self._interruption, self._warned
        if warned:
            self._wire.send({"stopping": True})
        if waiting is not None:
            self._wire.send(waiting)

    def warn(self) -> None:
        """Tell the task, as soon as it has begun, that the worker stops."""
        with self._lock:
            self._warned = True
            if not self._begun:
                return
        with suppress(OSError):
            self._wire.send({"stopping": True})

    def interrupt(self, why: str, text: str) -> None:
        """Raise in the task, as soon as it has begun."""
        document = {"interrupt": why, "text": text}
        with self._lock:
            if not self._begun:
                self._interruption = document
                return
        with suppress(OSError):
            self._wire.send(document)

    def kill(self) -> None:
        """End it now, with all that it has started."""
        with self._lock:
            self._killed = True
            if self._process.returncode is None:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Let it end by itself, or else kill it."""
        self._wire.close()
        if not self._dies_in(END_SECONDS):
            self.kill()
        self._reap()

    def _how_it_ended(self) -> str:
        """Called when its connection has broken off; after this it is no more, nor what it had started."""
        hung_up = not self._dies_in(END_SECONDS) and not self._killed
        self.kill()
        self._reap()
        self._wire.close()
        return "closed its connection to the worker, and was killed" if hung_up else _how(self._process.returncode)

    def _dies_in(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.alive:
            if time.monotonic() > deadline:
                return False
            time.sleep(DYING_LOOK_SECONDS)
        return True

    def _reap(self) -> None:
        if not self._dies_in(DEATH_SECONDS):
            logger.error("process %d was killed, and does not die; it is left behind", self.pid)
            return
        with self._lock:
            self._process.wait()


def _start(there: socket.socket) -> subprocess.Popen[bytes]:
    """A fresh interpreter: no copy of this process, whose threads, locks and connections would not survive that."""
    end = there.fileno()
    # In a session of its own: Ctrl-C in a terminal goes to a whole group, and so does killing it with all its children.
    return subprocess.Popen(  # noqa: S603 - this program's own interpreter and code
        [
            multiprocessing.spawn.get_executable(),
            *subprocess._args_from_interpreter_flags(),  # type: ignore[attr-defined]
            "-c",
            _CODE.format(path=_PATH, end=end, parent=os.getpid()),
        ],
        env=os.environ | {_PATH: _json_of_path()},
        pass_fds=[end],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def _json_of_path() -> str:
    return json.dumps([place or os.getcwd() for place in sys.path])


def _how(code: int | None) -> str:
    if code is None:
        return "hangs in the kernel"
    if code >= 0:
        return f"ended with exit status {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    hint = ", by somebody, or by the system for want of memory" if -code == signal.SIGKILL else ""
    return f"was killed by {name}{hint}"
