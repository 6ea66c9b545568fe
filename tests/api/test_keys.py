"""Unique jobs, idempotency keys, debounce and throttle, as code that enqueues meets them."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mainspring import Debounce, DuplicateJob, InvalidOption, Mainspring, Throttle, Unique
from mainspring.store.base import ConfigureRequest, InsertRequest

from .conftest import Hands


def test_another_job_with_the_same_arguments_is_the_same_job(app: Mainspring) -> None:
    @app.task(unique=Unique())
    def add(a: int, b: int = 2) -> int:
        return a + b

    first = add.enqueue(1)
    assert (first.existed, add.enqueue(1).id, add.enqueue(1, b=2).id) == (False, first.id, first.id)
    assert add.enqueue(1, b=3).id != first.id
    assert app.jobs.count() == 2


def test_the_existing_job_comes_as_it_is_now(app: Mainspring, hands: Hands) -> None:
    @app.task(unique=Unique())
    def add(a: int) -> int:
        return a

    first = add.using(priority=1).enqueue(1)
    hands.claim()
    again = add.enqueue(1)
    assert (again.id, again.state, again.priority) == (first.id, "running", 1)
    (other,) = app.enqueue_many([add.job(1)])
    assert (other.id, other.state, other.existed) == (first.id, "running", True)


@pytest.mark.parametrize(("until", "free"), [("started", True), ("settled", False)])
def test_until_it_starts_or_settles(app: Mainspring, hands: Hands, until: str, free: bool) -> None:
    @app.task(unique=Unique(until=until))
    def add(a: int) -> int:
        return a

    first = add.enqueue(1)
    hands.claim()
    assert (add.enqueue(1).id != first.id) is free


def test_by_a_function_of_the_arguments(app: Mainspring) -> None:
    @app.task(unique=Unique(by=lambda args: args["mail"].lower()))
    def greet(mail: str) -> None: ...

    assert greet.enqueue("A@b.c").id == greet.enqueue("a@B.c").id != greet.enqueue("b@b.c").id


def test_a_function_that_gives_no_text_is_refused(app: Mainspring) -> None:
    """A set is written in another order in every process: as a key it would tell the same jobs apart."""

    @app.task(unique=Unique(by=lambda args: {args["mail"], "x"}))
    def greet(mail: str) -> None: ...

    with pytest.raises(InvalidOption, match="'greet' gave"):
        greet.enqueue("a@b.c")
    assert app.jobs.count() == 0


def test_a_rejected_job_among_many_and_none_is_stored(app: Mainspring) -> None:
    @app.task(unique=Unique(on_conflict="reject"))
    def add(a: int) -> int:
        return a

    holder = add.enqueue(1)
    with pytest.raises(DuplicateJob, match=holder.id):
        app.enqueue_many([add.job(2), add.job(1), add.job(3)])
    assert app.jobs.count() == 1
    with pytest.raises(DuplicateJob):
        app.enqueue_many([add.job(5), add.job(5)])
    assert app.jobs.count() == 1


async def test_a_rejected_job_costs_those_that_are_committed_with_it_nothing(app: Mainspring) -> None:
    @app.task(unique=Unique(on_conflict="reject"))
    async def add(a: int) -> int:
        return a

    await add.aenqueue(0)
    given = await asyncio.gather(*(add.aenqueue(n % 10) for n in range(20)), return_exceptions=True)
    assert sum(isinstance(each, DuplicateJob) for each in given) == 11
    assert await app.jobs.acount() == 10
    await app.aclose()


def test_replace_gives_the_waiting_job_new_arguments_and_time(app: Mainspring) -> None:
    @app.task(unique=Unique(by=("document",), on_conflict="replace"))
    def save(document: int, text: str) -> None: ...

    first = save.enqueue(1, "a")
    at = datetime.now(UTC) + timedelta(hours=1)
    again = save.using(at=at, priority=2).enqueue(1, "b")
    assert (again.id, again.args["text"], again.priority, again.state) == (first.id, "b", 2, "scheduled")


def test_using_takes_the_place_of_the_tasks_rule(app: Mainspring) -> None:
    @app.task(unique=Unique())
    def add(a: int, b: int) -> int:
        return a + b

    first = add.using(unique=Unique(by=("a",))).enqueue(1, 1)
    assert add.using(unique=Unique(by=("a",))).enqueue(1, 2).id == first.id


def test_idempotency_keys_are_per_task(app: Mainspring) -> None:
    @app.task
    def charge(n: int) -> None: ...

    @app.task
    def ship(n: int) -> None: ...

    first = charge.using(idempotency_key="order 1").enqueue(1)
    assert charge.using(idempotency_key="order 1").enqueue(2).id == first.id
    assert ship.using(idempotency_key="order 1").enqueue(1).id != first.id
    (other,) = app.enqueue_many([charge.using(idempotency_key="order 1").job(3)])
    assert other.id == first.id


def test_a_schedule_of_a_unique_task_does_not_overlap_itself(app: Mainspring) -> None:
    @app.every("1h")
    @app.task(unique=Unique())
    def sweep() -> None: ...

    (put,) = app.declared_schedules(0)
    driver = app.store.driver()
    driver.run(ConfigureRequest((put,)))
    (record,) = driver.run(ConfigureRequest(read=frozenset({"schedules"}))).schedules
    assert record.keys == put.keys == sweep.job().new.keys != ()
    first = sweep.enqueue()
    (inserted,) = driver.run(InsertRequest((sweep.job().new,)))
    assert inserted.id == first.id
    driver.close()


@pytest.mark.usefixtures("patient_store")
def test_sixty_four_at_once_get_one_job(app: Mainspring) -> None:
    @app.task(unique=Unique())
    def add(a: int) -> int:
        return a

    ids: list[str] = []
    barrier = threading.Barrier(64)

    def enqueue() -> None:
        barrier.wait()
        ids.append(add.enqueue(1).id)

    threads = [threading.Thread(target=enqueue) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(ids), len(set(ids)), app.jobs.count()) == (64, 1, 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Unique(by="some"),
        lambda: Unique(by=["a"]),  # type: ignore[arg-type]
        lambda: Unique(until="later"),
        lambda: Unique(for_=0),
        lambda: Unique(on_conflict="fight"),
        lambda: Debounce(0),
        lambda: Debounce("1s", max_delay=-1),
        lambda: Debounce("1m", max_delay="1s"),
        lambda: Throttle(0, per="1s"),
        lambda: Throttle(True, per="1s"),
        lambda: Throttle(1, per=0),
    ],
)
def test_a_wrong_rule_is_refused(make: Any) -> None:
    with pytest.raises(ValueError, match=r"give|neither|none|negative|whole number"):
        make()


def test_a_rule_about_an_argument_that_there_is_not_is_refused(app: Mainspring) -> None:
    """All jobs of the task would be taken for one."""
    with pytest.raises(InvalidOption, match=r"no parameter 'user'; it has: user_id"):

        @app.task(unique=Unique(by=("user",)))
        def report(user_id: int) -> None: ...


@pytest.mark.parametrize(
    "terms",
    [
        {"idempotency_key": ""},
        {"idempotency_key": "a\x00"},
        {"idempotency_key": "k" * 201},
        {"idempotency_key": "a", "idempotency_for": 0},
        {"unique": "yes"},
    ],
)
def test_wrong_terms_are_refused(app: Mainspring, terms: dict[str, Any]) -> None:
    @app.task
    def add(a: int) -> int:
        return a

    with pytest.raises(InvalidOption):
        add.using(**terms)
