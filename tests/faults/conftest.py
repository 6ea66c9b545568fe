"""Fixtures of the tests of faults."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from servers.postgres import PostgresServer, running_postgres

from mainspring import Mainspring

from .chaos.ground import GROUNDS, Ground, ground


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of the test's own, with the tables in it."""
    with running_postgres() as server:
        Mainspring(server.url).store.migrate()
        yield server


@pytest.fixture(scope="module")
def shared_server() -> Iterator[PostgresServer]:
    """One for all tests of a file, which leave it as it is."""
    with running_postgres() as server:
        Mainspring(server.url).store.migrate()
        yield server


@pytest.fixture
def place(shared_server: PostgresServer) -> str:
    """A schema of the test's own there, as a URL."""
    url = f"{shared_server.url}?schema=test_{time.monotonic_ns()}"
    Mainspring(url).store.migrate()
    return url


@pytest.fixture(scope="module", params=GROUNDS)
def each_store(request: pytest.FixtureRequest) -> Iterator[Ground]:
    """Each kind of store in turn, with a small disk of its own where one can be mounted."""
    with ground(request.param) as place:
        yield place
