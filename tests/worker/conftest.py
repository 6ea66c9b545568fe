"""Fixtures of the worker's tests."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mainspring import Mainspring


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
