"""Webhooks: who is told of what, and how that goes. Their deliveries are jobs of the task `mainspring.webhook`."""

from __future__ import annotations

from fastapi import Request, Response

from mainspring.web.api.inputs import NamePath
from mainspring.web.api.route import changing, new_router, problems, put_location
from mainspring.web.identity import Role
from mainspring.web.shapes import JobShape, Listing, WebhookShape, job_shape, webhook_shape
from mainspring.web.site import AtSite, may

__all__ = ["router"]

router = new_router("webhooks")


@router.get("/webhooks", dependencies=[may(Role.VIEWER)])
async def list_webhooks(site: AtSite) -> Listing[WebhookShape]:
    """The webhooks of the program that serves this API, by name, each with its newest deliveries."""
    return Listing(items=[webhook_shape(view) for view in await site.app.webhooks.alist()], cursor=None)


@router.post(
    "/webhooks/{name:name}/test", dependencies=changing(Role.OPERATOR), status_code=201, responses=problems(404, 507)
)
async def test_webhook(request: Request, response: Response, site: AtSite, name: NamePath) -> JobShape:
    """Deliver an event "ping" to it, by a job whose end tells how that went."""
    job = await site.app.webhooks.atest(name)
    put_location(request, response, "jobs", job.id)
    return job_shape(job)
