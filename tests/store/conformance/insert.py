"""insert: jobs and ticks appear once, together, where their time puts them."""

from __future__ import annotations

from mainspring.model.job import JobRecord, NewJob
from mainspring.model.states import State
from mainspring.store.base import Inserted, PauseSchedule, PutSchedule, Tick, Verb

from .scene import T0, Scene, settlement


class TestInsert:
    """Jobs."""

    def test_a_job_is_kept_as_it_was_handed_over(self, scene: Scene) -> None:
        new = NewJob(
            "j", "mail.send", queue="email", args='{"to":"a@b.c"}', priority=3, options='{"timeout_ms":5}', delay_ms=500
        )
        assert scene.insert(new) == (Inserted("j", existed=False),)
        assert scene.job("j") == JobRecord(
            id="j",
            task="mail.send",
            queue="email",
            state=State.SCHEDULED,
            args='{"to":"a@b.c"}',
            priority=3,
            attempt=0,
            crashes=0,
            postponed=0,
            lease=0,
            created_at=T0,
            run_at=T0 + 500,
            started_at=None,
            finished_at=None,
            worker=None,
            cancel_requested=False,
            progress=None,
            progress_text=None,
            result=None,
            error=None,
            reason=None,
            history="[]",
            options='{"timeout_ms":5}',
            log=(),
        )

    def test_time_decides_whether_a_job_is_queued_or_scheduled(self, scene: Scene) -> None:
        scene.insert(
            "at once",
            NewJob("delayed", "task", delay_ms=1),
            NewJob("at", "task", run_at=T0 + 5),
            NewJob("past", "task", run_at=T0 - 5),
            NewJob("run_at wins", "task", run_at=T0, delay_ms=1000),
        )
        found = {job.id: (job.state, job.run_at - T0) for job in scene.find()}
        assert found == {
            "at once": (State.QUEUED, 0),
            "delayed": (State.SCHEDULED, 1),
            "at": (State.SCHEDULED, 5),
            "past": (State.QUEUED, -5),
            "run_at wins": (State.QUEUED, 0),
        }

    def test_an_insert_sent_twice_has_one_effect(self, scene: Scene) -> None:
        scene.insert(NewJob("j", "first", args='{"n":1}'))
        scene.later(5)
        assert scene.insert(NewJob("j", "second", queue="other", priority=1)) == (Inserted("j", existed=True),)
        assert [(job.task, job.args, job.queue, job.created_at) for job in scene.find()] == [
            ("first", '{"n":1}', "default", T0)
        ]

    def test_a_job_that_is_running_is_left_alone(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        scene.claim_one()
        assert scene.insert("j") == (Inserted("j", existed=True),)
        assert scene.state("j") is State.RUNNING
        assert scene.claim() == ()

    def test_a_finished_job_is_left_alone(self, scene: Scene) -> None:
        scene.join()
        scene.finish("j")
        assert scene.insert("j") == (Inserted("j", existed=True),)
        assert [job.state for job in scene.find()] == [State.COMPLETED]

    def test_an_id_twice_in_one_request_is_one_job(self, scene: Scene) -> None:
        replies = scene.insert(NewJob("j", "first"), NewJob("j", "second"))
        assert [reply.id for reply in replies] == ["j", "j"]
        assert sorted(reply.existed for reply in replies) == [False, True]
        assert len(scene.find()) == 1

    def test_the_reply_is_in_the_order_of_the_jobs(self, scene: Scene) -> None:
        scene.insert("b", "d")
        names = ["e", "d", "c", "b", "a"]
        assert scene.insert(*names) == tuple(Inserted(name, existed=name in "bd") for name in names)

    def test_no_jobs_are_no_trouble(self, scene: Scene) -> None:
        assert scene.insert() == ()

    def test_a_large_set_goes_in_at_once(self, scene: Scene) -> None:
        assert len(scene.insert(*(f"j{number:05}" for number in range(5000)))) == 5000
        assert scene.count() == {("default", State.QUEUED): 5000}


HOUR = 3_600_000
HOURLY = PutSchedule("hourly", "task", '{"every":"1h"}', next_at=T0)


def tick(expected_at: int = T0, *ids: str) -> Tick:
    return Tick("hourly", expected_at, expected_at + HOUR, tuple(NewJob(id, "task") for id in ids))


class TestTicks:
    """Schedules' turns: compare and set on `next_at`."""

    def test_a_tick_inserts_its_jobs_and_moves_the_schedule(self, scene: Scene) -> None:
        scene.configure(HOURLY)
        assert scene.insert(ticks=[tick(T0, "t")]) == (Inserted("t", existed=False),)
        (schedule,) = scene.configure().schedules
        assert (schedule.next_at, schedule.last_at) == (T0 + HOUR, T0)
        assert scene.state("t") is State.QUEUED

    def test_a_tick_is_won_once(self, scene: Scene) -> None:
        scene.configure(HOURLY)
        scene.insert(ticks=[tick(T0, "first")])
        assert scene.insert(ticks=[tick(T0, "second")]) == ()
        assert scene.ids() == ["first"]
        (schedule,) = scene.configure().schedules
        assert schedule.next_at == T0 + HOUR

    def test_who_saw_another_slot_loses_however_far_it_would_move_on(self, scene: Scene) -> None:
        scene.configure(HOURLY)
        for seen in (T0 - HOUR, T0 - 1, T0 + HOUR):
            assert scene.insert(ticks=[Tick("hourly", seen, T0 + 9 * HOUR, (NewJob("t", "task"),))]) == ()
        (schedule,) = scene.configure().schedules
        assert (schedule.next_at, schedule.last_at) == (T0, None)
        assert scene.find() == []

    def test_ticks_answer_after_the_jobs(self, scene: Scene) -> None:
        scene.configure(HOURLY)
        replies = scene.insert("a", "b", ticks=[tick(T0, "z", "y")])
        assert [reply.id for reply in replies] == ["a", "b", "z", "y"]

    def test_a_lost_tick_does_not_hold_up_the_jobs_beside_it(self, scene: Scene) -> None:
        scene.configure(HOURLY)
        assert [reply.id for reply in scene.insert("a", ticks=[tick(T0 - HOUR, "z")])] == ["a"]
        assert scene.ids() == ["a"]

    def test_a_schedule_that_is_gone_or_paused_does_not_tick(self, scene: Scene) -> None:
        assert scene.insert(ticks=[tick(T0, "gone")]) == ()
        scene.configure(HOURLY, PauseSchedule("hourly", True))
        assert scene.insert(ticks=[tick(T0, "paused")]) == ()
        assert scene.find() == []

    def test_skipped_slots_move_the_schedule_without_a_job(self, scene: Scene) -> None:
        scene.configure(HOURLY)
        assert scene.insert(ticks=[tick(T0)]) == ()
        (schedule,) = scene.configure().schedules
        assert schedule.next_at == T0 + HOUR

    def test_a_tick_whose_job_exists_already_makes_no_second(self, scene: Scene) -> None:
        scene.configure(HOURLY)
        scene.insert("t")
        assert scene.insert(ticks=[tick(T0, "t")]) == (Inserted("t", existed=True),)
        assert scene.ids() == ["t"]

    def test_tick_jobs_are_jobs_like_others(self, scene: Scene) -> None:
        scene.join()
        scene.configure(HOURLY)
        scene.insert(ticks=[tick(T0, "t")])
        assert scene.settle(settlement(scene.claim_one())) == {"t"}
        assert scene.alter(Verb.REVIVE, "t") == 1
