"""The conformance suite on SQLite: on a file, and as random operations on a store in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainspring.store.sqlite import SqliteStore

from .conformance import *  # noqa: F403
from .state_machine import operations_like_the_reference


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    store = SqliteStore(f"sqlite:///{tmp_path}/jobs.db")
    store.migrate()
    return store


def in_memory() -> SqliteStore:
    store = SqliteStore("sqlite://")
    store.migrate()
    return store


TestOperations = operations_like_the_reference(in_memory)
