"""The reference store's settings: what code and operators say about queues, partitions, tasks, schedules, workers."""

from __future__ import annotations

from dataclasses import replace

from mainspring.model.audit import AuditEntry
from mainspring.model.limits import KEEP, Keep, Limits, rates_to_json
from mainspring.store.base import (
    Change,
    CommandWorker,
    ConfigureRequest,
    DefineQueue,
    DefineTask,
    LimitPartition,
    LimitQueue,
    LimitTask,
    Operation,
    PartitionRecord,
    PauseQueue,
    PauseSchedule,
    PutSchedule,
    QueueRecord,
    RemoveSchedule,
    ScheduleRecord,
    Settings,
    TaskRecord,
    Tick,
)

from .reference_contents import GateName, Words
from .reference_edges import Edges
from .reference_gates import sequence_key
from .reference_rules import clock


class Configured(Edges):
    """The part of the store that is told how things are to be."""

    def configure(self, request: ConfigureRequest) -> Operation[Settings]:
        yield from ()
        now = clock(request.now)
        changed = sum(self._configure(change, now) for change in request.changes)
        if request.audit is not None:
            self._write_audit(request.audit, changed if request.changes else request.audit.count, now)
        ticking = sorted((s for s in self.schedules.values() if s.paused_at is None), key=lambda s: (s.next_at, s.name))
        due = [schedule for schedule in ticking if schedule.next_at <= now][: request.limit]
        read = request.read
        return Settings(
            now=now,
            changed=changed,
            queues=tuple(self._queue_record(name, now) for name in self._named("queue")) if "queues" in read else (),
            schedules=tuple(self.schedules.values() if "schedules" in read else due if "due" in read else ()),
            workers=tuple(self.workers.values()) if "workers" in read else (),
            next_tick=ticking[0].next_at if ticking else None,
            tasks=tuple(self._task_record(name, now) for name in self._named("task")) if "tasks" in read else (),
            partitions=self._partition_records(request, now) if "partitions" in read else (),
            audit=self._audit_page(request) if "audit" in read else (),
        )

    def _write_audit(self, entry: AuditEntry, count: int | None, now: int) -> None:
        there = self.audit.setdefault(entry.id, replace(entry, count=count, at=now))
        counts = [each for each in (there.count, count) if each is not None]
        self.audit[entry.id] = replace(there, count=max(counts, default=None))

    def _audit_page(self, request: ConfigureRequest) -> tuple[AuditEntry, ...]:
        places = sorted(((entry.at or 0, entry.id) for entry in self.audit.values()), reverse=True)
        below = [place for place in places if request.before is None or place < request.before]
        return tuple(self.audit[id] for _, id in below[: request.limit])

    def _named(self, kind: str) -> list[GateName]:
        return sorted(name for name in self.gates if name[0] == kind)

    def _queue_record(self, name: GateName, now: int) -> QueueRecord:
        gate, limits = self._gate(name), self._limits(name)
        return QueueRecord(
            name=name[1],
            paused_at=gate.paused_at,
            concurrency=limits.concurrency,
            rates=limits.rates,
            max_queued=limits.max_queued,
            each=Limits.from_json(gate.each_defined, gate.each_limited),
            sequence=gate.sequence,
            opens_at=self._opens_at(name, now),
        )

    def _task_record(self, name: GateName, now: int) -> TaskRecord:
        limits = self._limits(name)
        return TaskRecord(name[1], limits.concurrency, limits.rates, self._opens_at(name, now))

    def _partition_records(self, request: ConfigureRequest, now: int) -> tuple[PartitionRecord, ...]:
        said = [
            name
            for name in self._named("partition")
            if (gate := self._gate(name)).defined or gate.limited or gate.paused_at is not None
        ][: request.limit]
        if request.partition is not None and ("partition", *request.partition) not in said:
            said.append(("partition", *request.partition))
        return tuple(
            PartitionRecord(
                queue=name[1],
                name=name[2],
                paused_at=self._gate(name).paused_at,
                limits=self._limits(name),
                opens_at=self._opens_at(name, now),
                holder=self._holder(sequence_key(name[1], name[2]), now),
            )
            for name in sorted(said)
        )

    def _configure(self, change: Change, now: int) -> bool:
        match change:
            case DefineQueue(name):
                self._define(change)
            case DefineTask(name):
                self._say(("task", name), defined=Limits(change.concurrency, change.rates).to_json())
            case LimitQueue(name):
                self._limit(("queue", name), change)
            case LimitPartition(queue, str(partition)):
                self._limit(("partition", queue, partition), change)
            case LimitPartition(queue):
                gate = self._gate(("queue", queue))
                self._say(("queue", queue), each_limited={**gate.each_limited, **words(change)})
            case LimitTask(name):
                self._limit(("task", name), change)
            case PauseQueue(name, paused, partition):
                gate_name = ("queue", name) if partition is None else ("partition", name, partition)
                self._say(gate_name, paused_at=paused_since(paused, self._gate(gate_name).paused_at, now))
            case PutSchedule(name):
                self._put(change)
            case PauseSchedule(name) if name in self.schedules:
                self._pause(change, self.schedules[name], now)
            case RemoveSchedule(name) if name in self.schedules:
                del self.schedules[name]
            case CommandWorker(id, command) if id in self.workers:
                self.workers[id] = replace(self.workers[id], command=command)
            case _:
                return False
        return True

    def _say(self, name: GateName, **said: object) -> None:
        self.gates[name] = replace(self._gate(name), **said)  # type: ignore[arg-type]

    def _define(self, queue: DefineQueue) -> None:
        own = Limits(queue.concurrency, queue.rates, queue.max_queued).to_json()
        self._say(("queue", queue.name), defined=own, each_defined=queue.each.to_json(), sequence=queue.sequence)
        for name in self._named("partition"):
            if name[1] == queue.name:
                self._say(name, defined={})
        for partition, limits in queue.partitions:
            self._say(("partition", queue.name, partition), defined=limits.to_json())

    def _limit(self, name: GateName, change: LimitQueue | LimitPartition | LimitTask) -> None:
        self._say(name, limited={**self._gate(name).limited, **words(change)})

    def _pause(self, pause: PauseSchedule, schedule: ScheduleRecord, now: int) -> None:
        resumed = schedule.paused_at is not None and not pause.paused
        self.schedules[pause.name] = replace(
            schedule,
            paused_at=paused_since(pause.paused, schedule.paused_at, now),
            next_at=pause.next_at if resumed and pause.next_at is not None else schedule.next_at,
        )

    def _put(self, put: PutSchedule) -> None:
        known = self.schedules.get(put.name)
        self.schedules[put.name] = ScheduleRecord(
            name=put.name,
            task=put.task,
            queue=put.queue,
            args=put.args,
            priority=put.priority,
            options=put.options,
            timing=put.timing,
            next_at=known.next_at if known and known.timing == put.timing else put.next_at,
            last_at=known.last_at if known else None,
            paused_at=known.paused_at if known else None,
            keys=put.keys,
            partition=put.partition,
            cost=put.cost,
        )

    def _win(self, tick: Tick) -> bool:
        schedule = self.schedules.get(tick.schedule)
        if schedule is None or schedule.paused_at is not None or schedule.next_at != tick.expected_at:
            return False
        self.schedules[tick.schedule] = replace(schedule, next_at=tick.next_at, last_at=tick.expected_at)
        return True


def paused_since(paused: bool, since: int | None, now: int) -> int | None:
    """A pause counts from the first time that it was asked for."""
    return (since if since is not None else now) if paused else None


def words(change: LimitQueue | LimitPartition | LimitTask) -> Words:
    """What an operator says now, where it is not to keep what was said before."""
    said: dict[str, object] = {}
    for setting in ("concurrency", "rates", "max_queued", "weight"):
        value = getattr(change, setting, KEEP)
        if not isinstance(value, Keep):
            said[setting] = rates_to_json(value) if setting == "rates" else value
    return said
