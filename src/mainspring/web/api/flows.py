"""Flows: jobs that belong together."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from mainspring.web.api.inputs import NamePath, Page
from mainspring.web.api.jobs import CancelAsk
from mainspring.web.api.route import changing, new_router, problems
from mainspring.web.identity import Role
from mainspring.web.shapes import FlowShape, Listing, WholeFlowShape, flow_shape, whole_flow_shape
from mainspring.web.site import AtSite, may

__all__ = ["router"]

router = new_router("flows")


@router.get("/flows", dependencies=[may(Role.VIEWER)])
async def list_flows(site: AtSite, asked: Annotated[Page, Query()]) -> Listing[FlowShape]:
    """Flows, newest first; those that are parts of others are not listed."""
    page = await site.app.flows.afind(limit=asked.limit, cursor=asked.cursor)
    return Listing(items=[flow_shape(view) for view in page], cursor=page.cursor)


@router.get("/flows/{id:name}", dependencies=[may(Role.VIEWER)], responses=problems(404))
async def get_flow(site: AtSite, id: NamePath) -> WholeFlowShape:
    """One flow as a graph: its parts, its jobs, and which of them wait for which."""
    return whole_flow_shape(await site.app.flows.aview(id))


@router.post("/flows/{id:name}/cancel", dependencies=changing(Role.OPERATOR), responses=problems(404))
async def cancel_flow(site: AtSite, id: NamePath, ask: CancelAsk | None = None) -> WholeFlowShape:
    """Cancel all its jobs that have not ended, those of its parts too; what runs is asked to end."""
    flow = await site.app.flows.aget(id)
    await flow.acancel(ask.reason if ask else "")
    return whole_flow_shape(await site.app.flows.aview(id))
