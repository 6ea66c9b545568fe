"""Sequences: in each partition one job at a time, in order, and the next only when that one has ended for good."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from mainspring.model.job import Claim, NewJob
from mainspring.model.limits import Limits, Rate
from mainspring.model.states import FINAL, State
from mainspring.store.base import (
    DefineQueue,
    DefineTask,
    Filter,
    LimitPartition,
    PauseQueue,
    Room,
    Sequence,
    Store,
    Verb,
)

from .gates import DAY, claim_at_once, ids, ready
from .partitions import backlog, place
from .scene import ALL_COMPLETED, LEASE_MS, T0, Scene, settlement
from .texts import any_text

BLOCK, SKIP = DefineQueue("default", sequence="block"), DefineQueue("default", sequence="skip")

both_ways = pytest.mark.parametrize("sequence", ["block", "skip"])

BACK: list[dict[str, Any]] = [
    {"state": State.SCHEDULED, "delay_ms": 1000, "error": '{"type":"E"}'},
    {"state": State.SCHEDULED, "delay_ms": 1000, "attempt": 0, "postponed": 1},
    {"state": State.SCHEDULED, "delay_ms": 0},
    {"state": State.QUEUED, "attempt": 0},
]
any_way_back = pytest.mark.parametrize("back", BACK, ids=["retry", "snooze", "retry at once", "hand-back"])


def headed(scene: Scene, sequence: Sequence = "block", worker: str = "worker") -> Claim:
    """A sequence of three, "a", "b" and "c", whose first is running."""
    ready(scene, DefineQueue("default", sequence=sequence))
    if worker != "worker":
        scene.join(worker)
    scene.insert(*(place(id, "p") for id in "abc"))
    (claim,) = scene.claim(worker)
    assert claim.id == "a"
    return claim


class TestSequence:
    """One at a time, in order."""

    @both_ways
    def test_the_next_starts_when_the_one_before_is_completed(self, scene: Scene, sequence: Sequence) -> None:
        claim = headed(scene, sequence)
        for next_one in "bc":
            assert scene.claim() == ()
            scene.settle(settlement(claim))
            (claim,) = scene.claim()
            assert claim.id == next_one

    def test_one_claim_takes_no_more_than_one_of_each(self, scene: Scene) -> None:
        ready(scene, BLOCK)
        scene.insert(*(job for name in "abc" for job in backlog(name, 5)))
        claims = scene.claim("worker", Room("default", 50), Room("default", 50))
        assert sorted(ids(claims)) == ["a00000", "b00000", "c00000"]
        assert scene.claim() == ()

    def test_partitions_have_nothing_to_do_with_each_other(self, scene: Scene) -> None:
        ready(scene, BLOCK)
        scene.insert(*backlog("a", 5), *backlog("b", 5))
        a, b = scene.claim()
        scene.settle(settlement(a, State.DEAD), settlement(b))
        (b,) = scene.claim()
        assert b.id == "b00001"
        scene.settle(settlement(b))
        assert ids(scene.claim()) == ["b00002"]

    def test_one_name_in_two_queues_is_two_sequences(self, scene: Scene) -> None:
        ready(scene, BLOCK, DefineQueue("other", sequence="skip"))
        scene.insert(place("a", "p"), place("b", "p", queue="other"), place("c", "p", queue="other"))
        assert ids(scene.claim("worker", Room("default", 9), Room("other", 9))) == ["a", "b"]

    def test_a_queue_without_partitions_is_one_sequence(self, scene: Scene) -> None:
        ready(scene, BLOCK)
        scene.insert(*"abc")
        (claim,) = scene.claim()
        assert (claim.id, scene.claim()) == ("a", ())
        scene.settle(settlement(claim, State.SCHEDULED, delay_ms=1000))
        assert scene.claim() == ()
        scene.later(1000)
        (claim,) = scene.claim()
        assert claim.id == "a"
        scene.settle(settlement(claim))
        assert ids(scene.claim()) == ["b"]

    def test_jobs_without_a_partition_are_one_beside_the_others(self, scene: Scene) -> None:
        ready(scene, BLOCK)
        scene.insert("a", "b", place("c", "p"), place("d", "p"))
        claims = scene.claim()
        assert sorted(ids(claims)) == ["a", "c"]
        scene.settle(*(settlement(claim, State.COMPLETED if claim.id == "a" else State.DEAD) for claim in claims))
        assert ids(scene.claim()) == ["b"]

    @any_text
    def test_queues_and_partitions_may_be_called_anything(self, scene: Scene, text: str) -> None:
        ready(scene, DefineQueue(text, sequence="block"))
        scene.insert(*(place(f"{partition}{n}", partition, queue=text) for partition in (text, "p") for n in (0, 1)))
        claims = scene.claim("worker", Room(text, 9))
        assert sorted(ids(claims)) == sorted([f"{text}0", "p0"])
        assert scene.partition(text, text).holder == f"{text}0"
        scene.settle(*(settlement(claim) for claim in claims if claim.partition == text))
        assert ids(scene.claim("worker", Room(text, 9))) == [f"{text}1"]

    def test_workers_claiming_at_once_keep_it(self, scene: Scene, store: Store) -> None:
        ready(scene, BLOCK)
        scene.insert(*(job for name in "abcde" for job in backlog(name, 10)))
        assert sorted(claim_at_once(scene, store)) == [f"{name}00000" for name in "abcde"]

    def test_only_who_has_started_has_the_place(self, scene: Scene) -> None:
        """Neither who was there first, nor who waits for a time, keeps out one whose turn is sooner."""
        ready(scene, BLOCK)
        scene.insert(place("later", "p", delay_ms=1000), place("low", "p", priority=9), place("high", "p", priority=1))
        assert scene.partition("p").holder is None
        claims = list[Claim]()
        for _ in range(2):
            claims += scene.claim()
            scene.settle(settlement(claims[-1]))
        assert ids(claims) == ["high", "low"]
        assert (scene.claim(), scene.partition("p").holder) == ((), None)
        scene.later(1000)
        assert ids(scene.claim()) == ["later"]

    def test_who_ends_before_it_has_started_changes_nothing(self, scene: Scene) -> None:
        claim = headed(scene)
        scene.alter(Verb.CANCEL, "b")
        assert scene.claim() == ()
        scene.settle(settlement(claim))
        assert ids(scene.claim()) == ["c"]

    @any_way_back
    @both_ways
    def test_a_job_that_goes_back_keeps_its_place(self, scene: Scene, sequence: Sequence, back: dict[str, Any]) -> None:
        """Also against jobs that would be before it in the order of the queue."""
        claim = headed(scene, sequence)
        scene.insert(place("urgent", "p", priority=-9), place("older", "p", run_at=T0 - 9000))
        scene.settle(settlement(claim, **back))
        if back.get("delay_ms"):
            scene.later(999)
            assert scene.claim() == ()
            assert scene.partition("p").holder == "a"
            scene.later(1)
        (claim,) = scene.claim()
        assert claim.id == "a"
        scene.settle(settlement(claim))
        assert ids(scene.claim()) == ["urgent"]

    def test_it_keeps_its_place_though_its_priority_or_time_is_changed(self, scene: Scene) -> None:
        claim = headed(scene)
        scene.settle(settlement(claim, State.SCHEDULED, delay_ms=1000))
        scene.alter(Verb.REPRIORITISE, "a", 99)
        scene.alter(Verb.RESCHEDULE, "a", T0 + 5000)
        scene.later(4999)
        assert scene.claim() == ()
        scene.later(1)
        assert ids(scene.claim()) == ["a"]

    def test_next_due_is_that_of_the_one_whose_place_it_is(self, scene: Scene) -> None:
        claim = headed(scene)
        assert scene.claim_reply().next_due is None
        scene.settle(settlement(claim, State.SCHEDULED, delay_ms=1000))
        assert scene.claim_reply().next_due == T0 + 1000
        scene.alter(Verb.CANCEL, Filter(ids=("b", "c")))
        assert scene.claim_reply().next_due == T0 + 1000

    def test_a_key_of_its_own_does_not_matter(self, scene: Scene) -> None:
        """A job that has ended gives its place back, whatever else it holds."""
        claim = headed(scene)
        scene.settle(settlement(claim))
        scene.join("other")
        assert ids(scene.claim("other")) == ["b"]
        assert scene.settle(settlement(claim)) == frozenset()
        assert scene.claim() == ()

    def test_records_name_who_has_the_place(self, scene: Scene) -> None:
        claim = headed(scene)
        (record,) = scene.configure().queues
        assert record.sequence == "block"
        assert scene.partition("p").holder == "a"
        scene.settle(settlement(claim))
        assert scene.partition("p").holder is None
        scene.claim()
        assert scene.partition("p").holder == "b"
        assert scene.partition("q").holder is None

    def test_limits_and_pauses_hold_beside_it(self, scene: Scene) -> None:
        claim = headed(scene)
        scene.settle(settlement(claim, State.QUEUED))
        scene.configure(PauseQueue("default", True, "p"))
        assert scene.claim() == ()
        scene.configure(PauseQueue("default", False, "p"), LimitPartition("default", "p", rates=(Rate(1, "1m"),)))
        (claim,) = scene.claim()
        scene.settle(settlement(claim))
        reply = scene.claim_reply()
        assert reply.claims == ()
        assert reply.next_due is not None
        scene.now = reply.next_due
        assert ids(scene.claim()) == ["b"]

    def test_a_closed_task_gate_lets_nobody_past_who_has_the_place(self, scene: Scene) -> None:
        ready(scene, BLOCK, DefineTask("x", None, (Rate(9, "1s"),)))
        scene.insert(place("a", "p", task="x"), place("b", "p", task="z"))
        scene.settle(settlement(scene.claim_one(), State.QUEUED, closed_ms=5000))
        reply = scene.claim_reply()
        assert (reply.claims, reply.next_due) == ((), T0 + 5000)
        scene.later(5000)
        assert ids(scene.claim()) == ["a"]

    def test_follow_ups_stand_in_line(self, scene: Scene) -> None:
        claim = headed(scene)
        scene.later(10)
        scene.settle(settlement(claim, follow_ups=(place("next", "p"), NewJob("alone", "task"))))
        assert sorted(ids(scene.claim())) == ["alone", "b"]

    def test_a_sequence_that_is_none_any_more_flows(self, scene: Scene) -> None:
        claim = headed(scene)
        scene.configure(DefineQueue("default"))
        assert ids(scene.claim()) == ["b", "c"]
        assert scene.settle(settlement(claim, State.SCHEDULED)) == {"a"}
        assert ids(scene.claim()) == ["a"]

    def test_fair_turns_and_weights_go_on(self, scene: Scene) -> None:
        ready(scene, DefineQueue("default", sequence="skip", partitions=(("b", Limits(weight=3)),)))
        scene.insert(*backlog("a", 60), *backlog("b", 60))
        letters = ""
        for _ in range(40):
            claim = scene.claim_one()
            letters += claim.partition
            scene.settle(settlement(claim))
        assert abs(letters.count("b") - 30) <= 1

    @both_ways
    def test_order_holds_through_all_that_can_happen(self, scene: Scene, sequence: Sequence) -> None:
        """Retries, dead workers, cancels, deaths and revivals: never two at once, never one out of its turn."""
        ready(scene, DefineQueue("default", sequence=sequence))
        jobs = {name: backlog(name, 12) for name in "abc"}
        scene.insert(*(job for mine in jobs.values() for job in mine))
        random, running, dead = Random(sequence), dict[str, Claim](), dict[str, str]()
        first_starts: dict[str, list[str]] = {name: [] for name in jobs}
        for _ in range(600):
            scene.later(random.choice((0, 100)))
            for claim in scene.claim():
                assert claim.partition not in running
                assert claim.partition not in dead
                running[claim.partition] = claim
                if claim.attempt == 1 and claim.id not in first_starts[claim.partition]:
                    first_starts[claim.partition].append(claim.id)
                assert first_starts[claim.partition][-1] == claim.id
            if not running and not dead and not scene.count(Filter(states=(State.QUEUED, State.SCHEDULED))):
                break
            name = random.choice("abc")
            if name in running:
                claim, state = running.pop(name), random.choice(self.ENDS)
                scene.settle(settlement(claim, state, delay_ms=random.choice((0, 150))))
                if state is State.DEAD and sequence == "block":
                    dead[name] = claim.id
            elif name in dead:
                scene.alter(random.choice((Verb.REVIVE, Verb.DELETE)), dead.pop(name))
        else:
            raise AssertionError("a sequence that comes to no end")
        assert first_starts == {name: [job.id for job in mine] for name, mine in jobs.items()}

    ENDS = (*sorted(FINAL), State.COMPLETED, State.SCHEDULED, State.QUEUED)


class TestDeadHeads:
    """A job that is dead keeps its place, or is left behind."""

    def test_skip_leaves_it_behind(self, scene: Scene) -> None:
        scene.settle(settlement(headed(scene, "skip"), State.DEAD))
        assert scene.partition("p").holder is None
        assert ids(scene.claim()) == ["b"]

    def test_block_waits(self, scene: Scene) -> None:
        scene.settle(settlement(headed(scene), State.DEAD))
        scene.insert(place("urgent", "p", priority=0), place("elsewhere", "q"))
        assert ids(scene.claim()) == ["elsewhere"]
        reply = scene.claim_reply()
        assert (reply.claims, reply.next_due) == ((), None)
        scene.later(30 * DAY)
        assert scene.claim() == ()
        assert scene.partition("p").holder == "a"

    def test_a_revived_one_is_the_next(self, scene: Scene) -> None:
        scene.settle(settlement(headed(scene), State.DEAD))
        scene.insert(place("urgent", "p", priority=0))
        scene.alter(Verb.REVIVE, "a")
        (claim,) = scene.claim()
        assert claim.id == "a"
        scene.settle(settlement(claim))
        assert ids(scene.claim()) == ["urgent"]

    def test_it_may_die_again(self, scene: Scene) -> None:
        scene.settle(settlement(headed(scene), State.DEAD))
        scene.alter(Verb.REVIVE, "a")
        scene.settle(settlement(scene.claim_one(), State.DEAD))
        assert scene.claim() == ()
        scene.alter(Verb.REVIVE, "a")
        assert ids(scene.claim()) == ["a"]

    def test_who_is_skipped_and_revived_stands_in_line_again(self, scene: Scene) -> None:
        scene.settle(settlement(headed(scene, "skip"), State.DEAD))
        (running,) = scene.claim()
        scene.later(10)
        scene.alter(Verb.REVIVE, "a")
        assert scene.claim() == ()
        for next_one in "ca":
            scene.settle(settlement(running))
            (running,) = scene.claim()
            assert running.id == next_one

    @both_ways
    @pytest.mark.parametrize("state", [State.COMPLETED, State.CANCELLED])
    def test_who_ended_otherwise_and_is_revived_stands_in_line_again(
        self, scene: Scene, sequence: Sequence, state: State
    ) -> None:
        scene.settle(settlement(headed(scene, sequence), state))
        scene.later(10)
        scene.alter(Verb.REVIVE, "a")
        assert ids(scene.claim()) == ["b"]
        assert scene.claim() == ()

    @both_ways
    def test_a_cancelled_one_makes_way(self, scene: Scene, sequence: Sequence) -> None:
        claim = headed(scene, sequence)
        scene.alter(Verb.CANCEL, "a")
        assert scene.claim() == ()
        scene.settle(settlement(claim, State.CANCELLED))
        assert ids(scene.claim()) == ["b"]

    @pytest.mark.parametrize("verb", [Verb.CANCEL, Verb.DELETE])
    @any_way_back
    @both_ways
    def test_one_that_is_called_off_while_it_waits_makes_way(
        self, scene: Scene, sequence: Sequence, back: dict[str, Any], verb: Verb
    ) -> None:
        scene.settle(settlement(headed(scene, sequence), **back))
        assert scene.alter(verb, "a") == 1
        assert scene.partition("p").holder is None
        assert ids(scene.claim()) == ["b"]

    def test_a_dead_one_that_is_deleted_makes_way(self, scene: Scene) -> None:
        scene.settle(settlement(headed(scene), State.DEAD))
        scene.alter(Verb.CANCEL, "a")
        assert scene.claim() == ()
        assert scene.alter(Verb.DELETE, "a") == 1
        assert scene.partition("p").holder is None
        assert ids(scene.claim()) == ["b"]

    def test_a_dead_one_that_is_pruned_makes_way(self, scene: Scene) -> None:
        scene.settle(settlement(headed(scene), State.DEAD))
        scene.later(1000)
        assert scene.claim() == ()
        assert scene.prune({State.DEAD: 0}) == 1
        assert ids(scene.claim()) == ["b"]

    def test_pruning_others_does_not(self, scene: Scene) -> None:
        scene.settle(settlement(headed(scene), State.DEAD))
        scene.insert(place("x", "q"))
        scene.settle(settlement(scene.claim_one()))
        scene.later(1000)
        assert scene.prune(ALL_COMPLETED) == 1
        assert scene.claim() == ()

    def test_other_dead_ones_do_not_matter(self, scene: Scene) -> None:
        """One that had died before the queue became a sequence has no place in it."""
        ready(scene)
        scene.insert(place("old", "p"))
        scene.settle(settlement(scene.claim_one(), State.DEAD))
        scene.settle(settlement(headed(scene)))
        assert ids(scene.claim()) == ["b"]
        scene.alter(Verb.DELETE, "old")
        assert scene.claim() == ()


class TestKilledHeads:
    """The worker of the running job is gone."""

    @both_ways
    def test_the_place_stays_until_somebody_settles_it(self, scene: Scene, sequence: Sequence) -> None:
        headed(scene, sequence, worker="dead")
        scene.later(LEASE_MS + 1)
        assert scene.claim() == ()
        (reaped,) = scene.reap()
        assert reaped.id == "a"
        assert scene.claim() == ()
        assert scene.partition("p").holder == "a"
        scene.settle(settlement(reaped))
        assert ids(scene.claim()) == ["b"]

    @both_ways
    def test_it_runs_again_before_the_next(self, scene: Scene, sequence: Sequence) -> None:
        headed(scene, sequence, worker="dead")
        scene.insert(place("urgent", "p", priority=0))
        scene.later(LEASE_MS + 1)
        (reaped,) = scene.reap()
        scene.settle(settlement(reaped, State.QUEUED, attempt=0, crashes=1))
        (claim,) = scene.claim()
        assert claim.id == "a"
        scene.settle(settlement(claim))
        assert ids(scene.claim()) == ["urgent"]

    @both_ways
    def test_what_comes_too_late_from_the_dead_changes_nothing(self, scene: Scene, sequence: Sequence) -> None:
        stale = headed(scene, sequence, worker="dead")
        scene.later(LEASE_MS + 1)
        (reaped,) = scene.reap()
        assert scene.settle(settlement(stale)) == frozenset()
        assert scene.claim() == ()
        scene.settle(settlement(reaped, State.QUEUED))
        assert ids(scene.claim()) == ["a"]

    def test_poison_is_a_dead_one_like_others(self, scene: Scene) -> None:
        headed(scene, worker="dead")
        scene.later(LEASE_MS + 1)
        (reaped,) = scene.reap()
        scene.settle(settlement(reaped, State.DEAD, crashes=3, reason="poison"))
        assert scene.claim() == ()
        scene.alter(Verb.DELETE, "a")
        assert ids(scene.claim()) == ["b"]
