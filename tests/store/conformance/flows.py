"""Flows: jobs that belong together, and callbacks that wait for all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from mainspring.errors import InvalidFlow
from mainspring.model.job import Edge, Key, NewJob, Parent, Policy
from mainspring.model.states import State
from mainspring.store.base import AlterRequest, Callback, Filter, FindRequest, FlowRecord, NewFlow, Page, Room, Verb

from .edges import DAY, scene_with, still_waits
from .scene import ALL_COMPLETED, ALL_ENDED, T0, Scene, own, settlement
from .texts import any_text

FAIL, IGNORE, RUN, DEAD = Policy.FAIL, Policy.IGNORE, Policy.RUN, Policy.DEAD
BLOCKED, QUEUED, CANCELLED, COMPLETED = State.BLOCKED, State.QUEUED, State.CANCELLED, State.COMPLETED

SUCCESS, COMPLETE, ON_DEAD = Callback("success", FAIL), Callback("complete", RUN), Callback("on dead", DEAD)


def member(id: str, *parents: Edge | str, flow: str = "f", **fields: Any) -> NewJob:
    """A job of a flow, in a queue of its own."""
    return own(id, *parents, flow=flow, **fields)


def flow_of(
    scene: Scene, *members: NewJob, callbacks: Iterable[Callback] = (), id: str = "f", parent: str | None = None
) -> None:
    """A flow with its callbacks and first members."""
    callbacks = tuple(callbacks)
    scene.join(lease_ms=100 * DAY)
    jobs = [member(callback.job, flow=id) for callback in callbacks]
    scene.insert(*jobs, *members, flows=[NewFlow(id, f"flow {id}", parent, callbacks)])


def counts(scene: Scene, id: str) -> dict[State, int]:
    record = scene.flow(id)
    assert len(dict(record.counts)) == len(record.counts)
    assert all(number > 0 for _, number in record.counts)
    return dict(record.counts)


class TestCallbacks:
    """Jobs of a flow that wait for all others of it."""

    @pytest.mark.parametrize("callback", [SUCCESS, COMPLETE])
    @pytest.mark.parametrize("order", list(permutations("abc")), ids="".join)
    def test_the_last_member_releases_it(self, scene: Scene, callback: Callback, order: tuple[str, ...]) -> None:
        flow_of(scene, *map(member, "abc"), callbacks=[callback])
        for id in order:
            still_waits(scene, callback.job)
            scene.end(id)
        assert scene.state(callback.job) is QUEUED
        assert len(scene.claim("worker", Room(callback.job, 9))) == 1

    @pytest.mark.parametrize("order", list(permutations((0, 1, 2))))
    def test_it_may_stand_anywhere_in_its_request(self, scene: Scene, order: tuple[int, ...]) -> None:
        jobs = member("a"), member("success"), member("b", "a")
        scene.join()
        scene.insert(*(jobs[place] for place in order), flows=[NewFlow("f", "flow", None, (SUCCESS,))])
        for id in "ab":
            still_waits(scene, "success")
            scene.end(id)
        assert scene.state("success") is QUEUED

    def test_each_kind_after_success(self, scene: Scene) -> None:
        flow_of(scene, member("a"), member("b"), callbacks=[SUCCESS, COMPLETE, ON_DEAD])
        scene.end("a")
        still_waits(scene, "success", "complete", "on dead")
        scene.end("b")
        assert scene.states("success", "complete", "on dead") == [QUEUED, QUEUED, CANCELLED]
        assert scene.job("on dead").reason == "no parent is dead"

    def test_each_kind_after_a_death(self, scene: Scene) -> None:
        flow_of(scene, *map(member, "abc"), callbacks=[SUCCESS, COMPLETE, ON_DEAD])
        scene.end("a")
        scene.end("b", state=State.DEAD, reason="why")
        assert scene.states("success", "complete", "on dead") == [CANCELLED, BLOCKED, QUEUED]
        assert scene.job("success").reason == "parent b is dead"
        scene.end("c", state=State.DEAD)
        assert scene.states("success", "complete", "on dead") == [CANCELLED, QUEUED, QUEUED]
        assert len(scene.claim("worker", Room("on dead", 9), Room("complete", 9))) == 2

    @pytest.mark.parametrize("verb", [Verb.CANCEL, Verb.DELETE])
    def test_each_kind_after_a_cancellation(self, scene: Scene, verb: Verb) -> None:
        flow_of(scene, member("a"), member("b"), callbacks=[SUCCESS, COMPLETE, ON_DEAD])
        scene.alter(verb, "a")
        assert scene.states("success", "complete", "on dead") == [CANCELLED, BLOCKED, BLOCKED]
        scene.end("b")
        assert scene.states("complete", "on dead") == [QUEUED, CANCELLED]

    @pytest.mark.parametrize("order", list(permutations((0, 1, 2))))
    def test_it_may_belong_to_no_flow(self, scene: Scene, order: tuple[int, ...]) -> None:
        jobs = own("complete"), member("a"), member("b")
        scene.join(lease_ms=100 * DAY)
        scene.insert(*(jobs[place] for place in order), flows=[NewFlow("f", "flow", None, (COMPLETE,))])
        scene.insert(member("c", "a"))
        scene.end("a")
        scene.end("c")
        still_waits(scene, "complete")
        assert counts(scene, "f") == {COMPLETED: 2, QUEUED: 1}
        scene.alter(Verb.CANCEL, Filter(flow="f"))
        assert scene.state("b") is CANCELLED
        assert scene.state("complete") is QUEUED
        assert counts(scene, "f") == {COMPLETED: 2, CANCELLED: 1}
        (claim,) = scene.claim("worker", Room("complete", 9))
        assert sorted((parent.id, parent.state) for parent in claim.parents) == [
            ("a", COMPLETED),
            ("b", CANCELLED),
            ("c", COMPLETED),
        ]

    def test_it_sees_the_members_but_not_the_other_callbacks(self, scene: Scene) -> None:
        flow_of(scene, member("a"), member("b"), callbacks=[COMPLETE, SUCCESS])
        assert set(scene.parents("success")) == {Parent("a", FAIL, None), Parent("b", FAIL, None)}
        assert set(scene.parents("complete")) == {Parent("a", RUN, None), Parent("b", RUN, None)}
        scene.end("a", result="7")
        scene.end("b", state=State.DEAD, reason="why")
        (claim,) = scene.start("complete")
        assert claim.flow == "f"
        assert set(claim.parents) == {Parent("a", RUN, COMPLETED), Parent("b", RUN, State.DEAD, None, "why")}

    def test_an_edge_that_it_names_itself_comes_first(self, scene: Scene) -> None:
        scene.join()
        callback = member("complete", "x", Edge("a", FAIL, wants_result=True))
        scene.insert(callback, member("a"), member("b"), own("x"), flows=[NewFlow("f", "flow", None, (COMPLETE,))])
        assert {(parent.id, parent.policy) for parent in scene.parents("complete")} == {
            ("x", FAIL),
            ("a", FAIL),
            ("b", RUN),
        }
        scene.end("a", result="7")
        scene.end("b", state=State.DEAD)
        still_waits(scene, "complete")
        scene.end("x")
        (claim,) = scene.start("complete")
        assert [parent.result for parent in claim.parents] == [None, "7", None]

    @pytest.mark.parametrize("callback", [SUCCESS, COMPLETE])
    def test_without_members_it_runs_at_once(self, scene: Scene, callback: Callback) -> None:
        flow_of(scene, callbacks=[callback])
        assert scene.state(callback.job) is QUEUED
        scene.end(callback.job)

    def test_several_without_members_do_not_wait_for_each_other(self, scene: Scene) -> None:
        flow_of(scene, callbacks=[SUCCESS, COMPLETE])
        assert scene.states("success", "complete") == [QUEUED, QUEUED]

    def test_its_own_delay_counts(self, scene: Scene) -> None:
        scene.join()
        scene.insert(member("a"), member("success", delay_ms=50), flows=[NewFlow("f", "flow", None, (SUCCESS,))])
        scene.end("a")
        assert scene.state("success") is State.SCHEDULED
        scene.later(50)
        scene.end("success")

    def test_a_member_that_retries_does_not_release_it(self, scene: Scene) -> None:
        flow_of(scene, member("a"), callbacks=[SUCCESS, COMPLETE, ON_DEAD])
        scene.end("a", state=QUEUED)
        scene.end("a", state=State.SCHEDULED, delay_ms=5)
        still_waits(scene, "success", "complete", "on dead")

    def test_members_that_go_down_with_others_count(self, scene: Scene) -> None:
        flow_of(scene, member("a"), member("b", "a"), member("c", "b"), callbacks=[SUCCESS, COMPLETE, ON_DEAD])
        scene.end("a", state=State.DEAD)
        assert scene.states("b", "c", "success", "complete", "on dead") == [CANCELLED] * 3 + [QUEUED] * 2

    def test_it_is_revived_with_the_member_that_took_it_down(self, scene: Scene) -> None:
        flow_of(scene, member("a"), member("b"), member("c", "a"), callbacks=[SUCCESS, COMPLETE])
        scene.end("a", state=State.DEAD)
        assert scene.states("c", "success", "complete") == [CANCELLED, CANCELLED, BLOCKED]
        scene.alter(Verb.REVIVE, "a")
        still_waits(scene, "c", "success", "complete")
        for id in "bac":
            still_waits(scene, "success", "complete")
            scene.end(id)
        assert scene.states("success", "complete") == [QUEUED, QUEUED]


class TestAddedToLater:
    """Members that come after their flow."""

    @pytest.mark.parametrize("callback", [SUCCESS, COMPLETE])
    def test_a_blocked_callback_waits_for_them_too(self, scene: Scene, callback: Callback) -> None:
        flow_of(scene, member("a"), callbacks=[callback])
        scene.later(10)
        scene.insert(member("b"), member("c", "b"))
        scene.end("a")
        still_waits(scene, callback.job)
        scene.insert(member("d"))
        scene.end("b")
        scene.end("c")
        still_waits(scene, callback.job)
        scene.end("d")
        assert scene.state(callback.job) is QUEUED

    def test_a_death_among_them_counts(self, scene: Scene) -> None:
        flow_of(scene, member("a"), callbacks=[SUCCESS, ON_DEAD])
        scene.insert(member("b"))
        scene.end("b", state=State.DEAD)
        assert scene.states("success", "on dead") == [CANCELLED, QUEUED]

    def test_those_that_follow_a_member_are_there_before_its_end_releases(self, scene: Scene) -> None:
        flow_of(scene, member("a"), callbacks=[SUCCESS, COMPLETE])
        scene.end("a", follow_ups=(member("b"), own("no member")))
        still_waits(scene, "success", "complete")
        scene.end("b", follow_ups=(member("c", "b"),))
        still_waits(scene, "success", "complete")
        scene.end("c")
        assert scene.states("success", "complete") == [QUEUED, QUEUED]

    def test_also_where_several_members_end_together(self, scene: Scene) -> None:
        flow_of(scene, member("a"), member("b"), callbacks=[COMPLETE])
        first, second = scene.start("a", "b")
        scene.settle(settlement(first), settlement(second, follow_ups=(member("c"),)))
        still_waits(scene, "complete")
        scene.end("c")
        assert scene.state("complete") is QUEUED

    def test_a_stale_settlement_adds_none(self, scene: Scene) -> None:
        flow_of(scene, member("a"), callbacks=[COMPLETE])
        (claim,) = scene.start("a")
        scene.settle(settlement(replace(claim, lease=9), follow_ups=(member("b"),)))
        scene.settle(settlement(claim))
        assert scene.state("complete") is QUEUED

    @pytest.mark.parametrize("doing", ["waits", "runs", "done"])
    def test_a_callback_that_is_released_does_not_wait_again(self, scene: Scene, doing: str) -> None:
        flow_of(scene, member("a"), callbacks=[COMPLETE])
        scene.end("a")
        if doing != "waits":
            (claim,) = scene.start("complete")
        if doing == "done":
            scene.settle(settlement(claim))
        before, parents = scene.job("complete"), scene.parents("complete")
        scene.later(10)
        scene.insert(member("late"))
        scene.end("late", state=State.DEAD)
        assert (scene.job("complete"), scene.parents("complete")) == (before, parents)

    def test_a_member_sent_twice_is_waited_for_once(self, scene: Scene) -> None:
        flow_of(scene, member("a"), member("b"), callbacks=[COMPLETE])
        scene.end("a")
        assert scene.insert(member("a"), member("b"))[0].existed
        scene.end("b")
        assert scene.state("complete") is QUEUED

    def test_a_job_that_was_no_member_does_not_become_one(self, scene: Scene) -> None:
        flow_of(scene, member("a"), callbacks=[COMPLETE])
        scene.insert(own("x"))
        scene.insert(member("x"))
        scene.end("a")
        assert (scene.state("complete"), scene.job("x").flow) == (QUEUED, None)

    @pytest.mark.parametrize("state", [State.DEAD, CANCELLED])
    def test_one_that_is_cancelled_by_its_insert_counts(self, scene: Scene, state: State) -> None:
        flow_of(scene, member("a"), callbacks=[SUCCESS, COMPLETE])
        scene.insert(own("p"))
        scene.end("p", state=state)
        scene.insert(member("b", "p"))
        assert scene.states("b", "success", "complete") == [CANCELLED, CANCELLED, BLOCKED]
        scene.end("a")
        assert scene.state("complete") is QUEUED

    def test_a_member_may_have_come_and_gone(self, scene: Scene) -> None:
        flow_of(scene, member("a"), member("b"), callbacks=[SUCCESS])
        scene.end("a")
        scene.alter(Verb.DELETE, "a")
        still_waits(scene, "success")
        scene.end("b")
        assert scene.state("success") is QUEUED

    def test_a_callback_that_went_down_waits_for_them_too_when_it_comes_back(self, scene: Scene) -> None:
        flow_of(scene, member("a"), member("b"), callbacks=[SUCCESS])
        scene.end("a", state=State.DEAD)
        scene.insert(member("c"), member("d"), member("e"))
        scene.end("c")
        scene.end("d", state=State.DEAD)
        scene.alter(Verb.REVIVE, "a")
        scene.end("a", "b")
        assert scene.state("success") is CANCELLED
        scene.alter(Verb.REVIVE, "d")
        for id in "de":
            still_waits(scene, "success")
            scene.end(id)
        assert scene.state("success") is QUEUED

    @pytest.mark.parametrize("between", [(), ("x",), ("x", "y")], ids=len)
    def test_none_may_wait_for_a_callback_that_waits_for_it(self, scene: Scene, between: tuple[str, ...]) -> None:
        flow_of(scene, member("a"), callbacks=[SUCCESS])
        last = "success"
        for id in between:
            scene.insert(own(id, last))
            last = id
        with pytest.raises(InvalidFlow, match="cannot wait for job success, which follows on the flow"):
            scene.insert(member("b"), member("c", "b", last))
        scene.insert(own("no member", last))
        scene.end("a")
        assert {job.id for job in scene.find()} == {"a", "success", "no member", *between}
        for id in ("success", *between, "no member"):
            scene.end(id)

    def test_members_without_callbacks_are_just_jobs(self, scene: Scene) -> None:
        flow_of(scene, member("a"))
        scene.insert(member("b"))
        assert scene.states("a", "b") == [QUEUED, QUEUED]
        assert scene.parents("b") == ()
        assert scene.start("a")[0].flow == "f"


def nested(scene: Scene, *, inner_first: bool = False) -> None:
    """outer [a, success, complete] > inner [b, inner success] > core [c]."""
    inner_callback = Callback("inner success", FAIL)
    flows = [
        NewFlow("outer", "outer", None, (SUCCESS, COMPLETE)),
        NewFlow("inner", "inner", "outer", (inner_callback,)),
        NewFlow("core", "core", "inner"),
    ]
    jobs = [
        *(member(id, flow="outer") for id in ("success", "complete", "a")),
        *(member(id, flow="inner") for id in ("b", "inner success")),
        member("c", flow="core"),
    ]
    scene.join(lease_ms=100 * DAY)
    scene.insert(*reversed(jobs) if inner_first else jobs, flows=reversed(flows) if inner_first else flows)


class TestNested:
    """Flows that are a part of others."""

    @pytest.mark.parametrize("inner_first", [False, True])
    def test_callbacks_wait_for_the_parts_and_their_callbacks(self, scene: Scene, inner_first: bool) -> None:
        nested(scene, inner_first=inner_first)
        assert {parent.id for parent in scene.parents("success")} == {"a", "b", "c", "inner success"}
        assert {parent.id for parent in scene.parents("inner success")} == {"b", "c"}
        scene.end("a")
        scene.end("b")
        still_waits(scene, "inner success", "success")
        scene.end("c")
        assert scene.states("inner success", "success", "complete") == [QUEUED, BLOCKED, BLOCKED]
        scene.end("inner success")
        assert scene.states("success", "complete") == [QUEUED, QUEUED]

    def test_a_death_in_a_part_reaches_the_callbacks_above(self, scene: Scene) -> None:
        nested(scene)
        scene.end("c", state=State.DEAD)
        assert scene.states("inner success", "success", "complete") == [CANCELLED, CANCELLED, BLOCKED]
        scene.end("a", "b")
        assert scene.state("complete") is QUEUED

    def test_an_end_outside_of_a_part_does_not_reach_into_it(self, scene: Scene) -> None:
        nested(scene)
        scene.end("a", state=State.DEAD)
        still_waits(scene, "inner success", "complete")
        scene.end("b", "c")
        assert scene.states("inner success", "success") == [QUEUED, CANCELLED]

    def test_a_part_added_later_is_waited_for(self, scene: Scene) -> None:
        flow_of(scene, member("a"), callbacks=[SUCCESS])
        flow_of(scene, member("b", flow="part"), callbacks=[COMPLETE], id="part", parent="f")
        scene.insert(member("c", flow="part"))
        scene.end("a")
        scene.end("b", "c")
        assert scene.states("complete", "success") == [QUEUED, BLOCKED]
        scene.end("complete")
        assert scene.state("success") is QUEUED

    def test_filters_reach_into_the_parts(self, scene: Scene) -> None:
        nested(scene)
        scene.insert(own("stranger"), member("other", flow="other"), flows=[NewFlow("other", "other")])
        scene.end("c")
        inner = {"b", "inner success", "c"}
        for flow, ids in {"outer": inner | {"a", "success", "complete"}, "inner": inner, "core": {"c"}}.items():
            assert set(scene.ids(Filter(flow=flow))) == ids
            assert sum(scene.count(Filter(flow=flow)).values()) == len(ids)
            assert sum(counts(scene, flow).values()) == len(ids)
        assert counts(scene, "outer") == {BLOCKED: 3, QUEUED: 2, COMPLETED: 1}
        assert scene.alter(Verb.REPRIORITISE, Filter(flow="inner"), 1) == 2
        assert {job.id for job in scene.find() if job.priority == 1} == {"b", "inner success"}


class TestFindingFlows:
    """Flows, and jobs by their flow."""

    def test_a_flow_is_found_as_it_was_made(self, scene: Scene) -> None:
        flow_of(scene, member("a"), member("b", "a"), callbacks=[SUCCESS, COMPLETE])
        expected = FlowRecord("f", "flow f", None, T0, (SUCCESS, COMPLETE), ())
        assert replace(scene.flow("f"), counts=()) == expected
        assert counts(scene, "f") == {QUEUED: 1, BLOCKED: 3}

    def test_counts_follow_the_jobs(self, scene: Scene) -> None:
        flow_of(scene, member("a"), member("b", "a"), member("c", delay_ms=99), callbacks=[SUCCESS, COMPLETE])
        (claim,) = scene.start("a")
        assert counts(scene, "f") == {State.RUNNING: 1, BLOCKED: 3, State.SCHEDULED: 1}
        scene.settle(settlement(claim, State.DEAD))
        assert counts(scene, "f") == {State.DEAD: 1, CANCELLED: 2, BLOCKED: 1, State.SCHEDULED: 1}
        scene.alter(Verb.DELETE, Filter(flow="f", states=(State.DEAD, CANCELLED)))
        assert counts(scene, "f") == {BLOCKED: 1, State.SCHEDULED: 1}

    def test_a_flow_that_is_there_stays_as_it_is(self, scene: Scene) -> None:
        flow_of(scene, member("a"), callbacks=[SUCCESS])
        before = scene.flow("f")
        scene.later(10)
        again = NewFlow("f", "another", "outer", (COMPLETE,))
        scene.insert(member("a"), flows=[NewFlow("outer", "outer"), again])
        assert scene.flow("f") == before
        scene.insert(member("b"), flows=[again])
        assert replace(scene.flow("f"), counts=()) == replace(before, counts=())
        assert counts(scene, "f") == {QUEUED: 2, BLOCKED: 1}
        assert counts(scene, "outer") == {}
        scene.end("a", "b")
        assert scene.state("success") is QUEUED

    def test_the_whole_insert_sent_twice_has_one_effect(self, scene: Scene) -> None:
        jobs = member("a"), member("b", "a"), member("success")
        flow = NewFlow("f", "flow", None, (SUCCESS,))
        scene.join()
        scene.insert(*jobs, flows=[flow])
        before = scene.find(with_parents=True), scene.flow("f")
        scene.later(10)
        assert all(reply.existed for reply in scene.insert(*jobs, flows=[flow]))
        assert (scene.find(with_parents=True), scene.flow("f")) == before
        scene.end("a")
        scene.insert(*jobs, flows=[flow])
        scene.end("b")
        scene.end("success")
        scene.insert(*jobs, flows=[flow])
        assert counts(scene, "f") == {COMPLETED: 3}

    def test_newest_first_in_pages(self, scene: Scene) -> None:
        for number in range(7):
            flow_of(scene, member(f"job {number}", flow=f"f{number}"), id=f"f{number}")
            scene.later(number % 2)  # some are made at the same time
        request = FindRequest(Filter(), limit=3, flows=True, now=scene.now)
        pages: list[Page] = [scene.ask(request)]
        while (cursor := pages[-1].cursor) is not None:
            assert len(pages) < 9
            pages.append(scene.ask(replace(request, cursor=cursor)))
        assert all(len(page.flows) <= 3 and page.jobs == () for page in pages)
        flows = [flow for page in pages for flow in page.flows]
        assert [flow.id for flow in flows] == [f"f{number}" for number in reversed(range(7))]
        assert flows == [scene.flow(flow.id) for flow in flows]
        assert all(flow.counts == ((QUEUED, 1),) for flow in flows)

    def test_parts_are_listed_too(self, scene: Scene) -> None:
        nested(scene)
        page = scene.ask(FindRequest(Filter(), flows=True, now=T0))
        assert {flow.id: flow.parent for flow in page.flows} == {"outer": None, "inner": "outer", "core": "inner"}
        assert page.cursor is None

    def test_there_may_be_none(self, scene: Scene) -> None:
        scene.insert("a")
        assert scene.ask(FindRequest(Filter(), flows=True, now=T0)).flows == ()
        assert scene.ask(FindRequest(Filter(flow="f"), flows=True, now=T0)).flows == ()
        assert scene.ids(Filter(flow="f")) == []
        assert scene.count(Filter(flow="f")) == {}
        assert scene.alter(Verb.CANCEL, Filter(flow="f")) == 0

    def test_jobs_are_found_by_flow_with_other_conditions(self, scene: Scene) -> None:
        flow_of(scene, *(member(f"m{number}") for number in range(9)))
        scene.insert(*(f"x{number}" for number in range(9)))
        scene.end("m3", "m4")
        assert scene.ids(Filter(flow="f"), limit=2) == [f"m{number}" for number in (8, 7, 6, 5, 2, 1, 0, 4, 3)]
        assert scene.ids(Filter(flow="f", states=(COMPLETED,))) == ["m4", "m3"]
        assert scene.ids(Filter(flow="f", queue="m5")) == ["m5"]
        assert scene.ids(Filter(flow="f", ids=("m1", "x1"))) == ["m1"]
        assert scene.count(Filter(flow="f", states=(COMPLETED,))) == {("m3", COMPLETED): 1, ("m4", COMPLETED): 1}
        assert scene.job("m1").flow == "f"

    @any_text
    def test_ids_and_names_may_be_anything(self, scene: Scene, text: str) -> None:
        callback = Callback(f"{text}c", RUN)
        flows = NewFlow(text, text, None, (callback,)), NewFlow(f"{text}p", text, text)
        scene.join()
        scene.insert(member(callback.job, flow=text), member("a", flow=f"{text}p"), flows=flows)
        assert replace(scene.flow(text), counts=()) == FlowRecord(text, text, None, T0, (callback,), ())
        assert set(scene.ids(Filter(flow=text))) == {callback.job, "a"}
        scene.end("a")
        assert scene.start(callback.job)[0].flow == text


class TestCancellingFlows:
    """A whole flow is cancelled so that nothing of it runs."""

    @pytest.mark.parametrize("names", [("a", "b", "c", "z"), ("z", "c", "b", "a")])
    def test_neither_jobs_nor_callbacks_nor_parts(self, scene: Scene, names: tuple[str, ...]) -> None:
        """In whatever order they are met: a callback must not be released by the members that go before it."""
        first, second, done, always = names
        callbacks = Callback(done, FAIL), Callback(always, RUN)
        flow_of(scene, member(first), member(second, first), callbacks=callbacks)
        flow_of(scene, member("part"), member("late", delay_ms=5), callbacks=[COMPLETE], id="part", parent="f")
        scene.insert(own("x"))
        scene.alter(Verb.CANCEL, Filter(flow="f"), reason="not wanted")
        ids = [*names, "part", "late", "complete"]
        assert scene.states(*ids) == [CANCELLED] * 7
        scene.later(10)
        assert scene.claim("worker", *(Room(id, 9) for id in ids)) == ()
        assert counts(scene, "f") == {CANCELLED: 7}
        assert scene.state("x") is QUEUED

    @pytest.mark.parametrize("limit", [1, 2, 3])
    def test_nor_where_it_takes_several_batches(self, scene: Scene, limit: int) -> None:
        flow_of(scene, member("a"), member("b", "a"), member("d"), callbacks=[SUCCESS, COMPLETE, Callback("c", RUN)])
        scene.batches(AlterRequest(Verb.CANCEL, Filter(flow="f"), limit=limit, now=T0))
        assert counts(scene, "f") == {CANCELLED: 6}

    def test_what_is_running_ends_without_releasing_anything(self, scene: Scene) -> None:
        flow_of(scene, member("a"), member("b"), callbacks=[SUCCESS, COMPLETE, ON_DEAD])
        (claim,) = scene.start("a")
        scene.alter(Verb.CANCEL, Filter(flow="f"))
        assert scene.job("a").cancel_requested
        assert scene.states("b", "success", "complete", "on dead") == [CANCELLED] * 4
        scene.settle(settlement(claim, State.DEAD))
        assert counts(scene, "f") == {CANCELLED: 4, State.DEAD: 1}

    def test_a_job_that_waits_for_one_of_it_is_told(self, scene: Scene) -> None:
        flow_of(scene, member("a"))
        scene.insert(own("outside", "a"), own("anyway", "a", policy=RUN))
        scene.alter(Verb.CANCEL, Filter(flow="f"))
        assert scene.states("outside", "anyway") == [CANCELLED, QUEUED]

    def test_all_of_it_may_be_deleted(self, scene: Scene) -> None:
        nested(scene)
        scene.end("a")
        scene.alter(Verb.DELETE, Filter(flow="outer"))
        assert scene.find() == []


class TestPruningFlows:
    """A flow goes when nothing of it is left."""

    def test_with_its_last_job(self, scene: Scene) -> None:
        flow_of(scene, member("a"), member("b"), callbacks=[COMPLETE])
        keep = ALL_ENDED
        for ids in (["a"], ["b"], ["complete"]):
            assert scene.ask(FindRequest(Filter(), flows=True, now=scene.now)).flows != ()
            scene.end(*ids)
            scene.later(1)
            assert scene.prune(keep) == 1
        scene.prune(keep)
        assert scene.ask(FindRequest(Filter(), flows=True, now=scene.now)).flows == ()

    @pytest.mark.parametrize("left", ["blocked", "queued", "scheduled", "running", "dead"])
    def test_not_while_there_is_one(self, scene: Scene, left: str) -> None:
        scene_with(scene, own("x"))
        jobs = {"blocked": member("blocked", "x"), "scheduled": member("scheduled", delay_ms=9000)}
        flow_of(scene, member("a"), jobs.get(left, member(left)))
        scene.end("a")
        if left == "running":
            scene.start(left)
        if left == "dead":
            scene.end(left, state=State.DEAD)
        scene.later(1)
        for _ in range(2):
            scene.prune(ALL_COMPLETED)
        assert sum(counts(scene, "f").values()) == 1

    def test_nor_while_it_has_a_part_with_one(self, scene: Scene) -> None:
        flow_of(scene, member("a"))
        flow_of(scene, member("b", flow="part"), id="part", parent="f")
        scene.end("a")
        scene.later(1)
        for _ in range(2):
            scene.prune(ALL_COMPLETED)
        assert counts(scene, "f") == {QUEUED: 1}
        scene.end("b")
        scene.later(1)
        for _ in range(3):
            scene.prune(ALL_COMPLETED)
        assert scene.ask(FindRequest(Filter(), flows=True, now=scene.now)).flows == ()

    def test_also_when_its_jobs_were_deleted(self, scene: Scene) -> None:
        flow_of(scene, member("a"))
        flow_of(scene, member("b", flow="other"), id="other")
        scene.alter(Verb.DELETE, Filter(flow="f"))
        scene.prune({})
        assert [flow.id for flow in scene.ask(FindRequest(Filter(), flows=True, now=scene.now)).flows] == ["other"]

    def test_its_id_is_free_again(self, scene: Scene) -> None:
        flow_of(scene, member("a"))
        scene.alter(Verb.DELETE, "a")
        scene.prune({})
        scene.later(5)
        scene.insert(member("a", keys=(Key("k"),)), flows=[NewFlow("f", "new")])
        assert (scene.flow("f").name, scene.flow("f").created_at) == ("new", T0 + 5)
