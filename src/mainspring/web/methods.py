"""What HTTP wants of methods everywhere: HEAD where there is GET, OPTIONS, and in `Allow` all that there are."""

from __future__ import annotations

import re

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mainspring.web.where import inner_path

__all__ = ["Methods"]

KNOWN = ("GET", "POST", "PUT", "PATCH", "DELETE")
ENDLESS = re.compile(r"/api/v1/jobs/.+/events")
"""An answer with no end, of which nobody wants only the beginning."""


class Methods:
    """ASGI middleware, right before the routes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "OPTIONS" and (allowed := _allowed(scope)):
            await Response(status_code=204, headers={"Allow": allowed})(scope, receive, send)
            return
        if scope["method"] == "HEAD" and not ENDLESS.fullmatch(inner_path(scope)):
            scope = {**scope, "method": "GET"}
            send = _without_body(send)

        async def allowing(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 405:
                MutableHeaders(scope=message)["Allow"] = _allowed(scope)
            await send(message)

        await self._app(scope, receive, allowing)


def _allowed(scope: Scope) -> str:
    """All that can be done at this address."""
    routes = scope["app"].routes

    def can(method: str) -> bool:
        return any(route.matches({**scope, "method": method})[0] is Match.FULL for route in routes)

    found = [method for method in KNOWN if can(method)]
    if "GET" in found and not ENDLESS.fullmatch(inner_path(scope)):
        found.insert(1, "HEAD")
    return ", ".join(found)


def _without_body(send: Send) -> Send:
    async def headers_only(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return headers_only
