"""The heartbeat: in a thread of its own, with a connection of its own, so that nothing a job does can stop it.

It renews the worker's lease, brings what the store has to say (jobs to cancel, commands, "you are given up"), and keeps
an eye on the event loop: a job that blocks it for over a second is named in the log, with the stack it stands in.

`Pulse` decides what is done next, `PulseThread` does it.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from typing import Any, Protocol

from mainspring.errors import StoreError
from mainspring.store.base import BeatReply, BeatRequest, Presence, Store
from mainspring.worker.counters import Counters
from mainspring.worker.vitals import Vitals

__all__ = ["Beating", "Pulse", "PulseThread"]

logger = logging.getLogger("mainspring.worker")

LOOK_SECONDS = 1.0
"""How often it looks for cancelled jobs and commands, and at the loop."""
AGAIN = 4
"""How many times sooner it looks again when the store has not answered."""

Beats = Generator[float | BeatRequest, BeatReply | None, None]
"""A heartbeat under way. It yields how many seconds to wait, and what to ask the store, whose reply it is sent, or
thrown what came instead; and it ends when there is no loop any more that it could serve."""


class Pulse:
    """`presence` describes the worker; `heard` is called on the loop with what the store said, `renewed` at once with
    whose lease was renewed and when that was asked for; `running_here` tells which job a task of the loop runs. What
    `counters` have counted goes along with the beats.
    Sans-I/O: `beats` says what is to be done, and somebody else does it."""

    def __init__(
        self,
        *,
        presence: Callable[[], Presence],
        heard: Callable[[str, BeatReply], None],
        renewed: Callable[[str, float], None],
        running_here: Callable[[asyncio.Task[Any] | None], str | None],
        beat_seconds: float,
        vitals: Vitals,
        counters: Counters | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._presence = presence
        self._heard = heard
        self._renewed = renewed
        self._running_here = running_here
        self.beat_seconds = beat_seconds
        self._vitals = vitals
        self._counters = counters
        self._monotonic = monotonic
        self._silent_since: float | None = None

    def beats(self, loop: asyncio.AbstractEventLoop, loop_thread: int) -> Beats:
        """Beat for the loop that runs in that thread, for as long as somebody goes on asking what is next."""
        guard = _LoopGuard(loop, loop_thread, self._running_here, self._monotonic)
        # The first look is at once: later there might be no connection to be had.
        pause, due = 0.0, self._monotonic() + self.beat_seconds
        while True:
            yield pause
            pause = min(LOOK_SECONDS, self.beat_seconds)
            asked_at = self._monotonic()
            beating = asked_at >= due
            try:
                guard.look()
                presence = self._presence()
                reports = self._counters.report() if self._counters is not None and beating else ()
                reply = yield BeatRequest(presence, "stay" if beating else "look", reports)
            except StoreError as error:
                self._unheard(error)
                pause /= AGAIN
                continue
            except Exception:
                # Without its heart the worker would lose all its jobs, so nothing may end this.
                logger.exception("heartbeat failed; it is tried again")
                if self._counters is not None:
                    self._counters.forget()
                continue
            if self._counters is not None:
                self._counters.heard(reports)
            self._vitals.heard(renewed=beating and reply is not None and reply.alive)
            if self._silent_since is not None:
                logger.warning("heartbeat: the store answers again")
                self._silent_since = None
            if beating:
                more = self._counters is not None and self._counters.has_more
                due = self._monotonic() + (0.0 if more else self.beat_seconds)
            if beating and reply is not None and reply.alive:
                self._renewed(presence.id, asked_at)
            if reply is not None and (not reply.alive or reply.cancelled or reply.command):
                try:
                    loop.call_soon_threadsafe(self._heard, presence.id, reply)
                except RuntimeError:
                    return  # the loop is closed, and with it the worker

    def _unheard(self, error: StoreError) -> None:
        if self._silent_since is None:
            self._silent_since = self._monotonic()
            logger.warning("heartbeat: the store does not answer, trying on: %s", error)


class Beating(Protocol):
    """Whoever keeps a worker's pulse going."""

    def start(self) -> None:
        """Begin beating, for the loop that runs here."""

    async def stop(self) -> None:
        """Stop beating. Waits for a beat that is under way."""


class PulseThread:
    """Keeps a pulse going in a thread."""

    def __init__(self, pulse: Pulse, store: Store) -> None:
        self._pulse = pulse
        # Of the beats that a lease has room for, the store's silence costs one.
        self._driver = store.driver(pulse.beat_seconds)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin beating, for the loop that runs here."""
        beats = self._pulse.beats(asyncio.get_running_loop(), threading.get_ident())
        self._thread = threading.Thread(target=self._beat, args=(beats,), name="mainspring-pulse", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Stop beating. Waits for a beat that is under way."""
        await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        self._driver.close()

    def _beat(self, beats: Beats) -> None:
        try:
            step = next(beats)
            while True:
                if not isinstance(step, BeatRequest):
                    if self._stopped.wait(step):
                        return
                    step = next(beats)
                    continue
                try:
                    reply = self._driver.run(step)
                except Exception as error:  # noqa: BLE001 - the pulse decides about it
                    step = beats.throw(error)
                else:
                    step = beats.send(reply)
        except StopIteration:
            return


class _LoopGuard:
    """Notices that the loop does not get round, and says because of what: once per blockade."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        thread: int,
        running_here: Callable[[asyncio.Task[Any] | None], str | None],
        monotonic: Callable[[], float],
    ) -> None:
        self._loop = loop
        self._thread = thread
        self._running_here = running_here
        self._monotonic = monotonic
        self._answered = True
        self._asked_at = 0.0
        self._named = False

    def look(self) -> None:
        now = self._monotonic()
        if self._answered:
            self._answered, self._named, self._asked_at = False, False, now
            try:
                self._loop.call_soon_threadsafe(self._answer)
            except RuntimeError:
                return
        elif not self._named and now - self._asked_at >= 1.0:
            self._named = True
            frame = sys._current_frames().get(self._thread)
            stack = "".join(traceback.format_stack(frame)[-12:]) if frame else "(its stack cannot be had)"
            logger.warning(
                "the event loop has been blocked for %.1f s by %s: other jobs stand still meanwhile. Make it a plain "
                "function (it will run on a thread), or await something that does not block.\n%s",
                now - self._asked_at,
                self._running_here(asyncio.current_task(self._loop)) or "something outside of any job",
                stack,
            )

    def _answer(self) -> None:
        self._answered = True
