"""The store itself: the SQL stores' operations on SQLite, its schema, its drivers."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from functools import partial

from mainspring.errors import ConfigurationError, SchemaMismatch
from mainspring.store.base import SchemaStatus
from mainspring.store.migrate import Migration, migrations, pending
from mainspring.store.sql.lending import lend, lend_async
from mainspring.store.sql.operations import SqlOperations
from mainspring.store.sqlite.borrowed import (
    SqliteAsyncBorrowed,
    SqliteBorrowed,
    StoreLending,
    refuse_in_memory,
)
from mainspring.store.sqlite.connection import Connection, statements_of
from mainspring.store.sqlite.drivers import SqliteAsyncDriver, SqliteDriver
from mainspring.store.sqlite.forks import using
from mainspring.store.sqlite.location import check_folder, locate

__all__ = ["SqliteStore"]

_VERSION_TABLE = "CREATE TABLE IF NOT EXISTS mainspring_schema (version INTEGER PRIMARY KEY, name TEXT NOT NULL)"


class SqliteStore(SqlOperations):
    """Jobs in one SQLite file, or in memory for tests.

    `url` is `sqlite:///relative.db`, `sqlite:////absolute.db` or `sqlite://`. The schema is brought up to date by
    whoever opens the store first. Raises `InvalidURL`; everything else comes with the first request.
    """

    insert_limit = 10_000

    def __init__(self, url: str) -> None:
        self._location = locate(url)
        self.url = self._location.url
        self._migrations = migrations("mainspring.store.sqlite.migrations")
        self._opened = False
        self._lending = StoreLending(self, self._location, self._upgrade)
        # A database in memory lives as long as a connection to it is open.
        self._anchor = None if self._location.path else Connection(self._location, threading.Lock())

    def driver(self, patience: float | None = None) -> SqliteDriver:
        return SqliteDriver(self, self._connect)

    def async_driver(self) -> SqliteAsyncDriver:
        return SqliteAsyncDriver(self, self._connect, self._location.path)

    def borrow(self, connection: object) -> SqliteBorrowed:
        if self._location.path is None:
            raise refuse_in_memory()
        return SqliteBorrowed(self._lending, lend(connection))

    def async_borrow(self, connection: object) -> SqliteAsyncBorrowed:
        if self._location.path is None:
            raise refuse_in_memory()
        return SqliteAsyncBorrowed(self._lending, partial(lend_async, connection))

    def schema(self) -> SchemaStatus:
        place = self._location.path
        location = f"{place or 'memory'} (SQLite {sqlite3.sqlite_version})"
        if place:
            check_folder(place)
            if not place.exists():
                return SchemaStatus(0, len(self._migrations), location, automatic=True)
        with using(), closing(Connection(self._location, threading.Lock())) as connection:
            return SchemaStatus(_version(connection), len(self._migrations), location, automatic=True)

    def migrate(self) -> SchemaStatus:
        with using(), closing(Connection(self._location, threading.Lock())) as connection:
            return self._bring_up_to_date(connection)

    def script(self, found: int | None = None, grant_to: str | None = None) -> str:
        raise ConfigurationError(
            f"{self.url} is an SQLite store: whoever opens it first brings its schema up to date, so there is nothing "
            "for others to run; say `mainspring migrate` to have it done beforehand"
        )

    def _connect(self, turn: threading.Lock) -> Connection:
        connection = Connection(self._location, turn, create=not self._opened)
        try:
            # Every time: another file may have come to be in the place of the one that was seen to be up to date.
            self._bring_up_to_date(connection)
        except BaseException:
            connection.close()
            raise
        self._opened = True
        return connection

    def _bring_up_to_date(self, connection: Connection) -> SchemaStatus:
        found = _version(connection)
        for migration in pending(self._migrations, found, self.url):
            try:
                # Who loses the race to apply it finds the version already there, inside the same transaction.
                connection.script(
                    _script(migration),
                    unless=lambda version=migration.version: _version(connection) >= version,  # type: ignore[misc]
                )
            except sqlite3.Error as error:
                raise SchemaMismatch(
                    f"{self.url} cannot be brought to schema version {migration.version} ({error}): it was made or "
                    "changed by another program; name another file, or restore a backup"
                ) from error
        return SchemaStatus(found, len(self._migrations), self.url)

    def _upgrade(self, found: int) -> list[str]:
        """The statements that bring a schema of that version up to date."""
        due = pending(self._migrations, found, self.url)
        return [statement for migration in due for statement in statements_of(_script(migration))]


def _script(migration: Migration) -> str:
    return (
        f"{_VERSION_TABLE};\n{migration.sql}\n"
        f"INSERT INTO mainspring_schema VALUES ({migration.version}, '{migration.name}');"
    )


def _version(connection: Connection) -> int:
    if not connection.rows("SELECT 1 FROM sqlite_master WHERE name = 'mainspring_schema'"):
        return 0
    return int(connection.rows("SELECT coalesce(max(version), 0) FROM mainspring_schema")[0][0])
