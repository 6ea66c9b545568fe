"""The audit log in JSON."""

from __future__ import annotations

from pydantic import Field

from mainspring.admin import AuditView
from mainspring.web.shapes.base import JsonObject, Moment, Shape

__all__ = ["AuditShape", "audit_shape"]


class AuditShape(Shape):
    """What an operator did."""

    id: str
    at: Moment = Field(description="When it was begun.")
    actor: str = Field(description="Who did it.")
    action: str = Field(description='By its verb: "jobs.retry", "queues.pause".')
    target: str = Field(description="To what: an id, a name, or the conditions of a selection.")
    detail: JsonObject = Field(description="What else was said, secrets hidden.")
    count: int | None = Field(description="How many things it changed; null: it has not ended, or never will.")


def audit_shape(view: AuditView) -> AuditShape:
    """One entry."""
    return AuditShape(
        id=view.id,
        at=view.at,
        actor=view.actor,
        action=view.action,
        target=view.target,
        detail=dict(view.detail),
        count=view.count,
    )
