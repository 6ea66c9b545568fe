"""What code and operators say about gates, in force and on record. What may let more through wakes whom it concerns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final

from mainspring.model.limits import KEEP, Limits, rates_to_json
from mainspring.store.base import (
    Change,
    ConfigureRequest,
    DefineQueue,
    DefineTask,
    LimitPartition,
    LimitQueue,
    LimitTask,
    Operation,
    PartitionRecord,
    PauseQueue,
    QueueRecord,
    TaskRecord,
)
from mainspring.store.sql import gates
from mainspring.store.sql.documents import document
from mainspring.store.sql.plans.turns import Gate, limits_of, sequence_key
from mainspring.store.sql.statements import Row, sql

__all__ = ["CHANGES", "change", "lock", "partition_records", "queue_record", "task_record"]

CHANGES: Final = (DefineQueue, DefineTask, LimitQueue, LimitPartition, LimitTask, PauseQueue)


def lock(changes: Iterable[Change]) -> Operation[None]:
    """Be alone with the gates that these changes are about."""
    queues, tasks = set[str](), set[str]()
    for change in changes:
        match change:
            case DefineQueue(name) | LimitQueue(name) | PauseQueue(name) | LimitPartition(name):
                queues.add(name)
            case DefineTask(name) | LimitTask(name):
                tasks.add(name)
    yield from gates.lock(sorted(queues))
    if tasks:
        yield sql("lock_tasks", doc=document(sorted(tasks)))


def change(change: Change, now: int) -> Operation[None]:
    """Apply one change."""
    match change:
        case DefineQueue():
            yield from _define_queue(change)
        case DefineTask(name, concurrency, rates):
            yield sql("define_task", name=name, defined=_text(Limits(concurrency, rates)))
            yield sql("gate_running", name=name)
        case LimitQueue(name):
            said = yield sql("queue_limited", name=name)
            yield sql("limit_queue", name=name, limited=_merged(said, change))
        case LimitTask(name):
            said = yield sql("task_limited", name=name)
            yield sql("limit_task", name=name, limited=_merged(said, change))
            yield sql("gate_running", name=name)
        case LimitPartition(queue, str(partition)):
            said = yield sql("partition_limited", queue=queue, partition=partition)
            yield sql("limit_partition", queue=queue, partition=partition, limited=_merged(said, change))
            yield from gates.wake_places([(queue, partition)])
        case LimitPartition(queue):
            said = yield sql("each_limited", queue=queue)
            yield sql("limit_each", queue=queue, limited=_merged(said, change))
            yield from gates.wake_queue(queue)
        case PauseQueue(name, paused, str(partition)):
            yield sql("pause_partition", queue=name, partition=partition, paused=paused, now=now)
            yield from gates.wake_places([(name, partition)])
        case PauseQueue(name, paused):
            yield sql("pause_queue", name=name, paused=paused, now=now)


def _define_queue(queue: DefineQueue) -> Operation[None]:
    """Every worker says this when it starts: partitions are woken only if it is something new."""
    each, name = _text(queue.each), queue.name
    before = yield sql("queue_defined", name=name)
    defined = _text(Limits(queue.concurrency, queue.rates, queue.max_queued))
    yield sql("define_queue", name=name, defined=defined, each=each, sequence=queue.sequence)
    named = document([partition for partition, _ in queue.partitions])
    changed = yield sql("undefine_partitions", doc=named, queue=name)
    if queue.partitions:
        doc = document([[partition, _text(limits)] for partition, limits in queue.partitions])
        changed += yield sql("define_partitions", doc=doc, queue=name)
    if changed or before != [(each, queue.sequence)]:
        yield from gates.wake_queue(name)


def _text(limits: Limits) -> str:
    return json.dumps(limits.to_json())


def _merged(said: Sequence[Row], change: LimitQueue | LimitPartition | LimitTask) -> str:
    """What an operator has said, with what one says now."""
    new = {
        name: rates_to_json(value) if name == "rates" else value
        for name in ("concurrency", "rates", "max_queued", "weight")
        if (value := getattr(change, name, KEEP)) is not KEEP
    }
    return json.dumps((json.loads(said[0][0]) if said else {}) | new)


# --- records ---------------------------------------------------------------------------------------------------------


def queue_record(row: Row, now: int) -> QueueRecord:
    """A queue from its columns."""
    name, paused_at, defined, limited, each_defined, each_limited, sequence, closed_until, spent = row
    limits = limits_of(defined, limited)
    return QueueRecord(
        name=name,
        paused_at=paused_at,
        concurrency=limits.concurrency,
        rates=limits.rates,
        max_queued=limits.max_queued,
        each=limits_of(each_defined, each_limited),
        sequence=sequence,
        opens_at=_opens_at(limits, closed_until, spent, now),
    )


def task_record(row: Row, now: int) -> TaskRecord:
    """A task's gate from its columns."""
    name, defined, limited, closed_until, spent = row
    limits = limits_of(defined, limited)
    return TaskRecord(name, limits.concurrency, limits.rates, _opens_at(limits, closed_until, spent, now))


def partition_records(request: ConfigureRequest, now: int) -> Operation[tuple[PartitionRecord, ...]]:
    """Those with settings of their own, and the one that is asked for."""
    rows = {row[:2]: row for row in (yield sql("list_partitions", limit=request.limit))}
    if request.partition is not None and request.partition not in rows:
        queue, partition = request.partition
        rows[request.partition] = (yield sql("one_partition", queue=queue, partition=partition))[0]
    keys = [[list(place), sequence_key(*place)] for place in rows]
    holders = {tuple(json.loads(place)): job for place, job, *_ in (yield sql("holders", doc=document(keys)))}
    return tuple(_partition_record(rows[place], holders.get(place), now) for place in sorted(rows))


def _partition_record(row: Row, holder: str | None, now: int) -> PartitionRecord:
    queue, name, paused_at, *stored, closed_until, spent = row
    limits = limits_of(*stored)
    return PartitionRecord(queue, name, paused_at, limits, _opens_at(limits, closed_until, spent, now), holder)


def _opens_at(limits: Limits, closed_until: int, spent: str | None, now: int) -> int | None:
    """When time lets a job of cost 1 through; None: at once, as far as time goes."""
    at = Gate(Limits(rate=limits.rates), now, closed_until=closed_until, spent=spent).opens_at(1)
    return at if at is not None and at > now else None
