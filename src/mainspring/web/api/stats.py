"""Statistics: how much was done, and how long it took."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query
from pydantic import Field

from mainspring.web.api.inputs import Ask, Condition, Seconds
from mainspring.web.api.route import new_router
from mainspring.web.identity import Role
from mainspring.web.shapes import Listing, SeriesShape, TotalShape, series_shape, total_shape
from mainspring.web.site import AtSite, may

__all__ = ["router"]

router = new_router("stats")

SPAN = 'How far back: seconds, or text such as "24h"; a minute at least, and 30 days at most.'


class SeriesQuery(Ask):
    """Of what, and how far back."""

    span: Seconds = Field(default=3600, description=SPAN)
    queue: Condition | None = None
    task: Condition | None = None


class TotalsQuery(Ask):
    """By what, and how far back."""

    span: Seconds = Field(default=3600, description=SPAN)
    by: Literal["queue", "task"] = "queue"


@router.get("/stats/series", dependencies=[may(Role.VIEWER)])
async def stats_series(site: AtSite, asked: Annotated[SeriesQuery, Query()]) -> SeriesShape:
    """The last hour, day or whatever, point by point, of all jobs or those of one queue, one task."""
    return series_shape(await site.app.stats.aseries(asked.span, asked.queue, asked.task))


@router.get("/stats/totals", dependencies=[may(Role.VIEWER)])
async def stats_totals(site: AtSite, asked: Annotated[TotalsQuery, Query()]) -> Listing[TotalShape]:
    """What the last hour, day or whatever came to, for each queue or task of which anything was counted, by name."""
    totals = await site.app.stats.atotals(asked.span, asked.by)
    return Listing(items=[total_shape(name, point) for name, point in sorted(totals.items())], cursor=None)
