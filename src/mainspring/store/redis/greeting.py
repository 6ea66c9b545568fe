"""What a server says of itself when a connection is opened, and whether it will do.

Every connection asks, since the next one may lead to another server, or to the same one with other settings.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from redis import exceptions as theirs

from mainspring.errors import SchemaMismatch, UnsuitableStore
from mainspring.store.redis.errors import Moved, NotPrimary, code
from mainspring.store.redis.location import Address, Location

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
    run: str
    """By what this run of this server differs from all others."""
    schema: int
    """0: nobody has used the namespace yet."""
    nodes: tuple[Address, ...]
    """The nodes of the cluster that it belongs to."""
    info: Mapping[str, str]
    """All that it says of itself."""

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
    _check_schema(location, greeting.schema)
    if not greeting.schema:
        set_up, found = yield (
            ("SET", location.schema_key, SCHEMA_VERSION, "NX"),
            ("GET", location.schema_key),
        )
        for reply in (set_up, found):
            if isinstance(reply, Exception):
                raise reply
        _check_schema(location, int(found))
    return greeting


def looked(location: Location) -> Exchange[Greeting]:
    """The same, but it changes nothing, and takes any schema."""
    cluster: tuple[Command, ...] = (("CLUSTER", "SLOTS"),) if location.kind == "cluster" else ()
    info, setting, schema, *slots = yield (
        ("INFO",),
        ("CONFIG", "GET", "appendfsync"),
        ("GET", location.schema_key),
        *cluster,
    )
    if isinstance(info, Exception):
        if code(info) == "NOPERM":
            raise UnsuitableStore(
                f"{location.url}: this user may not say INFO, so that nobody knows what the server is; grant +info"
            )
        raise info
    if isinstance(schema, theirs.MovedError) and location.kind == "cluster":
        raise Moved(schema.host, schema.port)
    greeting = _greeting(dict(_FIELD.findall(info)), setting, schema, slots[0] if slots else None)
    check(location, greeting)
    if isinstance(schema, Exception):
        raise schema
    return greeting


def _greeting(info: dict[str, str], setting: Any, schema: Any, slots: Any) -> Greeting:
    valkey = info.get("valkey_version")
    return Greeting(
        name="Valkey" if valkey else "Redis",
        version=_version(valkey or info.get("redis_version", "0")),
        primary=info.get("role") == "master",
        cluster=info.get("cluster_enabled") == "1",
        evicts=info.get("maxmemory_policy", ""),
        appendonly=info.get("aof_enabled") == "1",
        # A user that may not ask gets an error, and a service that does not tell an empty list.
        appendfsync=str(setting[1]) if isinstance(setting, list) and len(setting) > 1 else "",
        run=info.get("run_id", ""),
        schema=int(schema) if isinstance(schema, str) and schema.isascii() and schema.isdigit() else 0,
        nodes=tuple(_nodes(slots)) if isinstance(slots, list) else (),
        info=info,
    )


def _nodes(slots: list[Any]) -> Iterator[Address]:
    for _, _, *nodes in slots:
        for host, port, *_ in nodes:
            if host:
                yield Address(host, int(port))


def check(location: Location, server: Greeting) -> None:
    """Raises `UnsuitableStore` where the server cannot keep Mainspring's promises."""
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
    _check_durability(location, server)


def _check_durability(location: Location, server: Greeting) -> None:
    url, asked = location.url, location.durability
    if asked in ("everysec", "always") and not server.appendonly:
        raise UnsuitableStore(
            f"{url} has appendonly no, so that it keeps nothing for sure when it is killed, and durability={asked} is "
            "asked for; set appendonly yes, or say durability=memory"
        )
    if asked == "everysec" and server.appendfsync == "no":
        raise UnsuitableStore(
            f"{url} has appendfsync no, so that more than the last second may be lost, and durability=everysec is "
            "asked for; set appendfsync everysec, or say durability=memory"
        )
    if asked == "always" and server.appendfsync != "always" and not server.confirms:
        raise UnsuitableStore(
            f"{url} is {server.described} with appendfsync {server.appendfsync or 'unknown'}, and durability=always is "
            "asked for; set appendfsync always, or use Redis 7.2 or Valkey, which can be asked what is on disk"
        )


def _check_schema(location: Location, found: int) -> None:
    if found > SCHEMA_VERSION:
        raise SchemaMismatch(
            f"{location.url} has schema version {found} in namespace {location.namespace}, but this program knows "
            f"versions up to {SCHEMA_VERSION}: a newer mainspring has used it. Upgrade this one (pip install -U "
            "mainspring), or name another namespace"
        )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])
