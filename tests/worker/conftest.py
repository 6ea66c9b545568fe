"""Fixtures of the worker's tests."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mainspring import Mainspring

from .places import STORES, Place, Servers


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Mainspring]:
    """An app on a store of its own, in a file."""
    app = Mainspring(f"sqlite:///{tmp_path / 'jobs.db'}")
    yield app
    await app.aclose()


@pytest.fixture
def worker_log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What the worker logs."""
    caplog.set_level(logging.INFO, "mainspring.worker")
    return caplog


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Where there are stores to be had, for those who want one of each kind."""
    with ExitStack() as stack:
        yield Servers(stack)


@pytest.fixture(params=STORES)
def place(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Iterator[Place]:
    """On each store; the tasks are the file's `MODULE`."""
    place = Place(tmp_path, servers.url(request.param, tmp_path), request.module.MODULE)
    yield place
    place.close()
