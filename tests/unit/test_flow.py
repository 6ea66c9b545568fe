"""Flows while they are built: what waits for what, what stands for a result, and what is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from mainspring import (
    Flow,
    InvalidFlow,
    InvalidOption,
    JobDraft,
    Mainspring,
    PayloadTooLarge,
    Unique,
    UnknownParent,
    ValidationError,
    chain,
    chord,
    group,
    previous,
)
from mainspring.model.holes import PREVIOUS, Gap, Hole, Pending, fill, holds_any
from mainspring.model.job import Edge, NewJob, Parent, Policy
from mainspring.model.options import JobOptions
from mainspring.model.states import State

app = Mainspring("sqlite://")


@app.task
def charge(order_id: int) -> int:
    return order_id


@app.task
def ship(order_id: int, receipt: int, papers: list[int] | None = None, *, at: datetime | None = None) -> str:
    return f"{order_id} {receipt} {papers} {at}"


@app.task
def anything(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


@dataclass
class Box:
    size: int


@app.task
def pack(box: Box) -> Box:
    return box


def stored(flow: Flow[Any]) -> dict[str, NewJob]:
    """The jobs as they would be stored, by id."""
    return {entry.id: entry.new(each.id) for each in flow._all() for entry in each._entries}


def holes(job: NewJob) -> tuple[Hole, ...]:
    return JobOptions.from_text(job.options).holes


def nothing_is_stored() -> bool:
    return app.jobs.count() == 0 and app.flows.list() == []


# --- results as arguments --------------------------------------------------------------------------------------------


def test_a_result_as_an_argument_is_a_hole_and_an_edge() -> None:
    flow = Flow("order")
    charged = flow.add(charge.job(1))
    shipped = flow.add(ship.job(1, receipt=charged.result))
    job = stored(flow)[shipped.id]
    assert json.loads(job.args) == {"order_id": 1, "receipt": None}
    assert holes(job) == (Hole(("receipt",), 0),)
    assert job.parents == (Edge(charged.id, Policy.FAIL, wants_result=True),)
    assert job.flow == flow.id


def test_results_may_stand_anywhere_inside_lists_tuples_and_dictionaries() -> None:
    flow = Flow("order")
    one, two = flow.add(charge.job(1)), flow.add(charge.job(2))
    args = [1, (one.result, {"deep": [two.result]})]
    node = flow.add(anything.job(args, x={"a": one.result, "when": datetime.now(UTC)}))
    job = stored(flow)[node.id]
    assert [(hole.path, hole.of) for hole in holes(job)] == [
        (("args", 0, 1, 0), 0),
        (("args", 0, 1, 1, "deep", 0), 1),
        (("kwargs", "x", "a"), 0),
    ]
    assert json.loads(job.args)["args"] == [[1, [None, {"deep": [None]}]]]
    assert [edge.parent for edge in job.parents] == [one.id, two.id]


def test_the_other_arguments_are_validated_at_once() -> None:
    flow = Flow("order")
    charged = flow.add(charge.job(1))
    with pytest.raises(ValidationError, match="order_id"):
        ship.job("one", receipt=charged.result)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="recipt=None is not known"):
        ship.job(1, 2, recipt=charged.result)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="receipt is missing"):
        ship.job(1, papers=[charged.result])  # type: ignore[call-arg]


def test_a_result_inside_an_object_of_your_own_is_refused() -> None:
    charged = Flow("order").add(charge.job(1))
    with pytest.raises(ValidationError):
        pack.job(Box(charged.result))


def test_a_result_under_a_name_that_is_no_text_is_refused() -> None:
    charged = Flow("order").add(charge.job(1))
    with pytest.raises(InvalidFlow, match="under text only"):
        anything.job({1: charged.result})


def test_lists_that_hold_themselves_or_share_parts_are_looked_through_once() -> None:
    shared: list[Any] = []
    for _ in range(60):
        shared = [shared, shared]
    assert not holds_any([shared])
    assert holds_any([[shared, {"a": (previous,)}]])
    own: list[Any] = []
    own += [own, own]
    with pytest.raises(ValidationError):
        anything.job(own)
    own.append(previous)
    with pytest.raises(InvalidFlow, match="deep"):
        anything.job(own)


def test_outside_of_a_flow_a_result_as_an_argument_is_an_error() -> None:
    charged = Flow("order").add(charge.job(1))
    for enqueue in (
        lambda: ship.enqueue(1, charged.result),
        lambda: ship.enqueue(1, previous),
        lambda: app.enqueue_many([ship.job(1, receipt=charged.result)]),
        lambda: app.enqueue("ship", {"order_id": 1, "receipt": previous}),
    ):
        with pytest.raises(InvalidFlow, match=r"argument 'receipt' is <the result of .*>; give such a job to a Flow"):
            enqueue()
    assert nothing_is_stored()


def test_keys_and_partitions_cannot_be_told_by_what_is_not_known_yet() -> None:
    other = Mainspring("sqlite://")
    other.queue("tenants", partition="tenant")

    @other.task(queue="tenants")
    def serve(tenant: str, n: int = 0) -> None: ...

    @other.task(unique=Unique(by=("tenant",)))
    def once(tenant: str, n: int = 0) -> None: ...

    with pytest.raises(InvalidFlow, match="partitioned by 'tenant'"):
        serve.job(previous)
    with pytest.raises(InvalidFlow, match=r"Unique\(by=\('tenant',\)\)"):
        once.job(previous)
    with pytest.raises(InvalidFlow, match="by='all'"):
        once.using(unique=Unique()).job("a", previous)
    assert once.job("a", previous).gaps == (Gap(("n",), previous),)
    assert serve.using(partition="b").job(previous).new.partition == "b"


# --- filling holes ---------------------------------------------------------------------------------------------------


def parent(result: str | None) -> Parent:
    return Parent("p", Policy.FAIL, State.COMPLETED, result)


def test_holes_are_filled_with_results_one_all_some_or_joined() -> None:
    parents = [parent("[1]"), parent("[2,3]"), parent(None)]
    args = '{"a":null,"b":{"c":[0,null]},"d":null,"e":null}'
    given = (
        Hole(("a",), 1),
        Hole(("b", "c", 1), None),
        Hole(("d",), (2, 0)),
        Hole(("e",), None, joined=True),
    )
    assert json.loads(fill(args, given, parents)) == {
        "a": [2, 3],
        "b": {"c": [0, [[1], [2, 3], None]]},
        "d": [None, [1]],
        "e": [1, 2, 3],
    }


@pytest.mark.parametrize("hole", [Hole(("x", "y"), 0), Hole(("a",), 7), Hole(("a", "b"), 0), Hole(("a",), (0, 9))])
def test_holes_that_do_not_fit_are_a_validation_error(hole: Hole) -> None:
    with pytest.raises(ValidationError, match="not those of its 1 parents"):
        fill('{"a":null}', [hole], [parent("1")])


def test_a_result_that_is_not_known_yet_says_whose_it_is() -> None:
    pending = [Pending(("a",)), Pending(("a", "b"), listed=True), PREVIOUS]
    assert list(map(repr, pending)) == [
        "<the result of job a>",
        "<the results of 2 jobs>",
        "<the result of the step before>",
    ]
    for each in pending:
        with pytest.raises(InvalidFlow, match="not known yet, so no text can be made of it"):
            f"Receipt: {each}"


def test_holes_survive_being_stored() -> None:
    options = JobOptions(holes=(Hole(("a", 0, "b"), 1), Hole(("c",), None, True), Hole(("d",), (0, 2))), parents=3)
    assert JobOptions.from_text(options.to_text()) == options
    assert JobOptions.from_text(JobOptions(each=True).to_text()).each


@pytest.mark.parametrize(
    "text",
    [
        *('{"holes":[[]]}', '{"holes":[[["a"],"b"]]}', '{"holes":[[["a"],["b"]]]}'),
        *('{"holes":[[[1.5],0]]}', '{"holes":7}'),
    ],
)
def test_holes_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(InvalidOption, match="holes that cannot be read"):
        JobOptions.from_text(text)


# --- what waits for what ---------------------------------------------------------------------------------------------


def test_after_takes_nodes_jobs_parts_and_ids() -> None:
    flow = Flow("order")
    node = flow.add(charge.job(1))
    part = flow.add(group(charge.job(2), charge.job(3)))
    last = flow.add(charge.job(4), after=[node, part, "some-job", node])
    assert [edge.parent for edge in stored(flow)[last.id].parents] == [node.id, *part.flow._last(), "some-job"]
    alone = flow.add(charge.job(5), after=node)
    assert [edge.parent for edge in stored(flow)[alone.id].parents] == [node.id]
    with pytest.raises(InvalidFlow, match="after=7"):
        flow.add(charge.job(6), after=7)  # type: ignore[call-overload]


def test_on_failure_holds_for_all_edges_or_by_parent() -> None:
    flow = Flow("order")
    one, two, three = (flow.add(charge.job(n)) for n in range(3))
    alike = flow.add(ship.job(1, one.result), after=two, on_failure="run")
    by_parent = flow.add(ship.job(1, one.result), after=[two, three], on_failure={one: "ignore", two: "run"})
    jobs = stored(flow)
    assert {edge.policy for edge in jobs[alike.id].parents} == {Policy.RUN}
    assert {edge.parent: edge.policy for edge in jobs[by_parent.id].parents} == {
        one.id: Policy.IGNORE,
        two.id: Policy.RUN,
        three.id: Policy.FAIL,
    }
    with pytest.raises(InvalidFlow, match="does not wait"):
        flow.add(charge.job(9), after=one, on_failure={two: "run"})
    for wrong in ("dead", "retry", {one: "x"}):
        with pytest.raises(InvalidOption, match="on_failure="):
            flow.add(charge.job(9), after=one, on_failure=wrong)  # type: ignore[call-overload]


def test_a_part_waits_with_its_first_jobs_and_is_waited_for_by_its_last() -> None:
    inner = Flow("inner")
    first = inner.add(charge.job(1))
    middle = inner.add(ship.job(1, first.result))
    alone = inner.add(charge.job(2))
    inner.on_complete(charge.job(3))
    outer = Flow("outer")
    before = outer.add(charge.job(4))
    part = outer.add(inner, after=before, on_failure="run")
    after = outer.add(charge.job(5), after=part)
    jobs = stored(outer)
    assert [edge.parent for edge in jobs[first.id].parents] == [before.id]
    assert jobs[alone.id].parents == (Edge(before.id, Policy.RUN),)
    assert [edge.parent for edge in jobs[middle.id].parents] == [first.id]
    assert [edge.parent for edge in jobs[after.id].parents] == [middle.id, alone.id]
    assert jobs[first.id].flow == inner.id


# --- short forms -----------------------------------------------------------------------------------------------------


def test_a_chain_runs_one_after_the_other() -> None:
    flow = chain(charge.job(1), ship.job(1, previous), charge.job(2))
    one, two, three = stored(flow).values()
    assert flow.name == "charge -> ship -> charge"
    assert (one.parents, two.parents) == ((), (Edge(one.id, Policy.FAIL, True),))
    assert three.parents == (Edge(two.id),)


def test_previous_is_the_list_of_a_groups_results() -> None:
    flow = chain(charge.job(1), group(charge.job(2), charge.job(previous)), anything.job(previous), name="mine")
    jobs = list(stored(flow).values())
    last, *_ = (job for job in jobs if job.task == "anything")
    assert flow.name == "mine"
    assert holes(last) == (Hole(("args", 0), None),)
    assert len(last.parents) == 2
    assert sum(len(job.parents) for job in jobs if job.task == "charge") == 2


def test_a_group_after_a_group_waits_for_all_of_it() -> None:
    flow = chain(group(charge.job(n) for n in range(3)), group(charge.job(n) for n in range(4)))
    assert sum(len(job.parents) for job in stored(flow).values()) == 12


def test_chains_go_into_groups_and_chains() -> None:
    inner = [chain(charge.job(previous), charge.job(previous)) for _ in range(2)]
    flow = chain(charge.job(1), group(inner), anything.job(previous))
    by_id = stored(flow)
    last = next(job for job in by_id.values() if job.task == "anything")
    for edge in last.parents:
        (before,) = by_id[edge.parent].parents
        (first,) = by_id[before.parent].parents
        assert by_id[first.parent].args == '{"order_id":1}'


def test_after_a_group_of_no_jobs_one_waits_for_what_came_before_it() -> None:
    flow = chain(charge.job(1), group([]), anything.job(previous))
    jobs = list(stored(flow).values())
    assert jobs[1].parents == (Edge(jobs[0].id),)
    assert json.loads(fill(jobs[1].args, holes(jobs[1]), [parent("1")])) == {"args": [[]]}


def test_names_say_what_is_in_it() -> None:
    assert group(charge.job(1), charge.job(2), anything.job()).name == "2 charge, anything"
    assert chord((charge.job(n) for n in range(3)), anything.job(previous)).name == "3 charge -> anything"
    assert charge.map(range(5)).name == "map charge (5 jobs)"
    assert charge.map(range(5), chunk=2).name == "map charge (3 jobs of up to 2)"
    assert len(chain(*(charge.job(1) for _ in range(500))).name) <= 200


def test_map_makes_one_job_per_item_or_per_chunk() -> None:
    assert [json.loads(job.args) for job in stored(charge.map([1, 2])).values()] == [{"order_id": 1}, {"order_id": 2}]
    one, two = stored(charge.using(queue="bulk").map(iter(range(5)), chunk=3)).values()
    assert json.loads(one.args) == {"items": [{"order_id": 0}, {"order_id": 1}, {"order_id": 2}]}
    assert json.loads(two.args) == {"items": [{"order_id": 3}, {"order_id": 4}]}
    assert JobOptions.from_text(one.options).each
    assert one.queue == "bulk"


def test_map_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValidationError, match="order_id"):
        charge.map([1, "x"], chunk=2)
    with pytest.raises(InvalidOption, match="chunk=0"):
        charge.map([1], chunk=0)
    with pytest.raises(InvalidOption, match="one id"):
        charge.using(id="x").map([1, 2])
    with pytest.raises(InvalidOption, match="keys"):
        charge.using(unique=Unique()).map([1, 2], chunk=2)
    with pytest.warns(UserWarning, match="bytes as JSON"), pytest.raises(PayloadTooLarge):
        anything.map(["x" * 300_000] * 4, chunk=4)


# --- what is refused -------------------------------------------------------------------------------------------------


def test_a_flow_without_jobs_is_refused() -> None:
    for flow in (Flow("empty"), chain(), group(), chain(group([]))):
        with pytest.raises(InvalidFlow, match="has no jobs"):
            flow.enqueue()


def test_jobs_that_wait_for_each_other_are_refused() -> None:
    flow = Flow("circle")
    flow.add(charge.using(id="one").job(1), after="two")
    flow.add(anything.using(id="two").job(), after="one")
    with pytest.raises(InvalidFlow, match=r"wait for each other: .*charge \(one\).*"):
        flow.enqueue()
    own = Flow("own")
    own.add(charge.using(id="one").job(1), after="one")
    with pytest.raises(InvalidFlow, match="wait for each other"):
        own.enqueue()
    assert nothing_is_stored()


def test_a_job_that_waits_for_what_follows_on_its_flow_is_refused() -> None:
    """Also where that one follows on the flow around it."""
    flow = Flow("outer")
    inner = Flow("inner")
    done = flow.on_complete(charge.job(1))
    flow.add(charge.job(2))
    inner.add(charge.job(3), after=done)
    flow.add(inner)
    with pytest.raises(InvalidFlow, match="wait for each other"):
        flow.enqueue()


def test_callbacks_do_not_wait_for_each_other() -> None:
    flow = Flow("fine")
    flow.add(charge.job(1))
    success = flow.on_success(charge.job(2))
    flow.on_complete(ship.job(1, success.result))
    assert flow.enqueue().progress().total == 3
    app.jobs.delete(flow=flow.id)


def test_unknown_parents_are_refused_before_anything_is_stored() -> None:
    before = app.jobs.count()
    flow = Flow("orphan")
    flow.add(charge.job(1))
    node = flow.add(charge.job(2), after="nobody")
    with pytest.raises(UnknownParent) as error:
        flow.enqueue()
    assert (error.value.job_id, error.value.parent_id) == (node.id, "nobody")
    assert app.jobs.count() == before


def test_over_50_000_jobs_at_once_are_refused() -> None:
    draft = charge.job(1)
    flow = Flow("vast")
    for _ in range(50_001):
        flow.add(draft)
    with pytest.raises(InvalidFlow, match="50,001 jobs; 50,000 at once"):
        flow.enqueue()


def test_two_groups_too_large_for_each_other_are_refused() -> None:
    flow = chain(charge.map(range(800)), charge.map(range(800)))
    with pytest.raises(InvalidFlow, match="640,000 others"):
        flow.enqueue()


def test_the_same_job_twice_is_refused() -> None:
    draft = charge.job(1)
    flow = group(draft, draft)
    with pytest.raises(InvalidFlow, match="twice"):
        flow.enqueue()


def test_previous_needs_a_step_before() -> None:
    flow = Flow("order")
    flow.add(charge.job(previous))
    for wrong in (flow, chain(charge.job(previous)), group(charge.job(previous))):
        with pytest.raises(InvalidFlow, match="there is no step before"):
            wrong.enqueue()
    by_hand = Flow("by hand")
    by_hand.add(charge.job(1))
    with pytest.raises(InvalidFlow, match="a flow that has none"):
        chain(by_hand, charge.job(previous))


def test_what_is_no_job_is_refused() -> None:
    for wrong in (charge, 7, None, "charge"):
        with pytest.raises(InvalidFlow, match="neither a job nor a flow"):
            Flow("order").add(wrong)  # type: ignore[call-overload]
        with pytest.raises(InvalidFlow, match="neither a job nor a flow"):
            chain(wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidFlow, match="neither a job nor a flow"):
            group(wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidOption, match="flow name"):
        Flow("")


def test_a_flow_is_part_of_one_flow_and_then_complete() -> None:
    inner, outer = Flow("inner"), Flow("outer")
    inner.add(charge.job(1))
    outer.add(inner)
    for act in (lambda: Flow("third").add(inner), lambda: inner.add(outer), lambda: outer.add(outer)):
        with pytest.raises(InvalidFlow, match=r"build another one|part of 'outer'"):
            act()
    with pytest.raises(InvalidFlow, match="add its jobs before that"):
        inner.add(charge.job(2))
    with pytest.raises(InvalidFlow, match="enqueue that"):
        inner.enqueue()


def test_jobs_of_two_apps_do_not_go_together() -> None:
    other = Mainspring("sqlite://")

    @other.task
    def elsewhere() -> None: ...

    with pytest.raises(InvalidFlow, match="so it cannot take one of"):
        group(charge.job(1), elsewhere.job())


def test_what_is_not_enqueued_yet_cannot_be_asked() -> None:
    flow = chain(charge.job(1), charge.job(2))
    node = Flow("order").add(charge.job(3))
    for ask in (flow.progress, flow.jobs, flow.wait, flow.cancel, flow.result):
        with pytest.raises(InvalidFlow, match="not enqueued yet"):
            ask()
    with pytest.raises(InvalidFlow, match="not enqueued yet"):
        _ = node.job
    by_hand = Flow("order")
    by_hand.add(charge.job(4))
    with pytest.raises(InvalidFlow, match="no result of its own"):
        by_hand.result()


def test_drafts_show_what_they_are() -> None:
    draft: JobDraft[int] = charge.job(1)
    assert repr(Pending(("a",))) == "<the result of job a>"
    assert repr(Pending(("a", "b"), listed=True)) == "<the results of 2 jobs>"
    assert repr(previous) == "<the result of the step before>"
    assert draft.new.task in repr(draft)
