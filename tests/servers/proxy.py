"""A TCP proxy that does to a connection what networks do: holds it up, cuts it, goes silent, loses an answer."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

T = TypeVar("T")

PIECE = 64 * 1024


class Proxy:
    """Stands before one server, at `port` on loopback. All its switches may be thrown from any thread. With `tls` its
    clients speak that, and the server hears plain text."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._to = (host, port)
        self._loop = asyncio.new_event_loop()
        self._flows = asyncio.Event()
        self._flows.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._ask(asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.delay = 0.0
        """Seconds by which each piece is held up, on its way there as on its way back."""
        self.refuses = False
        """Whether whoever connects is hung up on at once."""
        self.loses: Callable[[bytes], bool] = lambda answer: False
        """Asked about each piece of an answer: True means that it is lost, and the connection with it, when the server
        has done its part already."""
        self.lost = 0
        """How many answers were lost so far."""

    def url(self, server: str) -> str:
        """The server's address by way of here."""
        parts = urlsplit(server)
        user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
        return urlunsplit(parts._replace(netloc=f"{user}127.0.0.1:{self.port}"))

    def lead_to(self, server: str) -> None:
        """Whoever connects from now on comes to the server at that URL."""
        parts = urlsplit(server)
        assert parts.hostname is not None
        assert parts.port is not None
        self._to = (parts.hostname, parts.port)

    def freeze(self) -> None:
        """From now on nothing goes through, and nobody is told: as behind a router that has died."""
        self._loop.call_soon_threadsafe(self._flows.clear)

    def forget(self) -> None:
        """Nothing goes through the connections that there are any more; new ones work: as behind a router that has been
        replaced."""
        self.freeze()
        self._ask(self._begin_anew())

    def thaw(self) -> None:
        """What was held back goes through, and all that follows; but for what was forgotten."""
        self._loop.call_soon_threadsafe(self._flows.set)

    def cut(self) -> None:
        """End all connections that there are."""
        self._ask(self._cut())

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._writers) // 2

    def close(self) -> None:
        """Stop it."""
        self._ask(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _ask(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _begin_anew(self) -> None:
        self._flows = asyncio.Event()
        self._flows.set()

    async def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        # Until those who served them have noticed.
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=0.5)

    async def _end(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends, flows = [writer], self._flows
        self._writers.add(writer)
        try:
            if self.refuses:
                return
            await flows.wait()
            with suppress(OSError):
                server_reader, server_writer = await asyncio.open_connection(*self._to)
                ends.append(server_writer)
                self._writers.add(server_writer)
                ways = [
                    asyncio.create_task(self._carry(reader, server_writer, flows, lambda piece: False)),
                    asyncio.create_task(self._carry(server_reader, writer, flows, lambda piece: self.loses(piece))),
                ]
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except asyncio.CancelledError:
            pass  # the proxy is closed
        finally:
            for end in ends:
                end.transport.abort()
            self._writers.difference_update(ends)

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        flows: asyncio.Event,
        loses: Callable[[bytes], bool],
    ) -> None:
        with suppress(OSError):
            while piece := await reader.read(PIECE):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await flows.wait()
                if loses(piece):
                    self.lost += 1
                    return
                writer.write(piece)
                await writer.drain()


@contextmanager
def proxy_to(server: str, tls: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    """A proxy that stands meanwhile before the server at that URL."""
    parts = urlsplit(server)
    assert parts.hostname is not None
    assert parts.port is not None
    proxy = Proxy(parts.hostname, parts.port, tls)
    try:
        yield proxy
    finally:
        proxy.close()
