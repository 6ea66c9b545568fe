"""Databases of users, looked at from outside of any transaction."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg
from transactions.places import Place, PostgresPlace, SqlitePlace

from mainspring.store.outbox.table import OutboxStatus, OutboxTable

__all__ = ["PostgresShop", "Shop", "SqliteShop"]


@dataclass(frozen=True)
class Shop(Place):
    """An app, and a database of its user's with an outbox."""

    outbox_url: str
    table: str
    """The name of the outbox, as SQL has it there."""

    @property
    def outbox(self) -> OutboxTable:
        assert self.app.relayed is not None
        return self.app.relayed

    def status(self) -> OutboxStatus:
        return self.outbox.status()

    def waiting(self) -> int:
        """How many jobs are committed there and have not been relayed."""
        return self.status().waiting

    def sql(self, statement: str) -> list[Any]:
        """Reach into the table, past everything that would refuse."""
        raise NotImplementedError

    def put_raw(self, id: str, job: str, queue: str = "default") -> None:
        """A row as no program of ours writes it."""
        quoted = job.replace("'", "''")
        self.sql(f"INSERT INTO {self.table} (id, queue, job) VALUES ('{id}', '{queue}', '{quoted}')")

    def aside(self) -> list[tuple[str, str]]:
        """What was set aside, and why."""
        return [tuple(row) for row in self.sql(f"SELECT id, aside FROM {self.table} WHERE aside IS NOT NULL")]


class PostgresShop(Shop, PostgresPlace):
    def sql(self, statement: str) -> list[Any]:
        with psycopg.connect(self.address, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


class SqliteShop(Shop, SqlitePlace):
    def sql(self, statement: str) -> list[Any]:
        with closing(sqlite3.connect(self.address, timeout=30, isolation_level=None)) as connection:
            return connection.execute(statement).fetchall()
