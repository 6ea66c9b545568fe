"""A settlement and a claim that share a round trip: one transaction, and still two operations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from mainspring.errors import StoreError
from mainspring.model.job import Claim, Edge, NewJob
from mainspring.model.settlement import Settlement
from mainspring.model.states import State
from mainspring.store.base import (
    BeatRequest,
    ClaimReply,
    ClaimRequest,
    Filter,
    FindRequest,
    InsertRequest,
    Room,
    SettleRequest,
)
from mainspring.store.postgres import PostgresStore, drivers
from mainspring.store.postgres.drivers import PostgresAsyncDriver

from .conformance.scene import presence, settlement

TOO_MANY = 2**40
"""Jobs: the server refuses a claim of so many."""
LONG_SECONDS = 80.0
"""How long an operation may take here, by the driver's clock and by the server's."""
FEW_SECONDS = LONG_SECONDS / 2
"""What does not wait for a lock that is never given back takes less."""


class Bench:
    """A worker's driver, and a connection that looks and disturbs."""

    def __init__(self, driver: PostgresAsyncDriver, outside: psycopg.Connection[Any]) -> None:
        self.driver = driver
        self.outside = outside

    async def insert(self, *jobs: NewJob) -> None:
        await self.driver.run(InsertRequest(jobs))

    async def claim(self, limit: int, room: int | None = None) -> ClaimReply:
        return await self.driver.run(ClaimRequest("worker", (Room("default", room or limit),), limit))

    async def settle(self, *settlements: Settlement) -> frozenset[str]:
        return await self.driver.run(SettleRequest(settlements))

    async def together(self, *settlements: Settlement, room: int | None = None) -> tuple[Any, Any]:
        """What comes of a settlement and a claim of one job that are asked for at the same moment."""
        return tuple(await asyncio.gather(self.settle(*settlements), self.claim(1, room), return_exceptions=True))

    async def state(self, id: str) -> State:
        (job,) = (await self.driver.run(FindRequest(Filter(ids=(id,)), 1))).jobs
        return job.state

    def writer_of(self, table: str, id: str) -> Any:
        """The transaction that has written that row."""
        row = self.outside.execute(f"SELECT xmin::text FROM {table} WHERE id = %s", [id]).fetchone()
        return row and row[0]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drivers, "OPERATION_SECONDS", LONG_SECONDS)


@pytest.fixture
def outside(postgres: str, postgres_store: PostgresStore) -> Iterator[psycopg.Connection[Any]]:
    schema = postgres_store.url.rpartition("schema=")[2]
    with psycopg.connect(postgres, autocommit=True, options=f"-c search_path={schema}") as connection:
        yield connection


@asynccontextmanager
async def begun(
    store: PostgresStore, outside: psycopg.Connection[Any], jobs: int
) -> AsyncIterator[tuple[Bench, list[Claim]]]:
    """With the first of so many jobs claimed, and one more that waits."""
    driver = PostgresStore(f"{store.url}&options=-c%20statement_timeout%3D0").async_driver()
    bench = Bench(driver, outside)
    try:
        await driver.run(BeatRequest(presence("worker", 600_000), "join"))
        await bench.insert(*(NewJob(f"job {n}", "task") for n in range(jobs + 1)))
        yield bench, list((await bench.claim(jobs)).claims)
    finally:
        await driver.aclose()


async def test_both_are_one_transaction(postgres_store: PostgresStore, outside: psycopg.Connection[Any]) -> None:
    async with begun(postgres_store, outside, 1) as (bench, (claim,)):
        applied, reply = await bench.together(settlement(claim))
        assert applied == {"job 0"}
        assert [(claim.id, claim.lease, claim.attempt) for claim in reply.claims] == [("job 1", 1, 1)]
        assert reply.alive
        assert bench.writer_of("finished", "job 0") == bench.writer_of("jobs", "job 1") is not None


async def test_a_settlement_whose_lease_is_lost_says_so(
    postgres_store: PostgresStore, outside: psycopg.Connection[Any]
) -> None:
    async with begun(postgres_store, outside, 2) as (bench, (first, second)):
        stale = settlement(second, State.COMPLETED, lease=second.lease + 1)
        applied, reply = await bench.together(settlement(first), stale)
        assert applied == {"job 0"}
        assert [claim.id for claim in reply.claims] == ["job 2"]
        assert await bench.state("job 1") is State.RUNNING


async def test_a_claim_that_fails_takes_no_settlement_along(
    postgres_store: PostgresStore, outside: psycopg.Connection[Any]
) -> None:
    async with begun(postgres_store, outside, 1) as (bench, (claim,)):
        applied, refused = await bench.together(settlement(claim), room=TOO_MANY)
        assert applied == {"job 0"}
        assert isinstance(refused, psycopg.Error)
        assert await bench.state("job 0") is State.COMPLETED


async def test_a_settlement_that_fails_takes_no_claim_along(
    postgres_store: PostgresStore, outside: psycopg.Connection[Any]
) -> None:
    async with begun(postgres_store, outside, 1) as (bench, (claim,)):
        refused, reply = await bench.together(settlement(claim, attempt=TOO_MANY))
        assert isinstance(refused, psycopg.Error)
        assert [claim.id for claim in reply.claims] == ["job 1"]
        assert await bench.settle(settlement(claim)) == {"job 0"}


async def test_a_settlement_that_is_not_plain_goes_on_by_itself(
    postgres_store: PostgresStore, outside: psycopg.Connection[Any]
) -> None:
    async with begun(postgres_store, outside, 1) as (bench, (claim,)):
        await bench.insert(NewJob("child", "task", queue="children", parents=(Edge("job 0"),)))
        applied, reply = await bench.together(settlement(claim))
        assert applied == {"job 0"}
        assert [claim.id for claim in reply.claims] == ["job 1"]
        assert await bench.state("child") is State.QUEUED


async def test_a_claim_that_is_not_plain_goes_on_by_itself(
    postgres_store: PostgresStore, outside: psycopg.Connection[Any]
) -> None:
    async with begun(postgres_store, outside, 1) as (bench, (claim,)):
        outside.execute("UPDATE queues SET limited = '{\"concurrency\": 5}' WHERE name = 'default'")
        applied, reply = await bench.together(settlement(claim))
        assert applied == {"job 0"}
        assert [claim.id for claim in reply.claims] == ["job 1"]


async def test_a_job_that_somebody_has_locked_holds_up_its_settlement_alone(
    postgres_store: PostgresStore, outside: psycopg.Connection[Any]
) -> None:
    async with begun(postgres_store, outside, 1) as (bench, (claim,)):
        with outside.transaction():
            outside.execute("SELECT FROM jobs WHERE id = 'job 0' FOR UPDATE")
            settling = asyncio.create_task(bench.settle(settlement(claim)))
            async with asyncio.timeout(FEW_SECONDS):
                reply = await bench.claim(1)
            assert [claim.id for claim in reply.claims] == ["job 1"]
            assert not settling.done()
        assert await settling == {"job 0"}


async def test_a_settlement_that_waits_for_long_holds_up_no_claim_that_comes_later(
    postgres_store: PostgresStore, outside: psycopg.Connection[Any]
) -> None:
    async with begun(postgres_store, outside, 1) as (bench, (claim,)):
        with outside.transaction():
            outside.execute("SELECT FROM jobs WHERE id = 'job 0' FOR UPDATE")
            settling = asyncio.create_task(bench.settle(settlement(claim)))
            while not waiting_for_locks(outside):
                await asyncio.sleep(0.01)
            async with asyncio.timeout(FEW_SECONDS):
                first, second = await asyncio.gather(bench.claim(1), bench.claim(1))
            assert [claim.id for claim in (*first.claims, *second.claims)] == ["job 1"]
        assert await settling == {"job 0"}


async def test_many_at_once_are_all_served(postgres_store: PostgresStore, outside: psycopg.Connection[Any]) -> None:
    async with begun(postgres_store, outside, 20) as (bench, claims):
        await bench.insert(*(NewJob(f"more {n:02}", "task") for n in range(20)))
        settling = [bench.settle(settlement(claim)) for claim in claims]
        replies = await asyncio.gather(*settling, *(bench.claim(2) for _ in range(15)))
        assert frozenset[str]().union(*replies[:20]) == {claim.id for claim in claims}
        claimed = [claim.id for reply in replies[20:] for claim in reply.claims]
        assert len(claimed) == 21
        assert frozenset(claimed).isdisjoint(claim.id for claim in claims)


async def test_a_claim_whose_caller_has_given_up_gives_out_nothing(
    postgres_store: PostgresStore, outside: psycopg.Connection[Any]
) -> None:
    async with begun(postgres_store, outside, 1) as (bench, (claim,)):
        settling = asyncio.create_task(bench.settle(settlement(claim)))
        claiming = asyncio.create_task(bench.claim(1))
        await asyncio.sleep(0)  # both have asked, and nothing has left yet
        claiming.cancel()
        assert await settling == {"job 0"}
        assert await bench.state("job 1") is State.QUEUED


async def test_a_worker_whose_lease_is_over_settles_still_and_gets_nothing(
    postgres_store: PostgresStore, outside: psycopg.Connection[Any]
) -> None:
    async with begun(postgres_store, outside, 1) as (bench, (claim,)):
        outside.execute("UPDATE workers SET expires_at = 0")
        applied, reply = await bench.together(settlement(claim))
        assert applied == {"job 0"}
        assert (reply.alive, reply.claims) == (False, ())


async def test_nothing_is_left_waiting_when_the_server_goes_away(
    postgres_store: PostgresStore, outside: psycopg.Connection[Any]
) -> None:
    """The settlement is sent again, the claim is not: nobody knows what that has given out."""
    async with begun(postgres_store, outside, 1) as (bench, (claim,)):
        with outside.transaction():
            outside.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
            both = asyncio.create_task(bench.together(settlement(claim)))
            while not (pids := waiting_for_locks(outside)):
                await asyncio.sleep(0.001)
            outside.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::integer[]) AS pid", [pids])
        applied, reply = await both
        assert applied == {"job 0"}
        assert isinstance(reply, StoreError) or [claim.id for claim in reply.claims] == ["job 1"]


def waiting_for_locks(outside: psycopg.Connection[Any]) -> list[int]:
    """Who waits for a lock in this database."""
    rows = outside.execute(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return [row[0] for row in rows]
