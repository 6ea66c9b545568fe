"""What people are told about a server: what it is, how durable what it keeps, what is not as it should be."""

from __future__ import annotations

from collections.abc import Iterator

from mainspring.store.redis.greeting import Greeting
from mainspring.store.redis.location import Location

__all__ = ["described", "warnings"]

LITTLE_MEMORY = 0.9
"""How much of `maxmemory` may be used up before that is worth a word."""


def described(location: Location, server: Greeting, slot: int) -> str:
    """The server, the namespace in it and its durability."""
    place = f"slot {slot} of a cluster, " if server.cluster else ""
    return (
        f"{location.url} ({server.described}, namespace {location.namespace}, {place}"
        f"durability {durability(location, server)})"
    )


def durability(location: Location, server: Greeting) -> str:
    """What is in force: what is asked for is never less than that."""
    if not server.appendonly:
        return "memory"
    if location.durability == "always":
        return "always" if server.appendfsync == "always" else "always, by WAITAOF"
    return {"always": "always", "everysec": "everysec", "no": "memory", "": "everysec or always"}[server.appendfsync]


def warnings(location: Location, server: Greeting) -> tuple[str, ...]:
    """What to look at, and what to do about it."""
    return tuple(_warnings(location, server))


def _warnings(location: Location, server: Greeting) -> Iterator[str]:
    in_force = durability(location, server)
    if location.durability is None and in_force == "memory":
        yield (
            "it keeps jobs in memory: when it is killed, all since its last snapshot are lost. Set appendonly yes and "
            "say durability=everysec or always; if that is meant, say durability=memory"
        )
    if location.durability is None and in_force.startswith("everysec"):
        yield (
            "when it is killed, jobs of the last second are lost; say durability=everysec if that is meant, or "
            "durability=always"
        )
    for field, what in (("aof_last_write_status", "append-only file"), ("rdb_last_bgsave_status", "last snapshot")):
        if server.info.get(field, "ok") != "ok":
            yield f"it could not write its {what}, and may soon take nothing more; see its log and its disk"
    used, most = (int(server.info.get(field, "0")) for field in ("used_memory", "maxmemory"))
    if most and used > LITTLE_MEMORY * most:
        yield f"{used / most:.0%} of its maxmemory is used; a store without memory refuses new jobs"
