"""An event loop on a simulated clock: nothing waits; when nothing is to be done, it is the time of the next thing.

Each callback belongs to a strand, one for each simulated thread, and so does what it schedules. A strand that is held
does nothing until it is let go, and then all that it has missed; one that is cut never does anything again.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

__all__ = ["Loop", "Strand"]

T = TypeVar("T")
_Due = tuple[float, int, "Strand", asyncio.TimerHandle]


class Strand:
    """What happens one after the other: a thread of a simulated process."""

    def __init__(self, name: str, main: Strand | None = None, owner: object = None) -> None:
        self.name = name
        self.owner = owner
        """The process that it belongs to."""
        self.main = main or self
        """Where `call_soon_threadsafe` leads: the strand of the process's event loop."""
        self.holds = 0
        """How many things hold it."""
        self.missed: list[asyncio.Handle] = []
        self.is_cut = False


class Loop(asyncio.AbstractEventLoop):
    """Runs callbacks of strands, in an order that depends on nothing outside."""

    def __init__(self) -> None:
        self._now = 0.0
        self._ready: deque[tuple[Strand, asyncio.Handle]] = deque()
        self._timers: list[_Due] = []
        self._count = 0
        self._stopped = False
        self.strand = Strand("world")
        """Whose callback is running."""
        self.faults: list[dict[str, Any]] = []
        """What nobody caught."""

    # --- for whoever directs it ---

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run until that has ended. Tasks that are left over are closed, and reach nothing while they close."""
        asyncio._set_running_loop(self)
        try:
            main = self.create_task(coroutine)
            main.add_done_callback(lambda _: self._stop())
            while not self._stopped:
                self._step()
        finally:
            self._close_tasks()
            asyncio._set_running_loop(None)
        return main.result()

    def on(self, strand: Strand, coroutine: Coroutine[Any, Any, T], name: str | None = None) -> asyncio.Task[T]:
        """Start a task on a strand."""
        before, self.strand = self.strand, strand
        try:
            return self.create_task(coroutine, name=name)
        finally:
            self.strand = before

    def tell(self, strand: Strand, delay: float, callback: Callable[..., object], *args: Any) -> None:
        """Call something on a strand, in so many seconds."""
        self._count += 1
        handle = asyncio.TimerHandle(self._now + delay, callback, args, self)
        heapq.heappush(self._timers, (self._now + delay, self._count, strand, handle))

    def hold(self, strand: Strand, seconds: float) -> None:
        """Let a strand do nothing for so long."""
        strand.holds += 1
        self.tell(_OUTSIDE, seconds, self._let_go, strand)

    def _let_go(self, strand: Strand) -> None:
        strand.holds -= 1
        if not strand.holds:
            self._ready.extend((strand, handle) for handle in strand.missed)
            strand.missed.clear()

    def _stop(self) -> None:
        self._stopped = True

    def _step(self) -> None:
        if self._ready:
            strand, handle = self._ready.popleft()
        else:
            at, _, strand, handle = heapq.heappop(self._timers)
            if handle._cancelled or strand.is_cut:
                return
            self._now = max(self._now, at)
        if handle._cancelled or strand.is_cut:
            return
        if strand.holds:
            strand.missed.append(handle)
            return
        self.strand = strand
        handle._run()

    def _close_tasks(self) -> None:
        self._stopped = True
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            for _ in range(10):
                try:
                    task.get_coro().close()  # type: ignore[union-attr]
                except RuntimeError:
                    continue  # it has caught that, and awaits something
                except BaseException:
                    break
                break
        self._ready.clear()
        self._timers.clear()

    # --- for asyncio ---

    def time(self) -> float:
        return self._now

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append((self.strand, handle))
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append((self.strand.main, handle))
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        self._count += 1
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, self._count, self.strand, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coroutine: Coroutine[Any, Any, T], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[T]:
        if self._stopped:
            coroutine.close()
            raise RuntimeError("the world has ended")
        return asyncio.Task(coroutine, loop=self, name=name, context=context)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self._stopped

    def is_closed(self) -> bool:
        return self._stopped

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.faults.append(context)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.faults.append(context)


_OUTSIDE = Strand("outside")
