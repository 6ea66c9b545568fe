"""What running jobs say about themselves, gathered, and written a few times a second.

Tasks write from any thread and never wait. What has not been written when a job is settled goes along with its
settlement, so that a final "100 %" is never lost.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from mainspring.errors import InvalidOption
from mainspring.model.clock import StoreClock
from mainspring.model.job import Claim, LogLine, Note
from mainspring.model.text import cut, quote
from mainspring.store.base import LOG_LINES_KEPT, AsyncDriver, NoteRequest
from mainspring.worker.outage import Outage

__all__ = ["Notebook"]

WRITE_SECONDS = 0.1
"""The shortest time between two writes."""

_PROGRESS_TEXT_BYTES = 1024
_LINE_BYTES = 8 * 1024


@dataclass(slots=True)
class _Open:
    """What one run has said since the last write."""

    lease: int
    percent: float | None = None
    text: str | None = None
    lines: list[LogLine] = field(default_factory=list)


class Notebook:
    """The unwritten notes of all runs of one worker."""

    def __init__(self, driver: AsyncDriver, clock: StoreClock) -> None:
        self._driver = driver
        self._clock = clock
        self._open: dict[str, _Open] = {}
        self._held: set[str] = set()
        """Jobs whose notes wait for their settlement, since their rows are locked by transactions of their tasks."""
        self._lock = threading.Lock()
        self._writing = asyncio.Lock()
        self._dirty: Callable[[], object] = lambda: None

    def progress(self, claim: Claim, percent: float, text: str | None) -> None:
        if not isinstance(percent, int | float) or (isinstance(percent, float) and not math.isfinite(percent)):
            raise InvalidOption(f"progress {quote(percent)} is not a number from 0 to 100")
        with self._lock:
            page = self._page(claim)
            page.percent = float(min(100, max(0, percent)))
            if text is not None:
                page.text = cut(str(text), _PROGRESS_TEXT_BYTES)

    def log(self, claim: Claim, text: str) -> None:
        line = LogLine(self._clock.now(), cut(str(text), _LINE_BYTES))
        with self._lock:
            page = self._page(claim)
            page.lines.append(line)
            del page.lines[:-LOG_LINES_KEPT]

    def hold(self, claim: Claim) -> tuple[Note, ...]:
        """The unwritten notes of a job, for somebody to write who may not come to it; until they are taken, or let go,
        nobody else writes them."""
        with self._lock:
            self._held.add(claim.id)
            page = self._open.get(claim.id)
            return () if page is None or page.lease != claim.lease else (_note(claim.id, page),)

    def let_go(self, claim: Claim) -> None:
        """The notes of a job are to be written as always."""
        with self._lock:
            self._held.discard(claim.id)
        self._dirty()

    async def take(self, ids: Iterable[str]) -> tuple[Note, ...]:
        """The unwritten notes of these jobs; they are the caller's to write now.

        Waits for a write that is under way: a note that came after its job was settled would be refused.
        """
        if not self._open and not self._writing.locked():
            return ()
        async with self._writing:
            return self._pop(ids)

    async def keep_writing(self) -> None:
        """Write whatever has gathered, again and again, until cancelled."""
        something = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._dirty = lambda: loop.call_soon_threadsafe(something.set)
        outage = Outage("progress and logs")
        try:
            while True:
                await something.wait()
                something.clear()
                async with self._writing:
                    if notes := self._pop(tuple(self._open.keys() - self._held)):
                        await outage.outlast(partial(self._driver.run, NoteRequest(notes)))
                await asyncio.sleep(WRITE_SECONDS)
        finally:
            self._dirty = lambda: None

    def _pop(self, ids: Iterable[str]) -> tuple[Note, ...]:
        with self._lock:
            ids = tuple(ids)
            self._held.difference_update(ids)
            return tuple(_note(id, self._open.pop(id)) for id in ids if id in self._open)

    def _page(self, claim: Claim) -> _Open:
        page = self._open.get(claim.id)
        if page is None or page.lease != claim.lease:
            page = self._open[claim.id] = _Open(claim.lease)
            self._dirty()
        return page


def _note(id: str, page: _Open) -> Note:
    return Note(id, page.lease, page.percent, page.text, tuple(page.lines))
