"""The audit log: what operators did."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from mainspring.web.api.inputs import Page
from mainspring.web.api.route import new_router
from mainspring.web.identity import Role
from mainspring.web.shapes import AuditShape, Listing, audit_shape
from mainspring.web.site import AtSite, may

__all__ = ["router"]

router = new_router("audit")


@router.get("/audit", dependencies=[may(Role.VIEWER)])
async def list_audit(site: AtSite, asked: Annotated[Page, Query()]) -> Listing[AuditShape]:
    """What operators did, newest first; kept for 90 days."""
    page = await site.app.audit.alist(asked.limit, asked.cursor)
    return Listing(items=[audit_shape(view) for view in page], cursor=page.cursor)
