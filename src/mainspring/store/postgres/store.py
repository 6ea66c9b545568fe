"""The store itself: the SQL stores' operations on PostgreSQL, its schema, its drivers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg

from mainspring.store.base import SchemaStatus
from mainspring.store.migrate import pending
from mainspring.store.postgres.connections import Connection, connect
from mainspring.store.postgres.dialect import PostgresDialect
from mainspring.store.postgres.drivers import PostgresAsyncDriver, PostgresDriver
from mainspring.store.postgres.errors import translated
from mainspring.store.postgres.location import OPERATION_SECONDS, locate
from mainspring.store.postgres.pooler import pooler_warnings
from mainspring.store.postgres.schema import MIGRATIONS
from mainspring.store.sql.operations import SqlOperations

__all__ = ["PostgresStore"]

LOCK = 0x6D61696E7370  # "mainsp"
"""The advisory lock under which one program at a time migrates."""


class PostgresStore(SqlOperations):
    """Jobs in one schema of a PostgreSQL database.

    `url` is `postgresql://user@host/db?schema=mainspring`, see `location.locate`. Raises `InvalidURL`; everything else
    comes with the first request.
    """

    def __init__(self, url: str) -> None:
        self._location = locate(url)
        self.url = self._location.url
        self._dialect = PostgresDialect(self._location.schema, sessions=self._location.listen)

    def driver(self) -> PostgresDriver:
        return PostgresDriver(self, self._location, self._dialect)

    def async_driver(self) -> PostgresAsyncDriver:
        return PostgresAsyncDriver(self, self._location, self._dialect)

    def schema(self) -> SchemaStatus:
        with self._connected() as connection:
            return replace(self._status(connection), warnings=pooler_warnings(self._location, connection))

    def migrate(self) -> SchemaStatus:
        schema = self._location.schema
        with self._connected() as connection, connection.transaction():
            connection.execute("SET LOCAL statement_timeout = 0")
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            status = self._status(connection)
            connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
            connection.execute(
                f'CREATE TABLE IF NOT EXISTS "{schema}".migrations (version integer PRIMARY KEY, name text NOT NULL, '
                "at timestamptz NOT NULL DEFAULT now())"
            )
            for migration in pending(MIGRATIONS, status.found, self.url):
                connection.execute(self._dialect.adapted(migration.sql))
                connection.execute(
                    f'INSERT INTO "{schema}".migrations (version, name) VALUES (%s, %s)',
                    [migration.version, migration.name],
                )
            return status

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        try:
            with connect(self._location, time.monotonic() + OPERATION_SECONDS) as connection:
                yield connection
        except psycopg.Error as error:
            raise translated(error, self.url) from error

    def _status(self, connection: Connection) -> SchemaStatus:
        schema, found = self._location.schema, 0
        row = connection.execute("SELECT to_regclass(%s)", [f'"{schema}".migrations']).fetchone()
        if row and row[0] is not None:
            row = connection.execute(f'SELECT coalesce(max(version), 0) FROM "{schema}".migrations').fetchone()
            found = int(row[0]) if row else 0
        version = connection.info.server_version
        location = f"{self.url} (PostgreSQL {version // 10000}.{version % 10000}, schema {schema})"
        return SchemaStatus(found, len(MIGRATIONS), location)
