"""Whether a worker is well: what its parts have seen last, and what follows from that.

Its truth is what the worker itself has achieved: the last claim and the last heartbeat that the store answered. That
its process is there, or that a server can be reached, says nothing: workers have been alive and deaf for days.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from mainspring.model.durations import span

__all__ = ["READY_SECONDS", "Signs", "Vitals", "checked", "resident"]

logger = logging.getLogger("mainspring.worker")

LOOP_SECONDS = 5.0
"""How long the event loop may owe an answer. Jobs that block it for a second are only named in the log."""
READY_SECONDS = 5.0
"""How old the last claim and the last word of the store may be: a worker asks for both every second."""
LOOK_SECONDS = 1.0
START_LOOK_SECONDS = 0.1
"""How often one looks at a worker, and at one that is not ready yet."""


@dataclass(frozen=True, slots=True)
class Signs:
    """A worker as it finds itself at one moment. Ages are in seconds; None: it has not happened yet."""

    name: str
    pid: int
    age: float
    lease: float
    claim_age: float | None
    """Since the store last answered a claim, if only to say that there is nothing."""
    full_age: float | None
    """Since there was last no reason to claim: no room, or nothing wanted."""
    beat_age: float | None
    """Since the store last renewed the lease."""
    heard_age: float | None
    """Since the store last answered the heart at all."""
    loop_age: float
    """How long the event loop has owed an answer."""
    running: int
    begun: int
    """How many jobs it has begun so far."""
    memory: int
    """In bytes, resident."""
    quiet: bool
    stopping: bool

    def ailment(self) -> str | None:
        """Why it is not healthy; None: it is."""
        silent = self.age if self.beat_age is None else self.beat_age
        if silent > self.lease:
            return f"no heartbeat has been answered for {span(silent)}, longer than its lease of {span(self.lease)}"
        if self.loop_age > LOOP_SECONDS:
            return f"its event loop has been blocked for {span(self.loop_age)}"
        return None

    def hindrance(self) -> str | None:
        """Why it is not ready for jobs; None: it is."""
        if self.stopping or self.quiet:
            return "it is stopping" if self.stopping else "it is quiet"
        if (ailment := self.ailment()) is not None:
            return ailment
        if self.claim_age is None or self.heard_age is None:
            return "it has not claimed yet"
        # A worker whose hands are full does not claim; that is no reason to doubt it.
        claimed = self.claim_age if self.full_age is None else min(self.claim_age, self.full_age)
        if claimed > READY_SECONDS:
            return f"its last successful claim was {span(claimed)} ago"
        if self.heard_age > READY_SECONDS:
            return f"the store has not answered its heart for {span(self.heard_age)}"
        return None

    def older(self, seconds: float) -> Signs:
        """The same, so much later, if nothing has happened since."""

        def later(age: float | None) -> float | None:
            return None if age is None else age + seconds

        return replace(
            self,
            age=self.age + seconds,
            claim_age=later(self.claim_age),
            full_age=later(self.full_age),
            beat_age=later(self.beat_age),
            heard_age=later(self.heard_age),
        )


class Vitals:
    """What the parts of one worker tell about themselves. Told from the loop and the heart's thread, read from any."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._began_at = now()
        self._claimed_at: float | None = None
        self._full_at: float | None = None
        self._beat_at: float | None = None
        self._heard_at: float | None = None
        self._asked_at: float | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: Callable[[], int] = lambda: 0
        self.begun = 0
        """How many jobs the worker has begun."""

    def attach(self, loop: asyncio.AbstractEventLoop, running: Callable[[], int]) -> None:
        """The worker's parts are there: the loop on which they run, and how many jobs they have in hands."""
        self._loop, self._running = loop, running

    def claimed(self) -> None:
        """The store has answered a claim."""
        self._claimed_at = self._now()

    def full(self) -> None:
        """There is no reason to claim just now."""
        self._full_at = self._now()

    def heard(self, *, renewed: bool) -> None:
        """The store has answered the heart, and perhaps renewed the lease."""
        self._heard_at = self._now()
        if renewed:
            self._beat_at = self._heard_at

    def ask_loop(self) -> None:
        """Ask the loop whether it gets round, if it does not owe an answer already."""
        if self._loop is None or self._asked_at is not None:
            return
        self._asked_at = self._now()
        try:
            self._loop.call_soon_threadsafe(self._loop_answers)
        except RuntimeError:
            self._asked_at = None  # it is closed, and with it the worker

    def _loop_answers(self) -> None:
        self._asked_at = None

    def signs(self, name: str, lease: float, *, quiet: bool, stopping: bool) -> Signs:
        """How things stand now."""
        now = self._now()

        def age(moment: float | None) -> float | None:
            return None if moment is None else now - moment

        return Signs(
            name=name,
            pid=os.getpid(),
            age=now - self._began_at,
            lease=lease,
            claim_age=age(self._claimed_at),
            full_age=age(self._full_at),
            beat_age=age(self._beat_at),
            heard_age=age(self._heard_at),
            loop_age=age(self._asked_at) or 0.0,
            running=self._running(),
            begun=self.begun,
            memory=resident(),
            quiet=quiet,
            stopping=stopping,
        )


@contextmanager
def checked(vitals: Vitals, signs: Callable[[], Signs], *looks: Callable[[Signs], Any]) -> Iterator[None]:
    """Meanwhile the signs are shown once a second to each of `looks`, on a thread that no job can hold up; and once
    more at the end."""
    ended = threading.Event()

    def look() -> float:
        vitals.ask_loop()
        try:
            seen = signs()
            for show in looks:
                show(seen)
        except Exception:
            logger.exception("a look at the worker's health failed; there will be others")
            return LOOK_SECONDS
        return START_LOOK_SECONDS if seen.claim_age is None else LOOK_SECONDS

    def keep_looking() -> None:
        pause = START_LOOK_SECONDS
        while not ended.wait(pause):
            pause = look()

    thread = threading.Thread(target=keep_looking, name="mainspring-vitals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=5)
        look()


def resident() -> int:
    """How many bytes of memory this process has."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        import resource

        # Where there is no /proc: the most that it ever had, in bytes on macOS and in KiB elsewhere.
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if os.uname().sysname == "Darwin" else most * 1024
