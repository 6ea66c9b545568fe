"""Statistics: what was counted as it happened, and what workers have reported."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from mainspring.model.job import Key, NewJob
from mainspring.model.states import State
from mainspring.model.stats import HOUR_MS, KEEP_MS, MINUTE_MS, Cell, Numbers, Report
from mainspring.store.base import (
    BeatRequest,
    CountRequest,
    Filter,
    InsertRequest,
    LimitQueue,
    PruneRequest,
    PutSchedule,
    Tick,
    Verb,
    Window,
)

from .scene import LEASE_MS, T0, Scene, own, presence, settlement

MINUTE = T0 // MINUTE_MS * MINUTE_MS
"""The one in which a scene begins."""
HOUR = Window(HOUR_MS, MINUTE_MS)
MONTH = Window(KEEP_MS, KEEP_MS)
EVERYTHING = Filter()


def sums(scene: Scene, window: Window = HOUR, filter: Filter = EVERYTHING) -> dict[tuple[int, str], Numbers]:
    """What a window comes to: by how many minutes after the scene began a stretch begins, and name."""
    reply = scene.ask(CountRequest(filter, window, now=scene.now))
    assert (reply.tallies, reply.now) == ((), scene.now)
    assert list(reply.stats) == sorted(reply.stats, key=lambda each: (each.at, each.name))
    return {((each.at - MINUTE) // MINUTE_MS, each.name): dict(each.numbers) for each in reply.stats}


def by(scene: Scene, name: Literal["queue", "task"], filter: Filter = EVERYTHING) -> dict[str, Numbers]:
    return {name: numbers for (_, name), numbers in sums(scene, replace(HOUR, by=name), filter).items()}


def total(scene: Scene) -> Numbers:
    return by(scene, "task").get("task", {})


def report(
    scene: Scene,
    number: int,
    *cells: Cell,
    source: str = "life",
    worker: str = "worker",
    phase: Literal["join", "stay", "leave"] = "stay",
) -> None:
    """A worker's beat brings what it has counted."""
    scene.ask(BeatRequest(presence(worker), phase, (Report(source, number, cells),), now=scene.now))


def roll_up(scene: Scene, limit: int = 1000) -> int:
    return scene.ask(PruneRequest({}, limit, stats=True, now=scene.now))


def cell(minutes: int = 0, queue: str = "default", task: str = "task", **numbers: int) -> Cell:
    """A minute's numbers; a name with an underscore is that of a bucket."""
    return Cell(MINUTE + minutes * MINUTE_MS, queue, task, {name.replace("_", ":"): n for name, n in numbers.items()})


class TestEnqueued:
    """What is inserted is counted by the insert."""

    def test_what_is_inserted_counts_at_once(self, scene: Scene) -> None:
        scene.insert("1", "2", NewJob("3", "other"), NewJob("4", "task", queue="email"))
        assert by(scene, "queue") == {"default": {"enqueued": 3}, "email": {"enqueued": 1}}
        assert by(scene, "task") == {"task": {"enqueued": 3}, "other": {"enqueued": 1}}
        scene.insert("5")
        assert by(scene, "queue")["default"] == {"enqueued": 4}

    def test_a_single_new_job_counts_too(self, scene: Scene) -> None:
        for number in range(3):
            scene.ask(InsertRequest((NewJob(f"{number}", "task"),), fresh=True, now=scene.now))
        assert total(scene) == {"enqueued": 3}

    def test_it_counts_in_its_minute(self, scene: Scene) -> None:
        scene.insert("1", "2")
        scene.later(2 * MINUTE_MS)
        scene.insert("3")
        assert sums(scene) == {(0, ""): {"enqueued": 2}, (2, ""): {"enqueued": 1}}

    def test_whatever_there_is_about_it(self, scene: Scene) -> None:
        scene.insert("parent", NewJob("later", "task", delay_ms=1000), NewJob("keyed", "task", keys=(Key("k"),)))
        scene.insert(own("child", "parent"), NewJob("part", "task", partition="p", cost=3))
        assert total(scene) == {"enqueued": 5}

    def test_what_is_there_already_does_not(self, scene: Scene) -> None:
        scene.join()
        scene.finish("finished")
        scene.insert("1", NewJob("keyed", "task", keys=(Key("k"),)))
        scene.insert("1", "1", "2", "2")
        scene.insert("finished", NewJob("other", "task", keys=(Key("k"),)))
        assert by(scene, "task") == {"task": {"enqueued": 3}, "finish": {"enqueued": 1}}

    def test_nor_what_is_turned_away(self, scene: Scene) -> None:
        scene.configure(LimitQueue("default", max_queued=2))
        assert [reply.stored for reply in scene.insert("1", "2", "3")] == [True, True, False]
        assert total(scene) == {"enqueued": 2}

    def test_jobs_of_ticks_and_follow_ups_do(self, scene: Scene) -> None:
        scene.join()
        scene.configure(PutSchedule("s", "task", "{}", next_at=scene.now))
        tick = Tick("s", scene.now, scene.now + 1000, (NewJob("tick", "task"),))
        scene.insert(ticks=[tick])
        scene.insert(ticks=[tick])
        claim = scene.claim_one()
        scene.settle(settlement(claim, follow_ups=(NewJob("next", "task"), NewJob("after", "task", delay_ms=5))))
        assert total(scene) == {"enqueued": 3}

    def test_a_revived_job_is_not_enqueued_again(self, scene: Scene) -> None:
        scene.join()
        scene.finish("1", state=State.DEAD)
        scene.alter(Verb.REVIVE, "1")
        assert by(scene, "task") == {"finish": {"enqueued": 1}}


class TestCancelled:
    """What ends without a worker is counted where it ends."""

    def test_waiting_jobs_that_are_cancelled_count_as_that(self, scene: Scene) -> None:
        scene.insert("1", "2", NewJob("3", "task", delay_ms=1000))
        scene.alter(Verb.CANCEL, Filter(ids=("1", "3")))
        scene.alter(Verb.CANCEL, "1")
        assert total(scene) == {"enqueued": 3, "cancelled": 2}

    def test_running_ones_are_left_to_their_worker(self, scene: Scene) -> None:
        scene.join()
        scene.insert("1")
        claim = scene.claim_one()
        scene.alter(Verb.CANCEL, "1")
        scene.settle(settlement(claim, State.CANCELLED))
        assert total(scene) == {"enqueued": 1}

    def test_those_who_go_down_with_a_parent_count_too(self, scene: Scene) -> None:
        scene.join(lease_ms=HOUR_MS)
        scene.insert(own("parent"), own("child", "parent"), own("grandchild", "child"))
        scene.later(MINUTE_MS)
        scene.end("parent", state=State.DEAD)
        assert sums(scene) == {(0, ""): {"enqueued": 3}, (1, ""): {"cancelled": 2}}
        assert by(scene, "queue")["child"] == {"enqueued": 1, "cancelled": 1}
        scene.insert(own("late", "parent"))
        assert by(scene, "queue")["late"] == {"enqueued": 1, "cancelled": 1}

    def test_deleting_is_not_cancelling(self, scene: Scene) -> None:
        scene.insert("1", own("child", "1"))
        scene.alter(Verb.DELETE, "1")
        assert total(scene) == {"enqueued": 2, "cancelled": 1}


class TestReports:
    """What workers have counted comes with their beats."""

    def test_reports_add_up(self, scene: Scene) -> None:
        scene.join()
        scene.insert("1")
        report(scene, 1, cell(started=2, wait=30, wait_7=2), cell(1, started=1))
        report(scene, 2, cell(started=1, completed=2, wait=5, wait_7=1), cell(1, "email", "mail", failed=1))
        assert sums(scene) == {
            (0, ""): {"enqueued": 1, "started": 3, "completed": 2, "wait": 35, "wait:7": 3},
            (1, ""): {"started": 1, "failed": 1},
        }
        assert by(scene, "queue")["email"] == by(scene, "task")["mail"] == {"failed": 1}

    def test_a_report_that_comes_again_counts_once(self, scene: Scene) -> None:
        scene.join()
        for _ in range(3):
            report(scene, 1, cell(started=1))
        report(scene, 2, cell(started=1))
        report(scene, 1, cell(started=1))
        assert total(scene) == {"started": 2}

    def test_each_source_has_its_own_numbers(self, scene: Scene) -> None:
        report(scene, 1, cell(started=1), source="a")
        report(scene, 1, cell(started=1), source="b")
        assert total(scene) == {"started": 2}

    def test_several_come_in_one_beat(self, scene: Scene) -> None:
        scene.join()
        reports = (Report("life", 1, (cell(started=1),)), Report("life", 2, (cell(started=1), cell(1, started=1))))
        for _ in range(2):
            scene.ask(BeatRequest(presence("worker"), "leave", reports, now=scene.now))
        assert sums(scene) == {(0, ""): {"started": 2}, (1, ""): {"started": 1}}

    def test_whoever_is_given_up_or_leaves_is_heard_all_the_same(self, scene: Scene) -> None:
        scene.join()
        scene.later(LEASE_MS + 1)
        report(scene, 1, cell(started=1))
        report(scene, 1, cell(started=1), worker="its next name", phase="join")
        report(scene, 2, cell(completed=1), worker="its next name", phase="leave")
        report(scene, 3, cell(dead=1), worker="its next name")
        assert total(scene) == {"started": 1, "completed": 1, "dead": 1}

    def test_a_beat_says_what_it_says_with_and_without(self, scene: Scene) -> None:
        assert not scene.ask(
            BeatRequest(presence("w"), "stay", (Report("l", 1, (cell(started=1),)),), now=scene.now)
        ).alive
        scene.join("w")
        reply = scene.ask(BeatRequest(presence("w"), "stay", (Report("l", 2, (cell(started=1),)),), now=scene.now))
        assert (reply.alive, reply.now) == (True, scene.now)

    def test_names_of_all_kinds_are_kept_apart(self, scene: Scene) -> None:
        names = ["a:b", "a", "b", "%3A", "ü", 'q"', "a b"]
        scene.insert(*(NewJob(f"{queue} {task}", task, queue=queue) for queue in names for task in names))
        report(scene, 1, *(cell(0, queue, task, started=1) for queue in names for task in names))
        assert by(scene, "queue") == {name: {"enqueued": len(names), "started": len(names)} for name in names}
        assert by(scene, "task", Filter(queue="a:b")) == {name: {"enqueued": 1, "started": 1} for name in names}


class TestReading:
    """Which statistics are read."""

    def test_of_one_queue_or_task(self, scene: Scene) -> None:
        scene.insert("1", NewJob("2", "other"), NewJob("3", "task", queue="email"))
        report(scene, 1, cell(started=1), cell(0, "email", started=5), cell(0, "email", "other", started=7))
        assert sums(scene, filter=Filter(queue="email")) == {(0, ""): {"enqueued": 1, "started": 12}}
        assert sums(scene, filter=Filter(task="task")) == {(0, ""): {"enqueued": 2, "started": 6}}
        assert sums(scene, filter=Filter(queue="email", task="task")) == {(0, ""): {"enqueued": 1, "started": 5}}
        assert sums(scene, filter=Filter(queue="none")) == {}
        assert by(scene, "task", Filter(queue="default")) == {
            "task": {"enqueued": 1, "started": 1},
            "other": {"enqueued": 1},
        }

    def test_a_window_ends_now_and_has_no_more_than_its_steps(self, scene: Scene) -> None:
        report(scene, 1, *(cell(-minutes, started=1) for minutes in range(90)))
        assert [minutes for minutes, _ in sums(scene, Window(5 * MINUTE_MS, MINUTE_MS))] == [-4, -3, -2, -1, 0]
        scene.later(2 * MINUTE_MS)
        assert [minutes for minutes, _ in sums(scene, Window(5 * MINUTE_MS, MINUTE_MS))] == [-2, -1, 0]

    def test_longer_steps_are_sums_of_shorter_ones(self, scene: Scene) -> None:
        report(scene, 1, *(cell(-minutes, started=1, wait_3=2) for minutes in range(120)))
        steps = sums(scene, Window(2 * HOUR_MS, 10 * MINUTE_MS))
        assert len(steps) == 12
        assert list(steps.values())[:-1] == [{"started": 10, "wait:3": 20}] * 11

    def test_empty_names_are_names(self, scene: Scene) -> None:
        """Cells that belong to no queue, or no task, are read as others are: also the first of all in a window."""
        cells = [cell(-59, "", "", samples=1), cell(-59, "a", "", depth=2), cell(-59, "a", "t", started=3)]
        report(scene, 1, *cells, cell(-10, "", "", samples=1))
        assert sums(scene, filter=Filter(queue="", task="")) == {(-59, ""): {"samples": 1}, (-10, ""): {"samples": 1}}
        assert sums(scene, filter=Filter(queue="a")) == {(-59, ""): {"depth": 2, "started": 3}}
        assert sums(scene, filter=Filter(task="")) == {(-59, ""): {"samples": 1, "depth": 2}, (-10, ""): {"samples": 1}}
        assert by(scene, "queue") == {"": {"samples": 2}, "a": {"depth": 2, "started": 3}}
        assert by(scene, "task") == {"": {"samples": 2, "depth": 2}, "t": {"started": 3}}

    def test_many_queues_in_one_stretch_are_all_read_once(self, scene: Scene) -> None:
        report(scene, 1, *(cell(-n % 2, f"queue {n}", started=n) for n in range(700)))
        assert by(scene, "queue") == {f"queue {n}": {"started": n} for n in range(700)}
        assert sum(numbers["started"] for numbers in sums(scene).values()) == sum(range(700))
        assert by(scene, "task", Filter(queue="queue 699")) == {"task": {"started": 699}}

    def test_of_nothing_there_is_nothing(self, scene: Scene) -> None:
        assert sums(scene) == by(scene, "task") == {}
        assert scene.ask(CountRequest(EVERYTHING, HOUR)).stats == ()


class TestRollingUp:
    """Older statistics are kept by longer stretches, and not for ever."""

    def test_what_is_rolled_up_comes_to_the_same(self, scene: Scene) -> None:
        report(scene, 1, *(cell(-minutes, started=1, wait_3=2) for minutes in range(0, 4 * 24 * 60, 7)))
        report(scene, 2, *(cell(-minutes, "email", completed=1) for minutes in range(0, 4 * 24 * 60, 11)))
        scene.insert("1")
        before = {step: sums(scene, Window(7 * 24 * HOUR_MS, step * HOUR_MS)) for step in (1, 2, 24)}
        hour, queues = sums(scene), by(scene, "queue")
        while roll_up(scene):
            pass
        assert {step: sums(scene, Window(7 * 24 * HOUR_MS, step * HOUR_MS)) for step in (1, 2, 24)} == before
        assert (sums(scene), by(scene, "queue")) == (hour, queues)

    def test_nothing_is_rolled_up_twice(self, scene: Scene) -> None:
        report(scene, 1, *(cell(-minutes, started=1) for minutes in range(3 * 24 * 60, 3 * 24 * 60 + 100)))
        first = [roll_up(scene) for _ in range(5)]
        assert first[0] > 0
        assert first[-2:] == [0, 0]
        assert sum(numbers["started"] for numbers in sums(scene, MONTH).values()) == 100

    def test_late_reports_join_what_was_rolled_up(self, scene: Scene) -> None:
        for number in (1, 2):
            report(scene, number, cell(-5 * 24 * 60, started=1))
            while roll_up(scene):
                pass
        assert list(sums(scene, Window(7 * 24 * HOUR_MS, HOUR_MS)).values()) == [{"started": 2}]

    def test_no_more_than_the_limit_at_once(self, scene: Scene) -> None:
        report(scene, 1, *(cell(-10 * 60 - minutes, started=1) for minutes in range(50)))
        while roll_up(scene, limit=7):
            pass
        assert sum(numbers["started"] for numbers in sums(scene, MONTH).values()) == 50

    def test_after_thirty_days_they_are_gone(self, scene: Scene) -> None:
        scene.insert("1")
        report(scene, 1, cell(completed=1))
        scene.later(KEEP_MS - HOUR_MS)
        while roll_up(scene):
            pass
        assert total_of(scene, Window(KEEP_MS + 24 * HOUR_MS, HOUR_MS)) == {"enqueued": 1, "completed": 1}
        scene.later(2 * HOUR_MS)
        while roll_up(scene):
            pass
        assert total_of(scene, Window(KEEP_MS + 24 * HOUR_MS, HOUR_MS)) == {}

    def test_jobs_are_not_pruned_with_them(self, scene: Scene) -> None:
        scene.join()
        scene.finish("1")
        scene.later(KEEP_MS * 2)
        assert scene.ask(PruneRequest({State.COMPLETED: 0}, 1000, stats=True, now=scene.now)) > 0
        assert scene.ids() == ["1"]


def total_of(scene: Scene, window: Window) -> Numbers:
    found: dict[str, int] = {}
    for numbers in sums(scene, window).values():
        for name, number in numbers.items():
            found[name] = found.get(name, 0) + number
    return found
