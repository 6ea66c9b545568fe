"""Settings: what code and operators say about queues, partitions, tasks, schedules and workers.

A limit travels as text, which the script keeps as it is; "none" is an operator's word that there is no limit, whatever
the code says.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from mainspring.model.audit import AuditEntry
from mainspring.model.job import Conflict, Key, Until
from mainspring.model.limits import Keep, Limits, Rate, rates_to_json
from mainspring.store.base import (
    Change,
    Command,
    CommandWorker,
    ConfigureRequest,
    DefineQueue,
    DefineTask,
    LimitPartition,
    LimitQueue,
    LimitTask,
    Operation,
    PartitionRecord,
    PauseQueue,
    PauseSchedule,
    PutSchedule,
    QueueRecord,
    RemoveSchedule,
    ScheduleRecord,
    Settings,
    TaskRecord,
    WorkerRecord,
)
from mainspring.store.redis.documents import document, key_values
from mainspring.store.redis.rows import Row
from mainspring.store.redis.scripts import Call

__all__ = ["Configured"]

_NONE: Final = "none"


class Configured:
    """The operation `configure`."""

    def configure(self, request: ConfigureRequest) -> Operation[Settings]:
        reply = yield Call(
            "configure",
            document(
                changes=list(map(_change, request.changes)),
                read=sorted(request.read),
                limit=request.limit,
                partition=request.partition,
                audit=None if request.audit is None else _audit(request.audit),
                before=request.before,
                now=request.now,
            ),
        )
        now, changed, queues, schedules, workers, tasks, partitions, next_tick, audit = reply
        return Settings(
            now,
            changed,
            queues=tuple(_queue(*row) for row in sorted(queues, key=_name)),
            schedules=tuple(map(_schedule, schedules)),
            workers=tuple(_worker(*row) for row in sorted(workers, key=_name)),
            next_tick=next_tick,
            tasks=tuple(_task(*row) for row in sorted(tasks, key=_name)),
            partitions=tuple(_partition(*row) for row in sorted(partitions, key=_place)),
            audit=tuple(AuditEntry(*row) for row in audit),
        )


# --- what is said ----------------------------------------------------------------------------------------------------


def _change(change: Change) -> dict[str, Any]:
    match change:
        case DefineQueue(name, concurrency, rates, max_queued, each, partitions, sequence):
            return {
                "change": "define_queue",
                "name": name,
                "own": _defined(Limits(concurrency, rates, max_queued)),
                "each": _defined(each),
                "partitions": [[partition, _defined(limits)] for partition, limits in partitions],
            } | ({} if sequence is None else {"sequence": sequence})
        case DefineTask(name, concurrency, rates):
            return {"change": "define_task", "name": name, "own": _defined(Limits(concurrency, rates))}
        case LimitQueue(name):
            return {"change": "limit_queue", "name": name, "own": _limited(change)}
        case LimitPartition(queue, None):
            return {"change": "limit_each", "name": queue, "own": _limited(change)}
        case LimitPartition(queue, partition):
            return {"change": "limit_partition", "name": queue, "partition": partition, "own": _limited(change)}
        case LimitTask(name):
            return {"change": "limit_task", "name": name, "own": _limited(change)}
        case PauseQueue(name, paused, None):
            return {"change": "pause_queue", "name": name, "paused": paused}
        case PauseQueue(name, paused, partition):
            return {"change": "pause_partition", "name": name, "partition": partition, "paused": paused}
        case PutSchedule():
            return {"change": "put_schedule", "name": change.name, "fields": _fields(change)}
        case PauseSchedule(name, paused, next_at):
            resumed = {} if next_at is None else {"next_at": next_at}
            return {"change": "pause_schedule", "name": name, "paused": paused} | resumed
        case RemoveSchedule(name):
            return {"change": "remove_schedule", "name": name}
        case CommandWorker(id, command):
            return {"change": "command_worker", "id": id, "command": command}


def _defined(limits: Limits) -> dict[str, str]:
    """What the code says, setting by setting."""
    return {setting: _text(value) for setting, value in limits.to_json().items()}


def _limited(change: LimitQueue | LimitPartition | LimitTask) -> dict[str, str]:
    """What an operator says now, where it is not to keep what was said before."""
    said: dict[str, str] = {}
    for setting in ("concurrency", "rates", "max_queued", "weight"):
        value = getattr(change, setting, Keep.KEEP)
        if not isinstance(value, Keep):
            said[setting] = _text(rates_to_json(value) if setting == "rates" else value)
    return said


def _text(value: Any) -> str:
    return _NONE if value is None else json.dumps(value, separators=(",", ":"))


def _audit(entry: AuditEntry) -> dict[str, Any]:
    return {name: value for name, value in asdict(entry).items() if value is not None}


def _fields(put: PutSchedule) -> dict[str, Any]:
    fields = {
        "task": put.task,
        "queue": put.queue,
        "args": put.args,
        "priority": put.priority,
        "timing": put.timing,
        "next_at": put.next_at,
        "keys": json.dumps(list(map(key_values, put.keys))),
        "partition": put.partition,
        "cost": put.cost,
    }
    return fields if put.options is None else fields | {"options": put.options}


# --- records ---------------------------------------------------------------------------------------------------------


def _name(row: Row) -> Any:
    return row[0]


def _place(row: Row) -> tuple[Any, Any]:
    return row[0], row[1]


def _queue(
    name: str,
    paused_at: str | None,
    concurrency: str | None,
    rates: str | None,
    max_queued: str | None,
    each: Sequence[str | None],
    sequence: Any,
    opens_at: int | None,
) -> QueueRecord:
    return QueueRecord(
        name,
        _number(paused_at),
        _number(concurrency),
        _rates(rates),
        _number(max_queued),
        _limits(*each),
        sequence,
        opens_at,
    )


def _task(name: str, concurrency: str | None, rates: str | None, opens_at: int | None) -> TaskRecord:
    return TaskRecord(name, _number(concurrency), _rates(rates), opens_at)


def _partition(
    queue: str, name: str, paused_at: str | None, limits: Sequence[str | None], opens_at: int | None, holder: str | None
) -> PartitionRecord:
    return PartitionRecord(queue, name, _number(paused_at), _limits(*limits), opens_at, holder)


def _number(text: str | None) -> int | None:
    return None if text is None or text == _NONE else int(text)


def _rates(text: str | None) -> tuple[Rate, ...]:
    return _limits(None, text, None, None).rates


def _limits(concurrency: str | None, rates: str | None, max_queued: str | None, weight: str | None) -> Limits:
    """Limits from their texts, those that are in force."""
    said = {"concurrency": concurrency, "rates": rates, "max_queued": max_queued, "weight": weight}
    return Limits.from_json({name: json.loads(text) for name, text in said.items() if text and text != _NONE})


def _schedule(row: Row) -> ScheduleRecord:
    name, task, queue, args, priority, options, timing, next_at, last_at, paused_at, keys, partition, cost = row
    return ScheduleRecord(
        name=name,
        task=task,
        queue=queue,
        args=args,
        priority=int(priority),
        options=options,
        timing=timing,
        next_at=int(next_at),
        last_at=_number(last_at),
        paused_at=_number(paused_at),
        keys=tuple(map(_key, json.loads(keys))),
        partition=partition,
        cost=int(cost),
    )


def _key(values: dict[str, Any]) -> Key:
    return Key(**values | {"until": Until(values["until"]), "on_conflict": Conflict(values["on_conflict"])})


def _worker(
    id: str,
    name: str,
    queues: str,
    tasks: str,
    concurrency: str,
    running: str,
    quiet: str,
    started_at: str,
    beat_at: str,
    expires_at: str,
    command: str | None,
    memory: str | None,
) -> WorkerRecord:
    return WorkerRecord(
        id=id,
        name=name,
        queues=tuple(json.loads(queues)),
        tasks=tuple(json.loads(tasks)),
        concurrency=int(concurrency),
        running=int(running),
        quiet=quiet == "1",
        started_at=int(started_at),
        beat_at=int(beat_at),
        expires_at=int(expires_at),
        command=Command(command) if command else None,
        memory=int(memory) if memory else None,
    )
