"""Tells observers what happened, after the store has it, and never lets them touch a job's fate."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from mainspring.model.job import Claim
from mainspring.model.outcome import Verdict
from mainspring.model.states import State
from mainspring.model.text import quote
from mainspring.worker.executors import Threads
from mainspring.worker.settler import Settled

if TYPE_CHECKING:
    from mainspring.events import Event, EventName, Observer

__all__ = ["Observers", "event_name"]

logger = logging.getLogger("mainspring.worker")

_BY_STATE: dict[State, EventName] = {
    State.COMPLETED: "completed",
    State.DEAD: "dead",
    State.CANCELLED: "cancelled",
}
_BY_VERDICT: dict[Verdict, EventName] = {
    Verdict.FAILED: "retried",
    Verdict.SNOOZED: "snoozed",
    Verdict.RATE_LIMITED: "snoozed",
    Verdict.LOST: "crashed",
    Verdict.UNKNOWN: "parked",
    Verdict.RETURNED: "returned",
}


def event_name(settled: Settled) -> EventName:
    """What observers are told about a run that was settled."""
    return _BY_STATE.get(settled.settlement.state) or _BY_VERDICT[settled.outcome.verdict]


class Observers:
    """`event` makes the event that observers get; they are called one after the other, plain ones on a thread."""

    def __init__(
        self,
        observers: Mapping[EventName, Sequence[Observer]],
        event: Callable[[EventName, Claim, Settled | None], Event],
    ) -> None:
        self._observers = observers
        self._event = event
        self._queue: asyncio.Queue[tuple[EventName, Claim, Settled | None]] = asyncio.Queue()
        self._threads = Threads(1)

    def started(self, claim: Claim) -> None:
        if self._observers.get("started"):
            self._queue.put_nowait(("started", claim, None))

    def settled(self, batch: Sequence[Settled]) -> None:
        if not self._observers:
            return
        for settled in batch:
            name = event_name(settled)
            if self._observers.get(name):
                self._queue.put_nowait((name, settled.claim, settled))

    async def keep_telling(self) -> None:
        """Tell what comes in, in order, until cancelled."""
        while True:
            name, claim, settled = await self._queue.get()
            try:
                event = self._event(name, claim, settled)
                for observer in self._observers[name]:
                    await self._tell(observer, event)
            finally:
                self._queue.task_done()

    def close(self) -> None:
        """Let go of the thread."""
        self._threads.close()

    async def drain(self) -> None:
        """Wait until everything has been told."""
        await self._queue.join()

    async def _tell(self, observer: Observer, event: Event) -> None:
        try:
            if inspect.iscoroutinefunction(observer):
                await observer(event)
            else:
                await self._threads.run(partial(observer, event))
        except BaseException:
            # Foreign code may raise anything, CancelledError and SystemExit too, and it may swallow anything: only a
            # cancellation that was really asked for ends the telling, and that one does.
            logger.exception("observer %s failed on %s of job %s", quote(observer), event.name, event.job.id)
        telling = asyncio.current_task()
        if telling is not None and telling.cancelling():
            raise asyncio.CancelledError
