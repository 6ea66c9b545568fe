"""A cluster of three primaries, each with a replica if wanted, put together by commands."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from redis import ResponseError

from .valkey import ValkeyServer, running_valkey

PATIENCE = 60.0
SLOTS = 16384
NODE_TIMEOUT_MS, SHORT_MS = 15_000, 1000
"""How long a node may be silent before the others hold it for dead: so long that no busy machine makes it so; and
while it is to be noticed that it is, or to be voted. Twice as long nobody votes again about the same primary."""


class Cluster:
    """Its nodes: the primaries first, then (with `replicas`) the replica of each, in the same order."""

    def __init__(self, nodes: list[ValkeyServer], primaries: int) -> None:
        self.nodes = nodes
        self.primaries = primaries
        self._voted_at: dict[int, float] = {}
        """When it was last voted about the primary at that port."""
        self._meet()

    @property
    def url(self) -> str:
        """The address of the store."""
        return f"redis+cluster://{','.join(node.address for node in self.nodes[: self.primaries])}"

    def id(self, node: ValkeyServer) -> str:
        return str(node.ask("CLUSTER", "MYID"))

    def holder(self, slot: int) -> ValkeyServer:
        """The node that has the slot now, as most nodes that answer see it."""
        for first, last, (_, port, *_), *_ in self._living().ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == port)
        raise AssertionError(f"nobody has slot {slot}")

    def other(self, than: ValkeyServer) -> ValkeyServer:
        """A primary that is not this one."""
        return next(node for node in self.nodes[: self.primaries] if node is not than)

    def begin_migration(self, slot: int, to: ValkeyServer) -> None:
        """From here on the slot is on its way to another node, key by key."""
        source = self.holder(slot)
        to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id(source))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id(to))

    def move_keys(self, slot: int, to: ValkeyServer, most: int = 10**9) -> int:
        """Move at most so many of its keys; how many were moved."""
        source, moved = self.holder(slot), 0
        while moved < most and (keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, min(100, most - moved))):
            source.ask("MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "KEYS", *keys)
            moved += len(keys)
        return moved

    def end_migration(self, slot: int, to: ValkeyServer) -> None:
        """The slot is the other node's now, and all know it."""
        id = self.id(to)
        for node in (to, *(node for node in self.nodes[: self.primaries] if node is not to)):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", id)
        self._until(lambda: self.holder(slot) is to)

    def migrate(self, slot: int, to: ValkeyServer) -> None:
        """Move a slot with all that is in it."""
        self.begin_migration(slot, to)
        self.move_keys(slot, to)
        self.end_migration(slot, to)

    def replica(self, of: ValkeyServer) -> ValkeyServer:
        return self.nodes[self.primaries + self.nodes.index(of)]

    def fail_over(self, slot: int) -> None:
        """The replica of the slot's primary takes over, as when an administrator says so."""
        replica = self.replica(self.holder(slot))
        self._take_over(slot, replica)

    def fail_back(self, slot: int, to: ValkeyServer) -> None:
        """The one that was the primary before, and is its replica now, takes over again."""
        self._until(lambda: to.ask("INFO", "replication").get("master_link_status") == "up")
        self._take_over(slot, to)

    def _take_over(self, slot: int, replica: ValkeyServer) -> None:
        """Not before the others vote about that primary again: it would serve nobody while they do not."""
        primary, asked_at = self.holder(slot), 0.0
        voted_at = self._voted_at.get(primary.port, float("-inf"))
        time.sleep(max(0.0, voted_at + 2.5 * SHORT_MS / 1000 - time.monotonic()))

        def holds() -> bool:
            nonlocal asked_at
            done = self.holder(slot) is replica and "cluster_state:ok" in _info(replica)
            if not done and time.monotonic() - asked_at > 5 * SHORT_MS / 1000:
                asked_at = time.monotonic()
                with suppress(ResponseError):  # it has taken over, and nobody knows yet
                    replica.ask("CLUSTER", "FAILOVER")
            return done

        with self._hasty():
            self._until(holds)
        self._voted_at[primary.port] = time.monotonic()

    def kill(self, slot: int) -> ValkeyServer:
        """kill -9 the primary of the slot, and its replica takes over; gives the one that is dead."""
        primary = self.holder(slot)
        replica = self.replica(primary)
        primary.kill()
        with self._hasty():
            self._until(lambda: self.holder(slot) is replica and "cluster_state:ok" in _info(replica))
        self._voted_at[primary.port] = time.monotonic()
        return primary

    @contextmanager
    def _hasty(self) -> Iterator[None]:
        """Meanwhile who is silent is soon held for dead, and who has voted soon votes again."""
        self._set_timeout(SHORT_MS)
        try:
            yield
        finally:
            self._set_timeout(NODE_TIMEOUT_MS)

    def _set_timeout(self, ms: int) -> None:
        for node in self.nodes:
            if node.runs:
                node.ask("CONFIG", "SET", "cluster-node-timeout", ms)

    def _living(self) -> ValkeyServer:
        return next(node for node in self.nodes if node.runs)

    def _meet(self) -> None:
        first = self.nodes[0]
        for number, node in enumerate(self.nodes[: self.primaries]):
            low, high = (SLOTS * part // self.primaries for part in (number, number + 1))
            node.ask("CLUSTER", "ADDSLOTSRANGE" if _has_ranges(node) else "ADDSLOTS", *_slots(node, low, high))
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            node.ask("CLUSTER", "MEET", "127.0.0.1", first.port)
        self._until(lambda: all(f"cluster_known_nodes:{len(self.nodes)}" in _info(node) for node in self.nodes))
        for number, node in enumerate(self.nodes[self.primaries :]):
            node.ask("CLUSTER", "REPLICATE", self.id(self.nodes[number]))
        self._until(lambda: all("cluster_state:ok" in _info(node) for node in self.nodes))
        for node in self.nodes[self.primaries :]:
            self._until(lambda node=node: node.ask("INFO", "replication").get("master_link_status") == "up")

    def _until(self, holds: Callable[[], Any]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, "the cluster does not come about"
            time.sleep(0.05)


def _has_ranges(node: ValkeyServer) -> bool:
    return node.version >= (7,)


def _slots(node: ValkeyServer, low: int, high: int) -> tuple[int, ...]:
    return (low, high - 1) if _has_ranges(node) else tuple(range(low, high))


def _info(node: ValkeyServer) -> str:
    return str(node.ask("CLUSTER", "INFO"))


@contextmanager
def running_cluster(*, replicas: bool = False) -> Iterator[Cluster]:
    """It runs meanwhile."""
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(
                running_valkey(
                    cluster_enabled="yes", cluster_config_file="nodes.conf", cluster_node_timeout=NODE_TIMEOUT_MS
                )
            )
            for _ in range(6 if replicas else 3)
        ]
        yield Cluster(nodes, 3)
