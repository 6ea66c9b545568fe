"""Rates, limits and partitions, as code that enqueues and operators meet them."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from mainspring import InvalidOption, Limits, Mainspring, QueueFull, Rate, State
from mainspring.model.outcome import Outcome
from mainspring.store.base import ClaimRequest, ConfigureRequest, Room

from .conftest import Hands

ID = UUID("0199a0b4-5d11-7c3e-8f0a-2b9d6c1e4f70")


def declare(app: Mainspring) -> None:
    """Write to the store what the code says, as a worker does when it starts."""
    driver = app.store.driver()
    settings = driver.run(ConfigureRequest(read=frozenset({"tasks"})))
    driver.run(ConfigureRequest(app.declared(settings)))
    driver.close()


def claimed(hands: Hands, queue: str = "default", limit: int = 100) -> list[str]:
    """The partitions of the jobs that a worker gets, in order."""
    claims = hands.driver.run(ClaimRequest(hands.id, (Room(queue, limit),), limit)).claims
    return [claim.partition for claim in claims]


# --- which partition, at which cost ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tenant", "partition"), [("acme", "acme"), (7, "7"), (ID, str(ID)), (None, ""), (True, "true")]
)
def test_a_queues_partitions_are_told_by_an_argument(app: Mainspring, tenant: Any, partition: str) -> None:
    app.queue("api", partition="tenant")

    @app.task(queue="api")
    def sync(page: int, tenant: Any = "nobody") -> None: ...

    job = sync.enqueue(1, tenant=tenant)
    assert (job.partition, job.refresh().partition) == (partition, partition)
    assert sync.enqueue(1).refresh().partition == "nobody"
    assert sync.using(queue="other").enqueue(1).partition == ""
    assert sync.using(partition="own").enqueue(1).partition == "own"
    assert sync.using(partition="").enqueue(1).partition == ""
    assert app.jobs.count(partition="nobody") == 1


def test_or_by_a_function_of_the_arguments(app: Mainspring) -> None:
    app.queue("mail", partition=lambda args: args["to"].partition("@")[2])

    @app.task(queue="mail")
    def greet(to: str) -> None: ...

    assert greet.enqueue("a@b.c").refresh().partition == "b.c"


def test_a_task_that_names_no_partition_is_refused_before_anything_is_stored(app: Mainspring) -> None:
    app.queue("api", partition="tenant")

    @app.task(queue="api")
    def clean(page: int = 1) -> None: ...

    @app.task(queue="api")
    def sync(tenant: str) -> None: ...

    with pytest.raises(InvalidOption, match=r"'api' .* 'tenant', which task 'clean' does not have"):
        clean.enqueue()
    with pytest.raises(InvalidOption, match=r"task 'sync' in queue 'api': partition name ' x' begins or ends"):
        sync.enqueue(" x")
    assert app.jobs.count() == 0
    assert clean.using(partition="house").enqueue().partition == "house"


def test_costs(app: Mainspring) -> None:
    @app.task(cost=3)
    def sync(page: int) -> None: ...

    assert sync.enqueue(1).refresh().cost == 3
    assert sync.using(cost=7).enqueue(1).refresh().cost == 7
    for wrong in (0, True, 1.5, "2"):
        with pytest.raises(InvalidOption, match="cost="):
            sync.using(cost=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("partition", [" a", "a\x00", "x" * 201, ["a"]])
def test_wrong_partitions_are_refused(app: Mainspring, partition: Any) -> None:
    @app.task
    def sync(page: int) -> None: ...

    with pytest.raises(InvalidOption, match="partition"):
        sync.using(partition=partition)
    for verb in (app.queues.pause, app.queues.resume, app.queues.partition):
        with pytest.raises(InvalidOption, match="partition"):
            verb("default", partition)


def test_jobs_of_a_schedule_have_partition_and_cost(app: Mainspring) -> None:
    app.queue("api", partition="tenant", max_queued=2)

    @app.task(queue="api", cost=5)
    def sync(tenant: str) -> None: ...

    app.every("1h", args={"tenant": "acme"})(sync)
    (put,) = app.declared_schedules(0)
    assert (put.partition, put.cost) == ("acme", 5)
    declare(app)
    job = app.schedules.run_now("sync").refresh()
    assert (job.partition, job.cost) == ("acme", 5)
    app.schedules.run_now("sync")
    with pytest.raises(QueueFull):
        app.schedules.run_now("sync")


# --- full queues -----------------------------------------------------------------------------------------------------


def test_a_full_queue_takes_no_more_until_there_is_room(app: Mainspring, hands: Hands) -> None:
    app.queue("email", max_queued=2)
    declare(app)

    @app.task(queue="email")
    def mail(n: int) -> None: ...

    first = mail.enqueue(1)
    mail.using(delay="1h").enqueue(2)
    with pytest.raises(QueueFull, match="queue 'email' has 2 jobs waiting") as refused:
        mail.enqueue(3)
    assert (refused.value.queue, refused.value.partition, refused.value.limit) == ("email", None, 2)
    assert mail.using(id=first.id).enqueue(1).existed  # it is there already: nothing more would wait
    hands.complete(queue="email")
    mail.enqueue(3)
    assert app.jobs.count(queue="email") == 3


def test_many_jobs_are_stored_together_or_not_at_all(app: Mainspring) -> None:
    app.queues.set_limits("default", max_queued=3)

    @app.task
    def mail(n: int) -> None: ...

    with pytest.raises(QueueFull):
        app.enqueue_many(mail.job(n) for n in range(4))
    assert app.jobs.count() == 0
    assert len(app.enqueue_many(mail.job(n) for n in range(3))) == 3


async def test_a_full_queue_costs_those_that_are_committed_together_nothing(app: Mainspring) -> None:
    await app.queues.aset_limits("default", max_queued=5)

    @app.task
    async def mail(n: int) -> None: ...

    given = await asyncio.gather(*(mail.aenqueue(n) for n in range(20)), return_exceptions=True)
    assert sum(isinstance(each, QueueFull) for each in given) == 15
    assert await app.jobs.acount() == 5
    await app.aclose()


def test_a_full_partition_leaves_the_others_room(app: Mainspring) -> None:
    app.queue("api", partition="tenant", per_partition=Limits(max_queued=1), partitions={"big": Limits(max_queued=2)})
    declare(app)

    @app.task(queue="api")
    def sync(tenant: str) -> None: ...

    for tenant in ("acme", "bolt", "big", "big"):
        sync.enqueue(tenant)
    with pytest.raises(QueueFull, match="partition 'acme' of queue 'api' has 1 jobs waiting") as refused:
        sync.enqueue("acme")
    assert refused.value.partition == "acme"


# --- what an operator says -------------------------------------------------------------------------------------------


def test_what_is_not_given_stays(app: Mainspring) -> None:
    app.queues.set_limits("email", rate=["50/1m", Rate(10)], concurrency=5)
    app.queues.set_limits("email", max_queued=100)
    app.queues.set_limits("email", concurrency=None)
    (view,) = app.queues.list()
    assert (view.concurrency, view.rates, view.max_queued) == (None, (Rate(50, "1m"), Rate(10)), 100)
    app.queues.set_limits("email", rate=None)
    assert app.queues.list()[0].rates == ()


def test_an_operators_word_wins_over_the_codes_setting_by_setting(app: Mainspring) -> None:
    app.queue("email", concurrency=5, rate="10/s", sequence=True)
    app.queues.set_limits("email", concurrency=2)
    declare(app)
    (view,) = app.queues.list()
    assert (view.concurrency, view.rates, view.sequence, view.opens_at) == (2, (Rate(10),), "block", None)


def test_partitions_show_what_is_set_for_them_and_what_is_in_them(app: Mainspring, hands: Hands) -> None:
    app.queue("api", partition="tenant", per_partition=Limits(concurrency=2), partitions={"acme": Limits(weight=3)})
    declare(app)

    @app.task(queue="api")
    def sync(tenant: str) -> None: ...

    for tenant in ("acme", "acme", "bolt"):
        sync.enqueue(tenant)
    app.queues.set_limits("api", partition="bolt", rate="1/1h", concurrency=None)
    app.queues.pause("api", partition="cork")
    acme, bolt, cork = app.queues.partitions("api")
    assert (acme.name, acme.limits, acme.counts) == ("acme", Limits(2, weight=3), {State.QUEUED: 2})
    assert (bolt.name, bolt.limits, bolt.paused) == ("bolt", Limits(None, "1/1h"), False)
    assert (cork.name, cork.paused, cork.counts) == ("cork", True, {})
    assert claimed(hands, "api").count("bolt") == 1
    assert app.queues.partition("api", "bolt").opens_at is not None
    assert app.queues.partition("api", "nobody").limits == Limits(2)
    app.queues.resume("api", partition="cork")
    assert not app.queues.partition("api", "cork").paused
    assert app.queues.partitions("email") == []


def test_limits_of_every_partition(app: Mainspring, hands: Hands) -> None:
    @app.task
    def sync(n: int) -> None: ...

    app.queues.set_limits("default", per_partition=True, concurrency=1)
    app.enqueue_many(sync.using(partition=tenant).job(n) for n in range(3) for tenant in ("acme", "bolt"))
    assert sorted(claimed(hands)) == ["acme", "bolt"]
    assert app.queues.list()[0].per_partition == Limits(1)


def test_a_paused_partition_gives_no_jobs_and_the_others_do(app: Mainspring, hands: Hands) -> None:
    @app.task
    def sync(n: int) -> None: ...

    app.queues.pause("default", "acme")
    app.enqueue_many(sync.using(partition=tenant).job(n) for n in range(2) for tenant in ("acme", "bolt"))
    assert claimed(hands) == ["bolt", "bolt"]
    assert not app.queues.list()[0].paused
    app.queues.resume("default", "acme")
    assert claimed(hands) == ["acme", "acme"]


def test_limits_of_a_task(app: Mainspring, hands: Hands) -> None:
    @app.task(concurrency=2, rate="100/s")
    def scarce(n: int) -> None: ...

    @app.task
    def free(n: int) -> None: ...

    declare(app)
    app.enqueue_many([*(scarce.job(n) for n in range(5)), *(free.job(n) for n in range(5))])
    assert len(claimed(hands)) == 7
    (view,) = app.queues.task_limits()
    assert (view.name, view.concurrency, view.rates, view.opens_at) == ("scarce", 2, (Rate(100),), None)
    app.queues.set_task_limits("scarce", concurrency=3, rate=None)
    assert len(claimed(hands)) == 1
    (view,) = app.queues.task_limits()
    assert (view.concurrency, view.rates) == (3, ())


async def test_the_async_doors(app: Mainspring) -> None:
    await app.queues.aset_limits("api", partition="acme", weight=2)
    await app.queues.aset_task_limits("sync", rate="5/s")
    await app.queues.apause("api", "acme")
    (view,) = await app.queues.apartitions("api")
    assert (view.limits.weight, view.paused) == (2, True)
    assert (await app.queues.apartition("api", "acme")) == view
    assert [task.name for task in await app.queues.atask_limits()] == ["sync"]
    await app.queues.aresume("api", "acme")
    await app.aclose()


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"concurrency": 0},
        {"rate": "often"},
        {"rate": 5},
        {"max_queued": -1},
        {"max_queued": 10**30},
        {"concurrency": 10**30},
        {"weight": 2},
        {"partition": "acme", "weight": 0},
        {"partition": "acme", "weight": None},
        {"partition": "acme", "per_partition": True, "rate": "5/s"},
    ],
)
def test_wrong_limits_change_nothing(app: Mainspring, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption):
        app.queues.set_limits("email", **wrong)
    assert app.queues.list() == []


@pytest.mark.parametrize("wrong", [{}, {"concurrency": 0}, {"rate": 5}])
def test_wrong_limits_of_a_task_change_nothing(app: Mainspring, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption):
        app.queues.set_task_limits("mail", **wrong)
    assert app.queues.task_limits() == []


# --- rate limited by others ------------------------------------------------------------------------------------------


def test_a_rate_limited_job_closes_its_queue_and_keeps_its_attempt(app: Mainspring, hands: Hands) -> None:
    @app.task
    def call(n: int) -> None: ...

    first = call.enqueue(1)
    call.enqueue(2)
    hands.settle(hands.claim(), Outcome.rate_limited(60_000, "429"))
    assert (first.refresh().state, first.attempt, first.reason) == ("queued", 0, "rate limited for 1m: 429")
    assert first.attempts == ()
    assert claimed(hands) == []
    (view,) = app.queues.list()
    assert view.opens_at is not None
