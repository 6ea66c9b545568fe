"""What gates cost Redis, in commands of its scripts: closed partitions and deep backlogs cost a claim nothing.

No clock but the test's. Commands are counted by the server, and none of them takes longer for there being more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from redis import Redis
from servers.valkey import ValkeyServer

from mainspring.model.job import NewJob
from mainspring.model.limits import Limits, Rate
from mainspring.store.base import (
    ClaimRequest,
    ConfigureRequest,
    DefineQueue,
    DefineTask,
    InsertRequest,
    LimitPartition,
    LimitQueue,
    PauseQueue,
    PruneRequest,
    Reply,
    Request,
    Room,
    SettleRequest,
)
from mainspring.store.redis import RedisStore

from .conformance.scene import ALL_ENDED, DAY, Scene, settlement

FEW, MANY = 20, 4000


@dataclass
class Meter:
    """A scene, and how many commands its server has performed so far."""

    scene: Scene
    client: Redis

    def perform(self, request: Request[Reply]) -> tuple[int, Reply]:
        """Perform a request: how many commands that takes, and its reply."""
        before = self._count()
        reply = self.scene.ask(request)
        return self._count() - before, reply

    def commands(self, request: Request[Any]) -> int:
        return self.perform(request)[0]

    def claim(self, limit: int = 10) -> int:
        """The commands of a claim."""
        return self.commands(claim(self.scene, limit))

    def _count(self) -> int:
        stats = cast("dict[str, dict[str, Any]]", self.client.info("commandstats"))
        return sum(each["calls"] for name, each in stats.items() if name != "cmdstat_info")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """One that does nothing else."""
    server = ValkeyServer(Path(tmp_path_factory.mktemp("valkey")))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def meter(server: ValkeyServer) -> Iterator[Meter]:
    store = RedisStore(server.url)
    with server.client() as client, closing(store.driver()) as driver:
        client.flushdb()
        scene = Scene(store, driver)
        scene.join(lease_ms=10**9)
        yield Meter(scene, client)


def claim(scene: Scene, limit: int = 10) -> ClaimRequest:
    return ClaimRequest("worker", (Room("default", limit),), limit, now=scene.now)


def settled(scene: Scene) -> None:
    """Claim until nothing more comes, so that all that is closed has been found to be so."""
    scene.drain(limit=500)


def closed_by_slots(scene: Scene, names: range) -> None:
    scene.configure(DefineQueue("default", each=Limits(1)))
    insert_two_each(scene, names)


def closed_by_a_rate(scene: Scene, names: range) -> None:
    scene.configure(DefineQueue("default", each=Limits(rate=Rate(1, "1h"))))
    insert_two_each(scene, names)


def closed_by_a_sequence(scene: Scene, names: range) -> None:
    scene.configure(DefineQueue("default", sequence="block"))
    insert_two_each(scene, names)


def closed_by_a_task(scene: Scene, names: range) -> None:
    scene.configure(DefineTask("task", 0), DefineTask("free", 10**6))
    insert_two_each(scene, names)


def paused(scene: Scene, names: range) -> None:
    scene.configure(*(PauseQueue("default", True, f"p{n}") for n in names))
    insert_two_each(scene, names)


def empty(scene: Scene, names: range) -> None:
    """They had jobs, and have none."""
    insert_two_each(scene, names)


def insert_two_each(scene: Scene, names: range) -> None:
    for begin in range(names.start, names.stop, 1000):
        some = range(begin, min(begin + 1000, names.stop))
        scene.insert(*(NewJob(f"{n} {m}", "task", partition=f"p{n}") for n in some for m in range(2)))
        settled(scene)


@pytest.mark.parametrize(
    "closed", [closed_by_slots, closed_by_a_rate, closed_by_a_sequence, closed_by_a_task, paused, empty]
)
def test_closed_partitions_cost_nothing(meter: Meter, closed: Callable[[Scene, range], None]) -> None:
    """Neither the claim that gets something beside them, nor the one that does not, nor what else happens there."""
    scene, counts = meter.scene, []
    done = 0
    for total in (FEW, MANY):
        closed(scene, range(done, total))
        done = total
        place = f"open {total}"
        scene.configure(LimitPartition("default", place, concurrency=None, rates=()))
        new = [NewJob(f"{total} new {n}", "free", partition=place) for n in range(10)]
        nothing, reply = meter.perform(claim(scene))
        assert reply.claims == ()
        insert = meter.commands(InsertRequest(tuple(new), now=scene.now))
        something, reply = meter.perform(claim(scene))
        counts.append(
            {
                "nothing": nothing,
                "insert": insert,
                "something": something,
                "settle": meter.commands(SettleRequest(tuple(map(settlement, reply.claims)), now=scene.now)),
                "prune": meter.commands(PruneRequest(ALL_ENDED, 10, now=scene.now)),
                "pause": meter.commands(ConfigureRequest((PauseQueue("default", True),), now=scene.now)),
            }
        )
        assert reply.claims
        scene.configure(PauseQueue("default", False))
        settled(scene)
    few, many = counts
    assert {name: (few[name], many[name]) for name in few if many[name] > few[name] * 1.2 + 10} == {}


@pytest.mark.parametrize("gates", ["partitions", "sequence", "rate", "tasks"])
@pytest.mark.fault("a million jobs", "redis")
def test_a_deep_backlog_costs_no_more_than_a_shallow_one(meter: Meter, gates: str) -> None:
    scene, counts, done = meter.scene, list[int](), 0
    if gates == "rate":
        scene.configure(DefineQueue("default", rates=(Rate(10**6, "1h"),)))
    if gates == "tasks":
        scene.configure(DefineTask("task", 10**6), DefineTask("closed", 0))
    if gates == "sequence":
        scene.configure(DefineQueue("default", sequence="skip"))
    for total in (200, 20_000):
        for begin in range(done, total, 5000):
            some = range(begin, min(begin + 5000, total))
            scene.insert(*(NewJob(f"{n:05}", ("task", "closed")[n % 2], partition=place(gates, n)) for n in some))
        done = total
        scene.claim(limit=10)
        counts.append(meter.claim())
    assert counts[1] <= counts[0] * 1.1 + 10


def place(gates: str, number: int) -> str:
    """One big partition and a few small ones; or none."""
    if gates not in ("partitions", "sequence"):
        return ""
    return f"small {number % 3}" if number < 180 else "big"


def test_no_claim_looks_at_more_partitions_than_it_may(meter: Meter) -> None:
    """However many are closed at once: the next claims look at the rest."""
    scene = meter.scene
    for begin in range(0, MANY, 1000):
        scene.insert(*(NewJob(f"{n:04}", "task", partition=f"p{n:04}") for n in range(begin, begin + 1000)))
    scene.configure(DefineQueue("default", each=Limits(0)))
    looks = [meter.claim() for _ in range(3)]
    assert max(looks) < 84 * 10
    settled(scene)
    change = meter.commands(ConfigureRequest((DefineQueue("default", each=Limits(1)),), now=scene.now))
    assert change < 100
    assert max(meter.claim() for _ in range(3)) < 84 * 25
    assert len(scene.drain(limit=500)) == MANY - 30


def test_what_has_no_gates_pays_for_none(meter: Meter) -> None:
    """A limit of a queue's slots is looked at once for each claim, however many jobs it gives."""
    scene = meter.scene
    scene.insert(*(NewJob(f"{n:03}", "task") for n in range(200)))
    scene.claim(limit=10)
    plain = [meter.claim(limit) for limit in (10, 20)]
    scene.configure(LimitQueue("default", concurrency=100))
    limited = [meter.claim(limit) for limit in (10, 20)]
    assert [more - less for less, more in zip(plain, limited, strict=True)] == [1, 1]
    scene.configure(DefineQueue("other", rates=(Rate(5),), sequence="skip"))
    assert meter.claim() == limited[0]


def test_partitions_leave_nothing_behind(meter: Meter) -> None:
    """Whoever had a job once is forgotten, also where that was more than its turn, and nobody has had one since."""
    scene = meter.scene
    keys = set(meter.client.keys())
    for begin in range(0, 300, 100):
        scene.configure(DefineQueue("default", each=Limits(1, Rate(1, "1m"))))
        scene.insert(*(NewJob(f"{n}", "task", partition=f"p{n}") for n in range(begin, begin + 100)))
        scene.settle(*map(settlement, scene.claim(limit=100)))
        settled(scene)
    for _ in range(4):
        scene.later(2 * DAY)
        scene.prune(ALL_ENDED)
    left = {key.partition("}:")[2] for key in set(meter.client.keys()) - keys}
    assert {key for key in left if not key.startswith(("reply:", "stats"))} == {
        "queues",
        "limited",
        "gated",
        "owners",
        "queue:default",
    }
