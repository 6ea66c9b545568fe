"""The reference store's rules for one job: what a job alone decides, without the store around it."""

from __future__ import annotations

import json
import time
from dataclasses import replace

from mainspring.model.job import Claim, JobRecord, NewJob, Parent
from mainspring.model.options import TEXT_SEARCHED
from mainspring.model.settlement import Settlement
from mainspring.model.states import FINAL, State
from mainspring.model.text import small
from mainspring.store.base import AlterRequest, Filter, Verb

WAITING = frozenset({State.BLOCKED, State.SCHEDULED, State.QUEUED})


def clock(now: int | None) -> int:
    """The time that a request carries, else this machine's."""
    return time.time_ns() // 1_000_000 if now is None else now


def due_state(run_at: int, now: int) -> State:
    """How a job waits that is to run at `run_at`."""
    return State.SCHEDULED if run_at > now else State.QUEUED


def created(new: NewJob, now: int, blocked: bool = False) -> JobRecord:
    """A job as it is when it has just been inserted."""
    run_at = now + new.delay_ms if new.run_at is None else new.run_at
    return JobRecord(
        id=new.id,
        task=new.task,
        queue=new.queue,
        state=State.BLOCKED if blocked else due_state(run_at, now),
        args=new.args,
        priority=new.priority,
        attempt=0,
        crashes=0,
        postponed=0,
        lease=0,
        created_at=now,
        run_at=run_at,
        started_at=None,
        finished_at=None,
        worker=None,
        cancel_requested=False,
        progress=None,
        progress_text=None,
        result=None,
        error=None,
        reason=None,
        history="[]",
        options=new.options,
        partition=new.partition,
        cost=new.cost,
        flow=new.flow,
    )


def settled(job: JobRecord, settlement: Settlement, now: int) -> JobRecord:
    """A running job after its settlement. One that goes back while somebody asks to cancel it is due at once."""
    asked = job.cancel_requested and settlement.state not in (State.COMPLETED, State.DEAD)
    job = replace(
        job,
        attempt=settlement.attempt,
        crashes=settlement.crashes,
        postponed=settlement.postponed,
        history=settlement.history,
        result=settlement.result,
        error=settlement.error,
        reason=job.reason if asked and job.reason is not None else settlement.reason,
    )
    if settlement.state is State.COMPLETED:
        job = replace(job, checkpoint=None)
    if settlement.state in FINAL:
        return replace(job, state=settlement.state, finished_at=now)
    if settlement.state is State.QUEUED:
        return replace(job, state=State.QUEUED)
    run_at = now if job.cancel_requested else now + settlement.delay_ms
    return replace(job, state=due_state(run_at, now), run_at=run_at)


def altered(job: JobRecord, request: AlterRequest, now: int) -> JobRecord | None:
    """A job after an operator's verb: the same object where the verb does not apply, None where it deletes."""
    value = request.value if request.value is not None else 0
    match request.verb:
        case Verb.CANCEL if job.state in WAITING:
            return replace(job, state=State.CANCELLED, finished_at=now, reason=request.reason)
        case Verb.CANCEL if job.state is State.RUNNING and not job.cancel_requested:
            return replace(job, cancel_requested=True, reason=request.reason)
        case Verb.REVIVE if job.state in FINAL:
            return revived(job, now)
        case Verb.REVIVE if job.state is State.SCHEDULED:
            return replace(job, state=State.QUEUED, run_at=now)
        case Verb.RESCHEDULE if job.state in {State.SCHEDULED, State.QUEUED}:
            return replace(job, state=due_state(value, now), run_at=value)
        case Verb.REPRIORITISE if job.state in WAITING:
            return replace(job, priority=value)
        case Verb.DELETE if job.state is not State.RUNNING:
            return None
    return job


def revived(job: JobRecord, now: int) -> JobRecord:
    """A final job, queued again as if new but for its history, its lease and what it has saved."""
    return replace(
        job,
        state=State.QUEUED,
        run_at=now,
        finished_at=None,
        attempt=0,
        crashes=0,
        postponed=0,
        cancel_requested=False,
        progress=None,
        progress_text=None,
        result=None,
        error=None,
        reason=None,
    )


def as_claim(job: JobRecord, worker: str | None, parents: tuple[Parent, ...] = ()) -> Claim:
    """The job as its owner sees it; `worker` runs it, or died with it."""
    assert job.started_at is not None
    assert worker is not None
    return Claim(
        id=job.id,
        lease=job.lease,
        task=job.task,
        queue=job.queue,
        args=job.args,
        priority=job.priority,
        attempt=job.attempt,
        crashes=job.crashes,
        postponed=job.postponed,
        created_at=job.created_at,
        run_at=job.run_at,
        started_at=job.started_at,
        worker=worker,
        history=job.history,
        options=job.options,
        cancel_requested=job.cancel_requested,
        partition=job.partition,
        cost=job.cost,
        flow=job.flow,
        checkpoint=job.checkpoint,
        parents=parents,
    )


def fits(job: JobRecord, filter: Filter) -> bool:
    """Whether all conditions hold, but for that about flows."""
    at = place(job)[1]
    return (
        (not filter.ids or job.id in filter.ids)
        and (not filter.states or job.state in filter.states)
        and (filter.queue is None or job.queue == filter.queue)
        and (filter.task is None or job.task == filter.task)
        and (filter.partition is None or job.partition == filter.partition)
        and (filter.since is None or at >= filter.since)
        and (filter.until is None or at <= filter.until)
        and (filter.text is None or small(filter.text) in small(job.args[:TEXT_SEARCHED]))
        and (filter.tag is None or filter.tag in tags_in(job.options))
    )


def tags_in(options: str | None) -> list[str]:
    """The tags of a job, by its options: a JSON object, or something else that nobody can read."""
    stored = json.loads(options or "{}")
    tags: list[str] = stored.get("tags", []) if isinstance(stored, dict) else []
    return tags


def place(job: JobRecord) -> tuple[bool, int, str]:
    """Where a job stands in a listing, greatest first: live before final, then by when it got there, then by id."""
    return job.finished_at is None, job.created_at if job.finished_at is None else job.finished_at, job.id
