"""The outbox of an SQLite file: a table beside a user's own.

There is one writer at a time, and it must not be somebody who waits for another machine. So a turn is no transaction:
it is a lock on a file beside the database (`shop.db-outbox`), which the system takes back from whoever dies, and the
next relay from whoever stands still. Rows are read, their jobs sent, and the rows deleted in a short transaction after
that.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from mainspring.clock import now_ms
from mainspring.errors import ConfigurationError, InvalidURL, StoreBusy, StoreFull, StoreReadOnly, StoreUnavailable
from mainspring.model.text import clean
from mainspring.store.base import Full, Reply, Request, Store
from mainspring.store.outbox.documents import rows_of, written
from mainspring.store.outbox.table import OutboxRow, OutboxStatus, no_table
from mainspring.store.sql.lending import Lent, Session, unusable
from mainspring.store.sql.statements import Dialect, Row, sql
from mainspring.store.sqlite.borrowed import (
    KINDS,
    Lending,
    Plain,
    SqliteAsyncBorrowed,
    SqliteBorrowed,
    is_at,
    main_file,
)
from mainspring.store.sqlite.location import Location, check_folder, locate

__all__ = ["SqliteOutbox"]

T = TypeVar("T")

FORM = "sqlite:////var/lib/shop/shop.db"
WAIT_SECONDS = 5.0
"""How long a statement waits for other writers."""
TURN_SECONDS = 10.0
"""How long a turn may take until the next relay no longer waits for its end."""
POLL_SECONDS = 0.05
"""How soon a commit of somebody else's is noticed."""

DIALECT = Dialect("mainspring.store.sqlite", ("outbox.sql",), {})


class SqliteOutbox:
    """See `OutboxTable`. Without a URL it is in whatever file a connection leads to."""

    def __init__(self, url: str) -> None:
        self.location: Location | None = locate(url) if url else None
        self.url = "" if self.location is None else self.location.url
        if url and self.path is None:
            raise InvalidURL(f"outbox URL {url!r} is in memory, where no transaction of yours reaches it; name a file")

    @property
    def path(self) -> str | None:
        """Its file."""
        return None if self.location is None or self.location.path is None else str(self.location.path)

    def is_beside(self, store: Store) -> bool:
        return bool(self.url) and store.url == self.url

    def lent(self, lent: Lent) -> SqliteBorrowed:
        return SqliteBorrowed(OutboxLending(self), lent)

    def async_lent(self, lent: Callable[[], Awaitable[Lent]]) -> SqliteAsyncBorrowed:
        return SqliteAsyncBorrowed(OutboxLending(self), lent)

    def reader(self) -> SqliteOutboxReader:
        return SqliteOutboxReader(self)

    def status(self) -> OutboxStatus:
        with self.connected() as connection:
            if not _rows(connection, "outbox_is_there")[0][0]:
                return OutboxStatus(found=False)
            ((waiting, oldest, aside),) = _rows(connection, "outbox_status", now=now_ms())
            return OutboxStatus(True, waiting, None if oldest is None else max(0, oldest), aside)

    def migrate(self) -> bool:
        with self.connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            ((there,),) = _rows(connection, "outbox_is_there")
            _rows(connection, "make_outbox")
            connection.execute("COMMIT")
            return not there

    def script(self, grant_to: str | None = None) -> str:
        if grant_to is not None:
            raise ConfigurationError(f"{self.url} is an SQLite file, which knows no roles: leave --grant-to away")
        return f"{DIALECT.text(sql('make_outbox'))};\n"

    def open(self) -> sqlite3.Connection:
        """A connection to a file that is there. Raises `sqlite3.Error`, `StoreError`."""
        if self.location is None or self.location.path is None:
            raise InvalidURL(f"nobody said where the outbox is; give its URL, such as {FORM}")
        check_folder(self.location.path)
        uri = f"{self.location.uri}?mode=rw"
        return sqlite3.connect(
            uri, uri=True, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=16
        )

    @contextmanager
    def connected(self) -> Generator[sqlite3.Connection]:
        """A connection for a while."""
        with self.ours():
            connection = self.open()
            try:
                yield connection
            finally:
                connection.close()

    @contextmanager
    def ours(self) -> Generator[None]:
        """Within this, SQLite's errors come as ours."""
        try:
            yield
        except sqlite3.Error as error:
            text = clean(str(error))
            match int(getattr(error, "sqlite_errorcode", None) or 0) & 0xFF:
                case sqlite3.SQLITE_ERROR if "no such table" in text:
                    raise no_table(self.url) from None
                case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                    raise StoreBusy(f"{self.path} was locked by others for {WAIT_SECONDS:g} s ({text})") from error
                case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
                    raise StoreReadOnly(
                        f"{self.path} cannot be written ({text}); give this user write permission to the file and its "
                        "folder"
                    ) from error
                case sqlite3.SQLITE_FULL:
                    raise StoreFull(f"no room left for {self.path} ({text}); free some disk space") from error
                case _:
                    raise StoreUnavailable(
                        f"{self.path} cannot be used ({text}); see that the file is there, and that this user may read "
                        "and write it"
                    ) from error


class OutboxLending(Lending):
    """A connection of a user whose transaction writes to an outbox."""

    def __init__(self, outbox: SqliteOutbox) -> None:
        self._outbox = outbox

    def _recognise(self, lent: Lent) -> Session[None]:
        url, location = self._outbox.url, self._outbox.location
        if lent.kind not in KINDS:
            raise unusable(lent.name, f"is no connection to SQLite, and the outbox is in {url}")
        main = yield from main_file(lent)
        if not main:
            raise unusable(lent.name, "is a connection to a database in memory, where no worker can fetch the jobs")
        if location is not None and not is_at(main, location):
            raise unusable(
                lent.name,
                f"is a connection to {main}, and the outbox is in {self._outbox.path}, and no transaction can be in "
                "both: give a connection to that file (as its main one), or have the outbox in this one",
            )
        ((there,),) = yield Plain(DIALECT.text(sql("outbox_is_there")))
        if not there:
            raise no_table(url or f"sqlite:///{main}")

    def _within(self, request: Request[Reply]) -> Session[Reply]:
        yield Plain(DIALECT.text(sql("put_in_outbox")), {"doc": rows_of(request), "now": now_ms()})
        return written(request)


class SqliteOutboxReader:
    """See `OutboxReader`: one connection, on a thread of its own."""

    def __init__(self, outbox: SqliteOutbox) -> None:
        self._outbox = outbox
        self._thread = ThreadPoolExecutor(1, "mainspring-outbox")
        self._kept: sqlite3.Connection | None = None
        self._lock: int | None = None
        """The locked file, while it is our turn."""
        self._seen = -1
        """The file's version when its rows were read."""

    @asynccontextmanager
    async def turn(self, limit: int, without: Sequence[Full] = ()) -> AsyncIterator[SqliteOutboxTurn | None]:
        try:
            rows = await self.call(lambda: self._begin(limit, without))
            yield None if rows is None else SqliteOutboxTurn(self, rows)
        finally:
            self._thread.submit(self._end)

    async def call(self, function: Callable[[], T]) -> T:
        """Do that on the thread, one after the other."""

        def guarded() -> T:
            with self._outbox.ours():
                return function()

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)

    def _begin(self, limit: int, without: Sequence[Full]) -> tuple[OutboxRow, ...] | None:
        connection = self._connection()
        self._end()
        self._lock = _locked(f"{self._outbox.path}-outbox")
        if self._lock is None:
            return None
        self._seen = _version(connection)
        queues = [full.queue for full in without if full.partition is None]
        partitions = [(full.queue, full.partition) for full in without if full.partition is not None]
        found = _rows(
            connection,
            "rows_in_outbox",
            queues=json.dumps(queues),
            partitions=json.dumps(partitions),
            limit=limit,
            now=now_ms(),
        )
        return tuple(OutboxRow(*row) for row in found)

    def _connection(self) -> sqlite3.Connection:
        """The kept one, unless another file has come to be at its path."""
        if self._kept is not None:
            ((_, _, file),) = self._kept.execute("PRAGMA database_list").fetchmany(1)
            if not os.path.exists(file):
                self._close()
        if self._kept is None:
            self._kept = self._outbox.open()
        return self._kept

    def finish(self, gone: Sequence[int], aside: Sequence[tuple[int, str]]) -> None:
        """As `OutboxTurn.finish`, on the thread."""
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            _rows(connection, "delete_from_outbox", numbers=json.dumps(gone))
            if aside:
                doc = json.dumps([{"number": number, "why": why} for number, why in aside])
                _rows(connection, "set_aside", doc=doc)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _end(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def wait(self, seconds: float) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while (left := deadline - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(min(POLL_SECONDS, left))
            if await self.call(lambda: _version(self._connection())) != self._seen:
                return

    async def aclose(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _close(self) -> None:
        self._end()
        if self._kept is not None:
            self._kept.close()
            self._kept = None


class SqliteOutboxTurn:
    """See `OutboxTurn`."""

    def __init__(self, reader: SqliteOutboxReader, rows: tuple[OutboxRow, ...]) -> None:
        self._reader = reader
        self.rows = rows

    async def finish(self, gone: Sequence[int], aside: Sequence[tuple[int, str]]) -> None:
        if gone or aside:
            await self._reader.call(lambda: self._reader.finish(gone, aside))


def _locked(path: str) -> int | None:
    """The file there, locked by us; None: it is by somebody else, who is at work.

    One who has stood still for long is left with his lock, on a file that is there no more. When he goes on, he sends
    what the next one has sent, and deletes what that one has deleted: order is all that could suffer.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = True
        except BlockingIOError:
            ours = False
        if ours and _is_at(file, path):
            os.utime(file)
            return file
        stands_still = time.time() - os.fstat(file).st_mtime > TURN_SECONDS
        if not ours and stands_still and _is_at(file, path):
            os.unlink(path)
        os.close(file)
        if not ours and not stands_still:
            return None


def _is_at(file: int, path: str) -> bool:
    """Whether that open file is the one at the path."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _version(connection: sqlite3.Connection) -> int:
    """A number that changes when another connection has committed."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def _rows(connection: sqlite3.Connection, name: str, /, **parameters: Any) -> list[Row]:
    return connection.execute(DIALECT.text(sql(name)), parameters).fetchall()
