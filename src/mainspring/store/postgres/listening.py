"""Who listens: one connection for all blocking callers of a process, one for all that wait on an event loop.

A connection that only listens hears nothing from a server that is gone, nor from one that has forgotten it (a pooler in
between): so it asks now and then whether it is listening still. It connects anew by itself, and takes a hint for
granted after that.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Collection, Set
from contextlib import suppress

import psycopg

from mainspring.store.postgres.connections import AsyncConnection, Connection, aconnect, connect, hung_up
from mainspring.store.postgres.hints import ECHO_SECONDS, concerned, said_in
from mainspring.store.postgres.location import CONNECT_SECONDS, Location

__all__ = ["AsyncListener", "Listener", "PostgresAsyncWatch", "PostgresWatch"]

logger = logging.getLogger("mainspring.store")

POLL_SECONDS = 0.2
"""How long a wait for hints lasts at most, where there are none."""
CHECK_SECONDS = 4.0
"""How often it is made sure that somebody is there."""
ANSWER_SECONDS = 4.0
"""How long he has to answer; both together: how long a dead connection goes unnoticed."""

LISTENING = "SELECT 1 FROM pg_listening_channels() AS channel WHERE channel = %s"


class _Deaf(psycopg.OperationalError):
    """The server does not know that we listen."""

    def __init__(self) -> None:
        super().__init__("LISTEN was lost: is there a pooler in between? Then say listen=0 in the URL")


# --- for blocking callers --------------------------------------------------------------------------------------------


class Listener:
    """One listening connection for all blocking callers of a process that wait. One of them listens, for all: so no
    thread is needed that nobody asked for."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._changed = threading.Condition()
        self._watches: set[PostgresWatch] = set()
        self._taken = False
        """Whether somebody uses the connection now."""
        self._connection: Connection | None = None
        self._listens = False
        self._checked_at = 0.0

    def open(self, watch: PostgresWatch) -> None:
        """Hear for this one too, from here on."""
        with self._changed:
            self._watches.add(watch)
            self._changed.wait_for(lambda: self._listens or not self._taken, CONNECT_SECONDS)
            if self._listens or self._taken:
                return
            self._taken = True
        try:
            with suppress(psycopg.Error):
                self._listen()
        finally:
            self._let_go()

    def close(self, watch: PostgresWatch) -> None:
        """Hear for this one no more; and for nobody, if it was the last: what nobody fetches piles up in the server."""
        with self._changed:
            self._watches.discard(watch)
            if self._watches or self._taken or not self._listens:
                return
            self._taken, self._listens = True, False
        try:
            if self._connection is not None:
                self._connection.deadline = time.monotonic() + ANSWER_SECONDS
                self._connection.execute("UNLISTEN *")
        except psycopg.Error:
            self._disconnect()
        finally:
            self._let_go()

    def wait(self, watch: PostgresWatch, deadline: float) -> bool:
        """Until this one may have heard something, or the time is over; False: there is nothing to listen with."""
        with self._changed:
            while self._taken and not watch.due() and (left := watch.until(deadline) - time.monotonic()) > 0:
                self._changed.wait(left)
            if self._taken or watch.due():
                return True
            self._taken = True
        try:
            connection = self._connection if self._listens and self._connection else self._listen()
            self._check(connection)
            connection.deadline = math.inf
            left = max(0.0, watch.until(deadline) - time.monotonic())
            for notify in connection.notifies(timeout=left, stop_after=1):
                self._tell(notify.payload)
        except psycopg.Error:
            # Who waits for a hint asks the store next, and hears it then.
            self._disconnect()
            time.sleep(max(0.0, min(POLL_SECONDS, deadline - time.monotonic())))
            return False
        else:
            return True
        finally:
            self._let_go()

    def _listen(self) -> Connection:
        deadline = time.monotonic() + CONNECT_SECONDS
        if self._connection is not None and hung_up(self._connection):
            self._disconnect()
        connection = self._connection = self._connection or connect(self._location, deadline)
        connection.deadline = deadline
        try:
            connection.execute(f'LISTEN "{self._location.schema}"')
        except psycopg.Error:
            self._disconnect()
            raise
        self._checked_at = time.monotonic()
        self._listens = True
        self._tell(None)
        return connection

    def _check(self, connection: Connection) -> None:
        now = time.monotonic()
        if now - self._checked_at >= CHECK_SECONDS:
            connection.deadline = now + ANSWER_SECONDS
            if not connection.execute(LISTENING, [self._location.schema], prepare=False).fetchone():
                logger.warning("%s: %s", self._location.url, _Deaf())
                raise _Deaf
            self._checked_at = now

    def _tell(self, payload: str | None) -> None:
        said = None if payload is None else said_in(payload)
        with self._changed:
            for watch in self._watches:
                if concerned(said, watch.topics):
                    watch.hear()
            self._changed.notify_all()

    def _disconnect(self) -> None:
        self._listens = False
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _let_go(self) -> None:
        with self._changed:
            self._taken = False
            self._changed.notify_all()

    def disconnect(self) -> None:
        """Close the connection, unless somebody is listening."""
        with self._changed:
            if self._taken:
                return
            self._taken = True
        self._disconnect()
        self._let_go()


class PostgresWatch:
    """Hints for a blocking caller."""

    def __init__(self, listener: Listener | None, topics: tuple[str, ...]) -> None:
        self.topics = frozenset(topics)
        self._listener = listener
        # A hint that is held back because of one that went before we listened.
        self._due_at = time.monotonic() + ECHO_SECONDS
        if listener is not None:
            listener.open(self)

    def hear(self) -> None:
        """There is a hint."""
        self._due_at = 0.0

    def due(self) -> bool:
        """Whether there is something to tell."""
        return time.monotonic() >= self._due_at

    def until(self, deadline: float) -> float:
        """Until when to listen, as far as this one knows by now."""
        return min(deadline, self._due_at)

    def wait(self, seconds: float) -> bool:
        if self._listener is None:
            time.sleep(min(seconds, POLL_SECONDS))
            return False
        deadline = time.monotonic() + seconds
        while not self.due():
            if time.monotonic() >= deadline or not self._listener.wait(self, deadline):
                return False
        # Heard just now, there will be another one; was this that other one, there is nothing more to come.
        self._due_at = time.monotonic() + ECHO_SECONDS if self._due_at == 0.0 else math.inf
        return True

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close(self)


# --- for an event loop -----------------------------------------------------------------------------------------------


class AsyncListener:
    """One listening connection for all who wait on one loop."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._task: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        """Whether it listens, or has found that it cannot yet."""
        self.watches: set[PostgresAsyncWatch] = set()

    async def open(self) -> None:
        """Listen from here on; where that cannot be, from when it can."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="mainspring listen")
        await self._tried.wait()

    async def _connect(self) -> AsyncConnection:
        deadline = time.monotonic() + CONNECT_SECONDS
        connection = await aconnect(self._location, deadline)
        connection.deadline = deadline
        try:
            await connection.execute(f'LISTEN "{self._location.schema}"')
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _run(self) -> None:
        while True:
            connection = None
            try:
                connection = await self._connect()
                if self._tried.is_set():
                    self._tell(None)
                self._tried.set()
                while True:
                    connection.deadline = math.inf
                    async for notify in connection.notifies(timeout=CHECK_SECONDS):
                        self._tell(notify.payload)
                    await self._check(connection)
            except psycopg.Error as error:
                if isinstance(error, _Deaf):
                    logger.warning("%s: %s", self._location.url, error)
                self._tried.set()
                await asyncio.sleep(POLL_SECONDS)
            finally:
                if connection is not None:
                    await connection.close()

    async def _check(self, connection: AsyncConnection) -> None:
        connection.deadline = time.monotonic() + ANSWER_SECONDS
        if not await (await connection.execute(LISTENING, [self._location.schema], prepare=False)).fetchone():
            raise _Deaf

    def _tell(self, payload: str | None) -> None:
        said = None if payload is None else said_in(payload)
        for watch in self.watches:
            if named := concerned(said, watch.topics):
                watch.hear(named)

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task


class PostgresAsyncWatch:
    """Hints for an event loop."""

    def __init__(self, listener: AsyncListener | None, topics: tuple[str, ...]) -> None:
        self.topics = set(topics)
        self._listener = listener
        self._rung = asyncio.Event()
        self._heard: set[str] = set()
        self._awaited = set(topics)
        """What another hint is expected about."""
        self._echo: asyncio.TimerHandle | None = None
        if listener is not None:
            listener.watches.add(self)
            # A hint that is held back because of one that went before we listened.
            self._expect_another()

    def hear(self, topics: Set[str]) -> None:
        """There is a hint, and there will be another."""
        self._heard |= topics
        self._awaited |= topics
        self._rung.set()
        self._expect_another()

    def _expect_another(self) -> None:
        # After the last one that was heard: what is held back because of that one comes later than those before it.
        if self._echo is not None:
            self._echo.cancel()
        self._echo = asyncio.get_running_loop().call_later(ECHO_SECONDS, self._hear_again)

    def _hear_again(self) -> None:
        self._echo = None
        self._heard |= self._awaited
        self._awaited.clear()
        self._rung.set()

    async def wait(self, seconds: float) -> bool:
        if self._listener is None:
            await asyncio.sleep(min(seconds, POLL_SECONDS))
            return False
        try:
            # Not `wait_for`: until Python 3.12 it swallows a cancellation that comes together with the hint.
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True

    async def add(self, topics: Collection[str]) -> None:
        """All topics come by one channel, which is listened to."""
        self.topics.update(topics)
        if self._listener is not None:
            self._awaited.update(topics)
            self._expect_another()

    async def drop(self, topics: Collection[str]) -> None:
        self.topics.difference_update(topics)

    def heard(self) -> frozenset[str] | None:
        heard, self._heard = frozenset(self._heard & self.topics), set()
        return None if self._listener is None else heard

    async def aclose(self) -> None:
        if self._listener is not None:
            self._listener.watches.discard(self)
        if self._echo is not None:
            self._echo.cancel()
