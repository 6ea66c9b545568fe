"""Brings the jobs of an outbox to the store: every worker of an app that has one does, one of them at a time.

Rows are taken in order, their jobs inserted, then the rows deleted. Whatever dies in between, the next relay inserts
the same jobs again, and the store, which knows them by their ids, has each once.

What becomes of a row whose job the store does not take:

    its queue or partition is full          it waits, and those behind it in other queues and partitions go on
    another job has its key                 it is gone, with a line in the log: who would be told is gone as well
    it makes no job                         it is set aside, and reported
    the store fails with it, not with all   the same
    the store or the database is away       it waits, like all others
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mainspring.errors import StoreError
from mainspring.model.job import NewJob
from mainspring.model.text import cut
from mainspring.store.base import AsyncDriver, Full, Inserted, InsertRequest, in_portions, portions
from mainspring.store.outbox.documents import Malformed, job_in
from mainspring.store.outbox.table import OutboxReader, OutboxRow, OutboxTable
from mainspring.worker.outage import Outage

__all__ = ["LIMIT", "Relay"]

logger = logging.getLogger("mainspring.worker")

LIMIT = 200
"""How many rows a turn takes at most."""
LOOK_SECONDS = 1.0
"""How soon rows are found of which no hint came, and full queues are tried again."""
FAILED_SECONDS = 5.0
REASON_LIMIT = 2000


@dataclass(frozen=True, slots=True)
class _Sent:
    """A row and its job."""

    number: int
    job: NewJob


@dataclass(slots=True)
class _Verdicts:
    """What is to become of a turn's rows; those that are not named stay."""

    gone: list[int] = field(default_factory=list)
    aside: list[tuple[int, str]] = field(default_factory=list)
    failed: list[tuple[_Sent, Exception]] = field(default_factory=list)
    """With which the store failed, in a way that nobody had thought of."""
    taken: int = 0
    """With how many it did not."""


class Relay:
    """One worker's part in relaying an outbox."""

    def __init__(self, outbox: OutboxTable, driver: AsyncDriver, clock: Callable[[], float] = time.monotonic) -> None:
        self._outbox = outbox
        self._driver = driver
        self._clock = clock
        self._full: dict[Full, float] = {}
        """What had no room, and when to try again."""
        self._told: set[tuple[str, str | None]] = set()
        """Of which of these the log knows."""

    async def run(self) -> None:
        """Relay until cancelled, whatever is away meanwhile."""
        reader, outage = self._outbox.reader(), Outage("outbox")
        try:
            while True:
                try:
                    taken = await outage.outlast(lambda: self.relay(reader))
                    if taken is None:
                        # Whoever has the turn hears of new rows. Did all listen, each hint would make all ask.
                        await asyncio.sleep(LOOK_SECONDS)
                    elif taken < LIMIT:
                        await outage.outlast(lambda: reader.wait(LOOK_SECONDS))
                except Exception:
                    logger.exception("outbox %s: relaying failed; it is tried again", self._outbox.url)
                    await asyncio.sleep(FAILED_SECONDS)
        finally:
            await reader.aclose()

    async def relay(self, reader: OutboxReader) -> int | None:
        """One turn: how many rows it took, `LIMIT` at most. None: it is somebody else's. Raises `StoreError`."""
        now = self._clock()
        self._full = {full: until for full, until in self._full.items() if until > now}
        async with reader.turn(LIMIT, tuple(self._full)) as turn:
            if turn is None:
                return None
            if turn.rows:
                verdicts = await self._send(turn.rows)
                await turn.finish(verdicts.gone, verdicts.aside)
            return len(turn.rows)

    async def _send(self, rows: Iterable[OutboxRow]) -> _Verdicts:
        verdicts, readable = _Verdicts(), list[_Sent]()
        for row in rows:
            try:
                readable.append(_Sent(row.number, job_in(row)))
            except Malformed as error:
                self._set_aside(verdicts, row.number, row.id, str(error))
        for piece in in_portions(readable, LIMIT, lambda sent: portions(sent.job.args)):
            await self._insert(piece, verdicts)
        for sent, failure in verdicts.failed:
            if not verdicts.taken:
                # It need not be the job's fault.
                raise failure
            self._set_aside(verdicts, sent.number, sent.job.id, f"{type(failure).__name__}: {failure}")
        return verdicts

    async def _insert(self, piece: tuple[_Sent, ...], verdicts: _Verdicts) -> None:
        try:
            replies = await self._driver.run(InsertRequest(tuple(sent.job for sent in piece)))
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - a bug of ours, or a job that nobody had thought of
            if len(piece) == 1:
                verdicts.failed.append((piece[0], error))
            for sent in piece if len(piece) > 1 else ():
                await self._insert((sent,), verdicts)
            return
        verdicts.taken += len(piece)
        for sent, reply in zip(piece, replies, strict=True):
            if reply.full is not None:
                self._wait_for_room(reply.full)
                continue
            verdicts.gone.append(sent.number)
            self._told -= {(sent.job.queue, None), (sent.job.queue, sent.job.partition)}
            _tell(sent.job, reply)

    def _wait_for_room(self, full: Full) -> None:
        self._full[full] = self._clock() + LOOK_SECONDS
        lane = (full.queue, full.partition)
        if lane not in self._told:
            self._told.add(lane)
            what = f"queue {full.queue!r}" + ("" if full.partition is None else f", partition {full.partition!r},")
            logger.warning(
                "outbox %s: %s is full (%d wait there); jobs for it stay where they are",
                self._outbox.url,
                what,
                full.limit,
            )

    def _set_aside(self, verdicts: _Verdicts, number: int, id: str, why: str) -> None:
        why = cut(why, REASON_LIMIT)
        logger.error("outbox %s: row %d (job %s) is set aside: %s", self._outbox.url, number, id, why)
        verdicts.aside.append((number, why))


def _tell(job: NewJob, reply: Inserted) -> None:
    if reply.rejected is not None:
        logger.warning(
            "outbox: job %s (%s) is dropped: job %s has its key %r", job.id, job.task, reply.id, reply.rejected
        )
    elif reply.existed and reply.id != job.id:
        logger.info("outbox: job %s (%s) gives way to job %s, which has its key", job.id, job.task, reply.id)
