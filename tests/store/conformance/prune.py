"""prune: history goes when it is old enough, and nothing else."""

from __future__ import annotations

from mainspring.model.job import NewJob, Note
from mainspring.model.states import State

from .scene import ALL_COMPLETED, DAY, Scene, lines, needs, settlement


class TestPrune:
    """Retention."""

    def test_each_state_has_its_own_retention(self, scene: Scene) -> None:
        scene.join(lease_ms=100 * DAY)
        scene.finish("completed")
        scene.finish("dead", state=State.DEAD)
        scene.finish("cancelled", state=State.CANCELLED)
        keep = {State.COMPLETED: DAY, State.DEAD: 4 * DAY, State.CANCELLED: 3 * DAY}
        scene.later(DAY)
        assert scene.prune(keep) == 0
        scene.later(DAY)
        assert scene.prune(keep) == 1
        assert set(scene.ids()) == {"dead", "cancelled"}
        scene.later(DAY)
        assert scene.prune(keep) == 0
        scene.later(1)
        assert scene.prune(keep) == 1
        assert scene.ids() == ["dead"]
        scene.later(DAY)
        assert scene.prune(keep) == 1
        assert scene.ids() == []

    def test_age_counts_from_the_end(self, scene: Scene) -> None:
        scene.join(lease_ms=100 * DAY)
        scene.insert("j")
        scene.later(10 * DAY)
        scene.settle(settlement(scene.claim_one()))
        scene.later(DAY)
        assert scene.prune({State.COMPLETED: DAY}) == 0
        scene.later(DAY)
        assert scene.prune({State.COMPLETED: DAY}) == 1

    @needs("moments")
    def test_a_completed_job_goes_as_soon_as_it_may(self, scene: Scene) -> None:
        scene.join()
        scene.finish("j")
        scene.later(1000)
        assert scene.prune({State.COMPLETED: 1000}) == 0
        scene.later(1)
        assert scene.prune({State.COMPLETED: 1000}) == 1

    def test_a_state_that_is_not_named_is_kept(self, scene: Scene) -> None:
        scene.join()
        scene.finish("dead", state=State.DEAD)
        scene.finish("completed")
        scene.later(DAY)
        assert scene.prune(ALL_COMPLETED) == 1
        assert scene.ids() == ["dead"]
        assert scene.prune({}) == 0

    def test_live_jobs_are_never_pruned(self, scene: Scene) -> None:
        scene.join(lease_ms=100 * DAY)
        scene.insert("running")
        scene.claim_one()
        scene.insert("queued", NewJob("scheduled", "task", delay_ms=DAY))
        scene.later(10 * DAY)
        assert scene.prune(dict.fromkeys(State, 0)) == 0
        assert len(scene.find()) == 3

    def test_no_more_than_the_limit_goes_at_once(self, scene: Scene) -> None:
        scene.join()
        scene.finish(*(f"cancelled {number}" for number in range(5)), state=State.CANCELLED)
        scene.finish(*(f"dead {number}" for number in range(5)), state=State.DEAD)
        scene.later(1)
        keep = {State.CANCELLED: 0, State.DEAD: 0}
        assert [scene.prune(keep, limit=4) for _ in range(4)] == [4, 4, 2, 0]
        assert scene.find() == []

    def test_a_pruned_jobs_id_is_free_again(self, scene: Scene) -> None:
        scene.join()
        scene.finish("j")
        scene.later(1)
        scene.prune(ALL_COMPLETED)
        assert not scene.insert("j")[0].existed

    def test_what_belongs_to_completed_jobs_goes_with_them(self, scene: Scene) -> None:
        scene.join()
        scene.insert(*(NewJob(f"{number:02}", "task") for number in range(10)))
        claims = scene.claim(limit=10)
        scene.note(*(Note(claim.id, claim.lease, lines=lines("a line")) for claim in claims))
        scene.settle(*map(settlement, claims))
        while scene.prune(ALL_COMPLETED, limit=4):
            pass
        assert scene.find() == []
        scene.insert(*(NewJob(f"{number:02}", "task") for number in range(10)))
        assert [job.log for job in scene.find(with_log=True)] == [()] * 10
