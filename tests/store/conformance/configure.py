"""configure: what the code and the operators say about queues, schedules and workers."""

from __future__ import annotations

from dataclasses import replace

from mainspring.model.job import NewJob
from mainspring.store.base import (
    Command,
    CommandWorker,
    ConfigureRequest,
    DefineQueue,
    LimitQueue,
    PauseQueue,
    PauseSchedule,
    PutSchedule,
    QueueRecord,
    RemoveSchedule,
    ScheduleRecord,
    Tick,
)

from .scene import LEASE_MS, T0, Scene

DAILY = PutSchedule(
    "daily", "report", '{"cron":"0 9 * * *"}', T0 + 100, queue="reports", args='{"n":1}', priority=7, options="{}"
)


def queue(scene: Scene, name: str = "q") -> QueueRecord:
    """The settings of one queue."""
    (record,) = (record for record in scene.configure().queues if record.name == name)
    return record


def schedule(scene: Scene) -> ScheduleRecord:
    """The one schedule."""
    (record,) = scene.configure().schedules
    return record


class TestQueues:
    """Limits and pauses."""

    def test_the_codes_limit_is_in_force_until_an_operator_speaks(self, scene: Scene) -> None:
        scene.configure(DefineQueue("q", 5))
        assert queue(scene) == QueueRecord("q", paused_at=None, concurrency=5)
        scene.configure(LimitQueue("q", 2))
        assert queue(scene).concurrency == 2

    def test_an_operators_limit_outlives_the_code(self, scene: Scene) -> None:
        scene.configure(LimitQueue("q", 2))
        scene.configure(DefineQueue("q", 5))
        assert queue(scene).concurrency == 2

    def test_no_limit_is_an_operators_word_too(self, scene: Scene) -> None:
        scene.configure(DefineQueue("q", 5), LimitQueue("q", None))
        assert queue(scene).concurrency is None
        scene.configure(DefineQueue("q", 5))
        assert queue(scene).concurrency is None

    def test_the_code_may_drop_its_limit(self, scene: Scene) -> None:
        scene.configure(DefineQueue("q", 5))
        scene.configure(DefineQueue("q", None))
        assert queue(scene).concurrency is None

    def test_a_pause_counts_from_when_it_began(self, scene: Scene) -> None:
        scene.configure(PauseQueue("q", True))
        scene.later(10)
        scene.configure(PauseQueue("q", True))
        assert queue(scene).paused_at == T0
        scene.configure(PauseQueue("q", False))
        assert queue(scene).paused_at is None

    def test_pause_and_limits_do_not_touch_each_other(self, scene: Scene) -> None:
        scene.configure(PauseQueue("q", True))
        scene.configure(DefineQueue("q", 5))
        scene.configure(LimitQueue("q", 3))
        assert queue(scene) == QueueRecord("q", paused_at=T0, concurrency=3)
        scene.configure(PauseQueue("q", False))
        assert queue(scene).concurrency == 3

    def test_a_queue_can_be_set_up_before_its_first_job(self, scene: Scene) -> None:
        assert scene.configure(PauseQueue("a", True), LimitQueue("b", 1), DefineQueue("c")).changed == 3

    def test_changes_are_applied_in_order(self, scene: Scene) -> None:
        scene.configure(LimitQueue("q", 1), LimitQueue("q", 2), PauseQueue("q", True), PauseQueue("q", False))
        assert queue(scene) == QueueRecord("q", paused_at=None, concurrency=2)


class TestSchedules:
    """What is to run when."""

    def test_a_schedule_is_kept_as_it_was_put(self, scene: Scene) -> None:
        assert scene.configure(DAILY).changed == 1
        assert schedule(scene) == ScheduleRecord(
            name="daily",
            task="report",
            queue="reports",
            args='{"n":1}',
            priority=7,
            options="{}",
            timing='{"cron":"0 9 * * *"}',
            next_at=T0 + 100,
            last_at=None,
            paused_at=None,
        )

    def test_putting_it_again_keeps_its_next_time(self, scene: Scene) -> None:
        scene.configure(DAILY)
        scene.configure(
            replace(DAILY, next_at=T0 + 999, args='{"n":2}', task="other", queue="q", priority=1, options=None)
        )
        now = schedule(scene)
        assert (now.next_at, now.args, now.task, now.queue) == (T0 + 100, '{"n":2}', "other", "q")
        assert (now.priority, now.options) == (1, None)

    def test_a_new_timing_brings_its_own_next_time(self, scene: Scene) -> None:
        scene.configure(DAILY)
        scene.configure(replace(DAILY, timing='{"every":"1h"}', next_at=T0 + 999))
        assert (schedule(scene).timing, schedule(scene).next_at) == ('{"every":"1h"}', T0 + 999)

    def test_putting_it_again_keeps_the_pause_and_the_last_time(self, scene: Scene) -> None:
        scene.configure(DAILY)
        scene.insert(ticks=[Tick("daily", T0 + 100, T0 + 200, (NewJob("t", "report"),))])
        scene.configure(PauseSchedule("daily", True))
        scene.configure(replace(DAILY, timing='{"every":"1h"}'))
        assert (schedule(scene).paused_at, schedule(scene).last_at) == (T0, T0 + 100)

    def test_a_resumed_schedule_goes_on_at_its_new_slot(self, scene: Scene) -> None:
        scene.configure(DAILY)
        assert scene.configure(PauseSchedule("daily", True)).changed == 1
        assert (schedule(scene).paused_at, schedule(scene).next_at) == (T0, T0 + 100)
        scene.later(1000)
        assert scene.configure(PauseSchedule("daily", False, next_at=T0 + 1100)).changed == 1
        assert (schedule(scene).paused_at, schedule(scene).next_at) == (None, T0 + 1100)

    def test_resuming_without_a_slot_leaves_the_old_one(self, scene: Scene) -> None:
        scene.configure(DAILY, PauseSchedule("daily", True))
        scene.configure(PauseSchedule("daily", False))
        assert (schedule(scene).paused_at, schedule(scene).next_at) == (None, T0 + 100)

    def test_a_removed_schedule_is_gone_and_its_jobs_stay(self, scene: Scene) -> None:
        scene.configure(DAILY)
        scene.insert(ticks=[Tick("daily", T0 + 100, T0 + 200, (NewJob("t", "report"),))])
        assert scene.configure(RemoveSchedule("daily")).changed == 1
        settings = scene.configure()
        assert (settings.schedules, settings.next_tick) == ((), None)
        assert scene.ids() == ["t"]

    def test_changes_to_what_is_not_there_find_nothing(self, scene: Scene) -> None:
        settings = scene.configure(PauseSchedule("gone", True), RemoveSchedule("gone"), PauseSchedule("gone", False))
        assert (settings.changed, settings.schedules) == (0, ())

    def test_due_are_those_whose_time_has_come_earliest_first(self, scene: Scene) -> None:
        scene.configure(
            *(replace(DAILY, name=name, next_at=T0 + at) for name, at in (("c", 30), ("a", 20), ("b", 10), ("d", 31))),
            replace(DAILY, name="paused", next_at=T0),
            PauseSchedule("paused", True),
        )
        due = ConfigureRequest(read=frozenset({"due"}), now=T0 + 30)
        assert [record.name for record in scene.ask(due).schedules] == ["b", "a", "c"]
        assert [record.name for record in scene.ask(replace(due, limit=2)).schedules] == ["b", "a"]
        assert scene.ask(replace(due, now=T0 + 9)).schedules == ()

    def test_the_next_tick_is_the_earliest_that_is_not_paused(self, scene: Scene) -> None:
        read = ConfigureRequest(read=frozenset({"due"}), now=T0)
        assert scene.ask(read).next_tick is None
        scene.configure(DAILY, replace(DAILY, name="sooner", next_at=T0 + 50))
        assert scene.ask(read).next_tick == T0 + 50
        scene.configure(PauseSchedule("sooner", True))
        assert scene.ask(read).next_tick == T0 + 100
        assert scene.ask(replace(read, now=T0 + 500)).next_tick == T0 + 100


class TestWorkers:
    """What is read, and of whom."""

    def test_only_what_is_asked_for_is_read(self, scene: Scene) -> None:
        scene.join()
        scene.configure(DAILY, DefineQueue("q"))
        nothing = scene.ask(ConfigureRequest(now=T0))
        assert (nothing.queues, nothing.schedules, nothing.workers, nothing.now) == ((), (), (), T0)
        workers = scene.ask(ConfigureRequest(read=frozenset({"workers"}), now=T0))
        assert ([worker.id for worker in workers.workers], workers.queues, workers.schedules) == (["worker"], (), ())

    def test_a_worker_past_its_lease_is_listed_until_it_is_reaped(self, scene: Scene) -> None:
        scene.join()
        scene.later(LEASE_MS * 2)
        (worker,) = scene.configure().workers
        assert worker.expires_at == T0 + LEASE_MS

    def test_changed_counts_what_was_found(self, scene: Scene) -> None:
        scene.join()
        changes = (CommandWorker("worker", Command.QUIET), CommandWorker("gone", Command.STOP), PauseQueue("q", True))
        assert scene.configure(*changes).changed == 2
