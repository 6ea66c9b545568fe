"""The conformance suite on Redis: one server for all, a namespace for each test."""

from __future__ import annotations

import pytest

from mainspring.store.redis import RedisStore

from .conformance import *  # noqa: F403


@pytest.fixture
def store(redis_store: RedisStore) -> RedisStore:
    return redis_store
