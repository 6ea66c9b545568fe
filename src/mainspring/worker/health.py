"""`/healthz` and `/readyz`: served from a thread of their own, so that no job can make them hang or lie.

A client is given two seconds for everything, and where too many hang on, the oldest has to go: whoever asks slowly, or
not at all, keeps nobody else from asking.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import stat
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from mainspring.errors import ConfigurationError
from mainspring.model.text import quote
from mainspring.worker.vitals import Signs

__all__ = ["Health", "HealthServer", "WorkerHealth"]

logger = logging.getLogger("mainspring.worker")

CLIENT_SECONDS = 2.0
MOST_CLIENTS = 64
MOST_BYTES = 8192
"""Of what a client asks."""


@dataclass(frozen=True, slots=True)
class WorkerHealth:
    """One worker: its signs, if it has shown any, and what is wrong with it."""

    state: str
    pid: int | None
    signs: Signs | None
    ailment: str | None
    hindrance: str | None

    @classmethod
    def of(cls, signs: Signs, state: str = "working") -> WorkerHealth:
        """What the signs say."""
        return cls(state, signs.pid, signs, signs.ailment(), signs.hindrance())

    def document(self) -> dict[str, Any]:
        """For JSON."""
        signs = self.signs
        return {
            "name": signs.name if signs else None,
            "pid": self.pid,
            "state": self.state,
            "healthy": self.ailment is None,
            "ready": self.hindrance is None,
            "reason": self.ailment or self.hindrance,
            "last_claim_age": _rounded(signs.claim_age if signs else None),
            "last_beat_age": _rounded(signs.beat_age if signs else None),
            "running": signs.running if signs else None,
            "begun": signs.begun if signs else None,
            "memory": signs.memory if signs else None,
        }


@dataclass(frozen=True, slots=True)
class Health:
    """All that a look at the health gives. Those that leave or have not arrived are listed, and count for nothing."""

    ailment: str | None
    hindrance: str | None
    workers: Sequence[WorkerHealth]

    @classmethod
    def of(cls, signs: Signs) -> Health:
        """Of one worker, by itself."""
        one = WorkerHealth.of(signs)
        return cls(one.ailment, one.hindrance, [one])

    def answer(self, path: str) -> tuple[HTTPStatus, dict[str, Any]] | None:
        """Status and document for a path; None: it is not ours."""
        if path not in ("/healthz", "/readyz"):
            return None
        reason = self.ailment if path == "/healthz" else self.hindrance
        status = HTTPStatus.OK if reason is None else HTTPStatus.SERVICE_UNAVAILABLE
        workers = [worker.document() for worker in self.workers]
        return status, {"ok": reason is None, "reason": reason, "workers": workers}


class HealthServer:
    """Answers at `place`: "127.0.0.1:8081", "8081" (on loopback), "[::1]:8081", or the path of a Unix socket.

    It listens from here on, and answers between `start` and `stop`. Raises `ConfigurationError` where it cannot.
    """

    def __init__(self, place: str, look: Callable[[], Health]) -> None:
        self._look = look
        self._path = place.removeprefix("unix:") if "/" in place else None
        self._socket = _listening(place, self._path)
        self._clients: dict[asyncio.StreamWriter, None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="mainspring-health", daemon=True)
        self._ready = threading.Event()

    @property
    def address(self) -> str:
        """Where it listens, for people."""
        if self._path:
            return self._path
        host, port = self._socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def start(self) -> None:
        """Answer from now on."""
        logger.info("health at %s", self.address)
        self._thread.start()
        self._ready.wait(10)

    def stop(self) -> None:
        """Answer no more."""
        if self._loop is not None and self._ended is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._ended.set)
            self._thread.join(timeout=5)
        self._socket.close()
        if self._path:
            with suppress(OSError):
                os.unlink(self._path)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception:
            logger.exception("health is not served any more")
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        begin = asyncio.start_unix_server if self._path else asyncio.start_server
        server = await begin(self._converse, sock=self._socket, limit=MOST_BYTES)
        self._ready.set()
        await self._ended.wait()
        server.close()
        for client in list(self._clients):
            client.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients[writer] = None
        if len(self._clients) > MOST_CLIENTS:
            next(iter(self._clients)).transport.abort()
        try:
            async with asyncio.timeout(CLIENT_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head))
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # it is the client's loss
        finally:
            del self._clients[writer]
            writer.transport.abort()

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        try:
            answer = self._look().answer(path)
        except Exception:
            logger.exception("a look at the health failed")
            answer = HTTPStatus.INTERNAL_SERVER_ERROR, {"ok": False, "reason": "the look failed; see the log"}
        if answer is None:
            answer = HTTPStatus.NOT_FOUND, {"ok": False, "reason": "there are /healthz and /readyz"}
        if method not in ("GET", "HEAD"):
            answer = HTTPStatus.METHOD_NOT_ALLOWED, {"ok": False, "reason": "only GET and HEAD are answered"}
        status, document = answer
        body = json.dumps(document, indent=2).encode() + b"\n"
        lines = [
            f"HTTP/1.1 {status.value} {status.phrase}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "Connection: close",
            *(["Allow: GET, HEAD"] if status is HTTPStatus.METHOD_NOT_ALLOWED else []),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + (b"" if method == "HEAD" else body)


def _listening(place: str, path: str | None) -> socket.socket:
    try:
        return _on_path(path) if path else _on_port(place)
    except (OSError, ValueError, OverflowError) as error:
        raise ConfigurationError(
            f"health cannot be served at {quote(place)}: {error}; give host:port, such as 127.0.0.1:8081, or the path "
            "of a Unix socket"
        ) from None


def _on_port(place: str) -> socket.socket:
    host, _, port = place.rpartition(":")
    if not (port.isdecimal() and int(port) < 1 << 16):
        raise ValueError(f"{quote(port)} is not a port")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    family, _, _, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
    return socket.create_server(address[:2], family=family, backlog=128)


def _on_path(path: str) -> socket.socket:
    # What a process that was killed has left behind would be in the way.
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            os.unlink(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(path)
        listening.listen(128)
    except OSError:
        listening.close()
        raise
    return listening


def _rounded(age: float | None) -> float | None:
    return None if age is None else round(age, 3)
