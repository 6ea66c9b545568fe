"""What somebody did to jobs, queues, schedules and workers: one entry for each action, for people to read."""

from __future__ import annotations

from dataclasses import dataclass

from mainspring.model.cursors import read_cursor

__all__ = ["AuditEntry", "cursor_at", "place_in"]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One action. It is written before the action is begun, and once more with its count when that is done: one whose
    program died in between is seen, without a count."""

    id: str
    actor: str
    """Who did it."""
    action: str
    """The verb and the door that it is behind, such as "jobs.retry"."""
    target: str
    """What it was done to: an id, a name, or the conditions of a selection."""
    detail: str = "{}"
    """JSON object text: what else was said."""
    count: int | None = None
    """How many things it changed. None: it has not ended, as far as is known."""
    at: int | None = None
    """When it was written first, on the store's clock. None: not yet."""


def cursor_at(entry: AuditEntry) -> str:
    """Where a page goes on that ends with this entry."""
    return f"{entry.at}:{entry.id}"


def place_in(cursor: str) -> tuple[int, str]:
    """What `cursor_at` wrote. Raises `InvalidOption` for anything else."""
    return read_cursor(cursor)[1:]
