"""prune: history goes when it is old enough, and nothing else."""

from __future__ import annotations

from mainspring.model.job import NewJob
from mainspring.model.states import State

from .scene import Scene, settlement

DAY = 86_400_000


class TestPrune:
    """Retention."""

    def test_each_state_has_its_own_retention(self, scene: Scene) -> None:
        scene.join(lease_ms=100 * DAY)
        scene.finish("completed")
        scene.finish("dead", state=State.DEAD)
        scene.finish("cancelled", state=State.CANCELLED)
        keep = {State.COMPLETED: DAY, State.DEAD: 3 * DAY, State.CANCELLED: 2 * DAY}
        scene.later(DAY)
        assert scene.prune(keep) == 0
        scene.later(1)
        assert scene.prune(keep) == 1
        assert set(scene.ids()) == {"dead", "cancelled"}
        scene.later(DAY)
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
        scene.later(1)
        assert scene.prune({State.COMPLETED: DAY}) == 1

    def test_a_state_that_is_not_named_is_kept(self, scene: Scene) -> None:
        scene.join()
        scene.finish("dead", state=State.DEAD)
        scene.finish("completed")
        scene.later(DAY)
        assert scene.prune({State.COMPLETED: 0}) == 1
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
        scene.finish(*(f"completed {number}" for number in range(5)))
        scene.finish(*(f"dead {number}" for number in range(5)), state=State.DEAD)
        scene.later(1)
        keep = {State.COMPLETED: 0, State.DEAD: 0}
        assert [scene.prune(keep, limit=4) for _ in range(4)] == [4, 4, 2, 0]
        assert scene.find() == []

    def test_a_pruned_jobs_id_is_free_again(self, scene: Scene) -> None:
        scene.join()
        scene.finish("j")
        scene.later(1)
        scene.prune({State.COMPLETED: 0})
        assert not scene.insert("j")[0].existed
