"""Without any way to know who asks: whoever sits at this machine may do everything, and nobody else anything."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from mainspring.web.identity import Identity, Role
from mainspring.web.origin import host_of, is_loopback, is_loopback_name
from mainspring.web.problems import Forbidden, Problem

__all__ = ["Loopback"]

FORWARDED = frozenset(
    {
        "cdn-loop",
        "cf-connecting-ip",
        "fastly-client-ip",
        "forwarded",
        "true-client-ip",
        "via",
        "x-client-ip",
        "x-real-ip",
    }
)
LOCAL = Identity("local", Role.ADMIN)
WHAT_TO_DO = "Say who may: create_app(..., auth=...), or `mainspring web --user`."


class Loopback:
    """Requests from this machine, that name this machine, and have come without a proxy between."""

    async def identify(self, connection: HTTPConnection, client: str) -> Identity | None:
        return None if self._fault(connection, client) else LOCAL

    def missing(self, connection: HTTPConnection) -> Problem:
        peer = connection.client.host if connection.client else ""
        return Forbidden(f"{self._fault(connection, peer)} {WHAT_TO_DO}")

    def _fault(self, connection: HTTPConnection, client: str) -> str:
        named = host_of(connection.headers)
        if not is_loopback(client):
            return "Without authentication, only requests from this machine itself are answered."
        if named is None or not is_loopback_name(named[0]):
            return "Without authentication, only http://localhost and http://127.0.0.1 are answered."
        if _is_passed_on(connection):
            return "Without authentication, no request that a proxy passes on is answered."
        return ""


def _is_passed_on(connection: HTTPConnection) -> bool:
    """Whether a proxy says so, or it can be seen. One on this machine looks like this machine, and may give whatever
    name it likes."""
    if connection.scope.get("http_version") == "1.0":
        # No browser speaks that any more; nginx does, to what is behind it, unless it is told otherwise.
        return True
    headers = connection.headers
    if any(name in FORWARDED or name.startswith("x-forwarded-") for name in headers):
        return True
    # A page that the browser has under another name.
    pages = (headers.get("origin"), headers.get("referer"))
    return headers.get("sec-fetch-site") == "same-origin" and not all(map(_is_here, pages))


def _is_here(page: str | None) -> bool:
    try:
        return page is None or is_loopback_name(urlsplit(page).hostname or "")
    except ValueError:
        return False
