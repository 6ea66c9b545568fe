"""Flows in a store: what is there after an enqueue, what can be asked of it, and what can be done to it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mainspring import (
    Flow,
    FlowNotFound,
    InvalidFlow,
    InvalidOption,
    JobCancelled,
    JobFailed,
    JobNotFound,
    Mainspring,
    ResultTimeout,
    State,
    Unique,
    chain,
    group,
    previous,
)
from mainspring.errors import UnknownParent
from mainspring.model.outcome import Outcome
from mainspring.task import Task

from .conftest import Hands


@pytest.fixture
def add(app: Mainspring) -> Task[..., int]:
    @app.task
    def add(a: Any, b: Any = 0) -> int:
        return a + b

    return add


def states(flow: Flow[Any]) -> list[State]:
    return [job.state for job in flow.jobs()]


def test_an_enqueued_flow_is_a_handle(app: Mainspring, add: Task[..., int], hands: Hands) -> None:
    flow = Flow("sum")
    one = flow.add(add.job(1))
    two = flow.add(add.job(one.result, 2))
    assert flow.enqueue() is flow
    assert one.job.state == "queued"
    assert two.job.state == "blocked"
    assert two.job.flow_id == flow.id
    assert [(job.id, job.state) for job in flow.jobs()] == [(one.id, "queued"), (two.id, "blocked")]
    progress = flow.progress()
    assert (progress.done, progress.total, progress.fraction) == (0, 2, 0)
    assert progress.states == {State.QUEUED: 1, State.BLOCKED: 1}
    hands.complete("1")
    assert states(flow) == [State.COMPLETED, State.QUEUED]
    assert flow.progress().fraction == 0.5
    claim = hands.claim()
    assert [(parent.id, parent.result) for parent in claim.parents] == [(one.id, "1")]


def test_an_enqueue_sent_twice_stores_nothing_twice(app: Mainspring, add: Task[..., int]) -> None:
    flow = chain(add.job(1), add.job(previous))
    flow.enqueue()
    flow.enqueue()
    flow._stored, flow._new = False, list(flow._entries)  # as if the answer to the first had been lost
    flow.enqueue()
    assert app.jobs.count() == 2
    assert len(app.flows.list()) == 1


def test_a_flow_can_be_added_to_later(app: Mainspring, add: Task[..., int], hands: Hands) -> None:
    flow = Flow("sum")
    one = flow.add(add.job(1))
    last = flow.on_complete(add.job(9))
    flow.enqueue()
    again = app.flows.get(flow.id)
    more = again.add(add.job(2), after=one.job)
    again.enqueue()
    flow.add(add.job(one.result))
    flow.enqueue()
    assert flow.progress().total == 4
    for _ in range(3):
        hands.complete("1")
    assert more.job.refresh().state == "completed"
    assert last.job.refresh().state == "queued"
    with pytest.raises(InvalidFlow, match="enqueued already"):
        flow.on_success(add.job(1))


def test_parts_belong_to_the_flow_around_them(app: Mainspring, add: Task[..., int], hands: Hands) -> None:
    inner = group(add.job(1), add.job(2), name="inner")
    part_done = inner.on_success(add.job(3))
    outer = Flow("outer")
    outer.add(inner)
    all_done = outer.on_success(add.job(4))
    outer.enqueue()
    assert outer.progress().total == 4
    assert inner.progress().total == 3
    hands.complete()
    hands.complete()
    assert (part_done.job.refresh().state, all_done.job.refresh().state) == ("queued", "blocked")
    hands.complete()
    assert all_done.job.refresh().state == "queued"
    view = app.flows.view(outer.id)
    assert [part.name for part in view.parts] == ["inner"]
    assert [job.id for job in view.jobs] == [all_done.id]
    assert view.callbacks == {all_done.id: "success"}
    assert [job.task for job in view.parts[0].jobs] == ["add"] * 3
    assert (view.done, view.total) == (3, 4)
    assert [flow.name for flow in app.flows.list()] == ["outer"]
    assert app.flows.get(inner.id).progress().total == 3


def test_flows_are_listed_newest_first(app: Mainspring, add: Task[..., int]) -> None:
    for name in ("one", "two", "three"):
        group(add.job(1), group(add.job(2)), name=name).enqueue()
    assert [view.name for view in app.flows.list(limit=2)] == ["three", "two"]
    assert len(app.flows.list()) == 3
    page = app.flows.find(limit=2)
    assert [view.name for view in page] == ["three", "two"]
    rest = app.flows.find(limit=2, cursor=page.cursor)
    assert ([view.name for view in rest], rest.cursor) == (["one"], None)
    with pytest.raises(InvalidOption, match="cursor"):
        app.flows.find(cursor="nonsense")
    with pytest.raises(InvalidOption, match="limit=0"):
        app.flows.list(0)


def test_jobs_can_be_chosen_by_flow(app: Mainspring, add: Task[..., int]) -> None:
    flow = group(add.job(1), group(add.job(2))).enqueue()
    add.enqueue(3)
    assert len(app.jobs.find(flow=flow.id)) == 2
    assert app.jobs.count(flow=flow.id, state="queued") == 2
    assert app.jobs.cancel(flow=flow.id) == 2
    assert app.jobs.count(state="queued") == 1


def test_the_whole_can_be_cancelled(app: Mainspring, add: Task[..., int], hands: Hands) -> None:
    flow = chain(add.job(1), group(add.job(2), add.job(3)), add.job(4))
    flow.on_complete(add.job(5))
    flow.enqueue()
    hands.complete()
    claim = hands.claim()
    assert flow.cancel("no more") is True
    assert hands.beat().cancelled == ((claim.id, claim.lease),)
    assert states(flow).count(State.CANCELLED) == 3
    assert "cancelled: no more" in {job.reason for job in flow.jobs()}
    hands.settle(claim, Outcome.completed("1"))
    assert flow.cancel() is False


def test_results(app: Mainspring, add: Task[..., int], hands: Hands) -> None:
    in_row = chain(add.job(1), add.job(previous)).enqueue()
    with pytest.raises(ResultTimeout):
        in_row.result(timeout=0)
    hands.complete("1")
    hands.complete("7")
    assert in_row.result(timeout=0) == 7
    side_by_side = group(add.job(n) for n in range(3)).enqueue()
    hands.complete("0")
    with pytest.raises(ResultTimeout, match=r"flow .* is still under way \(1 of 3 jobs done\) after 0 s; .*flows show"):
        side_by_side.result(timeout="0s")
    hands.complete("1")
    hands.complete("2")
    assert side_by_side.result(timeout=0) == [0, 1, 2]


def test_what_went_wrong_comes_out_of_result(app: Mainspring, add: Task[..., int], hands: Hands) -> None:
    flow = group(add.job(1), add.job(2)).enqueue()
    hands.kill(ValueError("oh"))
    with pytest.raises(JobFailed, match="oh"):
        flow.result()
    in_row = chain(add.job(1), add.job(2), add.job(3))
    in_row.enqueue()
    hands.complete()
    hands.kill(ValueError("oh"))
    with pytest.raises(JobCancelled, match=r"parent .* was cancelled|parent .* is dead"):
        in_row.result()
    app.jobs.delete(flow=flow.id)
    with pytest.raises(JobNotFound):
        flow.result()


def test_wait_ends_when_all_jobs_have(app: Mainspring, add: Task[..., int], hands: Hands) -> None:
    flow = group(add.job(1), add.job(2)).enqueue()
    hands.complete()
    with pytest.raises(ResultTimeout, match=r"\(1 of 2 jobs done\)"):
        flow.wait(timeout=0.05)
    hands.kill(ValueError())
    assert flow.wait(timeout=60).states == {State.COMPLETED: 1, State.DEAD: 1}


async def test_all_verbs_have_async_twins(app: Mainspring, add: Task[..., int], hands: Hands) -> None:
    flow = await chain(add.job(1), add.job(previous)).aenqueue()
    waiting = asyncio.create_task(flow.await_(timeout=60))
    result = asyncio.create_task(flow.aresult(timeout=60))
    await asyncio.to_thread(hands.complete, "1")
    await asyncio.to_thread(hands.complete, "2")
    assert (await waiting).done == 2
    assert await result == 2
    assert [job.task for job in await flow.ajobs()] == ["add", "add"]
    assert (await flow.aprogress()).fraction == 1
    assert (await app.flows.alist())[0].id == (await app.flows.aget(flow.id)).id
    assert (await app.flows.aview(flow.id)).total == 2
    assert await flow.acancel() is False


async def test_one_unknown_parent_costs_only_its_own_job(app: Mainspring, add: Task[..., int]) -> None:
    """Single jobs that are enqueued at the same time share a transaction; one that may be refused does not."""
    orphan = app.flows.of(type("Claim", (), {"flow": "none"})())  # type: ignore[arg-type]
    assert orphan is not None
    orphan.add(add.job(1), after="nobody")
    done = await asyncio.gather(add.aenqueue(1), orphan.aenqueue(), add.aenqueue(2), return_exceptions=True)
    assert isinstance(done[1], UnknownParent)
    assert await app.jobs.acount() == 2


def test_a_unique_job_that_is_there_already_takes_the_place_of_a_new_one(
    app: Mainspring, add: Task[..., int], hands: Hands
) -> None:
    once = add.using(unique=Unique())
    there = once.enqueue(1)
    flow = Flow("sum")
    node = flow.add(once.job(1))
    child = flow.add(add.job(node.result))
    flow.enqueue()
    assert node.job.existed
    assert node.id == there.id
    hands.complete("41")
    claim = hands.claim()
    assert (claim.id, claim.parents[0].result) == (child.id, "41")


def test_unknown_flows(app: Mainspring) -> None:
    for ask in (app.flows.get, app.flows.view):
        with pytest.raises(FlowNotFound, match="no flow has the id 'x'"):
            ask("x")
    with pytest.raises(InvalidOption, match="flow id 7"):
        app.flows.get(7)  # type: ignore[arg-type]


def test_what_is_added_later_cannot_wait_for_what_follows_on_the_flow(app: Mainspring, add: Task[..., int]) -> None:
    flow = Flow("sum")
    flow.add(add.job(1))
    last = flow.on_success(add.job(2))
    flow.enqueue()
    after = Flow("after")
    reported = after.add(add.job(3), after=last)
    after.enqueue()
    for parent in (last.job, reported.job):
        again = app.flows.get(flow.id)
        again.add(add.job(4), after=parent)
        with pytest.raises(InvalidFlow, match="follows on the flow"):
            again.enqueue()
    assert app.jobs.count() == 3


def test_no_text_is_made_of_a_result_that_is_not_known_yet(add: Task[..., int]) -> None:
    one = Flow("sum").add(add.job(1))
    with pytest.raises(InvalidFlow, match="make it an argument of its own"):
        add.job(f"receipt {one.result}")
    with pytest.raises(InvalidFlow, match="result of the step before> is not known yet"):
        add.job(f"receipt {previous}")


@pytest.mark.parametrize("on_failure", [None, 3, ["run"]])
def test_a_policy_is_a_name_or_a_mapping(add: Task[..., int], on_failure: Any) -> None:
    with pytest.raises(InvalidOption, match="give one of fail, ignore, run, or a mapping"):
        Flow("sum").add(add.job(1), on_failure=on_failure)


def test_a_flow_whose_jobs_were_all_there_already_is_empty_and_over(app: Mainspring) -> None:
    @app.task(unique=Unique())
    def once(n: int) -> int:
        return n

    first = once.enqueue(1)
    flow = group(once.job(1)).enqueue()
    assert [job.id for job in flow.jobs()] == []
    assert (flow.progress().total, flow.wait(timeout=0).done) == (0, 0)
    assert first.refresh().flow_id is None
