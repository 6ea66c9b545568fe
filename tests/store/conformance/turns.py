"""Turns: the partitions of a queue get their fair shares, and whoever comes is served soon."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import cycle
from random import Random

import pytest

from mainspring.model.limits import Limits
from mainspring.store.base import (
    Change,
    DefineQueue,
    DefineTask,
    LimitPartition,
    PauseQueue,
    Room,
    Store,
)

from .gates import SECOND, claim_at_once, ids, ready
from .partitions import backlog, place
from .scene import ALL_COMPLETED, T0, Scene, settlement


def served(scene: Scene, count: int, limit: int = 1) -> str:
    """The partitions of the next so many jobs, claimed `limit` at a time."""
    letters = ""
    while len(letters) < count:
        claims = scene.claim(limit=min(limit, count - len(letters)))
        assert claims
        letters += "".join(claim.partition or "-" for claim in claims)
    return letters


def shares(scene: Scene, count: int, limit: int = 1) -> Counter[str]:
    """How many of the next so many jobs each partition gets."""
    return Counter(served(scene, count, limit))


class TestTurns:
    """Fair shares: whoever has had the least for its weight is next."""

    def test_shares_are_as_the_weights_are(self, scene: Scene) -> None:
        """At any time, and whatever the sizes of the claims: nobody is ever more than two jobs behind."""
        weights = {"a": 1, "b": 1, "c": 2}
        ready(scene, DefineQueue("default", partitions=(("c", Limits(weight=2)),)))
        counts, total, stored = Counter[str](), 0, Counter[str]()
        for limit in cycle((1, 3, 10, 64, 250, 999, 1)):
            for name, weight in weights.items():
                fresh = max(0, counts[name] + weight * 600 - stored[name])
                scene.insert(*(place(f"{name}{stored[name] + number:05}", name) for number in range(fresh)))
                stored[name] += fresh
            claims = scene.claim(limit=limit)
            assert len(claims) == limit
            counts.update(claim.partition for claim in claims)
            total += limit
            for name, weight in weights.items():
                assert abs(counts[name] - total * weight / 4) <= 2
            scene.settle(*map(settlement, claims))
            scene.later(1)
            scene.prune(ALL_COMPLETED)
            if total >= 10_000:
                break

    def test_partitions_of_one_weight_take_turns(self, scene: Scene) -> None:
        ready(scene)
        scene.insert(*(job for name in "cab" for job in backlog(name, 10)))
        assert served(scene, 12) == "abcabcabcabc"

    def test_also_within_one_claim(self, scene: Scene) -> None:
        ready(scene)
        scene.insert(*(job for name in "abc" for job in backlog(name, 20)))
        assert shares(scene, 30, limit=30) == {"a": 10, "b": 10, "c": 10}

    def test_also_over_workers_and_rooms(self, scene: Scene) -> None:
        ready(scene)
        scene.join("other")
        scene.insert(*(job for name in "ab" for job in backlog(name, 20)))
        claims = [
            claim
            for worker in ("worker", "other") * 4
            for claim in scene.claim(worker, Room("default", 1), Room("default", 2))
        ]
        assert Counter(claim.partition for claim in claims) == {"a": 12, "b": 12}

    def test_a_queue_has_turns_of_its_own(self, scene: Scene) -> None:
        ready(scene)
        scene.insert(*backlog("a", 30), *(replace(job, queue="other", id=f"o{job.id}") for job in backlog("a", 30)))
        scene.claim("worker", Room("other", 20))
        scene.insert(*backlog("b", 30))
        assert shares(scene, 20) == {"a": 10, "b": 10}

    def test_a_newcomer_beside_a_big_backlog_is_served_in_the_very_next_claim(self, scene: Scene) -> None:
        ready(scene)
        scene.insert(*backlog("big", 5000))
        for limit in (1, 100, 33):
            assert len(scene.claim(limit=limit)) == limit
            scene.insert(place(f"new{limit}", f"new{limit}"))
            assert ids(scene.claim(limit=1)) == [f"new{limit}"]
        scene.insert(*backlog("z", 500))
        assert Counter(claim.partition for claim in scene.claim(limit=50)) == {"big": 25, "z": 25}

    def test_a_newcomer_beside_many_waits_for_one_turn_of_each_at_most(self, scene: Scene) -> None:
        ready(scene)
        scene.insert(*(job for number in range(40) for job in backlog(f"p{number:02}-", 20)))
        scene.claim(limit=130)
        scene.insert(*backlog("z", 20))
        assert any(claim.partition == "z" for claim in scene.claim(limit=41))
        counts = Counter(claim.partition for claim in scene.claim(limit=82))
        assert counts["z"] == 2

    def test_there_is_no_credit_for_time_without_jobs(self, scene: Scene) -> None:
        ready(scene)
        scene.insert(*backlog("a", 500), *backlog("b", 3))
        assert shares(scene, 106)["b"] == 3
        scene.insert(*(replace(job, id=f"again {job.id}") for job in backlog("b", 100)))
        assert shares(scene, 40) == {"a": 20, "b": 20}

    @pytest.mark.parametrize(
        ("close", "open"),
        [
            (PauseQueue("default", True, "b"), PauseQueue("default", False, "b")),
            (LimitPartition("default", "b", 0), LimitPartition("default", "b", None)),
        ],
        ids=["pause", "limit"],
    )
    def test_nor_for_time_that_a_partition_was_closed(self, scene: Scene, close: Change, open: Change) -> None:
        ready(scene, close)
        scene.insert(*backlog("a", 500), *backlog("b", 200))
        assert shares(scene, 100) == {"a": 100}
        scene.configure(open)
        assert abs(shares(scene, 40)["b"] - 20) <= 1

    def test_nor_for_time_that_its_slots_were_taken(self, scene: Scene) -> None:
        ready(scene, DefineQueue("default", partitions=(("b", Limits(1)),)))
        scene.insert(*backlog("a", 500), *backlog("b", 200))
        running = next(claim for claim in scene.claim(limit=2) if claim.partition == "b")
        assert shares(scene, 100) == {"a": 100}
        scene.settle(settlement(running))
        scene.configure(LimitPartition("default", "b", None))
        assert abs(shares(scene, 40)["b"] - 20) <= 1

    def test_what_a_partition_has_had_too_much_it_waits_for(self, scene: Scene) -> None:
        """Also if it has nothing to do in between."""
        ready(scene)
        scene.insert(place("a", "a", cost=10))
        assert ids(scene.claim()) == ["a"]
        assert scene.claim() == ()
        scene.insert(*backlog("a", 20), *backlog("b", 20))
        assert served(scene, 10) == 10 * "b"
        assert abs(shares(scene, 10)["a"] - 5) <= 1

    def test_dear_jobs_move_the_turn_by_their_cost(self, scene: Scene) -> None:
        ready(scene)
        scene.insert(*backlog("a", 50, cost=3), *backlog("b", 100))
        assert shares(scene, 40, limit=20) == {"a": 10, "b": 30}

    def test_a_job_too_dear_for_what_the_queue_has_left_keeps_its_turn(self, scene: Scene) -> None:
        """Else the cheap ones of others would for ever be sooner."""
        ready(scene, DefineQueue("default", None, (SECOND,)))
        scene.insert(place("a", "a", cost=3), *backlog("b", 3, cost=3), *backlog("c", 3))
        assert ids(scene.claim(limit=1)) == ["a"]
        reply = scene.claim_reply()
        assert reply.claims == ()
        assert reply.next_due is not None
        scene.now = reply.next_due
        assert ids(scene.claim()) == ["b00000", "c00000", "c00001"]

    def test_weights_count_against_costs(self, scene: Scene) -> None:
        ready(scene, DefineQueue("default", each=Limits(weight=0.5), partitions=(("a", Limits(weight=3)),)))
        scene.insert(*backlog("a", 100, cost=2), *backlog("b", 100))
        assert shares(scene, 40, limit=8) == {"a": 30, "b": 10}

    def test_a_changed_weight_counts_from_then_on(self, scene: Scene) -> None:
        ready(scene)
        scene.insert(*backlog("a", 100), *backlog("b", 100))
        assert shares(scene, 20) == {"a": 10, "b": 10}
        scene.configure(LimitPartition("default", "b", weight=4))
        counts = shares(scene, 50, limit=10)
        assert abs(counts["b"] - 40) <= 1

    def test_order_within_a_partition_is_that_of_a_queue(self, scene: Scene) -> None:
        ready(scene)
        random = Random(1)
        jobs = [
            place(f"{n:03}", random.choice("ab"), priority=random.randrange(4), run_at=T0 - random.randrange(9))
            for n in range(100)
        ]
        scene.insert(*jobs)
        jobs.sort(key=lambda job: (job.priority, job.run_at or 0, job.id))
        claims = [claim for limit in (1, 2, 30, 7, 60) for claim in scene.claim(limit=limit)]
        for name in "ab":
            mine = [(claim.priority, claim.run_at, claim.id) for claim in claims if claim.partition == name]
            assert mine == sorted(mine)
            assert [id for *_, id in mine] == [job.id for job in jobs if job.partition == name]

    def test_priority_is_no_way_to_jump_another_partitions_turn(self, scene: Scene) -> None:
        ready(scene)
        scene.insert(*backlog("a", 20, priority=9), *backlog("b", 20, priority=-1000))
        assert shares(scene, 20) == {"a": 10, "b": 10}

    def test_jobs_without_a_partition_take_turns_with_the_others(self, scene: Scene) -> None:
        ready(scene)
        scene.insert(*(f"{n:02}" for n in range(60)), *backlog("a", 60))
        assert shares(scene, 20) == {"-": 10, "a": 10}
        scene.insert(*backlog("b", 20))
        assert shares(scene, 30, limit=10) == {"-": 10, "a": 10, "b": 10}

    def test_also_where_they_come_last(self, scene: Scene) -> None:
        ready(scene)
        scene.insert(*backlog("a", 60))
        assert shares(scene, 20) == {"a": 20}
        scene.insert(*(f"{n:02}" for n in range(60)))
        assert abs(shares(scene, 20)["a"] - 10) <= 1

    def test_and_where_they_were_there_before_all_others(self, scene: Scene) -> None:
        ready(scene)
        scene.insert(*(f"{n:03}" for n in range(200)))
        assert len(scene.claim(limit=50)) == 50
        scene.insert(*backlog("a", 60))
        assert abs(shares(scene, 20)["a"] - 10) <= 1

    def test_tasks_with_gates_share_their_partitions_turns(self, scene: Scene) -> None:
        ready(scene, DefineTask("x", 100))
        scene.insert(*backlog("a", 30), *(replace(job, id=f"x{job.id}", task="x") for job in backlog("a", 30)))
        scene.insert(*backlog("b", 60))
        assert shares(scene, 40, limit=10) == {"a": 20, "b": 20}

    def test_workers_claiming_at_once_keep_to_the_turns(self, scene: Scene, store: Store) -> None:
        ready(scene)
        scene.insert(*(job for name in "abcd" for job in backlog(name, 50)))
        claimed = claim_at_once(scene, store)
        assert len(set(claimed)) == len(claimed) == 40
        assert Counter(id[0] for id in claimed) == dict.fromkeys("abcd", 10)
