"""The API of an app on each kind of store, asked without a server in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from api.conftest import Hands
from worker.places import STORES, Servers

from mainspring import Mainspring, Retry
from mainspring.clock import new_id
from mainspring.web import Identity, Role, create_app

from ..asking import asking


@dataclass
class Api:
    """Somebody who asks the API."""

    client: httpx.AsyncClient
    who: Identity
    app: Mainspring

    async def __call__(self, method: str, path: str, expect: int = 200, **options: Any) -> Any:
        """What it answers, where it answers as expected."""
        response = await self.ask(method, path, **options)
        assert response.status_code == expect, f"{method} {path}: {response.status_code} {response.text}"
        return response.json() if response.content else None

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        return await self.client.request(method, f"/api/v1{path}", **options)

    async def refused(self, method: str, path: str, expect: int, **options: Any) -> dict[str, Any]:
        """The problem that it answers with."""
        response = await self.ask(method, path, **options)
        assert response.status_code == expect, f"{method} {path}: {response.status_code} {response.text}"
        assert response.headers["content-type"] == "application/problem+json"
        problem: dict[str, Any] = response.json()
        assert problem["status"] == expect
        return problem


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack)


@pytest.fixture(params=STORES)
async def app(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> AsyncIterator[Mainspring]:
    async with Mainspring(servers.url(request.param, tmp_path)) as app:
        app.store.migrate()
        declare(app)
        yield app


def declare(app: Mainspring) -> None:
    """The tasks that the tests enqueue."""

    @app.task(retry=Retry(attempts=3, delay="2s"), timeout="30s")
    async def add(a: int, b: int = 2) -> int:
        """Add two numbers.

        And give their sum.
        """
        return a + b

    @app.task(queue="email", name="mail/welcome")
    def welcome(to: str, names: list[str] | None = None) -> None: ...


@pytest.fixture
async def api(app: Mainspring) -> AsyncIterator[Api]:
    """Asked by somebody who may do anything; `api.who` can be changed."""
    async with asked(app) as api:
        yield api


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Api]:
    """The same on one store only: for what is refused before it comes to a store."""
    async with Mainspring(f"sqlite:///{tmp_path}/front.db") as app:
        declare(app)
        async with asked(app) as api:
            yield api


@asynccontextmanager
async def asked(app: Mainspring) -> AsyncIterator[Api]:
    api: Api
    web = create_app(app, auth=lambda connection: api.who)
    async with asking(web) as client:
        api = Api(client, Identity("ada", Role.ADMIN), app)
        yield api


@pytest.fixture
def hands(app: Mainspring) -> Iterator[Hands]:
    """What a worker would do, one step at a time."""
    driver = app.store.driver()
    hands = Hands(driver, new_id())
    hands.join()
    yield hands
    driver.close()
