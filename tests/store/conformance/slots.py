"""Slots: so many jobs at once through a gate, counted from those that run."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from mainspring.model.job import Claim
from mainspring.model.states import FINAL, State
from mainspring.store.base import (
    Room,
    Store,
    Verb,
)

from .gates import Gate, any_gate, claim_at_once, ids, ready
from .scene import LEASE_MS, Scene, settlement


class TestSlots:
    """So many at once, counted from the jobs that run, over all workers and rooms."""

    @any_gate
    def test_slots_are_counted_over_all_workers(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(3))
        scene.join("other")
        scene.insert(*gate.jobs(5))
        assert len(scene.claim(limit=2)) == 2
        assert len(scene.claim("other")) == 1
        assert scene.claim() == scene.claim("other") == ()

    @any_gate
    def test_rooms_share_them(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(3))
        scene.insert(*gate.jobs(5))
        assert len(scene.claim("worker", Room("default", 2), Room("default", 5))) == 3

    @any_gate
    def test_workers_claiming_at_once_share_them(self, scene: Scene, store: Store, gate: Gate) -> None:
        ready(scene, gate.defined(3))
        scene.insert(*gate.jobs(40))
        assert len(claim_at_once(scene, store)) == 3

    @pytest.mark.parametrize("state", [*sorted(FINAL), State.SCHEDULED])
    @any_gate
    def test_a_settled_job_gives_its_slot_back(self, scene: Scene, gate: Gate, state: State) -> None:
        ready(scene, gate.defined(1))
        scene.insert(gate.job("a"), gate.job("b"))
        claim = scene.claim_one()
        assert scene.claim() == ()
        scene.settle(replace(settlement(claim, state), delay_ms=1000))
        assert ids(scene.claim()) == ["b"]

    @any_gate
    def test_a_job_that_is_handed_back_may_take_its_slot_again(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(1))
        scene.insert(gate.job("a"), gate.job("b"))
        scene.settle(settlement(scene.claim_one(), State.QUEUED))
        assert ids(scene.claim()) == ["a"]

    @any_gate
    def test_a_settlement_that_comes_too_late_gives_nothing_back(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(1))
        scene.join("dead")
        scene.insert(gate.job("a"), gate.job("b"))
        claim = scene.claim_one("dead")
        scene.later(LEASE_MS + 1)
        scene.reap()
        assert scene.settle(settlement(claim)) == frozenset()
        assert scene.claim() == ()

    @any_gate
    def test_a_dead_workers_slots_come_back_when_its_jobs_are_settled(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(2))
        scene.join("dead")
        scene.insert(*gate.jobs(3))
        assert len(scene.claim("dead", limit=2)) == 2
        scene.later(LEASE_MS + 1)
        assert scene.claim() == ()
        reaped = scene.reap()
        assert scene.claim() == ()
        scene.settle(settlement(reaped[0], State.DEAD), settlement(reaped[1], State.SCHEDULED, delay_ms=1000))
        assert ids(scene.claim()) == ["0002"]

    @any_gate
    def test_who_is_asked_to_cancel_counts_until_it_ends(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(1))
        scene.insert(gate.job("a"), gate.job("b"))
        claim = scene.claim_one()
        scene.alter(Verb.CANCEL, "a")
        scene.alter(Verb.DELETE, "a")
        assert scene.claim() == ()
        scene.settle(settlement(claim, State.CANCELLED))
        assert ids(scene.claim()) == ["b"]

    @any_gate
    def test_no_slot_at_all_is_a_limit_too(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(0))
        scene.insert(*gate.jobs(3))
        reply = scene.claim_reply()
        assert (reply.claims, reply.next_due) == ((), None)

    @any_gate
    def test_slots_are_never_more_however_jobs_end(self, scene: Scene, gate: Gate) -> None:
        ready(scene, gate.defined(4))
        random, running = Random(gate), list[Claim]()
        scene.insert(*gate.jobs(400))
        states = (State.COMPLETED, State.DEAD, State.CANCELLED, State.QUEUED, State.SCHEDULED)
        for step in range(150):
            scene.later(random.choice((0, 10)))
            if random.random() < 0.1:
                scene.join(f"{step}")
                for claim in scene.claim(f"{step}", limit=1):
                    scene.beat(f"{step}", "leave")
                    running += [replace(reaped, worker="worker") for reaped in scene.reap()]
                    assert running[-1].id == claim.id
            running += scene.claim(limit=random.choice((4, 9)))
            assert len(running) == 4
            random.shuffle(running)
            ending = [running.pop() for _ in range(random.randrange(5))]
            scene.settle(*(settlement(claim, random.choice(states), delay_ms=5) for claim in ending))
