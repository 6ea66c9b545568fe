"""Webhooks in JSON."""

from __future__ import annotations

from pydantic import Field

from mainspring.admin.webhooks import WebhookView
from mainspring.web.shapes.base import Shape
from mainspring.web.shapes.jobs import JobShape, job_shape

__all__ = ["WebhookShape", "webhook_shape"]


class WebhookShape(Shape):
    """Who is told of what happens."""

    name: str
    url: str = Field(description="Without the query, which may hold secrets.")
    on: list[str] = Field(description="The events that it tells of.")
    tasks: list[str] = Field(description="Of whose jobs; none: of all.")
    queues: list[str]
    include_result: bool
    allow_private: bool
    last: list[JobShape] = Field(description="The newest deliveries, newest first: jobs like any other.")


def webhook_shape(view: WebhookView) -> WebhookShape:
    """A webhook of the code, and its newest deliveries."""
    return WebhookShape(
        name=view.name,
        url=view.url,
        on=list(view.on),
        tasks=list(view.tasks),
        queues=list(view.queues),
        include_result=view.include_result,
        allow_private=view.allow_private,
        last=[job_shape(job) for job in view.last],
    )
