"""The dashboard: pages made on the server."""

from fastapi import APIRouter

from mainspring.web.pages import assets, job, jobs, overview, settings

__all__ = ["router"]

router = APIRouter()
for family in (assets, overview, jobs, job, settings):
    router.include_router(family.router)
