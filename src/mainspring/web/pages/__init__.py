"""The dashboard: pages made on the server."""

from fastapi import APIRouter

from mainspring.web.pages import deeds, job, jobs, overview, settings

__all__ = ["router"]

router = APIRouter()
for family in (overview, jobs, job, settings, deeds):
    router.include_router(family.router)
