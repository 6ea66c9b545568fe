"""Keys: a name is held by at most one job, from its insert until that job starts, ends, or the time is over."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from mainspring.errors import DuplicateJob
from mainspring.model.job import Claim, Conflict, Edge, Key, NewJob, Until
from mainspring.model.limits import Limits
from mainspring.model.states import FINAL, State
from mainspring.store.base import DefineQueue, Full, Inserted, PutSchedule, Room, Tick, Verb

from .scene import ALL_COMPLETED, ALL_ENDED, T0, Scene, settlement
from .texts import any_text

EXISTING, REJECT, REPLACE = Conflict.EXISTING, Conflict.REJECT, Conflict.REPLACE
STARTED, SETTLED, RESOLVED, EXPIRY = Until.STARTED, Until.SETTLED, Until.RESOLVED, Until.EXPIRY

KEY = Key("k")
DAY = 86_400_000


def keyed(id: str, *keys: Key, **fields: Any) -> NewJob:
    """A job with keys, or with the one that is the same for all."""
    return NewJob(id, "task", keys=keys or (KEY,), **fields)


def stored(id: str) -> Inserted:
    return Inserted(id, existed=False)


def held_by(id: str, rejected: str | None = None) -> Inserted:
    return Inserted(id, existed=True, rejected=rejected)


def holder(scene: Scene, key: Key = KEY) -> str | None:
    """Who holds a key. Asked without a trace: where nobody does, the job that asked is deleted."""
    (reply,) = scene.insert(keyed("who?", replace(key, on_conflict=EXISTING)))
    if reply.existed:
        return reply.id
    assert scene.alter(Verb.DELETE, "who?") == 1
    return None


def claimed(scene: Scene, queue: str = "default") -> list[str]:
    """The ids of what is claimed there now."""
    return [claim.id for claim in scene.claim("worker", Room(queue, 10))]


def started(scene: Scene, *jobs: NewJob) -> Claim:
    """Insert jobs, and claim the first that is due."""
    scene.join(lease_ms=100 * DAY)
    scene.insert(*jobs)
    return scene.claim_one()


class TestKeys:
    """Who gets a key."""

    def test_a_key_is_held_by_one_job(self, scene: Scene) -> None:
        assert scene.insert(keyed("a")) == (stored("a"),)
        assert scene.insert(keyed("b")) == (held_by("a"),)
        assert scene.ids() == ["a"]

    def test_also_among_jobs_of_one_request(self, scene: Scene) -> None:
        other = keyed("c", Key("other"))
        assert scene.insert(keyed("a"), keyed("b"), other) == (stored("a"), held_by("a"), stored("c"))
        assert sorted(scene.ids()) == ["a", "c"]

    def test_another_key_is_another_matter(self, scene: Scene) -> None:
        names = ["k", "K", "k ", "k1", "k#1", ""]
        jobs = [keyed(f"job {name}", Key(name)) for name in names]
        assert scene.insert(*jobs) == tuple(stored(job.id) for job in jobs)

    def test_a_job_without_keys_meets_nobody(self, scene: Scene) -> None:
        assert scene.insert(keyed("a"), "b", keyed("c"), "d") == (stored("a"), stored("b"), held_by("a"), stored("d"))

    def test_a_job_may_hold_several_keys(self, scene: Scene) -> None:
        scene.insert(keyed("a", Key("1"), Key("2")))
        for name in "12":
            assert scene.insert(keyed("b", Key(name))) == (held_by("a"),)

    def test_the_first_key_that_is_held_decides(self, scene: Scene) -> None:
        scene.insert(keyed("a", Key("1")), keyed("b", Key("2")))
        free, first, second = Key("0"), Key("1"), Key("2", on_conflict=REJECT)
        assert scene.insert(keyed("c", free, first, second)) == (held_by("a"),)
        assert scene.insert(keyed("c", free, second, first)) == (held_by("b", rejected="2"),)

    def test_a_job_that_does_not_get_one_key_takes_none(self, scene: Scene) -> None:
        scene.insert(keyed("a", Key("2")))
        assert scene.insert(keyed("b", Key("1"), Key("2"), Key("3"))) == (held_by("a"),)
        assert (holder(scene, Key("1")), holder(scene, Key("3"))) == (None, None)

    def test_nor_does_it_keep_the_next_of_its_request_from_them(self, scene: Scene) -> None:
        scene.insert(keyed("a", Key("2")))
        assert scene.insert(keyed("b", Key("1"), Key("2")), keyed("c", Key("1"))) == (held_by("a"), stored("c"))

    def test_a_key_that_a_job_names_twice_is_taken_once(self, scene: Scene) -> None:
        assert scene.insert(keyed("a", KEY, replace(KEY, until=EXPIRY))) == (stored("a"),)
        assert scene.insert(keyed("b", Key("seats", seats=2), Key("seats", seats=2))) == (stored("b"),)
        assert scene.insert(keyed("c", Key("seats", seats=2))) == (stored("c"),)
        scene.join()
        scene.settle(*map(settlement, scene.claim()))
        assert holder(scene) is None

    @pytest.mark.parametrize("conflict", Conflict)
    def test_an_insert_sent_twice_is_no_conflict_with_itself(self, scene: Scene, conflict: Conflict) -> None:
        new = keyed("a", Key("k", on_conflict=conflict), args='{"n":1}')
        assert scene.insert(new) == (stored("a"),)
        assert scene.insert(replace(new, args='{"n":2}')) == scene.insert(new, new)[:1] == (held_by("a"),)
        assert scene.insert(keyed("b", Key("k", on_conflict=REJECT)), new) == (held_by("a", "k"), held_by("a"))
        assert scene.job("a").args == '{"n":1}'

    def test_nor_when_it_has_ended_and_another_job_holds_its_key(self, scene: Scene) -> None:
        scene.settle(settlement(started(scene, keyed("a"))))
        scene.insert(keyed("b"))
        assert scene.insert(keyed("a")) == (held_by("a"),)
        assert holder(scene) == "b"

    def test_an_insert_sent_twice_takes_no_keys_the_second_time(self, scene: Scene) -> None:
        scene.insert("a")
        assert scene.insert(keyed("a")) == (held_by("a"),)
        assert holder(scene) is None

    def test_two_new_jobs_of_one_id_are_one(self, scene: Scene) -> None:
        assert scene.insert(keyed("a"), keyed("a", Key("2"))) == (stored("a"), held_by("a"))
        assert (holder(scene), holder(scene, Key("2"))) == ("a", None)

    @any_text
    def test_a_key_may_be_called_anything(self, scene: Scene, text: str) -> None:
        key = Key(text, seats=2)
        jobs = keyed(f"{text} 1", key), keyed(f"{text} 2", key), keyed("3", replace(key, on_conflict=REJECT))
        assert scene.insert(*jobs) == (stored(f"{text} 1"), stored(f"{text} 2"), held_by(f"{text} 2", rejected=text))
        assert scene.insert(keyed(text, Key(text))) == (stored(text),)
        assert scene.insert(keyed("4", Key(text))) == (held_by(text),)

    def test_a_large_set_takes_its_keys_at_once(self, scene: Scene) -> None:
        jobs = [keyed(f"j{number:04}", Key(f"k{number // 2}")) for number in range(3000)]
        assert [reply.existed for reply in scene.insert(*jobs)] == [False, True] * 1500
        scene.join()
        scene.settle(*map(settlement, scene.claim(limit=3000)))
        assert [reply.existed for reply in scene.insert(*jobs)] == [True, False] * 1500


class TestConflicts:
    """What becomes of a job that does not get its key."""

    @pytest.mark.parametrize("until", Until)
    @pytest.mark.parametrize("conflict", Conflict)
    def test_it_is_not_stored_and_the_holder_is_named(self, scene: Scene, conflict: Conflict, until: Until) -> None:
        scene.insert(keyed("a", Key("k", until, 1000)))
        rejected = "k" if conflict is REJECT else None
        assert scene.insert(keyed("b", Key("k", until, 1000, conflict))) == (held_by("a", rejected),)
        assert scene.ids() == ["a"]

    @pytest.mark.parametrize("conflict", Conflict)
    def test_a_conflict_does_not_prolong_what_the_holder_has(self, scene: Scene, conflict: Conflict) -> None:
        scene.insert(keyed("a", Key("k", EXPIRY, 100)))
        scene.later(60)
        scene.insert(keyed("b", Key("k", SETTLED, 100, conflict)))
        scene.later(40)
        assert holder(scene) is None

    @pytest.mark.parametrize("conflict", [EXISTING, REJECT])
    def test_the_holder_is_left_as_it_is(self, scene: Scene, conflict: Conflict) -> None:
        scene.insert(keyed("a", args='{"n":1}', delay_ms=50))
        before = scene.job("a")
        scene.later(5)
        scene.insert(keyed("b", Key("k", on_conflict=conflict), args='{"n":2}', priority=1))
        assert scene.job("a") == before

    def test_what_counts_is_what_the_new_job_says_of_conflicts(self, scene: Scene) -> None:
        scene.insert(keyed("a", Key("k", on_conflict=REJECT)))
        assert scene.insert(keyed("b", Key("k", on_conflict=EXISTING))) == (held_by("a"),)

    def test_a_rejected_job_keeps_no_other_from_being_stored(self, scene: Scene) -> None:
        rejecting = Key("k", on_conflict=REJECT)
        replies = scene.insert("a", keyed("b", rejecting), keyed("c", rejecting), keyed("d", Key("other")))
        assert replies == (stored("a"), stored("b"), held_by("b", rejected="k"), stored("d"))
        assert sorted(scene.ids()) == ["a", "b", "d"]


class TestReplacing:
    """A waiting holder takes on what the new job brings."""

    REPLACING = Key("k", STARTED, on_conflict=REPLACE)

    def test_what_the_new_job_was_to_be_it_is(self, scene: Scene) -> None:
        """All but the id, the time at which it came, and its task, which whoever makes keys has in their names."""
        scene.insert(keyed("a", self.REPLACING, args='{"n":1}', priority=3, options='{"timeout_ms":5}', delay_ms=100))
        before = scene.job("a")
        scene.later(10)
        new = NewJob("b", "other", "other", '{"n":2}', 7, delay_ms=300, options="{}", keys=(self.REPLACING,))
        assert scene.insert(replace(new, partition="p", cost=4)) == (held_by("a"),)
        place = {"queue": "other", "partition": "p", "cost": 4}
        assert scene.job("a") == replace(before, args='{"n":2}', priority=7, options="{}", run_at=T0 + 310, **place)
        assert scene.ids() == ["a"]
        assert scene.insert(replace(new, queue="default")) == (held_by("a"),)
        assert (scene.job("a").queue, scene.job("a").partition, scene.job("a").cost) == ("default", "", 1)

    @pytest.mark.parametrize(("now", "then"), list(product(["", "p"], repeat=2)))
    def test_it_is_claimed_where_it_is_and_no_more_where_it_was(self, scene: Scene, now: str, then: str) -> None:
        scene.join()
        scene.insert(keyed("a", self.REPLACING, partition=now), NewJob("stays", "task", partition=now))
        scene.insert(keyed("b", self.REPLACING, queue="other", partition=then))
        assert claimed(scene, "default") == ["stays"]
        assert claimed(scene, "other") == ["a"]

    def test_it_runs_through_the_gates_of_its_new_place(self, scene: Scene) -> None:
        scene.join()
        scene.configure(DefineQueue("other", each=Limits(concurrency=1)))
        scene.insert(NewJob("first", "task", "other", partition="p"))
        assert claimed(scene, "other") == ["first"]
        scene.insert(keyed("a", self.REPLACING))
        scene.insert(keyed("b", self.REPLACING, queue="other", partition="p"))
        assert claimed(scene, "default") == claimed(scene, "other") == []

    def test_the_sequence_that_it_leaves_goes_on_without_it(self, scene: Scene) -> None:
        scene.join()
        scene.configure(DefineQueue("default", sequence="block"))
        key = Key("k", SETTLED, on_conflict=REPLACE)
        scene.insert(keyed("a", key, partition="p"), NewJob("behind", "task", partition="p"))
        scene.settle(settlement(scene.claim_one(), State.SCHEDULED, delay_ms=50))
        assert claimed(scene) == []
        scene.insert(keyed("b", key, partition="q", delay_ms=60))
        assert claimed(scene) == ["behind"]

    def test_who_is_put_where_there_is_no_room_is_turned_away(self, scene: Scene) -> None:
        scene.configure(DefineQueue("other", max_queued=2, each=Limits(max_queued=1)))
        scene.insert(keyed("a", self.REPLACING), NewJob("x", "task", "other", partition="p"))
        before = scene.job("a")
        elsewhere = {"queue": "other", "args": '{"n":2}'}
        no_room = keyed("b", self.REPLACING, **elsewhere, partition="p")
        assert scene.insert(no_room) == (Inserted("b", existed=False, full=Full("other", "p", 1)),)
        assert scene.job("a") == before
        # It takes up one place in all, wherever it goes to; and what it leaves is free.
        moves = [keyed(f"to {name}", self.REPLACING, **elsewhere, partition=name) for name in "qqr"]
        last = NewJob("y", "task", "other", partition="q")
        assert scene.insert(*moves, last) == (
            *3 * [held_by("a")],
            Inserted("y", existed=False, full=Full("other", None, 2)),
        )
        assert (scene.job("a").partition, scene.job("a").args) == ("r", '{"n":2}')
        back = keyed("back", self.REPLACING)
        assert scene.insert(back, last) == (held_by("a"), stored("y"))

    def test_a_blocked_one_needs_no_room_yet(self, scene: Scene) -> None:
        scene.configure(DefineQueue("other", max_queued=1))
        scene.insert("parent", keyed("a", self.REPLACING, parents=(Edge("parent"),)), NewJob("x", "task", "other"))
        assert scene.insert(keyed("b", self.REPLACING, queue="other")) == (held_by("a"),)
        assert (scene.job("a").queue, scene.state("a")) == ("other", State.BLOCKED)

    def test_options_may_go(self, scene: Scene) -> None:
        scene.insert(keyed("a", options='{"timeout_ms":5}'))
        scene.insert(keyed("b", self.REPLACING))
        assert scene.job("a").options is None

    def test_the_new_time_decides_how_it_waits(self, scene: Scene) -> None:
        scene.insert(keyed("a", self.REPLACING))
        for fields, state, run_at in (
            ({"delay_ms": 50}, State.SCHEDULED, 50),
            ({"run_at": T0 + 70, "delay_ms": 10}, State.SCHEDULED, 70),
            ({}, State.QUEUED, 0),
            ({"run_at": T0 - 5}, State.QUEUED, -5),
        ):
            scene.insert(keyed("b", self.REPLACING, **fields))
            assert (scene.job("a").state, scene.job("a").run_at - T0) == (state, run_at)

    def test_the_last_of_one_request_wins(self, scene: Scene) -> None:
        replies = scene.insert(*(keyed(f"{n}", self.REPLACING, args=f"[{n}]", delay_ms=n) for n in range(4)))
        assert replies == (stored("0"), *3 * [held_by("0")])
        assert (scene.job("0").args, scene.job("0").run_at) == ("[3]", T0 + 3)

    def test_it_is_put_off_no_further_than_its_longest_delay(self, scene: Scene) -> None:
        debounce = replace(self.REPLACING, max_delay_ms=100)
        scene.insert(keyed("a", debounce, delay_ms=60))
        for at, run_at in ((30, 90), (40, 100), (70, 100)):
            scene.now = T0 + at
            scene.insert(keyed("b", debounce, args=f"[{at}]", delay_ms=60))
            assert (scene.job("a").run_at - T0, scene.job("a").args) == (run_at, f"[{at}]")

    def test_past_its_longest_delay_it_is_due_since_then(self, scene: Scene) -> None:
        debounce = replace(self.REPLACING, max_delay_ms=100)
        scene.insert(keyed("a", debounce, delay_ms=60))
        scene.later(150)
        scene.insert(keyed("b", debounce, delay_ms=60))
        assert (scene.job("a").run_at, scene.state("a")) == (T0 + 100, State.QUEUED)

    def test_a_given_time_is_no_further_off_either(self, scene: Scene) -> None:
        debounce = replace(self.REPLACING, max_delay_ms=100)
        scene.insert(keyed("a", debounce))
        scene.insert(keyed("b", debounce, run_at=T0 + 500))
        assert scene.job("a").run_at == T0 + 100

    def test_a_running_holder_goes_on_as_it_is(self, scene: Scene) -> None:
        started(scene, keyed("a", Key("k", SETTLED), args='{"n":1}'))
        before = scene.job("a")
        assert scene.insert(keyed("b", self.REPLACING, args='{"n":2}', delay_ms=50)) == (held_by("a"),)
        assert scene.job("a") == before

    @pytest.mark.parametrize("state", sorted(FINAL))
    def test_a_holder_that_has_ended_stays_as_it_is(self, scene: Scene, state: State) -> None:
        scene.settle(settlement(started(scene, keyed("a", Key("k", EXPIRY, 1000), args='{"n":1}')), state))
        before = scene.job("a")
        assert scene.insert(keyed("b", self.REPLACING, args='{"n":2}')) == (held_by("a"),)
        assert scene.find() == [before]

    def test_a_holder_that_waits_for_its_retry_is_replaced_and_keeps_its_past(self, scene: Scene) -> None:
        claim = started(scene, keyed("a", Key("k", SETTLED)))
        scene.settle(settlement(claim, State.SCHEDULED, delay_ms=50, error='{"type":"E"}', history='[{"n":1}]'))
        before = scene.job("a")
        assert scene.insert(keyed("b", self.REPLACING, args='{"n":2}', delay_ms=10)) == (held_by("a"),)
        assert scene.job("a") == replace(before, args='{"n":2}', run_at=T0 + 10)

    def test_what_is_claimed_is_what_came_last(self, scene: Scene) -> None:
        scene.join()
        scene.insert(keyed("a", self.REPLACING, args='{"n":1}', delay_ms=50), NewJob("between", "task", priority=6))
        scene.insert(keyed("b", self.REPLACING, args='{"n":2}', priority=9))
        assert [(claim.id, claim.args, claim.priority) for claim in scene.claim()] == [
            ("between", "{}", 6),
            ("a", '{"n":2}', 9),
        ]


class TestSeats:
    """A key that several jobs may hold."""

    THREE = Key("k", EXPIRY, 100, seats=3)

    def test_as_many_jobs_hold_it_as_there_are_seats(self, scene: Scene) -> None:
        jobs = [keyed(name, self.THREE) for name in "abcde"]
        assert scene.insert(*jobs[:2]) == (stored("a"), stored("b"))
        assert scene.insert(*jobs[2:]) == (stored("c"), held_by("c"), held_by("c"))

    def test_who_gets_none_is_given_the_latest_holder(self, scene: Scene) -> None:
        for name in "abc":
            scene.insert(keyed(name, self.THREE))
            scene.later(10)
        assert scene.insert(keyed("d", self.THREE)) == (held_by("c"),)
        scene.now = T0 + 100
        assert scene.insert(keyed("e", self.THREE)) == (stored("e"),)
        assert scene.insert(keyed("f", self.THREE)) == (held_by("e"),)

    def test_who_holds_it_for_good_is_the_latest(self, scene: Scene) -> None:
        two = Key("k", seats=2)
        scene.insert(keyed("a", two), keyed("b", replace(two, expires_ms=100)))
        assert scene.insert(keyed("c", two)) == (held_by("a"),)

    def test_each_seat_comes_free_by_itself(self, scene: Scene) -> None:
        """So in any stretch of 100 ms there are no more than three, wherever it begins."""
        times = []
        for at in range(0, 400, 7):
            scene.now = T0 + at
            if scene.insert(keyed(f"{at}", self.THREE)) == (stored(f"{at}"),):
                times.append(at)
        assert times == [0, 7, 14, 105, 112, 119, 210, 217, 224, 315, 322, 329]

    def test_a_seat_comes_free_with_its_job(self, scene: Scene) -> None:
        two = Key("k", seats=2)
        claim = started(scene, keyed("a", two), keyed("b", two))
        assert scene.settle(settlement(claim)) == {"a"}
        assert scene.insert(keyed("c", two)) == (stored("c"),)
        assert scene.insert(keyed("d", two))[0].existed


class TestGivingBack:
    """The state change itself gives a key back."""

    def test_until_started_means_the_first_claim(self, scene: Scene) -> None:
        claim = started(scene, keyed("a", Key("k", STARTED)))
        assert scene.insert(keyed("b")) == (stored("b"),)
        scene.settle(settlement(claim, State.QUEUED, attempt=0))
        assert holder(scene) == "b"

    def test_until_resolved_a_dead_job_holds_on(self, scene: Scene) -> None:
        key = Key("k", RESOLVED)
        scene.settle(settlement(started(scene, keyed("a", key)), State.DEAD))
        assert scene.insert(keyed("b", key)) == (held_by("a"),)
        scene.alter(Verb.REVIVE, "a")
        scene.settle(settlement(scene.claim_one()))
        assert holder(scene) is None

    @pytest.mark.parametrize("until", [SETTLED, RESOLVED, EXPIRY])
    def test_a_claim_gives_back_no_other_key(self, scene: Scene, until: Until) -> None:
        started(scene, keyed("a", Key("k", until, 1000)))
        assert holder(scene) == "a"

    def test_a_claim_gives_back_the_keys_of_the_claimed_jobs_alone(self, scene: Scene) -> None:
        started(scene, keyed("a", Key("1", STARTED)), keyed("b", Key("2", STARTED)))
        assert (holder(scene, Key("1")), holder(scene, Key("2"))) == (None, "b")

    @pytest.mark.parametrize("state", sorted(FINAL))
    def test_until_settled_means_the_end(self, scene: Scene, state: State) -> None:
        claim = started(scene, keyed("a", Key("k", SETTLED)))
        assert holder(scene) == "a"
        scene.settle(settlement(claim, state))
        assert holder(scene) is None

    @pytest.mark.parametrize(
        "back",
        [
            {"state": State.SCHEDULED, "delay_ms": 50, "error": '{"type":"E"}'},
            {"state": State.SCHEDULED, "delay_ms": 50, "attempt": 0, "postponed": 1},
            {"state": State.QUEUED, "attempt": 0},
        ],
        ids=["retry", "snooze", "hand-back"],
    )
    def test_a_job_that_goes_back_keeps_its_keys(self, scene: Scene, back: dict[str, Any]) -> None:
        claim = started(scene, keyed("a", Key("k", SETTLED)))
        assert scene.settle(settlement(claim, **back)) == {"a"}
        assert holder(scene) == "a"
        scene.later(50)
        assert holder(scene) == "a"
        scene.settle(settlement(scene.claim_one()))
        assert holder(scene) is None

    def test_a_job_that_is_leased_anew_keeps_its_keys(self, scene: Scene) -> None:
        scene.join("dead", lease_ms=10)
        scene.join()
        scene.insert(keyed("a", Key("k", SETTLED)))
        scene.claim_one("dead")
        scene.later(10)
        (claim,) = scene.reap()
        assert holder(scene) == "a"
        scene.settle(settlement(claim, State.DEAD))
        assert holder(scene) is None

    def test_a_stale_settlement_gives_nothing_back(self, scene: Scene) -> None:
        claim = started(scene, keyed("a"))
        assert scene.settle(settlement(replace(claim, lease=claim.lease - 1))) == frozenset()
        assert holder(scene) == "a"

    @pytest.mark.parametrize("until", [STARTED, SETTLED])
    @pytest.mark.parametrize("delay_ms", [0, 50])
    def test_a_job_that_is_cancelled_while_it_waits_gives_them_back(
        self, scene: Scene, until: Until, delay_ms: int
    ) -> None:
        scene.insert(keyed("a", Key("k", until), delay_ms=delay_ms))
        assert scene.alter(Verb.CANCEL, "a") == 1
        assert holder(scene) is None

    def test_a_running_job_keeps_them_until_it_has_obeyed(self, scene: Scene) -> None:
        claim = started(scene, keyed("a"))
        scene.alter(Verb.CANCEL, "a")
        assert holder(scene) == "a"
        scene.settle(settlement(claim, State.CANCELLED))
        assert holder(scene) is None

    @pytest.mark.parametrize("until", Until)
    def test_a_key_is_free_to_the_millisecond(self, scene: Scene, until: Until) -> None:
        scene.insert(keyed("a", Key("k", until, 100), delay_ms=500))
        scene.later(99)
        assert holder(scene) == "a"
        scene.later(1)
        assert scene.insert(keyed("b")) == (stored("b"),)
        assert sorted(scene.ids()) == ["a", "b"]

    def test_time_counts_from_the_insert(self, scene: Scene) -> None:
        scene.join()
        scene.insert(keyed("a", Key("k", EXPIRY, 100)))
        scene.later(60)
        scene.settle(settlement(scene.claim_one()))
        scene.later(39)
        assert holder(scene) == "a"
        scene.later(1)
        assert holder(scene) is None

    def test_a_running_jobs_key_is_free_when_its_time_is_over(self, scene: Scene) -> None:
        claim = started(scene, keyed("a", Key("k", SETTLED, 100)))
        scene.later(100)
        assert scene.insert(keyed("b")) == (stored("b"),)
        scene.settle(settlement(claim))
        assert holder(scene) == "b"

    @pytest.mark.parametrize("state", sorted(FINAL))
    def test_until_expiry_outlasts_the_end(self, scene: Scene, state: State) -> None:
        scene.settle(settlement(started(scene, keyed("a", Key("k", EXPIRY, 100))), state))
        assert scene.insert(keyed("b", Key("k", on_conflict=REJECT))) == (held_by("a", rejected="k"),)
        scene.later(100)
        assert holder(scene) is None

    def test_until_expiry_outlasts_being_cancelled(self, scene: Scene) -> None:
        scene.insert(keyed("a", Key("k", EXPIRY, 100)))
        scene.alter(Verb.CANCEL, "a")
        assert holder(scene) == "a"

    @pytest.mark.parametrize("until", Until)
    def test_a_deleted_job_holds_nothing(self, scene: Scene, until: Until) -> None:
        scene.insert(keyed("a", Key("k", until, 1000)))
        scene.alter(Verb.DELETE, "a")
        assert holder(scene) is None

    def test_nor_does_one_that_had_ended_before(self, scene: Scene) -> None:
        scene.settle(settlement(started(scene, keyed("a", Key("k", EXPIRY, 1000)))))
        scene.alter(Verb.DELETE, "a")
        assert holder(scene) is None

    def test_who_held_a_key_before_gives_back_nothing_of_who_holds_it_now(self, scene: Scene) -> None:
        scene.insert(keyed("a", Key("k", EXPIRY, 100)))
        scene.later(100)
        scene.insert(keyed("b"))
        scene.alter(Verb.DELETE, "a")
        assert holder(scene) == "b"

    def test_a_revived_job_does_not_take_its_keys_back(self, scene: Scene) -> None:
        scene.settle(settlement(started(scene, keyed("a")), State.DEAD))
        scene.alter(Verb.REVIVE, "a")
        assert scene.state("a") is State.QUEUED
        assert scene.insert(keyed("b")) == (stored("b"),)
        scene.settle(*map(settlement, scene.claim(limit=1)))
        assert (scene.state("a"), holder(scene)) == (State.COMPLETED, "b")

    def test_a_pruned_jobs_time_goes_on(self, scene: Scene) -> None:
        """Who asks is still given the id: that the job is gone is no reason to run it once more."""
        scene.settle(settlement(started(scene, keyed("a", Key("k", EXPIRY, 100)))))
        scene.later(50)
        assert scene.prune(ALL_COMPLETED) == 1
        assert holder(scene) == "a"
        for conflict in Conflict:
            assert scene.insert(keyed("b", Key("k", on_conflict=conflict)))[0].id == "a"
        scene.later(50)
        assert scene.insert(keyed("b")) == (stored("b"),)

    def test_a_job_of_a_pruned_jobs_id_holds_what_that_held(self, scene: Scene) -> None:
        scene.settle(settlement(started(scene, keyed("a", Key("k", EXPIRY, 100)))))
        scene.later(50)
        scene.prune(ALL_COMPLETED)
        replacing = keyed("b", Key("k", on_conflict=REPLACE, max_delay_ms=10), args='{"n":2}', delay_ms=20)
        assert scene.insert("a", replacing) == (stored("a"), held_by("a"))
        assert (scene.job("a").args, scene.job("a").run_at) == ('{"n":2}', T0 + 60)

    def test_who_takes_a_key_over_holds_it_on_its_own_terms(self, scene: Scene) -> None:
        scene.join()
        scene.insert(keyed("a", Key("k", EXPIRY, 100), delay_ms=1000))
        scene.later(100)
        scene.insert(keyed("b", Key("k", STARTED)))
        scene.later(1000)
        assert holder(scene) == "b"
        scene.claim(limit=2)
        assert holder(scene) is None

    def test_pruning_leaves_the_keys_alone_whose_time_is_not_over(self, scene: Scene) -> None:
        scene.insert(keyed("a", Key("1", SETTLED, 100)), keyed("b", Key("2", EXPIRY, 101)), keyed("c", Key("3")))
        scene.later(100)
        assert scene.prune(ALL_ENDED) == 0
        assert [holder(scene, Key(name)) for name in "123"] == [None, "b", "c"]


class TestTogether:
    """One request, and all of it or none."""

    REJECTING = Key("k", on_conflict=REJECT)

    def test_one_rejected_job_keeps_all_others_out(self, scene: Scene) -> None:
        scene.insert(keyed("a"))
        with pytest.raises(DuplicateJob) as refusal:
            scene.insert("b", keyed("c", Key("other")), keyed("d", self.REJECTING), "e", all_or_none=True)
        assert (refusal.value.job_id, refusal.value.key) == ("a", "k")
        assert scene.ids() == ["a"]
        assert holder(scene, Key("other")) is None

    def test_also_when_they_are_rivals_themselves(self, scene: Scene) -> None:
        with pytest.raises(DuplicateJob) as refusal:
            scene.insert(keyed("a", self.REJECTING), keyed("b", self.REJECTING), all_or_none=True)
        assert refusal.value.job_id == "a"
        assert (scene.ids(), holder(scene)) == ([], None)

    def test_what_was_replaced_on_the_way_is_as_it_was(self, scene: Scene) -> None:
        scene.insert(keyed("a", args='{"n":1}'), keyed("b", Key("2")))
        before = scene.job("a")
        replacing = keyed("c", Key("k", on_conflict=REPLACE), args='{"n":2}')
        with pytest.raises(DuplicateJob):
            scene.insert(replacing, keyed("d", Key("2", on_conflict=REJECT)), all_or_none=True)
        assert scene.job("a") == before

    def test_schedules_do_not_move_then(self, scene: Scene) -> None:
        scene.configure(HOURLY)
        scene.insert(keyed("a"))
        tick = Tick("hourly", T0, T0 + HOUR, (keyed("b", Key("other")), keyed("c", self.REJECTING)))
        with pytest.raises(DuplicateJob):
            scene.insert("d", ticks=[tick], all_or_none=True)
        (schedule,) = scene.configure().schedules
        assert (schedule.next_at, schedule.last_at) == (T0, None)
        assert scene.ids() == ["a"]
        assert holder(scene, Key("other")) is None

    def test_a_conflict_that_is_no_rejection_keeps_nobody_out(self, scene: Scene) -> None:
        scene.insert(keyed("a"))
        replies = scene.insert("b", keyed("c"), keyed("d", Key("k", on_conflict=REPLACE)), all_or_none=True)
        assert replies == (stored("b"), held_by("a"), held_by("a"))

    def test_an_insert_sent_twice_is_not_rejected(self, scene: Scene) -> None:
        jobs = "a", keyed("b", self.REJECTING)
        assert scene.insert(*jobs, all_or_none=True) == (stored("a"), stored("b"))
        assert scene.insert(*jobs, all_or_none=True) == (held_by("a"), held_by("b"))

    def test_follow_ups_take_keys(self, scene: Scene) -> None:
        claim = started(scene, NewJob("first", "task"))
        follow_ups = keyed("a"), keyed("b"), keyed("c", self.REJECTING), keyed("d", Key("other"))
        assert scene.settle(settlement(claim, follow_ups=follow_ups)) == {"first"}
        assert sorted(scene.ids()) == ["a", "d", "first"]
        assert (holder(scene), holder(scene, Key("other"))) == ("a", "d")

    def test_a_follow_up_gets_the_key_that_its_parent_gives_back(self, scene: Scene) -> None:
        claim = started(scene, keyed("a"))
        assert scene.settle(settlement(claim, follow_ups=(keyed("b"),))) == {"a"}
        assert holder(scene) == "b"

    def test_and_that_which_anybody_gives_back_who_is_settled_with_it(self, scene: Scene) -> None:
        scene.join()
        scene.insert("a", keyed("b"))
        parent, other = scene.claim()
        assert scene.settle(settlement(parent, follow_ups=(keyed("c"),)), settlement(other)) == {"a", "b"}
        assert holder(scene) == "c"

    def test_a_follow_up_of_a_job_that_goes_back_meets_its_key(self, scene: Scene) -> None:
        claim = started(scene, keyed("a"))
        scene.settle(settlement(claim, State.SCHEDULED, delay_ms=50, follow_ups=(keyed("b"),)))
        assert scene.ids() == ["a"]


HOUR = 3_600_000
HOURLY = PutSchedule("hourly", "task", '{"every":"1h"}', next_at=T0)


class TestTicksKeys:
    """Schedules whose jobs have keys."""

    KEYS = (
        Key("plain"),
        Key("all of it", EXPIRY, 1000, REPLACE, seats=3, max_delay_ms=50),
        Key('it\'s "☃" \\', STARTED, on_conflict=REJECT),
    )

    def test_keys_come_back_as_they_were_put(self, scene: Scene) -> None:
        scene.configure(replace(HOURLY, keys=self.KEYS), replace(HOURLY, name="without"))
        keys = {schedule.name: schedule.keys for schedule in scene.configure().schedules}
        assert keys == {"hourly": self.KEYS, "without": ()}
        assert all(type(key.until) is Until and type(key.on_conflict) is Conflict for key in keys["hourly"])

    def test_putting_it_again_changes_them(self, scene: Scene) -> None:
        scene.configure(replace(HOURLY, keys=self.KEYS))
        for keys in (self.KEYS[1:], ()):
            scene.configure(replace(HOURLY, keys=keys))
            assert scene.configure().schedules[0].keys == keys

    def test_a_ticks_jobs_take_their_keys(self, scene: Scene) -> None:
        scene.configure(HOURLY)
        tick = Tick("hourly", T0, T0 + HOUR, (keyed("a"), keyed("b"), keyed("c", Key("other"))))
        assert scene.insert(keyed("first", Key("other")), ticks=[tick]) == (
            stored("first"),
            stored("a"),
            held_by("a"),
            held_by("first"),
        )

    def test_a_schedule_moves_on_though_its_job_is_there_still(self, scene: Scene) -> None:
        scene.configure(HOURLY)
        scene.insert(ticks=[Tick("hourly", T0, T0 + HOUR, (keyed("a"),))])
        rejecting = keyed("b", Key("k", on_conflict=REJECT))
        assert scene.insert(ticks=[Tick("hourly", T0 + HOUR, T0 + 2 * HOUR, (rejecting,))]) == (held_by("a", "k"),)
        assert scene.configure().schedules[0].next_at == T0 + 2 * HOUR

    def test_a_lost_tick_takes_no_keys(self, scene: Scene) -> None:
        scene.configure(HOURLY)
        assert scene.insert(ticks=[Tick("hourly", T0 - HOUR, T0 + HOUR, (keyed("a"),))]) == ()
        assert holder(scene) is None
