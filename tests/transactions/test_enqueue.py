"""Jobs that are a part of the caller's own transaction, in blocking code, by every library that leads to the store."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from worker.scene import until, wait_until, working

from mainspring import DuplicateJob, Flow, Job, QueueFull, State, StoreBusy, Task, Unique, UnknownParent, chain
from mainspring.store.base import ConfigureRequest
from mainspring.testing import drain

from .libraries import BLOCKING, Library, Transaction
from .places import Place, PostgresPlace


@pytest.fixture(params=BLOCKING, ids=lambda library: library.name)
def library(request: pytest.FixtureRequest) -> Library:
    found: Library = request.param
    return found


@pytest.fixture
def begun(library: Library, place: Place) -> Iterator[Transaction]:
    """A transaction in which order 1 has been stored."""
    with library.begin(place) as begun:
        begun.execute(f"INSERT INTO {place.orders} VALUES (1)")
        yield begun


@pytest.fixture
def ship(place: Place) -> Task[[int], int]:
    @place.app.task
    def ship(order: int) -> int:
        return order * 10

    return ship


def test_a_commit_stores_the_job_with_everything_else(place: Place, begun: Transaction, ship: Task[[int], int]) -> None:
    job = ship.using(tx=begun.tx).enqueue(1)
    assert (place.stored(), place.jobs()) == ([], 0), "nobody sees it before"
    begun.commit()
    assert (place.stored(), place.jobs()) == ([1], 1)
    assert job.refresh().state is State.QUEUED
    drain(place.app)
    assert job.result(timeout=10) == 10


def test_after_a_rollback_it_never_was(place: Place, begun: Transaction, ship: Task[[int], int]) -> None:
    ship.using(tx=begun.tx).enqueue(1)
    begun.rollback()
    assert (place.stored(), place.jobs()) == ([], 0)


def test_a_savepoint_that_is_rolled_back_takes_its_jobs_with_it(
    place: Place, begun: Transaction, ship: Task[[int], int]
) -> None:
    kept = ship.using(tx=begun.tx).enqueue(1)
    with begun.savepoint():
        begun.execute(f"INSERT INTO {place.orders} VALUES (2)")
        ship.using(tx=begun.tx).enqueue(2)
    begun.commit()
    assert place.stored() == [1]
    assert [job.id for job in place.app.jobs.find()] == [kept.id]


def test_many_jobs_in_one_transaction(place: Place, begun: Transaction, ship: Task[[int], int]) -> None:
    jobs = place.app.enqueue_many([ship.job(number) for number in range(500)], tx=begun.tx)
    more = place.app.enqueue("ship", {"order": 501}, tx=begun.tx)
    assert place.jobs() == 0
    begun.commit()
    assert place.jobs() == 501
    assert {job.id for job in jobs} < {job.id for job in place.app.jobs.find(limit=1000)}
    assert more.refresh().args == {"order": 501}


def test_terms_arguments_and_times_are_stored_as_always(
    place: Place, begun: Transaction, ship: Task[[int], int]
) -> None:
    terms = ship.using(tx=begun.tx, delay="1h", priority=2, queue="later", partition="über 100%", id="mine", retry=2)
    terms.enqueue(7)
    begun.commit()
    job = place.app.jobs.get("mine")
    assert (job.state, job.priority, job.queue, job.partition) == (State.SCHEDULED, 2, "later", "über 100%")
    assert job.args == {"order": 7}


def test_a_job_that_is_there_already_is_given_instead(place: Place, begun: Transaction, ship: Task[[int], int]) -> None:
    first = ship.using(tx=begun.tx, unique=Unique()).enqueue(1)
    second = ship.using(tx=begun.tx, unique=Unique()).enqueue(1)
    assert (second.id, second.existed, second.state) == (first.id, True, State.QUEUED)
    begun.commit()
    assert place.jobs() == 1


def test_a_job_that_is_turned_away_leaves_the_transaction_as_it_was(
    place: Place, begun: Transaction, ship: Task[[int], int]
) -> None:
    app = place.app
    reject = Unique(on_conflict="reject")
    ship.using(tx=begun.tx, unique=reject).enqueue(1)
    with pytest.raises(DuplicateJob):
        ship.using(tx=begun.tx, unique=reject).enqueue(1)
    with pytest.raises(DuplicateJob):
        app.enqueue_many([ship.using(unique=reject).job(number) for number in (5, 6, 1)], tx=begun.tx)
    begun.commit()
    assert (place.stored(), place.jobs()) == ([1], 1)


def test_a_full_queue_leaves_the_transaction_as_it_was(place: Place, library: Library) -> None:
    app = place.app

    @app.task(queue="narrow")
    def ship(order: int) -> None: ...

    app.queue("narrow", max_queued=2)
    driver = app.store.driver()
    driver.run(ConfigureRequest(app.declared_queues))
    driver.close()
    with library.begin(place) as begun:
        begun.execute(f"INSERT INTO {place.orders} VALUES (1)")
        ship.using(tx=begun.tx).enqueue(1)
        with pytest.raises(QueueFull):
            app.enqueue_many([ship.job(2), ship.job(3)], tx=begun.tx)
        ship.using(tx=begun.tx).enqueue(4)
        with pytest.raises(QueueFull):
            ship.using(tx=begun.tx).enqueue(5)
        begun.commit()
    assert place.stored() == [1]
    assert sorted(job.args["order"] for job in app.jobs.find()) == [1, 4]


def test_an_unknown_parent_leaves_the_transaction_as_it_was(
    place: Place, begun: Transaction, ship: Task[[int], int]
) -> None:
    flow = Flow("order")
    flow.add(ship.job(1))
    flow.add(ship.job(2), after=["nobody"])
    with pytest.raises(UnknownParent):
        flow.enqueue(tx=begun.tx)
    ship.using(tx=begun.tx).enqueue(3)
    begun.commit()
    assert place.stored() == [1]
    assert [job.args for job in place.app.jobs.find()] == [{"order": 3}]


def test_a_whole_flow_is_stored_or_none_of_it(place: Place, begun: Transaction, ship: Task[[int], int]) -> None:
    flow = chain(ship.job(1), ship.job(2), ship.job(3)).enqueue(tx=begun.tx)
    assert place.jobs() == 0
    begun.commit()
    assert place.jobs() == 3
    drain(place.app)
    assert flow.result(timeout=10) == 30


def test_a_flow_that_was_rolled_back_can_be_enqueued_again(
    place: Place, begun: Transaction, ship: Task[[int], int]
) -> None:
    flow = Flow("order")
    first = flow.add(ship.job(1))
    flow.add(ship.job(2), after=[first])
    last = flow.on_complete(ship.job(3))
    flow.enqueue(tx=begun.tx)
    begun.rollback()
    assert place.jobs() == 0
    flow.enqueue()
    assert flow.progress().total == 3
    flow.enqueue()
    drain(place.app)
    assert flow.wait(timeout=10).done == 3
    assert last.job.result(timeout=10) == 30
    assert place.jobs() == 3


def test_a_parent_may_be_of_the_same_transaction(place: Place, begun: Transaction, ship: Task[[int], int]) -> None:
    parent = ship.using(tx=begun.tx).enqueue(1)
    flow = Flow("order")
    child = flow.add(ship.job(2), after=[parent])
    flow.enqueue(tx=begun.tx)
    begun.commit()
    assert child.job.refresh().state is State.BLOCKED
    drain(place.app)
    assert child.job.result(timeout=10) == 20


def test_who_listens_hears_of_it_when_it_is_committed(place: Place, begun: Transaction, ship: Task[[int], int]) -> None:
    driver = place.app.store.driver()
    watch = driver.watch(("queue:default",))
    while watch.wait(0.1):
        pass
    ship.using(tx=begun.tx).enqueue(1)
    assert not watch.wait(0.2)
    begun.commit()
    assert watch.wait(10), "the hint came with the commit"
    watch.close()
    driver.close()


def test_a_hint_is_not_held_back_because_of_one_that_was_never_committed(
    library: Library, place: Place, ship: Task[[int], int]
) -> None:
    driver = place.app.store.driver()
    watch = driver.watch(("queue:default",))
    while watch.wait(0.1):
        pass
    with library.begin(place) as begun:
        ship.using(tx=begun.tx).enqueue(1)
        begun.rollback()
    with library.begin(place) as begun:
        ship.using(tx=begun.tx).enqueue(1)
        begun.commit()
        assert watch.wait(10)
    watch.close()
    driver.close()


# --- beside others ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["postgres", "sqlite"], indirect=True)
async def test_a_worker_runs_it_after_the_commit_and_not_before(place: Place) -> None:
    app, ran = place.app, list[int]()
    library = next(each for each in BLOCKING if each.store in app.url)

    @app.task
    def ship(order: int) -> None:
        ran.append(order)

    async with working(app):
        with library.begin(place) as begun:
            begun.execute(f"INSERT INTO {place.orders} VALUES (1)")
            ship.using(tx=begun.tx).enqueue(1)
            if library.store == "postgres":
                # One that comes later overtakes it.
                ship.enqueue(2)
                await until(lambda: ran)
                assert ran == [2]
            begun.commit()
            await until(lambda: 1 in ran)
    await app.aclose()


@pytest.mark.parametrize("commits", [True, False])
def test_who_wants_a_key_waits_for_the_transaction_that_has_taken_it(
    postgres_place: PostgresPlace, commits: bool
) -> None:
    app, jobs = postgres_place.app, list[Job[Any]]()

    @app.task(unique=Unique())
    def ship(order: int) -> None: ...

    def later() -> None:
        with psycopg.connect(postgres_place.address) as connection:
            jobs.append(ship.using(tx=connection).enqueue(1))

    with psycopg.connect(postgres_place.address) as connection:
        first = ship.using(tx=connection).enqueue(1)
        thread = threading.Thread(target=later)
        thread.start()
        with psycopg.connect(postgres_place.address) as looking:
            wait_until(
                lambda: looking.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchone()
            )
        assert not jobs
        connection.commit() if commits else connection.rollback()
        thread.join(20)
    assert (jobs[0].id == first.id) is commits
    assert postgres_place.jobs() == 1


@pytest.mark.parametrize("level", [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE])
def test_transactions_of_a_stricter_isolation(postgres_place: PostgresPlace, level: psycopg.IsolationLevel) -> None:
    """Two that want one key: the later one cannot see who has it, and fails as such transactions do."""
    app = postgres_place.app

    @app.task(unique=Unique())
    def ship(order: int) -> None: ...

    with psycopg.connect(postgres_place.address) as connection:
        connection.isolation_level = level
        connection.execute(f"SELECT * FROM {postgres_place.orders}")
        ship.enqueue(1)
        with pytest.raises(StoreBusy, match="roll yours back"):
            ship.using(tx=connection).enqueue(1)
        connection.rollback()
        assert ship.using(tx=connection).enqueue(1).existed
        ship.using(tx=connection).enqueue(2)
    assert postgres_place.jobs() == 2
