"""The reference store's edges: children wait for parents, and go down or come back with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from mainspring.errors import UnknownParent, would_wait_for_itself
from mainspring.model.job import JobRecord, NewJob, Parent, Policy
from mainspring.model.states import FINAL, State
from mainspring.store.base import FlowRecord, NewFlow

from .reference_contents import Link
from .reference_gates import Gates
from .reference_rules import due_state, revived


class Edges(Gates):
    """The part of the store in which jobs wait for jobs."""

    def _parents(self, job: str) -> tuple[Parent, ...]:
        return tuple(
            Parent(parent, link.policy, link.state, link.result, link.reason)
            for parent, link in self.links.get(job, {}).items()
        )

    # --- flows -------------------------------------------------------------------------------------------------------

    def _lineage(self, flow: str | None) -> list[NewFlow]:
        """A flow and those that it is a part of."""
        lineage: list[NewFlow] = []
        while flow in self.flows and self.flows[flow][0] not in lineage:
            lineage.append(self.flows[flow][0])
            flow = lineage[-1].parent
        return lineage

    def _is_in(self, job: JobRecord, flow: str) -> bool:
        return job.flow == flow or any(flow in (each.id, each.parent) for each in self._lineage(job.flow))

    def _is_callback(self, job: str) -> bool:
        return any(callback.job == job for flow, _ in self.flows.values() for callback in flow.callbacks)

    def _flow_record(self, flow: NewFlow, created_at: int) -> FlowRecord:
        states = [job.state for job in self.jobs.values() if self._is_in(job, flow.id)]
        counts = tuple((state, states.count(state)) for state in State if state in states)
        return FlowRecord(flow.id, flow.name, flow.parent, created_at, flow.callbacks, counts)

    def _forget_empty_flows(self) -> None:
        self.flows = {
            id: (flow, at)
            for id, (flow, at) in self.flows.items()
            if any(self._is_in(job, id) for job in self.jobs.values())
        }

    # --- new edges ---------------------------------------------------------------------------------------------------

    def _link(self, new: Sequence[NewJob], instead: Mapping[str, str], strict: bool = True) -> set[str]:
        """Tie jobs that were just stored to their parents; gives all who may wait no longer for that.

        `instead` says which job there is in place of one that a key turned away. A parent that is not there is an
        error, or counts as one that was deleted.
        """
        for job in new if strict else ():
            for edge in job.parents:
                if instead.get(edge.parent, edge.parent) not in self.jobs:
                    raise UnknownParent(job.id, edge.parent)
        touched = {job.id for job in new}
        for job in new:
            for edge in job.parents:
                self._tie(job.id, instead.get(edge.parent, edge.parent), Link(edge.policy, edge.wants_result))
        for job in new:
            for flow in self._lineage(job.flow):
                own = flow.id == job.flow and any(callback.job == job.id for callback in flow.callbacks)
                for callback in flow.callbacks:
                    went_down = any(link.broke for link in self.links.get(callback.job, {}).values())
                    waiting = callback.job in self.jobs and (went_down or self._blocked(callback.job))
                    if waiting and not own and callback.job != job.id:
                        self._tie(callback.job, job.id, Link(callback.policy, False))
                        touched.add(callback.job)
        for later in sorted(touched.difference(job.id for job in new)) if strict else ():
            if later in self._below(later):
                raise would_wait_for_itself(later)
        return touched

    def _below(self, job: str) -> set[str]:
        """All that waits for a job, itself or by way of others."""
        found: set[str] = set()
        above = [job]
        while above:
            parent = above.pop()
            children = {
                child
                for child in self.children[parent]
                if parent in self.links.get(child, {}) and self.links[child][parent].state is None
            }
            above += children - found
            found |= children
        return found

    def _tie(self, child: str, parent: str, link: Link) -> None:
        links = self.links.setdefault(child, {})
        if parent not in links:
            job = self.jobs.get(parent)
            links[parent] = link if job is not None and job.state not in FINAL else ended(link, job)
            self.children[parent].append(child)

    # --- ends --------------------------------------------------------------------------------------------------------

    def _tell_children(self, parent: str) -> set[str]:
        """A job has ended, or is gone before its end; gives the children that it concerns."""
        told = set()
        for child in self.children[parent]:
            link = self.links.get(child, {}).get(parent)
            if link is not None and link.state is None:
                self.links[child][parent] = ended(link, self.jobs.get(parent))
                told.add(child)
        return told

    def _follow(self, touched: Iterable[str], now: int) -> None:
        """Let go of the children that wait no longer, one way or the other.

        Who goes down goes down first, all the way: nobody is released in a request that cancels him.
        """
        waiting, cancelled = set(touched), True
        while cancelled:
            cancelled = False
            for why in (broken, in_vain):
                doomed = {child: why(self.links.get(child, {})) for child in sorted(waiting) if self._blocked(child)}
                for child, reason in doomed.items():
                    if reason is not None:
                        waiting |= self._cancel(child, reason, now)
                        cancelled = True
                if cancelled:
                    break
        for child in sorted(waiting):
            if self._blocked(child) and may_go(self.links.get(child, {})):
                run_at = max(self.jobs[child].run_at, now)
                self.jobs[child] = replace(self.jobs[child], state=due_state(run_at, now), run_at=run_at)

    def _blocked(self, child: str) -> bool:
        return child in self.jobs and self.jobs[child].state is State.BLOCKED

    def _cancel(self, child: str, reason: str, now: int) -> set[str]:
        self.jobs[child] = replace(self.jobs[child], state=State.CANCELLED, finished_at=now, reason=reason)
        self._count(now, self.jobs[child], "cancelled")
        self._give_back_at_end(self.jobs[child])
        self._mark_broken(child)
        return self._tell_children(child)

    def _mark_broken(self, child: str) -> None:
        for parent, link in self.links.get(child, {}).items():
            self.links[child][parent] = replace(link, broke=link.policy is Policy.FAIL and link.bad)

    # --- revival -----------------------------------------------------------------------------------------------------

    def _alone(self, jobs: Sequence[JobRecord]) -> list[JobRecord]:
        """Of jobs to be revived together, those that do not come back with the others of them anyhow."""
        again, found = {job.id for job in jobs if job.state in FINAL}, True
        back: set[str] = set()
        while found:
            went_down = {child for child, links in self.links.items() if any(link.broke for link in links.values())}
            found = False
            for child in went_down - back:
                needed = {id for id, link in self.links[child].items() if link.policy is Policy.FAIL and link.bad}
                if needed <= again:
                    back.add(child)
                    again.add(child)
                    found = True
        return [job for job in jobs if job.id not in back]

    def _mend(self, job: str) -> None:
        """Nothing keeps a job down any more."""
        for parent, link in self.links.get(job, {}).items():
            self.links[job][parent] = replace(link, broke=False)

    def _revive_children(self, job: str, now: int) -> None:
        """A final job runs again: who waits for it, and who went down with it, waits anew."""
        again = [job]
        for parent in again:
            for child in self.children[parent]:
                links = self.links.get(child, {})
                went_down = child in self.jobs and any(link.broke for link in links.values())
                if parent not in links or not (went_down or self._blocked(child)):
                    continue
                links[parent] = Link(links[parent].policy, links[parent].wants_result)
                if went_down:
                    self._mark_broken(child)
                    if broken(links) is None:
                        self.jobs[child] = replace(revived(self.jobs[child], now), state=State.BLOCKED)
                        self.links[child] = {id: outlived(each) for id, each in links.items()}
                        again.append(child)


def ended(link: Link, job: JobRecord | None) -> Link:
    """The link to a parent that has ended, or (None) is gone."""
    if job is None:
        return replace(link, state=State.CANCELLED, reason="deleted", how="was deleted")
    if job.state is State.COMPLETED:
        return replace(link, state=job.state, result=job.result if link.wants_result else None)
    how = "is dead" if job.state is State.DEAD else "was cancelled"
    return replace(link, state=job.state, reason=job.reason, how=how)


def outlived(link: Link) -> Link:
    """The link of a child that comes back."""
    return replace(link, outlived=link.state is not None)


def broken(links: Mapping[str, Link]) -> str | None:
    """Why a child cannot run any more: a parent that it needs has ended badly."""
    return next(
        (f"parent {parent} {link.how}" for parent, link in links.items() if link.policy is Policy.FAIL and link.bad),
        None,
    )


def in_vain(links: Mapping[str, Link]) -> str | None:
    """Why a child need not run any more: it waited for a dead parent, and all have ended otherwise."""
    hopes = [link for link in links.values() if link.policy is Policy.DEAD]
    over = all(link.state is not None for link in links.values())
    return "no parent is dead" if hopes and over and not any(link.state is State.DEAD for link in hopes) else None


def may_go(links: Mapping[str, Link]) -> bool:
    """Whether a child that neither is broken nor waits in vain waits no longer."""
    dead = [link for link in links.values() if link.policy is Policy.DEAD and link.state is State.DEAD]
    return any(not link.outlived for link in dead) or all(link.state is not None for link in links.values())
