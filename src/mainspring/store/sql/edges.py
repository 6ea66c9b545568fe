"""Edges: children wait for their parents, are released with the last, go down with a bad end, and come back with it.

However many jobs an end reaches and however deep, it is passed on in a few statements, each about a whole set; what
reads their order from one look at the edges is in `store/sql/edges.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from mainspring.errors import UnknownParent, would_wait_for_itself
from mainspring.model.job import Claim, JobRecord, NewJob, Parent, Policy
from mainspring.model.states import State
from mainspring.store.base import Operation
from mainspring.store.sql.documents import document
from mainspring.store.sql.plans.edges import causes, rise
from mainspring.store.sql.statements import Row, sql

__all__ = ["Passed", "Told", "drop", "link", "pass_on", "reopen", "tell", "with_parents"]


_Child = TypeVar("_Child", Claim, JobRecord)


@dataclass(slots=True)
class Told:
    """What the children of a request's jobs have to be told, before anything becomes of them."""

    ended: list[Row] = field(default_factory=list)
    """Their edges that have ended: child, parent, policy, state."""
    gone: set[str] = field(default_factory=set)
    """Parents that were deleted."""
    alone: list[str] = field(default_factory=list)
    """Blocked jobs that may have no edges at all."""


@dataclass(slots=True)
class Passed:
    """What became of jobs that were blocked."""

    released: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    fell: list[Row] = field(default_factory=list)
    """Queue and task of each that was cancelled."""


# --- new edges -------------------------------------------------------------------------------------------------------


def link(new: Mapping[str, NewJob], instead: Mapping[str, str], told: Told, *, strict: bool) -> Operation[None]:
    """Tie jobs that were just stored to their parents, and to the callbacks of their flows.

    `instead` says which job there is in place of one that a key turned away. A parent that is not there is an error,
    and so is a job that waits for a callback that waits for it; where not `strict`, the former counts as one that was
    deleted.
    """
    ties = _Ties()
    for job in new.values():
        for edge in job.parents:
            ties.add(job.id, instead.get(edge.parent, edge.parent), edge.policy, edge.wants_result)
    outside = ties.parents - new.keys()
    gone = yield from _hold(outside)
    if gone and strict:
        raise next(
            UnknownParent(job.id, edge.parent)
            for job in new.values()
            for edge in job.parents
            if instead.get(edge.parent, edge.parent) in gone
        )
    flows = {job.flow for job in new.values() if job.flow is not None}
    if flows:
        # A settle ends jobs of theirs too, and will judge them.
        yield sql("lock_callbacks", doc=document(sorted(flows)), alone=not strict)
    callbacks = (yield sql("callbacks_of", doc=document(sorted(flows)))) if flows else ()
    waiting = list({row[2]: None for row in callbacks if row[2] in new})
    if waiting:
        yield sql("block", doc=document(waiting))
    ties.add_callbacks(new, callbacks)
    if ties.rows:
        yield sql("add_edges", doc=document([(*row, row[1] in gone) for row in ties.rows]))
    later = {row[2] for row in callbacks if row[4]} - new.keys()
    if strict and outside and later:
        circles = yield sql("circles", doc=document(sorted(later)))
        if circles:
            raise would_wait_for_itself(min(row[0] for row in circles))
    told.gone |= gone
    told.alone += waiting
    if outside:
        told.ended += yield sql("ended_edges", doc=document(list(new)))


def _hold(parents: Collection[str]) -> Operation[set[str]]:
    """Keep these jobs from ending, or from coming back, before they have their new children. Gives those that are not
    there."""
    missing = set(parents)
    while missing:
        known = yield sql("known_jobs", doc=document(sorted(missing)))
        if not known:
            break
        # One that has just ended is not held where it was seen: it is looked for again.
        held = yield sql("hold_jobs", doc=document(sorted(row[0] for row in known)))
        missing.difference_update(row[0] for row in held)
    return missing


class _Ties:
    """Edges to be written: child, parent, place among the child's new ones, policy, wants a result?"""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, int, Policy, bool]] = []
        self._parents: defaultdict[str, set[str]] = defaultdict(set)

    @property
    def parents(self) -> set[str]:
        return {row[1] for row in self.rows}

    def add(self, child: str, parent: str, policy: Policy, wants_result: bool = False) -> None:
        parents = self._parents[child]
        if parent not in parents:
            self.rows.append((child, parent, len(parents), policy, wants_result))
            parents.add(parent)

    def add_callbacks(self, new: Mapping[str, NewJob], rows: Sequence[Row]) -> None:
        """Of rows as `callbacks_of` gives them. A flow's callbacks do not wait for each other."""
        siblings: defaultdict[str | None, set[str]] = defaultdict(set)
        waiting: defaultdict[str | None, list[tuple[str, Policy, bool]]] = defaultdict(list)
        for flow, above, callback, policy, blocked in rows:
            if flow == above:
                siblings[flow].add(callback)
            if blocked or callback in new:
                waiting[flow].append((callback, policy, flow == above))
        for job in new.values() if waiting else ():
            for callback, policy, own in waiting[job.flow]:
                if callback != job.id and not (own and job.id in siblings[job.flow]):
                    self.add(callback, job.id, policy)


# --- ends ------------------------------------------------------------------------------------------------------------


def tell(ids: Sequence[str], told: Told, *, deleted: bool = False) -> Operation[None]:
    """These jobs are among the finished ones now; or they were `deleted` before they had ended."""
    told.ended += yield sql("lose_edges" if deleted else "end_edges", doc=document(ids))
    if deleted:
        told.gone.update(ids)


def pass_on(told: Told, now: int) -> Operation[Passed]:
    """What becomes of those who were told of an end, of their children if that is their own end, and so on.

    Who goes down does so before anybody is released: nobody is released by the request that cancels him.
    """
    passed = Passed()
    waiting = dict.fromkeys(told.alone)
    marked = told.ended
    ready: list[str] = []
    while marked or waiting:
        waiting.update((row[0], None) for row in marked)
        broken = [row for row in marked if row[2] == Policy.FAIL and row[3] != State.COMPLETED]
        if broken:
            reasons = yield from _falling(broken, list(waiting), told.gone)
        else:
            yield sql("lock_children", doc=document(list(waiting)))
            verdicts = yield sql("verdicts", doc=document(list(waiting)))
            ready += [id for id, in_vain in verdicts if not in_vain]
            reasons = {id: "no parent is dead" for id, in_vain in verdicts if in_vain}
            waiting.clear()
        marked = (yield from _fell(reasons, passed, now)) if reasons else []
        passed.cancelled += reasons
    if ready:
        passed.released = [row[0] for row in (yield sql("release", doc=document(ready), now=now))]
    return passed


def _fell(reasons: Mapping[str, str], passed: Passed, now: int) -> Operation[list[Row]]:
    """Cancel blocked jobs; gives the edges of their children that have ended with that."""
    fallen = document(list(reasons))
    passed.fell += yield sql("fell", doc=document(list(reasons.items())), now=now)
    yield sql("forget_finished", doc=fallen)
    return [row for row in (yield sql("end_edges", doc=fallen)) if row[0] not in reasons]


def _falling(down: Sequence[Row], waiting: Sequence[str], gone: Collection[str]) -> Operation[dict[str, str]]:
    """All that goes down with the children of these edges, and why each. `waiting` will be judged after that."""
    first = document(list({row[0] for row in down}))
    locked = {row[0] for row in (yield sql("lock_falling", doc=first, waiting=document(waiting)))}
    edges = yield sql("falling", doc=first)
    while (others := {row[0] for row in edges} - locked) and (yield sql("lock_children", doc=document(list(others)))):
        locked |= others
        edges = yield sql("falling", doc=first)
    because = causes(edges)
    yield sql("break_edges", doc=document(list(because.items())))
    ends = {row[1]: row[3] for row in down}
    reasons = {}
    for child, parent in because.items():
        how = "was deleted" if parent in gone else "is dead" if ends.get(parent) == State.DEAD else "was cancelled"
        reasons[child] = f"parent {parent} {how}"
    return reasons


# --- revival ---------------------------------------------------------------------------------------------------------


def reopen(revived: Sequence[str], now: int) -> Operation[frozenset[str]]:
    """These jobs are queued again: who waits for them waits anew, and who went down with them comes back.

    Gives those of them that went down with others of them, and so wait for these again.
    """
    live = frozenset(revived)
    edges = yield sql("felled", doc=document(revived))
    locked = set[str]()
    while (others := live.union(row[0] for row in edges) - locked) and (
        yield sql("lock_edges", doc=document(list(others)))
    ):
        locked |= others
        edges = yield sql("felled", doc=document(revived))
    risen = rise(live, edges)
    back = [id for id in risen.blocked if id not in live]
    alone = live.difference(risen.blocked)
    felled = {row[0] for row in edges} - alone
    yield sql("open_edges", doc=document([*revived, *back]), felled=document(list(felled)))
    yield sql("mend_edges", doc=document(list(alone)))
    if risen.down:
        yield sql("break_edges", doc=document(risen.down))
    if risen.blocked:
        yield sql("block", doc=document(risen.blocked))
        yield sql("rise", doc=document(back), now=now)
        yield sql("forget_revived", doc=document(back))
    return live.intersection(risen.blocked)


# --- reading, forgetting ---------------------------------------------------------------------------------------------


def with_parents(jobs: Sequence[_Child]) -> Operation[list[_Child]]:
    """These claims or records, with their parents in the order of their edges."""
    if not jobs or not (yield sql("any_edge")):
        return list(jobs)
    parents: defaultdict[str, list[Parent]] = defaultdict(list)
    rows = yield sql("parents_of", doc=document([job.id for job in jobs]))
    for child, parent, policy, state, result, reason in rows:
        parents[child].append(Parent(parent, Policy(policy), State(state) if state else None, result, reason))
    return [replace(job, parents=tuple(parents[job.id])) if job.id in parents else job for job in jobs]


def drop(children: Sequence[str]) -> Operation[None]:
    """These jobs are gone: nobody asks any more for whom they waited."""
    yield sql("drop_edges", doc=document(children))
