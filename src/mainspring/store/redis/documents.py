"""Requests as the scripts' documents: JSON objects in which what is at its default is left out.

Arguments, results, errors and histories travel as what they are to every store, opaque text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from mainspring.model.job import Edge, Key, NewJob, Note
from mainspring.model.settlement import Settlement
from mainspring.model.stats import Report
from mainspring.store.base import (
    BeatRequest,
    ClaimRequest,
    InsertRequest,
    NewFlow,
    NoteRequest,
    Request,
    SettleRequest,
    Tick,
)

__all__ = ["beat", "claim", "document", "insert", "is_plain", "key_values", "note", "plain", "settle"]

_encode = json.JSONEncoder(separators=(",", ":")).encode


def document(**values: Any) -> str:
    """An object of these values, without those that are None."""
    return _encode({name: value for name, value in values.items() if value is not None})


def plain(request: Request[Any]) -> str:
    """A request whose fields are plain values."""
    return document(**{field.name: getattr(request, field.name) for field in fields(request)})  # type: ignore[arg-type]


def insert(request: InsertRequest) -> str:
    return document(
        jobs=list(map(_new_job, request.jobs)),
        ticks=list(map(_tick, request.ticks)) or None,
        flows=list(map(_flow, request.flows)) or None,
        all_or_none=request.all_or_none or None,
        now=request.now,
    )


def is_plain(request: InsertRequest) -> bool:
    """Whether all of it are jobs with nothing but what every job has."""
    if request.ticks or request.flows:
        return False
    for job in request.jobs:
        if job.keys or job.parents or job.partition or job.flow is not None or job.delay_ms or job.run_at is not None:
            return False
        if job.options is not None or job.cost != 1:
            return False
    return True


def _new_job(job: NewJob) -> dict[str, Any]:
    new: dict[str, Any] = {"id": job.id, "task": job.task, "queue": job.queue}
    if job.args != "{}":
        new["args"] = job.args
    if job.priority != 5:
        new["priority"] = job.priority
    if job.run_at is not None:
        new["run_at"] = job.run_at
    if job.delay_ms:
        new["delay_ms"] = job.delay_ms
    if job.options is not None:
        new["options"] = job.options
    if job.keys:
        new["keys"] = list(map(key_values, job.keys))
    if job.partition:
        new["partition"] = job.partition
    if job.cost != 1:
        new["cost"] = job.cost
    if job.flow is not None:
        new["flow"] = job.flow
    if job.parents:
        new["parents"] = list(map(_edge, job.parents))
    return new


def key_values(key: Key) -> dict[str, Any]:
    """A key as values of JSON."""
    values = {
        "name": key.name,
        "until": key.until,
        "expires_ms": key.expires_ms,
        "on_conflict": key.on_conflict,
        "seats": key.seats,
        "max_delay_ms": key.max_delay_ms,
    }
    return {name: value for name, value in values.items() if value is not None}


def _edge(edge: Edge) -> dict[str, Any]:
    return {"parent": edge.parent, "policy": edge.policy, "wants": edge.wants_result}


def _flow(flow: NewFlow) -> dict[str, Any]:
    new = {"id": flow.id, "name": flow.name, "callbacks": [[each.job, each.policy] for each in flow.callbacks]}
    return new if flow.parent is None else new | {"parent": flow.parent}


def _tick(tick: Tick) -> dict[str, Any]:
    return {
        "schedule": tick.schedule,
        "expected_at": tick.expected_at,
        "next_at": tick.next_at,
        "jobs": list(map(_new_job, tick.jobs)),
    }


def claim(request: ClaimRequest) -> str:
    return document(
        worker=request.worker,
        rooms=[[room.queue, room.limit] for room in request.rooms],
        limit=request.limit,
        held=None if request.held is None else list(request.held),
        now=request.now,
    )


def settle(request: SettleRequest) -> str:
    return document(
        settlements=list(map(_settlement, request.settlements)),
        notes=list(map(_note, request.notes)) or None,
        now=request.now,
    )


def _settlement(done: Settlement) -> dict[str, Any]:
    values: dict[str, Any] = {"id": done.id, "lease": done.lease, "state": done.state, "attempt": done.attempt}
    if done.crashes:
        values["crashes"] = done.crashes
    if done.postponed:
        values["postponed"] = done.postponed
    if done.history != "[]":
        values["history"] = done.history
    if done.delay_ms:
        values["delay_ms"] = done.delay_ms
    if done.result is not None:
        values["result"] = done.result
    if done.error is not None:
        values["error"] = done.error
    if done.reason is not None:
        values["reason"] = done.reason
    if done.follow_ups:
        values["follow_ups"] = list(map(_new_job, done.follow_ups))
    if done.closed_ms is not None:
        values["closed_ms"] = done.closed_ms
    return values


def note(request: NoteRequest) -> str:
    return document(notes=list(map(_note, request.notes)), now=request.now)


def _note(note: Note) -> dict[str, Any]:
    values: dict[str, Any] = {"id": note.id, "lease": note.lease}
    if note.progress is not None:
        values["progress"] = note.progress
    if note.progress_text is not None:
        values["progress_text"] = note.progress_text
    if note.checkpoint is not None:
        values["checkpoint"] = note.checkpoint
    if note.lines:
        values["lines"] = [[line.at, line.text] for line in note.lines]
        values["first"] = note.first
    if note.pieces:
        values |= {"pieces": note.pieces, "first_piece": note.first_piece, "kept_from": note.kept_from}
    return values


def beat(request: BeatRequest) -> str:
    presence = request.presence
    described = {
        "id": presence.id,
        "name": presence.name,
        "queues": names(presence.queues),
        "tasks": names(presence.tasks),
        "concurrency": presence.concurrency,
        "running": presence.running,
        "quiet": presence.quiet,
        "memory": "" if presence.memory is None else str(presence.memory),
        "lease_ms": presence.lease_ms,
    }
    return document(phase=request.phase, presence=described, reports=_reports(request.stats), now=request.now)


def _reports(reports: Sequence[Report]) -> list[Any] | None:
    return [
        [report.source, report.number, [[cell.at, cell.queue, cell.task, cell.numbers] for cell in report.cells]]
        for report in reports
    ] or None


def names(several: Sequence[str]) -> str:
    """Names as JSON text: scripts keep it as it is."""
    return _encode(list(several))
