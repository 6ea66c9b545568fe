"""What the pages read from the store, by way of the operators' door and the glance that all tabs share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, TypeVar

from mainspring.admin import FlowView, JobPage, PartitionView, QueueView, ScheduleView, WorkerView
from mainspring.admin.jobs import PAGE_LIMIT, Where
from mainspring.app import Mainspring
from mainspring.job import Job
from mainspring.model.states import State
from mainspring.model.stats import Point
from mainspring.web.pages.glance import Glance, glance_of
from mainspring.web.pages.rendering import Page
from mainspring.web.pages.statistics import History
from mainspring.web.pages.words import amount

__all__ = ["Counts", "Reads", "reads_of"]

T = TypeVar("T")

COUNTS_PATIENCE = 0.05
"""For so many seconds a page waits for numbers that it can do without."""
PARTITIONS_PATIENCE = 0.15
JOB_SECONDS = 1.0
"""Whoever looks at one job wants to see it move."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many jobs are in each state, over all queues."""

    of: dict[State, int]
    more: frozenset[State] = frozenset()
    """Of which there may be more than were counted."""

    @classmethod
    def over(cls, queues: Sequence[QueueView]) -> Counts:
        """Those of all these queues."""
        total: dict[State, int] = {}
        for queue in queues:
            for state, count in queue.counts.items():
                total[state] = total.get(state, 0) + count
        return cls(total, frozenset().union(*(queue.more for queue in queues)))

    def __getitem__(self, state: State) -> int:
        return self.of.get(state, 0)

    def told(self, state: State) -> str:
        """The number for people: `12 345`, or `10 000+`."""
        return f"{amount(self[state])}{'+' if state in self.more else ''}"

    @property
    def waiting(self) -> int:
        """Those that are to run some time."""
        return self[State.QUEUED] + self[State.SCHEDULED] + self[State.BLOCKED]


class Reads:
    """Reads of one site."""

    def __init__(self, app: Mainspring, glance: Glance) -> None:
        self._app = app
        self._glance = glance

    async def queues(self) -> list[QueueView]:
        """All queues with what is in them."""
        return await self._glance.at("queues", self._queues)

    async def queue(self, name: str) -> QueueView | None:
        """One queue. One that is not among those read a moment ago is looked for anew."""
        for key in ("queues", ("queues", name)):
            for queue in await self._glance.at(key, self._queues):
                if queue.name == name:
                    return queue
        return None

    async def counts(self) -> Counts | None:
        """How many jobs are in each state; None while that is still being counted."""
        queues = await self._glance.soon("queues", self._queues, COUNTS_PATIENCE)
        return None if queues is None else Counts.over(queues)

    async def _queues(self) -> list[QueueView]:
        """Counted as far as it is quick."""
        return await self._app.queues.alist(quick=True)

    async def workers(self) -> list[WorkerView]:
        """All workers."""
        return await self._glance.at("workers", self._app.workers.alist)

    async def schedules(self) -> list[ScheduleView]:
        """All schedules."""
        return await self._glance.at("schedules", self._app.schedules.alist)

    async def schedule(self, name: str) -> ScheduleView | None:
        """One schedule, looked for as a queue is."""
        for key in ("schedules", ("schedules", name)):
            for schedule in await self._glance.at(key, self._app.schedules.alist):
                if schedule.name == name:
                    return schedule
        return None

    async def flows(self, limit: int) -> list[FlowView]:
        """The newest flows."""
        return await self._glance.at(("flows", limit), lambda: self._app.flows.alist(limit))

    async def flow(self, id: str) -> FlowView:
        """One flow, with its newest jobs. Raises `FlowNotFound`."""
        return await self._glance.at(("flow", id), lambda: self._app.flows.agraph(id, limit=PAGE_LIMIT))

    async def job(self, id: str) -> Job[Any]:
        """One job, with its log. Raises `JobNotFound`."""
        return await self._glance.at(("job", id), lambda: self._app.jobs.aget(id), JOB_SECONDS)

    async def why(self, job: Job[Any]) -> str:
        """Why it is not running."""
        return await self._glance.at(("why", job.id, job.state), job.awhy, JOB_SECONDS)

    async def history(self, span: str, zone: tzinfo, queue: str | None = None) -> History:
        """What happened in that span."""
        read = self._app.stats.aseries
        return History.of_series(await self._glance.at(("series", span, queue), lambda: read(span, queue), 5.0), zone)

    async def totals(self, span: str) -> Mapping[str, Point]:
        """What each task did in that span."""
        return await self._glance.at(("totals", span), lambda: self._app.stats.atotals(span, "task"), 5.0)

    async def partitions(self, queue: str) -> list[PartitionView] | None:
        """The partitions of a queue that have settings of their own; None while they are still being counted."""
        read = self._app.queues.apartitions
        return await self._glance.soon(("partitions", queue), lambda: read(queue), PARTITIONS_PATIENCE)

    async def once(self, key: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """Whatever else is to be read once for all tabs."""
        return await self._glance.at(key, read)

    async def jobs(self, where: Where, limit: int, cursor: str | None = None) -> JobPage:
        """A page of jobs."""
        key = ("jobs", tuple(sorted((name, _fixed(value)) for name, value in where.items())), limit, cursor)
        return await self._glance.at(key, lambda: self._app.jobs.afind(limit=limit, cursor=cursor, **where))


def _fixed(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else repr(value)


def reads_of(page: Page) -> Reads:
    """Those of the site that this page belongs to."""
    return Reads(page.site.app, glance_of(page.request))
