"""Settings: what operators and code say about queues, schedules and workers."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from mainspring.model.limits import KEEP, Limits, Spent
from mainspring.store.base import (
    Change,
    Command,
    CommandWorker,
    ConfigureRequest,
    DefineQueue,
    LimitQueue,
    Operation,
    PauseQueue,
    PauseSchedule,
    PutSchedule,
    QueueRecord,
    RemoveSchedule,
    ScheduleRecord,
    Settings,
    WorkerRecord,
)
from mainspring.store.sql.documents import document, keys_of
from mainspring.store.sql.statements import READ, WRITE, Row
from mainspring.store.sqlite.clock import time_of
from mainspring.store.sqlite.jobs import sql

__all__ = ["configure"]

_STATEMENTS: dict[type[Change], str] = {
    DefineQueue: "define_queue",
    PauseQueue: "pause_queue",
    PutSchedule: "put_schedule",
    PauseSchedule: "pause_schedule",
    RemoveSchedule: "remove_schedule",
    CommandWorker: "command_worker",
}


def configure(request: ConfigureRequest) -> Operation[Settings]:
    changed = 0
    yield WRITE if request.changes else READ
    now = time_of(request.now)
    for change in request.changes:
        if isinstance(change, LimitQueue):
            said = yield sql("queue_limited", name=change.name)
            limited = _merged(said[0][0] if said else "{}", change)
            changed += len((yield sql("limit_queue", name=change.name, limited=limited)))
        else:
            changed += len((yield sql(_STATEMENTS[type(change)], now=now, **_parameters(change))))
    queues = (yield sql("list_queues")) if "queues" in request.read else ()
    schedules = (yield sql("list_schedules")) if "schedules" in request.read else ()
    if "due" in request.read:
        schedules = yield sql("due_schedules", now=now, limit=request.limit)
    workers = (yield sql("list_workers")) if "workers" in request.read else ()
    next_tick = yield sql("next_tick")
    return Settings(
        now,
        changed,
        queues=tuple(_queue(row, now) for row in queues),
        schedules=tuple(_schedule(row) for row in schedules),
        workers=tuple(_worker(row) for row in workers),
        next_tick=next_tick[0][0],
    )


def _parameters(change: Change) -> dict[str, Any]:
    if isinstance(change, DefineQueue):
        defined = Limits(change.concurrency, change.rates, change.max_queued).to_json()
        return {
            "name": change.name,
            "defined": json.dumps(defined),
            "each": json.dumps(change.each.to_json()),
            "sequence": change.sequence,
        }
    columns = asdict(change)
    if isinstance(change, PutSchedule):
        columns["keys"] = document(change.keys)
    return columns


def _merged(said: str, change: LimitQueue) -> str:
    """What an operator has said, with what one says now."""
    new = {
        name: [[rate.limit, rate.per_ms] for rate in value] if name == "rates" else value
        for name in ("concurrency", "rates", "max_queued")
        if (value := getattr(change, name)) is not KEEP
    }
    return json.dumps(json.loads(said) | new)


def _queue(row: Row, now: int) -> QueueRecord:
    name, paused_at, defined, limited, each_defined, each_limited, sequence, closed_until, spent = row
    limits = Limits.from_json(json.loads(defined), json.loads(limited))
    opens_at = max(closed_until, Spent(limits.rates, spent, now).opens_at())
    return QueueRecord(
        name=name,
        paused_at=paused_at,
        concurrency=limits.concurrency,
        rates=limits.rates,
        max_queued=limits.max_queued,
        each=Limits.from_json(json.loads(each_defined), json.loads(each_limited)),
        sequence=sequence,
        opens_at=opens_at if opens_at > now else None,
    )


def _schedule(row: Row) -> ScheduleRecord:
    columns: Row = (*row[:-3], keys_of(row[-3]), *row[-2:])
    return ScheduleRecord(*columns)


def _worker(row: Row) -> WorkerRecord:
    id, name, queues, tasks, concurrency, running, quiet, started_at, beat_at, expires_at, command = row
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
    )
