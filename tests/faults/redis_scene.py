"""A Redis store whose operations are as small as can be, so that what was done can be told from what was answered."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mainspring.model.job import NewJob
from mainspring.store.base import (
    BeatRequest,
    ClaimRequest,
    CountRequest,
    Filter,
    FindRequest,
    InsertRequest,
    Operation,
    Presence,
    Request,
    Room,
    Store,
)
from mainspring.store.redis import RedisStore, exchanges
from mainspring.store.redis.scripts import Call, Script

SCRIPTS = {
    # How often it was done; doing it twice counts twice.
    "add": "return redis.call('INCR', KEYS[1] .. ':added')",
    "added": "return tonumber(redis.call('GET', KEYS[1] .. ':added') or 0)",
    "echo": "return ARGV[1]",
}


class Tally(RedisStore):
    """Inserts, claims and beats add one; a count says how many were added."""

    def insert(self, request: InsertRequest) -> Operation[Any]:
        return (yield Call("add", "{}"))

    def claim(self, request: ClaimRequest) -> Operation[Any]:
        return (yield Call("add", "{}"))

    def beat(self, request: BeatRequest) -> Operation[Any]:
        return (yield Call("add", "{}"))

    def count(self, request: CountRequest) -> Operation[Any]:
        return (yield Call("added", "{}"))

    def find(self, request: Any) -> Operation[Any]:
        """Gives back what it is asked for."""
        return (yield Call("echo", request.cursor))


INSERT = InsertRequest((NewJob("a", "task"),))
CLAIM = ClaimRequest("worker", (Room("default", 1),), 1)
BEAT = BeatRequest(Presence("worker", "worker", (), (), 0, 0, 1000), "join")
COUNT = CountRequest(Filter())

Ask = Callable[[Request[Any]], Any]


def echo(text: str) -> FindRequest:
    return FindRequest(Filter(), cursor=text)


@contextmanager
def blocking(store: Store) -> Iterator[Ask]:
    """Ask by a blocking driver."""
    driver = store.driver()
    try:
        yield driver.run
    finally:
        driver.close()


@contextmanager
def on_a_loop(store: Store) -> Iterator[Ask]:
    """Ask by an async driver, whose loop runs while something is asked."""
    with asyncio.Runner() as runner:

        async def made() -> Any:
            return store.async_driver()

        driver = runner.run(made())
        try:
            yield lambda request: runner.run(driver.run(request))
        finally:
            runner.run(driver.aclose())


both = pytest.mark.parametrize("caller", [blocking, on_a_loop])
"""Blocking and async callers."""


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those scripts are there beside the store's own."""
    texts = {name: Script(text, hashlib.sha1(text.encode()).hexdigest()) for name, text in SCRIPTS.items()}
    monkeypatch.setattr(exchanges, "script", texts.__getitem__)
