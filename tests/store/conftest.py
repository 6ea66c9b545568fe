"""Fixtures of the store's tests. A backend's file gives `store`; everything else follows from it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest
from redis import Redis
from servers.postgres import running_postgres
from servers.valkey import running_valkey

from mainspring.store.base import Driver, PruneRequest, Store
from mainspring.store.postgres import PostgresStore
from mainspring.store.postgres import drivers as postgres_drivers
from mainspring.store.postgres.location import SESSION_LIMITS
from mainspring.store.redis import RedisStore
from mainspring.store.redis import drivers as redis_drivers
from mainspring.store.sqlite import connection as sqlite_connection

from .conformance.scene import T0, Scene

_numbers = itertools.count(1)

PATIENCE = 60.0
"""Seconds that a request may take where it matters what comes of it, and not when."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(capability): skipped where the backend's file names it in LACKS")


@pytest.fixture(autouse=True)
def _capabilities(request: pytest.FixtureRequest) -> None:
    lacking: frozenset[str] = getattr(request.module, "LACKS", frozenset())
    for marker in request.node.iter_markers("needs"):
        if missing := lacking.intersection(marker.args):
            pytest.skip(f"this store has no {', '.join(sorted(missing))}")


@pytest.fixture(scope="module", autouse=True)
def _patience(request: pytest.FixtureRequest) -> Iterator[None]:
    """Where a store is held against its whole contract, no request is given up because the machine is slow: some are as
    large as any. How soon they are given up is the matter of other tests."""
    with pytest.MonkeyPatch.context() as patch:
        if {"TestClaim", "TestOperations"} & vars(request.module).keys():
            patch.setattr(sqlite_connection, "OPERATION_DEADLINE", PATIENCE)
            patch.setattr(postgres_drivers, "OPERATION_SECONDS", PATIENCE)
            patch.setattr(redis_drivers, "OPERATION_SECONDS", PATIENCE)
            patch.setitem(SESSION_LIMITS, "statement_timeout", round(1000 * PATIENCE))
            patch.setitem(SESSION_LIMITS, "idle_in_transaction_session_timeout", round(2000 * PATIENCE))
        yield


@pytest.fixture
def driver(store: Store) -> Iterator[Driver]:
    driver = store.driver()
    yield driver
    driver.close()


@pytest.fixture
def scene(store: Store, driver: Driver) -> Scene:
    return Scene(store, driver)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL database to work in."""
    given = os.environ.get("MAINSPRING_TEST_POSTGRES")
    if given:
        yield given
        drop(given, *_emptied)
        return
    # What PostgreSQL would clear away and count by itself, at some moment, changes plans and the pages that are read.
    with running_postgres(autovacuum="off") as server:
        yield server.url


_emptied: list[str] = []
"""Schemas that are as they were when they were made: making one takes ten times as long as emptying it."""

CONTENTS = """
SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = s.oid AND relkind IN ('r', 'i', 'S', 'v')
        AND relname !~ '^finished_[0-9]{8}'),
       (SELECT count(*) FROM pg_proc WHERE pronamespace = s.oid),
       (SELECT count(*) FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid WHERE c.relnamespace = s.oid),
       s.nspacl::text, (SELECT string_agg(relacl::text, ',' ORDER BY oid) FROM pg_class WHERE relnamespace = s.oid)
FROM pg_namespace AS s WHERE s.nspname = '{schema}'
"""
"""What a test may leave behind that is not ours to take away again."""

EMPTY = """
DO $do$ DECLARE
    found record;
    used boolean;
BEGIN
    FOR found IN SELECT c.relname, c.oid::regclass AS name, pg_relation_size(c.oid) AS size FROM pg_class AS c
                 WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind = 'r' AND c.relname <> 'migrations'
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM %s)', found.name) INTO used;
        IF found.relname ~ '^finished_[0-9]+$' AND found.relname NOT IN (
            'finished_20231114', 'finished_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')
        ) THEN
            EXECUTE format('DROP TABLE %s', found.name);
        ELSIF used OR found.size > 65536 THEN
            EXECUTE format('TRUNCATE %s', found.name);
        END IF;
    END LOOP;
END $do$
"""


def drop(postgres: str, *schemas: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        for schema in schemas:
            connection.execute(f'DROP SCHEMA "{schema}" CASCADE')


@pytest.fixture
def postgres_store(postgres: str) -> Iterator[PostgresStore]:
    """An empty store there, in a schema of its own, with the days open in which the tests' clocks stand."""
    schema = _emptied.pop() if _emptied else f"test_{os.getpid()}_{next(_numbers)}"
    store = PostgresStore(f"{postgres}{'&' if '?' in postgres else '?'}schema={schema}")
    if store.migrate().found == 0:
        driver = store.driver()
        driver.run(PruneRequest({}, now=T0))
        driver.close()
    with psycopg.connect(postgres, autocommit=True) as connection:
        made = connection.execute(CONTENTS.replace("{schema}", schema)).fetchone()
    yield store
    left = None
    with psycopg.connect(postgres, autocommit=True) as connection, suppress(psycopg.Error):
        connection.execute("SET lock_timeout = '1s'")  # a test may have left a transaction open
        connection.execute(EMPTY.replace("{schema}", schema))
        left = connection.execute(CONTENTS.replace("{schema}", schema)).fetchone()
    if left == made:
        _emptied.append(schema)
    else:
        drop(postgres, schema)


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
def redis_store(redis_server: str) -> Iterator[RedisStore]:
    """An empty store there, in a namespace of its own."""
    namespace = f"test_{os.getpid()}_{next(_numbers)}"
    yield RedisStore(f"{redis_server}{'&' if '?' in redis_server else '?'}namespace={namespace}")
    with Redis.from_url(redis_server, protocol=2) as client:
        if "MAINSPRING_TEST_REDIS" not in os.environ:
            client.flushdb(asynchronous=True)
            return
        while keys := list(client.scan_iter(f"{{{namespace}}}:*", count=1000)):
            client.unlink(*keys)
