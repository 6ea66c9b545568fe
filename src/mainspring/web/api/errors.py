"""Dead letters by what they died of."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import Field

from mainspring.web.api.inputs import Ask, Condition, When
from mainspring.web.api.route import new_router
from mainspring.web.identity import Role
from mainspring.web.shapes.base import Moment, Shape
from mainspring.web.site import AtSite, may

__all__ = ["router"]

router = new_router("jobs")

IDS_SHOWN = 1000


class ErrorsQuery(Ask):
    """Conditions on dead letters, all of which must hold."""

    queue: Condition | None = None
    partition: Condition | None = None
    task: Condition | None = None
    flow: Condition | None = None
    tag: Condition | None = None
    since: When | None = Field(default=None, description="Died since: a time with its zone, or how long ago.")
    until: When | None = Field(default=None, description="The same, until then.")


class ErrorGroupShape(Shape):
    """Dead letters of one task that died of the same."""

    task: str
    type: str = Field(description='The name of the exception\'s type; "": there was none.')
    message: str = Field(description='What their messages have in common, "…" for what differs.')
    example: str = Field(description="The newest one's message, or the beginning of it.")
    count: int
    newest: Moment
    oldest: Moment
    ids: list[str] = Field(description=f"The newest {IDS_SHOWN:,} of them.")


class ErrorsShape(Shape):
    """Groups, the largest first."""

    items: list[ErrorGroupShape]
    looked_at: int = Field(description="How many dead letters were looked at, the newest; 5,000 at most.")
    more: bool = Field(description="Whether there may be older ones.")


@router.get("/errors", dependencies=[may(Role.VIEWER)])
async def list_errors(site: AtSite, asked: Annotated[ErrorsQuery, Query()]) -> ErrorsShape:
    """The newest dead letters in groups by what they died of: by task, type of error, and what their messages have in
    common. Groups are retried by their ids: `POST /jobs/retry`."""
    groups = await site.app.jobs.aerrors(**asked.model_dump(exclude_none=True))
    return ErrorsShape(
        items=[
            ErrorGroupShape(
                task=group.task,
                type=group.type,
                message=group.message,
                example=group.example,
                count=group.count,
                newest=group.newest,
                oldest=group.oldest,
                ids=list(group.ids[:IDS_SHOWN]),
            )
            for group in groups
        ],
        looked_at=groups.looked_at,
        more=groups.more,
    )
