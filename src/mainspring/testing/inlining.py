"""Jobs that run as soon as they are enqueued, for the tests of what enqueues them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from mainspring.store.base import AlterRequest, InsertRequest
from mainspring.testing.draining import adrain, drain, is_draining
from mainspring.twin import Async, Blocking, Steps

if TYPE_CHECKING:
    from mainspring import Mainspring

__all__ = ["inline"]

T = TypeVar("T")
Change = InsertRequest | AlterRequest
"""What may make jobs due."""

PAUSE = 0.002
"""Seconds between two looks at a job that another drain runs."""


@contextmanager
def inline(app: Mainspring, *, raise_errors: bool = False) -> Generator[Mainspring]:
    """Run each job as soon as it is enqueued, before `enqueue` returns; gives the app.

        with isolated(app), inline(app):
            client.post("/signup", {"email": "a@b.c"})
            assert mailbox == ["Welcome, a@b.c"]

    Every verb that enqueues or changes jobs is followed by a `drain`, so that jobs are stored, validated and run as
    always. A job for later waits for its time, a failed one for its next attempt, and what a job itself enqueues runs
    right after that job. With `raise_errors` the error of a task comes out of the `enqueue`.
    """
    before = app._blocking, app._async
    app._blocking, app._async = _Blocking(app, raise_errors), _Async(app, raise_errors)
    try:
        yield app
    finally:
        app._blocking, app._async = before


class _Blocking(Blocking):
    """Performs verbs as the app's own performer does, with its driver."""

    def __init__(self, app: Mainspring, raise_errors: bool) -> None:
        super().__init__(app.store)
        self._made = app._blocking._made
        self._app = app
        self._raise_errors = raise_errors

    def run(self, steps: Steps[T]) -> T:
        changes: list[Change] = []
        value = super().run(_noting(steps, changes))
        if changes and not is_draining():
            drain(self._app, raise_errors=self._raise_errors)
            while self._app.jobs.count(_ids(changes), state="running"):
                time.sleep(PAUSE)  # another thread's drain took it
        return value


class _Async(Async):
    """The same for event loops."""

    def __init__(self, app: Mainspring, raise_errors: bool) -> None:
        super().__init__(app.store)
        self._sides = app._async._sides
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
        self._app = app
        self._raise_errors = raise_errors

    async def run(self, steps: Steps[T]) -> T:
        changes: list[Change] = []
        value = await super().run(_noting(steps, changes))
        if changes and not is_draining():
            # One after the other: else a job could still run in the drain of another `aenqueue`.
            async with self._turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
                await adrain(self._app, raise_errors=self._raise_errors)
        return value


def _noting(steps: Steps[T], changes: list[Change]) -> Steps[T]:
    """The same steps; the changes among them are noted."""
    reply: Any = None
    error: Exception | None = None
    while True:
        try:
            step = steps.send(reply) if error is None else steps.throw(error)
        except StopIteration as end:
            value: T = end.value
            return value
        if isinstance(step, Change):
            changes.append(step)
        reply = error = None
        try:
            reply = yield step
        except Exception as raised:  # noqa: BLE001 - the steps decide about it
            error = raised


def _ids(changes: list[Change]) -> list[str]:
    """The jobs that were enqueued."""
    return [job.id for change in changes if isinstance(change, InsertRequest) for job in change.jobs]
