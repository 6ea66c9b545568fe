"""What holds one job back, gathered from the store as `model.why` takes it: with few requests, none of which changes
anything, and only as many as the job's state calls for."""

from __future__ import annotations

from collections.abc import Mapping

from mainspring.counting import counted
from mainspring.model.job import JobRecord
from mainspring.model.states import FINAL, State
from mainspring.model.why import NAMED, Ahead, Gate, Situation, WorkerSeen
from mainspring.store.base import (
    ConfigureRequest,
    CountRequest,
    Filter,
    FindRequest,
    PartitionRecord,
    QueueRecord,
    Readable,
    Settings,
    TaskRecord,
    WorkerRecord,
)
from mainspring.twin import Steps, ask

__all__ = ["find_out"]

AHEAD_TOLD = 10_000
"""How far the jobs ahead are counted, where that takes time."""

_RUNNING = (State.RUNNING,)
_SETTINGS: frozenset[Readable] = frozenset({"queues", "partitions", "tasks", "workers"})


def find_out(id: str) -> Steps[Situation | None]:
    """The situation of the job with that id; None: there is no such job."""
    found = yield from ask(FindRequest(Filter(ids=(id,)), 1, with_parents=True))
    if not found.jobs:
        return None
    job = found.jobs[0]
    # Of the partitions only its own is wanted.
    settings = yield from ask(ConfigureRequest(read=_SETTINGS, limit=1, partition=(job.queue, job.partition)))
    workers = tuple(_worker(worker, settings.now) for worker in settings.workers)
    if job.state in FINAL or job.state is State.RUNNING:
        return Situation(job, settings.now, workers=workers)
    queue = next((each for each in settings.queues if each.name == job.queue), QueueRecord(job.queue))
    partition = _partition(settings, job)
    holder = partition.holder if queue.sequence else None
    running = yield from _running()
    return Situation(
        job,
        settings.now,
        queue=Gate(queue.paused_at, queue.concurrency, running.get(job.queue, 0), queue.rates, queue.opens_at),
        partition=(yield from _gate_of_partition(partition)),
        task=(yield from _gate_of_task(next((each for each in settings.tasks if each.name == job.task), None))),
        holder=holder,
        others=(yield from _others(job, holder)),
        workers=workers,
        running=running,
        ahead=(yield from _ahead(job)),
    )


def _partition(settings: Settings, job: JobRecord) -> PartitionRecord:
    own = (each for each in settings.partitions if (each.queue, each.name) == (job.queue, job.partition))
    return next(own, PartitionRecord(job.queue, job.partition))


def _gate_of_partition(partition: PartitionRecord) -> Steps[Gate]:
    limits = partition.limits
    running = 0
    if limits.concurrency is not None:
        running = yield from _count(Filter(queue=partition.queue, partition=partition.name, states=_RUNNING))
    return Gate(partition.paused_at, limits.concurrency, running, limits.rates, partition.opens_at)


def _gate_of_task(task: TaskRecord | None) -> Steps[Gate]:
    if task is None:
        return Gate()
    running = 0
    if task.concurrency is not None:
        running = yield from _count(Filter(task=task.name, states=_RUNNING))
    return Gate(None, task.concurrency, running, task.rates, task.opens_at)


def _others(job: JobRecord, holder: str | None) -> Steps[tuple[JobRecord, ...]]:
    parents = [parent.id for parent in job.parents if parent.state is None][:NAMED]
    ids = tuple(dict.fromkeys([*parents, *([holder] if holder else [])]))
    if not ids:
        return ()
    return (yield from ask(FindRequest(Filter(ids=ids), len(ids)))).jobs


def _running() -> Steps[Mapping[str, int]]:
    """How many jobs run, by queue."""
    return {queue: count for (queue, _), count in (yield from counted(Filter(states=_RUNNING))).items()}


def _ahead(job: JobRecord) -> Steps[Ahead]:
    """The queued jobs of its partition that are served before it. Other partitions have their turns meanwhile."""
    if job.state is not State.QUEUED:
        return Ahead()
    reply = yield from ask(CountRequest(Filter(), ahead_of=job.id, each=AHEAD_TOLD))
    return Ahead(sum(tally.count for tally in reply.tallies), any(tally.more for tally in reply.tallies))


def _count(filter: Filter) -> Steps[int]:
    return (yield from counted(filter)).total()


def _worker(worker: WorkerRecord, now: int) -> WorkerSeen:
    return WorkerSeen(
        id=worker.id,
        name=worker.name,
        queues=worker.queues,
        tasks=worker.tasks,
        concurrency=worker.concurrency,
        running=worker.running,
        quiet=worker.quiet,
        alive=worker.expires_at > now,
        beat_at=worker.beat_at,
    )
