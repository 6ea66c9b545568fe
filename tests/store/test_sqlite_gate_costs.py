"""What gates cost SQLite, in steps of its machine: closed partitions and deep backlogs cost a claim nothing.

No clock but the test's: every request is performed, counted, and taken back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mainspring.model.job import NewJob
from mainspring.model.limits import Limits, Rate
from mainspring.store.base import (
    ClaimRequest,
    DefineQueue,
    DefineTask,
    InsertRequest,
    LimitPartition,
    PauseQueue,
    PruneRequest,
    Room,
    SettleRequest,
)

from .conformance.scene import Scene, settlement
from .files import scene_at
from .test_sqlite_plans import Machine

FEW, MANY = 20, 10_000


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    scene = scene_at(tmp_path / "jobs.db")
    scene.join(lease_ms=10**9)
    with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as raw:
        yield Machine(scene, raw)
    scene.driver.close()


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
def test_closed_partitions_cost_nothing(machine: Machine, closed: Callable[[Scene, range], None]) -> None:
    """Neither the claim that gets something beside them, nor the one that does not, nor what else happens there."""
    scene, steps = machine.scene, []
    done, total = 0, FEW
    for total in (FEW, MANY):
        closed(scene, range(done, total))
        done = total
        scene.configure(LimitPartition("default", f"open {total}", concurrency=None, rates=()))
        claim = ClaimRequest("worker", (Room("default", 10),), 10, now=scene.now)
        nothing = machine.steps(claim)
        new = tuple(NewJob(f"{total} new {n}", "free", partition=f"open {total}") for n in range(10))
        insert = machine.steps(InsertRequest(new, now=scene.now))
        scene.insert(*new)
        something = machine.steps(claim)
        claims = scene.claim(limit=10)
        assert claims
        settle = machine.steps(SettleRequest(tuple(map(settlement, claims)), now=scene.now))
        prune = machine.steps(PruneRequest({}, 10, now=scene.now))
        scene.settle(*map(settlement, claims))
        settled(scene)
        steps.append({"nothing": nothing, "something": something, "insert": insert, "settle": settle, "prune": prune})
    few, many = steps
    grew = {name: (few[name], many[name]) for name in few if many[name] > few[name] * 1.2 + 60}
    assert grew == {}


@pytest.mark.parametrize("gates", ["partitions", "sequence", "rate", "tasks"])
def test_a_deep_backlog_costs_no_more_than_a_shallow_one(machine: Machine, gates: str) -> None:
    scene, steps, done = machine.scene, list[int](), 0
    if gates == "rate":
        scene.configure(DefineQueue("default", rates=(Rate(10**6, "1h"),)))
    if gates == "tasks":
        scene.configure(DefineTask("task", 10**6), DefineTask("closed", 0))
    if gates == "sequence":
        scene.configure(DefineQueue("default", sequence="skip"))
    for total in (100, 20_000):
        for begin in range(done, total, 5000):
            some = range(begin, min(begin + 5000, total))
            jobs = (NewJob(f"{n:05}", ("task", "closed")[n % 2], partition=place(gates, n)) for n in some)
            scene.insert(*jobs)
        done = total
        steps.append(machine.steps(ClaimRequest("worker", (Room("default", 10),), 10, now=scene.now)))
    assert steps[1] <= steps[0] * 1.1 + 20


def place(gates: str, number: int) -> str:
    """One big partition and a few small ones; or none."""
    if gates not in ("partitions", "sequence"):
        return ""
    return f"small {number % 3}" if number < 90 else "big"
