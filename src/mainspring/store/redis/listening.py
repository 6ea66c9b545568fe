"""Who listens: one connection for all blocking callers of a process, one for all that wait on an event loop.

A connection that only listens hears nothing from a server that is gone: so it asks now and then whether somebody is
there still. It connects anew by itself, and takes a hint for granted after that.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Collection
from contextlib import suppress

from redis import exceptions as theirs

from mainspring.errors import StoreError
from mainspring.store.redis.connections import AsyncConnection, Connection
from mainspring.store.redis.errors import Overdue
from mainspring.store.redis.hints import Subscriptions, channel
from mainspring.store.redis.location import CONNECT_SECONDS, Location
from mainspring.store.redis.opening import aopened, opened
from mainspring.store.redis.route import Route

__all__ = ["AsyncListener", "Listener", "RedisAsyncWatch", "RedisWatch"]

POLL_SECONDS = 0.2
"""How long a wait for hints lasts at most, where there are none."""
CHECK_SECONDS = 4.0
"""How often it is made sure that somebody is there."""
ANSWER_SECONDS = 4.0
"""How long he has to answer; both together: how long a dead connection goes unnoticed."""


# --- for blocking callers --------------------------------------------------------------------------------------------


class Listener:
    """One listening connection for all blocking callers of a process that wait. One of them listens, for all: so no
    thread is needed that nobody asked for."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._changed = threading.Condition()
        self._watches: set[RedisWatch] = set()
        self._subscriptions = Subscriptions()
        self._taken = False
        """Whether somebody uses the connection now."""
        self._wanted = 0
        """How many want it for a moment, before anybody goes on listening."""
        self._connection: Connection | None = None
        self._awaited_from = 0.0
        """Since when the server owes a sign of life; 0: it has given one."""
        self._checked_at = 0.0
        self._bell = _Bell()

    def open(self, watch: RedisWatch) -> None:
        """Hear for this one too, from here on."""
        with self._changed:
            self._watches.add(watch)
            self._subscriptions.add(watch.channels)
            if not self._take(time.monotonic() + CONNECT_SECONDS):
                return
        try:
            with suppress(theirs.RedisError, StoreError):
                self._listen(time.monotonic() + CONNECT_SECONDS)
        finally:
            self._let_go()

    def close(self, watch: RedisWatch) -> None:
        """Hear for this one no more: what nobody fetches piles up in the server."""
        with self._changed:
            if watch not in self._watches:
                return
            self._watches.discard(watch)
            self._subscriptions.drop(watch.channels)
            if not self._take(time.monotonic() + ANSWER_SECONDS):
                return
        try:
            if self._connection is not None:
                with suppress(theirs.RedisError, StoreError):
                    self._listen(time.monotonic() + ANSWER_SECONDS)
        finally:
            self._let_go()

    def wait(self, watch: RedisWatch, deadline: float) -> bool:
        """Until this one may have heard something, or the time is over; False: there is nothing to listen with."""
        with self._changed:
            while (self._taken or self._wanted) and not watch.heard and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            if self._taken or self._wanted or watch.heard:
                return True
            self._taken = True
            self._bell.hang()
            self._bell.hush()
        try:
            connection = self._listen(time.monotonic() + CONNECT_SECONDS)
            while not watch.heard and (left := deadline - time.monotonic()) > 0 and not self._bell.rung:
                self._check(connection)
                self._hear(connection, min(left, CHECK_SECONDS))
        except (theirs.RedisError, StoreError):
            # Who waits for a hint asks the store next, and hears it then.
            self._disconnect()
            time.sleep(max(0.0, min(POLL_SECONDS, deadline - time.monotonic())))
            return False
        else:
            return True
        finally:
            self._let_go()

    def _take(self, deadline: float) -> bool:
        """Be the one who uses the connection; who listens is asked to let go of it."""
        self._wanted += 1
        try:
            while self._taken and (left := deadline - time.monotonic()) > 0:
                self._bell.ring()
                self._changed.wait(left)
        finally:
            self._wanted -= 1
        if self._taken:
            return False
        self._taken = True
        self._bell.hang()
        self._bell.hush()
        return True

    def _listen(self, deadline: float) -> Connection:
        """A connection that listens to all that is wanted now, as the server has confirmed."""
        connection = self._connection
        if connection is None:
            self._subscriptions.forget()
            connection = self._connection = opened(self._route, deadline)
            self._checked_at, self._awaited_from = time.monotonic(), 0.0
            self._tell(None)
        try:
            with self._changed:
                changes = self._subscriptions.changes()
                wanted = {name for watch in self._watches for name in watch.channels}
            if changes:
                connection.send(changes, deadline)
            while not self._subscriptions.has(wanted):
                if time.monotonic() >= deadline:
                    raise Overdue("it did not answer in time")
                self._hear(connection, deadline - time.monotonic())
        except BaseException:
            self._disconnect()
            raise
        return connection

    def _hear(self, connection: Connection, seconds: float) -> None:
        for reply in connection.receive(seconds, self._bell):
            self._awaited_from = 0.0
            with self._changed:
                name = self._subscriptions.heard(reply)
            if name is not None:
                self._tell(name)

    def _check(self, connection: Connection) -> None:
        now = time.monotonic()
        if self._awaited_from and now - self._awaited_from >= ANSWER_SECONDS:
            raise Overdue("it did not answer in time")
        if now - self._checked_at >= CHECK_SECONDS:
            connection.send([("PING",)], now + ANSWER_SECONDS)
            self._checked_at = now
            self._awaited_from = self._awaited_from or now

    def _tell(self, name: str | None) -> None:
        with self._changed:
            for watch in self._watches:
                if name is None or name in watch.channels:
                    watch.heard = True
            self._changed.notify_all()

    def _disconnect(self) -> None:
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
        self._bell.close()
        self._let_go()


class _Bell:
    """Wakes who is waiting for a socket. Hung, rung and hushed under the listener's lock."""

    def __init__(self) -> None:
        self._ends: tuple[socket.socket, socket.socket] | None = None
        self.rung = False

    def hang(self) -> None:
        """Somebody is going to wait."""
        self._ends = self._ends or socket.socketpair()

    def fileno(self) -> int:
        """What to poll."""
        return self._ends[0].fileno() if self._ends else -1

    def ring(self) -> None:
        """Wake him, now or as soon as he waits."""
        if self._ends and not self.rung:
            self.rung = True
            self._ends[1].send(b"!")

    def hush(self) -> None:
        """He has come."""
        if self._ends and self.rung:
            self._ends[0].recv(1)
            self.rung = False

    def close(self) -> None:
        """Nobody waits."""
        ends, self._ends, self.rung = self._ends, None, False
        for end in ends or ():
            end.close()


class RedisWatch:
    """Hints for a blocking caller."""

    def __init__(self, listener: Listener, channels: frozenset[str]) -> None:
        self.channels = channels
        self.heard = False
        """Whether there is something to tell."""
        self._listener = listener
        listener.open(self)
        # Of what there was before it was opened its caller knows.
        self.heard = False

    def wait(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not self.heard:
            if time.monotonic() >= deadline or not self._listener.wait(self, deadline):
                return False
        self.heard = False
        return True

    def close(self) -> None:
        self._listener.close(self)


# --- for an event loop -----------------------------------------------------------------------------------------------


class AsyncListener:
    """One listening connection for all who wait on one loop."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._subscriptions = Subscriptions()
        self._watches: set[RedisAsyncWatch] = set()
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()
        """Said when the server has confirmed something, or it was found that nothing can be heard yet."""
        self._connection: AsyncConnection | None = None
        self._failures = 0

    async def open(self, watch: RedisAsyncWatch) -> None:
        """Listen for this one from here on; where that cannot be, from when it can."""
        self._watches.add(watch)
        await self.subscribe(watch.channels)
        watch.begin()

    async def subscribe(self, channels: Collection[str]) -> None:
        """Listen to these from here on; where that cannot be, from when it can."""
        self._subscriptions.add(channels)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="mainspring listen")
        failures = self._failures
        await self._send_changes()
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._subscriptions.has(channels) or self._failures > failures or self._task is None
            )

    async def unsubscribe(self, channels: Collection[str]) -> None:
        """Listen to these no more."""
        self._subscriptions.drop(channels)
        await self._send_changes()

    async def close(self, watch: RedisAsyncWatch) -> None:
        """Hear for this one no more."""
        if watch in self._watches:
            self._watches.discard(watch)
            await self.unsubscribe(watch.channels)

    async def _send_changes(self) -> None:
        if self._connection is not None and (changes := self._subscriptions.changes()):
            with suppress(theirs.RedisError):  # who reads will notice
                await self._connection.send(changes, time.monotonic() + ANSWER_SECONDS)

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except (theirs.RedisError, StoreError):
                await self._say_failed()
                await asyncio.sleep(POLL_SECONDS)
            finally:
                await self._disconnect()

    async def _listen(self) -> None:
        """Listen until the connection is lost."""
        connection = await aopened(self._route, time.monotonic() + CONNECT_SECONDS)
        self._subscriptions.forget()
        self._connection = connection
        self._tell(None)
        await self._send_changes()
        awaited_from = 0.0
        while True:
            reply = await connection.receive(CHECK_SECONDS)
            if reply is not None:
                awaited_from = 0.0
                await self._take(reply)
            elif awaited_from:
                raise Overdue("it did not answer in time")
            else:
                awaited_from = time.monotonic()
                await connection.send([("PING",)], awaited_from + ANSWER_SECONDS)

    async def _take(self, reply: object) -> None:
        name = self._subscriptions.heard(reply)
        if name is not None:
            self._tell(name)
            return
        async with self._changed:
            self._changed.notify_all()

    async def _say_failed(self) -> None:
        self._failures += 1
        async with self._changed:
            self._changed.notify_all()

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def _tell(self, name: str | None) -> None:
        for watch in self._watches:
            if name is None or name in watch.channels:
                watch.hear(name)

    async def aclose(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self._say_failed()


class RedisAsyncWatch:
    """Hints for an event loop. `topics` are those that it listens for, by their channels."""

    def __init__(self, listener: AsyncListener, location: Location, topics: Collection[str]) -> None:
        self._listener = listener
        self._location = location
        self._topics = self._by_channel(topics)
        self._rung = asyncio.Event()
        self._heard: set[str] = set()
        self._any = False
        """Whether nobody knows what all of the hints were about."""

    @property
    def channels(self) -> Collection[str]:
        """What it listens to."""
        return self._topics.keys()

    def begin(self) -> None:
        """Of what there was before, its caller knows."""
        self._rung.clear()
        self._any = False
        self._heard.clear()

    def hear(self, channel: str | None) -> None:
        """There is a hint. None: there may have been one about anything."""
        if channel is None:
            self._any = True
        else:
            self._heard.add(self._topics[channel])
        self._rung.set()

    async def wait(self, seconds: float) -> bool:
        try:
            # Not `wait_for`: until Python 3.12 it swallows a cancellation that comes together with the hint.
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True

    async def add(self, topics: Collection[str]) -> None:
        new = {name: topic for name, topic in self._by_channel(topics).items() if name not in self._topics}
        self._topics |= new
        await self._listener.subscribe(list(new))

    async def drop(self, topics: Collection[str]) -> None:
        known = [name for name in self._by_channel(topics) if self._topics.pop(name, None)]
        await self._listener.unsubscribe(known)

    def heard(self) -> frozenset[str] | None:
        heard = None if self._any else frozenset(self._heard)
        self._any, self._heard = False, set()
        return heard

    def _by_channel(self, topics: Collection[str]) -> dict[str, str]:
        return {channel(self._location.tag, topic): topic for topic in topics}

    async def aclose(self) -> None:
        await self._listener.close(self)
