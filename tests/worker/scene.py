"""What the tests of the worker share: a worker that runs for a while, and waiting for a condition."""

from __future__ import annotations

import asyncio
import inspect
import sqlite3
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, closing
from functools import partial
from typing import Any, TypeVar

import pytest

from mainspring import Job, Mainspring, Retry, StoreUnavailable
from mainspring.store.base import AsyncDriver, BeatRequest, NoteRequest, Presence, Reply, Request, Store
from mainspring.worker.worker import Worker

T = TypeVar("T")

AT_ONCE = Retry(attempts=3, delay=0)
"""Three tries without a pause."""
PATIENCE = 60.0
"""Seconds until a condition that does not come true fails its test: far more than it takes on a busy machine."""


@asynccontextmanager
async def working(
    app: Mainspring, queues: Mapping[str, int] | Iterable[str] | None = None, **options: Any
) -> AsyncIterator[Worker]:
    """A worker that runs inside the block, and is stopped gracefully after it."""
    worker = app.worker(queues, **{"grace": 10} | options)
    running = asyncio.create_task(worker.arun())
    try:
        await until(lambda: running.done() or is_alive(app, worker.id), what="the worker is registered")
        yield worker
    finally:
        worker.stop()
        await asyncio.wait_for(running, 90)


async def until(
    condition: Callable[[], object | Awaitable[object]], patience: float = PATIENCE, what: str = ""
) -> None:
    """Wait for a condition, plain or async, to hold."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"in {patience:g} s this did not come true: {what or inspect.getsource(condition)}")
        await asyncio.sleep(0.01)


def wait_until(condition: Callable[[], T], patience: float = PATIENCE, what: str = "") -> T:
    """The same for blocking tests."""
    deadline = time.monotonic() + patience
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"in {patience:g} s this did not come true: {what or inspect.getsource(condition)}")
        time.sleep(0.01)
    return value


def bury(app: Mainspring, process: subprocess.Popen[Any]) -> None:
    """The lease of a worker whose process is dead is over now. So it may be one that a busy machine cannot lose."""
    driver = app.store.driver()
    for worker in app.workers.list():
        if worker.name.endswith(f":{process.pid}") and worker.alive:
            presence = Presence(worker.id, worker.name, (), (), worker.concurrency, 0, lease_ms=1)
            driver.run(BeatRequest(presence, "stay"))
            wait_until(partial(is_lost, app, worker.id))
    driver.close()


async def ended(*jobs: Job[Any]) -> None:
    """Wait until all jobs are final; shows them as they are then."""
    for job in jobs:
        async for _ in job.watch():
            pass
        await job.arefresh()


def sql(app: Mainspring, statement: str, *parameters: Any) -> list[Any]:
    """Reach into the store's file, past everything that would refuse."""
    with closing(sqlite3.connect(path_of(app), timeout=30, isolation_level=None)) as connection:
        return connection.execute(statement, parameters).fetchall()


def path_of(app: Mainspring) -> str:
    return app.url.removeprefix("sqlite:///")


def is_alive(app: Mainspring, worker: str) -> bool:
    return any(each.id == worker and each.alive for each in app.workers.list())


def is_lost(app: Mainspring, worker: str) -> bool:
    return not is_alive(app, worker)


class HeldUp:
    """Drivers of a real store, with a long way for requests of one kind: they set off when they are sent, and reach
    the store when they are let through. `lost` says of how many of them the reply is lost."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, store: Store, kind: type[Request[Any]], lost: int = 0) -> None:
        self.kind = kind
        self.sent = threading.Event()
        self.through = threading.Event()
        self.lost = lost
        real = store.async_driver
        monkeypatch.setattr(store, "async_driver", lambda: _LongWay(self, real()))


class NotesOnTheWay(HeldUp):
    """A long way for progress and log lines."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, store: Store, lost: int = 0) -> None:
        super().__init__(monkeypatch, store, NoteRequest, lost)


class _LongWay:
    def __init__(self, held_up: HeldUp, driver: AsyncDriver) -> None:
        self._held_up = held_up
        self._driver = driver
        self.watch = driver.watch
        self.aclose = driver.aclose

    async def run(self, request: Request[Reply]) -> Reply:
        if not isinstance(request, self._held_up.kind):
            return await self._driver.run(request)
        self._held_up.sent.set()
        await until(self._held_up.through.is_set)
        reply = await self._driver.run(request)
        if self._held_up.lost:
            self._held_up.lost -= 1
            raise StoreUnavailable("the reply was lost")
        return reply
