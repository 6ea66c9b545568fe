"""A program on PostgreSQL runs on the schema that it knows, and on no other; migrating twice is migrating once."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator

import psycopg
import pytest

from mainspring import Mainspring
from mainspring.errors import SchemaMismatch
from mainspring.store.base import CountRequest, Filter
from mainspring.store.postgres import PostgresStore


@pytest.fixture
def bare(postgres: str) -> Iterator[PostgresStore]:
    """A store whose schema is not there yet."""
    schema = f"bare_{os.getpid()}"
    yield PostgresStore(f"{postgres}{'&' if '?' in postgres else '?'}schema={schema}")
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


def count(store: PostgresStore) -> None:
    driver = store.driver()
    try:
        driver.run(CountRequest(Filter()))
    finally:
        driver.close()


async def acount(store: PostgresStore) -> None:
    driver = store.async_driver()
    try:
        await driver.run(CountRequest(Filter()))
    finally:
        await driver.aclose()


def test_without_a_schema_nothing_runs_and_the_error_says_what_to_do(bare: PostgresStore) -> None:
    assert bare.schema().found == 0
    with pytest.raises(SchemaMismatch, match="no schema for jobs yet; run `mainspring migrate`"):
        count(bare)
    with pytest.raises(SchemaMismatch, match="no schema for jobs yet; run `mainspring migrate`"):
        asyncio.run(acount(bare))


def test_a_schema_of_a_newer_program_is_refused(bare: PostgresStore, postgres: str) -> None:
    bare.migrate()
    count(bare)
    schema = bare.url.rpartition("schema=")[2]
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"INSERT INTO \"{schema}\".migrations (version, name) VALUES (99, 'later')")
    for look in (count, lambda store: asyncio.run(acount(store))):
        with pytest.raises(SchemaMismatch, match="version 99, but this program knows versions up to"):
            look(bare)
    with pytest.raises(SchemaMismatch, match="version 99"):
        bare.migrate()


def test_who_migrates_at_the_same_time_waits_for_the_other(bare: PostgresStore) -> None:
    threads = [threading.Thread(target=bare.migrate) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    status = bare.schema()
    assert status.found == status.wanted
    count(bare)


def test_two_schemas_of_one_database_know_nothing_of_each_other(bare: PostgresStore, postgres: str) -> None:
    bare.migrate()
    app = Mainspring(bare.url)

    @app.task
    def task() -> None: ...

    task.enqueue()
    other = PostgresStore(bare.url.replace("bare_", "bare_too_"))
    other.migrate()
    try:
        there = Mainspring(other.url)
        assert (app.jobs.count(), there.jobs.count()) == (1, 0)
        there.close()
    finally:
        app.close()
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(f'DROP SCHEMA "{other.url.rpartition("schema=")[2]}" CASCADE')
