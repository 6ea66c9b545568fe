"""Gates: what a queue, a partition or a task lets through, looked at in the claim and told of what changes it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mainspring.model.job import NewJob
from mainspring.model.settlement import Settlement
from mainspring.store.base import Operation

__all__ = ["close", "enter", "wake"]


def enter(jobs: Sequence[NewJob]) -> Operation[None]:
    """New jobs are there: the partitions that they are in may have one to claim."""
    yield from ()


def wake(ids: Collection[str]) -> Operation[None]:
    """Something happened to these jobs, live or final: the partitions that they are in may have one to claim."""
    yield from ()


def close(settlements: Sequence[Settlement], now: int) -> Operation[None]:
    """Close the gates of jobs whose (applied) settlements say so."""
    yield from ()
