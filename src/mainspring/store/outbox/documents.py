"""A job as a row of an outbox has it: a JSON object of `NewJob`'s fields, without those that are at their defaults.

Arguments and options are text in it, as everywhere: what a user put in is not looked at on the way.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from mainspring.model.job import NewJob
from mainspring.model.limits import check_cost
from mainspring.model.options import check_name, check_priority
from mainspring.store.base import Inserted, InsertRequest, Reply, Request
from mainspring.store.outbox.table import OutboxRow

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["Malformed", "document", "job_in", "rows_of", "written"]

_DEFAULTS = {field.name: field.default for field in fields(NewJob) if field.default is not MISSING}
_NAMES = frozenset(field.name for field in fields(NewJob))
_encode = json.JSONEncoder(separators=(",", ":")).encode


class Malformed(Exception):
    """A row that makes no job."""


def document(job: NewJob) -> str:
    """The job as text."""
    kept = {name: value for name, value in asdict(job).items() if name not in _DEFAULTS or value != _DEFAULTS[name]}
    return _encode(kept)


def rows_of(request: Request[Any]) -> str:
    """The rows to be written for an insert, as one JSON array."""
    if not isinstance(request, InsertRequest) or request.flows or request.ticks:
        raise TypeError(f"{type(request).__name__}: what goes into an outbox are jobs, and nothing else")
    rows = [
        {"id": job.id, "queue": job.queue, "partition": job.partition, "job": document(job)} for job in request.jobs
    ]
    return _encode(rows)


def written(request: Request[Reply]) -> Reply:
    """The reply to an insert whose rows were written: what becomes of the jobs is seen when they are relayed."""
    return cast("Reply", tuple(Inserted(job.id, existed=False) for job in cast("InsertRequest", request).jobs))


@cache
def _reader() -> TypeAdapter[NewJob]:
    # Only who relays needs it, and a program that only enqueues need not load pydantic.
    from pydantic import TypeAdapter

    return TypeAdapter(NewJob)


def job_in(row: OutboxRow) -> NewJob:
    """The job of a row, as it is to be inserted now: of its delay only what is left. Raises `Malformed`."""
    from pydantic_core import ValidationError

    try:
        found = json.loads(row.document)
        if unknown := set(found) - _NAMES:
            # Written by a newer program: who leaves it out may change what it means.
            raise Malformed(f"no job has {', '.join(sorted(map(str, unknown)))}; is this worker older than its author?")
        job = _reader().validate_python(found)
        check_name("task", job.task)
        check_name("queue", job.queue)
        check_priority(job.priority)
        check_cost(job.cost)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise Malformed(f"{'.'.join(map(str, first['loc'])) or 'the document'}: {first['msg']}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise Malformed(str(error)) from None
    if job.id != row.id:
        raise Malformed(f"its document is of another job, {job.id!r}")
    if job.parents or job.flow is not None:
        raise Malformed("it belongs to a flow, and flows do not travel this way")
    return replace(job, delay_ms=max(0, job.delay_ms - max(0, row.age_ms))) if job.delay_ms else job
