"""Gates: a queue, a task and a partition let through what their limits allow, in any stretch of time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from random import Random
from typing import Any

import pytest

from mainspring.model.job import Claim, NewJob
from mainspring.model.limits import BUCKETS, Limits, Rate
from mainspring.model.states import FINAL, State
from mainspring.store.base import (
    Change,
    ClaimRequest,
    DefineQueue,
    DefineTask,
    LimitPartition,
    LimitQueue,
    LimitTask,
    Room,
    Store,
    TaskRecord,
    Verb,
)

from .scene import ALL_ENDED, LEASE_MS, T0, Scene, settlement

DAY = 86_400_000

SECOND = Rate(5, "1s")


class Gate(StrEnum):
    """What keeps one and the same kind of limits."""

    QUEUE = "queue"
    TASK = "task"
    PARTITION = "partition"

    def defined(self, concurrency: int | None = None, *rates: Rate) -> Change:
        """The code's word."""
        if self is Gate.PARTITION:
            return DefineQueue("default", each=Limits(concurrency, rates))
        return (DefineQueue if self is Gate.QUEUE else DefineTask)(self.of, concurrency, rates)

    def limited(self, **limits: Any) -> Change:
        """An operator's word."""
        if self is Gate.PARTITION:
            return LimitPartition("default", self.of, **limits)
        return (LimitQueue if self is Gate.QUEUE else LimitTask)(self.of, **limits)

    @property
    def of(self) -> str:
        return {Gate.QUEUE: "default", Gate.TASK: "task", Gate.PARTITION: "p"}[self]

    def job(self, id: str, cost: int = 1, **fields: Any) -> NewJob:
        """A job that has to pass."""
        return NewJob(id, "task", partition="p" if self is Gate.PARTITION else "", cost=cost, **fields)

    def jobs(self, count: int) -> list[NewJob]:
        return [self.job(f"{number:04}") for number in range(count)]

    def opens_at(self, scene: Scene) -> int | None:
        if self is Gate.PARTITION:
            return scene.partition("p").opens_at
        if self is Gate.TASK:
            return task(scene).opens_at
        (record,) = scene.configure().queues
        return record.opens_at


any_gate = pytest.mark.parametrize("gate", Gate)


def task(scene: Scene, name: str = "task") -> TaskRecord:
    """The gate of one task."""
    (record,) = (record for record in scene.configure().tasks if record.name == name)
    return record


def ids(claims: Sequence[Claim]) -> list[str]:
    return [claim.id for claim in claims]


def ready(scene: Scene, *changes: Change) -> Scene:
    """A worker that lives as long as any test, and settings."""
    scene.join(lease_ms=365 * DAY)
    scene.configure(*changes)
    return scene


class Starts:
    """All that has started through a gate: the exact log that its rates are measured by."""

    def __init__(self, *rates: Rate) -> None:
        self.rates = rates
        self.log: list[tuple[int, int]] = []

    def add(self, at: int, cost: int = 1) -> None:
        self.log.append((at, min([cost, *(rate.limit for rate in self.rates)])))

    def most(self, per_ms: int) -> int:
        """The most that has started in any stretch of time of that length."""
        log = sorted(self.log)
        most = spent = first = 0
        for at, cost in log:
            spent += cost
            while log[first][0] <= at - per_ms:
                spent -= log[first][1]
                first += 1
            most = max(most, spent)
        return most

    def opens_at(self, cost: int, now: int) -> int:
        """When a job of that cost may start, to the millisecond."""
        return max([now, *(self._frees_at(rate, cost, now) for rate in self.rates)])

    def _frees_at(self, rate: Rate, cost: int, now: int) -> int:
        price = min(cost, *(each.limit for each in self.rates), rate.limit)
        for time in sorted({now, *(at + rate.per_ms for at, _ in self.log if at + rate.per_ms > now)}):
            if price + sum(each for at, each in self.log if at > time - rate.per_ms) <= rate.limit:
                return time
        raise AssertionError("what costs no more than the limit fits at last")

    @property
    def late_ms(self) -> int:
        """By how much a gate may open later than it could."""
        return max(-(-rate.per_ms // BUCKETS) for rate in self.rates)

    def check(self) -> None:
        for rate in self.rates:
            assert self.most(rate.per_ms) <= rate.limit, rate


RATES = [
    (Rate(5, "1s"),),
    (Rate(1, "1s"),),
    (Rate(3, "50ms"),),
    (Rate(7, 0.333),),
    (Rate(20, "1m"),),
    (Rate(10, "1s"), Rate(25, "10s")),
]


class TestRates:
    """No more than so many starts in any stretch of time, and no fewer where more wait."""

    @pytest.mark.parametrize("rates", RATES, ids=lambda rates: "+".join(map(str, rates)))
    @any_gate
    def test_a_rate_holds_in_every_stretch_of_time(self, scene: Scene, gate: Gate, rates: tuple[Rate, ...]) -> None:
        """Arrivals and claims lie where they hurt: at the edges of fixed windows, and where old starts go out of sight;
        and each time that nothing comes, the store says when, to a hundredth of the rate's length."""
        ready(scene, gate.defined(None, *rates))
        scene.join("other", lease_ms=365 * DAY)
        random, starts, waiting = Random(f"{gate} {rates}"), Starts(*rates), list[NewJob]()
        for turn in range(60):
            scene.now = next_time(random, scene.now, starts)
            if len(waiting) < 2:
                arriving = [gate.job(f"{turn:03} {n:03}", random.choice((1, 1, 1, 2, 9))) for n in range(12)]
                scene.insert(*arriving)
                waiting += arriving
            limit = random.choice((1, 3, 10, 30))
            reply = scene.claim_reply(random.choice(("worker", "other")), limit=limit)
            started, waiting = waiting[: len(reply.claims)], waiting[len(reply.claims) :]
            assert ids(reply.claims) == [job.id for job in started]
            for job in started:
                starts.add(scene.now, job.cost)
            if len(started) < limit and waiting:
                opens_at = starts.opens_at(waiting[0].cost, scene.now)
                assert reply.next_due is not None
                assert max(opens_at, scene.now + 1) <= reply.next_due <= opens_at + starts.late_ms
            if random.random() < 0.5:
                scene.settle(*map(settlement, reply.claims))
        starts.check()
        assert len(starts.log) >= 12

    @any_gate
    def test_waiting_jobs_start_as_fast_as_they_may(self, scene: Scene, gate: Gate) -> None:
        rate = Rate(10, "1s")
        ready(scene, gate.defined(None, rate))
        scene.insert(*gate.jobs(200))
        starts = Starts(rate)
        while len(starts.log) < 200:
            reply = scene.claim_reply()
            for claim in reply.claims:
                starts.add(claim.started_at)
            if len(starts.log) < 200:
                assert reply.next_due is not None
                scene.now = reply.next_due
        starts.check()
        assert 19_000 <= scene.now - T0 <= 19_000 * 1.02

    @any_gate
    def test_what_started_counts_for_its_whole_length(self, scene: Scene, gate: Gate) -> None:
        """Also across the edge of a second, and of a minute."""
        ready(scene, gate.defined(None, SECOND, Rate(8, "1m")))
        scene.insert(*gate.jobs(20))
        scene.now = (T0 // 60_000 + 1) * 60_000 - 1
        assert len(scene.claim()) == 5
        scene.later(1)
        assert scene.claim() == ()
        scene.later(998)
        assert scene.claim() == ()
        scene.later(1 + 10)
        assert len(scene.claim()) == 3
        scene.later(58_000)
        assert scene.claim() == ()
        scene.later(1_600)
        assert len(scene.claim()) == 5

    @any_gate
    def test_what_has_ended_has_started_all_the_same(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(None, SECOND))
        scene.insert(*gate.jobs(10))
        states = (*sorted(FINAL), State.QUEUED, State.SCHEDULED)
        claims = scene.claim()
        assert len(claims) == 5
        scene.settle(*(settlement(claim, state) for claim, state in zip(claims, states, strict=True)))
        scene.later(1)
        assert scene.alter(Verb.DELETE, claims[0].id) == 1
        assert scene.prune(ALL_ENDED) == 2
        scene.later(990)
        assert scene.claim() == ()

    @any_gate
    def test_every_start_counts_also_that_of_a_retry(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(None, SECOND))
        scene.insert(gate.job("a"))
        for _ in range(5):
            scene.settle(settlement(scene.claim_one(), State.SCHEDULED))
        assert scene.claim() == ()
        scene.later(1010)
        assert ids(scene.claim()) == ["a"]

    @any_gate
    def test_a_job_that_is_leased_anew_starts_but_once(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(None, Rate(2, "1h")))
        scene.join("dead")
        scene.insert(gate.job("a"), gate.job("b"), gate.job("c"))
        scene.claim_one("dead")
        scene.later(LEASE_MS + 1)
        assert ids(scene.reap()) == ["a"]
        assert ids(scene.claim()) == ["b"]

    @any_gate
    def test_rooms_and_workers_share_a_rate(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(None, SECOND))
        scene.join("other")
        scene.insert(*gate.jobs(10))
        assert len(scene.claim("worker", Room("default", 2), Room("default", 2))) == 4
        assert len(scene.claim("other")) == 1
        assert scene.claim("worker", Room("default", 2), Room("default", 2)) == ()

    @any_gate
    def test_workers_claiming_at_once_keep_it(self, scene: Scene, store: Store, gate: Gate) -> None:
        ready(scene, gate.defined(None, SECOND))
        scene.insert(*gate.jobs(40))
        assert len(claim_at_once(scene, store)) == 5

    @any_gate
    def test_a_job_counts_for_what_it_costs(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(None, Rate(10, "1s")))
        scene.insert(gate.job("a", 4), gate.job("b", 5), gate.job("c", 1), gate.job("d", 1))
        assert ids(scene.claim()) == ["a", "b", "c"]

    @any_gate
    def test_a_dear_job_is_waited_for_by_the_cheap_ones_behind_it(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(None, Rate(10, "1s")))
        scene.insert(gate.job("a", 7), gate.job("b", 4), gate.job("c", 1))
        assert ids(scene.claim()) == ["a"]
        reply = scene.claim_reply()
        assert reply.claims == ()
        assert reply.next_due is not None
        assert T0 + 1000 <= reply.next_due <= T0 + 1010
        scene.now = reply.next_due
        assert ids(scene.claim()) == ["b", "c"]

    @any_gate
    def test_a_job_dearer_than_the_rate_takes_all_of_it(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(None, Rate(10, "1s"), Rate(30, "1m")))
        scene.insert(gate.job("a"), gate.job("b", 1_000_000), gate.job("c"))
        assert ids(scene.claim()) == ["a"]
        scene.later(1010)
        assert ids(scene.claim()) == ["b"]
        scene.later(1010)
        assert ids(scene.claim()) == ["c"]

    @any_gate
    def test_where_there_is_no_rate_nobody_asks_for_the_cost(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(2))
        scene.insert(gate.job("a", 1_000_000), gate.job("b", 1_000_000), gate.job("c"))
        assert ids(scene.claim()) == ["a", "b"]

    @any_gate
    def test_a_rate_and_a_concurrency_hold_together(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(2, Rate(3, "1s")))
        scene.insert(*gate.jobs(10))
        claims = scene.claim()
        assert len(claims) == 2
        scene.settle(*map(settlement, claims))
        assert len(scene.claim()) == 1
        scene.later(1010)
        assert len(scene.claim()) == 1


def next_time(random: Random, now: int, starts: Starts) -> int:
    """Where to look next, at or after `now`: mostly within a millisecond of something that might matter."""
    per_ms = random.choice(starts.rates).per_ms
    times = [now, now + 1, now + per_ms // 3]
    times += [(now // per_ms + 1) * per_ms + off for off in (-1, 0, 1)]
    if starts.log:
        opens_at = starts.opens_at(1, now)
        times += [opens_at + off for off in (-1, 0, 1, starts.late_ms)] * 2
        times += [at + per_ms + off for at, _ in random.sample(starts.log[-10:], 1) for off in (-1, 0, 1)]
    return max(now, random.choice(times))


def claim_at_once(scene: Scene, store: Store) -> list[str]:
    """What four workers get who claim at the same time, again and again."""
    workers = ["a", "b", "c", "d"]
    for worker in workers:
        scene.join(worker)

    def claim(worker: str) -> list[str]:
        driver = store.driver()
        try:
            asked = [ClaimRequest(worker, (Room("default", 2),), 2, now=scene.now)] * 5
            return [claim.id for request in asked for claim in driver.run(request).claims]
        finally:
            driver.close()

    with ThreadPoolExecutor() as pool:
        return [id for mine in pool.map(claim, workers) for id in mine]


class TestChangedLimits:
    """Limits are settings: they change while everything runs, and what has started stays started."""

    @any_gate
    def test_a_lowered_rate_counts_what_has_started(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(None, Rate(10, "1s")))
        scene.insert(*gate.jobs(30))
        assert len(scene.claim(limit=6)) == 6
        scene.configure(gate.limited(rates=(Rate(4, "1s"),)))
        assert scene.claim() == ()
        scene.later(1010)
        assert len(scene.claim()) == 4

    @any_gate
    def test_a_raised_rate_gives_what_it_has_more(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(None, SECOND))
        scene.insert(*gate.jobs(30))
        assert len(scene.claim()) == 5
        assert scene.claim() == ()
        scene.configure(gate.limited(rates=(Rate(8, "1s"),)))
        assert len(scene.claim()) == 3

    @any_gate
    def test_a_longer_rate_counts_what_the_shorter_one_saw(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(None, SECOND))
        scene.insert(*gate.jobs(30))
        assert len(scene.claim()) == 5
        scene.later(500)
        scene.configure(gate.limited(rates=(Rate(7, "1m"),)))
        assert len(scene.claim()) == 2
        scene.later(59_400)
        assert scene.claim() == ()
        scene.later(2_000)
        assert len(scene.claim()) == 7

    @any_gate
    def test_a_shorter_rate_counts_what_the_longer_one_saw(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(None, Rate(5, "1m")))
        scene.insert(*gate.jobs(30))
        assert len(scene.claim()) == 5
        scene.configure(gate.limited(rates=(Rate(6, "1s"),)))
        assert len(scene.claim()) == 1
        scene.later(990)
        assert scene.claim() == ()

    @any_gate
    def test_a_changing_rate_holds_in_every_stretch_of_time(self, scene: Scene, gate: Gate) -> None:
        """Of each length, no more start than the highest limit that was in force within it."""
        ready(scene, gate.defined(None, Rate(8, "1s")))
        scene.insert(*gate.jobs(150))
        random, starts, since = Random(gate), Starts(Rate(8, "1s")), 0
        for limit in (8, 2, 5, 1, 8, 3):
            scene.configure(gate.limited(rates=(Rate(limit, "1s"),)))
            for _ in range(12):
                scene.now = next_time(random, scene.now, starts)
                for claim in scene.claim():
                    starts.add(claim.started_at)
            starts.check()
            inside = Starts(Rate(limit, "1s"))
            inside.log = starts.log[since:]
            inside.check()
            assert inside.log
            since = len(starts.log)

    @any_gate
    def test_a_rate_comes_and_goes(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined())
        scene.insert(*gate.jobs(30))
        assert len(scene.claim(limit=3)) == 3
        scene.configure(gate.limited(rates=(Rate(4, "1s"),)))
        assert 1 <= len(scene.claim()) <= 4
        assert scene.claim() == ()
        scene.configure(gate.limited(rates=()))
        assert len(scene.claim(limit=20)) == 20

    @any_gate
    def test_a_raised_concurrency_gives_what_it_has_more(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(2))
        scene.insert(*gate.jobs(10))
        assert len(scene.claim()) == 2
        assert scene.claim() == ()
        scene.configure(gate.limited(concurrency=5))
        assert len(scene.claim()) == 3

    @any_gate
    def test_a_lowered_concurrency_waits_until_there_is_room(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(3))
        scene.insert(*gate.jobs(10))
        claims = scene.claim()
        scene.configure(gate.limited(concurrency=2))
        scene.settle(settlement(claims[0]))
        assert scene.claim() == ()
        scene.settle(settlement(claims[1]))
        assert len(scene.claim()) == 1

    @any_gate
    def test_a_lifted_concurrency_lets_all_through(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(2))
        scene.insert(*gate.jobs(10))
        assert len(scene.claim()) == 2
        scene.configure(gate.limited(concurrency=None))
        assert len(scene.claim()) == 8

    @any_gate
    def test_an_operators_word_outlives_the_codes_setting_by_setting(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.limited(concurrency=1), gate.defined(4, SECOND))
        scene.insert(*gate.jobs(20))
        assert len(scene.claim()) == 1
        scene.configure(gate.limited(rates=(Rate(3, "1s"),)), gate.defined(9, Rate(9, "1s")))
        assert scene.claim() == ()
        scene.configure(gate.limited(concurrency=None))
        assert len(scene.claim()) == 2
