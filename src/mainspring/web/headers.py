"""What every answer tells the browser to beware of, and the nonce by which it knows our own scripts and styles."""

from __future__ import annotations

import secrets

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mainspring.web.where import inner_path

__all__ = ["SafeHeaders"]

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer": a form of ours would then be sent with `Origin: null`, as a stranger's is.
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
DATA = {"Cache-Control": "no-store"}


def content_security_policy(nonce: str) -> str:
    """Scripts and styles run by their nonce alone: no host is trusted with them, not even the one that serves this,
    which may serve other people's files too."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'nonce-{nonce}'",
            f"style-src 'nonce-{nonce}'",
            "img-src 'self' data:",
            "font-src 'self'",
            "connect-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )


class SafeHeaders:
    """Puts `mainspring.nonce` into the scope, and its headers on every answer that has not its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        nonce = scope["mainspring.nonce"] = secrets.token_urlsafe(18)
        is_static = inner_path(scope).startswith("/static/")

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", [])
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", content_security_policy(nonce))
                for name, value in (ALWAYS if is_static else ALWAYS | DATA).items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, guarded)
