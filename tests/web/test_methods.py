"""What HTTP wants of methods: HEAD, OPTIONS, and an `Allow` that is true."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from mainspring import Mainspring
from mainspring.web import create_app

from .asking import asking


@pytest.fixture(params=["alone", "FastAPI", "Starlette"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    """Alone, and where it is mounted; what it is mounted in runs no lifespan of it."""
    async with Mainspring("sqlite://") as app:

        @app.task
        def add(n: int) -> None: ...

        web = create_app(app)
        at = "http://localhost"
        if request.param == "FastAPI":
            host: FastAPI | Starlette = FastAPI()
            host.mount("/ops/jobs", web)
            at += "/ops/jobs"
        elif request.param == "Starlette":
            host = Starlette(routes=[Mount("/ops/jobs", web)])
            at += "/ops/jobs"
        else:
            host = web
        async with asking(host, at=at) as client:
            yield client


@pytest.mark.parametrize("path", ["/", "/jobs", "/api/v1/about", "/api/v1/jobs?limit=1", "/api/v1/jobs/none"])
async def test_head_is_get_without_the_body(client: httpx.AsyncClient, path: str) -> None:
    got, head = await client.get(path), await client.head(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-type"] == got.headers["content-type"]


async def test_a_stream_has_no_head(client: httpx.AsyncClient) -> None:
    assert (await client.head("/api/v1/jobs/x/events")).status_code == 405


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/jobs", "GET, HEAD"),
        ("/api/v1/counts", "GET, HEAD"),
        ("/api/v1/jobs/x", "GET, HEAD, DELETE"),
        ("/api/v1/jobs/cancel", "GET, HEAD, POST, DELETE"),
        ("/api/v1/schedules/x", "GET, HEAD, PUT, DELETE"),
        ("/api/v1/tasks/a%2Fb/limits", "GET, HEAD, PATCH"),
    ],
)
async def test_what_can_be_done_at_an_address_is_told(client: httpx.AsyncClient, path: str, allowed: str) -> None:
    options = await client.options(path)
    assert (options.status_code, options.headers["allow"], options.content) == (204, allowed, b"")
    wrong = await client.request("PROPFIND", path)
    assert (wrong.status_code, wrong.headers["allow"]) == (405, allowed)
    assert wrong.headers["content-type"] == "application/problem+json"


async def test_nothing_can_be_done_where_there_is_nothing(client: httpx.AsyncClient) -> None:
    assert (await client.options("/api/v1/nothing")).status_code == 404
