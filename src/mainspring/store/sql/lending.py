"""Connections that their users lend for a request: told by their types, whatever library they come from, and unwrapped.

No library is imported for that: where there is an object of one, its modules are there.

    of a driver library     psycopg, psycopg2, asyncpg (also from its pool), sqlite3, aiosqlite
    on top of one           SQLAlchemy's sessions and connections, Django's connections and `atomic`
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

from mainspring.errors import MainspringError, UnusableTransaction
from mainspring.model.text import clean, quote
from mainspring.store.base import Operation, Reply
from mainspring.store.connect import without_password
from mainspring.store.sql.statements import CLOCK, READ, WRITE, Query, Row, Statement

__all__ = [
    "OUTBOX",
    "TX",
    "AsyncExecute",
    "Execute",
    "Kind",
    "Lent",
    "Session",
    "Translate",
    "aperform",
    "bare",
    "lend",
    "lend_async",
    "ours",
    "perform",
    "unusable",
]

Parameters = Any
Execute = Callable[[str, Parameters], list[Row]]
"""Hands a text and its parameters to a connection; the rows that come back."""
AsyncExecute = Callable[[str, Parameters], Awaitable[list[Row]]]

Session = Generator[Statement | Query, list[Row], Reply]
"""One request on a lent connection: yields what is to be executed, is sent its rows or thrown the database's error, and
returns the reply."""

Kind = Literal["psycopg", "psycopg2", "asyncpg", "sqlite3", "aiosqlite", "sqlalchemy", "django"]

_BLOCKING: Final[tuple[tuple[Kind, str, str], ...]] = (
    ("psycopg", "psycopg", "Connection"),
    ("psycopg2", "psycopg2.extensions", "connection"),
    ("sqlite3", "sqlite3", "Connection"),
    ("sqlalchemy", "sqlalchemy.orm.session", "Session"),
    ("sqlalchemy", "sqlalchemy.orm.scoping", "scoped_session"),
    ("sqlalchemy", "sqlalchemy.engine.base", "Connection"),
    ("django", "django.db.backends.base.base", "BaseDatabaseWrapper"),
    ("django", "django.utils.connection", "ConnectionProxy"),
    ("django", "django.db.transaction", "Atomic"),
)
_ASYNC: Final[tuple[tuple[Kind, str, str], ...]] = (
    ("psycopg", "psycopg", "AsyncConnection"),
    ("asyncpg", "asyncpg.connection", "Connection"),
    ("asyncpg", "asyncpg.pool", "PoolConnectionProxy"),
    ("aiosqlite", "aiosqlite.core", "Connection"),
    ("sqlalchemy", "sqlalchemy.ext.asyncio.session", "AsyncSession"),
    ("sqlalchemy", "sqlalchemy.ext.asyncio.scoping", "async_scoped_session"),
    ("sqlalchemy", "sqlalchemy.ext.asyncio.engine", "AsyncConnection"),
)

TX, OUTBOX = "tx=", "app.outbox()"
"""What a connection was given as, for people."""

FORMS = (
    "the open connection or session whose transaction it is: of psycopg, psycopg2, asyncpg, sqlite3, aiosqlite or "
    "SQLAlchemy, or django.db.connection"
)


@dataclass(frozen=True, slots=True)
class Lent:
    """A connection that was given, unwrapped."""

    name: str
    """As what, and what, was given, for people: "tx= (psycopg.Connection)"."""
    raw: Any
    """The driver library's own connection."""
    kind: Kind
    """Which library that is."""
    through: Any = None
    """SQLAlchemy's connection: everything goes through it, or it would not know that there is something to commit."""
    autocommit: bool = False
    """Whether SQLAlchemy was told to let every statement be a transaction of its own."""

    def execute(self, text: str, parameters: Parameters) -> list[Row]:
        """Through SQLAlchemy."""
        return _rows(self.through.exec_driver_sql(text, parameters or None))

    async def aexecute(self, text: str, parameters: Parameters) -> list[Row]:
        """Through SQLAlchemy."""
        return _rows(await self.through.exec_driver_sql(text, parameters or None))


def _rows(result: Any) -> list[Row]:
    return [tuple(row) for row in result.fetchall()] if result.returns_rows else []


def unusable(name: str, what: str) -> UnusableTransaction:
    """The error for a connection of a known kind: what is wrong with it, and what to do."""
    return UnusableTransaction(f"{name} {what}")


# --- which kind ------------------------------------------------------------------------------------------------------


def _kind_of(given: object, role: str, *, is_async: bool) -> Kind:
    """Raises `UnusableTransaction` for what is no connection, and for one that blocks where it must not, or the other
    way round."""
    if kind := _among(_ASYNC if is_async else _BLOCKING, given):
        return kind
    if _among(_ASYNC, given):
        raise unusable(
            _name(given, role),
            "is an async connection, and this a blocking verb: await the async one, such as aenqueue(...), or give a "
            "blocking connection",
        )
    if kind := _among(_BLOCKING, given):
        advice = (
            "await sync_to_async(task.using(tx=connection).enqueue)(...)" if kind == "django" else "use enqueue(...)"
        )
        raise unusable(
            _name(given, role),
            f"is a blocking connection, and this an async verb, which it would hold up: {advice}, or give an async one",
        )
    if given is None:
        raise UnusableTransaction(
            f"{role} is None: give {FORMS} (`with transaction.atomic() as tx` gives None, too)"
            + (". Leave tx= away to enqueue at once, whatever becomes of a transaction" if role == TX else "")
        )
    shown = quote(without_password(given) if isinstance(given, str) else given)
    named = f"{role}{shown}" if role == TX else f"{role}: {shown}"
    raise UnusableTransaction(f"{named} ({_type_name(given)}) is no connection that is known here: give {FORMS}")


def _among(types: tuple[tuple[Kind, str, str], ...], given: object) -> Kind | None:
    for kind, module, name in types:
        known = getattr(sys.modules.get(module), name, None)
        if isinstance(known, type) and isinstance(given, known):
            return kind
    return None


def _type_name(given: object) -> str:
    return f"{type(given).__module__}.{type(given).__qualname__}"


def _name(given: object, role: str) -> str:
    return f"{role} ({_type_name(given)})"


# --- unwrapping ------------------------------------------------------------------------------------------------------


def lend(given: object, role: str = TX) -> Lent:
    """A blocking connection, unwrapped, that was given as `role`. Raises `UnusableTransaction`."""
    kind, name = _kind_of(given, role, is_async=False), _name(given, role)
    if kind == "django":
        return _from_django(given, name)
    if kind != "sqlalchemy":
        return Lent(name, given, kind)
    connection: Any = given
    try:
        if hasattr(connection, "get_bind"):  # a session
            connection = connection.connection()
        pooled = connection.connection
        return _from_sqlalchemy(name, connection, pooled.driver_connection, pooled.dbapi_connection)
    except Exception as error:
        raise _not_lent(name, error) from error


async def lend_async(given: object, role: str = TX) -> Lent:
    """An async connection, unwrapped. Raises `UnusableTransaction`."""
    kind, name = _kind_of(given, role, is_async=True), _name(given, role)
    if kind == "asyncpg":
        # Of one from a pool, the same connection each time that it is handed out.
        raw = getattr(given, "_con", given)
        if raw is None:
            raise unusable(name, "was given back to its pool: give one that is open")
        return Lent(name, raw, kind)
    if kind != "sqlalchemy":
        return Lent(name, given, kind)
    connection: Any = given
    try:
        if hasattr(connection, "get_bind"):  # a session
            connection = await connection.connection()
        pooled = await connection.get_raw_connection()
        return _from_sqlalchemy(name, connection, pooled.driver_connection, pooled.dbapi_connection)
    except Exception as error:
        raise _not_lent(name, error) from error


def _from_sqlalchemy(name: str, connection: Any, raw: Any, adapted: Any) -> Lent:
    # A blocking session may stand on an async driver: inside of `run_sync`.
    kind = _among(_ASYNC, raw) or _among(_BLOCKING, raw)
    if kind is None:
        raise unusable(name, f"is on the driver {_type_name(raw)}, which is not known here; give {FORMS}")
    if sys.modules["sqlalchemy"].__version__.startswith("1."):
        # Before 2.0 a connection commits what it executes by itself.
        raise unusable(name, "is of an SQLAlchemy before 2.0; bring it up to date, or give the driver's own connection")
    return Lent(name, raw, kind, connection, getattr(adapted, "autocommit", False) is True)


def _not_lent(name: str, error: Exception) -> Exception:
    if isinstance(error, UnusableTransaction) or not type(error).__module__.startswith("sqlalchemy."):
        return error
    text = clean(" ".join(str(error).split()))
    if type(error).__name__ == "PendingRollbackError":
        return unusable(name, f"has a transaction that has failed already: roll it back and begin a new one ({text})")
    return unusable(
        name, f"gives no connection to work on ({text}); give one that is open, such as session.connection(...)"
    )


def _from_django(given: Any, name: str) -> Lent:
    wrapper = given
    if hasattr(given, "using"):  # `atomic`
        wrapper = sys.modules["django.db"].connections[given.using or "default"]
    if wrapper.needs_rollback:
        raise unusable(name, "has a transaction that has failed already: leave its atomic block and begin a new one")
    if not wrapper.in_atomic_block and wrapper.get_autocommit():
        raise unusable(
            name, "has no transaction open: put the work, and the enqueuing, in one `with transaction.atomic():`"
        )
    wrapper.ensure_connection()
    raw = wrapper.connection
    kind = _among(_BLOCKING, raw)
    if kind is None:
        raise unusable(name, f"is on the driver {_type_name(raw)}, which is not known here; give {FORMS}")
    return Lent(name, raw, kind)


# --- performing ------------------------------------------------------------------------------------------------------

Translate = Callable[[Statement | Query], tuple[str, Parameters]]
"""A step as the text and the parameters that a connection takes; no text: nothing to do."""


def bare(operation: Operation[Reply], clock: Callable[[], int] | None = None) -> Session[Reply]:
    """An operation without its marks: the transaction is there already. `clock` tells the time where the database does
    not."""
    rows: list[Row] | None = None
    try:
        while True:
            step = operation.send(rows)
            if step is CLOCK and clock is not None:
                rows = [(clock(),)]
            elif step is WRITE or step is READ:
                rows = []
            else:
                rows = yield step
    except StopIteration as done:
        reply: Reply = done.value
        return reply
    finally:
        operation.close()


@contextmanager
def ours(translated: Callable[[Exception], Exception]) -> Generator[None]:
    """Within this, errors of the connection's library come as what `translated` makes of them."""
    try:
        yield
    except MainspringError:
        raise
    except Exception as error:
        if (translation := translated(error)) is error:
            raise
        raise translation from error


def perform(session: Session[Reply], execute: Execute, translate: Translate) -> Reply:
    """Run a session to its reply."""
    rows: list[Row] = []
    error: Exception | None = None
    try:
        step = next(session)
        while True:
            rows, error = [], None
            text, parameters = translate(step)
            try:
                rows = execute(text, parameters) if text else []
            except Exception as failure:  # noqa: BLE001 - the session decides about it
                error = failure
            step = session.send(rows) if error is None else session.throw(error)
    except StopIteration as done:
        reply: Reply = done.value
        return reply
    finally:
        session.close()


async def aperform(session: Session[Reply], execute: AsyncExecute, translate: Translate) -> Reply:
    """The same on an event loop."""
    rows: list[Row] = []
    error: Exception | None = None
    try:
        step = next(session)
        while True:
            rows, error = [], None
            text, parameters = translate(step)
            try:
                rows = await execute(text, parameters) if text else []
            except Exception as failure:  # noqa: BLE001 - the session decides about it
                error = failure
            step = session.send(rows) if error is None else session.throw(error)
    except StopIteration as done:
        reply: Reply = done.value
        return reply
    finally:
        session.close()
