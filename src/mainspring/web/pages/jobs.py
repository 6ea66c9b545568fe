"""The list of jobs: find some, and change those that were found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.responses import Response

from mainspring.errors import ConfigurationError
from mainspring.job import Job
from mainspring.model.states import State
from mainspring.web.identity import Role
from mainspring.web.pages.deeds import deeds_for
from mainspring.web.pages.filters import Chosen
from mainspring.web.pages.reads import reads_of
from mainspring.web.pages.rendering import Page, after, page_of
from mainspring.web.site import may

__all__ = ["Row", "router", "row_of"]

PER_PAGE = 50
ARGS_SHOWN = 160

router = APIRouter(dependencies=[may(Role.VIEWER)])
AtPage = Annotated[Page, Depends(page_of)]


@dataclass(frozen=True, slots=True)
class Row:
    """A job as lists show it."""

    id: str
    task: str
    queue: str
    partition: str
    state: State
    args: str
    attempt: int
    crashes: int
    priority: int
    at: datetime
    """Its end, its start, or when it may run: whichever its state makes interesting."""
    at_means: str
    progress: float | None
    tags: tuple[str, ...]
    situation: str
    """What there is to say about it: why it is where it is, what it is doing."""


def row_of(job: Job[Any]) -> Row:
    """The row of a job."""
    at, means = _when(job)
    return Row(
        id=job.id,
        task=job.task,
        queue=job.queue,
        partition=job.partition,
        state=job.state,
        args=arguments_line(job),
        attempt=job.attempt,
        crashes=job.crashes,
        priority=job.priority,
        at=at,
        at_means=means,
        progress=job.progress if job.state is State.RUNNING else None,
        tags=job.tags,
        situation=_situation(job),
    )


def arguments_line(job: Job[Any]) -> str:
    """Its arguments on one line: `user_id=7, email="a@b.c"`; secrets are hidden. Of long ones that have none only the
    beginning is read."""
    text = job.record.args
    if len(text) > 100_000 and not job.secrets:
        return text[:ARGS_SHOWN] + "…"
    said = []
    length = 0
    for name, value in job.shown_args().items():
        said.append(f"{name}={json.dumps(value, ensure_ascii=False)[:ARGS_SHOWN]}")
        length += len(said[-1])
        if length > ARGS_SHOWN:
            break
    return ", ".join(said)


def _when(job: Job[Any]) -> tuple[datetime, str]:
    if job.finished_at is not None:
        return job.finished_at, "ended"
    if job.state is State.RUNNING and job.started_at is not None:
        return job.started_at, "started"
    if job.state is State.SCHEDULED:
        return job.run_at, "due"
    return job.created_at, "enqueued"


def _situation(job: Job[Any]) -> str:
    if job.state is State.RUNNING:
        said = ["asked to cancel" if job.cancel_requested else "", job.progress_text or ""]
        return ", ".join(each for each in said if each)
    if job.state is State.COMPLETED:
        return ""
    error = job.error
    return ": ".join(each for each in (job.reason, error.message if error else None) if each)


@router.get("/jobs", include_in_schema=False)
async def jobs(page: AtPage) -> Response:
    """Search and list."""
    asked = page.request.query_params
    chosen = Chosen.of(asked)
    reads = reads_of(page)
    wanted = asked.get("q", "").strip()
    if wanted:
        if await page.site.app.jobs.afind(wanted, limit=1):
            return after(page.links("job", id=wanted))
        return after(page.links("jobs", **chosen.but(text=wanted)))
    rows: Sequence[Row] = ()
    cursor: str | None = None
    problem = None
    try:
        found = await reads.jobs(chosen.where(page.now.zone), PER_PAGE, asked.get("cursor") or None)
        rows, cursor = [row_of(job) for job in found], found.cursor
    except ConfigurationError as error:
        problem = str(error)
    return page.show(
        "jobs.html",
        status=200 if problem is None else 422,
        chosen=chosen,
        rows=rows,
        next_cursor=cursor,
        paged=bool(asked.get("cursor")),
        problem=problem,
        counts=await reads.counts(),
        states=list(State),
        deeds=deeds_for(frozenset(map(State, chosen.state)) or frozenset(State), page.identity.role),
        tasks=sorted(page.site.app.tasks),
    )
