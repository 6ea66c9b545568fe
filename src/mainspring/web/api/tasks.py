"""Tasks: what there is to enqueue, with the JSON Schema of its arguments; and enqueuing."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Request, Response
from pydantic import Field

from mainspring.errors import MainspringError
from mainspring.model.limits import KEEP
from mainspring.model.text import quote
from mainspring.web.api.enqueuing import EnqueueAsk, draft, enqueue, is_own, task_to_enqueue
from mainspring.web.api.inputs import Ask, Name, NamePath, Number, RateText
from mainspring.web.api.route import Conflict, changing, new_router, problems, put_location
from mainspring.web.identity import Role
from mainspring.web.shapes import JobShape, Listing, TaskShape, WholeTaskShape, job_shape, task_shape, whole_task_shape
from mainspring.web.shapes.base import Shape
from mainspring.web.site import AtSite, Site, may

__all__ = ["router"]

router = new_router("tasks")

BATCH = 250
"""So many jobs, with all that a request has room for, are stored at once by every store."""

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=200,
        description="The first job with a key is what every later request with it gives, for 24 hours.",
    ),
]


class TaskLimitsAsk(Ask):
    """Limits over all workers and queues; null: no limit. What is left out stays."""

    concurrency: Number | None = Field(default=None, description="How many of its jobs may run at once.")
    rates: list[RateText] | None = Field(default=None, max_length=10, description="How many may start in a time.")


@router.get("/tasks", dependencies=[may(Role.VIEWER)])
async def list_tasks(site: AtSite) -> Listing[TaskShape]:
    """The tasks of the program that serves this API, by name."""
    return Listing(
        items=[task_shape(task) for name, task in sorted(site.app.tasks.items()) if not is_own(name)], cursor=None
    )


@router.get("/tasks/{name:name}", dependencies=[may(Role.VIEWER)], responses=problems(404))
async def get_task(site: AtSite, name: NamePath) -> WholeTaskShape:
    """One task, with the JSON Schema of its arguments."""
    return await _whole(site, name)


@router.post(
    "/tasks/{name:name}/jobs",
    dependencies=changing(Role.OPERATOR),
    status_code=201,
    responses=problems(404, 409, 429, 507)
    | {200: {"model": JobShape, "description": "A job of that id or key is there already; it is this one."}},
)
async def enqueue_job(
    request: Request,
    response: Response,
    site: AtSite,
    name: NamePath,
    ask: EnqueueAsk,
    idempotency_key: IdempotencyKey = None,
) -> JobShape:
    """Enqueue a job of this task. When this is answered, the job is durable."""
    job = await enqueue(task_to_enqueue(site.app, name), ask, idempotency_key)
    if job.task != name:
        raise Conflict(f"job {job.id} is there already, and is one of task {quote(job.task)}; give another id")
    put_location(request, response, "jobs", job.id)
    if job.existed:
        response.status_code = 200
    return job_shape(job)


class BatchJobAsk(EnqueueAsk):
    """A job to enqueue with others."""

    task: Name
    idempotency_key: str | None = Field(
        default=None,
        max_length=200,
        description="The first job of the task with a key is what every later one with it gives, for 24 hours.",
    )


class BatchAsk(Ask):
    """Jobs to enqueue."""

    jobs: list[BatchJobAsk] = Field(min_length=1, max_length=BATCH)


class BatchShape(Shape):
    """Jobs that are enqueued."""

    items: list[JobShape] = Field(description="In the order of the request.")
    existed: list[str] = Field(description="The ids of those that were there already.")


@router.post(
    "/jobs",
    dependencies=changing(Role.OPERATOR),
    status_code=201,
    responses=problems(404, 409, 429, 507),
    tags=["jobs"],
)
async def enqueue_jobs(site: AtSite, ask: BatchAsk) -> BatchShape:
    """Enqueue several jobs, of any tasks: all of them or, where one is turned away, none. When this is answered, they
    are durable. Jobs whose ids or keys are there already are given as they are."""
    drafts = []
    for place, each in enumerate(ask.jobs):
        try:
            drafts.append(draft(task_to_enqueue(site.app, each.task), each, each.idempotency_key))
        except MainspringError as error:
            error.args = (f"jobs.{place}: {error}", *error.args[1:])
            raise
    jobs = await site.app.aenqueue_many(drafts)
    return BatchShape(items=[job_shape(job) for job in jobs], existed=[job.id for job in jobs if job.existed])


@router.patch("/tasks/{name:name}/limits", dependencies=changing(Role.ADMIN), responses=problems(404))
async def limit_task(site: AtSite, name: NamePath, ask: TaskLimitsAsk) -> WholeTaskShape:
    """Limit how many of its jobs run at once, and how many start in a time. Wins over what the code says."""
    site.app.task_named(name)
    said = ask.model_fields_set
    await site.app.queues.aset_task_limits(
        name,
        concurrency=ask.concurrency if "concurrency" in said else KEEP,
        rate=ask.rates if "rates" in said else KEEP,
    )
    return await _whole(site, name)


async def _whole(site: Site, name: str) -> WholeTaskShape:
    task = site.app.task_named(name)
    limits = {view.name: view for view in await site.app.queues.atask_limits()}
    return whole_task_shape(task, limits.get(name))
