"""Jobs: found, looked at, and changed one at a time."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request, Response
from pydantic import Field

from mainspring.model.states import State
from mainspring.web.api.enqueuing import task_to_enqueue
from mainspring.web.api.inputs import Ask, At, Conditions, Delay, JobCountQuery, NamePath, Priority, Text, where_of
from mainspring.web.api.route import Conflict, changing, new_router, problems, put_location
from mainspring.web.identity import Role
from mainspring.web.shapes import JobShape, Listing, WholeJobShape, job_shape, whole_job_shape
from mainspring.web.shapes.base import Counts, Shape, counts_of
from mainspring.web.site import AtSite, Site, may

__all__ = ["router"]

router = new_router("jobs")


class CountShape(Shape):
    """How many jobs there are of a kind."""

    total: int
    counts: Counts


class CancelAsk(Ask):
    """Why jobs are cancelled."""

    reason: Text = Field(default="", description="Kept with the jobs.")


class RerunAsk(Ask):
    """With which arguments."""

    args: dict[str, Any] | None = Field(
        default=None,
        description="All of them by name. A secret that is shown as [secret] stays as it was.",
    )


class RescheduleAsk(Ask):
    """When a waiting job runs instead; give one of them."""

    delay: Delay | None = None
    at: At | None = Field(default=None, description="Then.")


class ReprioritiseAsk(Ask):
    """How urgent a waiting job is instead."""

    priority: Priority


@router.get("/jobs", dependencies=[may(Role.VIEWER)])
async def list_jobs(site: AtSite, conditions: Conditions) -> Listing[JobShape]:
    """Jobs that fit, newest first: live ones by creation, then those that have ended by their end.

    Where few jobs fit among very many, a page may be short, even empty, although there are more: see its cursor.
    """
    ids, where = where_of(conditions)
    page = await site.app.jobs.afind(ids, limit=conditions.limit, cursor=conditions.cursor, **where)
    return Listing(items=[job_shape(job) for job in page], cursor=page.cursor)


@router.get("/counts", dependencies=[may(Role.VIEWER)])
async def count_jobs(site: AtSite, conditions: Annotated[JobCountQuery, Query()]) -> CountShape:
    """How many jobs fit, exactly, by state."""
    ids, where = where_of(conditions)
    counts = await site.app.jobs.acounts(ids, **where)
    return CountShape(total=sum(counts.values()), counts=counts_of(counts))


@router.get("/jobs/{id:job_id}", dependencies=[may(Role.VIEWER)], responses=problems(404))
async def get_job(site: AtSite, id: NamePath) -> WholeJobShape:
    """Everything about one job: its result, attempts, log, parents, and why it is not running."""
    return await _whole(site, id)


@router.post(
    "/jobs/{id:name}/cancel",
    dependencies=changing(Role.OPERATOR),
    responses=problems(404, 409)
    | {202: {"model": WholeJobShape, "description": "It runs; its worker is asked to end it."}},
)
async def cancel_job(response: Response, site: AtSite, id: NamePath, ask: CancelAsk | None = None) -> WholeJobShape:
    """Cancel a job that waits, or ask for one that runs to be ended."""
    if not await site.app.jobs.acancel(id, reason=ask.reason if ask else ""):
        raise await _refusal(site, id, "has ended; only one that waits or runs can be cancelled")
    whole = await _whole(site, id)
    if whole.state is State.RUNNING:
        response.status_code = 202
    return whole


@router.post("/jobs/{id:name}/retry", dependencies=changing(Role.OPERATOR), responses=problems(404, 409))
async def retry_job(site: AtSite, id: NamePath) -> WholeJobShape:
    """Queue an ended job again with all its attempts, or let a scheduled one run now."""
    if not await site.app.jobs.aretry(id):
        raise await _refusal(site, id, "has not ended, and is not scheduled for later")
    return await _whole(site, id)


@router.post(
    "/jobs/{id:name}/rerun",
    dependencies=changing(Role.OPERATOR),
    status_code=201,
    responses=problems(404, 409, 429, 507),
)
async def rerun_job(
    request: Request, response: Response, site: AtSite, id: NamePath, ask: RerunAsk | None = None
) -> WholeJobShape:
    """Enqueue a new job like this one: of the same task, queue, priority and options, with its arguments or edited
    ones. The old one stays as it is, and the new one is in no flow."""
    args = None if ask is None else ask.args
    if args is not None:
        task_to_enqueue(site.app, (await site.app.jobs.aget(id)).task)
    job = await site.app.jobs.arerun(id, args)
    put_location(request, response, "jobs", job.id)
    return await _whole(site, job.id)


@router.post("/jobs/{id:name}/reschedule", dependencies=changing(Role.OPERATOR), responses=problems(404, 409))
async def reschedule_job(site: AtSite, id: NamePath, ask: RescheduleAsk) -> WholeJobShape:
    """Let a waiting job run at another time."""
    if not await site.app.jobs.areschedule(id, delay=ask.delay, at=ask.at):
        raise await _refusal(site, id, "is neither queued nor scheduled, so it has no time to change")
    return await _whole(site, id)


@router.post("/jobs/{id:name}/reprioritise", dependencies=changing(Role.OPERATOR), responses=problems(404, 409))
async def reprioritise_job(site: AtSite, id: NamePath, ask: ReprioritiseAsk) -> WholeJobShape:
    """Give a waiting job another priority."""
    if not await site.app.jobs.areprioritise(ask.priority, id):
        raise await _refusal(site, id, "does not wait, so its priority says nothing")
    return await _whole(site, id)


@router.delete(
    "/jobs/{id:name}",
    dependencies=changing(Role.ADMIN),
    status_code=204,
    response_class=Response,
    responses=problems(404, 409),
)
async def delete_job(site: AtSite, id: NamePath) -> None:
    """Delete a job that does not run, with its log. Nothing brings it back."""
    if not await site.app.jobs.adelete(id):
        raise await _refusal(site, id, "runs; cancel it first")


async def _whole(site: Site, id: str) -> WholeJobShape:
    job = await site.app.jobs.aget(id)
    return whole_job_shape(job, await job.awhy())


async def _refusal(site: Site, id: str, why: str) -> Conflict:
    """Why nothing was done to that job. Raises `JobNotFound`."""
    job = await site.app.jobs.aget(id)
    return Conflict(f"job {job.id} is {job.state}: it {why}")
