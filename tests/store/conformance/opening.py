"""Gates that time opens: closed by a rate, or by a job that was told to come back later."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from mainspring.model.job import NewJob
from mainspring.model.limits import Limits, Rate
from mainspring.model.states import FINAL, State
from mainspring.store.base import (
    Change,
    DefineQueue,
    DefineTask,
    LimitPartition,
    LimitQueue,
    PauseQueue,
    Room,
)

from .gates import SECOND, Gate, any_gate, ids, ready
from .scene import T0, Scene, settlement


class TestClosing:
    """A job that was told "too many requests" closes the narrowest gate that has a rate, for everybody."""

    def limited(self, scene: Scene, *changes: Change, ms: int = 1000) -> None:
        """The first of a few jobs in two partitions, of two tasks, in two queues, closes its gate for so long."""
        ready(scene, *changes)
        scene.insert(NewJob("first", "x", partition="p"))
        claim = scene.claim_one()
        scene.insert(
            *(NewJob(f"{task}{place or '-'}", task, partition=place) for task in "xz" for place in ("p", "q", "")),
            NewJob("x elsewhere", "x", "elsewhere"),
        )
        scene.settle(settlement(claim, State.SCHEDULED, attempt=0, postponed=1, delay_ms=ms, closed_ms=ms))

    BOTH = Room("default", 99), Room("elsewhere", 99)
    ALL = frozenset({"xp", "xq", "x-", "zp", "zq", "z-", "x elsewhere"})
    RATE = (Rate(100, "1s"),)
    PLENTY = Limits(rate=Rate(100, "1s"))

    @pytest.mark.parametrize(
        ("changes", "closed"),
        [
            ((), {"xp", "zp"}),
            ((DefineQueue("default", 50, each=Limits(50)), DefineTask("x", 50)), {"xp", "zp"}),
            ((DefineQueue("default", rates=RATE),), ALL - {"x elsewhere"}),
            ((DefineTask("x", rates=RATE),), {"xp", "xq", "x-", "x elsewhere"}),
            ((DefineTask("x", rates=RATE), DefineQueue("default", rates=RATE)), {"xp", "xq", "x-", "x elsewhere"}),
            ((DefineTask("x", 50), DefineQueue("default", rates=RATE, each=Limits(50))), ALL - {"x elsewhere"}),
            ((DefineTask("z", rates=RATE), DefineQueue("default", rates=RATE)), ALL - {"x elsewhere"}),
            ((DefineQueue("default", rates=RATE, each=PLENTY), DefineTask("x", rates=RATE)), {"xp", "zp"}),
            ((DefineTask("x", rates=RATE), LimitPartition("default", "p", rates=RATE)), {"xp", "zp"}),
            (
                (DefineTask("x", rates=RATE), DefineQueue("default", partitions=(("q", PLENTY),))),
                {"xp", "xq", "x-", "x elsewhere"},
            ),
        ],
        ids=[
            "none",
            "no rate",
            "queue",
            "task",
            "task+queue",
            "slots+queue",
            "other task+queue",
            "all",
            "task+one",
            "task+other",
        ],
    )
    def test_the_narrowest_gate_with_a_rate_is_closed(
        self, scene: Scene, changes: tuple[Change, ...], closed: set[str]
    ) -> None:
        self.limited(scene, *changes)
        assert set(scene.drain("worker", *self.BOTH)) == self.ALL - closed
        scene.later(999)
        assert scene.drain("worker", *self.BOTH) == []
        scene.later(1)
        assert set(scene.drain("worker", *self.BOTH)) == closed | {"first"}

    def test_without_partitions_and_rates_it_is_the_queue(self, scene: Scene) -> None:
        ready(scene)
        scene.insert(NewJob("a", "x"), NewJob("b", "x"), NewJob("c", "z"), NewJob("d", "x", "elsewhere"))
        scene.settle(settlement(scene.claim_one(), State.SCHEDULED, delay_ms=1000, closed_ms=1000))
        reply = scene.claim_reply("worker", *self.BOTH)
        assert (ids(reply.claims), reply.next_due) == (["d"], T0 + 1000)
        scene.later(999)
        assert scene.claim() == ()
        scene.later(1)
        assert ids(scene.claim()) == ["b", "c", "a"]

    @any_gate
    def test_it_opens_again_for_all_that_its_rate_allows(self, scene: Scene, gate: Gate) -> None:
        """What started before it was closed is out of sight by then."""
        ready(scene, gate.defined(None, SECOND))
        scene.insert(*gate.jobs(20))
        scene.settle(settlement(scene.claim_one(), State.SCHEDULED, delay_ms=60_000, closed_ms=3000))
        assert gate.opens_at(scene) == T0 + 3000
        scene.later(2999)
        reply = scene.claim_reply()
        assert (reply.claims, reply.next_due) == ((), T0 + 3000)
        scene.later(1)
        assert len(scene.claim()) == 5

    @any_gate
    def test_a_rate_that_looks_back_further_keeps_it_closed(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(None, Rate(1, "1m")))
        scene.insert(*gate.jobs(3))
        scene.settle(settlement(scene.claim_one(), State.SCHEDULED, delay_ms=1000, closed_ms=1000))
        scene.later(1000)
        reply = scene.claim_reply()
        assert reply.claims == ()
        assert reply.next_due is not None
        assert T0 + 60_000 <= reply.next_due <= T0 + 60_600

    @any_gate
    def test_the_longest_word_counts(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(None, SECOND))
        scene.insert(*gate.jobs(20))
        one, two, three = scene.claim(limit=3)
        scene.settle(settlement(one, State.SCHEDULED, closed_ms=2000, delay_ms=9000))
        scene.settle(
            settlement(two, State.SCHEDULED, closed_ms=5000, delay_ms=9000),
            settlement(three, State.SCHEDULED, closed_ms=3000, delay_ms=9000),
        )
        scene.later(4999)
        assert scene.claim() == ()
        scene.later(1)
        assert len(scene.claim()) == 5

    @any_gate
    def test_what_runs_goes_on(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(None, SECOND))
        scene.insert(*gate.jobs(3))
        one, two, _ = scene.claim()
        scene.settle(settlement(one, State.SCHEDULED, closed_ms=2000, delay_ms=2000))
        assert scene.settle(settlement(two)) == {two.id}

    @pytest.mark.parametrize("state", [*sorted(FINAL), State.QUEUED])
    def test_it_closes_whatever_becomes_of_the_job(self, scene: Scene, state: State) -> None:
        ready(scene, DefineQueue("default", rates=(SECOND,)))
        scene.insert(*"abc")
        scene.settle(settlement(scene.claim_one(), state, closed_ms=500))
        assert scene.claim() == ()
        scene.later(500)
        assert len(scene.claim()) >= 2

    def test_who_lost_its_lease_closes_nothing(self, scene: Scene) -> None:
        ready(scene, DefineQueue("default", rates=(SECOND,)))
        scene.insert(*"abc")
        claim = scene.claim_one()
        stale = replace(settlement(claim, State.SCHEDULED, closed_ms=1000), lease=claim.lease + 1)
        assert scene.settle(stale) == frozenset()
        assert ids(scene.claim()) == ["b", "c"]

    def test_pauses_and_limits_do_not_open_it(self, scene: Scene) -> None:
        ready(scene, DefineQueue("default", rates=(SECOND,)))
        scene.insert(*"abc")
        scene.settle(settlement(scene.claim_one(), State.SCHEDULED, closed_ms=1000, delay_ms=1000))
        scene.configure(PauseQueue("default", True))
        scene.configure(PauseQueue("default", False), LimitQueue("default", rates=(Rate(99, "1s"),)))
        scene.configure(DefineQueue("default", 9))
        assert scene.claim() == ()
        scene.later(1000)
        assert len(scene.claim()) == 3


class TestOpening:
    """When time opens a gate: what a claim says, and what the records say."""

    @any_gate
    def test_next_due_is_when_the_next_one_fits(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(None, SECOND))
        scene.insert(*gate.jobs(5))
        reply = scene.claim_reply()
        assert (len(reply.claims), reply.next_due) == (5, None)
        scene.insert(gate.job("x"))
        reply = scene.claim_reply()
        assert reply.claims == ()
        assert reply.next_due is not None
        scene.now = reply.next_due - 1
        assert scene.claim() == ()
        assert scene.claim_reply().next_due == reply.next_due
        scene.later(1)
        assert ids(scene.claim()) == ["x"]

    @any_gate
    def test_who_gets_less_than_it_asked_for_is_told_when_there_is_more(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(None, SECOND))
        scene.insert(*gate.jobs(6))
        reply = scene.claim_reply()
        assert len(reply.claims) == 5
        assert reply.next_due is not None
        assert T0 + 1000 <= reply.next_due <= T0 + 1010

    @any_gate
    def test_a_scheduled_job_may_be_sooner(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(None, SECOND))
        scene.insert(*gate.jobs(6), gate.job("soon", delay_ms=50))
        assert scene.claim_reply().next_due == T0 + 50
        scene.later(50)
        next_due = scene.claim_reply().next_due
        assert next_due is not None
        assert T0 + 1000 <= next_due <= T0 + 1010

    @any_gate
    def test_slots_do_not_come_with_time(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(1, SECOND))
        scene.insert(*gate.jobs(6))
        assert scene.claim_reply().next_due is None
        reply = scene.claim_reply()
        assert (reply.claims, reply.next_due) == ((), None)

    @any_gate
    def test_nor_do_they_where_the_rate_is_used_up_as_well(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(1, Rate(1, "1s")))
        scene.insert(*gate.jobs(6))
        claim = scene.claim_one()
        assert scene.claim_reply().next_due is None
        scene.settle(settlement(claim))
        assert scene.claim_reply().next_due is not None

    @any_gate
    def test_a_paused_queue_does_not_open_with_time(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(None, SECOND))
        scene.insert(*gate.jobs(6))
        scene.claim()
        scene.configure(PauseQueue("default", True))
        assert scene.claim_reply().next_due is None

    def test_another_queues_gates_are_its_own_matter(self, scene: Scene) -> None:
        ready(scene, DefineQueue("default", None, (SECOND,)))
        scene.insert(*(f"{n}" for n in range(6)))
        scene.claim()
        assert scene.claim_reply("worker", Room("elsewhere", 9)).next_due is None
        assert scene.claim_reply("worker", Room("elsewhere", 9), Room("default", 9)).next_due is not None

    def test_it_is_the_earliest_of_several(self, scene: Scene) -> None:
        ready(scene, DefineTask("x", None, (Rate(1, "1m"),)), DefineTask("z", None, (Rate(1, "10s"),)))
        scene.insert(*(NewJob(f"{name}{n}", name) for name in "xz" for n in range(2)))
        next_due = scene.claim_reply().next_due
        assert next_due is not None
        assert T0 + 10_000 <= next_due <= T0 + 10_100

    @pytest.mark.parametrize("seed", range(3))
    def test_who_always_comes_back_then_gets_everything(self, scene: Scene, seed: int) -> None:
        """And neither turns in a circle nor is told of a time that has passed."""
        every = Limits(rate=Rate(4, "1s"))
        ready(scene, DefineQueue("default", None, (Rate(9, "2s"),), each=every), DefineTask("x", None, (SECOND,)))
        scene.insert(*(NewJob(f"other {n}", "x", "other") for n in range(10)))
        random, claimed = Random(seed), set[str]()
        for n in range(80):
            new = NewJob(
                f"{n}", random.choice("xyz"), partition=random.choice(("", "p", "q")), cost=random.choice((1, 1, 3))
            )
            scene.insert(replace(new, delay_ms=random.choice((0, 0, 700))))
        for _ in range(400):
            reply = scene.claim_reply("worker", Room("default", 50), Room("other", 50))
            claimed |= set(ids(reply.claims))
            if reply.next_due is None:
                break
            assert reply.next_due > scene.now
            scene.now = reply.next_due
        assert len(claimed) == 90

    @any_gate
    def test_records_say_when_the_next_cheap_job_may_start(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(None, SECOND))
        scene.insert(*gate.jobs(5))
        assert len(scene.claim(limit=4)) == 4
        assert gate.opens_at(scene) is None
        assert len(scene.claim()) == 1
        opens_at = gate.opens_at(scene)
        assert opens_at is not None
        assert T0 + 1000 <= opens_at <= T0 + 1010
        scene.now = opens_at
        assert gate.opens_at(scene) is None
