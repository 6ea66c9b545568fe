"""Flows: jobs that belong together."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from mainspring.web.api.bulk import Going, ManyShape, swept
from mainspring.web.api.inputs import Limit, NamePath, Page
from mainspring.web.api.jobs import CancelAsk
from mainspring.web.api.route import changing, new_router, problems
from mainspring.web.carried import read_carried
from mainspring.web.identity import Role
from mainspring.web.shapes import FlowShape, Listing, WholeFlowShape, flow_shape, whole_flow_shape
from mainspring.web.site import AtSite, may

__all__ = ["router"]

router = new_router("flows")


class FlowPage(Page):
    """How many nodes of a flow, and from where."""

    limit: Limit = 500


class CancelFlowAsk(CancelAsk, Going):
    """Why, and how far it has come."""


@router.get("/flows", dependencies=[may(Role.VIEWER)])
async def list_flows(site: AtSite, asked: Annotated[Page, Query()]) -> Listing[FlowShape]:
    """Flows, newest first; those that are parts of others are not listed."""
    page = await site.app.flows.afind(limit=asked.limit, cursor=asked.cursor)
    return Listing(items=[flow_shape(view) for view in page], cursor=page.cursor)


@router.get("/flows/{id:name}", dependencies=[may(Role.VIEWER)], responses=problems(404))
async def get_flow(site: AtSite, id: NamePath, asked: Annotated[FlowPage, Query()]) -> WholeFlowShape:
    """One flow as a graph: how far it is, and its jobs, so many at a time, each with what it waits for."""
    return whole_flow_shape(await site.app.flows.agraph(id, limit=asked.limit, cursor=asked.cursor))


@router.post("/flows/{id:name}/cancel", dependencies=changing(Role.OPERATOR), responses=problems(404))
async def cancel_flow(site: AtSite, id: NamePath, ask: CancelFlowAsk | None = None) -> ManyShape:
    """Cancel all its jobs that have not ended, those of its parts too; what runs is asked to end. A request works for a
    few seconds; where its answer is not `done`, send it again with the `cursor`."""
    reason, cursor = (ask.reason, ask.cursor) if ask else ("", None)
    asked = f"flow {id} {reason}"
    if cursor is not None:
        return await swept(site, read_carried(cursor, site.secret, asked), asked)
    await site.app.flows.aget(id)
    return await swept(site, await site.app.jobs.asweep("cancel", flow=id, reason=reason), asked)
