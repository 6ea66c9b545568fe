"""The outbox of a PostgreSQL database: a table in the schema that its URL names (`?schema=`, else `mainspring`).

A turn is a transaction: rows are locked while their jobs are on their way, and gone with its commit. A relay that dies
loses its turn with its connection, and the next one takes the same rows again.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import UndefinedTable

from mainspring.store.base import Full, Reply, Request, Store
from mainspring.store.outbox.documents import rows_of, written
from mainspring.store.outbox.table import OutboxRow, OutboxStatus, no_table
from mainspring.store.postgres.borrowed import Lending, PostgresAsyncBorrowed, PostgresBorrowed
from mainspring.store.postgres.connections import AsyncConnection, Connection, aconnect, connect, hung_up
from mainspring.store.postgres.dialect import PostgresDialect
from mainspring.store.postgres.errors import translated
from mainspring.store.postgres.listening import AsyncListener, PostgresAsyncWatch
from mainspring.store.postgres.location import GRACE_SECONDS, OPERATION_SECONDS, Location, locate
from mainspring.store.postgres.schema import LOCK, role_name, schema_made
from mainspring.store.sql.lending import Lent, Session
from mainspring.store.sql.statements import Row, Statement, sql

__all__ = ["PostgresOutbox"]

TOPIC = "outbox"
_WHERE = {"host": "", "hostaddr": "", "port": "5432", "dbname": "", "service": ""}


class PostgresOutbox:
    """See `OutboxTable`. Without a URL it is in the schema `mainspring` of whatever database a connection leads to."""

    def __init__(self, url: str) -> None:
        self.location = locate(url or "postgresql://")
        self.url = self.location.url if url else ""
        self.dialect = PostgresDialect(
            self.location.schema, sessions=self.location.listen, files=("borrowed.sql", "outbox.sql")
        )
        self._lending = OutboxLending(self)

    def is_beside(self, store: Store) -> bool:
        if not self.url or not store.url.startswith(("postgres:", "postgresql:")):
            return False
        return _database(locate(store.url)) == _database(self.location)

    def lent(self, lent: Lent) -> PostgresBorrowed:
        return PostgresBorrowed(self._lending, lent)

    def async_lent(self, lent: Callable[[], Awaitable[Lent]]) -> PostgresAsyncBorrowed:
        return PostgresAsyncBorrowed(self._lending, lent)

    def reader(self) -> PostgresOutboxReader:
        return PostgresOutboxReader(self)

    def status(self) -> OutboxStatus:
        with self._connected() as connection:
            ((there,),) = self._execute(connection, sql("outbox_is_there", table=self.table))
            if not there:
                return OutboxStatus(found=False)
            ((waiting, oldest, aside),) = self._execute(connection, sql("outbox_status"))
            return OutboxStatus(True, waiting, oldest, aside)

    def migrate(self) -> bool:
        with self._connected() as connection, connection.transaction():
            ((there,),) = self._execute(connection, sql("outbox_is_there", table=self.table))
            if not there:
                connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
                connection.execute(schema_made(self.location.schema))
                self._execute(connection, sql("make_outbox"))
            return not there

    def script(self, grant_to: str | None = None) -> str:
        schema, parts = self.location.schema, ["BEGIN;"]
        parts += [schema_made(schema), f"{self.dialect.text(sql('make_outbox'))};"]
        if grant_to is not None:
            role = role_name(grant_to)
            parts.append(
                f'GRANT USAGE ON SCHEMA "{schema}" TO {role};\n'
                f"GRANT SELECT, INSERT, UPDATE, DELETE ON {self.table} TO {role};"
            )
        return "\n\n".join((*parts, "COMMIT;\n"))

    @property
    def table(self) -> str:
        """Its name, as SQL has it."""
        return f'"{self.location.schema}".outbox'

    def whereabouts(self) -> str:
        """Which database of which running server it is in; blocking."""
        with self._connected() as connection:
            return str(self._execute(connection, sql("whereabouts", schema=self.location.schema))[0][0])

    def failed(self, error: psycopg.Error) -> Exception:
        """The error as one of ours."""
        return no_table(self.url) if isinstance(error, UndefinedTable) else translated(error, self.url)

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        try:
            with connect(self.location, time.monotonic() + OPERATION_SECONDS) as connection:
                yield connection
        except psycopg.Error as error:
            raise self.failed(error) from error

    def _execute(self, connection: Connection, step: Statement) -> list[Row]:
        cursor = connection.execute(self.dialect.text(step), step.parameters or None)
        return cursor.fetchall() if cursor.description else []


class OutboxLending(Lending):
    """Connections of users whose transactions write to an outbox."""

    def __init__(self, outbox: PostgresOutbox) -> None:
        holds = f"the outbox is in {outbox.url}" if outbox.url else "the outbox is beside the data"
        ask = outbox.whereabouts if outbox.url else None
        super().__init__(holds, outbox.url or "the database", outbox.dialect, ask)
        self._outbox = outbox

    def _look_round(self, lent: Lent, there: bool) -> Session[None]:
        # Asked, and not tried: the failure of a statement is one of the user's transaction.
        ((there,),) = yield sql("outbox_is_there", table=self._outbox.table)
        if not there:
            raise no_table(self._outbox.url, lent.name)

    def _within(self, request: Request[Reply]) -> Session[Reply]:
        yield sql("put_in_outbox", doc=rows_of(request), channel=self._outbox.location.schema)
        return written(request)


class PostgresOutboxReader:
    """See `OutboxReader`: one connection for turns, and one that listens."""

    def __init__(self, outbox: PostgresOutbox) -> None:
        self._outbox = outbox
        self._kept: AsyncConnection | None = None
        self._listener: AsyncListener | None = None
        self._watch: PostgresAsyncWatch | None = None

    @asynccontextmanager
    async def turn(self, limit: int, without: Sequence[Full] = ()) -> AsyncIterator[PostgresOutboxTurn | None]:
        try:
            turn = PostgresOutboxTurn(self._outbox, await self._connection())
            yield turn if await turn.begin(limit, without) else None
            await turn.end()
        except BaseException as error:
            # Without its connection the server takes it all back, whatever it was at.
            await self._disconnect()
            if isinstance(error, psycopg.Error):
                raise self._outbox.failed(error) from error
            raise

    async def _connection(self) -> AsyncConnection:
        if self._kept is None or hung_up(self._kept):
            await self._disconnect()
            self._kept = await aconnect(self._outbox.location, time.monotonic() + OPERATION_SECONDS)
        return self._kept

    async def _disconnect(self) -> None:
        if self._kept is not None:
            kept, self._kept = self._kept, None
            await kept.close()

    async def wait(self, seconds: float) -> None:
        if self._watch is None:
            if self._outbox.location.listen:
                self._listener = AsyncListener(self._outbox.location)
                await self._listener.open()
            self._watch = PostgresAsyncWatch(self._listener, (TOPIC,))
        await self._watch.wait(seconds)

    async def aclose(self) -> None:
        if self._watch is not None:
            await self._watch.aclose()
        if self._listener is not None:
            await self._listener.aclose()
        await self._disconnect()


class PostgresOutboxTurn:
    """See `OutboxTurn`."""

    def __init__(self, outbox: PostgresOutbox, connection: AsyncConnection) -> None:
        self._outbox = outbox
        self._connection = connection
        self.rows: tuple[OutboxRow, ...] = ()

    async def begin(self, limit: int, without: Sequence[Full]) -> bool:
        """Take the turn and its rows; False: it is somebody else's."""
        await self._execute(sql("begin"))
        ((ours,),) = await self._execute(sql("take_turn"))
        if ours:
            queues = [full.queue for full in without if full.partition is None]
            partitions = [(full.queue, full.partition) for full in without if full.partition is not None]
            found = await self._execute(
                sql("rows_in_outbox", queues=json.dumps(queues), partitions=json.dumps(partitions), limit=limit)
            )
            self.rows = tuple(OutboxRow(*row) for row in found)
        return bool(ours)

    async def finish(self, gone: Sequence[int], aside: Sequence[tuple[int, str]]) -> None:
        if gone:
            await self._execute(sql("delete_from_outbox", numbers=json.dumps(gone)))
        if aside:
            doc = json.dumps([{"number": number, "why": why} for number, why in aside])
            await self._execute(sql("set_aside", doc=doc))

    async def end(self) -> None:
        """Make it so: only then does anything of it hold."""
        await self._execute(sql("commit"))

    async def _execute(self, step: Statement) -> list[Row]:
        self._connection.deadline = time.monotonic() + OPERATION_SECONDS + GRACE_SECONDS
        cursor = await self._connection.execute(self._outbox.dialect.text(step), step.parameters or None)
        return await cursor.fetchall() if cursor.description else []


def _database(location: Location) -> tuple[str, ...]:
    """What tells one database from another in a URL."""
    given = conninfo_to_dict(location.conninfo)
    return tuple(str(given.get(name) or default) for name, default in _WHERE.items())
