"""From a URL, or from a connection, to the outbox that is meant, loading only the code of that kind of database."""

from __future__ import annotations

from urllib.parse import urlsplit

from mainspring.errors import InvalidOption, InvalidURL
from mainspring.store.base import AsyncBorrowed, Borrowed, Reply, Request, Store
from mainspring.store.connect import without_password
from mainspring.store.outbox.table import OutboxTable
from mainspring.store.sql.lending import OUTBOX, Kind, Lent, lend, lend_async

__all__ = ["FORMS", "Outboxes", "open_outbox", "refuse_same_place"]

FORMS = "postgresql://user@host/database or sqlite:////var/lib/shop/shop.db"


def open_outbox(url: str) -> OutboxTable:
    """The outbox in the database at `url`. Opens nothing yet; raises `InvalidURL`."""
    if not isinstance(url, str):
        raise InvalidURL(f"outbox URL {url!r} is of type {type(url).__name__}; give text: {FORMS}")
    shown = without_password(url)
    try:
        scheme = urlsplit(url).scheme
    except ValueError as error:
        raise InvalidURL(f"outbox URL {shown!r} cannot be read ({error}); give {FORMS}") from None
    if scheme in ("postgres", "postgresql"):
        return _postgres(url)
    if scheme == "sqlite":
        return _sqlite(url)
    raise InvalidURL(
        f"outbox URL {shown!r} is no database in which transactions write: give the one that your data are in, such as "
        f"{FORMS}"
    )


def _postgres(url: str) -> OutboxTable:
    try:
        from mainspring.store.postgres.outbox import PostgresOutbox
    except ImportError as error:
        raise InvalidURL(
            f"outbox URL {without_password(url)!r} needs psycopg, which cannot be loaded ({error}); install it: "
            "pip install 'mainspring[postgres]'"
        ) from None
    return PostgresOutbox(url)


def _sqlite(url: str) -> OutboxTable:
    from mainspring.store.sqlite.outbox import SqliteOutbox

    return SqliteOutbox(url)


def refuse_same_place(store: Store, outbox: OutboxTable) -> None:
    """Raises `InvalidOption` for an outbox in the database of the store itself, where no job needs one."""
    if outbox.is_beside(store):
        raise InvalidOption(
            f"outbox={outbox.url!r} is in the database that the jobs are in, so a transaction there can enqueue them "
            "itself: task.using(tx=connection).enqueue(...), and no outbox is needed"
        )


class Outboxes:
    """Where an app's users write: into the outbox that it was told of, else into the one of whatever database their
    connection leads to."""

    def __init__(self, told: OutboxTable | None) -> None:
        self._told = told
        self._found: dict[str, OutboxTable] = {}

    def borrow(self, connection: object) -> Borrowed:
        """Inserts on somebody's own connection. Raises `UnusableTransaction`."""
        lent = lend(connection, OUTBOX)
        return self.of(lent.kind).lent(lent)

    def async_borrow(self, connection: object) -> AsyncBorrowed:
        """The same on an event loop."""
        return _Found(self, connection)

    def of(self, kind: Kind) -> OutboxTable:
        """Where those write who have that kind of connection."""
        if self._told is not None:
            return self._told
        name = "sqlite" if kind in ("sqlite3", "aiosqlite") else "postgres"
        if name not in self._found:
            self._found[name] = _sqlite("") if name == "sqlite" else _postgres("")
        return self._found[name]


class _Found:
    """An async connection, whose kind is seen when it is used."""

    def __init__(self, outboxes: Outboxes, connection: object) -> None:
        self._outboxes = outboxes
        self._connection = connection

    async def run(self, request: Request[Reply]) -> Reply:
        lent = await lend_async(self._connection, OUTBOX)

        async def given() -> Lent:
            return lent

        return await self._outboxes.of(lent.kind).async_lent(given).run(request)
