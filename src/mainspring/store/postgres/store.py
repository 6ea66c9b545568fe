"""The store itself: the SQL stores' operations on PostgreSQL, its schema, its drivers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import psycopg
from psycopg.errors import InsufficientPrivilege, ReadOnlySqlTransaction

from mainspring.errors import UnsuitableStore
from mainspring.store.base import (
    ClaimReply,
    ClaimRequest,
    Inserted,
    InsertRequest,
    Operation,
    SchemaStatus,
    SettleRequest,
)
from mainspring.store.postgres import plain
from mainspring.store.postgres.borrowed import PostgresAsyncBorrowed, PostgresBorrowed, StoreLending
from mainspring.store.postgres.connections import Connection, connect
from mainspring.store.postgres.dialect import PostgresDialect
from mainspring.store.postgres.drivers import PostgresAsyncDriver, PostgresDriver
from mainspring.store.postgres.errors import translated
from mainspring.store.postgres.heads import Heads
from mainspring.store.postgres.location import OPERATION_SECONDS, locate
from mainspring.store.postgres.pooler import pooler_warnings
from mainspring.store.postgres.schema import LOCK, MIGRATIONS, script, upgrade
from mainspring.store.sql.lending import lend, lend_async
from mainspring.store.sql.operations import SqlOperations
from mainspring.store.sql.statements import sql

__all__ = ["PostgresStore"]


OLDEST = 130000
"""The oldest version of the server that will do, as libpq counts them."""


class PostgresStore(SqlOperations):
    """Jobs in one schema of a PostgreSQL database.

    `url` is `postgresql://user@host/db?schema=mainspring`, see `location.locate`. Raises `InvalidURL`; everything else
    comes with the first request.
    """

    insert_limit = 10_000

    def __init__(self, url: str) -> None:
        self._location = locate(url)
        self.url = self._location.url
        self._dialect = PostgresDialect(self._location.schema, sessions=self._location.listen)
        self._lending = StoreLending(self, self._location, self._dialect, self._whereabouts)
        self._heads = Heads()

    def insert(self, request: InsertRequest) -> Operation[tuple[Inserted, ...]]:
        return plain.insert(request, super().insert)

    def claim(self, request: ClaimRequest) -> Operation[ClaimReply]:
        return plain.claim(request, super().claim, self._heads)

    def settle(self, request: SettleRequest) -> Operation[frozenset[str]]:
        return plain.settle(request, super().settle)

    def driver(self, patience: float | None = None) -> PostgresDriver:
        return PostgresDriver(self, self._location, self._dialect, patience)

    def async_driver(self) -> PostgresAsyncDriver:
        return PostgresAsyncDriver(self, self._location, self._dialect)

    def borrow(self, connection: object) -> PostgresBorrowed:
        return PostgresBorrowed(self._lending, lend(connection))

    def async_borrow(self, connection: object) -> PostgresAsyncBorrowed:
        return PostgresAsyncBorrowed(self._lending, partial(lend_async, connection))

    def schema(self) -> SchemaStatus:
        with self._connected() as connection:
            return replace(self._status(connection), warnings=pooler_warnings(self._location, connection))

    def migrate(self) -> SchemaStatus:
        with self._connected() as connection, connection.transaction():
            connection.execute("SET LOCAL statement_timeout = 0")
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            status = self._status(connection)
            for change in upgrade(self._dialect, status.found, self.url):
                connection.execute(change)
            return status

    def script(self, found: int | None = None, grant_to: str | None = None) -> str:
        return script(self._dialect, self.schema().found if found is None else found, grant_to, self.url)

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        try:
            with connect(self._location, time.monotonic() + OPERATION_SECONDS) as connection:
                if connection.info.server_version < OLDEST:
                    raise UnsuitableStore(
                        f"{self.url} is PostgreSQL {connection.info.parameter_status('server_version')}; Mainspring "
                        f"needs {OLDEST // 10000} or newer"
                    )
                yield connection
        except (psycopg.OperationalError, InsufficientPrivilege, ReadOnlySqlTransaction) as error:
            raise translated(error, self.url) from error

    def _whereabouts(self) -> str:
        with self._connected() as connection:
            text = self._dialect.text(sql("whereabouts"))
            row = connection.execute(text, {"schema": self._location.schema}).fetchone()
            return str(row[0]) if row else ""

    def _status(self, connection: Connection) -> SchemaStatus:
        schema, found = self._location.schema, 0
        row = connection.execute("SELECT to_regclass(%s)", [f'"{schema}".migrations']).fetchone()
        if row and row[0] is not None:
            row = connection.execute(f'SELECT coalesce(max(version), 0) FROM "{schema}".migrations').fetchone()
            found = int(row[0]) if row else 0
        version = connection.info.server_version
        location = f"{self.url} (PostgreSQL {version // 10000}.{version % 10000}, schema {schema})"
        return SchemaStatus(found, len(MIGRATIONS), location)
