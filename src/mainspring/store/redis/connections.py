"""Connections that do not wait past a deadline (blocking ones: not for any piece of an answer), and that say whether
they can be used again.

They are redis-py's connections, each used by one caller at a time; redis-py's clients, pools and retries are not used.
A connection is clean when every command that was sent on it has been answered; one that is not is never used again,
since the next caller would be given the answer of the one before.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import redis
import redis.asyncio
from redis import exceptions as theirs

from mainspring.store.redis.errors import Overdue
from mainspring.store.redis.greeting import Command, Exchange, Greeting
from mainspring.store.redis.location import Address, Location

__all__ = ["AsyncConnection", "Connection"]

T = TypeVar("T")

WHOLE_SECONDS = 4.0
"""How long the rest of a message may take of which the beginning is there."""


class HasFileno(Protocol):
    """What can be polled."""

    def fileno(self) -> int: ...


class Connection:
    """A blocking connection."""

    greeting: Greeting
    """What the server has said of itself."""

    def __init__(self, location: Location, address: Address, options: Mapping[str, Any]) -> None:
        self.address = address
        kind: Any = redis.UnixDomainSocketConnection if address.path else redis.Connection
        self._wire: Any = (redis.SSLConnection if location.tls else kind)(**_place(address), **options)
        self._poll = select.poll()
        self._clean = False
        self.forsaken = False
        """Whether what has happened to it will most likely happen to others that lead to the same server."""

    def open(self, deadline: float) -> None:
        """Connect. Raises `redis.RedisError`."""
        wire = self._wire
        wire.socket_connect_timeout = wire.socket_timeout = max(0.001, deadline - time.monotonic())
        try:
            wire.connect()
        except theirs.TimeoutError as error:
            raise Overdue(str(error)) from error
        self._poll.register(wire._sock, select.POLLIN)
        self._clean = True

    def ask(self, commands: Sequence[Command], deadline: float) -> list[Any]:
        """Send these commands at once; their replies, errors as values. Raises `redis.RedisError`."""
        wire = self._wire
        self._clean = False
        packed = wire.pack_command(*commands[0]) if len(commands) == 1 else wire.pack_commands(commands)
        try:
            wire._sock.settimeout(max(0.001, deadline - time.monotonic()))
            wire.send_packed_command(packed, check_health=False)
            replies = [self._reply() for _ in commands]
        except theirs.TimeoutError as error:
            self.forsaken = True
            raise Overdue("it did not answer in time") from error
        except theirs.RedisError:
            self.forsaken = True
            raise
        self._clean = True
        return replies

    def _reply(self) -> Any:
        try:
            return self._wire.read_response()
        except theirs.ResponseError as error:
            return error

    def send(self, commands: Sequence[Command], deadline: float) -> None:
        """Send these, and let somebody `receive` what comes of them. Raises `redis.RedisError`."""
        wire = self._wire
        self._clean = False
        wire._sock.settimeout(max(0.001, deadline - time.monotonic()))
        wire.send_packed_command(wire.pack_commands(commands), check_health=False)

    def receive(self, seconds: float, bell: HasFileno) -> Iterator[Any]:
        """What the server says, if it says something within that time or before the bell rings. Raises
        `redis.RedisError`."""
        wire = self._wire
        if not wire.can_read(0):
            ready = select.poll()
            ready.register(wire._sock, select.POLLIN)
            ready.register(bell, select.POLLIN)
            ready.poll(max(0.0, seconds) * 1000)
        wire._sock.settimeout(WHOLE_SECONDS)
        while wire.can_read(0):
            yield self._reply()

    def perform(self, exchange: Exchange[T], deadline: float) -> T:
        """Carry out a whole exchange."""
        try:
            commands = next(exchange)
            while True:
                commands = exchange.send(self.ask(commands, deadline))
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            exchange.close()

    @property
    def usable(self) -> bool:
        """Whether the next caller may have it: everything is answered, and the server has not ended it. One that waits
        for the next command has nothing else to hear."""
        return self._clean and not self._poll.poll(0)

    @property
    def keeps(self) -> bool:
        """Whether it is worth keeping: everything is answered, by a server that is the right one."""
        return self._clean and not self.forsaken

    def close(self) -> None:
        """End it."""
        self._clean = False
        self._wire.disconnect()


class AsyncConnection:
    """The same for an event loop."""

    greeting: Greeting

    def __init__(self, location: Location, address: Address, options: Mapping[str, Any]) -> None:
        self.address = address
        kind: Any = redis.asyncio.UnixDomainSocketConnection if address.path else redis.asyncio.Connection
        self._wire: Any = (redis.asyncio.SSLConnection if location.tls else kind)(**_place(address), **options)
        self._poll = select.poll()
        self._clean = False
        self.forsaken = False
        """Whether what has happened to it will most likely happen to others that lead to the same server."""

    async def open(self, deadline: float) -> None:
        """Connect. Raises `redis.RedisError`."""
        wire = self._wire
        wire.socket_connect_timeout = wire.socket_timeout = None
        try:
            async with asyncio.timeout(max(0.001, deadline - time.monotonic())):
                await wire.connect()
        except TimeoutError as error:
            raise Overdue("Timeout connecting to server") from error
        self._poll.register(wire._writer.get_extra_info("socket"), select.POLLIN)
        self._clean = True

    async def ask(self, commands: Sequence[Command], deadline: float) -> list[Any]:
        """As `Connection.ask`."""
        wire = self._wire
        self._clean = False
        packed = wire.pack_command(*commands[0]) if len(commands) == 1 else wire.pack_commands(commands)
        try:
            async with asyncio.timeout(max(0.001, deadline - time.monotonic())):
                await wire.send_packed_command(packed, check_health=False)
                replies = [await self._reply() for _ in commands]
        except TimeoutError as error:
            self.forsaken = True
            raise Overdue("it did not answer in time") from error
        except theirs.RedisError:
            self.forsaken = True
            raise
        self._clean = True
        return replies

    async def _reply(self) -> Any:
        try:
            return await self._wire.read_response()
        except theirs.ResponseError as error:
            return error

    async def send(self, commands: Sequence[Command], deadline: float) -> None:
        """As `Connection.send`."""
        self._clean = False
        try:
            async with asyncio.timeout(max(0.001, deadline - time.monotonic())):
                await self._wire.send_packed_command(self._wire.pack_commands(commands), check_health=False)
        except TimeoutError as error:
            raise Overdue("it takes no more") from error

    async def receive(self, seconds: float) -> Any:
        """The next thing that the server says; None: nothing within that time. Raises `redis.RedisError`."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                return await self._wire.read_response(disconnect_on_error=False)
        except TimeoutError:
            return None
        except theirs.ResponseError as error:
            return error

    async def perform(self, exchange: Exchange[T], deadline: float) -> T:
        """Carry out a whole exchange."""
        try:
            commands = next(exchange)
            while True:
                commands = exchange.send(await self.ask(commands, deadline))
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            exchange.close()

    @property
    def usable(self) -> bool:
        """As `Connection.usable`."""
        return self._clean and not self._wire._writer.transport.is_closing() and not self._poll.poll(0)

    @property
    def keeps(self) -> bool:
        """Whether it is worth keeping: everything is answered, by a server that is the right one."""
        return self._clean and not self.forsaken

    async def close(self) -> None:
        """End it, without waiting for whoever is at the other end."""
        self._clean = False
        writer = self._wire._writer
        await self._wire.disconnect(nowait=True)
        if writer is not None:
            # TLS takes leave of the other end, and the loop may be closed before that one has answered.
            writer.transport.abort()


def _place(address: Address) -> dict[str, Any]:
    return {"path": address.path} if address.path else {"host": address.host, "port": address.port}
