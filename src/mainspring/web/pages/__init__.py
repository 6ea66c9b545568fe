"""The dashboard: pages made on the server."""

from fastapi import APIRouter

from mainspring.web.pages import (
    audit,
    dead,
    deeds,
    enqueue,
    flows,
    job,
    jobs,
    overview,
    queues,
    schedules,
    settings,
    webhooks,
    workers,
)

__all__ = ["router"]

router = APIRouter()
# `deeds` comes last: its addresses take any word after `job/`.
for family in (
    overview,
    queues,
    jobs,
    job,
    enqueue,
    dead,
    schedules,
    workers,
    flows,
    webhooks,
    audit,
    settings,
    deeds,
):
    router.include_router(family.router)
