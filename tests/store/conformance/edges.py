"""Edges: a child waits for its parents, and is released by the very request that ends the last of them."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from mainspring.errors import UnknownParent
from mainspring.model.job import Conflict, Edge, Key, NewJob, Parent, Policy, Until
from mainspring.model.states import FINAL, State
from mainspring.store.base import Filter, Inserted, NewFlow, PutSchedule, Room, Store, Tick, Verb

from .scene import ALL_COMPLETED, LEASE_MS, T0, Scene, needs, own, settlement
from .texts import ESCAPED, any_text
from .watch import PATIENCE, listening

FAIL, IGNORE, RUN, DEAD = Policy.FAIL, Policy.IGNORE, Policy.RUN, Policy.DEAD
BLOCKED, QUEUED, CANCELLED, COMPLETED = State.BLOCKED, State.QUEUED, State.CANCELLED, State.COMPLETED

DAY = 86_400_000


def scene_with(scene: Scene, *jobs: NewJob) -> None:
    scene.join(lease_ms=100 * DAY)
    scene.insert(*jobs)


def still_waits(scene: Scene, *ids: str) -> None:
    assert scene.states(*ids) == [BLOCKED] * len(ids)


class TestWaiting:
    """When a child is released, and when it is not."""

    def test_a_child_is_blocked_until_its_parent_has_completed(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("c", "p"))
        assert scene.states("p", "c") == [QUEUED, BLOCKED]
        (claim,) = scene.start("p")
        still_waits(scene, "c")
        scene.settle(settlement(claim))
        assert scene.states("p", "c") == [COMPLETED, QUEUED]
        scene.end("c")

    def test_a_blocked_job_is_not_served_nor_waited_for(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("c", "p"), own("delayed", "p", delay_ms=50))
        for _ in range(3):
            reply = scene.claim_reply("worker", Room("c", 1), Room("delayed", 1))
            assert (reply.claims, reply.next_due) == ((), None)
            scene.later(100)

    def test_it_counts_and_is_found_as_blocked(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("c", "p"))
        assert scene.count() == {("p", QUEUED): 1, ("c", BLOCKED): 1}
        assert scene.ids(Filter(states=(BLOCKED,))) == ["c"]
        scene.end("p")
        assert scene.count() == {("p", COMPLETED): 1, ("c", QUEUED): 1}
        assert scene.ids(Filter(states=(BLOCKED,))) == []

    @pytest.mark.parametrize("order", list(permutations("abc")), ids="".join)
    def test_the_last_parent_releases_it(self, scene: Scene, order: tuple[str, ...]) -> None:
        scene_with(scene, own("a"), own("b"), own("c"), own("child", "a", "b", "c"))
        for id in order[:2]:
            scene.end(id)
            still_waits(scene, "child")
        scene.end(order[2])
        assert scene.state("child") is QUEUED

    def test_parents_that_end_together_release_it_once(self, scene: Scene) -> None:
        scene_with(scene, own("a"), own("b"), own("c"), own("child", "a", "b", "c"))
        scene.end("a", "b", "c")
        assert scene.ids(Filter(queue="child")) == ["child"]
        assert len(scene.claim("worker", Room("child", 9))) == 1

    def test_a_parent_releases_all_its_children_and_no_others(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("q"), own("1", "p"), own("2", "p"), own("3", "q"), own("4", "p", "q"))
        scene.end("p")
        assert scene.states("1", "2", "3", "4") == [QUEUED, QUEUED, BLOCKED, BLOCKED]

    def test_a_chain_runs_one_after_the_other(self, scene: Scene) -> None:
        scene_with(scene, own("1"), own("2", "1"), own("3", "2"), own("4", "3"))
        for id, behind in (("1", "234"), ("2", "34"), ("3", "4"), ("4", "")):
            assert scene.state(id) is QUEUED
            still_waits(scene, *behind)
            scene.end(id)

    def test_a_diamond_runs_its_last_job_once(self, scene: Scene) -> None:
        scene_with(scene, own("top"), own("left", "top"), own("right", "top"), own("bottom", "left", "right"))
        scene.end("top")
        scene.end("left")
        still_waits(scene, "bottom")
        scene.end("right")
        assert len(scene.claim("worker", Room("bottom", 9))) == 1

    @pytest.mark.parametrize("state", [State.SCHEDULED, QUEUED])
    def test_a_parent_that_runs_again_does_not_release(self, scene: Scene, state: State) -> None:
        scene_with(scene, own("p"), *(own(policy, "p", policy=policy) for policy in Policy))
        for _ in range(3):
            (claim,) = scene.start("p")
            scene.settle(settlement(claim, state, delay_ms=10, error='{"type":"E"}', reason="again"))
            still_waits(scene, *Policy)
            scene.later(10)
        scene.end("p")
        assert scene.states(FAIL, IGNORE, RUN) == [QUEUED] * 3

    def test_a_parent_whose_worker_died_does_not_release(self, scene: Scene) -> None:
        scene.join("worker")
        scene.insert(own("p"), own("c", "p"))
        scene.start("p")
        scene.later(LEASE_MS)
        scene.join("other")
        (lost,) = scene.reap("other")
        still_waits(scene, "c")
        scene.settle(settlement(lost, QUEUED, crashes=1))
        still_waits(scene, "c")
        scene.join("worker")
        scene.end("p")
        assert scene.state("c") is QUEUED

    def test_nor_does_one_that_is_asked_to_cancel(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("c", "p"))
        (claim,) = scene.start("p")
        scene.alter(Verb.CANCEL, "p")
        still_waits(scene, "c")
        scene.settle(settlement(claim))
        assert scene.state("c") is QUEUED

    @pytest.mark.parametrize("state", sorted(FINAL))
    @pytest.mark.parametrize("policy", Policy)
    def test_a_stale_settlement_releases_and_cancels_nothing(self, scene: Scene, policy: Policy, state: State) -> None:
        scene.join("worker")
        scene.insert(own("p"), own("q"), own("c", "p", policy=policy), own("d", "p", "q"))
        stale, fresh = scene.start("p", "q")
        scene.later(LEASE_MS - 1)
        scene.join("other")
        scene.later(1)
        reaped = {claim.id: claim for claim in scene.reap("other")}
        assert scene.settle(settlement(stale, state), settlement(fresh, state)) == frozenset()
        still_waits(scene, "c", "d")
        assert scene.settle(settlement(stale, state), settlement(reaped["q"])) == {"q"}
        still_waits(scene, "c", "d")
        scene.settle(settlement(reaped["p"]))
        assert scene.states("c", "d") == [CANCELLED if policy is DEAD else QUEUED, QUEUED]

    def test_a_settlement_sent_twice_releases_once(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("waits", "p"), own("ran", "p"), own("later", "p"), own("held", "p"))
        (claim,) = scene.start("p")
        scene.settle(settlement(claim))
        scene.end("ran")
        scene.end("later", state=State.SCHEDULED, delay_ms=500)
        scene.start("held")
        before = scene.find()
        scene.later(10)
        assert scene.settle(settlement(claim)) == frozenset()
        assert scene.settle(settlement(claim, State.DEAD)) == frozenset()
        assert scene.find() == before

    def test_a_released_child_is_not_blocked_again_by_its_own_retries(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("c", "p"))
        scene.end("p")
        scene.end("c", state=State.QUEUED)
        assert scene.state("c") is QUEUED
        scene.end("c", state=State.SCHEDULED, delay_ms=10)
        scene.later(10)
        scene.end("c")

    def test_a_released_job_is_due_when_it_is_released(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("c", "p"))
        scene.later(70)
        scene.end("p")
        job = scene.job("c")
        assert (job.state, job.created_at, job.run_at) == (QUEUED, T0, T0 + 70)

    @pytest.mark.parametrize(
        ("ended_after", "state", "run_at"),
        [(70, State.SCHEDULED, T0 + 100), (100, QUEUED, T0 + 100), (130, QUEUED, T0 + 130)],
    )
    def test_its_own_delay_is_kept(self, scene: Scene, ended_after: int, state: State, run_at: int) -> None:
        scene_with(scene, own("p"), own("delayed", "p", delay_ms=100), own("timed", "p", run_at=T0 + 100))
        scene.later(ended_after)
        scene.end("p")
        for id in ("delayed", "timed"):
            assert (scene.job(id).state, scene.job(id).run_at) == (state, run_at)
        reply = scene.claim_reply("worker", Room("delayed", 1))
        if state is State.SCHEDULED:
            assert (reply.claims, reply.next_due) == ((), T0 + 100)
            scene.later(30)
            scene.end("delayed")
        else:
            assert len(reply.claims) == 1

    def test_it_queues_behind_what_was_due_before_and_keeps_its_priority(self, scene: Scene) -> None:
        scene_with(scene, own("p"), NewJob("c", "task", parents=(Edge("p"),)), NewJob("urgent", "t", priority=1))
        scene.insert(NewJob("first", "task", priority=1, parents=(Edge("p"),)))
        scene.later(10)
        scene.insert("x")
        scene.later(10)
        scene.end("p")
        assert [claim.id for claim in scene.claim()] == ["urgent", "first", "x", "c"]

    def test_what_operators_can_do_to_a_blocked_job(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("c", "p"))
        scene.later(10)
        assert scene.alter(Verb.RESCHEDULE, "c", scene.now + 5000) == 0
        assert scene.alter(Verb.REVIVE, "c") == 0
        assert (scene.job("c").state, scene.job("c").run_at) == (BLOCKED, T0)
        assert scene.alter(Verb.REPRIORITISE, "c", 1) == 1
        assert (scene.job("c").state, scene.job("c").priority) == (BLOCKED, 1)
        scene.end("p")
        assert scene.claim_one("worker", Room("c", 1)).priority == 1

    @needs("hints")
    def test_a_release_is_heard_of_and_so_is_a_child_that_goes_down(self, store: Store, scene: Scene) -> None:
        scene_with(scene, own("p"), own("c", "p"), own("q"), own("d", "q"))
        for parent, topic, state in (("p", "queue:c", COMPLETED), ("q", "job:d", State.DEAD)):
            (claim,) = scene.start(parent)
            with listening(store, topic) as watch:
                scene.settle(settlement(claim, state))
                assert watch.wait(PATIENCE)

    @pytest.mark.parametrize("verb", [Verb.CANCEL, Verb.DELETE])
    def test_a_job_that_no_longer_waits_is_not_released(self, scene: Scene, verb: Verb) -> None:
        scene_with(scene, own("p"), own("c", "p"), own("d", "p"))
        assert scene.alter(verb, "c", reason="why") == 1
        scene.end("p")
        assert scene.state("d") is QUEUED
        assert [job.state for job in scene.find(Filter(ids=("c",)))] == ([CANCELLED] if verb is Verb.CANCEL else [])

    def test_a_deleted_childs_edges_are_gone_with_it(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("q"), own("c", "p", "q"))
        scene.alter(Verb.DELETE, "c")
        scene.insert(own("c", "q"))
        assert [parent.id for parent in scene.parents("c")] == ["q"]
        scene.end("p")
        still_waits(scene, "c")
        scene.end("q")
        assert scene.state("c") is QUEUED
        scene.alter(Verb.DELETE, "c")
        scene.insert(own("c"))
        assert (scene.state("c"), scene.parents("c")) == (QUEUED, ())


class TestParentsInserted:
    """Children whose parents are in the same request, in the store, have ended, or are not there."""

    @pytest.mark.parametrize("order", list(permutations((0, 1, 2, 3))))
    def test_jobs_of_one_request_may_stand_in_any_order(self, scene: Scene, order: tuple[int, ...]) -> None:
        jobs = own("p"), own("a", "p"), own("b", "p"), own("c", "a", "b")
        scene.join()
        inserted = scene.insert(*(jobs[place] for place in order))
        assert inserted == tuple(Inserted(jobs[place].id, existed=False) for place in order)
        assert scene.states("p", "a", "b", "c") == [QUEUED, BLOCKED, BLOCKED, BLOCKED]
        scene.end("p")
        scene.end("a", "b")
        scene.end("c")

    def test_a_parent_may_be_in_the_store_in_any_live_state(self, scene: Scene) -> None:
        scene_with(scene, own("blocked", "queued"), own("queued"), own("late", delay_ms=99), own("running"))
        scene.start("running")
        children = [own(f"child of {id}", id) for id in ("blocked", "queued", "late", "running")]
        scene.insert(*children)
        still_waits(scene, *(child.id for child in children))

    @pytest.mark.parametrize("policy", [FAIL, IGNORE, RUN])
    def test_a_completed_parent_counts_at_once(self, scene: Scene, policy: Policy) -> None:
        scene_with(scene, own("p"))
        scene.end("p", result="7")
        scene.later(5)
        new = own("c", Edge("p", policy, wants_result=True), delay_ms=0), own("late", "p", delay_ms=10)
        assert [reply.existed for reply in scene.insert(*new)] == [False, False]
        assert scene.states("c", "late") == [QUEUED, State.SCHEDULED]
        (claim,) = scene.start("c")
        assert claim.parents == (Parent("p", policy, COMPLETED, "7"),)
        assert (scene.job("c").run_at, scene.job("late").run_at) == (T0 + 5, T0 + 15)

    @pytest.mark.parametrize("state", [State.DEAD, CANCELLED])
    def test_so_does_one_that_ended_badly(self, scene: Scene, state: State) -> None:
        scene_with(scene, own("p"))
        scene.end("p", state=state, reason="why", result="7")
        scene.later(5)
        told = "parent p is dead" if state is State.DEAD else "parent p was cancelled"
        jobs = [own(policy, Edge("p", policy, wants_result=True)) for policy in Policy]
        assert scene.insert(own("below", FAIL), *jobs)[0] == Inserted("below", existed=False)
        by_death = QUEUED if state is State.DEAD else CANCELLED
        assert scene.states(*Policy, "below") == [CANCELLED, QUEUED, QUEUED, by_death, CANCELLED]
        child, below = scene.job(FAIL), scene.job("below")
        assert (child.reason, child.created_at, child.finished_at) == (told, T0 + 5, T0 + 5)
        assert (below.reason, below.finished_at) == (f"parent {FAIL} was cancelled", T0 + 5)
        assert scene.parents(RUN) == (Parent("p", RUN, state, None, "why"),)

    def test_a_dead_edge_to_a_completed_parent_is_over_at_once(self, scene: Scene) -> None:
        scene_with(scene, own("p"))
        scene.end("p")
        scene.insert(own("c", "p", policy=DEAD), own("d", "c", policy=IGNORE))
        assert (scene.job("c").reason, *scene.states("c", "d")) == ("no parent is dead", CANCELLED, QUEUED)

    def test_ended_parents_and_others_together(self, scene: Scene) -> None:
        scene_with(scene, own("done"), own("live"))
        scene.end("done")
        scene.insert(own("c", "done", "live", "new"), own("new"))
        still_waits(scene, "c")
        scene.end("live")
        still_waits(scene, "c")
        scene.end("new")
        assert scene.state("c") is QUEUED

    def test_a_child_cancelled_by_its_insert_holds_no_key(self, scene: Scene) -> None:
        scene_with(scene, own("p"))
        scene.end("p", state=State.DEAD)
        scene.insert(own("c", "p", keys=(Key("k"),)))
        assert scene.insert(own("d", keys=(Key("k"),))) == (Inserted("d", existed=False),)

    def test_an_unknown_parent_stores_nothing(self, scene: Scene) -> None:
        scene.configure(PutSchedule("s", "task", '{"every_ms":60000}', T0))
        tick = Tick("s", T0, T0 + 60_000, (NewJob("tick", "task"),))
        jobs = own("p", keys=(Key("k"),), flow="f"), own("c", "p", "nobody"), own("d", "c")
        for all_or_none in (False, True):
            with pytest.raises(UnknownParent) as raised:
                scene.insert(*jobs, ticks=[tick], flows=[NewFlow("f", "flow")], all_or_none=all_or_none)
            assert (raised.value.job_id, raised.value.parent_id) == ("c", "nobody")
        assert scene.find() == []
        assert scene.configure().schedules[0].next_at == T0
        assert scene.insert(own("x", keys=(Key("k"),))) == (Inserted("x", existed=False),)
        scene.insert(own("y", flow="f"), flows=[NewFlow("f", "later")])
        assert scene.flow("f").name == "later"

    def test_a_deleted_parent_is_unknown(self, scene: Scene) -> None:
        scene_with(scene, own("p"))
        scene.alter(Verb.DELETE, "p")
        with pytest.raises(UnknownParent):
            scene.insert(own("c", "p"))
        assert scene.find() == []

    def test_an_insert_sent_twice_makes_no_second_edges(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("q"))
        child = own("c", "p")
        assert scene.insert(child) == (Inserted("c", existed=False),)
        assert scene.insert(own("c", "p", "q")) == scene.insert(child, child)[:1] == (Inserted("c", existed=True),)
        assert [parent.id for parent in scene.parents("c")] == ["p"]
        scene.end("p")
        assert scene.state("c") is QUEUED
        scene.insert(own("c", "q", policy=RUN))
        assert (scene.state("c"), scene.parents("c")) == (QUEUED, (Parent("p", FAIL, COMPLETED),))
        scene.end("c")
        scene.insert(child)
        assert scene.state("c") is COMPLETED

    def test_nor_does_it_block_a_job_that_is_there(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("waits"), own("runs"), own("ran"))
        (claim,) = scene.start("runs")
        scene.end("ran")
        scene.insert(own("waits", "p"), own("runs", "p"), own("ran", "p"))
        assert scene.states("waits", "runs", "ran") == [QUEUED, State.RUNNING, COMPLETED]
        assert scene.settle(settlement(claim)) == {"runs"}

    def test_nor_is_it_refused_when_its_parent_is_gone_meanwhile(self, scene: Scene) -> None:
        scene_with(scene, own("p"))
        scene.insert(child := own("c", "p"))
        scene.end("p")
        scene.alter(Verb.DELETE, "p")
        assert scene.insert(child) == (Inserted("c", existed=True),)

    def test_two_new_jobs_of_one_id_are_one_child(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("q"))
        scene.insert(own("c", "p"), own("c", "q"))
        scene.end("p")
        assert (scene.state("c"), len(scene.parents("c"))) == (QUEUED, 1)

    @any_text
    def test_ids_may_be_anything(self, scene: Scene, text: str) -> None:
        scene.join()
        parent, child = f"{text}p", f"{text}c"
        scene.insert(own(child, parent), own(parent), own("below", Edge(child, RUN)))
        still_waits(scene, child, "below")
        scene.end(parent, state=State.DEAD, reason=text)
        assert (scene.job(child).state, scene.job(child).reason) == (CANCELLED, f"parent {parent} is dead")
        assert scene.parents(child) == (Parent(parent, FAIL, State.DEAD, None, text),)
        (claim,) = scene.start("below")
        assert claim.parents == (Parent(child, RUN, CANCELLED, None, f"parent {parent} is dead"),)
        with pytest.raises(UnknownParent):
            scene.insert(own("x", f"{text}x"))


class TestDuplicates:
    """A parent that turns out to be a job that is there already: its children wait for that one."""

    @pytest.mark.parametrize("order", list(permutations((0, 1))))
    @pytest.mark.parametrize("conflict", [Conflict.EXISTING, Conflict.REPLACE])
    def test_edges_point_to_the_holder(self, scene: Scene, conflict: Conflict, order: tuple[int, ...]) -> None:
        scene_with(scene, own("holder", keys=(Key("k"),)))
        jobs = own("p", keys=(Key("k", on_conflict=conflict),)), own("c", Edge("p", wants_result=True))
        inserted = scene.insert(*(jobs[place] for place in order))
        assert {reply.id: reply.existed for reply in inserted} == {"holder": True, "c": False}
        still_waits(scene, "c")
        assert [parent.id for parent in scene.parents("c")] == ["holder"]
        (claim,) = scene.claim("worker", Room("p" if conflict is Conflict.REPLACE else "holder", 1))
        scene.settle(settlement(claim, result="7"))
        (claim,) = scene.start("c")
        assert claim.parents == (Parent("holder", FAIL, COMPLETED, "7"),)

    def test_also_where_the_holder_is_in_the_same_request(self, scene: Scene) -> None:
        key = Key("k")
        scene.join()
        scene.insert(own("c", "p"), own("holder", keys=(key,)), own("p", keys=(key,)))
        still_waits(scene, "c")
        scene.end("holder")
        assert scene.state("c") is QUEUED

    @pytest.mark.parametrize("state", sorted(FINAL))
    def test_and_where_it_has_ended(self, scene: Scene, state: State) -> None:
        key = Key("k", Until.EXPIRY, DAY)
        scene_with(scene, own("holder", keys=(key,)))
        scene.end("holder", state=state)
        scene.insert(own("p", keys=(key,)), own("c", "p"))
        assert scene.state("c") is (QUEUED if state is COMPLETED else CANCELLED)
        assert [parent.id for parent in scene.parents("c")] == ["holder"]

    def test_two_parents_that_are_one_are_waited_for_once(self, scene: Scene) -> None:
        scene_with(scene, own("holder", keys=(Key("k"), Key("l"))))
        scene.insert(own("p", keys=(Key("k"),)), own("q", keys=(Key("l"),)), own("c", "p", "holder", "q"))
        assert [parent.id for parent in scene.parents("c")] == ["holder"]
        scene.end("holder")
        assert scene.state("c") is QUEUED

    def test_a_duplicate_child_gives_the_holder_no_edges(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("holder", keys=(Key("k"),)))
        scene.insert(own("c", "p", keys=(Key("k"),)), own("d", "c"))
        assert (scene.state("holder"), scene.parents("holder")) == (QUEUED, ())
        scene.end("holder")
        assert scene.states("d", "p") == [QUEUED, QUEUED]

    def test_a_blocked_holder_whose_arguments_are_replaced_still_waits(self, scene: Scene) -> None:
        key = Key("k", on_conflict=Conflict.REPLACE)
        scene_with(scene, own("p"), own("holder", "p", keys=(key,)))
        scene.insert(replace(own("new", keys=(key,)), args='{"n":2}'))
        assert (scene.state("holder"), scene.job("holder").args) == (BLOCKED, '{"n":2}')
        scene.end("p")
        assert scene.state("holder") is QUEUED


class TestParentsSeen:
    """What a child is told of its parents."""

    def test_results_come_where_they_are_wanted_in_the_order_of_the_edges(self, scene: Scene) -> None:
        edges = Edge("m", wants_result=True), Edge("a"), Edge("z", IGNORE, wants_result=True), Edge("b", RUN, True)
        scene_with(scene, own("a"), own("b"), own("m"), own("z"), own("c", *edges))
        for id in "abm":
            scene.end(id, result=f'"{id}"', reason="not bad")
        assert [(parent.id, parent.state, parent.result) for parent in scene.parents("c")] == [
            ("m", COMPLETED, '"m"'),
            ("a", COMPLETED, None),
            ("z", None, None),
            ("b", COMPLETED, '"b"'),
        ]
        scene.end("z", state=State.DEAD, result='"z"', reason="why")
        (claim,) = scene.start("c")
        assert claim.parents == scene.parents("c")
        assert [(parent.id, parent.policy, parent.state, parent.result) for parent in claim.parents] == [
            ("m", FAIL, COMPLETED, '"m"'),
            ("a", FAIL, COMPLETED, None),
            ("z", IGNORE, State.DEAD, None),
            ("b", RUN, COMPLETED, '"b"'),
        ]
        assert claim.parents[2].reason == "why"

    def test_every_try_is_told_the_same(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("c", Edge("p", wants_result=True)))
        scene.end("p", result=ESCAPED)
        for _ in range(3):
            (claim,) = scene.start("c")
            assert claim.parents == (Parent("p", FAIL, COMPLETED, ESCAPED),)
            scene.settle(settlement(claim, QUEUED))

    def test_a_parent_without_a_result_hands_on_none(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("c", Edge("p", wants_result=True)))
        scene.end("p")
        assert scene.start("c")[0].parents == (Parent("p", FAIL, COMPLETED, None),)

    def test_each_claim_has_its_own_parents(self, scene: Scene) -> None:
        edges = {"1": (Edge("p", wants_result=True),), "2": (), "3": (Edge("p"),)}
        scene_with(scene, own("p"), *(NewJob(id, "task", parents=parents) for id, parents in edges.items()))
        scene.end("p", result="7")
        given = {claim.id: claim.parents for claim in scene.claim()}
        assert given == {"1": (Parent("p", FAIL, COMPLETED, "7"),), "2": (), "3": (Parent("p", FAIL, COMPLETED),)}

    def test_a_reaped_claim_is_told_nothing(self, scene: Scene) -> None:
        scene.join("worker")
        scene.insert(own("p"), own("c", "p"))
        scene.end("p")
        scene.start("c")
        scene.later(LEASE_MS)
        scene.join("other")
        (lost,) = scene.reap("other")
        assert (lost.id, lost.parents) == ("c", ())

    def test_only_who_asks_for_parents_finds_them(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("q"), own("c", "p", "q"), own("gone", "q"))
        scene.alter(Verb.DELETE, "gone")
        assert {job.parents for job in scene.find()} == {()}
        found = {job.id: job.parents for job in scene.find(with_parents=True)}
        assert found == {"p": (), "q": (), "c": (Parent("p", FAIL, None), Parent("q", FAIL, None))}

    def test_they_are_found_as_long_as_the_child(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("c", Edge("p", wants_result=True)))
        scene.end("p", result="7")
        scene.end("c")
        assert scene.parents("c") == (Parent("p", FAIL, COMPLETED, "7"),)

    @pytest.mark.parametrize("prune", [False, True])
    def test_also_when_the_parent_itself_is_gone(self, scene: Scene, prune: bool) -> None:
        scene_with(scene, own("p"), own("q"), own("c", Edge("p", wants_result=True), "q"))
        scene.end("p", result="7")
        scene.later(10)
        gone = scene.prune(ALL_COMPLETED) if prune else scene.alter(Verb.DELETE, "p")
        assert gone == 1
        still_waits(scene, "c")
        scene.end("q")
        assert scene.start("c")[0].parents[0] == Parent("p", FAIL, COMPLETED, "7")

    def test_a_parent_that_comes_by_the_same_id_is_another_one(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("q"), own("c", Edge("p", wants_result=True), "q"))
        scene.end("p", result="7")
        scene.alter(Verb.DELETE, "p")
        scene.insert(own("p"))
        scene.end("p", state=State.DEAD)
        scene.end("q")
        assert scene.start("c")[0].parents[0] == Parent("p", FAIL, COMPLETED, "7")


class TestFollowUpEdges:
    """Follow-ups are children and parents like any other, and are there before the end releases anything."""

    @pytest.mark.parametrize("state", sorted(FINAL))
    def test_a_follow_up_may_wait_for_the_job_that_it_follows(self, scene: Scene, state: State) -> None:
        scene_with(scene, own("p"))
        scene.end("p", state=state, result="7", follow_ups=(own("c", Edge("p", wants_result=True)),))
        if state is COMPLETED:
            assert scene.start("c")[0].parents == (Parent("p", FAIL, COMPLETED, "7"),)
        else:
            assert scene.state("c") is CANCELLED

    def test_follow_ups_may_wait_for_each_other(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("q"))
        scene.end("p", follow_ups=(own("2", "1", "q"), own("1"), own("3", "2")))
        assert scene.states("1", "2", "3") == [QUEUED, BLOCKED, BLOCKED]
        scene.end("1", "q")
        assert scene.states("2", "3") == [QUEUED, BLOCKED]

    def test_they_and_the_children_of_the_job_are_settled_together(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("c", "p"))
        scene.end("p", follow_ups=(own("f", "c"),))
        assert scene.states("c", "f") == [QUEUED, BLOCKED]

    def test_a_parent_that_is_gone_by_then_counts_as_deleted(self, scene: Scene) -> None:
        """A settlement does not fail because of what follows it."""
        scene_with(scene, own("p"))
        scene.end("p", follow_ups=(own("fails", "gone"), own("runs", Edge("gone", RUN))))
        assert (scene.state("fails"), scene.job("fails").reason) == (CANCELLED, "parent gone was deleted")
        assert scene.start("runs")[0].parents == (Parent("gone", RUN, CANCELLED, None, "deleted"),)

    def test_a_stale_settlement_brings_none(self, scene: Scene) -> None:
        scene_with(scene, own("p"), own("c", "p"))
        (claim,) = scene.start("p")
        assert scene.settle(settlement(replace(claim, lease=9), follow_ups=(own("f", "c"),))) == frozenset()
        assert sorted(scene.ids()) == ["c", "p"]
