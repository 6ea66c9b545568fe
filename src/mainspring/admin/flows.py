"""`app.flows`: look at flows, and get hold of one."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, overload

from mainspring.admin.door import Door
from mainspring.admin.jobs import LOOKS_PER_PAGE, PAGE_LIMIT
from mainspring.clock import moment
from mainspring.errors import FlowNotFound, InvalidOption
from mainspring.flow import Flow
from mainspring.job import Job
from mainspring.model.job import Claim, NewJob
from mainspring.model.states import FINAL, State
from mainspring.model.text import quote
from mainspring.nodes import OnFailure
from mainspring.shapes import spawned
from mainspring.store.base import Filter, FindRequest, FlowRecord
from mainspring.twin import Steps, ask, twins
from mainspring.webhooks.telling import flow_witness

if TYPE_CHECKING:
    from mainspring.draft import JobDraft

__all__ = ["FlowPage", "FlowView", "Flows"]


@dataclass(frozen=True, slots=True)
class FlowView:
    """A flow as it was seen."""

    id: str
    name: str
    parent: str | None
    """The id of the flow that it is a part of."""
    created_at: datetime
    counts: Mapping[State, int]
    """How many of its jobs, and of those of its parts, are in each state; states with none are left out."""
    callbacks: Mapping[str, str]
    """The ids of the jobs that follow on it, each with when: "success", "complete" or "dead"."""
    parts: tuple[FlowView, ...] = ()
    """The flows inside it; filled by `app.flows.view(id)`, lists leave them out."""
    jobs: tuple[Job[Any], ...] = ()
    """Its own jobs, those of its parts apart, in the order in which they were made; filled likewise."""
    cursor: str | None = None
    """Where `app.flows.graph` goes on; None: there are no more jobs."""

    @property
    def total(self) -> int:
        """How many jobs there are."""
        return sum(self.counts.values())

    @property
    def done(self) -> int:
        """How many have ended, well or badly."""
        return sum(count for state, count in self.counts.items() if state in FINAL)


class FlowPage(Sequence[FlowView]):
    """Some flows, newest first, and where to go on: `app.flows.find(cursor=page.cursor)`."""

    __slots__ = ("_flows", "cursor")

    def __init__(self, flows: tuple[FlowView, ...], cursor: str | None) -> None:
        self._flows = flows
        self.cursor = cursor
        """None: there are no more."""

    def __len__(self) -> int:
        return len(self._flows)

    @overload
    def __getitem__(self, index: int) -> FlowView: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[FlowView, ...]: ...
    def __getitem__(self, index: int | slice) -> FlowView | tuple[FlowView, ...]:
        return self._flows[index]

    def __repr__(self) -> str:
        return f"<FlowPage of {len(self)}{', more to come' if self.cursor else ''}>"


class Flows(Door):
    """`app.flows`."""

    def _find(self, *, limit: int = 50, cursor: str | None = None) -> Steps[FlowPage]:
        """A page of flows, newest first, at most `limit`; those that are parts of others are not listed.

        Where very many are parts of others, a page may be short although there are more: see its `cursor`.
        """
        if type(limit) is not int or not 1 <= limit <= PAGE_LIMIT:
            raise InvalidOption(f"limit={quote(limit)} is not a whole number from 1 to {PAGE_LIMIT}")
        views: builtins.list[FlowView] = []
        for _ in range(LOOKS_PER_PAGE):
            page = yield from ask(FindRequest(Filter(), limit - len(views), cursor, flows=True))
            views += [_seen(record) for record in page.flows if record.parent is None]
            cursor = page.cursor
            if cursor is None or len(views) == limit:
                break
        return FlowPage(tuple(views), cursor)

    find, afind = twins(_find)

    def _list(self, limit: int = 50) -> Steps[builtins.list[FlowView]]:
        """The newest flows, at most `limit`; those that are parts of others are not listed."""
        page = yield from self._find(limit=limit)
        views = [*page]
        while page.cursor is not None and len(views) < limit:
            page = yield from self._find(limit=limit - len(views), cursor=page.cursor)
            views += page
        return views

    list, alist = twins(_list)

    def _get(self, id: str) -> Steps[Flow[Any]]:
        """The flow with that id, to look at it, wait for it, add to it, cancel it. Raises `FlowNotFound`."""
        record = yield from self._record(id)
        return Flow.handle(self._app, record.id, record.name)

    get, aget = twins(_get)

    def _view(self, id: str) -> Steps[FlowView]:
        """The flow with that id, with its parts and all their jobs. Raises `FlowNotFound`."""
        record = yield from self._record(id)
        jobs = yield from Flow.handle(self._app, record.id, record.name)._jobs()
        return (yield from self._tree(record, jobs))

    view, aview = twins(_view)

    def _graph(self, id: str, *, limit: int = 500, cursor: str | None = None) -> Steps[FlowView]:
        """The same for flows of any size: only so many of the jobs, newest first as `app.jobs.find` has them, without
        their arguments and results, and the parts that these are in. The rest: `app.flows.graph(id, cursor=...)`.

        Raises `FlowNotFound`, `InvalidOption`.
        """
        if type(limit) is not int or not 1 <= limit <= PAGE_LIMIT:
            raise InvalidOption(f"limit={quote(limit)} is not a whole number from 1 to {PAGE_LIMIT}")
        record = yield from self._record(id)
        found: builtins.list[Job[Any]] = []
        for _ in range(LOOKS_PER_PAGE):
            request = FindRequest(Filter(flow=id), limit - len(found), cursor, with_parents=True, brief=True)
            page = yield from ask(request)
            found += [Job(self._app, job) for job in page.jobs]
            cursor = page.cursor
            if cursor is None or len(found) == limit:
                break
        view = yield from self._tree(record, sorted(found, key=lambda job: (job.created_at, job.id)))
        return replace(view, cursor=cursor)

    graph, agraph = twins(_graph)

    def _tree(self, record: FlowRecord, jobs: builtins.list[Job[Any]]) -> Steps[FlowView]:
        """The flow with these jobs of it, each in its part."""
        records = {record.id: record}
        missing = {job.flow_id for job in jobs} - {record.id, None}
        while missing:
            found = yield from self._record(missing.pop() or "")
            records[found.id] = found
            missing |= {found.parent} - records.keys() - {None}
        return _tree(record, records.values(), jobs)

    def _record(self, id: str) -> Steps[FlowRecord]:
        if not isinstance(id, str):
            raise InvalidOption(f"flow id {quote(id)} is of type {type(id).__name__}; give text")
        page = yield from ask(FindRequest(Filter(flow=id), 1, flows=True))
        if not page.flows:
            raise FlowNotFound(f"no flow has the id {quote(id)}; it may have been pruned")
        return page.flows[0]

    # --- for workers ---

    def of(self, claim: Claim) -> Flow[Any] | None:
        """The flow of a job that runs."""
        return None if claim.flow is None else Flow.handle(self._app, claim.flow, claim.flow)

    def spawned(
        self, claim: Claim, jobs: tuple[JobDraft[Any], ...], then: JobDraft[Any] | None, on_failure: OnFailure
    ) -> tuple[NewJob, ...]:
        """What a job that runs leaves behind. Raises `InvalidFlow`, `InvalidOption`."""
        new = spawned(claim.flow, jobs, then, on_failure)
        if self._app.tracing is None or not new:
            return new
        with self._app.tracing.enqueuing(new) as followed:
            return tuple(followed)


_WHEN = {"fail": "success", "run": "complete", "dead": "dead"}


def _seen(record: FlowRecord, parts: tuple[FlowView, ...] = (), jobs: tuple[Job[Any], ...] = ()) -> FlowView:
    return FlowView(
        id=record.id,
        name=record.name,
        parent=record.parent,
        created_at=moment(record.created_at),
        counts=dict(record.counts),
        callbacks={
            callback.job: _WHEN.get(callback.policy, callback.policy)
            for callback in record.callbacks
            if callback.job != flow_witness(record.id)
        },
        parts=parts,
        jobs=jobs,
    )


def _tree(record: FlowRecord, records: Iterable[FlowRecord], jobs: builtins.list[Job[Any]]) -> FlowView:
    inner = sorted((each for each in records if each.parent == record.id), key=lambda each: (each.created_at, each.id))
    return _seen(
        record,
        tuple(_tree(each, records, jobs) for each in inner),
        tuple(job for job in jobs if job.flow_id == record.id),
    )
