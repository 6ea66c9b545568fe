"""The conformance suite on PostgreSQL: one server for all, a schema for each test."""

from __future__ import annotations

import pytest

from mainspring.store.postgres import PostgresStore

from .conformance import *  # noqa: F403

LACKS = frozenset({"moments"})


@pytest.fixture
def store(postgres_store: PostgresStore) -> PostgresStore:
    return postgres_store
