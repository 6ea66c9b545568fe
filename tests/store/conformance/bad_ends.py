"""Bad ends: what becomes of the children of a job that is dead, cancelled or deleted, all the way down."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest

from mainspring.model.job import Edge, Key, NewJob, Parent, Policy, Until
from mainspring.model.states import FINAL, State
from mainspring.store.base import Filter, Inserted, Room, Verb

from .edges import scene_with, still_waits
from .scene import T0, Scene, own, settlement

FAIL, IGNORE, RUN, DEAD = Policy.FAIL, Policy.IGNORE, Policy.RUN, Policy.DEAD
BLOCKED, QUEUED, CANCELLED, COMPLETED = State.BLOCKED, State.QUEUED, State.CANCELLED, State.COMPLETED

# --- how a job can end badly: each does it to the queued job of that id, and says how a child of it must see that ---


def dies(scene: Scene, id: str) -> tuple[State, str, str]:
    scene.end(id, state=State.DEAD, reason="attempts used up", error='{"type":"E"}', result="1")
    return State.DEAD, "attempts used up", f"parent {id} is dead"


def ends_cancelled(scene: Scene, id: str) -> tuple[State, str, str]:
    (claim,) = scene.start(id)
    scene.alter(Verb.CANCEL, id, reason="not wanted")
    scene.settle(settlement(claim, CANCELLED, reason="its own"))
    return CANCELLED, "not wanted", f"parent {id} was cancelled"


def is_cancelled(scene: Scene, id: str) -> tuple[State, str, str]:
    assert scene.alter(Verb.CANCEL, id, reason="not wanted") == 1
    return CANCELLED, "not wanted", f"parent {id} was cancelled"


def is_deleted(scene: Scene, id: str) -> tuple[State, str, str]:
    assert scene.alter(Verb.DELETE, id) == 1
    return CANCELLED, "deleted", f"parent {id} was deleted"


BadEnd = Callable[[Scene, str], tuple[State, str, str]]

any_bad_end = pytest.mark.parametrize("bad_end", [dies, ends_cancelled, is_cancelled, is_deleted])
any_end_but_dead = pytest.mark.parametrize("bad_end", [ends_cancelled, is_cancelled, is_deleted])


class TestPolicies:
    """What a bad end does to a child, by the policy of its edge."""

    @any_bad_end
    def test_fail_cancels_the_child_with_the_reason(self, scene: Scene, bad_end: BadEnd) -> None:
        scene_with(scene, own("p"), own("c", "p"), own("other"))
        scene.later(40)
        state, reason, told = bad_end(scene, "p")
        job = scene.job("c")
        assert (job.state, job.reason, job.finished_at, job.lease) == (CANCELLED, told, T0 + 40, 0)
        assert scene.parents("c") == (Parent("p", FAIL, state, None, reason),)
        assert scene.count()["c", CANCELLED] == 1
        assert scene.claim("worker", Room("c", 1)) == ()
        assert scene.state("other") is QUEUED

    @any_bad_end
    @pytest.mark.parametrize("policy", [IGNORE, RUN])
    def test_ignore_and_run_release_it(self, scene: Scene, policy: Policy, bad_end: BadEnd) -> None:
        scene_with(scene, own("p"), own("c", Edge("p", policy, wants_result=True)))
        state, reason, _ = bad_end(scene, "p")
        (claim,) = scene.start("c")
        assert claim.parents == (Parent("p", policy, state, None, reason),)

    def test_dead_releases_it_where_the_parent_is_dead(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("c", "p", policy=DEAD))
        _, reason, _ = dies(scene, "p")
        (claim,) = scene.start("c")
        assert claim.parents == (Parent("p", DEAD, State.DEAD, None, reason),)

    @any_end_but_dead
    def test_dead_cancels_it_where_the_parent_ended_otherwise(self, scene: Scene, bad_end: BadEnd) -> None:
        scene_with(scene, own("p"), own("c", "p", policy=DEAD))
        bad_end(scene, "p")
        assert (scene.job("c").state, scene.job("c").reason) == (CANCELLED, "no parent is dead")

    def test_also_where_it_completed(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("c", "p", policy=DEAD), own("below", "c"))
        scene.later(5)
        scene.end("p")
        job = scene.job("c")
        assert (job.state, job.reason, job.finished_at) == (CANCELLED, "no parent is dead", T0 + 5)
        assert (scene.job("below").state, scene.job("below").reason) == (CANCELLED, "parent c was cancelled")

    @any_bad_end
    def test_fail_does_not_wait_for_the_other_parents(self, scene: Scene, bad_end: BadEnd) -> None:
        scene_with(scene, own("a"), own("p"), own("z"), own("c", "a", "p", "z"))
        _, _, told = bad_end(scene, "p")
        before = scene.job("c")
        assert (before.state, before.reason) == (CANCELLED, told)
        scene.later(10)
        scene.end("a")
        scene.end("z", state=State.DEAD)
        assert scene.job("c") == before

    @any_bad_end
    @pytest.mark.parametrize("policy", [IGNORE, RUN])
    def test_ignore_and_run_wait_for_the_other_parents(self, scene: Scene, policy: Policy, bad_end: BadEnd) -> None:
        scene_with(scene, own("a"), own("p"), own("z"), own("c", "a", "p", "z", policy=policy))
        scene.end("a")
        bad_end(scene, "p")
        still_waits(scene, "c")
        bad_end(scene, "z")
        assert scene.state("c") is QUEUED

    def test_the_first_dead_parent_releases_at_once(self, scene: Scene) -> None:
        scene_with(scene, own("a"), own("b"), own("z"), own("c", "a", "b", "z", policy=DEAD))
        scene.end("a")
        still_waits(scene, "c")
        scene.end("b", state=State.DEAD)
        (claim,) = scene.start("c")
        assert [parent.state for parent in claim.parents] == [COMPLETED, State.DEAD, None]

    @pytest.mark.parametrize("state", sorted(FINAL))
    def test_and_once_alone(self, scene: Scene, state: State) -> None:
        """Parents that end after the dead one change nothing, whatever the child is doing by then."""
        children = ["waits", "runs", "ran", "later"]
        scene_with(scene, own("a"), own("b"), *(own(id, "a", "b", policy=DEAD) for id in children))
        scene.end("a", state=State.DEAD)
        scene.start("runs")
        scene.end("ran")
        scene.end("later", state=State.SCHEDULED, delay_ms=1000)
        scene.later(10)
        before = [scene.job(id) for id in children]
        scene.end("b", state=state)
        assert [scene.job(id) for id in children] == before

    @any_end_but_dead
    def test_none_dead_is_known_when_all_have_ended(self, scene: Scene, bad_end: BadEnd) -> None:
        scene_with(scene, own("a"), own("b"), own("z"), own("c", "a", "b", "z", policy=DEAD))
        bad_end(scene, "b")
        scene.end("a")
        still_waits(scene, "c")
        bad_end(scene, "z")
        assert (scene.job("c").state, scene.job("c").reason) == (CANCELLED, "no parent is dead")


def mixed(*edges: tuple[str, Policy]) -> NewJob:
    """A child whose edges differ."""
    return own("c", *(Edge(parent, policy) for parent, policy in edges))


class TestMixedPolicies:
    """Children whose edges differ."""

    @any_bad_end
    def test_one_broken_edge_is_enough(self, scene: Scene, bad_end: BadEnd) -> None:
        scene_with(scene, own("a"), own("b"), own("d"), mixed(("a", RUN), ("b", FAIL), ("d", IGNORE)))
        bad_end(scene, "a")
        still_waits(scene, "c")
        _, _, told = bad_end(scene, "b")
        assert (scene.job("c").state, scene.job("c").reason) == (CANCELLED, told)

    @any_bad_end
    def test_a_bad_end_on_another_edge_breaks_nothing(self, scene: Scene, bad_end: BadEnd) -> None:
        scene_with(scene, own("a"), own("b"), mixed(("a", FAIL), ("b", IGNORE)))
        bad_end(scene, "b")
        still_waits(scene, "c")
        scene.end("a")
        assert scene.state("c") is QUEUED

    def test_a_dead_parent_releases_although_others_are_open(self, scene: Scene) -> None:
        scene_with(scene, own("a"), own("b"), own("d"), mixed(("a", DEAD), ("b", RUN), ("d", FAIL)))
        scene.end("a", state=State.DEAD)
        assert scene.state("c") is QUEUED
        scene.end("d", state=State.DEAD)
        assert scene.state("c") is QUEUED

    @pytest.mark.parametrize("policy", [IGNORE, RUN])
    def test_only_death_on_a_dead_edge_does(self, scene: Scene, policy: Policy) -> None:
        scene_with(scene, own("a"), own("b"), mixed(("a", DEAD), ("b", policy)))
        scene.end("b", state=State.DEAD)
        still_waits(scene, "c")
        scene.end("a")
        assert (scene.job("c").state, scene.job("c").reason) == (CANCELLED, "no parent is dead")

    def test_none_dead_waits_for_edges_of_all_kinds(self, scene: Scene) -> None:
        scene_with(scene, own("a"), own("b"), mixed(("a", DEAD), ("b", FAIL)))
        scene.end("a")
        still_waits(scene, "c")
        scene.end("b")
        assert (scene.job("c").state, scene.job("c").reason) == (CANCELLED, "no parent is dead")

    @pytest.mark.parametrize("order", list(permutations("ab")), ids="".join)
    @pytest.mark.parametrize("edges", [(("a", FAIL), ("b", DEAD)), (("b", DEAD), ("a", FAIL))])
    def test_a_broken_edge_outweighs_a_dead_one(
        self, scene: Scene, edges: tuple[tuple[str, Policy], ...], order: tuple[str, ...]
    ) -> None:
        scene_with(scene, own("a"), own("b"), mixed(*edges))
        scene.end(*order, state=State.DEAD)
        assert (scene.job("c").state, scene.job("c").reason) == (CANCELLED, "parent a is dead")


class TestCascades:
    """A bad end goes down as far as edges carry it, in the request that caused it."""

    @any_bad_end
    def test_down_several_levels_each_with_its_reason(self, scene: Scene, bad_end: BadEnd) -> None:
        scene_with(scene, own("p"), own("1", "p"), own("2", "1"), own("3", "2"), own("4", "3"))
        scene.later(20)
        _, _, told = bad_end(scene, "p")
        jobs = [scene.job(id) for id in "1234"]
        assert [job.reason for job in jobs] == [told, *(f"parent {id} was cancelled" for id in "123")]
        assert {(job.state, job.finished_at) for job in jobs} == {(CANCELLED, T0 + 20)}
        assert scene.parents("2") == (Parent("1", FAIL, CANCELLED, None, told),)

    def test_only_the_selected_job_is_counted(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("1", "p"), own("2", "1"), own("q"), own("3", "q"))
        assert scene.alter(Verb.CANCEL, "p") == 1
        assert scene.alter(Verb.DELETE, "q") == 1
        assert scene.states("1", "2", "3") == [CANCELLED] * 3

    @pytest.mark.parametrize("policy", [IGNORE, RUN])
    @any_bad_end
    def test_it_stops_at_an_edge_that_does_not_fail(self, scene: Scene, policy: Policy, bad_end: BadEnd) -> None:
        scene_with(scene, own("p"), own("1", "p"), own("2", "1", policy=policy), own("3", "2"), own("4", "3"))
        _, _, told = bad_end(scene, "p")
        assert scene.states("1", "2", "3", "4") == [CANCELLED, QUEUED, BLOCKED, BLOCKED]
        (claim,) = scene.start("2")
        assert claim.parents == (Parent("1", policy, CANCELLED, None, told),)
        scene.settle(settlement(claim, State.DEAD))
        assert [scene.job(id).reason for id in "34"] == ["parent 2 is dead", "parent 3 was cancelled"]

    def test_a_cancelled_job_is_not_a_dead_one(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("1", "p"), own("2", "1", policy=DEAD), own("3", "2"), own("4", "2", policy=RUN))
        scene.end("p", state=State.DEAD)
        assert scene.states("1", "2", "3", "4") == [CANCELLED, CANCELLED, CANCELLED, QUEUED]
        assert [scene.job(id).reason for id in "23"] == ["no parent is dead", "parent 2 was cancelled"]

    @any_bad_end
    def test_over_a_diamond_to_its_last_job_once(self, scene: Scene, bad_end: BadEnd) -> None:
        scene_with(scene, own("p"), own("a", "p"), own("b", "p"), own("end", "a", "b"), own("after", "end", "p"))
        bad_end(scene, "p")
        assert scene.states("a", "b", "end", "after") == [CANCELLED] * 4
        assert scene.job("end").reason in ("parent a was cancelled", "parent b was cancelled")
        assert len(scene.find()) == (4 if bad_end is is_deleted else 5)

    @pytest.mark.parametrize("policy", [IGNORE, RUN])
    def test_what_ignores_both_sides_of_a_diamond_is_released_once(self, scene: Scene, policy: Policy) -> None:
        scene_with(scene, own("p"), own("a", "p"), own("b", "p"), own("end", "a", "b", policy=policy))
        scene.end("p", state=State.DEAD)
        assert scene.states("a", "b", "end") == [CANCELLED, CANCELLED, QUEUED]
        assert len(scene.claim("worker", Room("end", 9))) == 1

    def test_one_side_of_a_diamond_may_go_on(self, scene: Scene) -> None:
        a, waits = own("a", "p", policy=IGNORE), own("waits", "a", "b", policy=RUN)
        scene_with(scene, own("p"), a, own("b", "p"), own("fails", "a", "b"), waits)
        scene.end("p", state=State.DEAD)
        assert scene.states("a", "b", "fails", "waits") == [QUEUED, CANCELLED, CANCELLED, BLOCKED]
        scene.end("a")
        assert scene.states("fails", "waits") == [CANCELLED, QUEUED]

    def test_several_ends_of_one_request_pass_down_together(self, scene: Scene) -> None:
        scene_with(scene, own("a"), own("b"), own("1", "a"), own("2", "1"), own("3", "b", "2", policy=RUN))
        scene.end("a", "b", state=State.DEAD)
        assert scene.states("1", "2", "3") == [CANCELLED, CANCELLED, QUEUED]

    @pytest.mark.parametrize("verb", [Verb.CANCEL, Verb.DELETE])
    def test_parent_and_child_may_be_selected_together(self, scene: Scene, verb: Verb) -> None:
        scene_with(scene, own("p"), own("c", "p"), own("d", "c", policy=RUN))
        scene.alter(verb, Filter(ids=("p", "c")))
        left = {job.id: job.state for job in scene.find()}
        assert left.pop("d") is QUEUED
        assert left == ({"p": CANCELLED, "c": CANCELLED} if verb is Verb.CANCEL else {})

    @any_bad_end
    @pytest.mark.parametrize("until", Until)
    def test_keys_are_given_back_as_by_any_end(self, scene: Scene, until: Until, bad_end: BadEnd) -> None:
        scene_with(scene, own("p"), own("1", "p"), own("2", "1", keys=(Key("k", until),)))
        ask = own("3", keys=(Key("k"),))
        assert scene.insert(ask) == (Inserted("2", existed=True),)
        bad_end(scene, "p")
        kept = until is Until.EXPIRY
        assert scene.insert(ask) == (Inserted("2" if kept else "3", existed=kept),)

    def test_a_key_until_started_is_held_until_the_child_starts(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("c", "p", keys=(Key("k", Until.STARTED),)))
        scene.end("p")
        assert scene.insert(own("d", keys=(Key("k"),))) == (Inserted("c", existed=True),)
        scene.start("c")
        assert scene.insert(own("d", keys=(Key("k"),))) == (Inserted("d", existed=False),)
