"""alter: what operators do to jobs, by ids or by filter, in bounded batches."""

from __future__ import annotations

import pytest

from mainspring.model.job import NewJob, Note
from mainspring.model.states import FINAL, State
from mainspring.store.base import AlterRequest, Filter, Room, Verb

from .scene import T0, Scene, settlement


def one_of_each(scene: Scene) -> None:
    """A job in every state that a job can be brought to, named after its state."""
    scene.join()
    scene.finish("completed")
    scene.finish("dead", state=State.DEAD)
    scene.finish("cancelled", state=State.CANCELLED)
    scene.insert("running")
    scene.claim_one()
    scene.insert("queued", NewJob("scheduled", "task", delay_ms=1000))


def value_for(verb: Verb) -> int:
    """One that the verb takes."""
    return 7 if verb is Verb.REPRIORITISE else T0 + 10


class TestCancel:
    """CANCEL."""

    @pytest.mark.parametrize("id", ["queued", "scheduled"])
    def test_a_waiting_job_is_cancelled_with_its_reason(self, scene: Scene, id: str) -> None:
        one_of_each(scene)
        scene.later(5)
        assert scene.alter(Verb.CANCEL, id, reason="not wanted") == 1
        job = scene.job(id)
        assert (job.state, job.reason, job.finished_at) == (State.CANCELLED, "not wanted", T0 + 5)
        scene.later(5000)
        scene.alter(Verb.CANCEL, Filter(states=(State.QUEUED, State.SCHEDULED)))
        assert scene.claim() == ()

    def test_a_running_job_is_asked_to(self, scene: Scene) -> None:
        one_of_each(scene)
        assert scene.alter(Verb.CANCEL, "running", reason="not wanted") == 1
        job = scene.job("running")
        assert (job.state, job.cancel_requested, job.reason) == (State.RUNNING, True, "not wanted")

    def test_a_running_job_that_was_asked_may_still_complete(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        scene.alter(Verb.CANCEL, "j")
        assert scene.settle(settlement(claim, result="1")) == {"j"}
        assert scene.state("j") is State.COMPLETED

    @pytest.mark.parametrize("id", sorted(FINAL))
    def test_a_final_job_stays(self, scene: Scene, id: str) -> None:
        one_of_each(scene)
        before = scene.job(id)
        scene.later(5)
        assert scene.alter(Verb.CANCEL, id, reason="too late") == 0
        assert scene.job(id) == before


class TestRevive:
    """REVIVE."""

    @pytest.mark.parametrize("state", sorted(FINAL))
    def test_a_final_job_begins_anew(self, scene: Scene, state: State) -> None:
        scene.join()
        scene.insert(NewJob("j", "task", args='{"n":1}', priority=3, options='{"timeout_ms":5}'))
        claim = scene.claim_one()
        scene.alter(Verb.CANCEL, "j", reason="stop")
        ended = settlement(
            claim, state, history='[{"n":1}]', result="1", error='{"type":"E"}', reason="why", crashes=2, postponed=4
        )
        scene.settle(ended, notes=[Note("j", claim.lease, progress=50.0, progress_text="half")])
        scene.later(10)
        assert scene.alter(Verb.REVIVE, "j") == 1
        job = scene.job("j")
        assert (job.state, job.run_at, job.created_at, job.finished_at) == (State.QUEUED, T0 + 10, T0, None)
        assert (job.attempt, job.crashes, job.postponed, job.cancel_requested) == (0, 0, 0, False)
        assert (job.result, job.error, job.reason, job.progress, job.progress_text) == (None,) * 5
        assert (job.history, job.lease) == ('[{"n":1}]', 1)
        assert (job.started_at, job.worker) == (T0, "worker")
        assert (job.args, job.priority, job.options) == ('{"n":1}', 3, '{"timeout_ms":5}')
        again = scene.claim_one()
        assert (again.attempt, again.lease, again.cancel_requested) == (1, 2, False)

    def test_a_scheduled_job_is_due_now(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        scene.settle(settlement(scene.claim_one(), State.SCHEDULED, delay_ms=9999, error='{"type":"E"}'))
        scene.later(10)
        assert scene.alter(Verb.REVIVE, "j") == 1
        job = scene.job("j")
        assert (job.state, job.run_at, job.attempt, job.error) == (State.QUEUED, T0 + 10, 1, '{"type":"E"}')

    @pytest.mark.parametrize("id", ["queued", "running"])
    def test_others_stay(self, scene: Scene, id: str) -> None:
        one_of_each(scene)
        before = scene.job(id)
        scene.later(10)
        assert scene.alter(Verb.REVIVE, id) == 0
        assert scene.job(id) == before

    def test_a_revived_job_is_there_once(self, scene: Scene) -> None:
        scene.join()
        scene.finish("j")
        scene.alter(Verb.REVIVE, "j")
        scene.alter(Verb.REVIVE, "j")
        assert scene.ids() == ["j"]
        assert len(scene.claim("worker", Room("finish", 5))) == 1

    def test_a_revived_job_may_end_again(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        for result in ("1", "2", "3"):
            assert scene.settle(settlement(scene.claim_one(), result=result)) == {"j"}
            assert [job.result for job in scene.find()] == [result]
            scene.alter(Verb.REVIVE, "j")


class TestReschedule:
    """RESCHEDULE."""

    @pytest.mark.parametrize("id", ["queued", "scheduled"])
    def test_a_waiting_job_gets_a_time_and_the_state_that_follows(self, scene: Scene, id: str) -> None:
        one_of_each(scene)
        assert scene.alter(Verb.RESCHEDULE, id, T0 + 50) == 1
        assert (scene.job(id).state, scene.job(id).run_at) == (State.SCHEDULED, T0 + 50)
        assert scene.alter(Verb.RESCHEDULE, id, T0) == 1
        assert (scene.job(id).state, scene.job(id).run_at) == (State.QUEUED, T0)

    def test_it_is_served_at_its_new_time(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        scene.alter(Verb.RESCHEDULE, "j", T0 + 50)
        assert (scene.claim(), scene.claim_reply().next_due) == ((), T0 + 50)
        scene.later(50)
        assert len(scene.claim()) == 1

    @pytest.mark.parametrize("id", ["running", *sorted(FINAL)])
    def test_others_stay(self, scene: Scene, id: str) -> None:
        one_of_each(scene)
        before = scene.job(id)
        assert scene.alter(Verb.RESCHEDULE, id, T0 + 50) == 0
        assert scene.job(id) == before


class TestReprioritise:
    """REPRIORITISE."""

    @pytest.mark.parametrize("id", ["queued", "scheduled"])
    def test_a_waiting_job_gets_a_priority(self, scene: Scene, id: str) -> None:
        one_of_each(scene)
        assert scene.alter(Verb.REPRIORITISE, id, 1) == 1
        assert scene.job(id).priority == 1

    def test_it_is_served_at_its_new_place(self, scene: Scene) -> None:
        scene.join()
        scene.insert("1", "2", NewJob("3", "task", delay_ms=5))
        scene.alter(Verb.REPRIORITISE, "2", 4)
        scene.alter(Verb.REPRIORITISE, "3", 3)
        scene.later(5)
        assert [claim.id for claim in scene.claim()] == ["3", "2", "1"]

    @pytest.mark.parametrize("id", ["running", *sorted(FINAL)])
    def test_others_stay(self, scene: Scene, id: str) -> None:
        one_of_each(scene)
        before = scene.job(id)
        assert scene.alter(Verb.REPRIORITISE, id, 1) == 0
        assert scene.job(id) == before


class TestDelete:
    """DELETE."""

    @pytest.mark.parametrize("id", ["queued", "scheduled", *sorted(FINAL)])
    def test_what_is_not_running_is_gone(self, scene: Scene, id: str) -> None:
        one_of_each(scene)
        count = len(scene.find())
        assert scene.alter(Verb.DELETE, id) == 1
        assert scene.find(Filter(ids=(id,))) == []
        assert len(scene.find()) == count - 1
        assert sum(scene.count().values()) == count - 1
        assert scene.alter(Verb.DELETE, id) == 0

    def test_a_running_job_stays(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        assert scene.alter(Verb.DELETE, "j") == 0
        assert scene.settle(settlement(claim)) == {"j"}

    def test_a_deleted_job_is_not_served(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j", NewJob("scheduled", "task", delay_ms=5))
        scene.alter(Verb.DELETE, Filter())
        scene.later(5)
        reply = scene.claim_reply()
        assert (reply.claims, reply.next_due) == ((), None)

    def test_a_deleted_jobs_id_is_free_again(self, scene: Scene) -> None:
        scene.join()
        scene.finish("j")
        scene.alter(Verb.DELETE, "j")
        assert not scene.insert("j")[0].existed
        assert scene.state("j") is State.QUEUED


class TestAlter:
    """Selections and batches, for every verb."""

    def test_a_filter_selects(self, scene: Scene) -> None:
        scene.insert(
            NewJob("1", "mail", "a"), NewJob("2", "mail", "b"), NewJob("3", "print", "a"), NewJob("4", "mail", "a")
        )
        assert scene.alter(Verb.CANCEL, Filter(queue="a", task="mail")) == 2
        assert {job.id for job in scene.find(Filter(states=(State.CANCELLED,)))} == {"1", "4"}

    def test_ids_and_the_other_conditions_all_hold(self, scene: Scene) -> None:
        scene.insert(NewJob("1", "mail"), NewJob("2", "print"), NewJob("3", "mail"))
        assert scene.alter(Verb.DELETE, Filter(ids=("1", "2", "gone"), task="mail")) == 1
        assert scene.ids() == ["3", "2"]

    def test_bounds_in_time_hold(self, scene: Scene) -> None:
        for id in ("1", "2", "3"):
            scene.insert(id)
            scene.later(10)
        assert scene.alter(Verb.REPRIORITISE, Filter(since=T0 + 10, until=T0 + 10), 1) == 1
        assert scene.job("2").priority == 1

    def test_nothing_selected_is_nothing_done(self, scene: Scene) -> None:
        scene.insert("j")
        replies = scene.batches(AlterRequest(Verb.DELETE, Filter(ids=("gone",)), now=T0))
        assert sum(reply.count for reply in replies) == 0
        assert scene.ids() == ["j"]

    @pytest.mark.parametrize("verb", list(Verb))
    def test_a_verb_for_jobs_that_it_does_not_concern_does_nothing(self, scene: Scene, verb: Verb) -> None:
        one_of_each(scene)
        before = scene.find()
        assert scene.alter(verb, Filter(states=(State.BLOCKED,)), value_for(verb), "because") == 0
        if verb is not Verb.CANCEL:
            assert scene.alter(verb, Filter(states=(State.RUNNING,)), value_for(verb)) == 0
        assert scene.find() == before

    @pytest.mark.parametrize("verb", list(Verb))
    def test_batches_are_bounded_and_together_complete(self, scene: Scene, verb: Verb) -> None:
        scene.join()
        names = [f"{number:02}" for number in range(25)]
        if verb is Verb.REVIVE:
            scene.finish(*(f"final {name}" for name in names), state=State.DEAD)
            scene.insert(*(NewJob(f"live {name}", "task", delay_ms=1000) for name in names))
        else:
            scene.insert(*(f"live {name}" for name in names))
            scene.insert(*(NewJob(f"late {name}", "task", delay_ms=1000) for name in names))
        replies = scene.batches(AlterRequest(verb, Filter(), value_for(verb), limit=10, now=T0))
        assert all(reply.count <= 10 for reply in replies)
        assert sum(reply.count for reply in replies) == 50

    @pytest.mark.parametrize(
        ("verb", "states"),
        [
            (Verb.CANCEL, (State.QUEUED,)),
            (Verb.REVIVE, (State.DEAD,)),
            (Verb.RESCHEDULE, (State.QUEUED,)),
            (Verb.DELETE, (State.QUEUED, State.DEAD)),
        ],
    )
    def test_jobs_that_leave_the_selection_do_not_disturb_the_batches(
        self, scene: Scene, verb: Verb, states: tuple[State, ...]
    ) -> None:
        scene.join()
        names = [f"{number:02}" for number in range(25)]
        if State.DEAD in states:
            scene.finish(*(f"dead {name}" for name in names), state=State.DEAD)
        if State.QUEUED in states:
            scene.insert(*(f"queued {name}" for name in names))
        request = AlterRequest(verb, Filter(states=states), T0 + 1000, limit=4, now=T0)
        assert sum(reply.count for reply in scene.batches(request)) == 25 * len(states)
        assert scene.find(Filter(states=states)) == []
