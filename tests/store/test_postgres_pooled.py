"""The hot half of the conformance suite through PgBouncer in transaction mode."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers.pgbouncer import running_pgbouncer

from mainspring.store.base import CountReply, CountRequest, Operation
from mainspring.store.postgres import PostgresStore
from mainspring.store.sql.statements import Query

from .conformance.alter import TestAlter, TestCancel, TestDelete, TestReprioritise, TestReschedule, TestRevive
from .conformance.beat import TestBeat, TestCommands
from .conformance.claim import TestClaim, TestConcurrency, TestLostReplies, TestNextDue, TestPaused
from .conformance.configure import TestQueues, TestSchedules, TestWorkers
from .conformance.drivers import TestAsync, TestAtomicity, TestClock, TestDrivers
from .conformance.insert import TestInsert, TestTicks
from .conformance.keys import TestConflicts, TestKeys
from .conformance.note import TestLog, TestNote
from .conformance.reap import TestReap
from .conformance.scene import Scene, settlement
from .conformance.settle import TestFence, TestFollowUps, TestSettle

__all__ = [
    "TestAlter",
    "TestAsync",
    "TestAtomicity",
    "TestBeat",
    "TestCancel",
    "TestClaim",
    "TestClock",
    "TestCommands",
    "TestConcurrency",
    "TestConflicts",
    "TestDelete",
    "TestDrivers",
    "TestFence",
    "TestFollowUps",
    "TestInsert",
    "TestKeys",
    "TestLog",
    "TestLostReplies",
    "TestNextDue",
    "TestNote",
    "TestPaused",
    "TestQueues",
    "TestReap",
    "TestReprioritise",
    "TestReschedule",
    "TestRevive",
    "TestSchedules",
    "TestSettle",
    "TestTicks",
    "TestWorkers",
]


@pytest.fixture(scope="module")
def pooler(postgres: str) -> Iterator[str]:
    with running_pgbouncer(postgres) as url:
        yield url


@pytest.fixture
def store(postgres_store: PostgresStore, pooler: str) -> PostgresStore:
    """The same as without the pooler, in the same schema, reached through it."""
    return PostgresStore(f"{pooler}?listen=0&schema={postgres_store.url.rpartition('schema=')[2]}")


def test_the_first_that_a_program_reads_is_of_one_moment_too(scene: Scene, store: PostgresStore) -> None:
    scene.join()
    scene.insert(*map(str, range(20)))
    claims = iter(scene.claim())

    class Overtaken(PostgresStore):
        """While it counts, jobs are completed."""

        def count(self, request: CountRequest) -> Operation[CountReply]:
            operation = super().count(request)
            step = next(operation)
            while True:
                rows = yield step
                if isinstance(step, Query):
                    scene.settle(settlement(next(claims)))
                try:
                    step = operation.send(rows)
                except StopIteration as done:
                    reply: CountReply = done.value
                    return reply

    looker = Scene(overtaken := Overtaken(store.url), overtaken.driver())
    assert sum(looker.count().values()) == 20
    looker.driver.close()
