"""What a proxy in front of this says of requests: heeded from the networks that are named, and from nowhere else.

Anybody can write such headers. So they count for nothing unless the connection itself comes from a proxy of ours.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from ipaddress import ip_network

from starlette.requests import HTTPConnection

from mainspring.errors import InvalidOption
from mainspring.model.text import quote
from mainspring.web.identity import MAX_NAME, Identity, Role
from mainspring.web.origin import address
from mainspring.web.problems import Forbidden, Problem

__all__ = ["Proxies", "ProxyUser"]

logger = logging.getLogger("mainspring.web")

MOST_STRANGERS = 20
"""Of so many it is said."""


class Proxies:
    """The networks that our proxies are in, such as `127.0.0.1` or `10.0.0.0/8`. Raises `InvalidOption`."""

    def __init__(self, networks: Iterable[str]) -> None:
        try:
            self._networks = tuple(ip_network(network) for network in networks)
        except ValueError as error:
            raise InvalidOption(f"proxies: {error}; write such as 127.0.0.1 or 10.0.0.0/8") from None
        self._strangers: set[str] = set()
        """Addresses inside that have passed something on, and are not among these."""

    def include(self, client: str) -> bool:
        found = address(client)
        return found is not None and any(found in network for network in self._networks)

    def client_of(self, connection: HTTPConnection) -> str:
        """The address that the request began at: the last in X-Forwarded-For that is no proxy of ours. What stands
        before that, its sender may have made up."""
        client = connection.client.host if connection.client else ""
        passed_on = ",".join(connection.headers.getlist("x-forwarded-for")).split(",")
        if passed_on != [""] and not self.include(client):
            self._wonder_about(client)
        while self.include(client) and passed_on:
            before = address(passed_on.pop().strip())
            if before is None:
                break
            client = str(before)
        return client

    def _wonder_about(self, client: str) -> None:
        """Say once that a proxy may have been forgotten: whoever comes by it is taken for it, also when he guesses."""
        found = address(client)
        if found is None or not found.is_private or client in self._strangers or len(self._strangers) >= MOST_STRANGERS:
            return
        self._strangers.add(client)
        logger.warning(
            "%s sends X-Forwarded-For, which is not heeded: if that is a proxy of yours, name it (--proxy, proxies=)",
            client,
        )

    def scheme_of(self, connection: HTTPConnection) -> str:
        """How the browser has asked, `http` or `https`, as far as a proxy of ours says so in X-Forwarded-Proto."""
        scheme: str = connection.scope["scheme"]
        told = connection.headers.getlist("x-forwarded-proto")
        if len(told) != 1 or told[0] not in ("http", "https") or not self.include(_peer(connection)):
            return scheme
        is_socket = connection.scope["type"] == "websocket"
        return told[0].replace("http", "ws") if is_socket else told[0]


class ProxyUser:
    """A proxy has found out who asks, and says so in headers.

        create_app(app, auth=ProxyUser(["127.0.0.1"], header="X-Forwarded-User", role_header="X-Forwarded-Groups",
                                       roles={"oncall": "operator", "platform": "admin"}))

    The names in `role_header`, separated by commas, are looked up in `roles` (those of the roles themselves, if none
    are given); the highest counts. Who has none of them has `role`, and is refused if that is None. The proxy must set
    these headers itself on every request, so that nobody can send them through it. Raises `InvalidOption`.
    """

    def __init__(
        self,
        networks: Iterable[str],
        *,
        header: str = "X-Forwarded-User",
        role: Role | str | None = None,
        role_header: str | None = None,
        roles: Mapping[str, Role | str] | None = None,
    ) -> None:
        self._proxies = Proxies(networks)
        self._header = header
        self._role = Role.named(role) if isinstance(role, str) else role
        self._role_header = role_header
        named = roles if roles is not None else {each.name.lower(): each for each in Role if each > Role.GUEST}
        self._roles = {name: Role.named(each) if isinstance(each, str) else each for name, each in named.items()}
        if self._role is None and role_header is None:
            raise InvalidOption("ProxyUser: say what users may, by role= for all or role_header= for each")

    async def identify(self, connection: HTTPConnection, client: str) -> Identity | None:
        if not self._proxies.include(_peer(connection)):
            return None
        names = connection.headers.getlist(self._header)
        role = self._role_of(connection)
        if len(names) != 1 or not names[0].strip() or len(names[0]) > MAX_NAME or role is None:
            return None
        return Identity(names[0], role)

    def _role_of(self, connection: HTTPConnection) -> Role | None:
        told = connection.headers.getlist(self._role_header) if self._role_header else []
        if len(told) > 1:
            # The proxy has added its own to one that it was sent.
            return None
        names = [name.strip() for name in told[0].split(",")] if told else []
        return max((self._roles[name] for name in names if name in self._roles), default=self._role)

    def missing(self, connection: HTTPConnection) -> Problem:
        if not self._proxies.include(_peer(connection)):
            peer = quote(_peer(connection))
            return Forbidden(f"Only requests by way of the proxy are answered; this one comes from {peer}.")
        return Forbidden(f"The proxy has not said who asks ({self._header}), or that he may look at this.")


def _peer(connection: HTTPConnection) -> str:
    """Who the connection itself is with."""
    return connection.client.host if connection.client else ""
