"""Queues and their partitions in JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mainspring.admin import PartitionView, QueueView
from mainspring.model.limits import Limits
from mainspring.web.shapes.base import Counts, Moment, Shape, counts_of, rates_of

__all__ = ["LimitsShape", "PartitionShape", "QueueShape", "partition_shape", "queue_shape"]

RATES = 'How many may start in a time, such as "50/1m"; all of them hold.'


class LimitsShape(Shape):
    """What holds for a partition; null, and no rates: no limit."""

    concurrency: int | None = Field(description="How many jobs may run at once.")
    rates: list[str] = Field(description=RATES)
    max_queued: int | None = Field(description="How many may wait.")
    weight: float = Field(description="Its share beside the others'.")


class QueueShape(Shape):
    """A queue: its settings, as they are in force, and what is in it."""

    name: str
    paused: bool
    paused_at: Moment | None
    concurrency: int | None = Field(description="How many of its jobs may run at once; null: any number.")
    rates: list[str] = Field(description=RATES)
    max_queued: int | None = Field(description="How many may wait; null: any number.")
    per_partition: LimitsShape = Field(description="What holds for every partition that has no word of its own.")
    sequence: Literal["block", "skip"] | None = Field(
        description="One job at a time in each partition; what a dead one does to those behind it. Null: no sequence."
    )
    opens_at: Moment | None = Field(description="When time lets the next job through; null: at once.")
    counts: Counts
    oldest_waiting_seconds: float | None = Field(description="For how long the longest-waiting job has been due.")


class PartitionShape(Shape):
    """A partition of a queue: its settings, as they are in force, and what is in it."""

    queue: str
    name: str
    paused: bool
    paused_at: Moment | None
    limits: LimitsShape
    opens_at: Moment | None = Field(description="When time lets the next job through; null: at once.")
    holder: str | None = Field(description="In a sequence: the job that has started and not ended for good.")
    counts: Counts


def queue_shape(view: QueueView) -> QueueShape:
    """A queue as it was seen."""
    return QueueShape(
        name=view.name,
        paused=view.paused,
        paused_at=view.paused_at,
        concurrency=view.concurrency,
        rates=rates_of(view.rates),
        max_queued=view.max_queued,
        per_partition=_limits(view.per_partition),
        sequence=view.sequence,
        opens_at=view.opens_at,
        counts=counts_of(view.counts),
        oldest_waiting_seconds=view.oldest_waiting,
    )


def partition_shape(view: PartitionView) -> PartitionShape:
    """A partition as it was seen."""
    return PartitionShape(
        queue=view.queue,
        name=view.name,
        paused=view.paused,
        paused_at=view.paused_at,
        limits=_limits(view.limits),
        opens_at=view.opens_at,
        holder=view.holder,
        counts=counts_of(view.counts),
    )


def _limits(limits: Limits) -> LimitsShape:
    return LimitsShape(
        concurrency=limits.concurrency,
        rates=rates_of(limits.rates),
        max_queued=limits.max_queued,
        weight=limits.weight,
    )
