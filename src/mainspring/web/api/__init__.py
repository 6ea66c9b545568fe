"""The REST API: `/api/v1`. Requests come in by `inputs`, answers go out by `web.shapes`, and all in between is the
operators' door's."""

from fastapi import APIRouter

from mainspring.web.api import bulk, flows, jobs, queues, schedules, tasks, workers

__all__ = ["router"]

router = APIRouter()
for part in (tasks, bulk, jobs, queues, schedules, workers, flows):
    router.include_router(part.router)
