"""The guard: every request passes it before anything else looks at it.

It refuses what is too large, what names a host that is not ours, and what a page of another site has a browser send;
it finds out who asks, and puts that into the scope (`mainspring.identity`, `mainspring.client`). What it does not know
to be open to all it lets nobody see who is not known, so that a route that forgets to ask about roles still shows
nothing to strangers, and lets nobody change anything who may only look.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mainspring.web.auth.check import Way
from mainspring.web.auth.proxies import Proxies
from mainspring.web.identity import GUEST, Identity, Role, log_refusal
from mainspring.web.origin import Hosts, Origins, comes_from_elsewhere, elsewhere, host_of
from mainspring.web.problems import Forbidden, Problem, of_http, of_problem, refuse
from mainspring.web.where import inner_path

__all__ = ["Guard", "Rules"]

MAX_HEADER_BYTES = 32 * 1024
MAX_HEADERS = 100
MAX_TARGET_BYTES = 16 * 1024
LONGEST_LENGTH = 15
"""Digits: no size that anybody has."""
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

PUBLIC = re.compile(r"/static/[^/]+")
"""What is the same for everybody, under any name."""
SIGN_IN = re.compile(r"/login")
TICKETED = re.compile(r"/api/v1/(jobs/.+/events|ws)")
"""What looks at tickets itself; it meets strangers as `GUEST`."""
ONES_OWN = re.compile(r"/(login|logout)")
"""What may be changed by somebody who may only look: whether he is known."""
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Content-Type, Last-Event-ID, Mainspring-Ticket",
    "Access-Control-Max-Age": "600",
}


@dataclass(frozen=True, slots=True)
class Rules:
    """What a guard goes by."""

    ways: tuple[Way, ...]
    hosts: Hosts
    origins: Origins
    proxies: Proxies
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
        origin = self._origin_with_ticket(connection)
        if origin is not None:
            send = _shown_to(send, origin)
            if scope.get("method") == "OPTIONS":
                await Response(status_code=204, headers=PREFLIGHT)(scope, receive, send)
                return
        try:
            self._check_size(scope)
            scope["mainspring.identity"] = await self._admitted(connection, is_open=origin is not None)
        except Problem as problem:
            await refuse(connection, of_problem(problem), receive, send)
            return
        except HTTPException as refusal:
            # The application that this is mounted in answers for itself, say by the way to its own page for signing in.
            await refuse(connection, of_http(refusal), receive, send)
            return
        await self._app(scope, self._bounded(receive), send)

    def _origin_with_ticket(self, connection: HTTPConnection) -> str | None:
        """The site whose page has sent this, if it is one of those that may follow jobs by ticket. No cookie of anybody
        counts for it: it is a guest, who has nothing but the ticket."""
        origin = connection.headers.get("origin")
        is_admitted = self._rules.origins.admit(origin) and TICKETED.fullmatch(inner_path(connection.scope))
        return origin if is_admitted else None

    def _check_size(self, scope: Scope) -> None:
        headers = scope["headers"]
        if len(headers) > MAX_HEADERS or sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
            raise TooManyHeaders(f"At most {MAX_HEADERS} headers of {MAX_HEADER_BYTES:,} bytes altogether are read.")
        if len(scope["path"]) + len(scope.get("query_string", b"")) > MAX_TARGET_BYTES:
            raise TooLong(f"An address has at most {MAX_TARGET_BYTES:,} bytes.")
        length = next((value for name, value in headers if name == b"content-length"), b"0")
        if not length.isdigit() or len(length) > LONGEST_LENGTH or int(length) > self._rules.max_body:
            raise self._too_large()

    def _too_large(self) -> TooLarge:
        return TooLarge(f"A request has at most {self._rules.max_body:,} bytes.")

    async def _admitted(self, connection: HTTPConnection, *, is_open: bool) -> Identity:
        """Who asks, if he may. Raises `Problem`."""
        scope, headers = connection.scope, connection.headers
        path = inner_path(scope)
        scope["mainspring.client"] = client = self._rules.proxies.client_of(connection)
        scope["scheme"] = self._rules.proxies.scheme_of(connection)
        named = host_of(headers)
        if named is None:
            raise Problem("The request names no host, or no valid one.")
        is_read = scope["type"] == "websocket" or scope["method"] in SAFE_METHODS
        if is_open or (is_read and PUBLIC.fullmatch(path)):
            return GUEST
        if not self._rules.hosts.admit(named[0]):
            raise Misdirected(f'This site does not answer to the name {named[0]}. Is it its own? hosts=["{named[0]}"]')
        if comes_from_elsewhere(headers) and not _is_followed_link(connection):
            raise Forbidden(elsewhere(headers))
        return await self._known(connection, client, path, is_read)

    async def _known(self, connection: HTTPConnection, client: str, path: str, is_read: bool) -> Identity:
        for way in self._rules.ways:
            identity = await way.identify(connection, client)
            if identity is not None and identity.role > Role.GUEST:
                break
        else:
            if SIGN_IN.fullmatch(path) or TICKETED.fullmatch(path):
                return GUEST
            raise self._rules.ways[-1].missing(connection)
        changes_ours = not (is_read or ONES_OWN.fullmatch(path) or TICKETED.fullmatch(path))
        if changes_ours and identity.role < Role.OPERATOR:
            log_refusal(identity, connection.scope)
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


def _shown_to(send: Send, origin: str) -> Send:
    """The same answers, which a page of that site may read."""

    async def shown(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Access-Control-Allow-Origin"] = origin
            headers.add_vary_header("Origin")
        await send(message)

    return shown


def _is_followed_link(connection: HTTPConnection) -> bool:
    """Whether somebody has followed a link from another site to a page here. Nothing else is shown to pages of other
    sites: no picture, frame or script, by which they could tell what is here."""
    headers, scope = connection.headers, connection.scope
    if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
        return False
    return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
