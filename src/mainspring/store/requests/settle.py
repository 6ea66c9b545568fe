"""settle and note: what only the owner of a lease writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mainspring.model.job import Note
from mainspring.model.settlement import Settlement
from mainspring.store.requests.request import Request


@dataclass(frozen=True, slots=True)
class SettleRequest(Request[frozenset[str]]):
    """Applies each settlement whose lease holds, and gives their ids; notes of the same jobs are written first.

    No job is named twice in `settlements`, nor in `notes`, and `notes` are about jobs that are settled here. Of the
    follow-ups, a parent that is not there counts as one that was deleted: a settle does not fail for them.

    A job that goes back QUEUED keeps its `run_at`, and so its place in the queue.

    A job that goes back (QUEUED, SCHEDULED) while somebody asks to cancel it is due at once, whatever its delay: the
    request stays with it, and the next claim brings it to a worker that ends it. Until then, and when it is CANCELLED,
    `reason` stays that of the request.

    A job's checkpoint stays, whatever becomes of it, until it is COMPLETED.
    """

    operation: ClassVar[str] = "settle"
    settlements: tuple[Settlement, ...]
    notes: tuple[Note, ...] = ()
    now: int | None = None


LOG_LINES_KEPT = 1000
"""How many log lines a job keeps: the newest."""


@dataclass(frozen=True, slots=True)
class NoteRequest(Request[frozenset[str]]):
    """Writes each note whose lease holds, and gives their ids. No job is named twice.

    A log line is known by its job, its lease and its number: one that is there is not written again. They stand in the
    order of leases, and of numbers within each; a job keeps its last `LOG_LINES_KEPT` lines. Numbers are given without
    gaps: missing, once a note is written, are at most lines that would not be kept any more.

    The same goes for the pieces of a run's output, by numbers of their own. Once a piece is written, those before the
    note's `kept_from` are gone, and with them the output of all leases before.

    A checkpoint takes the place of the one before, and comes with every claim of the job from then on; a job that takes
    a waiting one's place (`Conflict.REPLACE`) begins without.
    """

    operation: ClassVar[str] = "note"
    notes: tuple[Note, ...]
    now: int | None = None
