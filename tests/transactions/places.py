"""Where the tests' jobs and orders are, looked at from outside of any transaction."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass

import psycopg

from mainspring import Mainspring

__all__ = ["Place", "PostgresPlace", "SqlitePlace"]


@dataclass(frozen=True)
class Place:
    """An app, and a table beside its jobs, as others see them."""

    app: Mainspring
    address: str
    orders: str
    """The name of the table."""

    def stored(self) -> list[int]:
        """The orders that are committed."""
        raise NotImplementedError

    def jobs(self) -> int:
        """How many jobs are committed."""
        return self.app.jobs.count()


class PostgresPlace(Place):
    def stored(self) -> list[int]:
        with psycopg.connect(self.address) as connection:
            return [row[0] for row in connection.execute(f"SELECT id FROM {self.orders} ORDER BY id")]


class SqlitePlace(Place):
    def stored(self) -> list[int]:
        with closing(sqlite3.connect(self.address)) as connection:
            return [row[0] for row in connection.execute(f"SELECT id FROM {self.orders} ORDER BY id")]
