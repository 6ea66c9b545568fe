"""The web on a server of its own."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
from contextlib import suppress
from types import FrameType
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from mainspring.errors import ConfigurationError, MainspringError
from mainspring.model.text import quote
from mainspring.web.origin import is_loopback

__all__ = ["address_of", "listen", "serve"]

logger = logging.getLogger("mainspring.web")

GRACE_SECONDS = 2
"""How long what is open when the server is told to stop may go on: a stream has no end of its own."""
BACKLOG = 2048
MAX_HEAD_BYTES = 64 * 1024
MAX_MESSAGE_BYTES = 64 * 1024
REQUEST_SECONDS = 60.0
"""How long a request may take to come in, from the first to the last byte of it. Whoever sends nothing, or a byte now
and then, would hold a connection for ever."""
JUST_COME_SECONDS = 0.5
"""When the server stops: how long whoever has only just connected may take to ask. He has seen it there."""
MANY_FILES = 65_536
"""So many connections are enough. Most systems give a program 1,024 files until it asks for more."""


class AddressInUse(MainspringError):
    """Another program listens there."""


def listen(host: str, port: int, *, authenticated: bool) -> socket.socket:
    """A socket that listens there. Without authentication, only where no other machine can reach it.

    Raises `ConfigurationError` for an address that may not be or is none of this machine's, `AddressInUse`.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise ConfigurationError(f"--host {quote(host)}: there is no such address") from None
    # Of a name with both, the older kind of address, as most others take it.
    family, _, _, _, place = min(found, key=lambda each: each[0] != socket.AF_INET)
    if not authenticated:
        refuse_strangers(str(place[0]), host)
    try:
        return socket.create_server(place[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AddressInUse(f"port {port} of {host} is taken; name another one: --port {port + 1}") from None
        raise ConfigurationError(f"--host {quote(host)} --port {port}: {error.strerror}") from None


def refuse_strangers(bound: str, host: str) -> None:
    """Raises `ConfigurationError` for an address that other machines reach."""
    if not is_loopback(bound):
        raise ConfigurationError(
            f"--host {quote(host)} can be reached from other machines: say who may come in, by --users FILE, "
            "--token-file FILE or --proxy-user HEADER, or serve 127.0.0.1"
        )


def address_of(listening: socket.socket) -> str:
    """Where a browser on this machine finds it."""
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(web: ASGIApp, listening: socket.socket, *, root_path: str = "") -> None:
    """Serve it until SIGINT or SIGTERM; a second one ends it at once. To be called on the main thread.

    `root_path` is what a proxy has taken off the path of requests.
    """
    _allow_many_files()
    config = uvicorn.Config(
        web,
        http=_Connection,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        ws="websockets-sansio",
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        # Who a proxy speaks for, the guard finds out.
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        root_path=root_path.rstrip("/"),
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    _Server(config).run([listening])


class _Connection(H11Protocol):
    """The one of uvicorn's that bounds what it keeps of a head that never ends; and this one the time, too."""

    _slow: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._await_request()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._await_request()

    def shutdown(self) -> None:
        if self.cycle is None:
            self.loop.call_later(JUST_COME_SECONDS, self._shut_down)
        else:
            super().shutdown()

    def _shut_down(self) -> None:
        if self._is_ours():
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._slow is not None:
            self._slow.cancel()
        super().connection_lost(exc)

    def _await_request(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
        self._slow = self.loop.call_later(REQUEST_SECONDS, self._hang_up_on_the_slow)

    def _hang_up_on_the_slow(self) -> None:
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY) and self._is_ours():
            self.transport.abort()

    def _is_ours(self) -> bool:
        """Whether it is open, and no WebSocket by now."""
        return not self.transport.is_closing() and self.transport.get_protocol() is self


def _allow_many_files() -> None:
    """A connection is an open file."""
    try:
        import resource
    except ImportError:
        return  # no such limit there
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, MANY_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Server(uvicorn.Server):
    """Ends by a signal as by a wish: the program goes on to its own end."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        logger.info("%s: stopping", signal.Signals(sig).name)
        # What is cut off now is no error.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self.force_exit = self.should_exit
        self.should_exit = True
