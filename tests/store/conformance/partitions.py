"""Partitions: the jobs of a queue by whose they are. They take turns, have limits of their own, and hold nobody up."""

from __future__ import annotations

from collections import Counter
from typing import Any

from mainspring.model.job import NewJob
from mainspring.model.limits import Limits, Rate
from mainspring.model.states import State
from mainspring.store.base import (
    ConfigureRequest,
    CountRequest,
    DefineQueue,
    DefineTask,
    Filter,
    LimitPartition,
    PartitionRecord,
    PauseQueue,
    PutSchedule,
    Room,
    Store,
    Verb,
)

from .gates import DAY, SECOND, claim_at_once, ids, ready
from .scene import ALL_ENDED, LEASE_MS, T0, Scene, settlement
from .texts import any_text


def place(id: str, partition: str, **fields: Any) -> NewJob:
    """A job in a partition."""
    return NewJob(id, fields.pop("task", "task"), partition=partition, **fields)


def backlog(partition: str, count: int, **fields: Any) -> list[NewJob]:
    """Jobs of one partition, in order."""
    return [place(f"{partition}{number:05}", partition, **fields) for number in range(count)]


class TestPlaces:
    """Where a job is, and what it costs, is known wherever it turns up."""

    def test_jobs_come_back_with_their_partition_and_cost(self, scene: Scene) -> None:
        ready(scene)
        scene.join("dead")
        scene.insert(place("a", "p", cost=7), "b")
        assert (scene.job("a").partition, scene.job("a").cost) == ("p", 7)
        claims = {claim.id: (claim.partition, claim.cost) for claim in scene.claim("dead")}
        assert claims == {"a": ("p", 7), "b": ("", 1)}
        scene.later(LEASE_MS + 1)
        reaped = {claim.id: claim for claim in scene.reap()}
        assert {id: (claim.partition, claim.cost) for id, claim in reaped.items()} == claims
        scene.settle(settlement(reaped["a"], State.SCHEDULED), settlement(reaped["b"]))
        (again,) = scene.claim()
        scene.settle(settlement(again, State.DEAD))
        assert (scene.job("a").partition, scene.job("a").cost) == (again.partition, again.cost) == ("p", 7)
        scene.alter(Verb.REVIVE, "a")
        assert (scene.job("a").partition, scene.job("a").cost) == ("p", 7)

    def test_so_do_follow_ups_and_schedules(self, scene: Scene) -> None:
        ready(scene, PutSchedule("s", "task", '{"every":"1h"}', T0, partition="p", cost=3))
        (schedule,) = scene.configure().schedules
        assert (schedule.partition, schedule.cost) == ("p", 3)
        scene.configure(PutSchedule("s", "task", '{"every":"1h"}', T0, partition="q", cost=4))
        (schedule,) = scene.configure().schedules
        assert (schedule.partition, schedule.cost) == ("q", 4)
        scene.insert("a")
        scene.settle(settlement(scene.claim_one(), follow_ups=(place("b", "q", cost=4),)))
        assert (scene.job("b").partition, scene.job("b").cost) == ("q", 4)

    def test_jobs_are_found_by_it(self, scene: Scene) -> None:
        ready(scene)
        scene.insert(place("a", "p"), place("b", "q"), "c", place("d", "p", queue="other"), place("e", "p"))
        scene.settle(*(settlement(claim) for claim in scene.claim() if claim.id == "a"))
        assert sorted(scene.ids(Filter(partition="p"))) == ["a", "d", "e"]
        assert sorted(scene.ids(Filter(partition="p", queue="default"))) == ["a", "e"]
        assert scene.ids(Filter(partition="")) == ["c"]
        counts = {(tally.queue, tally.state): tally.count for tally in self.tallies(scene, Filter(partition="p"))}
        assert counts == {("default", State.COMPLETED): 1, ("default", State.RUNNING): 1, ("other", State.QUEUED): 1}
        assert scene.alter(Verb.CANCEL, Filter(partition="p", queue="other")) == 1
        assert scene.state("d") is State.CANCELLED

    def tallies(self, scene: Scene, filter: Filter) -> Any:
        return scene.ask(CountRequest(filter, now=scene.now)).tallies

    @any_text
    def test_a_partition_may_be_called_anything(self, scene: Scene, text: str) -> None:
        ready(scene, LimitPartition(text, text, concurrency=1))
        scene.insert(*(place(f"{n}", text, queue=text) for n in range(3)), place("other", "other", queue=text))
        claims = scene.claim("worker", Room(text, 9))
        assert {claim.id: claim.partition for claim in claims} == {"0": text, "other": "other"}
        scene.configure(PauseQueue(text, True, text))
        record = scene.partition(text, text)
        assert record == PartitionRecord(text, text, T0, Limits(1))
        assert scene.ids(Filter(partition=text, states=(State.QUEUED,))) == ["2", "1"]
        scene.settle(*map(settlement, claims))
        assert scene.claim("worker", Room(text, 9)) == ()
        scene.configure(PauseQueue(text, False, text))
        assert ids(scene.claim("worker", Room(text, 9))) == ["1"]

    def test_one_name_in_two_queues_is_two_partitions(self, scene: Scene) -> None:
        ready(scene, DefineQueue("a", each=Limits(1)), DefineQueue("b", each=Limits(1)))
        scene.insert(*(place(f"{queue}{n}", "p", queue=queue) for queue in "ab" for n in range(2)))
        claims = scene.claim("worker", Room("a", 9), Room("b", 9))
        assert ids(claims) == ["a0", "b0"]
        scene.configure(PauseQueue("a", True, "p"))
        scene.settle(*map(settlement, claims))
        assert ids(scene.claim("worker", Room("a", 9), Room("b", 9))) == ["b1"]


class TestPartitionLimits:
    """Limits for every partition, for single ones, by the code and by operators."""

    def test_each_partition_has_its_own(self, scene: Scene) -> None:
        ready(scene, DefineQueue("default", each=Limits(2, Rate(3, "1s"))))
        scene.insert(*(job for name in "abc" for job in backlog(name, 9)))
        claims = scene.claim()
        assert Counter(claim.partition for claim in claims) == {"a": 2, "b": 2, "c": 2}
        scene.settle(*(settlement(claim) for claim in claims if claim.partition != "c"))
        assert Counter(claim.partition for claim in scene.claim()) == {"a": 1, "b": 1}

    def test_a_closed_one_holds_up_no_other(self, scene: Scene) -> None:
        ready(scene, DefineQueue("default", each=Limits(1)))
        scene.insert(*backlog("a", 2000, priority=0), *backlog("b", 3), "none")
        assert sorted(ids(scene.claim(limit=3))) == ["a00000", "b00000", "none"]
        scene.insert(place("c", "c"))
        assert ids(scene.claim(limit=1)) == ["c"]

    def test_a_job_too_dear_for_what_its_partition_has_left_holds_up_no_other_partition(self, scene: Scene) -> None:
        ready(scene, DefineQueue("default", each=Limits(rate=SECOND)))
        scene.insert(*backlog("a", 3, cost=3), place("az", "a"), *backlog("b", 6))
        assert Counter(claim.partition for claim in scene.claim()) == {"a": 1, "b": 5}
        scene.later(1010)
        assert sorted(ids(scene.claim())) == ["a00001", "b00005"]

    def test_exceptions_win_setting_by_setting(self, scene: Scene) -> None:
        big = Limits(3, weight=2)
        ready(scene, DefineQueue("default", each=Limits(1, Rate(4, "1m"), weight=0.5), partitions=(("big", big),)))
        assert scene.partition("big").limits == Limits(3, Rate(4, "1m"), weight=2)
        assert scene.partition("a").limits == Limits(1, Rate(4, "1m"), weight=0.5)
        scene.insert(*backlog("big", 9), *backlog("a", 9))
        claims = scene.claim()
        assert Counter(claim.partition for claim in claims) == {"big": 3, "a": 1}
        scene.settle(*map(settlement, claims))
        assert Counter(claim.partition for claim in scene.claim()) == {"big": 1, "a": 1}

    def test_an_operators_word_outlives_the_codes_setting_by_setting(self, scene: Scene) -> None:
        code = DefineQueue("default", each=Limits(5, SECOND), partitions=(("big", Limits(9, max_queued=100)),))
        ready(scene, LimitPartition("default", "big", concurrency=1), code)
        assert scene.partition("big").limits == Limits(1, SECOND, 100)
        scene.configure(LimitPartition("default", "big", rates=()), code)
        assert scene.partition("big").limits == Limits(1, (), 100)
        scene.configure(LimitPartition("default", "big", concurrency=None, max_queued=7, weight=3), code)
        assert scene.partition("big").limits == Limits(None, (), 7, 3)
        assert scene.partition("a").limits == Limits(5, SECOND)
        scene.insert(*backlog("big", 7), *backlog("a", 9))
        assert Counter(claim.partition for claim in scene.claim()) == {"big": 7, "a": 5}

    def test_an_operator_may_speak_of_every_partition(self, scene: Scene) -> None:
        code = DefineQueue("default", each=Limits(5, SECOND), partitions=(("big", Limits(3)),))
        ready(scene, code)
        scene.configure(LimitPartition("default", None, concurrency=1), code)
        assert scene.partition("a").limits == Limits(1, SECOND)
        assert scene.partition("big").limits == Limits(3, SECOND)
        (record,) = scene.configure().queues
        assert record.each == Limits(1, SECOND)
        scene.insert(*backlog("a", 9), *backlog("big", 9))
        assert Counter(claim.partition for claim in scene.claim()) == {"big": 3, "a": 1}
        scene.configure(LimitPartition("default", None, rates=(Rate(2, "1s"),)))
        assert scene.partition("a").limits == Limits(1, Rate(2, "1s"))

    def test_what_the_code_no_longer_says_is_gone(self, scene: Scene) -> None:
        ready(scene, DefineQueue("default", each=Limits(1), partitions=(("a", Limits(2)), ("b", Limits(3)))))
        scene.configure(DefineQueue("default", each=Limits(1), partitions=(("b", Limits(4)),)))
        assert [scene.partition(name).limits for name in "ab"] == [Limits(1), Limits(4)]
        scene.configure(DefineQueue("default"))
        assert [scene.partition(name).limits for name in "ab"] == [Limits(), Limits()]

    def test_the_codes_word_on_one_queue_leaves_the_others_alone(self, scene: Scene) -> None:
        ready(scene, DefineQueue("default", each=Limits(1), partitions=(("a", Limits(2)),)))
        scene.configure(DefineQueue("other", partitions=(("b", Limits(3)),)), DefineQueue("other"))
        assert scene.partition("a").limits == Limits(2)

    def test_jobs_without_a_partition_go_by_what_holds_for_each(self, scene: Scene) -> None:
        ready(scene, LimitPartition("default", "", concurrency=2), DefineQueue("default", each=Limits(1)))
        scene.insert(*"123", *backlog("a", 3))
        assert sorted(ids(scene.claim())) == ["1", "2", "a00000"]

    def test_queue_and_partition_both_have_a_say(self, scene: Scene) -> None:
        ready(scene, DefineQueue("default", 5, each=Limits(2)))
        scene.insert(*(job for name in "abcd" for job in backlog(name, 9)))
        claims = scene.claim()
        assert Counter(claim.partition for claim in claims) == {"a": 2, "b": 1, "c": 1, "d": 1}
        scene.settle(*(settlement(claim) for claim in claims if claim.partition == "a"))
        assert sorted(claim.partition for claim in scene.claim()) == ["b", "c"]

    def test_so_do_tasks(self, scene: Scene) -> None:
        ready(scene, DefineQueue("default", each=Limits(2)), DefineTask("x", 3))
        scene.insert(*(job for name in "abc" for job in backlog(name, 9, task="x")), place("c", "c", priority=9))
        counts = Counter(claim.partition for claim in scene.claim())
        assert (counts["a"], counts["b"], counts["c"]) == (1, 1, 2)

    def test_workers_claiming_at_once_keep_them(self, scene: Scene, store: Store) -> None:
        ready(scene, DefineQueue("default", each=Limits(2), partitions=(("c", Limits(rate=SECOND, concurrency=100)),)))
        scene.insert(*(job for name in "abc" for job in backlog(name, 50)))
        assert Counter(id[0] for id in claim_at_once(scene, store)) == {"a": 2, "b": 2, "c": 5}

    def test_records_are_of_those_with_settings_of_their_own(self, scene: Scene) -> None:
        ready(scene, DefineQueue("default", each=Limits(1), partitions=(("code", Limits(2)),)))
        scene.insert(*backlog("plain", 3))
        scene.claim()
        changes = (
            LimitPartition("default", "word", 3),
            PauseQueue("default", True, "paused"),
            LimitPartition("b", "x", 4),
        )
        settings = scene.configure(*changes)
        assert settings.changed == 3
        assert settings.partitions == (
            PartitionRecord("b", "x", limits=Limits(4)),
            PartitionRecord("default", "code", limits=Limits(2)),
            PartitionRecord("default", "paused", paused_at=T0, limits=Limits(1)),
            PartitionRecord("default", "word", limits=Limits(3)),
        )
        assert scene.partition("plain") == PartitionRecord("default", "plain", limits=Limits(1))
        assert scene.partition("unknown") == PartitionRecord("default", "unknown", limits=Limits(1))
        assert scene.partition("unknown", "unknown") == PartitionRecord("unknown", "unknown")
        assert scene.partition("word").limits == Limits(3)
        read = ConfigureRequest(read=frozenset({"partitions"}), limit=2, now=T0)
        assert [record.name for record in scene.ask(read).partitions] == ["x", "code"]

    def test_pruning_leaves_settings_alone(self, scene: Scene) -> None:
        ready(scene, LimitPartition("default", "a", 1), PauseQueue("default", True, "b"))
        scene.insert(*backlog("a", 1), *backlog("b", 1))
        scene.settle(settlement(scene.claim_one()))
        scene.alter(Verb.DELETE, Filter(partition="b"))
        scene.later(DAY)
        scene.prune(ALL_ENDED)
        assert scene.ids() == []
        assert [record.name for record in scene.configure().partitions] == ["a", "b"]

    def test_pruning_forgets_no_start_that_counts_still(self, scene: Scene) -> None:
        ready(scene, DefineQueue("default", each=Limits(rate=Rate(2, "1h"))))
        scene.insert(*backlog("a", 2))
        scene.settle(*map(settlement, scene.claim()))
        scene.later(1000)
        assert scene.prune(ALL_ENDED) == 2
        scene.insert(place("x", "a"))
        assert scene.claim() == ()

    def test_nor_that_a_partition_was_closed(self, scene: Scene) -> None:
        ready(scene)
        scene.insert(place("a", "p"))
        scene.settle(settlement(scene.claim_one(), State.DEAD, closed_ms=5000))
        scene.later(1000)
        assert scene.prune(ALL_ENDED) == 1
        scene.insert(place("b", "p"))
        reply = scene.claim_reply()
        assert (reply.claims, reply.next_due) == ((), T0 + 5000)


class TestPausedPartitions:
    """One partition of a queue stands still."""

    def test_it_gives_nothing_until_it_is_resumed(self, scene: Scene) -> None:
        ready(scene)
        scene.insert(*backlog("a", 2), *backlog("b", 2))
        scene.configure(PauseQueue("default", True, "a"))
        assert (scene.partition("a").paused_at, scene.partition("b").paused_at) == (T0, None)
        scene.insert(place("a2", "a", delay_ms=10))
        scene.later(10)
        assert ids(scene.claim()) == ["b00000", "b00001"]
        scene.configure(PauseQueue("default", True, "a"))
        assert scene.partition("a").paused_at == T0
        scene.configure(PauseQueue("default", False, "a"))
        assert scene.partition("a").paused_at is None
        assert ids(scene.claim()) == ["a00000", "a00001", "a2"]

    def test_it_can_be_paused_before_its_first_job(self, scene: Scene) -> None:
        ready(scene)
        assert scene.configure(PauseQueue("default", True, "a")).changed == 1
        scene.insert(place("a", "a"))
        reply = scene.claim_reply()
        assert (reply.claims, reply.next_due) == ((), None)

    def test_the_queue_itself_is_another_matter(self, scene: Scene) -> None:
        ready(scene)
        scene.insert(*backlog("a", 1), *backlog("b", 1))
        scene.configure(PauseQueue("default", True, "a"), PauseQueue("default", True))
        assert scene.claim() == ()
        (record,) = scene.configure(PauseQueue("default", False)).queues
        assert record.paused_at is None
        assert ids(scene.claim()) == ["b00000"]
        scene.configure(PauseQueue("default", True), PauseQueue("default", False, "a"))
        assert scene.claim() == ()

    def test_jobs_without_a_partition_can_be_paused_alone(self, scene: Scene) -> None:
        ready(scene, PauseQueue("default", True, ""))
        scene.insert("none", place("a", "a"))
        assert ids(scene.claim()) == ["a"]
        (record,) = scene.configure(PauseQueue("default", False, "")).queues
        assert record.paused_at is None
        assert ids(scene.claim()) == ["none"]

    def test_limits_and_pauses_do_not_touch_each_other(self, scene: Scene) -> None:
        ready(scene, PauseQueue("default", True, "a"), LimitPartition("default", "a", 3))
        scene.configure(DefineQueue("default", partitions=(("a", Limits(5)),)))
        assert scene.partition("a") == PartitionRecord("default", "a", T0, Limits(3))
        scene.configure(PauseQueue("default", False, "a"))
        assert scene.partition("a").limits == Limits(3)

    def test_a_paused_one_does_not_open_with_time(self, scene: Scene) -> None:
        ready(scene, DefineQueue("default", each=Limits(rate=SECOND)))
        scene.insert(*backlog("a", 9))
        scene.claim()
        scene.configure(PauseQueue("default", True, "a"))
        assert scene.claim_reply().next_due is None
        scene.configure(PauseQueue("default", False, "a"))
        assert scene.claim_reply().next_due is not None

    def test_what_runs_there_may_end(self, scene: Scene) -> None:
        ready(scene)
        scene.insert(place("a", "a"))
        claim = scene.claim_one()
        scene.configure(PauseQueue("default", True, "a"))
        assert scene.settle(settlement(claim)) == {"a"}
