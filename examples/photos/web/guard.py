"""What the page asks of every request and tells every browser; the dashboard at /jobs has a guard of its own.

The page is for this machine: it answers to no other name, lets no page of another site send anything here, and lets
browsers load and run nothing but what is served here.
"""

from __future__ import annotations

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard"]

OURS = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?")
HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # an album's address is its key: it goes nowhere else
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, elsewhere: str) -> None:
        self._app = app
        self._elsewhere = f"{elsewhere}/"
        """What begins so is guarded elsewhere."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or f"{scope['path']}/".startswith(self._elsewhere):
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        complaint = _complaint(scope["method"], Headers(scope=scope))
        answer = PlainTextResponse(complaint, 403) if complaint else self._app
        await answer(scope, receive, guarded)


def _complaint(method: str, headers: Headers) -> str:
    host = headers.get("host", "")
    if not OURS.fullmatch(host):
        return f"This page does not answer to the name {host}."
    if method not in ("GET", "HEAD") and headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return "A page of another site has sent this."
    return ""
