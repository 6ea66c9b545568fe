"""Webhooks: who is told of what, and how the deliveries go. A delivery is a job like any other."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.responses import Response

from mainspring.web.identity import Role
from mainspring.web.pages.jobs import row_of
from mainspring.web.pages.reads import reads_of
from mainspring.web.pages.rendering import Page, page_of
from mainspring.web.site import may

__all__ = ["router"]

TASK = "mainspring.webhook"
SHOWN = 30

router = APIRouter(dependencies=[may(Role.VIEWER)])
AtPage = Annotated[Page, Depends(page_of)]


@router.get("/webhooks", include_in_schema=False)
async def webhooks(page: AtPage) -> Response:
    """All of them, and the newest deliveries."""
    hooks: Any = getattr(page.site.app, "webhooks", None)
    listed = hooks.list() if hasattr(hooks, "list") else tuple(hooks or ())
    deliveries = await reads_of(page).jobs({"task": TASK}, SHOWN)
    return page.show("webhooks.html", hooks=listed, rows=[row_of(job) for job in deliveries], task=TASK)
