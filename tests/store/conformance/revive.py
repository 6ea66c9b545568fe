"""revive, where there are edges: what a bad end took down comes back with the job that ended so, and waits for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mainspring.model.job import Edge, NewJob, Parent, Policy
from mainspring.model.states import FINAL, State
from mainspring.store.base import AlterRequest, Filter, Room, Verb

from .bad_ends import BadEnd, any_bad_end, dies, ends_cancelled, is_cancelled, is_deleted
from .edges import scene_with, still_waits
from .scene import ALL_ENDED, T0, Scene, own, settlement

FAIL, IGNORE, RUN, DEAD = Policy.FAIL, Policy.IGNORE, Policy.RUN, Policy.DEAD
BLOCKED, QUEUED, CANCELLED, COMPLETED = State.BLOCKED, State.QUEUED, State.CANCELLED, State.COMPLETED

any_end_to_revive = pytest.mark.parametrize("bad_end", [dies, ends_cancelled, is_cancelled])


def revive(scene: Scene, *ids: str) -> int:
    return scene.alter(Verb.REVIVE, Filter(ids=ids))


class TestRevivingParents:
    """The children of a job that is revived."""

    @any_end_to_revive
    def test_what_went_down_with_it_comes_back_and_waits(self, scene: Scene, bad_end: BadEnd) -> None:
        scene_with(scene, own("p"), own("1", "p"), own("2", "1"), own("3", "2"))
        bad_end(scene, "p")
        scene.later(30)
        assert revive(scene, "p") == 1
        assert scene.states("p", "1", "2", "3") == [QUEUED, BLOCKED, BLOCKED, BLOCKED]
        job = scene.job("2")
        assert (job.finished_at, job.reason, job.attempt, job.created_at) == (None, None, 0, T0)
        assert scene.parents("1") == (Parent("p", FAIL, None),)
        for id in ("p", "1", "2", "3"):
            scene.end(id)

    def test_it_is_live_again_and_no_longer_finished(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("1", "p"), own("2", "1"))
        dies(scene, "p")
        revive(scene, "p")
        assert scene.count() == {("p", QUEUED): 1, ("1", BLOCKED): 1, ("2", BLOCKED): 1}
        assert sorted(scene.ids()) == ["1", "2", "p"]
        scene.later(10)
        assert scene.prune(ALL_ENDED) == 0

    def test_a_child_brought_back_is_as_new(self, scene: Scene) -> None:
        child = own("c", Edge("p", FAIL, True), "q", args='{"n":1}', priority=3, options='{"timeout_ms":5}')
        scene_with(scene, own("p"), own("q"), child)
        scene.end("q")
        before, parents = scene.job("c"), scene.parents("c")
        dies(scene, "p")
        revive(scene, "p")
        assert replace(scene.job("c"), run_at=0) == replace(before, run_at=0)
        assert scene.parents("c") == parents

    def test_the_second_end_of_the_parent_counts(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("c", Edge("p", wants_result=True)), own("below", "c"))
        dies(scene, "p")
        revive(scene, "p")
        dies(scene, "p")
        assert scene.states("c", "below") == [CANCELLED, CANCELLED]
        assert scene.job("c").reason == "parent p is dead"
        revive(scene, "p")
        scene.later(10)
        scene.end("p", result="8")
        (claim,) = scene.start("c")
        assert (claim.parents, claim.attempt, claim.run_at) == ((Parent("p", FAIL, COMPLETED, "8"),), 1, T0 + 10)
        still_waits(scene, "below")

    @pytest.mark.parametrize("policy", [IGNORE, RUN])
    def test_a_child_that_is_blocked_still_waits_for_it_anew(self, scene: Scene, policy: Policy) -> None:
        scene_with(scene, own("p"), own("q"), own("c", Edge("p", policy, True), Edge("q", policy)))
        dies(scene, "p")
        revive(scene, "p")
        scene.end("q")
        still_waits(scene, "c")
        scene.end("p", result="8")
        assert scene.start("c")[0].parents == (Parent("p", policy, COMPLETED, "8"), Parent("q", policy, COMPLETED))

    @pytest.mark.parametrize("policy", Policy)
    def test_also_for_one_that_had_completed(self, scene: Scene, policy: Policy) -> None:
        scene_with(scene, own("p"), own("q"), own("c", Edge("p", policy, True), Edge("q", policy)))
        scene.end("p", result="7")
        revive(scene, "p")
        assert scene.parents("c")[0] == Parent("p", policy, None)
        scene.end("q")
        still_waits(scene, "c")
        scene.end("p", state=State.DEAD, result="8")
        assert scene.state("c") is (CANCELLED if policy is FAIL else QUEUED)

    @pytest.mark.parametrize("state", [COMPLETED, State.DEAD])
    def test_children_that_ran_run_or_wait_to_run_stay(self, scene: Scene, state: State) -> None:
        ids = ["waits", "later", "runs", "retries", "done", "dead", "by hand"]
        scene_with(scene, own("p"), *(own(id, Edge("p", RUN, True)) for id in ids), own("below", "done", policy=RUN))
        scene.alter(Verb.CANCEL, "by hand", reason="by hand")
        scene.end("p", state=state, result="7")
        scene.end("later", state=State.SCHEDULED, delay_ms=500)
        (claim,) = scene.start("runs")
        scene.end("retries", state=QUEUED)
        scene.end("done")
        scene.end("dead", state=State.DEAD)
        scene.later(10)
        before, parents = [scene.job(id) for id in [*ids, "below"]], scene.parents("waits")
        revive(scene, "p")
        assert [scene.job(id) for id in [*ids, "below"]] == before
        scene.end("p", state=State.DEAD)
        assert [scene.job(id) for id in [*ids, "below"]] == before
        assert scene.parents("waits") == parents
        assert scene.settle(settlement(claim)) == {"runs"}

    def test_what_a_dead_parent_released_stays_released(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("q"), own("c", "p", "q", policy=DEAD))
        dies(scene, "p")
        revive(scene, "p")
        assert scene.state("c") is QUEUED
        scene.end("p", "q")
        assert scene.state("c") is QUEUED

    def test_a_child_cancelled_by_hand_stays(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("c", "p"), own("below", "c"))
        scene.alter(Verb.CANCEL, "c", reason="by hand")
        dies(scene, "p")
        revive(scene, "p")
        assert (scene.job("c").state, scene.job("c").reason, scene.state("below")) == (CANCELLED, "by hand", CANCELLED)
        scene.end("p")
        assert scene.states("c", "below") == [CANCELLED, CANCELLED]

    @pytest.mark.parametrize("policy", [IGNORE, RUN])
    def test_below_a_child_that_has_run_nothing_comes_back(self, scene: Scene, policy: Policy) -> None:
        scene_with(scene, own("p"), own("1", "p", policy=policy), own("2", "1"))
        dies(scene, "p")
        dies(scene, "1")
        revive(scene, "p")
        assert scene.states("1", "2") == [State.DEAD, CANCELLED]
        revive(scene, "1")
        assert scene.states("1", "2") == [QUEUED, BLOCKED]

    @pytest.mark.parametrize("policy", [IGNORE, RUN])
    def test_what_its_cancelled_child_had_released_stays(self, scene: Scene, policy: Policy) -> None:
        """p dead, 1 cancelled, so 2 was released; p and 1 wait again, 2 does not."""
        scene_with(scene, own("p"), own("1", "p"), own("2", "1", policy=policy), own("q"))
        scene.insert(own("3", Edge("1", policy), Edge("q", policy)))
        dies(scene, "p")
        revive(scene, "p")
        assert scene.states("1", "2", "3") == [BLOCKED, QUEUED, BLOCKED]
        scene.end("q")
        still_waits(scene, "3")
        scene.end("p")
        scene.end("1")
        assert scene.states("2", "3") == [QUEUED, QUEUED]

    def test_its_children_are_not_counted(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("q"), *(own(id, "p") for id in "123"), own("4", "q"))
        scene.end("p", "q", state=State.DEAD)
        assert revive(scene, "p", "q") == 2
        still_waits(scene, *"1234")

    def test_reviving_it_again_changes_nothing(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("c", "p"))
        dies(scene, "p")
        revive(scene, "p")
        before = scene.find(with_parents=True)
        scene.later(10)
        assert revive(scene, "p") == 0
        assert scene.find(with_parents=True) == before


class TestRevivingOneOfTwo:
    """Children that went down with more than one parent."""

    @pytest.mark.parametrize("order", ["ab", "ba"])
    @pytest.mark.parametrize("together", [True, False])
    @pytest.mark.parametrize("revived", ["ab", "ba"])
    def test_it_comes_back_with_the_last_of_them(self, scene: Scene, order: str, together: bool, revived: str) -> None:
        scene_with(scene, own("a"), own("b"), own("c", "a", "b"), own("below", "c"))
        for ids in [tuple(order)] if together else [(order[0],), (order[1],)]:
            scene.end(*ids, state=State.DEAD)
        scene.later(10)
        revive(scene, revived[0])
        assert scene.states("c", "below") == [CANCELLED, CANCELLED]
        assert (scene.job("c").finished_at, scene.job("below").finished_at) == (T0, T0)
        revive(scene, revived[1])
        still_waits(scene, "c", "below")
        scene.end(order[0])
        still_waits(scene, "c")
        scene.end(order[1])
        scene.end("c")
        scene.end("below")

    def test_both_may_be_revived_together(self, scene: Scene) -> None:
        scene_with(scene, own("a"), own("b"), own("c", "a", "b"), own("below", "c"))
        scene.end("a", "b", state=State.DEAD)
        assert revive(scene, "a", "b") == 2
        still_waits(scene, "c", "below")

    def test_the_other_may_end_well_meanwhile(self, scene: Scene) -> None:
        """How a parent ends is known to a child that is cancelled: brought back, it does not wait for it for ever."""
        scene_with(scene, own("a"), own("b"), own("c", "a", Edge("b", wants_result=True)))
        dies(scene, "a")
        scene.end("b", result="7")
        revive(scene, "a")
        still_waits(scene, "c")
        scene.end("a")
        assert scene.start("c")[0].parents[1] == Parent("b", FAIL, COMPLETED, "7")

    def test_or_still_be_under_way(self, scene: Scene) -> None:
        scene_with(scene, own("a"), own("b"), own("c", "a", "b"))
        dies(scene, "a")
        revive(scene, "a")
        scene.end("a")
        still_waits(scene, "c")
        scene.end("b")
        assert scene.state("c") is QUEUED

    def test_or_end_badly_between(self, scene: Scene) -> None:
        """a dead, a revived, b dead: b is now what the child waits to be revived."""
        scene_with(scene, own("a"), own("b"), own("c", "a", "b"))
        dies(scene, "a")
        revive(scene, "a")
        dies(scene, "b")
        scene.end("a")
        assert (scene.job("c").state, scene.job("c").reason) == (CANCELLED, "parent b is dead")
        revive(scene, "b")
        still_waits(scene, "c")
        scene.end("b")
        assert scene.state("c") is QUEUED

    def test_the_revived_one_may_end_well_before_the_other_is_revived(self, scene: Scene) -> None:
        scene_with(scene, own("a"), own("b"), own("c", "a", "b"))
        scene.end("a", "b", state=State.DEAD)
        for first, second in ("ab", "ba"):
            revive(scene, first)
            scene.end(first)
            assert scene.state("c") is CANCELLED
            revive(scene, second)
            still_waits(scene, "c")
            scene.end(second)
            assert scene.state("c") is QUEUED
            scene.alter(Verb.DELETE, "c")
            revive(scene, "a", "b")
            scene.insert(own("c", "a", "b"))
            scene.end("a", "b", state=State.DEAD)

    @pytest.mark.parametrize("policy", [IGNORE, RUN])
    def test_a_bad_end_that_breaks_nothing_does_not_hold_it_back(self, scene: Scene, policy: Policy) -> None:
        scene_with(scene, own("a"), own("b"), own("c", Edge("a"), Edge("b", policy)))
        scene.end("a", "b", state=State.DEAD)
        revive(scene, "a")
        still_waits(scene, "c")
        scene.end("a")
        assert scene.state("c") is QUEUED

    def test_a_deleted_parent_holds_it_back_for_good(self, scene: Scene) -> None:
        scene_with(scene, own("a"), own("b"), own("c", "a", "b"))
        dies(scene, "a")
        is_deleted(scene, "b")
        revive(scene, "a")
        assert scene.state("c") is CANCELLED
        scene.end("a")
        assert scene.state("c") is CANCELLED
        revive(scene, "c")
        assert scene.state("c") is QUEUED


class TestRevivingDiamonds:
    """Jobs that a bad end reached, and a revival reaches, by several ways."""

    @any_end_to_revive
    def test_all_of_a_diamond_comes_back(self, scene: Scene, bad_end: BadEnd) -> None:
        scene_with(scene, own("p"), own("a", "p"), own("b", "p"), own("end", "a", "b"), own("after", "end", "p"))
        bad_end(scene, "p")
        assert revive(scene, "p") == 1
        still_waits(scene, "a", "b", "end", "after")
        scene.end("p")
        scene.end("a")
        still_waits(scene, "end")
        scene.end("b")
        still_waits(scene, "after")
        scene.end("end")
        assert len(scene.claim("worker", Room("after", 9))) == 1

    def test_ways_of_different_length_too(self, scene: Scene) -> None:
        chain = own("p"), own("1", "p"), own("2", "1"), own("3", "2")
        scene_with(scene, *chain, own("end", "p", "3", "1"), own("after", "end", "2"))
        dies(scene, "p")
        revive(scene, "p")
        still_waits(scene, "1", "2", "3", "end", "after")
        for id in ("p", "1", "2", "3", "end", "after"):
            scene.end(id)

    def test_one_side_that_has_run_does_not_run_again(self, scene: Scene) -> None:
        a = own("a", Edge("p", IGNORE))
        scene_with(scene, own("p"), a, own("b", "p"), own("end", "a", "b"), own("other", "a", "b", policy=RUN))
        dies(scene, "p")
        scene.end("a")
        assert scene.states("end", "other") == [CANCELLED, QUEUED]
        revive(scene, "p")
        assert scene.states("a", "b", "end", "other") == [COMPLETED, BLOCKED, BLOCKED, QUEUED]
        scene.end("p")
        scene.end("b")
        assert scene.states("end", "other") == [QUEUED, QUEUED]

    def test_a_side_cancelled_by_hand_keeps_the_end_down(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("a", "p"), own("b", "p"), own("end", "a", "b"))
        scene.alter(Verb.CANCEL, "a")
        dies(scene, "p")
        revive(scene, "p")
        assert scene.states("a", "b", "end") == [CANCELLED, BLOCKED, CANCELLED]
        revive(scene, "a")
        assert scene.states("a", "b", "end") == [QUEUED, BLOCKED, BLOCKED]


class TestRevivingChildren:
    """A child revived alone no longer waits for anything."""

    @any_bad_end
    def test_it_runs_while_its_parent_is_as_it_was(self, scene: Scene, bad_end: BadEnd) -> None:
        scene_with(scene, own("p"), own("c", "p"))
        bad_end(scene, "p")
        scene.later(10)
        assert revive(scene, "c") == 1
        assert (scene.job("c").state, scene.job("c").run_at) == (QUEUED, T0 + 10)
        scene.end("c")

    def test_nor_for_parents_that_have_not_ended(self, scene: Scene) -> None:
        """Their ends neither take it down nor release it again."""
        scene_with(scene, own("a"), own("b"), own("d"), own("c", "a", "b", "d"))
        dies(scene, "b")
        revive(scene, "c")
        before = scene.job("c")
        dies(scene, "a")
        assert scene.job("c") == before
        (claim,) = scene.start("c")
        scene.settle(settlement(claim, State.SCHEDULED, delay_ms=500))
        before = scene.job("c")
        scene.end("d")
        assert scene.job("c") == before

    def test_its_own_children_wait_for_it_again(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("1", "p"), own("2", "1"), own("3", "2"))
        dies(scene, "p")
        revive(scene, "1")
        assert scene.states("p", "1", "2", "3") == [State.DEAD, QUEUED, BLOCKED, BLOCKED]
        for id in "123":
            scene.end(id)

    @pytest.mark.parametrize("state", [*sorted(FINAL), QUEUED])
    def test_reviving_its_parent_later_leaves_it_alone(self, scene: Scene, state: State) -> None:
        scene_with(scene, own("p"), own("q"), own("c", "p", "q"))
        scene.end("p", "q", state=State.DEAD)
        revive(scene, "c")
        scene.end("c", state=state)
        before = scene.job("c")
        scene.later(10)
        revive(scene, "p", "q")
        assert scene.job("c") == before
        scene.end("p", state=State.DEAD)
        scene.end("q")
        assert scene.job("c") == before

    def test_cancelled_by_hand_afterwards_it_stays_cancelled(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("c", "p"))
        dies(scene, "p")
        revive(scene, "c")
        scene.alter(Verb.CANCEL, "c", reason="by hand")
        revive(scene, "p")
        assert (scene.job("c").state, scene.job("c").reason) == (CANCELLED, "by hand")

    def test_one_cancelled_by_hand_is_revived_alone_as_well(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("q"), own("c", "p", "q"), own("below", "c"))
        scene.alter(Verb.CANCEL, "c")
        revive(scene, "c")
        assert scene.states("c", "below") == [QUEUED, BLOCKED]
        scene.end("p", state=State.DEAD)
        scene.end("q")
        assert scene.state("c") is QUEUED

    def test_so_is_one_that_waited_for_a_death_that_did_not_come(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("c", "p", policy=DEAD))
        scene.end("p")
        revive(scene, "c")
        assert scene.state("c") is QUEUED
        scene.end("c")

    @pytest.mark.parametrize("ids", [("p", "c"), ("c", "p")])
    @pytest.mark.parametrize("names", [("p", "c"), ("c", "p")])
    def test_revived_together_with_its_parent_it_waits_for_it(
        self, scene: Scene, ids: tuple[str, ...], names: tuple[str, ...]
    ) -> None:
        """Whichever of the two comes first in the selection."""
        parent, child = names
        scene_with(scene, own(parent), own(child, parent), own("below", child))
        dies(scene, parent)
        revive(scene, *ids)
        assert scene.states(parent, child, "below") == [QUEUED, BLOCKED, BLOCKED]
        for id in (parent, child, "below"):
            scene.end(id)


class TestRevivingMany:
    """Revivals of whole selections."""

    def test_in_bounded_batches(self, scene: Scene) -> None:
        names = [f"{number:02}" for number in range(25)]
        parents = [NewJob(f"p{name}", "task") for name in names]
        children = [NewJob(f"c{name}", "child", parents=(Edge(f"p{name}"),)) for name in names]
        below = [NewJob(f"b{name}", "child", parents=(Edge(f"c{name}"), Edge(f"p{name}"))) for name in names]
        scene_with(scene, *parents, *children, *below)
        scene.settle(*(settlement(claim, State.DEAD) for claim in scene.claim()))
        assert scene.count() == {("default", State.DEAD): 25, ("default", CANCELLED): 50}
        replies = scene.batches(AlterRequest(Verb.REVIVE, Filter(states=(State.DEAD,)), limit=4, now=scene.now))
        assert all(reply.count <= 4 for reply in replies)
        assert sum(reply.count for reply in replies) == 25
        assert scene.count() == {("default", QUEUED): 25, ("default", BLOCKED): 50}
        for _ in range(3):
            claims = scene.claim()
            assert len(claims) == 25
            scene.settle(*map(settlement, claims))
        assert scene.count() == {("default", COMPLETED): 75}

    def test_everything_that_ended_badly(self, scene: Scene) -> None:
        """In one batch, and each job runs after its parents."""
        scene_with(scene, own("p"), own("a", "p"), own("b", "p"), own("end", "a", "b"), own("q"), own("r", "q"))
        scene.end("p", "q", state=State.DEAD)
        scene.alter(Verb.REVIVE, Filter(states=(State.DEAD, CANCELLED)))
        assert scene.states("p", "a", "b", "end", "q", "r") == [QUEUED, BLOCKED, BLOCKED, BLOCKED, QUEUED, BLOCKED]

    @pytest.mark.parametrize("limit", [1, 2, 3])
    def test_none_is_left_out_or_stuck_where_batches_are_small(self, scene: Scene, limit: int) -> None:
        scene_with(scene, own("p"), own("a", "p"), own("b", "p"), own("end", "a", "b"), own("z", "end"))
        dies(scene, "p")
        request = AlterRequest(Verb.REVIVE, Filter(states=(State.DEAD, CANCELLED)), limit=limit, now=scene.now)
        scene.batches(request)
        ran: set[str] = set()
        while ready := scene.ids(Filter(states=(QUEUED,))):
            scene.end(*ready)
            assert ran.isdisjoint(ready)
            ran.update(ready)
        assert ran == {"p", "a", "b", "end", "z"}
