"""Gates of tasks: they count in all queues, and hold up no other task."""

from __future__ import annotations

from random import Random

from mainspring.model.job import NewJob
from mainspring.model.limits import Rate
from mainspring.model.states import State
from mainspring.store.base import (
    DefineQueue,
    DefineTask,
    LimitQueue,
    LimitTask,
    Room,
    TaskRecord,
    Verb,
)

from .gates import SECOND, ids, ready, task
from .scene import T0, Scene, settlement


class TestTaskGates:
    """A task's gate counts in all queues, and holds up nobody else."""

    def test_it_counts_across_queues(self, scene: Scene) -> None:
        ready(scene, DefineTask("task", 3))
        scene.insert(*(NewJob(f"{queue}{number}", "task", queue) for queue in "ab" for number in range(2)))
        scene.insert(NewJob("c", "task", "c"))
        first = scene.claim("worker", Room("a", 9), Room("b", 9))
        assert ids(first) == ["a0", "a1", "b0"]
        assert scene.claim("worker", Room("c", 9), Room("b", 9)) == ()
        scene.settle(settlement(first[0]))
        assert ids(scene.claim("worker", Room("c", 9), Room("b", 9))) == ["c"]

    def test_so_does_its_rate(self, scene: Scene) -> None:
        ready(scene, DefineTask("task", None, (Rate(3, "1s"),)))
        scene.insert(*(NewJob(f"{queue}{number}", "task", queue) for queue in "ab" for number in range(2)))
        assert ids(scene.claim("worker", Room("b", 9))) == ["b0", "b1"]
        assert ids(scene.claim("worker", Room("a", 9))) == ["a0"]
        reply = scene.claim_reply("worker", Room("a", 9))
        assert (reply.claims, reply.next_due) == ((), task(scene).opens_at)

    def test_a_closed_one_never_holds_up_other_tasks(self, scene: Scene) -> None:
        ready(scene, DefineTask("slow", 1), DefineTask("never", 0))
        scene.insert(*(NewJob(f"slow {n:04}", "slow", priority=1) for n in range(1500)))
        scene.insert(*(NewJob(f"never {n:04}", "never", priority=0) for n in range(1500)))
        scene.insert("a", NewJob("b", "other", priority=9))
        assert ids(scene.claim(limit=3)) == ["slow 0000", "a", "b"]
        scene.insert("c")
        assert ids(scene.claim(limit=1)) == ["c"]

    def test_order_is_kept_across_the_tasks_of_a_queue(self, scene: Scene) -> None:
        ready(scene, DefineTask("x", 100), DefineTask("y", None, (Rate(100, "1s"),)))
        random = Random(1)
        jobs = [
            NewJob(f"{n:03}", random.choice("xyz"), priority=random.randrange(4), run_at=T0 - random.randrange(9))
            for n in range(150)
        ]
        scene.insert(*jobs)
        jobs.sort(key=lambda job: (job.priority, job.run_at or 0, job.id))
        claimed = [id for limit in (1, 2, 50, 7, 40) for id in ids(scene.claim(limit=limit))]
        assert claimed == [job.id for job in jobs[:100]]

    def test_what_a_gate_lets_through_is_its_first(self, scene: Scene) -> None:
        ready(scene, DefineTask("x", 2))
        scene.insert(*(NewJob(f"{priority}{name}", name, priority=priority) for priority in range(4) for name in "xz"))
        assert ids(scene.claim()) == ["0x", "0z", "1x", "1z", "2z", "3z"]

    def test_a_task_of_no_gate_is_not_counted(self, scene: Scene) -> None:
        ready(scene, DefineTask("x", 1))
        scene.insert(NewJob("z", "z"), NewJob("x", "x"))
        assert ids(scene.claim()) == ["x", "z"]

    def test_tasks_are_told_apart_by_their_whole_name(self, scene: Scene) -> None:
        ready(scene, DefineTask("x", 1), DefineTask("X", 0), DefineTask("x ", 1))
        scene.insert(*(NewJob(f"{name}{n}", name) for name in ("x", "X", "x ") for n in range(2)))
        assert sorted(ids(scene.claim())) == ["x 0", "x0"]

    def test_running_jobs_count_when_their_task_gets_its_gate(self, scene: Scene) -> None:
        ready(scene)
        scene.insert(*(NewJob(f"{n}", "task", "ab"[n % 2]) for n in range(8)))
        claims = scene.claim("worker", Room("a", 2), Room("b", 1))
        scene.configure(LimitTask("task", 4))
        assert len(scene.claim("worker", Room("a", 9), Room("b", 9))) == 1
        scene.settle(*map(settlement, claims[:2]))
        assert len(scene.claim("worker", Room("a", 9), Room("b", 9))) == 2

    def test_queued_jobs_go_by_it_too(self, scene: Scene) -> None:
        ready(scene)
        scene.insert(*(NewJob(f"{n}", "task") for n in range(6)), NewJob("other", "other", priority=9))
        scene.configure(DefineTask("task", 2))
        assert ids(scene.claim()) == ["0", "1", "other"]

    def test_also_when_there_are_thousands(self, scene: Scene) -> None:
        """And those behind them are served all the same."""
        ready(scene)
        scene.insert(*(NewJob(f"{n:04}", "task", priority=1) for n in range(3000)))
        scene.insert(NewJob("other", "other"))
        scene.configure(DefineTask("task", 2))
        assert scene.drain(limit=10) == ["0000", "0001", "other"]

    def test_scheduled_jobs_go_by_it_when_they_are_due(self, scene: Scene) -> None:
        ready(scene)
        scene.insert(*(NewJob(f"{n}", "task", delay_ms=10) for n in range(3)))
        scene.configure(DefineTask("task", 1))
        scene.later(10)
        first = scene.claim()
        assert ids(first) == ["0"]
        scene.settle(settlement(first[0], State.SCHEDULED))
        assert len(scene.claim()) == 1

    def test_a_job_that_ran_before_the_gate_goes_by_it_when_it_comes_back(self, scene: Scene) -> None:
        ready(scene)
        scene.insert("a", "b")
        first, second = scene.claim()
        scene.settle(settlement(first, State.DEAD))
        scene.configure(DefineTask("task", 1))
        scene.alter(Verb.REVIVE, "a")
        assert scene.claim() == ()
        scene.settle(settlement(second, State.QUEUED))
        assert len(scene.claim()) == 1
        assert scene.claim() == ()

    def test_order_is_kept_when_a_gate_comes_between(self, scene: Scene) -> None:
        ready(scene)
        scene.insert(*(NewJob(f"{n}", "xz"[n % 2]) for n in range(4)))
        scene.configure(DefineTask("x", 10))
        scene.insert(*(NewJob(f"{n}", "xz"[n % 2]) for n in range(4, 8)))
        assert ids(scene.claim(limit=7)) == [*"0123456"]

    def test_where_the_gate_is_gone_all_go(self, scene: Scene) -> None:
        ready(scene, DefineTask("task", 1))
        scene.insert(*"abc")
        assert len(scene.claim()) == 1
        scene.configure(DefineTask("task"))
        scene.insert("d")
        assert ids(scene.claim()) == ["b", "c", "d"]
        scene.configure(DefineTask("task", 5))
        scene.insert("e", "f")
        assert ids(scene.claim()) == ["e"]

    def test_queue_and_task_both_have_a_say(self, scene: Scene) -> None:
        ready(scene, DefineTask("x", 2), DefineQueue("default", 3))
        scene.insert(*(NewJob(f"x{n}", "x", priority=1) for n in range(4)), *(NewJob(f"z{n}", "z") for n in range(4)))
        claims = scene.claim()
        assert ids(claims) == ["x0", "x1", "z0"]
        scene.settle(settlement(claims[2]))
        assert ids(scene.claim()) == ["z1"]

    def test_what_one_gate_keeps_back_is_not_counted_by_the_other(self, scene: Scene) -> None:
        ready(scene, DefineTask("x", 1), DefineQueue("default", None, (SECOND,)))
        scene.insert(*(NewJob(f"x{n}", "x", priority=1) for n in range(9)), *(NewJob(f"z{n}", "z") for n in range(9)))
        assert ids(scene.claim()) == ["x0", "z0", "z1", "z2", "z3"]

    def test_a_job_too_dear_for_what_the_queue_has_left_is_waited_for(self, scene: Scene) -> None:
        ready(scene, DefineTask("x", 10), DefineQueue("default", None, (SECOND,)))
        scene.insert(NewJob("a", "z", cost=3), NewJob("b", "x", cost=3), NewJob("c", "z"), NewJob("d", "z"))
        assert ids(scene.claim()) == ["a"]
        assert scene.claim() == ()
        scene.later(1010)
        assert ids(scene.claim()) == ["b", "c", "d"]

    def test_a_job_too_dear_for_what_its_task_has_left_holds_up_no_other_task(self, scene: Scene) -> None:
        ready(scene, DefineTask("x", None, (SECOND,)))
        scene.insert(NewJob("a", "x", cost=3), NewJob("b", "x", cost=3), NewJob("c", "x"), NewJob("d", "z"))
        assert ids(scene.claim()) == ["a", "d"]

    def test_records_tell_what_is_in_force(self, scene: Scene) -> None:
        rates = Rate(5, "1s"), Rate(50, "1m")
        assert scene.configure().tasks == ()
        scene.configure(DefineTask("task", 5, rates), DefineTask("other", 1))
        assert task(scene) == TaskRecord("task", 5, rates)
        scene.configure(LimitTask("task", concurrency=None))
        assert task(scene) == TaskRecord("task", None, rates)
        assert scene.configure(LimitTask("task", rates=(SECOND,)), DefineTask("task", 9)).changed == 2
        assert (task(scene), task(scene, "other")) == (TaskRecord("task", None, (SECOND,)), TaskRecord("other", 1))

    def test_a_queues_record_tells_of_its_rates(self, scene: Scene) -> None:
        rates = Rate(5, "1s"), Rate(50, "1m")
        scene.configure(DefineQueue("q", 5, rates, 100))
        (record,) = scene.configure().queues
        assert (record.concurrency, record.rates, record.max_queued) == (5, rates, 100)
        scene.configure(LimitQueue("q", rates=()), DefineQueue("q", 6, rates, 200))
        (record,) = scene.configure(LimitQueue("q", max_queued=None)).queues
        assert (record.concurrency, record.rates, record.max_queued, record.opens_at) == (6, (), None, None)
