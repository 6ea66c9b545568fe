"""The decision about one run, as data: what the store writes, without thinking, if the lease still holds."""

from __future__ import annotations

from mainspring.model.job import NewJob
from mainspring.model.noun import noun
from mainspring.model.states import State

__all__ = ["Settlement"]


@noun
class Settlement:
    """What becomes of a claimed job. Every field is absolute: writing it twice is writing it once."""

    id: str
    lease: int
    state: State
    """QUEUED, SCHEDULED, COMPLETED, DEAD or CANCELLED."""
    attempt: int
    crashes: int
    postponed: int
    history: str
    """JSON array text of all `Attempt`s so far."""
    delay_ms: int = 0
    """SCHEDULED: how long from now, by the store's clock."""
    result: str | None = None
    error: str | None = None
    reason: str | None = None
    follow_ups: tuple[NewJob, ...] = ()
    """Jobs that appear together with this settlement, or not at all; they are there before the job's end releases its
    children."""
    closed_ms: int | None = None
    """For so long, from now by the store's clock, nothing starts through the job's gate: the narrowest that has a rate
    (its partition, its task, its queue); where none has one, its partition if it is in one, else its queue."""
