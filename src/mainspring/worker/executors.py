"""Where plain functions run: threads that never keep the program from ending.

The standard library's pool waits, when the program ends, for every function to return. A worker that has used up its
grace has handed those jobs back already, and must not hang on them; so these threads are daemons.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

__all__ = ["Threads"]

_Call = tuple[contextvars.Context, Callable[[], Any], "asyncio.Future[Any]"]


class Threads:
    """At most `limit` threads, each started when there is no idle one. Used from one event loop.

    A thread whose function nobody waits for any more may never come back; until it does, another takes its place.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._under_way = 0
        self._started = 0
        self._numbers = itertools.count(1)

    def run(self, function: Callable[[], Any]) -> asyncio.Future[Any]:
        """Call `function` on a thread, in a copy of the caller's context; the future brings what it returns or raises.

        Cancelling the future leaves the thread to itself: what the function gives later is dropped. A function that has
        not begun by then never does.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.add_done_callback(self._if_given_up)
        self._calls.put((contextvars.copy_context(), function, future))
        self._under_way += 1
        self._start_as_needed(future.get_loop())
        return future

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
            context, function, future = call
            if future.cancelled():
                function = _nothing
            result: Any = None
            error: BaseException | None = None
            try:
                result = context.run(function)
            except BaseException as raised:  # noqa: BLE001 - foreign code; the future brings it to who asked
                error = raised
            try:
                loop.call_soon_threadsafe(self._done, future, result, error)
            except RuntimeError:
                return  # the loop is closed: nobody waits for this any more
            del call, context, function, future, result, error

    def _done(self, future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        self._under_way -= 1
        if future.cancelled():
            self._limit -= 1
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(_carried(error))


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
    """What is called in the place of a function that nobody waits for any more."""
