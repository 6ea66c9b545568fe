"""PostgreSQL: a schema per store, on the server that MAINSPRING_BENCH_POSTGRES or MAINSPRING_TEST_POSTGRES names, else
on one of our own that is as durable as a user's."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from bench import postgres_raw
from mainspring import Mainspring

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from servers.postgres import running_postgres

__all__ = ["PostgresGround", "postgres_ground"]

SCHEMA = "mainspring_bench"

_ID = "('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))"
_DAY_MS = 24 * 60 * 60 * 1000


class PostgresGround:
    name = "postgres"

    def __init__(self, server: str) -> None:
        self._server = server
        self._schemas: list[str] = []
        with psycopg.connect(server) as connection:
            settings = connection.execute(
                "SELECT current_setting('server_version'), current_setting('fsync'), "
                "current_setting('synchronous_commit')"
            ).fetchone()
        self.title = "PostgreSQL {} (fsync {}, synchronous_commit {})".format(*settings or ())

    def fresh(self) -> str:
        schema = f"{SCHEMA}_{len(self._schemas) + 1}"
        self._drop(schema)
        self._schemas.append(schema)
        url = f"{self._server}{'&' if '?' in self._server else '?'}schema={schema}"
        with Mainspring(url) as app:
            app.store.migrate()
        return url

    def forget(self) -> None:
        while self._schemas:
            self._drop(self._schemas.pop())
        self._drop(postgres_raw.SCHEMA)
        with psycopg.connect(self._server, autocommit=True) as connection:
            _checkpoint(connection)

    def copy_queued(self, url: str, copies: int) -> None:
        changed = dict.fromkeys(("created_at", "run_at"), f"{{}} - ({copies} - n) / 100")
        self._copy(url, "jobs", copies, changed)

    def copy_finished(self, url: str, copies: int) -> None:
        # Finished on the day of the one that is copied: there is a place for that day.
        today = f"greatest({{0}} - n % 3600000, {{0}} - {{0}} % {_DAY_MS})"
        self._copy(url, "finished", copies, {"finished_at": today})

    def tidy(self, url: str) -> None:
        schema = _schema_of(url)
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(f"VACUUM ANALYZE {schema}.jobs, {schema}.finished")
            _checkpoint(connection)

    def raw_enqueue(self, jobs: int) -> float:
        return postgres_raw.insert_singly(self._server, jobs)

    def raw_aenqueue(self, jobs: int) -> float:
        return postgres_raw.insert_awaited(self._server, jobs)

    def raw_enqueue_many(self, jobs: int, batch: int) -> float:
        return postgres_raw.insert_batches(self._server, jobs, batch)

    def raw_drain(self, jobs: int, batch: int) -> float:
        return postgres_raw.claim_and_settle(self._server, jobs, batch)

    def _drop(self, schema: str) -> None:
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(f"SET client_min_messages = warning; DROP SCHEMA IF EXISTS {schema} CASCADE")

    def _copy(self, url: str, table: str, copies: int, changed: Mapping[str, str]) -> None:
        schema = _schema_of(url)
        with psycopg.connect(self._server, autocommit=True) as connection:
            columns = connection.execute(
                "SELECT column_name, data_type FROM information_schema.columns "
                "WHERE table_schema = %s AND table_name = %s AND is_generated = 'NEVER' ORDER BY ordinal_position",
                [schema, table],
            ).fetchall()
            values = ", ".join(
                f"{_ID}::{kind}" if name == "id" else changed.get(name, "{0}").format(name) for name, kind in columns
            )
            names = ", ".join(name for name, _ in columns)
            connection.execute(
                f"INSERT INTO {schema}.{table} ({names}) SELECT {values} FROM generate_series(1, {copies}) AS n "
                f"CROSS JOIN (SELECT * FROM {schema}.{table} LIMIT 1) AS one"
            )


def _checkpoint(connection: psycopg.Connection[Any]) -> None:
    """Where we may: else the next measurement pays for what the last one wrote."""
    with suppress(psycopg.errors.InsufficientPrivilege):
        connection.execute("CHECKPOINT")


def _schema_of(url: str) -> str:
    return url.rpartition("=")[2]


@contextmanager
def postgres_ground() -> Iterator[PostgresGround]:
    server = os.environ.get("MAINSPRING_BENCH_POSTGRES") or os.environ.get("MAINSPRING_TEST_POSTGRES")
    if server:
        ground = PostgresGround(server)
        try:
            yield ground
        finally:
            ground.forget()
        return
    with running_postgres(durable=True) as own:
        yield PostgresGround(own.url)
