"""Fixtures of live jobs: an app with a task, somebody who runs its jobs as the test wants, and its web on a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mainspring import Mainspring

from .scene import Teller


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Mainspring]:
    """An app on a store of its own, with the task `work`."""
    yield from app_at(f"sqlite:///{tmp_path / 'jobs.db'}")


def app_at(url: str) -> Iterator[Mainspring]:
    app = Mainspring(url)
    app.store.migrate()

    @app.task
    def work(n: int = 0) -> Any: ...

    yield app
    app.close()


@pytest.fixture
def teller(app: Mainspring) -> Iterator[Teller]:
    teller = Teller(app.store)
    yield teller
    teller.close()


@pytest.fixture
def base(app: Mainspring, serve: Callable[..., str]) -> str:
    """The URL of the app's web."""
    return serve(app)
