"""The seven states of a job, and what brings it from one to another.

::

    insert ──► blocked ──parents done──► queued ◄──due── scheduled ◄── insert(delay)
                                           │  claim          ▲
                                           ▼                 │ retry, snooze
                                        running ─────────────┘
    settle:  completed · dead · cancelled
    revive:  dead, cancelled, completed ──► queued
"""

from enum import StrEnum

__all__ = ["FINAL", "LIVE", "State"]


class State(StrEnum):
    """Where a job stands."""

    BLOCKED = "blocked"
    """Waits for its parents."""
    SCHEDULED = "scheduled"
    """Waits for a time."""
    QUEUED = "queued"
    """Waits for a worker."""
    RUNNING = "running"
    """A worker holds its lease."""
    COMPLETED = "completed"
    """Ended well; has a result."""
    DEAD = "dead"
    """A dead letter: attempts used up, buried, or poison. Kept for a human to look at."""
    CANCELLED = "cancelled"
    """Ended on request."""


LIVE = frozenset({State.BLOCKED, State.SCHEDULED, State.QUEUED, State.RUNNING})
FINAL = frozenset({State.COMPLETED, State.DEAD, State.CANCELLED})
