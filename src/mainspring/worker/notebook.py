"""What running jobs say about themselves, and save of their work: gathered, and written a few times a second.

Tasks write from any thread and never wait. What is not known to be written when a job is settled goes along with its
settlement, so that a final "100 %" is never lost. Writing something twice is no harm: a run numbers its log lines, and
the store knows them by that. So all is kept here, and given to everybody who may write it, until the store has said
that it has it, or that the job is not the run's own any more.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from mainspring.errors import InvalidOption
from mainspring.model.clock import StoreClock
from mainspring.model.job import Claim, LogLine, Note
from mainspring.model.text import clean, cut, quote
from mainspring.store.base import LOG_LINES_KEPT, AsyncDriver, NoteRequest, in_portions, portions
from mainspring.worker.outage import Outage
from mainspring.worker.output import OUTPUT_KEPT, Output, in_pieces
from mainspring.worker.run import Run

__all__ = ["LINE_BYTES", "PORTIONS", "PROGRESS_TEXT_BYTES", "Notebook", "checked_percent", "size"]

WRITE_SECONDS = 0.1
"""The shortest time between two writes."""

PORTIONS = 500
"""How large one write may be: 16 MiB or so."""

PROGRESS_TEXT_BYTES = 1024
LINE_BYTES = 8 * 1024


@dataclass(slots=True)
class _Page:
    """What one run has said and the store has not acknowledged."""

    run: Run
    percent: float | None = None
    text: str | None = None
    checkpoint: str | None = None
    lines: list[LogLine] = field(default_factory=list)
    """The last ones of the run."""
    pieces: list[str] = field(default_factory=list)
    """The last ones of its output that are numbered: what is numbered is not changed any more."""
    tokens: list[str] = field(default_factory=list)
    """What it has put out since."""
    waiting: int = 0
    """How many characters that is."""
    held: bool = False
    """Not to be written until its job is settled: the job's row is locked by a transaction of its task's."""

    @property
    def lease(self) -> int:
        return self.run.claim.lease

    @property
    def output(self) -> Output:
        if self.run.output is None:
            self.run.output = Output()
        return self.run.output

    @property
    def is_empty(self) -> bool:
        said = self.lines or self.pieces or self.tokens
        return not said and self.percent is None and self.text is None and self.checkpoint is None

    def note(self) -> Note:
        self.number()
        first, output = self.run.logged - len(self.lines), self.output
        return Note(
            self.run.claim.id,
            self.lease,
            self.percent,
            self.text,
            tuple(self.lines),
            first,
            self.checkpoint,
            tuple(self.pieces),
            output.count - len(self.pieces),
            output.kept_from,
        )

    def put_out(self, text: str) -> None:
        self.tokens.append(text)
        self.waiting += len(text)
        if self.waiting > OUTPUT_KEPT:
            self.number()

    def number(self) -> None:
        """What has gathered is one piece, or several if it is much."""
        for piece in in_pieces("".join(self.tokens)):
            self.pieces.append(piece)
            self.output.add(piece)
        self.tokens.clear()
        self.waiting = 0
        kept = self.output.count - self.output.kept_from
        del self.pieces[: max(0, len(self.pieces) - kept)]

    def acknowledge(self, note: Note) -> None:
        """The store has that much; more may have come since it was sent."""
        left = self.run.logged - (note.first + len(note.lines))
        del self.lines[: max(0, len(self.lines) - left)]
        left = self.output.count - (note.first_piece + len(note.pieces))
        del self.pieces[: max(0, len(self.pieces) - left)]
        if self.percent == note.progress:
            self.percent = None
        if self.text == note.progress_text:
            self.text = None
        if self.checkpoint == note.checkpoint:
            self.checkpoint = None


def size(note: Note) -> int:
    """How many portions of a request it takes up."""
    return portions(note.checkpoint, *(line.text for line in note.lines), *note.pieces)


class Notebook:
    """The notes of all runs of one worker, as far as they are not known to be written. A run that has said nothing, or
    nothing new, has no page here."""

    def __init__(self, driver: AsyncDriver, clock: StoreClock) -> None:
        self._driver = driver
        self._clock = clock
        self._pages: dict[str, _Page] = {}
        """By job."""
        self._lock = threading.Lock()
        self._writing = asyncio.Lock()
        self._sent: frozenset[str] = frozenset()
        """The jobs whose notes are being written."""
        self._dirty: Callable[[], object] = lambda: None

    def progress(self, run: Run, percent: float, text: str | None) -> None:
        percent = checked_percent(percent)
        with self._lock:
            if page := self._page(run):
                page.percent = percent
                if text is not None:
                    page.text = cut(run.shown(str(text)), PROGRESS_TEXT_BYTES)

    def log(self, run: Run, text: str) -> None:
        line = LogLine(self._clock.now(), cut(run.shown(str(text)), LINE_BYTES))
        with self._lock:
            if page := self._page(run):
                page.lines.append(line)
                del page.lines[:-LOG_LINES_KEPT]
                run.logged += 1

    def output(self, run: Run, text: str) -> None:
        text = clean(str(text))
        with self._lock:
            if text and (page := self._page(run)):
                page.put_out(text)

    def checkpoint(self, run: Run, text: str) -> None:
        with self._lock:
            if page := self._page(run):
                page.checkpoint = text

    def hold(self, run: Run) -> tuple[Note, ...]:
        """The notes of a run, those under way included, for somebody to write who may not come to it; until they are
        taken, or let go, nobody else begins to write them."""
        with self._lock:
            if page := self._page(run):
                page.held = True
            return () if page is None or page.is_empty else (page.note(),)

    def let_go(self, run: Run) -> None:
        """The notes of a run are to be written as always."""
        with self._lock:
            if page := self._page_of(run.claim):
                page.held = False
                self._close_if_empty(page)
        self._dirty()

    async def take(self, claims: Collection[Claim]) -> tuple[Note, ...]:
        """The notes of these runs; they are the caller's to write now."""
        if not self._pages:
            return ()
        if self._sent.isdisjoint(claim.id for claim in claims):
            return self._pop(claims)
        # Two requests that write several jobs, and some of these both, could wait for each other in the store.
        async with self._writing:
            return self._pop(claims)

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
                if await outage.outlast(self._write):
                    something.set()  # more may have come meanwhile
                    await asyncio.sleep(WRITE_SECONDS)
        finally:
            self._dirty = lambda: None

    async def _write(self) -> bool:
        """Try once to write what there is by now; whether there was anything."""
        async with self._writing:
            with self._lock:
                notes = tuple(page.note() for page in self._pages.values() if not page.held)
            if not notes:
                return False
            self._sent = frozenset(note.id for note in notes)
            try:
                for some in in_portions(notes, PORTIONS, size):
                    self._acknowledge(some, await self._driver.run(NoteRequest(some)))
            finally:
                self._sent = frozenset()
            return True

    def _acknowledge(self, notes: Sequence[Note], written: frozenset[str]) -> None:
        with self._lock:
            for note in notes:
                page = self._pages.get(note.id)
                if page is None or page.lease != note.lease:
                    continue
                if note.id in written:
                    page.acknowledge(note)
                    self._close_if_empty(page)
                else:
                    # The run is not its job's owner any more, and never will be again.
                    del self._pages[note.id]

    def _pop(self, claims: Collection[Claim]) -> tuple[Note, ...]:
        with self._lock:
            pages = [page for claim in claims if (page := self._page_of(claim))]
            for page in pages:
                del self._pages[page.run.claim.id]
        return tuple(page.note() for page in pages if not page.is_empty)

    def _page(self, run: Run) -> _Page | None:
        """The page to write on. None: this worker has claimed the job anew meanwhile, so the run has nothing to say."""
        claim = run.claim
        page = self._pages.get(claim.id)
        if page is None or page.lease < claim.lease:
            page = self._pages[claim.id] = _Page(run)
            self._dirty()
        return page if page.lease == claim.lease else None

    def _page_of(self, claim: Claim) -> _Page | None:
        page = self._pages.get(claim.id)
        return page if page is not None and page.lease == claim.lease else None

    def _close_if_empty(self, page: _Page) -> None:
        if page.is_empty and not page.held:
            del self._pages[page.run.claim.id]


def checked_percent(percent: float) -> float:
    """How far a job says that it is, brought between 0 and 100. Raises `InvalidOption` for what is no number."""
    if not isinstance(percent, int | float) or (isinstance(percent, float) and not math.isfinite(percent)):
        raise InvalidOption(f"progress {quote(percent)} is not a number from 0 to 100")
    return float(min(100, max(0, percent)))
