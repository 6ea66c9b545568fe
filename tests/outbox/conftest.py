"""A user's database with an outbox and a table of his own, and an app whose jobs are elsewhere: in Redis, or a file."""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from servers.postgres import running_postgres
from servers.valkey import running_valkey

from mainspring import Mainspring

from .shops import PostgresShop, Shop, SqliteShop

_numbers = itertools.count(1)


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
def redis_server() -> Iterator[str]:
    """The address of a Redis or Valkey server to work in."""
    given = os.environ.get("MAINSPRING_TEST_REDIS")
    if given:
        yield given
        return
    with running_valkey() as server:
        yield server.url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """A namespace of one's own there."""
    return f"{redis_server}?namespace=outbox_{os.getpid()}_{next(_numbers)}"


@pytest.fixture
def postgres_shop(postgres: str, tmp_path: Path) -> Iterator[PostgresShop]:
    schema = f"outbox_{os.getpid()}_{next(_numbers)}"
    url = f"{postgres}{'&' if '?' in postgres else '?'}schema={schema}"
    app = Mainspring(f"sqlite:///{tmp_path}/jobs.db", outbox=url)
    assert app.relayed is not None
    assert app.relayed.migrate()
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE {schema}.orders (id integer PRIMARY KEY)")
        yield PostgresShop(app, postgres, f"{schema}.orders", url, f"{schema}.outbox")
        app.close()
        connection.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def sqlite_shop(tmp_path: Path) -> Iterator[SqliteShop]:
    file = tmp_path / "shop.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    app = Mainspring(f"sqlite:///{tmp_path}/jobs.db", outbox=f"sqlite:///{file}")
    assert app.relayed is not None
    assert app.relayed.migrate()
    yield SqliteShop(app, str(file), "orders", f"sqlite:///{file}", "mainspring_outbox")
    app.close()


@pytest.fixture
def shop(request: pytest.FixtureRequest) -> Shop:
    """The shop that the test's `library` leads to; for a test without one, its own parameter says which."""
    name = request.param if hasattr(request, "param") else request.getfixturevalue("library").store
    found: Shop = request.getfixturevalue(f"{name}_shop")
    return found


@pytest.fixture
def place(shop: Shop) -> Shop:
    """As the libraries know it."""
    return shop


@pytest.fixture(params=["redis", "sqlite"])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Shop], Mainspring]:
    """An app of a shop, with its jobs in a store of that kind."""
    url = request.getfixturevalue("redis_url") if request.param == "redis" else f"sqlite:///{tmp_path}/elsewhere.db"
    return lambda shop: Mainspring(url, outbox=shop.outbox_url)
