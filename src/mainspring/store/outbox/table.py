"""The table of an outbox: written by its users' transactions, read by the relays of workers.

One row is one job. It is there once the transaction that wrote it has committed, and goes when the store has the job. A
row that makes no job is *set aside*: it stays, with the reason, and nobody is held up by it.

Only one relay takes its turn at a time: rows reach the store in the order in which they were written (of transactions
that overlap, in any order), and what was sent twice was sent by one after the other. So a debounced job never loses to
the one before it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from mainspring.errors import SchemaMismatch
from mainspring.store.base import AsyncBorrowed, Borrowed, Full, Store
from mainspring.store.sql.lending import OUTBOX, Lent

__all__ = ["OUTBOX", "OutboxReader", "OutboxRow", "OutboxStatus", "OutboxTable", "OutboxTurn", "no_table"]


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One row that waits."""

    number: int
    """Its place in the table, never given twice."""
    id: str
    document: str
    age_ms: int
    """How long ago it was written, by the clock of its database."""


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """What is in an outbox."""

    found: bool
    """False: there is no such table."""
    waiting: int = 0
    oldest_ms: int | None = None
    """How long the oldest row waits."""
    aside: int = 0
    """How many were set aside."""


class OutboxTurn(Protocol):
    """One relay's turn: while it lasts, no other has one."""

    rows: tuple[OutboxRow, ...]
    """In the order in which they were written."""

    async def finish(self, gone: Sequence[int], aside: Sequence[tuple[int, str]]) -> None:
        """Delete rows whose jobs the store has, or has turned away for good; set others aside, each for a reason. The
        rest stay as they are. It holds once the turn has ended; where that raises `StoreError`, they all stay."""


class OutboxReader(Protocol):
    """What one relay reads an outbox by, on its event loop."""

    def turn(self, limit: int, without: Sequence[Full] = ()) -> AbstractAsyncContextManager[OutboxTurn | None]:
        """Begin a turn with the first `limit` rows, leaving out those of full queues and partitions. None: somebody
        else has his. Raises `StoreError`."""

    async def wait(self, seconds: float) -> None:
        """Wait until there may be new rows, at most so long."""

    async def aclose(self) -> None:
        """Let go of all connections."""


class OutboxTable(Protocol):
    """A database's table. Where it has no URL, it is wherever a connection leads."""

    url: str
    """Where it is, without any password; "": unsaid."""

    def is_beside(self, store: Store) -> bool:
        """Whether it is in the database that the store's jobs are in, as far as the URLs tell."""

    def lent(self, lent: Lent) -> Borrowed:
        """Inserts, and nothing else, on somebody's connection."""

    def async_lent(self, lent: Callable[[], Awaitable[Lent]]) -> AsyncBorrowed:
        """The same on an event loop."""

    def reader(self) -> OutboxReader:
        """A new reader for the running event loop."""

    def status(self) -> OutboxStatus:
        """What is in it. Blocking; changes nothing. Raises `StoreError`."""

    def migrate(self) -> bool:
        """Make the table; False: it is there already. Blocking. Raises `StoreError`."""

    def script(self, grant_to: str | None = None) -> str:
        """The SQL of `migrate`, and of what a role needs that only enqueues and relays. Raises `ConfigurationError`."""


def no_table(url: str, where: str = "") -> SchemaMismatch:
    """The error for a database without the table."""
    place = url or f"the database of {where}"
    return SchemaMismatch(f"{place} has no outbox yet; run `mainspring migrate --outbox {url or 'URL'}`")
