"""A process that runs jobs, from within: one after the other, as its worker hands them over.

The main thread runs the tasks, so that signal handlers and libraries that want it work. A second thread listens to the
worker, and a third writes what the task says about itself. Where the worker is gone, the process ends at once.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import multiprocessing.spawn
import os
import signal
import socket
import sys
import threading
import time
import traceback
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from queue import SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from mainspring.errors import InvalidOption, JobTimeout, MainspringError, UnusableTransaction, ValidationError
from mainspring.job import Job
from mainspring.model import failure
from mainspring.model.backoff import Retry
from mainspring.model.options import JobOptions
from mainspring.model.text import clean, cut
from mainspring.store.base import LOG_LINES_KEPT
from mainspring.worker import processes
from mainspring.worker.calls import call_of, veil_of
from mainspring.worker.context import Context, _current
from mainspring.worker.notebook import LINE_BYTES, PROGRESS_TEXT_BYTES, checked_percent
from mainspring.worker.output import OUTPUT_KEPT
from mainspring.worker.processes import ends, memory
from mainspring.worker.processes.orders import Order
from mainspring.worker.processes.whereabouts import load
from mainspring.worker.processes.wire import Wire
from mainspring.worker.run import Interruption, Run

if TYPE_CHECKING:
    from mainspring.task import Task

__all__ = ["main"]

INTERRUPT = signal.SIGURG
"""By this signal the main thread is interrupted: it comes through to where it waits for the system. Nothing else uses
it, and who gets one by accident ignores it."""
WRITE_SECONDS = 0.05
"""The shortest time between two writes of what a task says about itself."""
LAST_SECONDS = 5.0
"""How long it may take to end when the worker has closed the connection between two jobs."""
FRAMES_SHOWN = 12
EAGER_TO_GO = 500
"""Of 1,000: how much rather than others the system is to end this process where it has no memory left."""


def main(end: int, parent: int) -> None:
    """The whole life of the process. `end` is the file descriptor of its connection, `parent` the worker's process."""
    processes.in_job_process = True
    _go_with(parent)
    _leave_signals_to_worker()
    connection = socket.socket(fileno=end)
    connection.set_inheritable(False)
    wire = Wire(connection)
    try:
        hello = wire.receive(None) or {}
    except EOFError:
        return
    multiprocessing.spawn.prepare(hello["program"])
    desk = _Desk(wire, hello["url"], hello["log"])
    wire.send({"ready": os.getpid()})
    threading.Thread(target=desk.listen, name="mainspring-listen", daemon=True).start()
    desk.work()


def _go_with(parent: int) -> None:
    """End when the worker does, however that comes about."""
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
        with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
            score.write(str(EAGER_TO_GO))
    if os.getppid() != parent:
        os._exit(0)  # it was gone before that


def _leave_signals_to_worker() -> None:
    """A terminal and a process supervisor send theirs to all processes; when to end is the worker's business.

    They are handled, and not ignored: what is ignored stays so in the programs that a task starts.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)


def _log_like(level: int | None) -> None:
    """Log as the worker does, unless the user's modules, imported by now, have set that up themselves."""
    if level is not None:
        logging.basicConfig(level=level, format="%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")


class _Work:
    """One order under way."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.run = Run(order.claim)
        self.text = ""
        """What is said of its interruption."""
        self.inside = False
        """True while the task's own code runs on the main thread, and may be interrupted there."""
        self.task: asyncio.Task[Any] | None = None
        """Where the task is async: what runs it."""

    def interruption(self) -> BaseException:
        if self.run.interruption is Interruption.TIMED_OUT:
            return JobTimeout(self.text)
        return asyncio.CancelledError(self.text)


class _Desk:
    """Takes orders, and carries them out one at a time."""

    def __init__(self, wire: Wire, url: str, log_level: int | None) -> None:
        self._wire = wire
        self._url = url
        self._log_level = log_level
        self._orders: SimpleQueue[_Work | None] = SimpleQueue()
        self._work: _Work | None = None
        """From its arrival until its end is on its way."""
        self._main = threading.get_ident()
        self._loop: asyncio.Runner | None = None
        self._jotter = _Jotter(wire)

    # --- the listening thread ---

    def listen(self) -> None:
        """Hear the worker out."""
        try:
            while True:
                document = self._wire.receive(None) or {}
                if "order" in document:
                    self._work = _Work(Order.from_json(document["order"]))
                    self._orders.put(self._work)
                elif "stopping" in document:
                    if self._work is not None:
                        self._work.run.stopping = True
                elif self._work is not None:
                    self._interrupt(self._work, Interruption[document["interrupt"]], document["text"])
        except EOFError:
            if self._work is not None:
                os.killpg(0, signal.SIGKILL)  # with whatever the task has started
            self._orders.put(None)
            time.sleep(LAST_SECONDS)
            os.killpg(0, signal.SIGKILL)

    def _interrupt(self, work: _Work, why: Interruption, text: str) -> None:
        frame = sys._current_frames().get(self._main)
        stack = "".join(traceback.format_stack(frame)[-FRAMES_SHOWN:]) if frame else ""
        work.text = text
        work.run.interruption = why
        with suppress(OSError):
            self._wire.send({"stack": stack})
        task = work.task
        if task is not None:
            with suppress(RuntimeError):  # it has just ended, and so has its loop
                task.get_loop().call_soon_threadsafe(task.cancel)
        else:
            signal.pthread_kill(self._main, INTERRUPT)

    # --- the main thread ---

    def work(self) -> None:
        """Carry out orders until there are no more."""
        while (work := self._orders.get()) is not None:
            end = self._carry_out(work)
            self._jotter.flush()
            _flush()
            self._work = None
            self._wire.send(end)
        if self._loop is not None:
            self._loop.close()

    def _carry_out(self, work: _Work) -> dict[str, Any]:
        """Never raises, whatever the task does."""
        signal.signal(INTERRUPT, self._raise)
        order, retry = work.order, Retry()
        try:
            task = load(order.task)
            _log_like(self._log_level)
            if task._app.url != self._url:
                raise InvalidOption(
                    f"the process has {task._app.url} as its store, and the worker {self._url}: what the task enqueues "
                    "would go astray. The module that makes the app must make the same one wherever it is imported"
                )
            self._wire.send({"begun": order.claim.id})
            overrides = JobOptions.from_text(order.claim.options)
            retry = overrides.over(task.options).retry
            work.run.veil = veil_of(task, order.text, overrides)
            notebook: Any = self._jotter
            completer: Any = _NoCompleter()
            context = Context(work.run, notebook, partial(Job.claimed, task._app), task._app.flows, completer)
            _current.set(context)
            call = call_of(task, order.text, work.run, context, each=order.each)
            with _within(task, order):
                value = self._call(work, call, is_async=task.is_async)
            codec = task.result_codec
            try:
                result = codec.encode_each(value) if order.each else codec.encode(value)
            except ValidationError as error:
                return ends.unfit(error, work.run)
            return ends.completed(result, work.run.follow_ups)
        except BaseException as error:  # noqa: BLE001 - foreign code: whatever it raises is an outcome
            try:
                return ends.failed(error, work.run, retry, bounded=order.memory is not None)
            except BaseException as fault:  # noqa: BLE001 - an exception that cannot even be looked at
                return ends.failed(
                    MainspringError(failure.describe(fault, work.run.veil).message), work.run, retry, bounded=False
                )

    def _call(self, work: _Work, call: Any, *, is_async: bool) -> Any:
        memory.bound(work.order.memory)
        try:
            if is_async:
                return self._await(work, call)
            try:
                work.inside = True
                if work.run.interruption is not None:
                    raise work.interruption()
                return call()
            finally:
                work.inside = False
        finally:
            memory.bound(None)

    def _await(self, work: _Work, call: Any) -> Any:
        async def held() -> Any:
            work.task = asyncio.current_task()
            if work.run.interruption is not None:
                raise work.interruption()
            return await call()

        if self._loop is None:
            # One for all jobs: what they open (connections of the app, clients of APIs) stays open for the next.
            self._loop = asyncio.Runner()
        try:
            return self._loop.run(held(), context=contextvars.copy_context())
        except asyncio.CancelledError as error:
            if work.run.interruption is Interruption.TIMED_OUT:
                raise work.interruption() from error
            raise

    def _raise(self, number: int, frame: FrameType | None) -> None:
        """The signal's handler: Python calls it on the main thread, between two steps of whatever that does."""
        work = self._work
        if work is not None and work.inside and work.run.interruption is not None:
            work.inside = False  # once: how it then cleans up is its own business
            raise work.interruption()


def _within(task: Task[..., Any], order: Order) -> AbstractContextManager[None]:
    """For who follows the app's jobs here too: what the task does belongs to the run."""
    tracing = task._app.tracing
    return nullcontext() if tracing is None or order.trace is None else tracing.inside(order.trace)


class _Jotter:
    """Takes the place of the worker's notebook: gathers what the task says, and sends it a few times a second."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._lock = threading.Lock()
        self._something = threading.Event()
        self._percent: float | None = None
        self._text: str | None = None
        self._lines: list[str] = []
        self._tokens: list[str] = []
        self._checkpoint: str | None = None
        threading.Thread(target=self._keep_sending, name="mainspring-notes", daemon=True).start()

    def progress(self, run: Run, percent: float, text: str | None) -> None:
        percent = checked_percent(percent)
        with self._lock:
            self._percent = percent
            if text is not None:
                self._text = cut(run.shown(str(text)), PROGRESS_TEXT_BYTES)
        self._something.set()

    def log(self, run: Run, text: str) -> None:
        line = cut(run.shown(str(text)), LINE_BYTES)
        with self._lock:
            self._lines.append(line)
            del self._lines[:-LOG_LINES_KEPT]
        self._something.set()

    def output(self, run: Run, text: str) -> None:
        with self._lock:
            self._tokens.append(clean(str(text)))
        self._something.set()

    def checkpoint(self, run: Run, text: str) -> None:
        with self._lock:
            self._checkpoint = text
        self._something.set()

    def flush(self) -> None:
        """Send what there is, before anything that is sent after this."""
        with self._lock:
            said = (self._percent, self._text, self._checkpoint)
            if said == (None, None, None) and not self._lines and not self._tokens:
                return
            notes = {"percent": said[0], "text": said[1], "lines": self._lines, "checkpoint": said[2]}
            notes["output"] = "".join(self._tokens)[-OUTPUT_KEPT:]
            self._percent = self._text = self._checkpoint = None
            self._lines, self._tokens = [], []
            with suppress(OSError):
                self._wire.send({"notes": notes})

    def _keep_sending(self) -> NoReturn:
        while True:
            self._something.wait()
            self._something.clear()
            self.flush()
            time.sleep(WRITE_SECONDS)


class _NoCompleter:
    """Takes the place of what completes jobs in transactions: only the worker can find out what became of those."""

    def complete(self, run: Run, result: object, tx: object) -> NoReturn:
        raise UnusableTransaction(
            f"job {run.claim.id} ({run.claim.task}) runs in a process of its own, and complete(tx=) works only inside "
            "the worker: after a crash nobody could tell whether that was committed. Take executor= away, or return "
            "the result"
        )

    async def acomplete(self, run: Run, result: object, tx: object) -> NoReturn:
        self.complete(run, result, tx)


def _flush() -> None:
    """What a task has printed is to be seen although a later one may kill the process."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
