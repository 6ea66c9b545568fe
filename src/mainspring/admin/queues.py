"""`app.queues`: what is in each queue, and its settings; those of its partitions, and of tasks, too."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mainspring.admin.door import Door
from mainspring.admin.jobs import EACH_TALLIED
from mainspring.clock import moment
from mainspring.counting import counted
from mainspring.errors import InvalidOption
from mainspring.model.limits import (
    KEEP,
    Keep,
    Limits,
    Rate,
    Rates,
    check_concurrency,
    check_max_queued,
    check_rates,
    check_weight,
)
from mainspring.model.options import check_name
from mainspring.model.partitions import partition_name
from mainspring.model.states import State
from mainspring.model.text import quote
from mainspring.store.base import (
    ConfigureRequest,
    CountRequest,
    Filter,
    LimitPartition,
    LimitQueue,
    LimitTask,
    PartitionRecord,
    PauseQueue,
    QueueRecord,
    Sequence,
    Tally,
)
from mainspring.twin import Steps, ask, twins

__all__ = ["PartitionView", "QueueView", "Queues", "TaskView", "check_limits"]

PARTITIONS_SHOWN = 1000
"""How many partitions `partitions` gives at most."""


@dataclass(frozen=True, slots=True)
class QueueView:
    """A queue: its settings, as they are in force, and what is in it."""

    name: str
    paused_at: datetime | None
    concurrency: int | None
    """How many of its jobs may run at once; None: any number."""
    rates: tuple[Rate, ...]
    """How many may start in a time; all of them hold. (): any number."""
    max_queued: int | None
    """How many may wait; None: any number."""
    per_partition: Limits
    """What holds for every partition that has no word of its own."""
    sequence: Sequence | None
    """One job at a time in each partition; what a dead one does to those behind it. None: no sequence."""
    opens_at: datetime | None
    """When time lets the next job through; None: at once."""
    counts: Mapping[State, int]
    """How many jobs are in each state; states with none are left out."""
    oldest_waiting: float | None
    """For how many seconds the longest-waiting queued job has been due."""
    more: frozenset[State] = frozenset()
    """The states of which there may be more jobs than were counted: only in a quick list."""

    @property
    def paused(self) -> bool:
        """Whether no job is taken from it."""
        return self.paused_at is not None


@dataclass(frozen=True, slots=True)
class PartitionView:
    """A partition of a queue: its settings, as they are in force, and what is in it."""

    queue: str
    name: str
    paused_at: datetime | None
    limits: Limits
    opens_at: datetime | None
    """When time lets the next job through; None: at once."""
    holder: str | None
    """In a sequence: the job that has started and not ended for good."""
    counts: Mapping[State, int]
    """How many jobs are in each state; states with none are left out."""

    @property
    def paused(self) -> bool:
        """Whether no job is taken from it."""
        return self.paused_at is not None


@dataclass(frozen=True, slots=True)
class TaskView:
    """The limits of a task, as they are in force."""

    name: str
    concurrency: int | None
    rates: tuple[Rate, ...]
    opens_at: datetime | None
    """When time lets the next job through; None: at once."""


class Queues(Door):
    """`app.queues`.

    What is set here wins over what the code says (`app.queue`, `app.task`), setting by setting, and is obeyed by all
    workers at once.
    """

    def _list(self, *, quick: bool = False) -> Steps[builtins.list[QueueView]]:
        """All queues that have jobs or settings, by name.

        All their jobs are counted, which takes its time where there are millions. A `quick` list counts no state of a
        queue further than to some ten thousand, and says of which states there may be `more`.
        """
        settings = yield from ask(ConfigureRequest(read=frozenset({"queues"})))
        reply = yield from ask(CountRequest(Filter(), each=EACH_TALLIED if quick else None))
        known = {record.name: record for record in settings.queues}
        tallies: dict[str, builtins.list[Tally]] = {}
        for tally in reply.tallies:
            tallies.setdefault(tally.queue, []).append(tally)
        return [
            _queue_view(known.get(name) or QueueRecord(name), tallies.get(name, ()), reply.now, reply.cut)
            for name in sorted(known.keys() | tallies.keys())
        ]

    list, alist = twins(_list)

    def _partitions(self, name: str) -> Steps[builtins.list[PartitionView]]:
        """The partitions of a queue that have settings of their own (limits, a pause), by name, 1,000 at most."""
        check_name("queue", name)
        settings = yield from ask(ConfigureRequest(read=frozenset({"partitions"}), limit=10 * PARTITIONS_SHOWN))
        records = [record for record in settings.partitions if record.queue == name]
        return (yield from _partition_views(records[:PARTITIONS_SHOWN]))

    partitions, apartitions = twins(_partitions)

    def _partition(self, name: str, partition: str) -> Steps[PartitionView]:
        """One partition of a queue, whatever is set for it."""
        at = check_name("queue", name), partition_name(partition)
        settings = yield from ask(ConfigureRequest(read=frozenset({"partitions"}), limit=1, partition=at))
        records = [record for record in settings.partitions if (record.queue, record.name) == at]
        (view,) = yield from _partition_views(records[:1] or [PartitionRecord(*at)])
        return view

    partition, apartition = twins(_partition)

    def _task_limits(self) -> Steps[builtins.list[TaskView]]:
        """The tasks that have, or had, limits of their own, by name."""
        settings = yield from ask(ConfigureRequest(read=frozenset({"tasks"})))
        return [
            TaskView(record.name, record.concurrency, record.rates, _moment(record.opens_at))
            for record in sorted(settings.tasks, key=lambda record: record.name)
        ]

    task_limits, atask_limits = twins(_task_limits)

    def _pause(self, name: str, partition: str | None = None) -> Steps[None]:
        """Let no job be taken from the queue, or from one partition of it, by no worker. What runs goes on; enqueuing
        goes on."""
        yield from self._change(_pause(name, True, partition), "queues.pause", _place(name, partition))

    pause, apause = twins(_pause)

    def _resume(self, name: str, partition: str | None = None) -> Steps[None]:
        """Let jobs be taken from the queue, or from that partition of it, again."""
        yield from self._change(_pause(name, False, partition), "queues.resume", _place(name, partition))

    resume, aresume = twins(_resume)

    def _set_limits(
        self,
        name: str,
        *,
        concurrency: int | Keep | None = KEEP,
        rate: Rates | Keep | None = KEEP,
        max_queued: int | Keep | None = KEEP,
        partition: str | None = None,
        per_partition: bool = False,
        weight: float | Keep = KEEP,
    ) -> Steps[None]:
        """Limit a queue, one `partition` of it, or, with `per_partition`, each that has no word of its own.

        `concurrency` is how many jobs may run at once, `rate` how many may start in a time ("50/1m", a `Rate`, or
        several), `max_queued` how many may wait; None: no limit. `weight` is a partition's share beside the others.
        What is not given stays as it is. This wins over what the code says (`app.queue`), until it is set again.

            app.queues.set_limits("email", rate="50/1m", concurrency=5)
            app.queues.set_limits("api", partition="acme", concurrency=20, weight=2)

        Raises `InvalidOption`, `InvalidDuration`.
        """
        check_name("queue", name)
        if all(value is KEEP for value in (concurrency, rate, max_queued, weight)):
            raise InvalidOption("say which limit: give concurrency, rate, max_queued or weight; None: no limit")
        queue = LimitQueue(
            name,
            KEEP if concurrency is KEEP else check_concurrency(concurrency),
            KEEP if rate is KEEP else check_rates(rate),
            KEEP if max_queued is KEEP else check_max_queued(max_queued),
        )
        if partition is not None and per_partition:
            raise InvalidOption(f"partition={quote(partition)} and per_partition are given; give one of them")
        change: LimitQueue | LimitPartition = queue
        if partition is not None or per_partition:
            change = LimitPartition(
                name,
                None if partition is None else partition_name(partition),
                queue.concurrency,
                queue.rates,
                queue.max_queued,
                KEEP if weight is KEEP else check_weight(weight),
            )
        elif weight is not KEEP:
            raise InvalidOption(f"weight={quote(weight)} is a partition's; give partition= or per_partition=True")
        target = f"{name}: each partition" if per_partition else _place(name, partition)
        yield from self._change(change, "queues.set_limits", target, _said(change))

    set_limits, aset_limits = twins(_set_limits)

    def _set_task_limits(
        self, task: str, *, concurrency: int | Keep | None = KEEP, rate: Rates | Keep | None = KEEP
    ) -> Steps[None]:
        """Limit how many jobs of a task run at once, and how many start in a time, over all queues; None: no limit.

        What is not given stays as it is. This wins over what the code says (`app.task`), until it is set again. Raises
        `InvalidOption`, `InvalidDuration`.
        """
        check_name("task", task)
        if concurrency is KEEP and rate is KEEP:
            raise InvalidOption("say which limit: give concurrency or rate; None: no limit")
        change = LimitTask(
            task,
            KEEP if concurrency is KEEP else check_concurrency(concurrency),
            KEEP if rate is KEEP else check_rates(rate),
        )
        yield from self._change(change, "queues.set_task_limits", task, _said(change))

    set_task_limits, aset_task_limits = twins(_set_task_limits)


def check_limits(name: str, value: Limits) -> Limits:
    """`value`, if it can be the limits of a partition; else raises `InvalidOption`."""
    if not isinstance(value, Limits):
        raise InvalidOption(f"{name}={quote(value)} is not a Limits, such as Limits(concurrency=5)")
    check_concurrency(value.concurrency)
    return value


def _place(name: str, partition: str | None) -> str:
    """A queue or a partition of it, in words."""
    return name if partition is None else f"{name}: partition {partition}"


def _said(change: LimitQueue | LimitPartition | LimitTask) -> dict[str, Any]:
    """The limits that were given, for the audit log."""
    said: dict[str, Any] = {}
    for setting in ("concurrency", "rates", "max_queued", "weight"):
        value = getattr(change, setting, KEEP)
        if value is not KEEP:
            said[setting] = "none" if value in (None, ()) else list(map(str, value)) if setting == "rates" else value
    return said


def _pause(name: str, paused: bool, partition: str | None) -> PauseQueue:
    return PauseQueue(check_name("queue", name), paused, None if partition is None else partition_name(partition))


def _queue_view(record: QueueRecord, tallies: Iterable[Tally], now: int, cut: frozenset[State]) -> QueueView:
    oldest = min((tally.oldest_at for tally in tallies if tally.oldest_at is not None), default=None)
    return QueueView(
        name=record.name,
        paused_at=_moment(record.paused_at),
        concurrency=record.concurrency,
        rates=record.rates,
        max_queued=record.max_queued,
        per_partition=record.each,
        sequence=record.sequence,
        opens_at=_moment(record.opens_at),
        counts={tally.state: tally.count for tally in tallies},
        oldest_waiting=None if oldest is None else max(0, now - oldest) / 1000,
        more=cut.union(tally.state for tally in tallies if tally.more),
    )


def _partition_views(records: builtins.list[PartitionRecord]) -> Steps[builtins.list[PartitionView]]:
    views: builtins.list[PartitionView] = []
    for record in records:
        counts = yield from counted(Filter(queue=record.queue, partition=record.name))
        view = PartitionView(
            queue=record.queue,
            name=record.name,
            paused_at=_moment(record.paused_at),
            limits=record.limits,
            opens_at=_moment(record.opens_at),
            holder=record.holder,
            counts={state: count for (_, state), count in counts.items()},
        )
        views.append(view)
    return views


def _moment(ms: int | None) -> datetime | None:
    return None if ms is None else moment(ms)
