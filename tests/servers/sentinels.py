"""A primary, a replica, and sentinels that watch over both."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from redis import ResponseError

from .valkey import ValkeyServer, running_valkey, temporary_folder

PATIENCE = 60.0
DOWN_AFTER_MS, DEAD_AFTER_MS = 60_000, 500
"""How long a server may be silent before a sentinel holds it for dead: so long that no busy machine makes it so; and
once it is to be noticed that it is."""


@dataclass
class Sentinels:
    """Three of them, and the two servers of the service "shop"."""

    servers: list[ValkeyServer]
    sentinels: list[ValkeyServer]

    @property
    def url(self) -> str:
        """The address of the store."""
        return f"redis+sentinel://{','.join(sentinel.address for sentinel in self.sentinels)}/shop"

    @property
    def primary(self) -> ValkeyServer:
        """The server that the sentinels name now."""
        _, port = self.sentinels[-1].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "shop")
        return next(server for server in self.servers if server.port == int(port))

    def fail_over(self) -> None:
        """The replica becomes the primary, as when an administrator says so."""
        was, deadline, began = self.primary, time.monotonic() + PATIENCE, False
        while self.primary is was:
            assert time.monotonic() < deadline, "no fail-over"
            with suppress(ResponseError):  # they do not know enough of the replica yet
                began = began or self.sentinels[-1].ask("SENTINEL", "FAILOVER", "shop")
            time.sleep(0.05)

    def kill_primary(self) -> None:
        """kill -9, and the replica takes over."""
        was, deadline = self.primary, time.monotonic() + PATIENCE
        was.kill()
        for sentinel in self.sentinels:
            sentinel.ask("SENTINEL", "SET", "shop", "down-after-milliseconds", DEAD_AFTER_MS)
        while self.primary is was:
            assert time.monotonic() < deadline, "no fail-over"
            time.sleep(0.05)


@contextmanager
def running_sentinels() -> Iterator[Sentinels]:
    """They run meanwhile."""
    with ExitStack() as stack:
        primary = stack.enter_context(running_valkey())
        replica = stack.enter_context(running_valkey(replicaof=f"127.0.0.1 {primary.port}"))
        sentinels = []
        for _ in range(3):
            sentinel = ValkeyServer(
                stack.enter_context(temporary_folder()),
                "--sentinel",
                sentinel=[
                    f"monitor shop 127.0.0.1 {primary.port} 2",
                    f"down-after-milliseconds shop {DOWN_AFTER_MS}",
                    "failover-timeout shop 3000",
                ],
            )
            stack.callback(sentinel.kill)
            sentinel.start()
            # One that has stood still for two seconds does nothing for thirty, usually.
            sentinel.ask("SENTINEL", "DEBUG", "TILT-TRIGGER", 60_000, "TILT-PERIOD", 1000)
            sentinels.append(sentinel)
        _await_acquaintance(sentinels)
        yield Sentinels([primary, replica], sentinels)


def _await_acquaintance(sentinels: list[ValkeyServer]) -> None:
    """Until all know the replica and each other: before that there is no fail-over."""
    deadline = time.monotonic() + PATIENCE
    for sentinel in sentinels:
        while not (
            len(sentinel.ask("SENTINEL", "SENTINELS", "shop")) == len(sentinels) - 1
            and sentinel.ask("SENTINEL", "REPLICAS", "shop")
        ):
            assert time.monotonic() < deadline, "sentinels that do not find each other"
            time.sleep(0.05)
