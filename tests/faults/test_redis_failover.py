"""Another server becomes the primary, another node gets the slot: found by sentinels, by the nodes of the cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from servers.cluster import Cluster, running_cluster
from servers.sentinels import Sentinels, running_sentinels
from worker.scene import wait_until

from mainspring.errors import StoreBusy, StoreError, StoreUnavailable
from mainspring.store.base import SchemaStatus
from mainspring.store.redis import RedisStore, drivers

from .redis_scene import CLAIM, COUNT, INSERT, Tally, blocking, both, scripts

__all__ = ["scripts"]

pytestmark = pytest.mark.usefixtures("scripts")


@contextmanager
def at_work(caller: Any, store: Tally, problems: list[StoreError]) -> Iterator[list[int]]:
    """Somebody who inserts all the while; what he was answered."""
    answers, enough = list[int](), threading.Event()

    def work() -> None:
        with caller(store) as ask:
            while not enough.is_set():
                try:
                    answers.append(ask(INSERT))
                except StoreError as error:
                    problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(answers) > 50)
        yield answers
        seen = len(answers)
        wait_until(lambda: len(answers) > seen + 50)
    finally:
        enough.set()
        for thread in threads:
            thread.join()


# --- sentinels -------------------------------------------------------------------------------------------------------


@pytest.fixture
def sentinels() -> Iterator[Sentinels]:
    with running_sentinels() as sentinels:
        yield sentinels


@both
def test_callers_follow_a_fail_over_that_somebody_ordered(sentinels: Sentinels, caller: Any) -> None:
    problems = list[StoreError]()
    with at_work(caller, Tally(sentinels.url), problems):
        sentinels.fail_over()
    assert problems == []


@both
def test_callers_find_the_new_primary_when_the_old_one_has_died(sentinels: Sentinels, caller: Any) -> None:
    problems = list[StoreError]()
    with at_work(caller, Tally(sentinels.url), problems):
        sentinels.kill_primary()
    assert all(isinstance(error, StoreUnavailable) for error in problems)


def test_a_sentinel_that_died_or_hangs_is_passed_over(sentinels: Sentinels) -> None:
    sentinels.sentinels[0].kill()
    with blocking(Tally(sentinels.url)) as ask, sentinels.sentinels[1].frozen():
        assert ask(INSERT) == 1
        with blocking(Tally(sentinels.url)) as other:
            assert other(CLAIM) == 2


@both
def test_who_asks_for_a_service_that_no_sentinel_knows_is_told(sentinels: Sentinels, caller: Any) -> None:
    with (
        caller(Tally(sentinels.url.replace("/shop", "/stop"))) as ask,
        pytest.raises(StoreUnavailable, match="no sentinel knows of a service named 'stop'"),
    ):
        ask(COUNT)


def test_who_listens_hears_again_after_a_fail_over(sentinels: Sentinels) -> None:
    with closing(RedisStore(sentinels.url).driver()) as driver:
        watch = driver.watch(("queue:default",))
        sentinels.kill_primary()
        wait_until(lambda: watch.wait(0.5))
        wait_until(lambda: sentinels.primary.ask("PUBLISH", "{mainspring}:hint:queue:default", "") and watch.wait(1))


# --- a cluster -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster(replicas=True) as cluster:
        yield cluster


@pytest.fixture
def place(cluster: Cluster, request: pytest.FixtureRequest) -> str:
    """A namespace of the test's own in the cluster, as a URL."""
    return f"{cluster.url}?namespace=test.{time.monotonic_ns()}"


def slot_of(status: SchemaStatus) -> int:
    return int(status.location.partition("slot ")[2].partition(" ")[0])


@both
def test_any_node_leads_to_the_one_that_has_the_slot(cluster: Cluster, caller: Any) -> None:
    for node in cluster.nodes:
        for name in "abc":
            with caller(Tally(f"redis+cluster://{node.address}?namespace={name}")) as ask:
                before = ask(COUNT)
                assert ask(INSERT) == before + 1


def test_doctor_shows_the_slot(cluster: Cluster, place: str) -> None:
    status = RedisStore(place).schema()
    assert "of a cluster" in status.location
    assert slot_of(status) == cluster.nodes[0].ask("CLUSTER", "KEYSLOT", place.rpartition("=")[2])


@both
def test_a_slot_that_moves_is_followed(cluster: Cluster, place: str, caller: Any) -> None:
    store, problems = Tally(place), list[StoreError]()
    slot = slot_of(store.schema())
    with at_work(caller, store, problems) as answers:
        cluster.migrate(slot, cluster.other(cluster.holder(slot)))
    assert problems == []
    with blocking(store) as ask:
        assert ask(COUNT) == len(answers) == max(answers)


@both
def test_while_a_slot_is_on_its_way_nothing_is_done_by_halves(
    cluster: Cluster, place: str, caller: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither node has all of it: a script that ran at the new one would not see what is still at the old one."""
    monkeypatch.setattr(drivers, "OPERATION_SECONDS", 1.0)
    monkeypatch.setattr(drivers, "GRACE_SECONDS", 20.0)
    store = Tally(place)
    slot = slot_of(store.schema())
    with caller(store) as ask:
        assert ask(INSERT) == 1
        to = cluster.other(cluster.holder(slot))
        cluster.begin_migration(slot, to)
        assert cluster.move_keys(slot, to, most=1) == 1
        for request in (INSERT, CLAIM, COUNT):
            with pytest.raises(StoreBusy, match="moving the slot"):
                ask(request)
        # Who has to connect first needs longer on a busy machine.
        monkeypatch.setattr(drivers, "OPERATION_SECONDS", 3.0)
        with caller(store) as newcomer, pytest.raises(StoreBusy, match="moving the slot"):
            newcomer(INSERT)
        cluster.move_keys(slot, to)
        cluster.end_migration(slot, to)
        assert ask(INSERT) == 2


@both
def test_a_fail_over_in_the_cluster_is_followed(cluster: Cluster, place: str, caller: Any) -> None:
    store, problems = Tally(place), list[StoreError]()
    slot = slot_of(store.schema())
    was = cluster.holder(slot)
    with at_work(caller, store, problems):
        cluster.fail_over(slot)
    assert problems == []
    cluster.fail_back(slot, was)


@pytest.mark.fault("fail-over", "redis")
def test_a_primary_that_dies_is_replaced_by_its_replica(cluster: Cluster, place: str) -> None:
    store, problems = Tally(place), list[StoreError]()
    slot = slot_of(store.schema())
    with at_work(blocking, store, problems):
        was = cluster.kill(slot)
    assert all(isinstance(error, StoreUnavailable) for error in problems)
    was.start()
    cluster.fail_back(slot, was)
