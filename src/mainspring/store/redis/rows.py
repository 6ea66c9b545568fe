"""What scripts give, as values: every number is text there, and what is at its default is None."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mainspring.model.job import Claim, JobRecord, LogLine, Parent, Policy
from mainspring.model.states import State

__all__ = ["claim_of", "parents_of", "record_of"]

Row = Sequence[Any]


def claim_of(row: Row) -> Claim:
    """A claim from a row of `claims.lua`."""
    (
        id, lease, task, queue, args, priority, attempt, crashes, postponed, created_at, run_at, started_at, worker,
        history, options, cancel_requested, partition, cost, flow, parents,
    ) = row  # fmt: skip
    return Claim(
        id=id,
        lease=int(lease),
        task=task,
        queue=queue,
        args="{}" if args is None else args,
        priority=5 if priority is None else int(priority),
        attempt=int(attempt or 0),
        crashes=int(crashes or 0),
        postponed=int(postponed or 0),
        created_at=int(created_at),
        run_at=int(run_at),
        started_at=int(started_at),
        worker=worker,
        history=history or "[]",
        options=options,
        cancel_requested=cancel_requested is not None,
        partition=partition or "",
        cost=1 if cost is None else int(cost),
        flow=flow,
        parents=parents_of(parents),
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
        partition, cost, flow, log, parents,
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
        log=tuple(map(_log_line, log or ())),
        parents=parents_of(parents),
    )


def _log_line(member: str) -> LogLine:
    """A line as the log keeps it: lease, number, time and text."""
    _, _, at, text = member.split(":", 3)
    return LogLine(int(at), text)
