"""The store itself: its operations on Redis or Valkey, its schema, its drivers."""

from __future__ import annotations

import time
from contextlib import closing

from redis import exceptions as theirs

from mainspring.errors import ConfigurationError, UnusableTransaction
from mainspring.store.base import AsyncBorrowed, Borrowed, SchemaStatus
from mainspring.store.redis.drivers import RedisAsyncDriver, RedisDriver
from mainspring.store.redis.errors import unreached
from mainspring.store.redis.greeting import SCHEMA_VERSION, Greeting, greeted, looked
from mainspring.store.redis.location import OPERATION_SECONDS, locate
from mainspring.store.redis.opening import opened
from mainspring.store.redis.operations import RedisOperations
from mainspring.store.redis.route import Greet, Route
from mainspring.store.redis.survey import described, warnings

__all__ = ["RedisStore"]


class RedisStore(RedisOperations):
    """Jobs in one namespace of a Redis or Valkey server.

    `url` is `redis://user:password@host:6379/0?namespace=mainspring`, see `location.locate`. A new namespace is set up
    by whoever uses it first. Raises `InvalidURL`; everything else comes with the first request.
    """

    insert_limit = 500

    def __init__(self, url: str) -> None:
        self._location = locate(url)
        self._route = Route(self._location)
        self.url = self._location.url
        self.keep = self._location.keep

    def driver(self, patience: float | None = None) -> RedisDriver:
        return RedisDriver(self, self._route, patience)

    def async_driver(self) -> RedisAsyncDriver:
        return RedisAsyncDriver(self, self._route)

    def borrow(self, connection: object) -> Borrowed:
        raise self._no_transactions()

    def async_borrow(self, connection: object) -> AsyncBorrowed:
        raise self._no_transactions()

    def _no_transactions(self) -> UnusableTransaction:
        return UnusableTransaction(
            f"{self.url} keeps no jobs in transactions of yours: enqueue through an outbox in the database where the "
            "transaction is, app.outbox(connection).enqueue(task.job(...)), or keep the jobs there (SQLite, PostgreSQL)"
        )

    def schema(self) -> SchemaStatus:
        return self._status(self._greeting(looked))

    def migrate(self) -> SchemaStatus:
        return self._status(self._greeting(greeted))

    def script(self, found: int | None = None, grant_to: str | None = None) -> str:
        raise ConfigurationError(
            f"{self.url} is a Redis store: whoever uses a namespace first sets it up, so there is nothing for others "
            "to run; what a user needs is listed in docs/redis.md"
        )

    def _greeting(self, greet: Greet) -> Greeting:
        try:
            search = self._route.search(greet)
            with closing(opened(self._route, time.monotonic() + OPERATION_SECONDS, search)) as connection:
                return connection.greeting
        except theirs.RedisError as error:
            raise unreached(error, self.url) from error

    def _status(self, server: Greeting) -> SchemaStatus:
        return SchemaStatus(
            server.schema,
            SCHEMA_VERSION,
            described(self._location, server, self._route.slot),
            warnings(self._location, server),
            automatic=True,
        )
