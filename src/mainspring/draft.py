"""Jobs that are not enqueued yet, and how a set of them is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mainspring.errors import DuplicateJob, InvalidFlow, QueueFull
from mainspring.job import Job
from mainspring.model.holes import ONLY_IN_FLOWS, Gap
from mainspring.model.job import JobRecord, NewJob
from mainspring.model.limits import KEEP, Keep
from mainspring.model.options import JobOptions
from mainspring.model.tracing import Tracing
from mainspring.store.base import Filter, FindRequest, Inserted, InsertRequest, NewFlow
from mainspring.twin import Steps, ask

if TYPE_CHECKING:
    from mainspring.app import Mainspring

__all__ = ["JobDraft", "followed", "handles", "insert"]

R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class JobDraft(Generic[R_co]):
    """A job that has been validated and is not yet enqueued: data, for `app.enqueue_many` and for flows.

    Made by `task.job(...)`.
    """

    new: NewJob
    app: Mainspring = field(repr=False, compare=False)
    options: JobOptions = field(default_factory=JobOptions)
    """What `new.options` says."""
    gaps: tuple[Gap, ...] = ()
    """Where results of other jobs go, among its arguments."""

    def alone(self) -> NewJob:
        """As it is stored outside of a flow. Raises `InvalidFlow` if it takes the result of another job."""
        if self.gaps:
            raise InvalidFlow(
                f"task {self.new.task!r}: argument {self.gaps[0].path[0]!r} is {self.gaps[0].of!r}; {ONLY_IN_FLOWS}"
            )
        return self.new


def insert(
    app: Mainspring, new: Sequence[NewJob], flows: Sequence[NewFlow] = (), *, tx: object | Keep = KEEP
) -> Steps[list[Job[Any]]]:
    """Store jobs in one request, all or none, and give each one's handle: for those that were not stored because
    another is there, that other one, as it is now. Where `tx` is given, all that happens on that connection."""
    return followed(app, new, partial(_insert, app, flows, tx))


def followed(app: Mainspring, new: Sequence[NewJob], store: Callable[[Sequence[NewJob]], Steps[T]]) -> Steps[T]:
    """What stores these jobs, as who follows the app's jobs wants them, if there is anybody."""
    return store(new) if app.tracing is None else _followed(app.tracing, new, store)


def _followed(tracing: Tracing, new: Sequence[NewJob], store: Callable[[Sequence[NewJob]], Steps[T]]) -> Steps[T]:
    with tracing.enqueuing(new) as jobs:
        return (yield from store(jobs))


def _insert(
    app: Mainspring, flows: Sequence[NewFlow], tx: object | Keep, new: Sequence[NewJob]
) -> Steps[list[Job[Any]]]:
    flows, seers = app.webhooks.telling.with_witnesses(flows)
    jobs = (*new, *seers, *app.webhooks.telling.witnesses(new, flows))
    replies = yield from ask(InsertRequest(jobs, all_or_none=len(new) > 1, flows=tuple(flows)), tx)
    return (yield from handles(app, new, replies[: len(new)], tx))


def fresh(jobs: Sequence[Job[Any]]) -> int:
    """How many of them were stored, and not there already."""
    return sum(not job.existed for job in jobs)


def handles(
    app: Mainspring, new: Sequence[NewJob], replies: Sequence[Inserted], tx: object | Keep = KEEP
) -> Steps[list[Job[Any]]]:
    """The handles of jobs that were handed in, by what became of them. See `insert`."""
    for reply in replies:
        if reply.rejected is not None:
            raise DuplicateJob(reply.id, reply.rejected)
        if reply.full is not None:
            raise QueueFull(reply.full.queue, reply.full.partition, reply.full.limit)
    ids = tuple({reply.id for reply in replies if reply.existed})
    there: dict[str, JobRecord] = {}
    cursor: str | None = None
    while ids:
        page = yield from ask(FindRequest(Filter(ids=ids), 1000, cursor), tx)
        there |= {record.id: record for record in page.jobs}
        if (cursor := page.cursor) is None:
            break
    jobs: list[Job[Any]] = []
    for job, reply in zip(new, replies, strict=True):
        seen = (there.get(reply.id) or replace(job, id=reply.id)) if reply.existed else job
        jobs.append(Job(app, seen, existed=reply.existed))
    return jobs
