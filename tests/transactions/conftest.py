"""A place for a user's own table and for jobs, once per kind of store, and every library that leads there."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from servers.postgres import running_postgres

from mainspring import Mainspring

from .places import Place, PostgresPlace, SqlitePlace


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL database to work in."""
    given = os.environ.get("MAINSPRING_TEST_POSTGRES")
    if given:
        yield given
        return
    with running_postgres() as server:
        yield server.url


@pytest.fixture(scope="session")
def _schema(postgres: str) -> Iterator[tuple[str, str]]:
    """A schema with jobs and orders there, and how to empty it."""
    schema = f"tx_{os.getpid()}"
    app = Mainspring(f"{postgres}{'&' if '?' in postgres else '?'}schema={schema}")
    app.store.migrate()
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE {schema}.orders (id integer PRIMARY KEY)")
        tables = connection.execute(
            "SELECT string_agg(format('%%I.%%I', schemaname, tablename), ', ') FROM pg_tables "
            "WHERE schemaname = %s AND tablename <> 'migrations'",
            [schema],
        ).fetchone()
        assert tables
        yield schema, f"TRUNCATE {tables[0]}"
        connection.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def postgres_place(postgres: str, _schema: tuple[str, str]) -> Iterator[PostgresPlace]:
    schema, empty = _schema
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(empty)
    app = Mainspring(f"{postgres}{'&' if '?' in postgres else '?'}schema={schema}")
    yield PostgresPlace(app, postgres, f"{schema}.orders")
    app.close()


@pytest.fixture
def sqlite_place(tmp_path: Path) -> Iterator[SqlitePlace]:
    file = tmp_path / "shop.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    app = Mainspring(f"sqlite:///{file}")
    app.store.migrate()
    yield SqlitePlace(app, str(file), "orders")
    app.close()


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    """The place that the test's `library` leads to; for a test without one, its own parameter says which."""
    name = request.param if hasattr(request, "param") else request.getfixturevalue("library").store
    found: Place = request.getfixturevalue(f"{name}_place")
    return found
