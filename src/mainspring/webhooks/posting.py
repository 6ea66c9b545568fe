"""Sends one request to a receiver whom nobody trusts: to a checked address, in a bounded time, for a bounded answer.

The address is looked up, checked, and then connected to as it is, so that there is no second look-up that could lead
elsewhere; TLS still asks for the name. No redirect is followed, and no proxy of the environment is used: either would
connect to something that was not checked. It blocks, and runs on a thread.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from mainspring.errors import DeliveryFailed, MainspringError
from mainspring.model.text import cut
from mainspring.webhooks.addresses import why_refused
from mainspring.webhooks.target import Target

__all__ = ["Answer", "Forbidden", "post"]

EXCERPT_READ = 2048
"""Bytes of an answer's body that are read; the connection is closed after that."""
EXCERPT_SHOWN = 500
HEADERS_READ = 64 * 1024
"""Bytes until the body of an answer begins."""
ADDRESSES_TRIED = 4


class Forbidden(MainspringError):
    """The receiver's name leads to an address that no delivery goes to."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver has said."""

    status: int
    retry_after: str | None
    excerpt: str
    """The beginning of its body, as plain text."""
    address: str
    """Who said it."""
    seconds: float


def post(
    target: Target, body: bytes, headers: Mapping[str, str], *, timeout: float, allow_private: bool = False
) -> Answer:
    """POST `body`, once. `timeout` bounds all of it, in seconds; only the look-up of the name has a time of its own.

    Raises `Forbidden`, and `DeliveryFailed` where no answer came.
    """
    began = time.monotonic()
    addresses = _addresses(target, allow_private)
    left = _Clock(time.monotonic() + timeout)
    connection = _Connection(target, addresses, left, allow_private)
    response: http.client.HTTPResponse | None = None
    try:
        connection.request("POST", target.path, body, {"Host": target.authority, **headers, "Connection": "close"})
        response = connection.getresponse()
        excerpt = _excerpt(response)
        return Answer(
            response.status, response.getheader("Retry-After"), excerpt, connection.peer, time.monotonic() - began
        )
    except TimeoutError as error:
        raise DeliveryFailed(f"{target.authority} did not answer within {timeout:g} s") from error
    except ssl.SSLError as error:
        raise DeliveryFailed(f"{target.authority}: no TLS with it: {_brief(error)}") from None
    except OSError as error:
        raise DeliveryFailed(f"{target.authority} cannot be reached: {_brief(error)}") from None
    except http.client.HTTPException as error:
        raise DeliveryFailed(f"{target.authority} answered with something that is no HTTP: {_brief(error)}") from None
    finally:
        connection.close()
        if response is not None:
            response.close()


def _addresses(target: Target, allow_private: bool) -> list[tuple[Any, ...]]:
    """Where the name leads: what `socket.getaddrinfo` gives, all of it checked."""
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise DeliveryFailed(f"the address of {target.host} cannot be found: {_brief(error)}") from None
    for *_, address in found:
        # One that is refused condemns the others: a name that leads to both is not to be tried until it hits.
        if not allow_private and (why := why_refused(str(address[0]))):
            raise Forbidden(f"{target.host} leads to {address[0]}, which is {why}; no delivery goes there")
    return list(found[:ADDRESSES_TRIED])


def _excerpt(response: http.client.HTTPResponse) -> str:
    """The beginning of the body. What it has answered is known by now, whatever becomes of this."""
    try:
        read = response.read(EXCERPT_READ)
    except (OSError, http.client.HTTPException):
        return ""
    return cut(read.decode(errors="replace"), EXCERPT_SHOWN).strip()


@dataclass(frozen=True, slots=True)
class _Clock:
    deadline: float

    def __call__(self) -> float:
        """Seconds that are left. Raises `TimeoutError` if there are none."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _Connection(http.client.HTTPConnection):
    """Connects to addresses that were looked up before."""

    def __init__(self, target: Target, addresses: list[tuple[Any, ...]], left: _Clock, allow_private: bool) -> None:
        super().__init__(target.host, target.port)
        self._target = target
        self._addresses = addresses
        self._left = left
        self._allow_private = allow_private
        self.peer = ""

    def connect(self) -> None:
        sock = self._connected()
        try:
            # These times are each for the whole: a handshake, all that is sent.
            sock.settimeout(self._left())
            if self._target.secure:
                sock = _context().wrap_socket(sock, server_hostname=self._target.host)
            sock.settimeout(self._left())
        except BaseException:
            sock.close()
            raise
        self.sock = sock
        self.response_class = _response_class(self._left)

    def _connected(self) -> socket.socket:
        failure: OSError | None = None
        for tried, (family, kind, protocol, _, address) in enumerate(self._addresses):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(self._left() / (len(self._addresses) - tried))
                sock.connect(address)
                self._refuse_this_machine(sock)
            except OSError as error:
                sock.close()
                failure = error
            else:
                self.peer = str(address[0])
                return sock
        raise failure or OSError("it has no address")

    def _refuse_this_machine(self, sock: socket.socket) -> None:
        """Also under a public address: a firewall before it lets nobody in to what its own programs reach."""
        if not self._allow_private and sock.getsockname()[0] == sock.getpeername()[0]:
            sock.close()
            raise Forbidden(
                f"{self._target.host} leads to this very machine; no delivery goes there without allow_private"
            )


def _response_class(left: _Clock) -> type[http.client.HTTPResponse]:
    """`http.client` waits for each piece of an answer anew; this one has to come as a whole."""

    class Response(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
            super().__init__(sock, *args, **options)
            self.fp.close()
            self.fp = io.BufferedReader(_Bounded(sock, left, HEADERS_READ + EXCERPT_READ))

    return Response


class _Bounded(io.RawIOBase):
    """Reads from a socket until a time, and so many bytes."""

    def __init__(self, sock: socket.socket, left: _Clock, most: int) -> None:
        self._sock = sock
        # It keeps the socket open when the connection lets go of it, as it does when the answer begins.
        self._raw = sock.makefile("rb", buffering=0)
        self._left = left
        self._most = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._most <= 0:
            return 0
        self._sock.settimeout(self._left())
        count = self._raw.readinto(memoryview(buffer)[: self._most]) or 0
        self._most -= count
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


@cache
def _context() -> ssl.SSLContext:
    """The system's authorities (or those of $SSL_CERT_FILE); read once, since that takes 20 ms."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _brief(error: BaseException) -> str:
    return cut(str(error) or type(error).__name__, 300)
