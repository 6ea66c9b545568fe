"""A Redis store's place: its URL read, what is ours in it kept apart from what is redis-py's."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from mainspring.errors import InvalidURL
from mainspring.store.connect import without_password

__all__ = [
    "CONNECT_SECONDS",
    "GRACE_SECONDS",
    "OPERATION_SECONDS",
    "Address",
    "Durability",
    "Kind",
    "Location",
    "locate",
]

CONNECT_SECONDS = 5.0
OPERATION_SECONDS = 5.0
"""How long an operation may take, waiting for a connection included."""
GRACE_SECONDS = 1.0
"""How much longer a server that was asked has to say why not, before its silence is taken for an answer."""
CONNECTIONS = 10
"""How many connections a driver has at most, unless the URL says otherwise."""
KEPT = 1_000_000
"""How many final jobs of each state are kept at most, unless the URL says otherwise: half a gigabyte of small ones."""

Kind = Literal["server", "sentinel", "cluster"]
Durability = Literal["memory", "everysec", "always"]

_SCHEME = re.compile(r"(?P<name>redis|rediss|valkey|valkeys|unix)(?:\+(?P<kind>sentinel|cluster))?")
_NAMESPACE = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_DURABILITIES: dict[str, Durability] = {"memory": "memory", "everysec": "everysec", "always": "always"}
_KINDS: dict[str | None, Kind] = {None: "server", "sentinel": "sentinel", "cluster": "cluster"}
_PORTS = {"server": 6379, "sentinel": 26379, "cluster": 6379}

_TEXTS = (
    *("ssl_keyfile", "ssl_certfile", "ssl_ca_certs", "ssl_ca_path", "ssl_password", "ssl_ciphers"),
    *("username", "password", "client_name"),
)
_SENTINEL_TEXTS = ("sentinel_username", "sentinel_password")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens: at a port of a host, or at a socket in the file system."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.path or f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Location:
    """What to connect to. `url` is without any password."""

    url: str
    kind: Kind
    addresses: tuple[Address, ...]
    """The server; or the sentinels, or nodes of the cluster, that are asked where it is."""
    namespace: str
    durability: Durability | None
    """What is asked for; None: whatever the server does."""
    pool: int
    """How many connections a driver has at most."""
    keep: int
    """How many final jobs of each state are kept at most, whatever their age."""
    tls: bool
    service: str = ""
    """Under which name the sentinels know the server."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """redis-py's, for connections to the server."""
    sentinel_options: Mapping[str, Any] = field(default_factory=dict)
    """The same for connections to sentinels."""
    connect_seconds: float = CONNECT_SECONDS

    @property
    def tag(self) -> str:
        """What the names of all keys begin with: a cluster keeps in one slot what has the same text in braces."""
        return "{" + self.namespace + "}"

    @property
    def schema_key(self) -> str:
        """Where the version of the schema is written down."""
        return f"{self.tag}:schema"


def locate(url: str) -> Location:
    """Read `redis://user:password@host:6379/0?namespace=jobs&durability=always&pool=5`, or one of its relatives:
    `rediss://` (TLS), `unix:///run/redis.sock`, `redis+sentinel://host1,host2/service/0`, `redis+cluster://host1,host2`.
    Parameters are ours, or redis-py's (`ssl_ca_certs` and its like, `client_name`)."""
    return _Reading(url).location()


class _Reading:
    """A URL while it is read."""

    def __init__(self, url: str) -> None:
        self.shown = without_password(url)
        try:
            self.parts = urlsplit(url)
        except ValueError as error:
            raise self.wrong(f"cannot be read ({error})") from None
        scheme = _SCHEME.fullmatch(self.parts.scheme)
        if not scheme or (scheme["name"] == "unix" and scheme["kind"]):
            raise self.wrong(f"is of no known kind ({self.parts.scheme}://)")
        if "://" not in url:
            raise self.wrong(f"lacks the slashes: {self.parts.scheme}://host")
        if self.parts.fragment:
            raise self.wrong("has a part behind #; write # as %23")
        self.unix = scheme["name"] == "unix"
        self.tls = scheme["name"] in ("rediss", "valkeys")
        self.kind = _KINDS[scheme["kind"]]
        given = parse_qsl(self.parts.query, keep_blank_values=True)
        self.given = dict(given)
        if len(self.given) < len(given):
            raise self.wrong("says a parameter twice")

    def wrong(self, what: str) -> InvalidURL:
        return InvalidURL(f"store URL {self.shown!r} {what}; see docs/redis.md, or give redis://user@host:6379/0")

    def location(self) -> Location:
        namespace = self.given.pop("namespace", "mainspring")
        if not _NAMESPACE.fullmatch(namespace):
            raise self.wrong(f"has namespace={namespace!r}, which is not of letters, digits, _, - and . (at most 100)")
        asked = self.given.pop("durability", None)
        if asked is not None and asked not in _DURABILITIES:
            raise self.wrong(f"has durability={asked!r}, which is none of memory, everysec and always")
        pool = self.given.pop("pool", str(CONNECTIONS))
        if not (pool.isascii() and pool.isdigit() and len(pool) <= 5 and 1 <= int(pool) <= 10_000):
            raise self.wrong(f"has pool={pool!r}, which is not a number of connections, 1 to 10000")
        keep = self.given.pop("keep", str(KEPT))
        if not (keep.isascii() and keep.isdigit() and len(keep) <= 12):
            raise self.wrong(f"has keep={keep!r}, which is not a number of jobs, 0 or more")
        addresses, seconds = self.addresses(), self.seconds()
        service, database = self.path()
        options, sentinel_options = self.options(database)
        return Location(
            url=self.shown,
            kind=self.kind,
            addresses=addresses,
            namespace=namespace,
            durability=_DURABILITIES[asked] if asked else None,
            pool=int(pool),
            keep=int(keep),
            tls=self.tls,
            service=service,
            connect_seconds=seconds,
            options=options,
            sentinel_options=sentinel_options,
        )

    def addresses(self) -> tuple[Address, ...]:
        hosts = self.parts.netloc.rpartition("@")[2]
        if self.unix:
            path = unquote(self.parts.path)
            if hosts or not path.startswith("/") or path == "/" or "\0" in path:
                raise self.wrong("names no socket: write unix:///run/redis/redis.sock")
            return (Address(path=path),)
        return tuple(self.address(host) for host in hosts.split(","))

    def address(self, text: str) -> Address:
        try:
            parts = urlsplit(f"//{text}")
            host, port = unquote(parts.hostname or ""), parts.port
            host.encode("idna")
        except ValueError as error:
            raise self.wrong(f"names the host {text!r}, which cannot be ({error})") from None
        if not host or parts.username is not None or parts.path:
            raise self.wrong(f"names no host at {text!r}" if text else "names no host")
        if self.kind == "server" and "," in self.parts.netloc.rpartition("@")[2]:
            raise self.wrong("names several hosts, and is neither redis+sentinel:// nor redis+cluster://")
        return Address(host, port or _PORTS[self.kind])

    def path(self) -> tuple[str, str]:
        """The sentinels' name for the server, and the number of the database."""
        if self.unix:
            return "", self.given.pop("db", "0")
        pieces = unquote(self.parts.path).strip("/").split("/") if self.parts.path.strip("/") else []
        service = ""
        if self.kind == "sentinel":
            if not pieces:
                raise self.wrong(
                    "does not say which service the sentinels are asked for: redis+sentinel://host/service"
                )
            service = pieces.pop(0)
        if len(pieces) > 1 or (pieces and "db" in self.given):
            raise self.wrong("names more than one database")
        return service, pieces[0] if pieces else self.given.pop("db", "0")

    def options(self, database: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """What redis-py is given for the server, and for sentinels."""
        if not (database.isascii() and database.isdigit() and len(database) <= 5):
            raise self.wrong(f"names the database {database!r}, which is not a number; say ?namespace= for a name")
        if self.kind == "cluster" and int(database):
            raise self.wrong(f"names the database {database}, and a cluster has only 0; say ?namespace= instead")
        common = self.transport()
        user = self.parts.netloc.rpartition("@")[0] if "@" in self.parts.netloc else ""
        name, colon, password = user.partition(":")
        options: dict[str, Any] = {"db": int(database), "username": unquote(name) or None, **common}
        options["password"] = unquote(password) if colon else None
        sentinel: dict[str, Any] = {**common}
        for text in _TEXTS:
            if text in self.given:
                (common if text.startswith("ssl_") else options)[text] = self.given.pop(text)
        for text in _SENTINEL_TEXTS if self.kind == "sentinel" else ():
            if text in self.given:
                sentinel[text.removeprefix("sentinel_")] = self.given.pop(text)
        if options["username"] and options["password"] is None:
            raise self.wrong(f"names the user {options['username']!r} and no password (for none: user:@host)")
        if self.given:
            raise self.wrong(f"has a parameter that is not known: {', '.join(sorted(self.given))}")
        if not self.tls and any(text.startswith("ssl_") for text in common):
            raise self.wrong("has parameters for TLS (ssl_...), and is not rediss://")
        return {**options, **common}, {**sentinel, **common}

    def transport(self) -> dict[str, Any]:
        """How to connect, and what is spoken there."""
        common: dict[str, Any] = {"decode_responses": True, "encoding_errors": "replace", "protocol": 2}
        if not self.unix:
            common |= {"socket_keepalive": True, "socket_keepalive_options": _keepalive()}
        if "ssl_cert_reqs" in self.given:
            common["ssl_cert_reqs"] = self.given.pop("ssl_cert_reqs")
            if common["ssl_cert_reqs"] not in ("none", "optional", "required"):
                raise self.wrong(f"has ssl_cert_reqs={common['ssl_cert_reqs']!r}: none of none, optional, required")
        if "ssl_check_hostname" in self.given:
            word = self.given.pop("ssl_check_hostname").lower()
            if word not in ("0", "1", "no", "yes", "false", "true"):
                raise self.wrong(f"has ssl_check_hostname={word!r}, which is neither true nor false")
            common["ssl_check_hostname"] = word in ("1", "yes", "true")
        elif common.get("ssl_cert_reqs") == "none":
            common["ssl_check_hostname"] = False
        return common

    def seconds(self) -> float:
        """How long opening a connection may take."""
        text = self.given.pop("socket_connect_timeout", str(CONNECT_SECONDS))
        try:
            seconds = float(text)
        except ValueError:
            seconds = 0.0
        if not 0.0 < seconds <= 60.0:
            raise self.wrong(f"has socket_connect_timeout={text!r}, which is not 0 to 60 seconds")
        return seconds


def _keepalive() -> dict[int, int]:
    """A server that vanished without a word is noticed within ten seconds."""
    settings = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 2, "TCP_USER_TIMEOUT": 10_000}
    return {getattr(socket, name): value for name, value in settings.items() if hasattr(socket, name)}
