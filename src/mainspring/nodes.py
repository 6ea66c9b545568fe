"""What a flow is built of: its jobs and what they wait for; and what a flow cannot be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast, get_args

from mainspring.draft import JobDraft
from mainspring.errors import InvalidFlow, InvalidOption
from mainspring.job import Job
from mainspring.model.holes import Gap, Hole, Pending
from mainspring.model.job import Edge, NewJob, Policy
from mainspring.model.options import check_name
from mainspring.model.text import quote
from mainspring.store.base import portions

if TYPE_CHECKING:
    from mainspring.flow import Flow

__all__ = [
    "FLOW_LIMIT",
    "After",
    "Entry",
    "Node",
    "OnFailure",
    "Part",
    "ids_of",
    "policies_of",
    "refuse_cycles",
    "refuse_oddities",
]

R_co = TypeVar("R_co", covariant=True)

FLOW_LIMIT = 50_000
"""The most jobs that are stored in one request; one with arguments over 32 KiB counts for several."""
EDGE_LIMIT = 500_000

OnFailure = Literal["fail", "ignore", "run"]
"""What becomes of a job when one that it waits for ends badly: it is cancelled too, runs all the same, or runs and is
to see in `ctx.parents` what failed. ("ignore" and "run" differ in what they tell the reader.)"""


class Node(Generic[R_co]):
    """A job in a flow; `R_co` is the type of its result."""

    __slots__ = ("_id", "_job", "task")

    def __init__(self, id: str, task: str) -> None:
        self._id = id
        self._job: Job[R_co] | None = None
        self.task = task
        """The name of its task."""

    def __repr__(self) -> str:
        return f"<Node {self.id} {self.task}>"

    @property
    def id(self) -> str:
        """The job's id. Where a unique job was there already, that of the other one, once it is known."""
        return self._id if self._job is None else self._job.id

    @property
    def result(self) -> R_co:
        """Stands for the result of the job: an argument of a later one, `ship.job(receipt=charge.result)`, or anywhere
        inside the lists, tuples and dictionaries among its arguments."""
        return cast("R_co", Pending((self.id,)))

    @property
    def job(self) -> Job[R_co]:
        """The job, once it is enqueued. Raises `InvalidFlow` before that."""
        if self._job is None:
            raise InvalidFlow(f"job {self.id} ({self.task}) is not enqueued yet; call enqueue() of its flow first")
        return self._job


class Part(Generic[R_co]):
    """A flow inside another: `after=[part]` waits for its last jobs, those that none of its other jobs waits for."""

    __slots__ = ("flow",)

    def __init__(self, flow: Flow[R_co]) -> None:
        self.flow = flow

    @property
    def result(self) -> R_co:
        """Stands for its result, as `Node.result` does: of a chain or chord that of the last job, of a group or a map
        the list of all. Raises `InvalidFlow` for one built otherwise."""
        return cast("R_co", self.flow._outcome())


Parent = Node[Any] | Part[Any] | Job[Any] | str
After = Parent | Iterable[Parent]


@dataclass(slots=True)
class Entry:
    """A job of a flow and what it waits for."""

    draft: JobDraft[Any]
    node: Node[Any]
    policy: Policy
    """Of edges for which nothing else was said."""
    edges: dict[str, Policy]
    gaps: tuple[Gap, ...]
    is_callback: bool = False

    @property
    def id(self) -> str:
        return self.draft.new.id

    def resolve(self, previous: Pending) -> None:
        """Let `previous` among the arguments stand for this."""
        if any(gap.of.previous for gap in self.gaps):
            self.gaps = tuple(replace(gap, of=previous) if gap.of.previous else gap for gap in self.gaps)
            for job in previous.jobs:
                self.edges.setdefault(job, self.policy)

    def new(self, flow: str | None) -> NewJob:
        """As it is stored."""
        options = self.draft.new.options
        if self.gaps:
            places = {parent: place for place, parent in enumerate(self.edges)}
            holes = tuple(Hole.of_gap(gap, places) for gap in self.gaps)
            options = replace(self.draft.options, holes=holes, parents=len(places)).to_text()
        wanted = {job for gap in self.gaps for job in gap.of.jobs}
        edges = tuple(Edge(parent, policy, parent in wanted) for parent, policy in self.edges.items())
        return replace(self.draft.new, options=options, flow=flow, parents=edges)


# --- what cannot be --------------------------------------------------------------------------------------------------


def refuse_oddities(name: str, entries: Sequence[Entry]) -> None:
    size = sum(portions(entry.draft.new.args) for entry in entries)
    if size > FLOW_LIMIT:
        raise InvalidFlow(
            f"flow {name!r} has {len(entries):,} jobs{', some of them large' if size > len(entries) else ''}; "
            f"{FLOW_LIMIT:,} at once it may have; give each more to do (task.map(..., chunk=100)), or add some later"
        )
    edges = sum(len(entry.edges) for entry in entries)
    if edges > EDGE_LIMIT:
        raise InvalidFlow(
            f"flow {name!r}: its jobs wait for {edges:,} others in all, which may be {EDGE_LIMIT:,} at once; "
            "put one job between two large groups"
        )
    ids: set[str] = set()
    for entry in entries:
        if entry.id in ids:
            raise InvalidFlow(f"flow {name!r} has job {entry.id} ({entry.draft.new.task}) twice; add each job once")
        ids.add(entry.id)
        for gap in entry.gaps:
            if gap.of.previous:
                raise InvalidFlow(
                    f"flow {name!r}: argument {gap.path[0]!r} of task {entry.draft.new.task!r} is {gap.of!r}, but "
                    "there is no step before; give such a job to a chain, as a later step"
                )


def refuse_cycles(name: str, new: Sequence[NewJob], flows: Iterable[Flow[Any]]) -> None:
    """Refuse jobs that would wait for each other. A flow's callbacks wait for all others of it."""
    callbacks = {callback.job for flow in flows for callback in flow._callbacks}
    inside = callbacks.union(job.id for job in new)
    graph: dict[Any, list[Any]] = {
        job.id: [edge.parent for edge in job.parents if edge.parent in inside] for job in new
    }
    if callbacks:
        for flow in flows:
            own = {callback.job for callback in flow._callbacks}
            members = [entry.id for entry in flow._new]
            parts = [(part.id, "all") for part in flow._parts]
            graph[flow.id, "all"] = [*members, *parts]
            graph[flow.id, "others"] = [*(id for id in members if id not in own), *parts]
            for id in own:
                graph.setdefault(id, []).append((flow.id, "others"))
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        tasks = {job.id: job.task for job in new}
        circle = [f"{tasks[id]} ({id})" for id in error.args[1] if id in tasks]
        raise InvalidFlow(f"flow {name!r}: its jobs wait for each other: {' -> '.join(circle)}") from None


# --- reading what was given ------------------------------------------------------------------------------------------


def ids_of(after: After) -> list[str]:
    """The ids of the jobs that are meant."""
    if isinstance(after, Node | Job):
        return [after.id]
    if isinstance(after, Part):
        return list(after.flow._last())
    if isinstance(after, str):
        return [check_name("id", after)]
    if isinstance(after, Iterable):
        return list(dict.fromkeys(id for each in after for id in ids_of(each)))
    raise InvalidFlow(f"after={quote(after)}: give what flow.add() gave, jobs, or their ids")


def policies_of(on_failure: OnFailure | Mapping[Any, OnFailure]) -> dict[str | None, Policy]:
    """By the parents' ids; under None what holds for the others."""
    if isinstance(on_failure, str):
        return {None: _policy(on_failure)}
    if not isinstance(on_failure, Mapping):
        raise InvalidOption(
            f"on_failure={quote(on_failure)}: give one of {', '.join(get_args(OnFailure))}, or a mapping"
        )
    by_parent: dict[str | None, Policy] = {
        id: _policy(policy) for parent, policy in on_failure.items() for id in ids_of(parent)
    }
    return {None: Policy.FAIL} | by_parent


def _policy(text: str) -> Policy:
    if text not in get_args(OnFailure):
        raise InvalidOption(f"on_failure={quote(text)} is none of {', '.join(get_args(OnFailure))}")
    return Policy(text)
