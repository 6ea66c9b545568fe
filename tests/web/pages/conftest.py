"""The dashboard of an app on each kind of store, asked without a server in between."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from worker.places import STORES, Servers

from mainspring import Mainspring
from mainspring.web import Identity, Role, create_app
from mainspring.web.pages import reads

from .. import showcase
from .html import Parsed, assert_nothing_runs, parse


@dataclass
class Visitor:
    """Somebody with a browser."""

    client: httpx.AsyncClient
    who: Identity
    site: FastAPI

    async def see(self, path: str, expect: int = 200) -> Parsed:
        """The page at that address, which is sound: it is well formed, and nothing on it could run but our script."""
        response = await self.client.get(path)
        return self.look(response, path, expect)

    async def send(self, path: str, expect: int = 303, **form: Any) -> httpx.Response:
        """Send a form."""
        response = await self.client.post(path, data=form)
        assert response.status_code == expect, f"{path}: {response.status_code} {response.text[:2000]}"
        return response

    async def do(self, path: str, **form: Any) -> Parsed:
        """Send a form, and see the page that comes after."""
        response = await self.send(path, **form)
        return await self.see(response.headers["location"])

    def look(self, response: httpx.Response, path: str, expect: int) -> Parsed:
        assert response.status_code == expect, f"{path}: {response.status_code} {response.text[:2000]}"
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        policy = response.headers["content-security-policy"]
        parsed = parse(response.text)
        assert_nothing_runs(parsed, re.findall("script-src 'nonce-([^']+)'", policy)[0])
        return parsed


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack)


@pytest.fixture(scope="session", params=STORES)
def busy_url(request: pytest.FixtureRequest, servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with something in every state."""
    url = servers.url(request.param, tmp_path_factory.mktemp("busy"))
    with showcase.make(url) as app:
        app.store.migrate()
        showcase.fill(app, many=24)
    return url


@pytest.fixture
async def busy(busy_url: str) -> AsyncIterator[Mainspring]:
    """The app on it. Tests look, and change nothing."""
    async with showcase.make(busy_url) as app:
        yield app


@pytest.fixture(params=STORES)
async def app(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> AsyncIterator[Mainspring]:
    """The same app with nothing done yet, for tests that change something."""
    async with showcase.make(servers.url(request.param, tmp_path)) as app:
        app.store.migrate()
        yield app


@pytest.fixture
async def visit(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Visitor]]:
    """`visit(app)` is somebody who may do anything there, and waits for all there is to see; `visitor.who` can be
    changed."""
    monkeypatch.setattr(reads, "COUNTS_PATIENCE", 60)
    monkeypatch.setattr(reads, "PARTITIONS_PATIENCE", 60)
    clients: list[httpx.AsyncClient] = []
    sites: list[FastAPI] = []

    def enter(app: Mainspring, role: Role = Role.ADMIN, at: str = "http://localhost") -> Visitor:
        visitor: Visitor
        web = create_app(app, title="Shop", auth=lambda _: visitor.who, hosts=["localhost"])
        client = httpx.AsyncClient(transport=httpx.ASGITransport(web), base_url=at, headers={"Accept": "text/html"})
        visitor = Visitor(client, Identity("ada", role), web)
        clients.append(client)
        sites.append(web)
        return visitor

    yield enter
    for client in clients:
        await client.aclose()
    for site in sites:
        await site.state.glance.rest()
