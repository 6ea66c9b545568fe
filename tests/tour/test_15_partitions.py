"""15. Partitions: everybody gets a turn

One tenant imports a million rows; another wants one mail sent. In a plain queue the mail waits behind the million. A
*partitioned* queue is dealt out by an argument of its jobs: each tenant has a partition, and partitions take turns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from mainspring import Limits, Mainspring, QueueFull, Rate
from mainspring.testing import drain, isolated

app = Mainspring("sqlite://")
app.queue(
    "api",
    partition="tenant_id",
    per_partition=Limits(max_queued=1000),
    partitions={"acme": Limits(weight=2), "free": Limits(max_queued=2)},
)
app.queue("mail", partition=lambda args: args["to"].partition("@")[2], per_partition=Limits(rate="1/1h"))
app.queue("ledger", partition="account", sequence=True)
app.queue("feed", partition="feed", sequence=True, on_failure="skip")

order: list[str] = []


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    """An empty store for each test."""
    order.clear()
    with isolated(app):
        yield


@app.task(queue="api")
def sync(tenant_id: str, page: int) -> None:
    order.append(tenant_id)


def test_partitions_take_turns() -> None:
    """However many jobs the one has; within a partition the order is that of every queue."""
    app.enqueue_many(sync.job("bolt", page) for page in range(100))
    app.enqueue_many(sync.job("cork", page) for page in range(3))
    assert drain(app).completed == 103
    assert sorted(order[:6]) == ["bolt", "bolt", "bolt", "cork", "cork", "cork"]


def test_a_weight_gives_a_larger_share() -> None:
    """`partitions={"acme": Limits(weight=2)}`, above: two turns to everybody else's one."""
    app.enqueue_many(sync.job(tenant, page) for tenant in ("acme", "bolt", "cork") for page in range(100))
    drain(app, limit=1000)
    assert Counter(order[:80]) == {"acme": 40, "bolt": 20, "cork": 20}


@app.task(queue="mail")
def mail(to: str) -> None: ...


def test_each_partition_can_have_limits() -> None:
    """`per_partition` holds for each, `partitions` for single ones, setting by setting. The partition can be told by a
    function of the arguments; here it is the domain of an address."""
    app.enqueue_many(mail.job(to) for to in ("ann@a.org", "bob@a.org", "cy@b.org"))
    assert [job.partition for job in drain(app).jobs] == ["a.org", "b.org"]
    app.queues.set_limits("mail", partition="a.org", rate="100/1s")
    assert drain(app).completed == 1
    assert app.queues.partition("mail", "a.org").limits.rates == (Rate(100),)


def test_one_partition_can_be_full_while_others_are_not() -> None:
    for page in range(2):
        sync.enqueue("free", page)
    with pytest.raises(QueueFull, match="partition 'free' of queue 'api'"):
        sync.enqueue("free", 2)
    sync.enqueue("acme", 2)


def test_one_partition_can_be_paused() -> None:
    """Also `mainspring queues pause api --partition acme`."""
    app.queues.pause("api", partition="acme")
    app.enqueue_many([sync.job("acme", 1), sync.job("bolt", 1)])
    assert [job.partition for job in drain(app).jobs] == ["bolt"]
    acme, free = app.queues.partitions("api")
    assert (acme.name, acme.paused, acme.counts) == ("acme", True, {"queued": 1})
    assert (free.name, free.paused, free.counts) == ("free", False, {})
    app.queues.resume("api", partition="acme")
    assert drain(app).completed == 1


def test_a_job_can_be_put_into_a_partition_of_ones_choice() -> None:
    assert sync.enqueue("cork", 1).partition == "cork"
    assert sync.using(partition="bulk").enqueue("cork", 1).partition == "bulk"
    assert sync.using(partition="").enqueue("cork", 1).partition == ""


closed: set[str] = {"A"}


@app.task(queue="ledger", retry=1)
def book(account: str, amount: int) -> None:
    if account in closed:
        raise ValueError(f"account {account} is closed")
    order.append(f"{account} {amount:+}")


def test_a_sequence_runs_one_at_a_time_in_order() -> None:
    """Per partition: the bookings of one account each after the other, those of different accounts side by side."""
    app.enqueue_many(book.job(account, amount) for amount in (1, 2, 3) for account in "BC")
    drain(app, concurrency=4)
    assert [entry for entry in order if entry[0] == "B"] == ["B +1", "B +2", "B +3"]
    assert [entry for entry in order if entry[0] == "C"] == ["C +1", "C +2", "C +3"]


def test_a_dead_one_holds_up_those_behind_it() -> None:
    """The next one starts when the one before has ended *for good*, retries included. One that is dead keeps the others
    of its partition waiting until it is retried or deleted: booking on would be wrong."""
    first, second, other = app.enqueue_many([book.job("A", 1), book.job("A", 2), book.job("B", 1)])
    drain(app)
    assert order == ["B +1"]
    assert [job.refresh().state for job in (first, second, other)] == ["dead", "queued", "completed"]
    assert app.queues.partition("ledger", "A").holder == first.id

    closed.clear()
    first.retry()
    drain(app)
    assert order == ["B +1", "A +1", "A +2"]


@app.task(queue="feed", retry=1)
def publish(feed: str, post: int) -> None:
    if post == 1:
        raise ValueError("no such post")
    order.append(f"post {post}")


def test_or_does_not() -> None:
    """`on_failure="skip"`: the order is kept, but nobody waits for the dead."""
    app.enqueue_many(publish.job("news", post) for post in (1, 2, 3))
    drain(app)
    assert order == ["post 2", "post 3"]
