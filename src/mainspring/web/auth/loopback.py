"""Without any way to know who asks: whoever sits at this machine may do everything, and nobody else anything."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from mainspring.web.identity import Identity, Role
from mainspring.web.origin import host_of, is_loopback, is_loopback_name
from mainspring.web.problems import Forbidden, Problem

__all__ = ["Loopback"]

FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
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
        if any(name in connection.headers for name in FORWARDED):
            return "Without authentication, no request that a proxy passes on is answered."
        return ""
