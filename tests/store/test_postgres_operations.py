"""Random operations on PostgreSQL, beside the reference: one schema, emptied before each example."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import settings

from mainspring.store.postgres import PostgresStore

from .state_machine import PROFILES, operations_like_the_reference


@pytest.fixture(scope="module", autouse=True)
def _schema(postgres: str) -> Iterator[None]:
    global _empty
    schema = f"operations_{os.getpid()}"
    store = PostgresStore(f"{postgres}{'&' if '?' in postgres else '?'}schema={schema}")
    store.migrate()
    with psycopg.connect(postgres, autocommit=True) as connection:
        tables = [
            f'"{schema}".{name}'
            for (name,) in connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tablename <> 'migrations'", [schema]
            )
        ]

        def empty() -> PostgresStore:
            connection.execute(f"TRUNCATE {', '.join(tables)}")
            return store

        _empty = empty
        yield
        connection.execute(f'DROP SCHEMA "{schema}" CASCADE')


def _empty() -> PostgresStore:
    raise AssertionError("there is no schema yet")


TestOperations = operations_like_the_reference(lambda: _empty())
# Each example costs as many round trips as it has steps: always the same fifty here; the other stores draw new ones.
TestOperations.settings = settings(PROFILES["dev"], derandomize=True)  # type: ignore[attr-defined]
