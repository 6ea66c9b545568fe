"""Room: a queue, or a partition of it, that holds as many waiting jobs as it may turns new ones away."""

from __future__ import annotations

import pytest

from mainspring.errors import DuplicateJob, QueueFull
from mainspring.model.job import Conflict, Edge, Key, NewJob, Until
from mainspring.model.limits import Limits
from mainspring.model.states import FINAL, State
from mainspring.store.base import (
    DefineQueue,
    Full,
    Inserted,
    LimitPartition,
    LimitQueue,
    PauseQueue,
    PutSchedule,
    Tick,
    Verb,
)

from .gates import ids, ready
from .keys import HOUR, KEY, held_by, holder, keyed, stored
from .partitions import place
from .scene import T0, Scene, settlement
from .texts import any_text

THREE = DefineQueue("default", max_queued=3)


def full(id: str, limit: int = 3, queue: str = "default", partition: str | None = None) -> Inserted:
    """A job that was turned away."""
    return Inserted(id, existed=False, full=Full(queue, partition, limit))


class TestRoom:
    """A queue takes jobs while fewer are waiting than it may hold."""

    def test_a_full_queue_turns_jobs_away(self, scene: Scene) -> None:
        ready(scene, THREE)
        assert scene.insert(*"ab") == (stored("a"), stored("b"))
        assert scene.insert(*"cde") == (stored("c"), full("d"), full("e"))
        assert scene.insert("f") == (full("f"),)
        assert sorted(scene.ids()) == ["a", "b", "c"]

    def test_those_that_wait_for_a_time_are_waiting_too(self, scene: Scene) -> None:
        ready(scene, THREE)
        scene.insert("a", NewJob("b", "task", delay_ms=1000), NewJob("c", "task", run_at=T0 + 9))
        assert scene.insert("d", NewJob("e", "task", delay_ms=5)) == (full("d"), full("e"))

    def test_a_claim_makes_room(self, scene: Scene) -> None:
        ready(scene, THREE)
        scene.insert(*"abc")
        scene.claim(limit=2)
        assert scene.insert(*"def") == (stored("d"), stored("e"), full("f"))

    @pytest.mark.parametrize("verb", [Verb.CANCEL, Verb.DELETE])
    def test_so_does_an_operator_who_takes_jobs_away(self, scene: Scene, verb: Verb) -> None:
        ready(scene, THREE)
        scene.insert(*"abc")
        scene.alter(verb, "b")
        assert scene.insert(*"de") == (stored("d"), full("e"))

    def test_jobs_that_run_or_have_ended_take_no_room(self, scene: Scene) -> None:
        ready(scene, THREE)
        for number, state in enumerate(sorted(FINAL)):
            scene.insert(f"{number}")
            scene.settle(settlement(scene.claim_one(), state))
        scene.insert("running")
        scene.claim()
        assert scene.insert(*"abcd") == (stored("a"), stored("b"), stored("c"), full("d"))

    def test_nor_do_blocked_ones(self, scene: Scene) -> None:
        ready(scene, THREE)
        scene.insert("a", *(NewJob(f"child {n}", "task", parents=(Edge("a"),)) for n in range(5)))
        assert scene.insert(*"bcd") == (stored("b"), stored("c"), full("d"))

    def test_jobs_that_come_back_are_not_turned_away(self, scene: Scene) -> None:
        """They were let in once; but they fill the place."""
        ready(scene, THREE)
        scene.insert(*"abc")
        claims = scene.claim()
        scene.insert(*"de")
        scene.settle(
            settlement(claims[0], State.SCHEDULED, delay_ms=1000),
            settlement(claims[1], State.QUEUED),
            settlement(claims[2], State.DEAD),
        )
        scene.alter(Verb.REVIVE, "c")
        assert scene.count() == {("default", State.QUEUED): 4, ("default", State.SCHEDULED): 1}
        scene.claim(limit=2)
        assert scene.insert("f") == (full("f"),)
        scene.claim(limit=1)
        assert scene.insert("f") == (stored("f"),)

    def test_each_queue_has_its_own_room(self, scene: Scene) -> None:
        ready(scene, THREE, DefineQueue("one", max_queued=1))
        jobs = [NewJob(f"{queue}{n}", "task", queue) for n in range(4) for queue in ("default", "one", "any")]
        turned_away = {reply.id: reply.full for reply in scene.insert(*jobs) if reply.full}
        assert turned_away == {
            "default3": Full("default", None, 3),
            **{f"one{n}": Full("one", None, 1) for n in (1, 2, 3)},
        }

    def test_paused_and_closed_queues_fill_up_like_others(self, scene: Scene) -> None:
        ready(scene, THREE, PauseQueue("default", True), LimitQueue("default", concurrency=0))
        assert scene.insert(*"abcd")[3:] == (full("d"),)

    def test_a_changed_limit_counts_at_once(self, scene: Scene) -> None:
        ready(scene, THREE)
        scene.insert(*"abc")
        scene.configure(LimitQueue("default", max_queued=5))
        assert scene.insert(*"def") == (stored("d"), stored("e"), full("f", 5))
        scene.configure(LimitQueue("default", max_queued=2), THREE)
        scene.claim(limit=2)
        assert scene.insert("f") == (full("f", 2),)
        scene.claim(limit=2)
        assert scene.insert("f") == (stored("f"),)
        scene.configure(LimitQueue("default", max_queued=None), THREE)
        assert all(reply.full is None for reply in scene.insert(*"ghijkl"))

    def test_a_large_set_fills_it_to_the_brim(self, scene: Scene) -> None:
        ready(scene, DefineQueue("default", max_queued=600))
        replies = scene.insert(*(f"{n:04}" for n in range(1500)))
        assert [reply.full is None for reply in replies] == [True] * 600 + [False] * 900
        assert scene.count() == {("default", State.QUEUED): 600}

    @any_text
    def test_full_places_may_be_called_anything(self, scene: Scene, text: str) -> None:
        ready(scene, LimitQueue(text, max_queued=2), LimitPartition(text, text, max_queued=1))
        replies = scene.insert(*(place(f"{n}", p, queue=text) for n, p in enumerate((text, text, "q", "q"))))
        assert replies == (stored("0"), full("1", 1, text, text), stored("2"), full("3", 2, text))


class TestPartitionsRoom:
    """So does each partition."""

    def test_each_has_its_own_room(self, scene: Scene) -> None:
        ready(scene, DefineQueue("default", each=Limits(max_queued=2), partitions=(("big", Limits(max_queued=3)),)))
        jobs = [place(f"{name}{n}", name) for n in range(4) for name in ("a", "b", "big")]
        turned_away = {reply.id: reply.full for reply in scene.insert(*jobs) if reply.full}
        assert turned_away == {
            **{f"{name}{n}": Full("default", name, 2) for name in "ab" for n in (2, 3)},
            "big3": Full("default", "big", 3),
        }
        scene.claim(limit=3)
        assert all(scene.insert(place(f"{name}x", name)) == (stored(f"{name}x"),) for name in ("a", "b", "big"))

    def test_scheduled_ones_count_here_too(self, scene: Scene) -> None:
        ready(scene, LimitPartition("default", "a", max_queued=1))
        scene.insert(place("a", "a", delay_ms=1000))
        assert scene.insert(place("b", "a"), place("c", "b")) == (full("b", 1, partition="a"), stored("c"))

    def test_the_queue_has_a_say_as_well(self, scene: Scene) -> None:
        ready(scene, DefineQueue("default", max_queued=3, each=Limits(max_queued=2)))
        replies = scene.insert(*(place(f"{name}{n}", name) for name in "ab" for n in range(3)))
        assert [reply.full is None for reply in replies] == [True, True, False, True, False, False]
        assert replies[2] == full("a2", 2, partition="a")
        assert replies[4] == full("b1", 3)

    def test_what_a_partition_turns_away_takes_no_room_in_the_queue(self, scene: Scene) -> None:
        ready(scene, DefineQueue("default", max_queued=3, each=Limits(max_queued=1)))
        replies = scene.insert(*(place(f"a{n}", "a") for n in range(9)), place("b", "b"), place("c", "c"))
        assert [reply.id for reply in replies if reply.full is None] == ["a0", "b", "c"]

    def test_an_operators_word_outlives_the_codes(self, scene: Scene) -> None:
        code = DefineQueue("default", each=Limits(max_queued=1), partitions=(("a", Limits(max_queued=2)),))
        ready(scene, LimitPartition("default", "a", max_queued=3), code)
        scene.configure(LimitPartition("default", None, max_queued=2), code)
        replies = scene.insert(*(place(f"{name}{n}", name) for name in "ab" for n in range(4)))
        assert [reply.id for reply in replies if reply.full is None] == ["a0", "a1", "a2", "b0", "b1"]
        scene.configure(LimitPartition("default", "a", max_queued=None))
        assert scene.insert(place("a3", "a")) == (stored("a3"),)


class TestSentTwice:
    """What is known already is never turned away."""

    def test_jobs_that_are_there_need_no_room(self, scene: Scene) -> None:
        ready(scene, THREE)
        scene.insert(*"abc")
        assert scene.insert(*"adb") == (held_by("a"), full("d"), held_by("b"))
        scene.settle(*map(settlement, scene.claim(limit=1)))
        scene.insert("d")
        assert scene.insert(*"ade") == (held_by("a"), held_by("d"), full("e"))

    def test_one_job_twice_in_a_request_takes_one_place(self, scene: Scene) -> None:
        ready(scene, THREE)
        assert scene.insert(*"aabbcc") == (
            *(stored("a"), held_by("a")),
            *(stored("b"), held_by("b")),
            *(stored("c"), held_by("c")),
        )

    def test_who_was_turned_away_may_come_again(self, scene: Scene) -> None:
        ready(scene, THREE)
        scene.insert(*"abcd")
        scene.claim(limit=1)
        assert scene.insert(*"abcd") == (held_by("a"), held_by("b"), held_by("c"), stored("d"))

    def test_all_or_none_sent_twice_is_all_both_times(self, scene: Scene) -> None:
        ready(scene, THREE)
        assert scene.insert(*"abc", all_or_none=True) == (stored("a"), stored("b"), stored("c"))
        assert scene.insert(*"abc", all_or_none=True) == (held_by("a"), held_by("b"), held_by("c"))


class TestKeysAndRoom:
    """Keys are looked at where there is no room, and taken where there is."""

    def test_who_is_there_already_by_its_key_needs_no_room(self, scene: Scene) -> None:
        ready(scene, THREE)
        scene.insert(keyed("a"), "b", "c")
        rejecting = keyed("e", Key("k", on_conflict=Conflict.REJECT))
        assert scene.insert(keyed("d"), rejecting, keyed("f", Key("other"))) == (
            held_by("a"),
            held_by("a", rejected="k"),
            full("f"),
        )

    def test_also_where_the_holder_came_with_the_last_place(self, scene: Scene) -> None:
        ready(scene, THREE)
        assert scene.insert("a", "b", keyed("c"), keyed("d"), keyed("e", Key("other"))) == (
            *(stored("a"), stored("b"), stored("c")),
            held_by("c"),
            full("e"),
        )

    def test_who_replaces_needs_no_room_either(self, scene: Scene) -> None:
        ready(scene, THREE)
        scene.insert(keyed("a"), "b", "c")
        replacing = keyed("d", Key("k", on_conflict=Conflict.REPLACE), args='{"n":2}', delay_ms=50)
        assert scene.insert(replacing) == (held_by("a"),)
        assert (scene.job("a").args, scene.state("a")) == ('{"n":2}', State.SCHEDULED)

    def test_who_is_turned_away_takes_no_keys(self, scene: Scene) -> None:
        ready(scene, THREE)
        scene.insert(*"abc")
        keys = KEY, Key("seats", Until.EXPIRY, HOUR, seats=2)
        elsewhere = keyed("e", *keys, queue="elsewhere")
        assert scene.insert(keyed("d", *keys), elsewhere, keyed("f", *keys)) == (
            full("d"),
            stored("e"),
            held_by("e"),
        )

    def test_nor_does_it_hold_up_the_next_of_its_key(self, scene: Scene) -> None:
        ready(scene, LimitPartition("default", "a", max_queued=1))
        scene.insert(place("a", "a"))
        assert scene.insert(keyed("b", partition="a"), keyed("c", partition="b"), keyed("d", partition="a")) == (
            full("b", 1, partition="a"),
            stored("c"),
            held_by("c"),
        )

    def test_who_is_kept_out_by_a_key_takes_no_room(self, scene: Scene) -> None:
        ready(scene, THREE)
        duplicates = [keyed(f"{n}") for n in range(9)]
        assert [reply.existed for reply in scene.insert(*duplicates, "a", "b")] == [False, *8 * [True], False, False]


class TestAllOrNone:
    """All of a request, or nothing of it."""

    def test_one_without_room_keeps_all_others_out(self, scene: Scene) -> None:
        ready(scene, THREE)
        scene.insert("a")
        with pytest.raises(QueueFull) as refusal:
            scene.insert(keyed("b"), "c", "d", NewJob("e", "task", "elsewhere"), all_or_none=True)
        assert (refusal.value.queue, refusal.value.partition, refusal.value.limit) == ("default", None, 3)
        assert scene.ids() == ["a"]
        assert holder(scene) is None
        assert scene.insert(*"bc", all_or_none=True) == (stored("b"), stored("c"))

    def test_a_partition_is_named(self, scene: Scene) -> None:
        ready(scene, THREE, LimitPartition("default", "p", max_queued=1))
        with pytest.raises(QueueFull) as refusal:
            scene.insert("a", place("b", "p"), place("c", "p"), all_or_none=True)
        assert (refusal.value.queue, refusal.value.partition, refusal.value.limit) == ("default", "p", 1)
        assert scene.ids() == []

    def test_schedules_do_not_move_then_and_holders_stay_as_they_are(self, scene: Scene) -> None:
        ready(scene, THREE, PutSchedule("hourly", "task", '{"every":"1h"}', next_at=T0))
        scene.insert(keyed("a", delay_ms=10))
        before = scene.job("a")
        replacing = keyed("x", Key("k", on_conflict=Conflict.REPLACE), args='{"n":2}')
        tick = Tick("hourly", T0, T0 + HOUR, (NewJob("t", "task", "elsewhere"),))
        with pytest.raises(QueueFull):
            scene.insert(replacing, "b", "c", "d", ticks=[tick], all_or_none=True)
        (schedule,) = scene.configure().schedules
        assert (schedule.next_at, scene.find()) == (T0, [before])

    def test_a_rejected_one_is_a_rejected_one(self, scene: Scene) -> None:
        ready(scene, THREE)
        scene.insert(keyed("a"), "b", "c")
        with pytest.raises(DuplicateJob):
            scene.insert(keyed("d", Key("k", on_conflict=Conflict.REJECT)), all_or_none=True)

    def test_without_it_the_others_are_stored(self, scene: Scene) -> None:
        ready(scene, THREE)
        replies = scene.insert(*"abcd", NewJob("e", "task", "elsewhere"))
        assert replies[3:] == (full("d"), stored("e"))


class TestTicksRoom:
    """Ticks need no room: a schedule that has moved on has had its turn."""

    def test_a_ticks_jobs_are_not_turned_away(self, scene: Scene) -> None:
        ready(scene, THREE, PutSchedule("hourly", "task", '{"every":"1h"}', next_at=T0))
        scene.insert(*"abc")
        jobs = tuple(NewJob(f"t{n}", "task") for n in range(4))
        for all_or_none in (False, True):
            tick = Tick("hourly", T0 + all_or_none * HOUR, T0 + (1 + all_or_none) * HOUR, jobs)
            replies = scene.insert(ticks=[tick], all_or_none=all_or_none)
            assert [(reply.existed, reply.full) for reply in replies] == [(all_or_none, None)] * 4
        assert scene.count() == {("default", State.QUEUED): 7}

    def test_nor_are_those_of_a_partition(self, scene: Scene) -> None:
        ready(scene, DefineQueue("default", each=Limits(max_queued=1)))
        scene.configure(PutSchedule("hourly", "task", '{"every":"1h"}', next_at=T0))
        tick = Tick("hourly", T0, T0 + HOUR, (place("a", "p"), place("b", "p")))
        assert scene.insert(ticks=[tick]) == (stored("a"), stored("b"))

    def test_but_they_take_room(self, scene: Scene) -> None:
        ready(scene, THREE, PutSchedule("hourly", "task", '{"every":"1h"}', next_at=T0))
        tick = Tick("hourly", T0, T0 + HOUR, (NewJob("t", "task"), NewJob("u", "task")))
        scene.insert("a", ticks=[tick])
        assert scene.insert("b") == (full("b"),)
        assert len(ids(scene.claim())) == 3
        assert scene.insert("b") == (stored("b"),)
