"""Where the right server is: at the address that was given, where sentinels say, or the node that has the slot.

A search yields attempts and is sent what came of each, so that one body serves blocking callers and event loops. The
attempt after which it ends is the one that led to the right server.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from redis import exceptions as theirs
from redis.crc import key_slot

from mainspring.errors import StoreUnavailable
from mainspring.store.redis.errors import Moved, NotPrimary, code
from mainspring.store.redis.greeting import Exchange, Greeting, greeted
from mainspring.store.redis.location import Address, Location

__all__ = ["Attempt", "Route", "Search"]

ASK_SECONDS = 2.0
"""How long one of several may take to answer, before the next one is asked."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Connect there, and say this."""

    address: Address
    options: Mapping[str, Any]
    exchange: Exchange[Any]
    seconds: float


Search = Generator[Attempt, Any, Greeting]
"""Sent what an exchange ended in, or thrown what an attempt failed with (`redis.RedisError`, `StoreError`)."""

Greet = Callable[[Location], Exchange[Greeting]]


class Route:
    """What is known of the way to one store's server. Shared by all its drivers: each attribute is replaced whole."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self._known: tuple[Address, ...] = location.addresses
        """Whom to ask, the likeliest first: sentinels, or nodes of the cluster."""
        self.reached = False
        """Whether the right server has ever answered."""

    @property
    def slot(self) -> int:
        """Where in a cluster the namespace is."""
        return int(key_slot(self.location.namespace.encode()))

    def search(self, greet: Greet = greeted) -> Search:
        """Find the server, by attempts at reaching it."""
        match self.location.kind:
            case "server":
                greeting: Greeting = yield self._server(self._known[0], greet, self.location.connect_seconds)
                return greeting
            case "sentinel":
                return (yield from self._by_sentinels(greet))
            case "cluster":
                return (yield from self._by_nodes(greet))

    def moved(self, address: Address) -> None:
        """A node has said that this one has the slot now."""
        self._prefer(address)

    def _server(self, address: Address, greet: Greet, seconds: float) -> Attempt:
        return Attempt(address, self.location.options, greet(self.location), seconds)

    def _by_sentinels(self, greet: Greet) -> Search:
        location = self.location
        problem: Exception | None = None
        for sentinel in self._known:
            try:
                exchange = _asked(location.service)
                found = yield Attempt(sentinel, location.sentinel_options, exchange, ASK_SECONDS)
                if found is not None:
                    greeting: Greeting = yield self._server(found, greet, ASK_SECONDS)
                    self._prefer(sentinel)
                    return greeting
            except (theirs.RedisError, NotPrimary) as error:
                # Another sentinel may know better, or be there.
                problem = error
        if problem is not None:
            raise problem
        raise StoreUnavailable(f"{location.url}: no sentinel knows of a service named {location.service!r}")

    def _by_nodes(self, greet: Greet) -> Search:
        waiting, tried = deque(self._known), set[Address]()
        problem: Exception | None = None
        while waiting:
            node = waiting.popleft()
            if node in tried:
                continue
            tried.add(node)
            try:
                greeting: Greeting = yield self._server(node, greet, ASK_SECONDS)
            except Moved as error:
                waiting.appendleft(Address(error.host or node.host, error.port))
                hearsay = error
            except (theirs.RedisError, NotPrimary) as error:
                if code(error) in ("ASK", "TRYAGAIN"):
                    raise  # it is the right one, and cannot serve now
                problem = error
            else:
                self._known = tuple(dict.fromkeys((node, *greeting.nodes, *self.location.addresses)))
                return greeting
        raise problem or hearsay

    def _prefer(self, address: Address) -> None:
        self._known = tuple(dict.fromkeys((address, *self._known)))


def _asked(service: str) -> Exchange[Address | None]:
    """Ask a sentinel where the primary of a service is; None: it knows of no such service."""
    (reply,) = yield (("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service),)
    if isinstance(reply, Exception):
        raise reply
    return Address(reply[0], int(reply[1])) if reply else None
