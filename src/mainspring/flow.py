"""Flows: jobs that belong together and wait for each other, and appear in the store together.

A `Flow` is built first, with nothing stored, then enqueued in one request; from then on it is a handle on what was
stored, and can be added to. `chain`, `group`, `chord` and `task.map` build the usual shapes (see `shapes`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from mainspring.altering import cancel
from mainspring.audit import audited
from mainspring.clock import new_id
from mainspring.counting import counted
from mainspring.draft import JobDraft, fresh, insert
from mainspring.errors import FlowNotFound, InvalidFlow, JobNotFound, ResultTimeout
from mainspring.job import FIRST_PAUSE, LONGEST_PAUSE, Job
from mainspring.model.durations import Duration, to_ms
from mainspring.model.holes import Pending
from mainspring.model.job import JobRecord, NewJob, Policy
from mainspring.model.limits import KEEP, Keep
from mainspring.model.options import check_name
from mainspring.model.states import FINAL, LIVE, State
from mainspring.model.text import quote
from mainspring.nodes import After, Entry, Node, OnFailure, Part, ids_of, policies_of, refuse_cycles, refuse_oddities
from mainspring.store.base import Callback, Filter, FindRequest, NewFlow
from mainspring.twin import Steps, Wait, Watching, ask, twins

if TYPE_CHECKING:
    from mainspring.app import Mainspring

__all__ = ["Flow", "FlowProgress"]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

PAGE = 1000
WATCHED = 100
"""For hints about how many jobs a wait listens; it looks on its own now and then besides."""


@dataclass(frozen=True, slots=True)
class FlowProgress:
    """How far a flow is, its parts and callbacks included."""

    done: int
    """How many of its jobs have ended, well or badly."""
    total: int
    states: Mapping[State, int]
    """How many are in each state; states with none are left out."""

    @property
    def fraction(self) -> float:
        """0 to 1."""
        return self.done / self.total if self.total else 0.0


class Flow(Generic[R_co]):
    """Jobs that belong together. `R_co` is the type of its result, where it has one (see `result`).

        flow = Flow("order")
        charge = flow.add(charge_payment.job(order_id=1))
        reserve = flow.add(reserve_stock.job(order_id=1))
        flow.add(ship.job(order_id=1, receipt=charge.result), after=[reserve])
        flow.enqueue()

    Nothing is stored before `enqueue`, and then all of it or nothing. Afterwards more can be added, and enqueued again.
    """

    def __init__(self: Flow[Any], name: str) -> None:
        self.id = new_id()
        self.name = check_name("flow", name)
        self._home: Mainspring | None = None
        self._parent: Flow[Any] | None = None
        self._parts: list[Flow[Any]] = []
        self._entries: list[Entry] = []
        self._new: list[Entry] = []
        """Those of the entries that are not stored yet."""
        self._callbacks: list[Callback] = []
        self._stored = False
        self._in_doubt = False
        """Whether it was stored in a transaction that may have been rolled back since."""
        self._ending: Pending | None = None
        """The jobs whose results are its result."""

    @classmethod
    def handle(cls, app: Mainspring, id: str, name: str) -> Flow[Any]:
        """A flow that is in the store."""
        flow: Flow[Any] = cls("flow")
        flow.id, flow.name, flow._home, flow._stored = id, name, app, True
        return flow

    def __repr__(self) -> str:
        return f"<Flow {self.id} {self.name!r}>"

    @property
    def _app(self) -> Mainspring:
        if self._home is None:
            raise InvalidFlow(f"flow {self.name!r} has no jobs; add some first")
        return self._home

    # --- building ---

    @overload
    def add(
        self, job: JobDraft[R], /, *, after: After = (), on_failure: OnFailure | Mapping[Any, OnFailure] = "fail"
    ) -> Node[R]: ...
    @overload
    def add(
        self, job: Flow[R], /, *, after: After = (), on_failure: OnFailure | Mapping[Any, OnFailure] = "fail"
    ) -> Part[R]: ...
    def add(
        self,
        job: JobDraft[Any] | Flow[Any],
        /,
        *,
        after: After = (),
        on_failure: OnFailure | Mapping[Any, OnFailure] = "fail",
    ) -> Node[Any] | Part[Any]:
        """Add a job, which waits for those in `after` and for those whose results are among its arguments; or a flow,
        with all its jobs, as a part of this one.

        `after` takes what `add` has given, jobs that are in the store, and their ids. `on_failure` says what becomes of
        the job when one of these ends badly: "fail" (the default: it is cancelled too), "ignore" or "run", for all
        alike or by parent: `on_failure={charge: "run"}`. Raises `InvalidFlow`, `InvalidOption`.
        """
        policies = policies_of(on_failure)
        if isinstance(job, Flow):
            self._nest(job, ids_of(after), policies)
            return Part(job)
        return self._enter(job, ids_of(after), policies).node

    def on_success(self, job: JobDraft[R], /) -> Node[R]:
        """Add a job that runs when all others of the flow, also those added later, have completed. If one of them ends
        badly it is cancelled."""
        return self._call_back(job, Policy.FAIL)

    def on_complete(self, job: JobDraft[R], /) -> Node[R]:
        """Add a job that runs when all others of the flow have ended, well or badly."""
        return self._call_back(job, Policy.RUN)

    def on_dead(self, job: JobDraft[R], /) -> Node[R]:
        """Add a job that runs as soon as one of the others is dead. If none has died by the end it is cancelled."""
        return self._call_back(job, Policy.DEAD)

    def _call_back(self, job: JobDraft[R], policy: Policy) -> Node[R]:
        if self._stored:
            raise InvalidFlow(f"flow {self.name!r} is enqueued already; say what follows on it before that")
        entry = self._enter(job, (), {None: policy}, is_callback=True)
        self._callbacks.append(Callback(entry.id, policy))
        return entry.node

    def _enter(
        self,
        draft: JobDraft[Any],
        after: Iterable[str],
        policies: Mapping[str | None, Policy],
        is_callback: bool = False,
    ) -> Entry:
        if not isinstance(draft, JobDraft):
            raise InvalidFlow(f"{quote(draft)} is neither a job nor a flow; make a job with task.job(...)")
        self._settle_in(draft.app)
        default = policies[None]
        results = (job for gap in draft.gaps for job in gap.of.jobs)
        edges = {parent: policies.get(parent, default) for parent in (*after, *results)}
        for parent in policies:
            if parent is not None and parent not in edges:
                raise InvalidFlow(f"on_failure= names job {parent}, for which {draft.new.task!r} does not wait")
        entry = Entry(draft, Node(draft.new.id, draft.new.task), default, edges, draft.gaps, is_callback)
        self._entries.append(entry)
        self._new.append(entry)
        return entry

    def _nest(self, part: Flow[Any], after: Iterable[str], policies: Mapping[str | None, Policy]) -> None:
        if part._stored or part._parent is not None or part is self or part in self._above():
            raise InvalidFlow(f"flow {part.name!r} is enqueued or a part of a flow already; build another one")
        if part._home is not None:
            self._settle_in(part._home)
        part._parent = self
        self._parts.append(part)
        entries = [entry for flow in part._all() for entry in flow._entries if not entry.is_callback]
        inside = {entry.id for entry in entries}
        edges = {parent: policies.get(parent, policies[None]) for parent in after}
        for entry in entries:
            if inside.isdisjoint(entry.edges):
                entry.edges |= {parent: policy for parent, policy in edges.items() if parent not in entry.edges}

    def _settle_in(self, app: Mainspring) -> None:
        if self._home is not None and self._home is not app:
            raise InvalidFlow(f"flow {self.name!r} has jobs of {self._home}, so it cannot take one of {app}")
        if self._parent is not None and not self._stored:
            raise InvalidFlow(
                f"flow {self.name!r} is a part of {self._parent.name!r} already; add its jobs before that"
            )
        self._home = app

    def _above(self) -> Iterator[Flow[Any]]:
        flow = self._parent
        while flow is not None:
            yield flow
            flow = flow._parent

    def _all(self) -> Iterator[Flow[Any]]:
        """This flow and all its parts, theirs included."""
        waiting: list[Flow[Any]] = [self]
        while waiting:
            flow = waiting.pop()
            yield flow
            waiting += reversed(flow._parts)

    def _last(self) -> tuple[str, ...]:
        """The jobs that none of its other jobs waits for."""
        entries = [entry for flow in self._all() for entry in flow._entries if not entry.is_callback]
        waited_for = {parent for entry in entries for parent in entry.edges}
        return tuple(entry.node.id for entry in entries if entry.id not in waited_for)

    def _outcome(self) -> Pending:
        if self._ending is None:
            raise InvalidFlow(f"flow {self.name!r} has no result of its own; take those of its jobs")
        return self._ending

    # --- storing ---

    def _enqueue(self, *, tx: object | Keep = KEEP) -> Steps[Flow[R_co]]:
        """Store what was added, in one request: all of it or nothing; when this returns, it is durable. Gives the flow.

        With `tx`, a connection or session of your own, it is a part of the transaction that is open there: durable when
        that commits, and gone when it rolls back; it can be enqueued again then.

        Sent twice, it stores nothing twice. Raises `InvalidFlow` for a flow without jobs, one whose jobs wait for each
        other, or over 50,000 of them at once, and `UnknownParent` where a job is to wait for one that is not there;
        `UnusableTransaction`.
        """
        if self._parent is not None and not self._parent._stored:
            raise InvalidFlow(f"flow {self.name!r} is a part of {self._parent.name!r}; enqueue that")
        flows = list(self._all())
        entries = [(entry, flow.id) for flow in flows for entry in flow._new]
        if not entries:
            if not self._stored:
                raise InvalidFlow(f"flow {self.name!r} has no jobs; add some first")
            return self
        refuse_oddities(self.name, [entry for entry, _ in entries])
        new = [entry.new(flow) for entry, flow in entries]
        refuse_cycles(self.name, new, flows)
        used = [
            flow
            for flow in flows
            if (flow._in_doubt or not flow._stored) and any(each._entries for each in flow._all())
        ]
        detail = {"name": self.name, "jobs": len(new)}
        stored = insert(self._app, new, [flow._as_new() for flow in used], tx=tx)
        jobs = yield from audited("flows.enqueue", self.id, detail, stored, fresh, tx)
        for (entry, _), job in zip(entries, jobs, strict=True):
            entry.node._job = job
        in_doubt = tx is not KEEP
        for flow in flows if not in_doubt else ():
            flow._new = [entry for entry in flow._new if entry.node._job is None]
        for flow in used:
            flow._stored, flow._in_doubt = True, in_doubt
        return self

    enqueue, aenqueue = twins(_enqueue)

    def _taken(self, flow: str | None) -> tuple[NewJob, ...]:
        """What was added, to be stored by somebody else, in that flow or in none."""
        refuse_oddities(self.name, self._new)
        return tuple(entry.new(flow) for entry in self._new)

    def _as_new(self) -> NewFlow:
        parent = None if self._parent is None else self._parent.id
        return NewFlow(self.id, self.name, parent, tuple(self._callbacks))

    # --- once it is stored ---

    def _progress(self) -> Steps[FlowProgress]:
        """How many of its jobs have ended, of how many. Raises `FlowNotFound` if it is gone."""
        states: dict[State, int] = {}
        for (_, state), count in (yield from counted(Filter(flow=self._stored_id()))).items():
            states[state] = states.get(state, 0) + count
        if not states and not (yield from ask(FindRequest(Filter(flow=self.id), 1, flows=True))).flows:
            raise FlowNotFound(f"no flow has the id {self.id!r}; it may have been pruned")
        done = sum(count for state, count in states.items() if state in FINAL)
        return FlowProgress(done, sum(states.values()), states)

    progress, aprogress = twins(_progress)

    def _jobs(self) -> Steps[list[Job[Any]]]:
        """All its jobs, and those of its parts, in the order in which they were made."""
        records = yield from self._find(Filter(flow=self._stored_id()))
        return [Job(self._app, record) for record in sorted(records, key=lambda each: (each.created_at, each.id))]

    jobs, ajobs = twins(_jobs)

    def _cancel(self, reason: str = "") -> Steps[bool]:
        """Cancel all its jobs that have not ended, those of its parts and its callbacks too; what runs is asked to end.
        False: there was none."""
        where = Filter(flow=self._stored_id())
        return bool((yield from cancel(self._app, where, reason)))

    cancel, acancel = twins(_cancel)

    def _wait(self, timeout: Duration | None = None) -> Steps[FlowProgress]:
        """Wait until all its jobs have ended, well or badly, and say how. Raises `ResultTimeout` if they have not in
        `timeout`, and `FlowNotFound`."""
        seconds = math.inf if timeout is None else to_ms(timeout) / 1000
        deadline = time.monotonic() + seconds
        live = Filter(flow=self._stored_id(), states=tuple(sorted(LIVE)))
        page = yield from ask(FindRequest(live, WATCHED))
        yield Watching(tuple(f"job:{job.id}" for job in page.jobs) or (f"job:{self.id}",))
        pause = FIRST_PAUSE
        # Hints may come by the hundred: one job that has not ended is found at once, where counting would take time.
        while (page := (yield from ask(FindRequest(live, 1)))).jobs or page.cursor is not None:
            if time.monotonic() >= deadline:
                progress = yield from self._progress()
                raise _timeout(self.id, progress.done, progress.total, seconds)
            pause = yield from _pause(pause, deadline)
        return (yield from self._progress())

    wait, await_ = twins(_wait)

    def _result(self, timeout: Duration | None = None) -> Steps[R_co]:
        """Wait for its result: of a chain or chord that of its last job, of a group or a map the list of all, in order.

        Raises as `Job.result` does, for the first of these jobs that is seen to have ended badly, and `InvalidFlow` for
        a flow built otherwise, which has no one result.
        """
        ending = self._outcome()
        self._stored_id()
        nodes = {entry.id: entry.node for flow in self._all() for entry in flow._entries}
        jobs = [nodes[id].job for id in ending.jobs]
        if not ending.listed:
            return cast("R_co", (yield from jobs[0]._result(timeout)))
        values = yield from self._values(jobs, timeout)
        return cast("R_co", [each for value in values for each in value] if ending.joined else values)

    result, aresult = twins(_result)

    def _values(self, jobs: list[Job[Any]], timeout: Duration | None) -> Steps[list[Any]]:
        seconds = math.inf if timeout is None else to_ms(timeout) / 1000
        deadline = time.monotonic() + seconds
        if jobs:
            yield Watching(tuple(f"job:{job.id}" for job in jobs[-WATCHED:]))
        values: list[Any] = []
        pause = FIRST_PAUSE
        while len(values) < len(jobs):
            ids = [job.id for job in jobs[len(values) : len(values) + PAGE]]
            records = {record.id: record for record in (yield from self._find(Filter(ids=tuple(ids))))}
            for id in ids:
                if id not in records:
                    raise JobNotFound(f"no job has the id {id!r}; it may have been pruned or deleted")
            seen: list[Job[Any]] = [Job(self._app, records[id]) for id in ids]
            for job in seen:
                if job.state in FINAL and job.state is not State.COMPLETED:
                    job._value()  # raises, whatever still runs before it
            ended = list(takewhile(lambda job: job.state in FINAL, seen))
            values += [job._value() for job in ended]
            if not ended:
                if time.monotonic() >= deadline:
                    raise _timeout(self.id, len(values), len(jobs), seconds)
                pause = yield from _pause(pause, deadline)
        return values

    def _find(self, where: Filter) -> Steps[list[JobRecord]]:
        records: list[JobRecord] = []
        cursor: str | None = None
        while True:
            page = yield from ask(FindRequest(where, PAGE, cursor, with_parents=True))
            records += page.jobs
            if (cursor := page.cursor) is None:
                return records

    def _stored_id(self) -> str:
        if not self._stored:
            raise InvalidFlow(f"flow {self.name!r} is not enqueued yet; call enqueue() first")
        return self.id


def _pause(pause: float, deadline: float) -> Steps[float]:
    """Wait for a hint; gives how long to wait for the next one."""
    hinted = yield Wait(max(0.0, min(pause, deadline - time.monotonic())))
    return FIRST_PAUSE if hinted else min(2 * pause, LONGEST_PAUSE)


def _timeout(id: str, done: int, total: int, seconds: float) -> ResultTimeout:
    return ResultTimeout(id, f"under way ({done:,} of {total:,} jobs done)", seconds, kind="flow")
