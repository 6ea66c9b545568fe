"""Queues, their partitions and limits as the command line shows them: as JSON, as rows of a table, and one alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mainspring.admin import PartitionView, QueueView, TaskView
from mainspring.cli.output import Column, clock, iso, one_line, say, span, table
from mainspring.model.limits import Limits, Rate
from mainspring.model.states import State

__all__ = [
    "limits_of",
    "limits_text",
    "partition_json",
    "queue_json",
    "show_queue",
    "show_queues",
    "state_of",
    "task_json",
]

COUNTS = tuple(
    Column(state.upper(), right=True, whole=True, from_width=120 if state is State.BLOCKED else 0) for state in State
)
COLUMNS = (
    Column("QUEUE", whole=True),
    Column("STATE", is_state=True, whole=True),
    Column("LIMITS", from_width=100),
    *COUNTS,
    Column("OLDEST WAITING", right=True, from_width=120),
)
PARTITION_COLUMNS = (
    Column("PARTITION", whole=True),
    Column("STATE", is_state=True, whole=True),
    Column("LIMITS", from_width=90),
    *COUNTS,
)
SEQUENCES = {"block": "one job at a time; a dead one holds up those behind it", "skip": "one job at a time"}


def show_queues(views: Iterable[QueueView]) -> None:
    """A table of queues."""
    table(COLUMNS, [_queue_row(view) for view in views])


def show_queue(view: QueueView, partitions: Sequence[PartitionView]) -> None:
    """One queue and its partitions, for people."""
    facts = {
        "state": state_of(view),
        "limits": limits_text(view.concurrency, view.rates, view.max_queued),
        "each partition": limits_of(view.per_partition),
        "sequence": view.sequence and SEQUENCES[view.sequence],
        "jobs": ", ".join(f"{count:,} {state}" for state, count in view.counts.items()),
        "oldest": view.oldest_waiting and f"has waited for {span(view.oldest_waiting)}",
    }
    say(f"queue {one_line(view.name)}")
    for title, value in facts.items():
        if value:
            say(f"  {title:<14} {value}")
    if partitions:
        say()
        table(PARTITION_COLUMNS, [_partition_row(each) for each in partitions])


def limits_text(concurrency: int | None, rates: Iterable[Rate], max_queued: int | None) -> str:
    """For people: "5 at once, 50/1m, 1,000 waiting"; empty where there are none."""
    parts = [
        "" if concurrency is None else f"{concurrency:,} at once",
        *map(str, rates),
        "" if max_queued is None else f"{max_queued:,} waiting",
    ]
    return ", ".join(part for part in parts if part)


def limits_of(limits: Limits) -> str:
    """The same for a partition's."""
    counted = limits_text(limits.concurrency, limits.rates, limits.max_queued)
    return ", ".join(filter(None, [counted, "" if limits.weight == 1 else f"weight {limits.weight:g}"]))


def state_of(view: QueueView | PartitionView) -> str:
    """Whether a job is taken from it now."""
    if view.paused:
        return "paused"
    return "open" if view.opens_at is None else f"closed until {clock(view.opens_at)}"


def _counts(counts: Mapping[State, int]) -> list[str]:
    return [f"{counts.get(state, 0):,}" for state in State]


def _queue_row(view: QueueView) -> tuple[str, ...]:
    return (
        view.name,
        state_of(view),
        limits_text(view.concurrency, view.rates, view.max_queued),
        *_counts(view.counts),
        "" if view.oldest_waiting is None else span(view.oldest_waiting),
    )


def _partition_row(view: PartitionView) -> tuple[str, ...]:
    return view.name or "(none)", state_of(view), limits_of(view.limits), *_counts(view.counts)


def queue_json(view: QueueView) -> dict[str, Any]:
    """A queue for programs. The names stay as they are from version to version, here and below."""
    return {
        "name": view.name,
        "paused": view.paused,
        "paused_at": iso(view.paused_at),
        "concurrency": view.concurrency,
        "rates": [str(rate) for rate in view.rates],
        "max_queued": view.max_queued,
        "per_partition": _limits_json(view.per_partition),
        "sequence": view.sequence,
        "opens_at": iso(view.opens_at),
        "counts": _counts_json(view.counts),
        "oldest_waiting_seconds": view.oldest_waiting,
    }


def partition_json(view: PartitionView) -> dict[str, Any]:
    """A partition for programs."""
    return {
        "queue": view.queue,
        "name": view.name,
        "paused": view.paused,
        "paused_at": iso(view.paused_at),
        **_limits_json(view.limits),
        "opens_at": iso(view.opens_at),
        "holder": view.holder,
        "counts": _counts_json(view.counts),
    }


def task_json(view: TaskView) -> dict[str, Any]:
    """A task's limits for programs."""
    return {
        "name": view.name,
        "concurrency": view.concurrency,
        "rates": [str(rate) for rate in view.rates],
        "opens_at": iso(view.opens_at),
    }


def _limits_json(limits: Limits) -> dict[str, Any]:
    return {
        "concurrency": limits.concurrency,
        "rates": [str(rate) for rate in limits.rates],
        "max_queued": limits.max_queued,
        "weight": limits.weight,
    }


def _counts_json(counts: Mapping[State, int]) -> dict[str, int]:
    return {state.value: counts.get(state, 0) for state in State}
