"""Jobs that are a part of the caller's own transaction, in async code, by every library that leads to the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mainspring import DuplicateJob, Flow, State, Task, Unique, UnknownParent, chain
from mainspring.testing import adrain

from .libraries import ASYNC, AsyncLibrary, AsyncTransaction
from .places import Place


@pytest.fixture(params=ASYNC, ids=lambda library: library.name)
def library(request: pytest.FixtureRequest) -> AsyncLibrary:
    found: AsyncLibrary = request.param
    return found


@pytest.fixture
async def begun(library: AsyncLibrary, place: Place) -> AsyncIterator[AsyncTransaction]:
    """A transaction in which order 1 has been stored."""
    async with library.begin(place) as begun:
        await begun.execute(f"INSERT INTO {place.orders} VALUES (1)")
        yield begun
    await place.app.aclose()


@pytest.fixture
def ship(place: Place) -> Task[[int], int]:
    @place.app.task
    async def ship(order: int) -> int:
        return order * 10

    return ship


async def test_a_commit_stores_the_job_with_everything_else(
    place: Place, begun: AsyncTransaction, ship: Task[[int], int]
) -> None:
    job = await ship.using(tx=begun.tx).aenqueue(1)
    assert (place.stored(), place.jobs()) == ([], 0), "nobody sees it before"
    await begun.commit()
    assert (place.stored(), place.jobs()) == ([1], 1)
    assert (await job.arefresh()).state is State.QUEUED
    await adrain(place.app)
    assert await job.aresult(timeout=10) == 10


async def test_after_a_rollback_it_never_was(place: Place, begun: AsyncTransaction, ship: Task[[int], int]) -> None:
    await ship.using(tx=begun.tx).aenqueue(1)
    await begun.rollback()
    assert (place.stored(), place.jobs()) == ([], 0)


async def test_a_savepoint_that_is_rolled_back_takes_its_jobs_with_it(
    place: Place, begun: AsyncTransaction, ship: Task[[int], int]
) -> None:
    kept = await ship.using(tx=begun.tx).aenqueue(1)
    async with begun.savepoint():
        await begun.execute(f"INSERT INTO {place.orders} VALUES (2)")
        await ship.using(tx=begun.tx).aenqueue(2)
    await begun.commit()
    assert place.stored() == [1]
    assert [job.id for job in await place.app.jobs.afind()] == [kept.id]


async def test_many_jobs_in_one_transaction(place: Place, begun: AsyncTransaction, ship: Task[[int], int]) -> None:
    jobs = await place.app.aenqueue_many([ship.job(number) for number in range(500)], tx=begun.tx)
    more = await place.app.aenqueue("ship", {"order": 501}, tx=begun.tx)
    assert place.jobs() == 0
    await begun.commit()
    assert place.jobs() == 501
    assert {job.id for job in jobs} < {job.id for job in await place.app.jobs.afind(limit=1000)}
    assert (await more.arefresh()).args == {"order": 501}


@pytest.mark.parametrize("library", [each for each in ASYNC if each.store == "postgres"], ids=lambda each: each.name)
async def test_it_joins_no_group_of_jobs_that_others_enqueue(
    place: Place, library: AsyncLibrary, ship: Task[[int], int]
) -> None:
    async with library.begin(place) as begun:
        outside = [ship.aenqueue(number) for number in range(20)]
        await asyncio.gather(*outside, ship.using(tx=begun.tx).aenqueue(99))
        await begun.rollback()
    assert sorted(job.args["order"] for job in await place.app.jobs.afind()) == list(range(20))
    await place.app.aclose()


async def test_terms_arguments_and_times_are_stored_as_always(
    place: Place, begun: AsyncTransaction, ship: Task[[int], int]
) -> None:
    terms = ship.using(tx=begun.tx, delay="1h", priority=2, queue="later", partition="über 100%", id="mine", retry=2)
    await terms.aenqueue(7)
    await begun.commit()
    job = await place.app.jobs.aget("mine")
    assert (job.state, job.priority, job.queue, job.partition) == (State.SCHEDULED, 2, "later", "über 100%")
    assert job.args == {"order": 7}


async def test_a_job_that_is_turned_away_leaves_the_transaction_as_it_was(
    place: Place, begun: AsyncTransaction, ship: Task[[int], int]
) -> None:
    reject = Unique(on_conflict="reject")
    first = await ship.using(tx=begun.tx, unique=reject).aenqueue(1)
    with pytest.raises(DuplicateJob):
        await ship.using(tx=begun.tx, unique=reject).aenqueue(1)
    with pytest.raises(DuplicateJob):
        await place.app.aenqueue_many([ship.using(unique=reject).job(number) for number in (5, 1)], tx=begun.tx)
    assert (await ship.using(tx=begun.tx, unique=Unique()).aenqueue(1)).id == first.id
    await begun.commit()
    assert (place.stored(), place.jobs()) == ([1], 1)


async def test_an_unknown_parent_leaves_the_transaction_as_it_was(
    place: Place, begun: AsyncTransaction, ship: Task[[int], int]
) -> None:
    flow = Flow("order")
    flow.add(ship.job(1))
    flow.add(ship.job(2), after=["nobody"])
    with pytest.raises(UnknownParent):
        await flow.aenqueue(tx=begun.tx)
    await ship.using(tx=begun.tx).aenqueue(3)
    await begun.commit()
    assert place.stored() == [1]
    assert [job.args for job in await place.app.jobs.afind()] == [{"order": 3}]


async def test_a_whole_flow_is_stored_or_none_of_it(
    place: Place, begun: AsyncTransaction, ship: Task[[int], int]
) -> None:
    flow = await chain(ship.job(1), ship.job(2), ship.job(3)).aenqueue(tx=begun.tx)
    assert place.jobs() == 0
    await begun.commit()
    assert place.jobs() == 3
    await adrain(place.app)
    assert await flow.aresult(timeout=10) == 30


async def test_who_listens_hears_of_it_when_it_is_committed(
    place: Place, begun: AsyncTransaction, ship: Task[[int], int]
) -> None:
    driver = place.app.store.async_driver()
    watch = await driver.watch(("queue:default",))
    quiet = 0
    while quiet < 2:  # a hint that comes just as a wait ends is heard by the next
        quiet = 0 if await watch.wait(0.1) else quiet + 1
    await ship.using(tx=begun.tx).aenqueue(1)
    assert not await watch.wait(0.2)
    await begun.commit()
    assert await watch.wait(10), "the hint came with the commit"
    await watch.aclose()
    await driver.aclose()
