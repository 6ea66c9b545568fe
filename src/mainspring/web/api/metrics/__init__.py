"""`GET /metrics`: what Prometheus scrapes. One scrape of one process shows the whole installation."""

from __future__ import annotations

from typing import cast

from fastapi import APIRouter
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response

from mainspring.web.api.metrics.families import Families
from mainspring.web.api.metrics.scrape import Scrape
from mainspring.web.identity import Role
from mainspring.web.pages.glance import glance_of
from mainspring.web.site import may

__all__ = ["Scrape", "router"]

router = APIRouter()

SECONDS = 5.0
"""For how long what was read is shown to all scrapers."""


@router.get("/metrics", dependencies=[may(Role.VIEWER)], include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Queues, workers and what became of jobs, in the text format that the scraper asks for."""
    scrape, glance = cast("Scrape", request.app.state.scrape), glance_of(request)
    encode, content_type = choose_encoder(request.headers.get("accept", ""))

    async def written() -> bytes:
        return encode(Families(await glance.at("metrics", scrape.read, SECONDS)))

    text = await glance.at(("metrics", content_type), written, SECONDS)
    return Response(text, headers={"content-type": content_type})
