"""Settings: what operators and code say about queues, schedules and workers."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from mainspring.store.base import (
    Change,
    Command,
    CommandWorker,
    ConfigureRequest,
    Operation,
    PauseSchedule,
    PutSchedule,
    RemoveSchedule,
    ScheduleRecord,
    Settings,
    WorkerRecord,
)
from mainspring.store.sql import audit, limits
from mainspring.store.sql.documents import document, keys_of
from mainspring.store.sql.statements import READ, WRITE, Row, sql, time_of

__all__ = ["configure"]

_STATEMENTS: dict[type[Change], str] = {
    PutSchedule: "put_schedule",
    PauseSchedule: "pause_schedule",
    RemoveSchedule: "remove_schedule",
    CommandWorker: "command_worker",
}


def configure(request: ConfigureRequest) -> Operation[Settings]:
    changed = 0
    yield WRITE if request.changes or request.audit else READ
    yield from limits.lock(request.changes)
    now = yield from time_of(request.now)
    for change in request.changes:
        if isinstance(change, limits.CHANGES):
            yield from limits.change(change, now)
            changed += 1
        else:
            changed += len((yield sql(_STATEMENTS[type(change)], now=now, **_parameters(change))))
    if request.audit is not None:
        yield from audit.write(request.audit, changed if request.changes else request.audit.count, now)
    queues = (yield sql("list_queues")) if "queues" in request.read else ()
    schedules = (yield sql("list_schedules")) if "schedules" in request.read else ()
    if "due" in request.read:
        schedules = yield sql("due_schedules", now=now, limit=request.limit)
    workers = (yield sql("list_workers")) if "workers" in request.read else ()
    tasks = (yield sql("list_tasks")) if "tasks" in request.read else ()
    partitions = (yield from limits.partition_records(request, now)) if "partitions" in request.read else ()
    entries = (yield from audit.read(request)) if "audit" in request.read else ()
    next_tick = yield sql("next_tick")
    return Settings(
        now,
        changed,
        queues=tuple(limits.queue_record(row, now) for row in queues),
        schedules=tuple(_schedule(row) for row in schedules),
        workers=tuple(_worker(row) for row in workers),
        next_tick=next_tick[0][0],
        tasks=tuple(limits.task_record(row, now) for row in tasks),
        partitions=partitions,
        audit=entries,
    )


def _parameters(change: Change) -> dict[str, Any]:
    columns = asdict(change)
    if isinstance(change, PutSchedule):
        columns["keys"] = document(change.keys)
    return columns


def _schedule(row: Row) -> ScheduleRecord:
    columns: Row = (*row[:-3], keys_of(row[-3]), *row[-2:])
    return ScheduleRecord(*columns)


def _worker(row: Row) -> WorkerRecord:
    id, name, queues, tasks, concurrency, running, quiet, started_at, beat_at, expires_at, command, memory = row
    return WorkerRecord(
        id=id,
        name=name,
        queues=tuple(json.loads(queues)),
        tasks=tuple(json.loads(tasks)),
        concurrency=concurrency,
        running=running,
        quiet=bool(quiet),
        started_at=started_at,
        beat_at=beat_at,
        expires_at=expires_at,
        command=Command(command) if command else None,
        memory=memory,
    )
