"""What a server says of itself when a connection is opened, and whether it will do.

Every connection asks, since the next one may lead to another server, or to the same one with other settings.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from redis import exceptions as theirs

from mainspring.errors import SchemaMismatch, UnsuitableStore
from mainspring.store.redis.errors import Moved, NotPrimary, code
from mainspring.store.redis.location import Location

__all__ = ["SCHEMA_VERSION", "Command", "Exchange", "Greeting", "greeted", "looked"]

SCHEMA_VERSION = 1
"""Which version of the keys this program writes and reads."""

T = TypeVar("T")

Command = tuple[str | int, ...]
Exchange = Generator[tuple[Command, ...], list[Any], T]
"""Commands that are sent at once; their replies are sent back, errors as values."""

_FIELD = re.compile(r"^([a-z_0-9]+):(.*?)\r?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Greeting:
    """What is known of a server."""

    name: str
    version: tuple[int, ...]
    primary: bool
    cluster: bool
    evicts: str
    """maxmemory-policy."""
    appendonly: bool
    appendfsync: str
    """"" where the user may not ask."""
    schema: int
    """0: nobody has used the namespace yet."""
    info: dict[str, str]

    @property
    def confirms(self) -> bool:
        """Whether it can be asked, after a script, when that is on disk."""
        return self.appendonly and self.version >= (7, 2)

    @property
    def described(self) -> str:
        """Name and version, for people."""
        return f"{self.name} {'.'.join(map(str, self.version))}"


def greeted(location: Location) -> Exchange[Greeting]:
    """The exchange that a connection begins with, in which a new namespace is set up. Raises `StoreError`, `Moved`,
    and what the server refuses."""
    greeting = yield from looked(location)
    check(location, greeting)
    if not greeting.schema:
        set_up = ("SET", location.schema_key, SCHEMA_VERSION, "NX"), ("GET", location.schema_key)
        replies = yield set_up
        _raise_first(replies)
        _check_schema(location, int(replies[1]))
    return greeting


def looked(location: Location) -> Exchange[Greeting]:
    """The same, but only looking."""
    info, setting, schema = yield (("INFO",), ("CONFIG", "GET", "appendfsync"), ("GET", location.schema_key))
    if isinstance(info, Exception):
        if code(info) == "NOPERM":
            raise UnsuitableStore(
                f"{location.url}: this user may not say INFO, so nobody knows what it is; grant +info"
            )
        raise info
    fields = dict(_FIELD.findall(info))
    if isinstance(schema, Exception) and fields.get("role") == "master":
        if isinstance(schema, theirs.MovedError):
            raise Moved(schema.host, schema.port)
        raise schema
    valkey = fields.get("valkey_version")
    return Greeting(
        name="Valkey" if valkey else "Redis",
        version=_version(valkey or fields.get("redis_version", "0")),
        primary=fields.get("role") == "master",
        cluster=fields.get("cluster_enabled") == "1",
        evicts=fields.get("maxmemory_policy", ""),
        appendonly=fields.get("aof_enabled") == "1",
        appendfsync="" if isinstance(setting, Exception) or not setting else str(setting[1]),
        schema=_number(schema),
        info=fields,
    )


def check(location: Location, server: Greeting) -> None:
    """Raises `UnsuitableStore` where the server cannot keep Mainspring's promises, `SchemaMismatch`."""
    url = location.url
    if server.version < (6, 2):
        raise UnsuitableStore(f"{url} is {server.described}; Mainspring needs Redis 6.2 or Valkey 7.2, or newer")
    if not server.primary:
        raise NotPrimary(f"{url} is a replica, which can only be read; give the address of the primary server")
    if server.cluster and location.kind != "cluster":
        raise UnsuitableStore(f"{url} is a node of a cluster; give redis+cluster://host1,host2, so that it is followed")
    if location.kind == "cluster" and not server.cluster:
        raise UnsuitableStore(f"{url} is no cluster; give redis://")
    if server.evicts != "noeviction":
        raise UnsuitableStore(
            f"{url} has maxmemory-policy {server.evicts}, by which it throws jobs away when memory runs out; set it to "
            "noeviction (CONFIG SET maxmemory-policy noeviction, and in its configuration file), or use another server"
        )
    if location.durability in ("everysec", "always") and not server.appendonly:
        raise UnsuitableStore(
            f"{url} has appendonly no, which keeps nothing by itself when the server is killed, and durability="
            f"{location.durability} is asked for; set appendonly yes, or say durability=memory"
        )
    if location.durability == "everysec" and server.appendfsync == "no":
        raise UnsuitableStore(
            f"{url} has appendfsync no, by which what is lost when the machine goes down may be more than the last "
            "second; set it to everysec, or say durability=memory"
        )
    if location.durability == "always" and server.appendfsync != "always" and not server.confirms:
        raise UnsuitableStore(
            f"{url} is {server.described} with appendfsync {server.appendfsync or 'unknown'}, and durability=always is "
            "asked for; set appendfsync always, or use Redis 7.2 or Valkey, which can be asked what is on disk"
        )
    _check_schema(location, server.schema)


def _check_schema(location: Location, found: int) -> None:
    if found > SCHEMA_VERSION:
        raise SchemaMismatch(
            f"{location.url} has schema version {found} in namespace {location.namespace}, but this program knows "
            f"versions up to {SCHEMA_VERSION}: a newer mainspring has used it. Upgrade this one (pip install -U "
            "mainspring), or name another namespace"
        )


def _raise_first(replies: list[Any]) -> None:
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _number(text: object) -> int:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() else 0
