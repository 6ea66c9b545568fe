"""The one thing that the tour's chapters share: a worker to run their jobs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from mainspring import Mainspring


@pytest.fixture
def working() -> Callable[[Mainspring], AbstractContextManager[None]]:
    """`with working(app): ...` is what `mainspring worker module:app` is in a terminal of its own."""
    return _working


@contextmanager
def _working(app: Mainspring) -> Iterator[None]:
    worker = app.worker()
    thread = threading.Thread(target=lambda: asyncio.run(worker.arun()))
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join()
