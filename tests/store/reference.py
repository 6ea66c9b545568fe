"""The reference store: every operation in plain Python over dicts, slow and obvious. It is the oracle of the tests.

All jobs, live and final, lie in one dict; a job changes by being replaced. Operations yield nothing: there is no
driver to ask, so they are generators in name only, and the drivers run them to their end under one lock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf

from mainspring.errors import DuplicateJob
from mainspring.model.job import Claim, Conflict, JobRecord, Key, LogLine, NewJob, Note, Until
from mainspring.model.settlement import Settlement
from mainspring.model.states import FINAL, State
from mainspring.store.base import (
    LOG_LINES_KEPT,
    AlterReply,
    AlterRequest,
    BeatReply,
    BeatRequest,
    Change,
    ClaimReply,
    ClaimRequest,
    CommandWorker,
    ConfigureRequest,
    CountReply,
    CountRequest,
    DefineQueue,
    Filter,
    FindRequest,
    Inserted,
    InsertRequest,
    LimitQueue,
    NoteRequest,
    Operation,
    Page,
    PauseQueue,
    PauseSchedule,
    Presence,
    PruneRequest,
    PutSchedule,
    QueueRecord,
    ReapRequest,
    RemoveSchedule,
    ScheduleRecord,
    SchemaStatus,
    Settings,
    SettleRequest,
    Tally,
    Tick,
    WorkerRecord,
)

from .reference_drivers import AsyncReferenceDriver, Bell, ReferenceDriver
from .reference_rules import WAITING, altered, as_claim, clock, created, due_state, fits, place, settled


@dataclass(slots=True)
class Queue:
    """A queue's settings, code's and operator's word kept apart."""

    paused_at: int | None = None
    defined: int | None = None
    limit: int | None = None
    limited: bool = False
    """An operator has spoken, if only to say that there is no limit."""

    @property
    def concurrency(self) -> int | None:
        return self.limit if self.limited else self.defined


@dataclass(frozen=True, slots=True)
class Hold:
    """A key in the hands of a job."""

    job: str
    until: Until
    expires_at: int | None


class ReferenceStore:
    """A `Store` in dicts."""

    url = "reference://"

    def __init__(self) -> None:
        self.jobs: dict[str, JobRecord] = {}
        self.logs: defaultdict[str, list[LogLine]] = defaultdict(list)
        self.workers: dict[str, WorkerRecord] = {}
        self.queues: dict[str, Queue] = {}
        self.schedules: dict[str, ScheduleRecord] = {}
        self.keys: dict[str, Hold] = {}
        self.bell = Bell()

    def driver(self) -> ReferenceDriver:
        return ReferenceDriver(self, self.bell)

    def async_driver(self) -> AsyncReferenceDriver:
        return AsyncReferenceDriver(self, self.bell)

    def schema(self) -> SchemaStatus:
        return SchemaStatus(found=1, wanted=1)

    def migrate(self) -> SchemaStatus:
        return self.schema()

    # --- insert ------------------------------------------------------------------------------------------------------

    def insert(self, request: InsertRequest) -> Operation[tuple[Inserted, ...]]:
        yield from ()
        now = clock(request.now)
        before = dict(self.jobs), dict(self.keys), dict(self.schedules)
        inserted = [self._insert(job, now) for job in request.jobs]
        for tick in request.ticks:
            if self._win(tick):
                inserted += [self._insert(job, now) for job in tick.jobs]
        rejected = [each for each in inserted if each.rejected is not None]
        if request.all_or_none and rejected:
            self.jobs, self.keys, self.schedules = before
            raise DuplicateJob(rejected[0].id, str(rejected[0].rejected))
        return tuple(inserted)

    def _insert(self, new: NewJob, now: int) -> Inserted:
        if new.id in self.jobs:
            return Inserted(new.id, existed=True)
        taken: dict[str, Hold] = {}
        for key in new.keys:
            if not taken.keys().isdisjoint(key.held_as()):
                continue  # named twice
            free = [name for name in key.held_as() if self._holder(name, now) is None]
            if not free:
                return self._refuse(new, key, now)
            expires_at = None if key.expires_ms is None else now + key.expires_ms
            taken[free[0]] = Hold(new.id, key.until, expires_at)
        self.keys |= taken
        self.jobs[new.id] = created(new, now)
        return Inserted(new.id, existed=False)

    def _holder(self, name: str, now: int) -> str | None:
        hold = self.keys.get(name)
        if hold is None or (hold.expires_at is not None and hold.expires_at <= now):
            return None
        return hold.job

    def _refuse(self, new: NewJob, key: Key, now: int) -> Inserted:
        held = [self.keys[name] for name in reversed(key.held_as()) if self._holder(name, now) is not None]
        holder = max(held, key=lambda hold: inf if hold.expires_at is None else hold.expires_at).job
        if key.on_conflict is Conflict.REJECT:
            return Inserted(holder, existed=True, rejected=key.name)
        job = self.jobs.get(holder)
        if key.on_conflict is Conflict.REPLACE and job is not None and job.state in WAITING:
            run_at = now + new.delay_ms if new.run_at is None else new.run_at
            if key.max_delay_ms is not None:
                run_at = min(run_at, job.created_at + key.max_delay_ms)
            state = job.state if job.state is State.BLOCKED else due_state(run_at, now)
            self.jobs[holder] = replace(
                job, args=new.args, priority=new.priority, options=new.options, run_at=run_at, state=state
            )
        return Inserted(holder, existed=True)

    def _give_back_keys(self, job: str, *until: Until) -> None:
        self.keys = {name: hold for name, hold in self.keys.items() if hold.job != job or hold.until not in until}

    def _win(self, tick: Tick) -> bool:
        schedule = self.schedules.get(tick.schedule)
        if schedule is None or schedule.paused_at is not None or schedule.next_at != tick.expected_at:
            return False
        self.schedules[tick.schedule] = replace(schedule, next_at=tick.next_at, last_at=tick.expected_at)
        return True

    # --- claim, reap -------------------------------------------------------------------------------------------------

    def claim(self, request: ClaimRequest) -> Operation[ClaimReply]:
        yield from ()
        now = clock(request.now)
        if not self._alive(request.worker, now):
            return ClaimReply(claims=(), now=now, next_due=None, alive=False)
        named = {room.queue for room in request.rooms}
        for job in self._select(lambda job: job.queue in named and job.state is State.SCHEDULED and job.run_at <= now):
            self.jobs[job.id] = replace(job, state=State.QUEUED)
        claims: list[Claim] = []
        for room in request.rooms:
            queued = self._select(lambda job, queue=room.queue: job.queue == queue and job.state is State.QUEUED)  # type: ignore[misc]
            queued.sort(key=self._order)
            room_left = min(room.limit, request.limit - len(claims), self._capacity(room.queue))
            claims += [self._claim(job, request.worker, now) for job in queued[: max(0, room_left)]]
        due = [job.run_at for job in self.jobs.values() if job.queue in named and job.state is State.SCHEDULED]
        return ClaimReply(claims=tuple(claims), now=now, next_due=min(due, default=None), alive=True)

    def _claim(self, job: JobRecord, worker: str, now: int) -> Claim:
        job = replace(
            job, state=State.RUNNING, attempt=job.attempt + 1, lease=job.lease + 1, started_at=now, worker=worker
        )
        self.jobs[job.id] = job
        self._give_back_keys(job.id, Until.STARTED)
        return as_claim(job, worker)

    def _order(self, job: JobRecord) -> tuple[int, int, str]:
        return job.priority, job.run_at, job.id

    def _capacity(self, name: str) -> int:
        queue = self.queues.get(name, Queue())
        if queue.paused_at is not None:
            return 0
        if queue.concurrency is None:
            return len(self.jobs)
        return queue.concurrency - len(self._select(lambda job: job.queue == name and job.state is State.RUNNING))

    def reap(self, request: ReapRequest) -> Operation[tuple[Claim, ...]]:
        yield from ()
        now = clock(request.now)
        orphans = self._select(lambda job: job.state is State.RUNNING and not self._alive(job.worker, now))
        reaped = []
        for job in orphans[: request.limit if self._alive(request.worker, now) else 0]:
            self.jobs[job.id] = replace(job, lease=job.lease + 1, worker=request.worker)
            reaped.append(as_claim(self.jobs[job.id], job.worker))
        owners = {job.worker for job in self.jobs.values() if job.state is State.RUNNING}
        for worker in list(self.workers):
            if not self._alive(worker, now) and worker not in owners:
                del self.workers[worker]
        return tuple(reaped)

    def _alive(self, worker: str | None, now: int) -> bool:
        return worker in self.workers and self.workers[worker].expires_at > now

    # --- settle, note ------------------------------------------------------------------------------------------------

    def settle(self, request: SettleRequest) -> Operation[frozenset[str]]:
        yield from ()
        now = clock(request.now)
        for note in request.notes:
            self._note(note)
        applied = [settlement for settlement in request.settlements if self._settle(settlement, now)]
        for settlement in applied:
            for follow_up in settlement.follow_ups:
                self._insert(follow_up, now)
        return frozenset(settlement.id for settlement in applied)

    def _settle(self, settlement: Settlement, now: int) -> bool:
        if not self._holds(settlement.id, settlement.lease):
            return False
        self.jobs[settlement.id] = settled(self.jobs[settlement.id], settlement, now)
        if settlement.state in FINAL:
            self._give_back_keys(settlement.id, Until.STARTED, Until.SETTLED)
        return True

    def note(self, request: NoteRequest) -> Operation[frozenset[str]]:
        yield from ()
        return frozenset(note.id for note in request.notes if self._note(note))

    def _note(self, note: Note) -> bool:
        if not self._holds(note.id, note.lease):
            return False
        job = self.jobs[note.id]
        if note.progress is not None:
            job = replace(job, progress=note.progress)
        if note.progress_text is not None:
            job = replace(job, progress_text=note.progress_text)
        self.jobs[note.id] = job
        self.logs[note.id] = [*self.logs[note.id], *note.lines][-LOG_LINES_KEPT:]
        return True

    def _holds(self, id: str, lease: int) -> bool:
        """The fence: only a running job, and only under its present lease, is written by a worker."""
        job = self.jobs.get(id)
        return job is not None and job.state is State.RUNNING and job.lease == lease

    # --- beat --------------------------------------------------------------------------------------------------------

    def beat(self, request: BeatRequest) -> Operation[BeatReply]:
        yield from ()
        now, presence = clock(request.now), request.presence
        if request.phase == "leave":
            return BeatReply(alive=self.workers.pop(presence.id, None) is not None, now=now)
        if request.phase != "join" and not self._alive(presence.id, now):
            return BeatReply(alive=False, now=now)
        if request.phase != "look":
            self._renew(presence, now)
        cancelled = self._select(
            lambda job: job.state is State.RUNNING and job.worker == presence.id and job.cancel_requested
        )
        return BeatReply(
            alive=True,
            now=now,
            cancelled=tuple((job.id, job.lease) for job in cancelled),
            command=self.workers[presence.id].command,
        )

    def _renew(self, presence: Presence, now: int) -> None:
        known = self.workers.get(presence.id)
        self.workers[presence.id] = WorkerRecord(
            id=presence.id,
            name=presence.name,
            queues=presence.queues,
            tasks=presence.tasks,
            concurrency=presence.concurrency,
            running=presence.running,
            quiet=presence.quiet,
            started_at=known.started_at if known else now,
            beat_at=now,
            expires_at=now + presence.lease_ms,
            command=known.command if known else None,
        )

    # --- alter, prune ------------------------------------------------------------------------------------------------

    def alter(self, request: AlterRequest) -> Operation[AlterReply]:
        yield from ()
        now = clock(request.now)
        selected = self._select(lambda job: fits(job, request.filter) and job.id > (request.cursor or ""))
        batch = sorted(selected, key=lambda job: job.id)[: request.limit]
        count = sum(self._alter(job, request, now) for job in batch)
        return AlterReply(count, cursor=batch[-1].id if len(batch) < len(selected) else None)

    def _alter(self, job: JobRecord, request: AlterRequest, now: int) -> bool:
        changed = altered(job, request, now)
        if changed is None:
            self._delete(job)
            self._give_back_keys(job.id, *Until)
        else:
            self.jobs[job.id] = changed
            if changed.state is State.CANCELLED:
                self._give_back_keys(job.id, Until.STARTED, Until.SETTLED)
        return changed is not job

    def prune(self, request: PruneRequest) -> Operation[int]:
        yield from ()
        now = clock(request.now)
        old = self._select(
            lambda job: (
                job.finished_at is not None
                and job.state in request.keep_ms
                and job.finished_at < now - request.keep_ms[job.state]
            )
        )
        old.sort(key=lambda job: (job.finished_at, job.id))
        for job in old[: request.limit]:
            self._delete(job)
        return len(old[: request.limit])

    def _delete(self, job: JobRecord) -> None:
        del self.jobs[job.id]
        self.logs.pop(job.id, None)

    # --- find, count -------------------------------------------------------------------------------------------------

    def find(self, request: FindRequest) -> Operation[Page]:
        yield from ()
        found = sorted(self._select(lambda job: fits(job, request.filter)), key=place, reverse=True)
        if request.cursor is not None:
            was_live, was_at, last_id = request.cursor.split(" ", 2)
            found = [job for job in found if place(job) < (was_live == "1", int(was_at), last_id)]
        jobs = found[: request.limit]
        if request.with_log:
            jobs = [replace(job, log=tuple(self.logs.get(job.id, ()))) for job in jobs]
        if len(jobs) == len(found):
            return Page(tuple(jobs), cursor=None)
        live, at, id = place(jobs[-1])
        return Page(tuple(jobs), cursor=f"{int(live)} {at} {id}")

    def count(self, request: CountRequest) -> Operation[CountReply]:
        yield from ()
        plain = replace(request.filter, states=(), queue=None) == Filter()
        groups: defaultdict[tuple[str, State], list[JobRecord]] = defaultdict(list)
        for job in self._select(lambda job: fits(job, request.filter)):
            groups[job.queue, job.state].append(job)
        tallies = (
            Tally(queue, state, len(jobs), min(job.run_at for job in jobs) if plain and state is State.QUEUED else None)
            for (queue, state), jobs in groups.items()
        )
        return CountReply(tuple(tallies), clock(request.now))

    def _select(self, fits: Callable[[JobRecord], bool]) -> list[JobRecord]:
        return [job for job in self.jobs.values() if fits(job)]

    # --- configure ---------------------------------------------------------------------------------------------------

    def configure(self, request: ConfigureRequest) -> Operation[Settings]:
        yield from ()
        now = clock(request.now)
        changed = sum(self._configure(change, now) for change in request.changes)
        ticking = sorted((s for s in self.schedules.values() if s.paused_at is None), key=lambda s: (s.next_at, s.name))
        due = [schedule for schedule in ticking if schedule.next_at <= now][: request.limit]
        queues = (QueueRecord(name, queue.paused_at, queue.concurrency) for name, queue in self.queues.items())
        return Settings(
            now=now,
            changed=changed,
            queues=tuple(queues) if "queues" in request.read else (),
            schedules=tuple(
                self.schedules.values() if "schedules" in request.read else due if "due" in request.read else ()
            ),
            workers=tuple(self.workers.values()) if "workers" in request.read else (),
            next_tick=ticking[0].next_at if ticking else None,
        )

    def _configure(self, change: Change, now: int) -> bool:
        match change:
            case DefineQueue(name, concurrency):
                self.queues.setdefault(name, Queue()).defined = concurrency
            case LimitQueue(name, concurrency):
                queue = self.queues.setdefault(name, Queue())
                queue.limit, queue.limited = concurrency, True
            case PauseQueue(name, paused):
                queue = self.queues.setdefault(name, Queue())
                queue.paused_at = paused_since(paused, queue.paused_at, now)
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
        )


def paused_since(paused: bool, since: int | None, now: int) -> int | None:
    """A pause counts from the first time that it was asked for."""
    return (since if since is not None else now) if paused else None
