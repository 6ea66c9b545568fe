"""The audit log: what operators did."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from mainspring.web.identity import Role
from mainspring.web.pages.reads import reads_of
from mainspring.web.pages.rendering import Page, page_of
from mainspring.web.site import may

__all__ = ["router"]

SHOWN = 50

router = APIRouter(dependencies=[may(Role.VIEWER)])
AtPage = Annotated[Page, Depends(page_of)]


@router.get("/audit", include_in_schema=False)
async def audit(page: AtPage) -> Response:
    """A page of it, newest first."""
    cursor = page.request.query_params.get("cursor") or None
    entries = await reads_of(page).once(("audit", cursor), lambda: page.site.app.audit.alist(SHOWN, cursor))
    return page.show("audit.html", entries=entries, next_cursor=entries.cursor, paged=cursor is not None)
