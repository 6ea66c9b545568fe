"""The conformance suite on SQLite in memory: one process, many connections."""

from __future__ import annotations

import pytest

from mainspring.store.sqlite import SqliteStore

from .conformance import *  # noqa: F403

LACKS = frozenset({"processes"})


@pytest.fixture
def store() -> SqliteStore:
    store = SqliteStore("sqlite://")
    store.migrate()
    return store
