"""What scripts give, as values: every number is text there, and what is at its default is None."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mainspring.model.job import Claim, JobRecord, LogLine, Parent, Piece, Policy
from mainspring.model.states import State
from mainspring.store.base import Callback, FlowRecord

__all__ = ["flow_of", "parents_of", "record_of", "running_of", "started_of"]

Row = Sequence[Any]


def started_of(row: Row, worker: str, now: int) -> Claim:
    """The claim of a job that starts just now, from a row of `claims.lua`."""
    id, parents, flat = row
    job = dict(zip(flat[::2], flat[1::2], strict=True))
    return _claim(id, parents, job, int(job.get("attempt", 0)) + 1, int(job.get("lease", 0)) + 1, now, worker)


def running_of(row: Row, raised: int = 0) -> Claim:
    """The claim of a job that ran before, from the same; its lease was `raised` since."""
    id, parents, flat = row
    job = dict(zip(flat[::2], flat[1::2], strict=True))
    lease = int(job["lease"]) + raised
    return _claim(id, parents, job, int(job["attempt"]), lease, int(job["started_at"]), job["worker"])


def _claim(
    id: str, parents: Sequence[Row] | None, job: dict[str, str], attempt: int, lease: int, started_at: int, worker: str
) -> Claim:
    get = job.get
    return Claim(
        id,
        lease,
        job["task"],
        job["queue"],
        get("args", "{}"),
        int(get("priority", 5)),
        attempt,
        int(get("crashes", 0)),
        int(get("postponed", 0)),
        int(job["created_at"]),
        int(job["run_at"]),
        started_at,
        worker,
        get("history", "[]"),
        get("options"),
        "cancel_requested" in job,
        get("partition", ""),
        int(get("cost", 1)),
        get("flow"),
        get("checkpoint"),
        parents_of(parents) if parents else (),
    )


def parents_of(rows: Sequence[Row] | None) -> tuple[Parent, ...]:
    """A child's parents: rows of id, policy, state, result, reason."""
    if not rows:
        return ()
    return tuple(
        Parent(id, Policy(policy), State(state) if state else None, result, reason)
        for id, policy, state, result, reason in rows
    )


def record_of(row: Row) -> JobRecord:
    """A job from a row of `records.lua`."""
    (
        id, task, queue, state, args, priority, attempt, crashes, postponed, lease, created_at, run_at, started_at,
        finished_at, worker, cancel_requested, progress, progress_text, result, error, reason, history, options,
        partition, cost, flow, checkpoint, log, output, parents,
    ) = row  # fmt: skip
    return JobRecord(
        id=id,
        task=task,
        queue=queue,
        state=State(state),
        args="{}" if args is None else args,
        priority=5 if priority is None else int(priority),
        attempt=int(attempt or 0),
        crashes=int(crashes or 0),
        postponed=int(postponed or 0),
        lease=int(lease or 0),
        created_at=int(created_at),
        run_at=int(run_at),
        started_at=None if started_at is None else int(started_at),
        finished_at=None if finished_at is None else int(finished_at),
        worker=worker,
        cancel_requested=cancel_requested is not None,
        progress=None if progress is None else float(progress),
        progress_text=progress_text,
        result=result,
        error=error,
        reason=reason,
        history=history or "[]",
        options=options,
        partition=partition or "",
        cost=1 if cost is None else int(cost),
        flow=flow,
        checkpoint=checkpoint,
        log=tuple(map(_log_line, log or ())),
        output=tuple(map(_piece, output or ())),
        parents=parents_of(parents),
    )


def flow_of(row: Row) -> FlowRecord:
    """A flow from a row of `flows.lua`."""
    id, name, parent, created_at, callbacks, counts = row
    return FlowRecord(
        id,
        name,
        parent,
        int(created_at),
        tuple(Callback(job, Policy(policy)) for job, policy in json.loads(callbacks or "[]")),
        tuple(zip(map(State, counts[::2]), counts[1::2], strict=True)),
    )


def _log_line(member: str) -> LogLine:
    """A line as the log keeps it: lease, number, time and text."""
    lease, number, at, text = member.split(":", 3)
    return LogLine(int(at), text, (int(lease) << 32) + int(number))


def _piece(member: str) -> Piece:
    """A piece of output as it is kept: lease, number and text."""
    lease, number, text = member.split(":", 2)
    return Piece(text, (int(lease) << 32) + int(number))
