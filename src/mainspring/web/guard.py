"""The guard: every request passes it before anything else looks at it.

It refuses what is too large, what names a host that is not ours, and what a page of another site has a browser send;
it finds out who asks, and puts that into the scope (`mainspring.identity`, `mainspring.client`). What it does not know
to be open to all it lets nobody see who is not known, so that a route that forgets to ask about roles still shows
nothing to strangers, and lets nobody change anything who may only look.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mainspring.web.auth.check import Way
from mainspring.web.identity import GUEST, Identity, Role
from mainspring.web.origin import Hosts, Origins, comes_from_elsewhere, host_of
from mainspring.web.problems import Forbidden, Problem, of_problem, refuse
from mainspring.web.where import inner_path

__all__ = ["Guard", "Rules"]

MAX_HEADER_BYTES = 32 * 1024
MAX_HEADERS = 100
MAX_TARGET_BYTES = 16 * 1024
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

OPEN = re.compile(r"/static/[^/]+(/[^/]+)*|/login")
"""What is the same for everybody, and what one needs in order to become known."""
TICKETED = re.compile(r"/api/v1/(jobs/[^/]+/events|ws)")
"""What looks at tickets itself; it meets strangers as `GUEST`."""
FOR_ALL_WHO_ARE_KNOWN = re.compile(r"/logout")
"""What a viewer may do although it changes something."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a guard goes by."""

    ways: tuple[Way, ...]
    hosts: Hosts
    origins: Origins
    max_body: int


class TooLarge(Problem):
    status = 413
    title = "Too large"


class TooLong(Problem):
    status = 414
    title = "Too long"


class TooManyHeaders(Problem):
    status = 431
    title = "Headers too large"


class Misdirected(Problem):
    status = 421
    title = "Unknown host"


class Guard:
    """ASGI middleware that lets through what may pass."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        scope["mainspring.identity"] = GUEST
        try:
            self._check_size(scope)
            scope["mainspring.identity"] = await self._admitted(connection)
        except Problem as problem:
            await refuse(connection, of_problem(problem), receive, send)
            return
        await self._app(scope, self._bounded(receive), send)

    def _check_size(self, scope: Scope) -> None:
        headers = scope["headers"]
        if len(headers) > MAX_HEADERS or sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
            raise TooManyHeaders(f"At most {MAX_HEADERS} headers of {MAX_HEADER_BYTES:,} bytes altogether are read.")
        if len(scope["path"]) + len(scope.get("query_string", b"")) > MAX_TARGET_BYTES:
            raise TooLong(f"An address has at most {MAX_TARGET_BYTES:,} bytes.")
        length = next((value for name, value in headers if name == b"content-length"), b"0")
        if not length.isdigit() or int(length) > self._rules.max_body:
            raise self._too_large()

    def _too_large(self) -> TooLarge:
        return TooLarge(f"A request has at most {self._rules.max_body:,} bytes.")

    async def _admitted(self, connection: HTTPConnection) -> Identity:
        """Who asks, if he may. Raises `Problem`."""
        scope, headers = connection.scope, connection.headers
        path = inner_path(scope)
        peer = connection.client.host if connection.client else ""
        scope["mainspring.client"] = peer
        named = host_of(headers)
        if named is None:
            raise Problem("The request names no host, or no valid one.")
        is_read = scope["type"] == "http" and scope["method"] in SAFE_METHODS
        if is_read and OPEN.fullmatch(path):
            return GUEST
        if TICKETED.fullmatch(path) and self._rules.origins.admit(headers.get("origin")):
            return GUEST
        if not self._rules.hosts.admit(named[0]):
            raise Misdirected(f'This site does not answer to the name {named[0]}. Is it its own? hosts=["{named[0]}"]')
        if comes_from_elsewhere(headers) and not (is_read and _is_followed_link(connection)):
            raise Forbidden("A page of another site has sent this; only pages of this one may.")
        return await self._known(connection, peer, path, is_read)

    async def _known(self, connection: HTTPConnection, client: str, path: str, is_read: bool) -> Identity:
        for way in self._rules.ways:
            identity = await way.identify(connection, client)
            if identity is not None:
                break
        else:
            if OPEN.fullmatch(path) or TICKETED.fullmatch(path):
                return GUEST
            raise self._rules.ways[-1].missing(connection)
        if not is_read and identity.role < Role.OPERATOR and not _is_for_viewers(connection, path):
            raise Forbidden(f"{identity.name} may look, and change nothing.")
        return identity

    def _bounded(self, receive: Receive) -> Receive:
        """The same body, until it is too large: it need not say beforehand how long it is."""
        left = self._rules.max_body

        async def bounded() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                # As the framework's own, which passes it on from wherever it reads the body.
                raise HTTPException(413, self._too_large().detail)
            return message

        return bounded


def _is_followed_link(connection: HTTPConnection) -> bool:
    """Whether somebody has followed a link from another site to a page here. Nothing else is shown to pages of other
    sites: no picture, frame or script, by which they could tell what is here."""
    headers = connection.headers
    return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"


def _is_for_viewers(connection: HTTPConnection, path: str) -> bool:
    """A WebSocket tells, and changes nothing."""
    return connection.scope["type"] == "websocket" or FOR_ALL_WHO_ARE_KNOWN.fullmatch(path) is not None
