"""Instrumented apps, on each kind of store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from worker.places import STORES, Servers

from mainspring import Mainspring

from .seen import Seen


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack)


@pytest.fixture(params=STORES)
async def app(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> AsyncIterator[Mainspring]:
    async with Mainspring(servers.url(request.param, tmp_path)) as app:
        app.store.migrate()
        yield app


@pytest.fixture
async def seen(app: Mainspring) -> Seen:
    """What is told of the app on each store."""
    return Seen(app)


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Mainspring]:
    """An app on one store only: for what does not depend on that."""
    async with Mainspring(f"sqlite:///{tmp_path}/front.db") as app:
        yield app
