"""Where plain functions run: threads that never keep the program from ending.

The standard library's pool waits, when the program ends, for every function to return. A worker that has used up its
grace has handed those jobs back already, and must not hang on them; so these threads are daemons.

A thread cannot be stopped from outside, but an exception can be raised in it, wherever its Python code stands at the
moment. One that waits in a system call or in a C extension finds it when it comes back from there.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import sys
import threading
import traceback
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from mainspring.errors import JobTimeout
from mainspring.worker.run import Interruption

__all__ = ["Call", "Threads"]

FRAMES_SHOWN = 12


class Call:
    """One function on its way through a thread; `future` brings what comes of it."""

    __slots__ = ("_context", "_function", "_interrupted", "_lock", "_refused", "_thread", "error", "future", "result")

    def __init__(self, function: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None
        self._function = function
        self._context = contextvars.copy_context()
        self._thread: int | None = None
        self._interrupted = False
        self._refused: BaseException | None = None
        """What is to be raised in the function. If it has not begun by then, it never does."""
        # Whoever holds it may raise in the thread. The thread takes it when the function has ended, for good.
        self._lock = threading.RLock()

    def perform(self) -> None:
        """Call the function, on this thread."""
        if self.future.cancelled():
            return
        self._thread = threading.get_ident()
        try:
            try:
                if self._refused is not None:
                    raise self._refused
                self.result = self._context.run(self._function)
            except BaseException as raised:  # noqa: BLE001 - foreign code; the future brings it to who asked
                self.error = raised
            self._close()
        except BaseException as late:  # noqa: BLE001 - what was raised from outside came as the function ended
            self.error = self.error or late
            self._close()

    def ask(self, times: int, why: Interruption, text: str) -> bool:
        """A cancelled function has a grace in which to look at `ctx.cancelled`; one that is late knows its timeout."""
        if why is Interruption.CANCELLED and times == 1:
            return True
        if times > (2 if why is Interruption.CANCELLED else 1 if why is Interruption.TIMED_OUT else 0):
            return False
        self.raise_inside(JobTimeout if why is Interruption.TIMED_OUT else asyncio.CancelledError, text)
        return True

    def raise_inside(self, kind: type[BaseException], text: str) -> None:
        """Raise an exception in the function, if it runs. If it has not begun yet, that is what it comes to."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            self._refused = kind(text)
            if self._thread is not None:
                self._interrupted = True
                _raise_in(self._thread, _saying(kind, text))
        finally:
            self._lock.release()

    def warn(self) -> None:
        """It looks by itself: what it has is the run."""

    def where(self) -> str:
        frame = sys._current_frames().get(self._thread or 0)
        stack = "".join(traceback.format_stack(frame)[-FRAMES_SHOWN:]) if frame else "(its stack cannot be had)"
        return f"its thread is left behind, and another takes its place. It stands at:\n{stack}"

    def _close(self) -> None:
        self._lock.acquire()
        if self._interrupted and self._thread is not None:
            _raise_in(self._thread, None)
        self._function = _nothing
        del self._context


class Threads:
    """At most `limit` threads, each started when there is no idle one. Used from one event loop.

    A thread whose function nobody waits for any more may never come back; until it does, another takes its place.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._under_way = 0
        self._started = 0
        self._numbers = itertools.count(1)

    def run(self, function: Callable[[], Any]) -> asyncio.Future[Any]:
        """Call `function` on a thread, in a copy of the caller's context; the future brings what comes of it."""
        return self.call(function).future

    def call(self, function: Callable[[], Any]) -> Call:
        """The same for who may want to interrupt it.

        Cancelling the future leaves the thread to itself: what the function gives later is dropped. A function that has
        not begun by then never does.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        call = Call(function, future)
        future.add_done_callback(self._if_given_up)
        self._calls.put(call)
        self._under_way += 1
        self._start_as_needed(future.get_loop())
        return call

    def close(self) -> None:
        """Let the idle threads end, and the others when they get there."""
        for _ in range(self._started):
            self._calls.put(None)

    def _start_as_needed(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._started < min(self._under_way, self._limit):
            self._started += 1
            name = f"mainspring-job-{next(self._numbers)}"
            threading.Thread(target=self._work, args=(loop,), name=name, daemon=True).start()

    def _if_given_up(self, future: asyncio.Future[Any]) -> None:
        if future.cancelled() and self._limit:
            self._limit += 1
            self._start_as_needed(future.get_loop())

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while (call := self._calls.get()) is not None:
            call.perform()
            try:
                loop.call_soon_threadsafe(self._done, call)
            except RuntimeError:
                return  # the loop is closed: nobody waits for this any more
            del call

    def _done(self, call: Call) -> None:
        self._under_way -= 1
        future = call.future
        if future.cancelled():
            self._limit -= 1
            return
        if call.error is None:
            future.set_result(call.result)
        else:
            future.set_exception(_carried(call.error))


def _raise_in(thread: int, exception: type[BaseException] | None) -> None:
    """Let that exception be raised in a thread; None: take back one that has not been raised yet."""
    import ctypes

    what = ctypes.py_object() if exception is None else ctypes.py_object(exception)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), what)


def _saying(kind: type[BaseException], text: str) -> type[BaseException]:
    """A type of exception that says this, since only types can be raised in another thread."""

    def make(self: BaseException) -> None:
        kind.__init__(self, text)

    return type(kind.__name__, (kind,), {"__init__": make, "__module__": kind.__module__})


def _carried(error: BaseException) -> BaseException:
    """The error, in a wrapper where a future would refuse it, or the loop or who awaits it would end because of it."""
    # Its type, not `isinstance`, which asks the exception itself for its `__class__`.
    if issubclass(type(error), StopIteration | GeneratorExit | KeyboardInterrupt | SystemExit):
        # Its text is foreign code, so it is left to `failure.describe`, by way of the cause.
        carrier = RuntimeError(f"the task raised {type(error).__name__}")
        carrier.__cause__ = error
        return carrier
    return error


def _nothing() -> None:
    """What is left of a function that has ended."""
