"""The REST API: `/api/v1`. Requests come in by `inputs`, answers go out by `web.shapes`, and all in between is the
operators' door's."""

from fastapi import APIRouter

from mainspring.web.api import (
    about,
    audit,
    bulk,
    errors,
    flows,
    jobs,
    queues,
    schedules,
    stats,
    tasks,
    webhooks,
    workers,
)

__all__ = ["router"]

router = APIRouter()
for part in (about, tasks, bulk, jobs, errors, queues, schedules, workers, flows, webhooks, stats, audit):
    router.include_router(part.router)
