"""What a job says: the lines of its log and the pieces of its output. Both stand in one table, each row at a number.

A line's number is its lease and which line of that it is, so it counts up from zero. A piece's is the same, far below
zero: so either kind is one stretch of the table's index, in its order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from mainspring.model.job import JobRecord, LogLine, Note, Piece
from mainspring.store.base import Bookmark, Operation
from mainspring.store.sql.documents import document
from mainspring.store.sql.statements import sql

__all__ = ["piece_at", "rows", "with_sayings"]

LAST = 2**62
"""No line and no piece has so high a place."""


def rows(note: Note) -> Iterator[tuple[str, int, int, str]]:
    """A note's lines and pieces as `write_log` takes them."""
    first = (note.lease << 32) + note.first
    for number, line in enumerate(note.lines, first):
        yield note.id, number, line.at, line.text
    for number, piece in enumerate(note.pieces, note.first_piece):
        yield note.id, piece_at(note, number), 0, piece


def piece_at(note: Note, number: int) -> int:
    """The row of that piece of the note's run."""
    return (note.lease << 32) + number - LAST


def with_sayings(jobs: Sequence[JobRecord], bookmarks: Sequence[Bookmark]) -> Operation[list[JobRecord]]:
    """The jobs with what they have said, as far as that is beyond the bookmarks."""
    wanted: list[tuple[str, int, int]] = []
    known = {each.job: each for each in bookmarks}
    for job in jobs:
        mark = known.get(job.id) or Bookmark(job.id)
        wanted += [(job.id, mark.line + 1, LAST), (job.id, mark.piece + 1 - LAST, -1)]
    lines: dict[str, list[LogLine]] = {}
    pieces: dict[str, list[Piece]] = {}
    for job_id, number, at, text in sorted((yield sql("log_of", doc=document(wanted)))):
        if number < 0:
            pieces.setdefault(job_id, []).append(Piece(text, number + LAST))
        else:
            lines.setdefault(job_id, []).append(LogLine(at, text, number))
    # Most of many jobs have said nothing, and `replace` is not cheap.
    said = lines.keys() | pieces.keys()
    return [
        replace(job, log=tuple(lines.get(job.id, ())), output=tuple(pieces.get(job.id, ()))) if job.id in said else job
        for job in jobs
    ]
