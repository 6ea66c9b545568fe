"""The reference store: every operation in plain Python over dicts, slow and obvious. It is the oracle of the tests.

All jobs, live and final, lie in one dict; a job changes by being replaced. Operations yield nothing: there is no
driver to ask, so they are generators in name only, and the drivers run them to their end under one lock.
"""

from __future__ import annotations

from collections import defaultdict
from copy import copy
from dataclasses import replace
from itertools import chain
from math import inf

from mainspring.errors import DuplicateJob, MainspringError, QueueFull, UnusableTransaction
from mainspring.model import failure
from mainspring.model.cursors import read_cursor
from mainspring.model.job import Claim, Conflict, JobRecord, Key, NewJob, Note, Piece, Until
from mainspring.model.outcome import ErrorRecord
from mainspring.model.settlement import Settlement
from mainspring.model.states import FINAL, State
from mainspring.model.stats import HOUR_MS, KEEP_MS, ROLLS, Cell, gathered, starts
from mainspring.store.base import (
    BRIEF_MESSAGE,
    LOG_LINES_KEPT,
    AlterReply,
    AlterRequest,
    AsyncBorrowed,
    BeatReply,
    BeatRequest,
    Bookmark,
    Borrowed,
    ClaimReply,
    ClaimRequest,
    CountReply,
    CountRequest,
    Filter,
    FindRequest,
    Inserted,
    InsertRequest,
    NoteRequest,
    Operation,
    Page,
    Presence,
    PruneRequest,
    ReapRequest,
    SchemaStatus,
    SettleRequest,
    Sum,
    Tally,
    Verb,
    Window,
    WorkerRecord,
)

from .reference_contents import Hold
from .reference_drivers import AsyncReferenceDriver, Bell, ReferenceDriver
from .reference_gates import Look, sequence_key
from .reference_rules import WAITING, altered, as_claim, clock, created, due_state, fits, place, settled
from .reference_settings import Configured


class ReferenceStore(Configured):
    """A `Store` in dicts. What it remembers is in `Contents`; `Gates`, `Edges` and `Configured` each have a part of
    its rules."""

    url = "reference://"
    insert_limit = 10_000

    def __init__(self) -> None:
        super().__init__()
        self.bell = Bell()

    def driver(self, patience: float | None = None) -> ReferenceDriver:
        return ReferenceDriver(self, self.bell)

    def async_driver(self) -> AsyncReferenceDriver:
        return AsyncReferenceDriver(self, self.bell)

    def borrow(self, connection: object) -> Borrowed:
        raise UnusableTransaction("the reference store has no connections that others could have, too")

    def async_borrow(self, connection: object) -> AsyncBorrowed:
        raise UnusableTransaction("the reference store has no connections that others could have, too")

    def schema(self) -> SchemaStatus:
        return SchemaStatus(found=1, wanted=1)

    def migrate(self) -> SchemaStatus:
        return self.schema()

    # --- insert ------------------------------------------------------------------------------------------------------

    def insert(self, request: InsertRequest) -> Operation[tuple[Inserted, ...]]:
        yield from ()
        now = clock(request.now)
        before = {name: copy(value) for name, value in vars(self).items() if isinstance(value, dict)}
        before["links"] = {id: dict(links) for id, links in self.links.items()}
        before["children"] = defaultdict(list, {id: list(children) for id, children in self.children.items()})
        try:
            return self._insert_all(request, now)
        except MainspringError:
            vars(self).update(before)
            raise

    def _insert_all(self, request: InsertRequest, now: int) -> tuple[Inserted, ...]:
        for flow in request.flows:
            self.flows.setdefault(flow.id, (flow, now))
        replies = [(job, self._offer(job, now)) for job in request.jobs]
        for tick in request.ticks:
            if self._win(tick):
                replies += [(job, self._insert(job, now)) for job in tick.jobs]
        for _, reply in replies if request.all_or_none else ():
            if reply.rejected is not None:
                raise DuplicateJob(reply.id, reply.rejected)
            if reply.full is not None:
                raise QueueFull(reply.full.queue, reply.full.partition, reply.full.limit)
        self._follow(self._tie_new(replies), now)
        return tuple(reply for _, reply in replies)

    def _tie_new(self, replies: list[tuple[NewJob, Inserted]], strict: bool = True) -> set[str]:
        """Tie the new jobs among these to their parents; gives all who may wait no longer for that."""
        instead = {job.id: reply.id for job, reply in replies if reply.id != job.id}
        return self._link([job for job, reply in replies if not reply.existed and reply.full is None], instead, strict)

    def _offer(self, new: NewJob, now: int) -> Inserted:
        """Insert a job if there is room for one more. Who is there already, or meets its key, takes none."""
        known = new.id in self.jobs or not isinstance(self._seats(new, now), dict)
        full = None if known else self._full(new.queue, new.partition)
        if full is None:
            return self._insert(new, now, limited=True)
        return Inserted(new.id, existed=False, full=full)

    def _insert(self, new: NewJob, now: int, limited: bool = False) -> Inserted:
        if new.id in self.jobs:
            return Inserted(new.id, existed=True)
        seats = self._seats(new, now)
        if isinstance(seats, Key):
            return self._refuse(new, seats, now, limited)
        self.keys |= seats
        self._count(now, new, "enqueued")
        self.jobs[new.id] = created(new, now, blocked=bool(new.parents) or self._is_callback(new.id))
        self._part(new)
        return Inserted(new.id, existed=False)

    def _seats(self, new: NewJob, now: int) -> dict[str, Hold] | Key:
        """A free seat for each of a job's keys; else the first key that has none."""
        taken: dict[str, Hold] = {}
        for key in new.keys:
            if not taken.keys().isdisjoint(key.held_as()):
                continue  # named twice
            free = [name for name in key.held_as() if self._holder(name, now) is None]
            if not free:
                return key
            expires_at = None if key.expires_ms is None else now + key.expires_ms
            taken[free[0]] = Hold(new.id, key.until, expires_at)
        return taken

    def _refuse(self, new: NewJob, key: Key, now: int, limited: bool) -> Inserted:
        held = [self.keys[name] for name in reversed(key.held_as()) if self._holder(name, now) is not None]
        holder = max(held, key=lambda hold: inf if hold.expires_at is None else hold.expires_at).job
        if key.on_conflict is Conflict.REJECT:
            return Inserted(holder, existed=True, rejected=key.name)
        job = self.jobs.get(holder)
        if key.on_conflict is Conflict.REPLACE and job is not None and job.state in WAITING:
            full = self._full(new.queue, new.partition, job) if limited and job.state is not State.BLOCKED else None
            if full is not None:
                return Inserted(new.id, existed=False, full=full)
            run_at = now + new.delay_ms if new.run_at is None else new.run_at
            if key.max_delay_ms is not None:
                run_at = min(run_at, job.created_at + key.max_delay_ms)
            state = job.state if job.state is State.BLOCKED else due_state(run_at, now)
            self.jobs[holder] = replace(
                job,
                args=new.args,
                queue=new.queue,
                partition=new.partition,
                cost=new.cost,
                priority=new.priority,
                options=new.options,
                run_at=run_at,
                state=state,
                checkpoint=None,
            )
            if (job.queue, job.partition) != (new.queue, new.partition):
                self._move(job, new)
        return Inserted(holder, existed=True)

    def _move(self, job: JobRecord, new: NewJob) -> None:
        """A waiting job is where the new one was to be."""
        left = sequence_key(job.queue, job.partition)
        if left in self.keys and self.keys[left].job == job.id:
            self.keys = {name: hold for name, hold in self.keys.items() if name != left}
        self._part(new)

    def _part(self, new: NewJob) -> None:
        if new.partition:
            self.gates.setdefault(partition := ("partition", new.queue, new.partition), self._gate(partition))

    # --- claim, reap -------------------------------------------------------------------------------------------------

    def claim(self, request: ClaimRequest) -> Operation[ClaimReply]:
        yield from ()
        now = clock(request.now)
        if not self._alive(request.worker, now):
            return ClaimReply(claims=(), now=now, next_due=None, alive=False)
        named = {room.queue for room in request.rooms}
        for job in self.select(lambda job: job.queue in named and job.state is State.SCHEDULED and job.run_at <= now):
            self.jobs[job.id] = replace(job, state=State.QUEUED)
        claims: list[Claim] = []
        if request.held is not None:
            mine = self.select(lambda job: job.state is State.RUNNING and job.worker == request.worker)
            claims = [as_claim(job, job.worker, self._parents(job.id)) for job in mine if job.id not in request.held]
        for room in request.rooms:
            look = Look(self, room.queue, now)
            limit = min(room.limit, request.limit - len(claims))
            for job in iter(look.next, None) if limit > 0 else ():
                look.took(job)
                claims.append(self._claim(job, request.worker, now))
                limit -= 1
                if limit == 0:
                    break
        due = [job.run_at for job in self.jobs.values() if job.queue in named and job.state is State.SCHEDULED]
        opening = [at for queue in named if (at := self._opening(queue, now)) is not None]
        return ClaimReply(claims=tuple(claims), now=now, next_due=min(due + opening, default=None), alive=True)

    def _claim(self, job: JobRecord, worker: str, now: int) -> Claim:
        self._pass(job, now)
        job = replace(
            job, state=State.RUNNING, attempt=job.attempt + 1, lease=job.lease + 1, started_at=now, worker=worker
        )
        self.jobs[job.id] = job
        self._give_back_keys(job.id, Until.STARTED)
        return as_claim(job, worker, self._parents(job.id))

    def reap(self, request: ReapRequest) -> Operation[tuple[Claim, ...]]:
        yield from ()
        now = clock(request.now)
        orphans = self.select(lambda job: job.state is State.RUNNING and not self._alive(job.worker, now))
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
        follow_ups = [job for settlement in applied for job in settlement.follow_ups]
        touched = self._tie_new([(job, self._insert(job, now)) for job in follow_ups], strict=False)
        for settlement in applied:
            if settlement.state in FINAL:
                touched |= self._tell_children(settlement.id)
        self._follow(touched, now)
        return frozenset(settlement.id for settlement in applied)

    def _settle(self, settlement: Settlement, now: int) -> bool:
        if not self._holds(settlement.id, settlement.lease):
            return False
        job = self.jobs[settlement.id] = settled(self.jobs[settlement.id], settlement, now)
        if job.state in FINAL:
            self._give_back_at_end(job)
        self._close(job, settlement, now)
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
        if note.checkpoint is not None:
            job = replace(job, checkpoint=note.checkpoint)
        self.jobs[note.id] = job
        written = {(note.lease, number): line for number, line in enumerate(note.lines, note.first)}
        known = sorted((written | self.logs[note.id]).items(), key=lambda line: line[0])
        self.logs[note.id] = dict(known[-LOG_LINES_KEPT:])
        if note.pieces:
            put_out = {(note.lease, number): text for number, text in enumerate(note.pieces, note.first_piece)}
            pieces = sorted((put_out | self.outputs[note.id]).items())
            kept_from = (note.lease, note.kept_from)
            self.outputs[note.id] = {place: text for place, text in pieces if place >= kept_from}
        return True

    def _holds(self, id: str, lease: int) -> bool:
        """The fence: only a running job, and only under its present lease, is written by a worker."""
        job = self.jobs.get(id)
        return job is not None and job.state is State.RUNNING and job.lease == lease

    # --- beat --------------------------------------------------------------------------------------------------------

    def beat(self, request: BeatRequest) -> Operation[BeatReply]:
        yield from ()
        now, presence = clock(request.now), request.presence
        for report in request.stats:
            if report.number > self.reports.get(report.source, 0):
                self.reports[report.source] = report.number
                self._add(report.cells)
        if request.phase == "leave":
            return BeatReply(alive=self.workers.pop(presence.id, None) is not None, now=now)
        if request.phase != "join" and not self._alive(presence.id, now):
            return BeatReply(alive=False, now=now)
        if request.phase != "look":
            self._renew(presence, now)
        cancelled = self.select(
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
            memory=presence.memory,
        )

    # --- alter, prune ------------------------------------------------------------------------------------------------

    def alter(self, request: AlterRequest) -> Operation[AlterReply]:
        yield from ()
        now = clock(request.now)
        concerned = [job for job in self._found(request.filter) if altered(job, request, now) is not job]
        if request.cursor is not None:
            concerned = [job for job in concerned if place(job) < place_in(request.cursor)]
        batch = concerned[: request.limit]
        cursor = cursor_at(batch[-1]) if len(batch) < len(concerned) else None
        if request.verb is Verb.REVIVE:
            batch = self._alone(batch)
        count = sum(self._alter(job, request, now) for job in batch)
        touched: set[str] = set()
        for job in batch:
            if job.state not in FINAL and (job.id not in self.jobs or self.jobs[job.id].state in FINAL):
                touched |= self._tell_children(job.id)
            elif job.state in FINAL and request.verb is Verb.REVIVE:
                self._revive_children(job.id, now)
        self._follow(touched, now)
        return AlterReply(count, cursor)

    def _alter(self, job: JobRecord, request: AlterRequest, now: int) -> bool:
        changed = altered(job, request, now)
        if changed is None:
            self._delete(job)
            self._give_back_keys(job.id, *Until)
            return True
        self.jobs[job.id] = changed
        if changed.state is State.CANCELLED:
            self._count(now, changed, "cancelled")
            self._give_back_at_end(changed)
        if job.state in FINAL:
            self._mend(job.id)
        return changed is not job

    def prune(self, request: PruneRequest) -> Operation[int]:
        yield from ()
        now = clock(request.now)
        if request.stats:
            return self._roll_up(now)
        old = self.select(
            lambda job: (
                job.finished_at is not None
                and job.state in request.keep_ms
                and job.finished_at < now - request.keep_ms[job.state]
            )
        )
        old.sort(key=lambda job: (job.finished_at, job.id))
        for job in old[: request.limit]:
            self._delete(job)
            self._give_back_keys(job.id, Until.RESOLVED)
        self._forget_empty_flows()
        if request.keep_audit_ms is not None:
            ages = sorted((entry.at or 0, id) for id, entry in self.audit.items())
            for at, id in ages[: request.limit]:
                if at < now - request.keep_audit_ms:
                    del self.audit[id]
        return len(old[: request.limit])

    def _delete(self, job: JobRecord) -> None:
        del self.jobs[job.id]
        self.logs.pop(job.id, None)
        self.outputs.pop(job.id, None)
        self.links.pop(job.id, None)

    # --- find, count -------------------------------------------------------------------------------------------------

    def find(self, request: FindRequest) -> Operation[Page]:
        yield from ()
        if request.flows:
            return self._flow_page(request)
        if request.stamps:
            return Page((), None, stamps=tuple(map(self._stamp, sorted(set(request.filter.ids) & self.jobs.keys()))))
        found = self._found(request.filter)
        if request.cursor is not None:
            found = [job for job in found if place(job) < place_in(request.cursor)]
        jobs = found[: request.limit]
        cursor = cursor_at(jobs[-1]) if len(jobs) < len(found) else None
        if request.brief:
            jobs = [briefly(job) for job in jobs]
        if request.with_log:
            marks = {mark.job: mark for mark in request.bookmarks}
            jobs = [self._with_sayings(job, marks.get(job.id, Bookmark(job.id))) for job in jobs]
        if request.with_parents:
            jobs = [replace(job, parents=self._parents(job.id)) for job in jobs]
        return Page(tuple(jobs), cursor)

    def _with_sayings(self, job: JobRecord, mark: Bookmark) -> JobRecord:
        lines, pieces = self.logs.get(job.id, {}), self.outputs.get(job.id, {})
        log = [replace(line, place=(lease << 32) + number) for (lease, number), line in lines.items()]
        output = [Piece(text, (lease << 32) + number) for (lease, number), text in pieces.items()]
        return replace(
            job,
            log=tuple(line for line in log if line.place > mark.line),
            output=tuple(piece for piece in output if piece.place > mark.piece),
        )

    def _stamp(self, id: str) -> tuple[str, str]:
        said = (list(self.logs.get(id, {}))[-1:], list(self.outputs.get(id, {}))[-1:])
        return id, repr((self.jobs[id], said))

    def _flow_page(self, request: FindRequest) -> Page:
        flows = sorted(self.flows.values(), key=lambda flow: (flow[1], flow[0].id), reverse=True)
        flows = [flow for flow in flows if request.filter.flow in (None, flow[0].id)]
        start = 0 if request.cursor is None else read_cursor(request.cursor)[1]
        page = tuple(self._flow_record(*flow) for flow in flows[start : start + request.limit])
        end = start + len(page)
        return Page((), cursor=f"{end}:" if end < len(flows) else None, flows=page)

    def count(self, request: CountRequest) -> Operation[CountReply]:
        yield from ()
        if request.stats is not None:
            return self._sums(request.filter, request.stats, clock(request.now))
        if request.ahead_of is not None:
            return CountReply(self._ahead(self.jobs.get(request.ahead_of)), clock(request.now))
        plain = replace(request.filter, states=(), queue=None) == Filter()
        groups: defaultdict[tuple[str, State], list[JobRecord]] = defaultdict(list)
        for job in self._found(request.filter):
            groups[job.queue, job.state].append(job)
        tallies = (
            Tally(queue, state, len(jobs), min(job.run_at for job in jobs) if plain and state is State.QUEUED else None)
            for (queue, state), jobs in groups.items()
        )
        return CountReply(tuple(tallies), clock(request.now))

    def _ahead(self, job: JobRecord | None) -> tuple[Tally, ...]:
        if job is None or job.state is not State.QUEUED:
            return ()
        place, turn = (job.queue, job.partition), (job.priority, job.run_at, job.id)
        queued = self.select(lambda each: each.state is State.QUEUED and (each.queue, each.partition) == place)
        ahead = sum((each.priority, each.run_at, each.id) < turn for each in queued)
        return (Tally(job.queue, State.QUEUED, ahead),) if ahead else ()

    def _sums(self, filter: Filter, window: Window, now: int) -> CountReply:
        since = starts(now, window.span_ms, window.step_ms)[0]
        sums: dict[tuple[int, str], list[Cell]] = {}
        for cell in chain.from_iterable(self.cells.values()):
            if cell.at < since or filter.queue not in (None, cell.queue) or filter.task not in (None, cell.task):
                continue
            at = since if window.by else since + (cell.at - since) // window.step_ms * window.step_ms
            name = getattr(cell, window.by) if window.by else ""
            sums.setdefault((at, name), []).append(Cell(0, "", "", cell.numbers))
        found = (Sum(*place, gathered(cells, 1)[0].numbers) for place, cells in sorted(sums.items()))
        return CountReply((), now, tuple(sum for sum in found if sum.numbers))

    def _roll_up(self, now: int) -> int:
        done = 0
        for roll in ROLLS:
            old = [cell for cell in self.cells.get(roll.step_ms, ()) if cell.at < roll.before(now)]
            self.cells = {
                **self.cells,
                roll.step_ms: [cell for cell in self.cells.get(roll.step_ms, ()) if cell not in old],
            }
            self._add(old, roll.into_ms)
            done += len(old)
        kept = [cell for cell in self.cells[HOUR_MS] if cell.at >= now - KEEP_MS]
        done += len(self.cells[HOUR_MS]) - len(kept)
        self.cells = {**self.cells, HOUR_MS: kept}
        return done

    def _found(self, filter: Filter) -> list[JobRecord]:
        """All jobs that fit, newest first."""
        found = self.select(lambda job: fits(job, filter) and (filter.flow is None or self._is_in(job, filter.flow)))
        return sorted(found, key=place, reverse=True)


def briefly(job: JobRecord) -> JobRecord:
    """A job without what is large of it."""
    error = None
    if job.error is not None:
        whole = failure.from_text(job.error)
        error = failure.to_text(ErrorRecord(whole.type, whole.message[:BRIEF_MESSAGE], ""))
    return replace(job, args="{}", result=None, history="[]", options=None, checkpoint=None, error=error)


def cursor_at(job: JobRecord) -> str:
    live, at, id = place(job)
    return f"{'live' if live else 'final'}:{at}:{id}"


def place_in(cursor: str) -> tuple[bool, int, str]:
    """The place at which a cursor stands."""
    side, at, id = read_cursor(cursor, ("live", "final"))
    return side == "live", at, id
