"""Random operations on Redis, beside the reference: a namespace of its own for each example."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest
from redis import Redis

from mainspring.store.redis import RedisStore

from .state_machine import PROFILES, operations_like_the_reference

_numbers = itertools.count(1)


@pytest.fixture(scope="module", autouse=True)
def _server(redis_server: str) -> Iterator[None]:
    global _empty

    def empty() -> RedisStore:
        parted = "&" if "?" in redis_server else "?"
        return RedisStore(f"{redis_server}{parted}namespace=operations_{os.getpid()}_{next(_numbers)}")

    _empty = empty
    yield
    with Redis.from_url(redis_server) as client:
        for key in client.scan_iter(f"{{operations_{os.getpid()}_*", count=10_000):
            client.unlink(key)


def _empty() -> RedisStore:
    raise AssertionError("there is no server yet")


TestOperations = operations_like_the_reference(lambda: _empty())
# Each example costs as many round trips as it has steps: fifty here, new ones each time.
TestOperations.settings = PROFILES["dev"]  # type: ignore[attr-defined]
