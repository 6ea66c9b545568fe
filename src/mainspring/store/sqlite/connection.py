"""Connections to an SQLite file: opened with the settings that keep its promises, and performing operations.

WAL lets readers and one writer go on side by side; FULL makes a commit survive a power cut; every write begins with
BEGIN IMMEDIATE, because a read that turns into a write may fail however long it would wait. SQLite's own busy handler
sleeps for up to 100 ms between tries; ours, below, for about one, so that processes hand the lock over quickly.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any

from mainspring.clock import now_ms
from mainspring.errors import (
    StoreBusy,
    StoreCorrupt,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
    UnsuitableStore,
)
from mainspring.model.options import TEXT_SEARCHED
from mainspring.model.text import clean
from mainspring.store.base import Operation, Reply
from mainspring.store.sql.statements import CLOCK, READ, WRITE, Dialect, Row
from mainspring.store.sqlite.location import Location, check_folder, identity

__all__ = ["DIALECT", "OPERATION_DEADLINE", "Connection", "DamagedText", "statements_of"]

OPERATION_DEADLINE = 5.0
"""Seconds that an operation may wait for its turn."""

OLDEST_SQLITE = (3, 36, 0)
"""The first in which connections share a database in memory; RETURNING came with the one before."""

_ON_DISK = (
    "journal_mode = WAL",
    "synchronous = FULL",
    # Pages of 4 KiB: a checkpoint now and then, not in the middle of every hundredth batch.
    "wal_autocheckpoint = 4000",
)
_IN_MEMORY = ("journal_mode = MEMORY", "synchronous = OFF")

DIALECT = Dialect(
    "mainspring.store.sqlite",
    ("statements.sql", "gates.sql", "edges.sql", "stats.sql", "depths.sql", "brief.sql"),
    {
        "place": "rowid",
        # Keeps the planner off the index of that column.
        "off": "+",
        "by": "INDEXED BY mainspring_{}",
        "among": "IN (SELECT value FROM json_each(:{}))",
        # Its lower() is that of ASCII alone.
        "contains": f"instr(lower(substr(args, 1, {TEXT_SEARCHED})), :{{}}) > 0",
        "tagged": (
            "CASE WHEN instr(options, :{0}_written) "
            "THEN EXISTS (SELECT 1 FROM json_each(options, '$.tags') AS t WHERE t.value = :{0}) ELSE 0 END"
        ),
    },
    # There is one writer at a time: nothing to lock, and nobody to be crossed by.
    needless=(
        *("lock_callbacks", "lock_children", "lock_edges", "lock_falling", "lock_jobs", "lock_keys", "undo_finished"),
        *("unknown_queues", "lock_gates", "add_queues", "lock_tasks", "lock_gates_of_tasks", "lock_room", "busy_jobs"),
        *("take_arrivals", "admit", "lock_arrived"),
        *("open_day", "open_days", "forget_days"),
        *("set_aside", "set_aside_since", "any_set_aside", "fold", "lock_stats"),
    ),
)

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


class DamagedText(StoreCorrupt):
    """A stored text is not UTF-8: not written by Mainspring, or damaged since."""


class Connection:
    """One connection. Used by one thread at a time; `turn` is the lock that all writers of this process share."""

    def __init__(self, location: Location, turn: threading.Lock, *, create: bool = True) -> None:
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise UnsuitableStore(
                f"this Python was built with SQLite {sqlite3.sqlite_version}; Mainspring needs "
                f"{'.'.join(map(str, OLDEST_SQLITE))} or newer"
            )
        if location.path:
            check_folder(location.path)
            if not create and identity(location) is None:
                raise StoreUnavailable(
                    f"{location.path} is gone: it was deleted or moved while in use; put it back, or restart this "
                    "program to begin a new one"
                )
        self._location = location
        self._turn = turn
        self._pid = os.getpid()
        try:
            self._raw = sqlite3.connect(
                location.uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256
            )
        except sqlite3.Error as error:
            raise self._translated(error) from error.__cause__
        try:
            self._set_up()
        except BaseException:
            self._raw.close()
            raise
        self.file = identity(location)
        """Which file this is a connection to, whatever is at its path later."""

    def _set_up(self) -> None:
        for setting in _ON_DISK if self._location.path else _IN_MEMORY:
            self.rows(f"PRAGMA {setting}")
        ((mode,),) = self.rows("PRAGMA journal_mode")
        if mode not in ("wal", "memory"):
            raise UnsuitableStore(
                f"{self._location.path} cannot be used by several processes at once (SQLite gives it the journal mode "
                f"{mode!r}, not WAL); put it on a local disk"
            )

    def is_current(self) -> bool:
        """Whether the file at the store's path is still the one that this connection reads and writes.

        What is written to a file that was deleted is gone with the last connection to it, and SQLite does not say so.
        """
        return self.file == identity(self._location)

    def perform(self, operation: Operation[Reply]) -> Reply:
        """Run an operation to its reply, atomically from its first write on."""
        deadline = time.monotonic() + OPERATION_DEADLINE
        try:
            with closing(operation), ExitStack() as transaction:
                rows: list[Row] | None = None
                while True:
                    try:
                        step = operation.send(rows)
                    except StopIteration as done:
                        reply: Reply = done.value
                        break
                    rows = []
                    if step is WRITE:
                        transaction.enter_context(self._writing(deadline))
                    elif step is READ:
                        transaction.enter_context(self._reading(deadline))
                    elif step is CLOCK:
                        rows = [(now_ms(),)]
                    elif text := DIALECT.text(step):
                        rows = self._execute(text, step.parameters, deadline)
            return reply
        except sqlite3.Error as error:
            raise self._translated(error) from error.__cause__

    @contextmanager
    def reading_damaged_text(self) -> Generator[None]:
        """Within this, bytes that are no UTF-8 come as lone surrogates, so that the row which has them can be read, and
        will be refused for what it is by whoever decodes it."""
        self._raw.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        try:
            yield
        finally:
            self._raw.text_factory = str

    @contextmanager
    def _writing(self, deadline: float) -> Generator[None]:
        """A write transaction, when it is this connection's turn."""
        if not self._turn.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise self._busy()
        try:
            self._execute("BEGIN IMMEDIATE", {}, deadline)
            try:
                yield
                self._execute("COMMIT", {}, deadline)
            except BaseException:
                with suppress(sqlite3.Error):
                    self._raw.execute("ROLLBACK")
                raise
        finally:
            self._turn.release()

    @contextmanager
    def _reading(self, deadline: float) -> Generator[None]:
        """One state of the store, however many statements read it."""
        self._execute("BEGIN", {}, deadline)
        try:
            yield
        finally:
            # SQLite may have ended the transaction itself, when it failed.
            if self._raw.in_transaction:
                self._raw.execute("ROLLBACK")

    def _execute(self, sql: str, parameters: Mapping[str, Any], deadline: float) -> list[Row]:
        """One statement, tried again while another process is at it."""
        pause = 0.0003
        while True:
            try:
                return self._raw.execute(sql, parameters).fetchall()
            except UnicodeDecodeError as error:
                # What Python could not read is SQLite's own message, which quotes damaged bytes.
                raise self._corrupt(error) from None
            except sqlite3.OperationalError as error:
                if _code(error) not in _BUSY:
                    raise
                if time.monotonic() > deadline:
                    raise self._busy() from error
            time.sleep(pause * (0.5 + random.random()))
            pause = min(pause * 1.5, 0.004)

    def script(self, sql: str, unless: Callable[[], bool]) -> None:
        """Several statements in one write transaction (a migration), unless that proves needless inside it."""
        try:
            with self._writing(time.monotonic() + OPERATION_DEADLINE):
                if not unless():
                    for statement in statements_of(sql):
                        self._raw.execute(statement)
        except sqlite3.Error as error:
            raise self._translated(error) from error.__cause__

    def rows(self, sql: str) -> list[Row]:
        """What one reading statement gives."""
        try:
            return self._execute(sql, {}, time.monotonic() + OPERATION_DEADLINE)
        except sqlite3.Error as error:
            raise self._translated(error) from error.__cause__

    def data_version(self) -> int:
        """A number that changes whenever another connection has committed."""
        return int(self.rows("PRAGMA data_version")[0][0])

    def close(self) -> None:
        self._raw.close()

    def __del__(self) -> None:
        # For apps that are dropped without `close`. Not in a forked child: see `_left_behind`.
        if hasattr(self, "_raw") and self._pid == os.getpid():
            self._raw.close()

    def _busy(self) -> StoreBusy:
        return StoreBusy(
            f"{self._location.url} was locked by others for {OPERATION_DEADLINE:g} s; nothing was changed, try again. "
            "If this lasts, look for a program that holds a transaction open"
        )

    def _corrupt(self, error: Exception) -> StoreCorrupt:
        place = self._location.path or self._location.url
        return StoreCorrupt(
            f"{place} is damaged or no SQLite file ({clean(str(error))}); move it away, then restore a backup or "
            "start anew"
        )

    def _translated(self, error: sqlite3.Error) -> Exception:
        """The error as one of ours, that says what to do; as it is, where only a bug of ours can be the cause."""
        place = self._location.path or self._location.url
        match _code(error):
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
                return StoreReadOnly(
                    f"{place} cannot be written ({error}); give this user write permission to the file and its folder"
                )
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                return self._corrupt(error)
            case 0 if str(error).startswith("Could not decode to UTF-8"):
                return DamagedText(str(self._corrupt(error)))
            case sqlite3.SQLITE_FULL:
                return StoreFull(f"no room left for {place} ({error}); nothing was changed, free some disk space")
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return self._busy()
            case sqlite3.SQLITE_CANTOPEN:
                return StoreUnavailable(
                    f"cannot open {place} ({error}); check that the folder can be written by this user"
                )
            case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_NOMEM | sqlite3.SQLITE_PROTOCOL | sqlite3.SQLITE_NOLFS:
                return StoreUnavailable(f"{place} failed ({error}); nothing was changed, look at the disk it is on")
            case _:
                return error


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code."""
    return int(getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def statements_of(sql: str) -> list[str]:
    """The statements of a script, comments left out."""
    statements, current = [], ""
    for line in sql.splitlines():
        current += line.split("--")[0] + "\n"
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return [statement for statement in statements if statement.strip()]
