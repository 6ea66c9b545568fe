"""The reference store, which writes down what becomes of each job, on the simulated clock and by whose request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from faults.events import Event, Limited, Moved, Renewed
from store.reference import ReferenceStore
from store.reference_contents import GateName

from mainspring.model.job import JobRecord
from mainspring.model.limits import Limits
from mainspring.model.states import State
from mainspring.store.base import (
    ClaimReply,
    ClaimRequest,
    ConfigureRequest,
    Inserted,
    InsertRequest,
    NoteRequest,
    Operation,
    PutSchedule,
    Request,
    SettleRequest,
    WorkerRecord,
)

__all__ = ["Ledger"]

EPOCH_MS = 1_800_000_000_000
"""What the store's clock says when the world begins: some day in 2027."""


class Ledger(ReferenceStore):
    """A `ReferenceStore` whose every change is an event."""

    def __init__(self, now: Callable[[], float], write: Callable[[Event], None]) -> None:
        super().__init__()
        self._now = now
        self._write = write
        self.jobs: _Jobs = _Jobs(self._moved)
        self.workers = _Workers(self._renewed)
        self.first_slots: dict[str, int] = {}
        """When each schedule was to tick first."""
        self.hint: Callable[[str], None] = lambda queue: None
        """Told of queues in which there may be something to claim."""
        self._by = self._sender = ""
        self._under: dict[str, int] = {}
        self._gates_known = 0
        self._limits_of: dict[GateName, Limits] = {}
        """What was worked out, as long as nobody says otherwise: the reference works it out for every look."""
        self._limits_known: dict[tuple[str, str], Limited] = {}

    def perform(self, request: Request[Any], sender: str) -> Any:
        """Perform one request now."""
        self._by, self._sender = request.operation, sender
        self._under = _leases(request)
        operation = getattr(self, request.operation)(replace(request, now=self.now_ms()))
        try:
            while True:
                next(operation)
        except StopIteration as end:
            return end.value
        finally:
            changed = isinstance(request, ConfigureRequest) and request.changes
            if changed:
                self._limits_of.clear()
            if changed or len(self.gates) != self._gates_known:
                self._note_limits()

    def now_ms(self) -> int:
        """What time it is for the store."""
        return EPOCH_MS + int(self._now() * 1000)

    def at(self, ms: int) -> float:
        """A time of the store's on the scale of the history."""
        return (ms - EPOCH_MS) / 1000

    def insert(self, request: InsertRequest) -> Operation[tuple[Inserted, ...]]:
        # Without the reference's way back, for which it copies everything: nothing that is sent here is refused.
        yield from ()
        assert not request.all_or_none
        return self._insert_all(request, request.now or 0)

    def claim(self, request: ClaimRequest) -> Operation[ClaimReply]:
        # The reference looks at all jobs for each queue. Most claims find most queues empty, so those are left out.
        waiting = self.jobs.waiting
        rooms = tuple(room for room in request.rooms if waiting[room.queue])
        if not rooms and request.held is None and self._alive(request.worker, now := request.now or 0):
            return ClaimReply(claims=(), now=now, next_due=None, alive=True)
        return (yield from super().claim(replace(request, rooms=rooms)))

    def _limits(self, name: GateName) -> Limits:
        if len(self.gates) != self._gates_known:
            return super()._limits(name)
        if name not in self._limits_of:
            self._limits_of[name] = super()._limits(name)
        return self._limits_of[name]

    def _put(self, put: PutSchedule) -> None:
        super()._put(put)
        self.first_slots.setdefault(put.name, put.next_at)

    def _moved(self, id: str, was: JobRecord | None, job: JobRecord | None) -> None:
        if was is not None and job is not None and was.state is job.state and was.lease == job.lease:
            if self._by in ("claim", "insert"):
                return
            if self._by == "alter" and was.state is not State.RUNNING:
                return
        written = was is not None and was.state is State.RUNNING and job is not None and job.state is State.RUNNING
        state = "" if job is None else job.state.value
        known = job or was
        assert known is not None
        self._write(
            Moved(
                at=self._now(),
                job=id,
                was="" if was is None else was.state.value,
                state=state,
                by="note" if written and self._by == "settle" else self._by,
                lease=known.lease,
                worker=(known.worker or "") if state == "running" else "",
                attempt=known.attempt,
                crashes=known.crashes,
                postponed=known.postponed,
                named=self._under.get(id),
                sender=self._sender,
            )
        )
        self.hint(known.queue)

    def _renewed(self, id: str, record: WorkerRecord | None) -> None:
        until = self._now() if record is None else self.at(record.expires_at)
        self._write(Renewed(at=self._now(), worker=id, process=self._sender if record else "", until=until))

    def _note_limits(self) -> None:
        self._gates_known = len(self.gates)
        self._limits_of.clear()
        for gate in sorted(self.gates):
            limits, paused = self._limits(gate), self._gate(gate).paused_at is not None
            one_at_a_time = gate[0] == "partition" and self._gate(("queue", gate[1])).sequence is not None
            limited = Limited(
                at=self._now(),
                gate=gate[0],  # type: ignore[arg-type]
                name="/".join(gate[1:]),
                concurrency=0 if paused else 1 if one_at_a_time else limits.concurrency,
                rates=tuple((rate.limit, rate.per_ms) for rate in limits.rates),
            )
            known = self._limits_known.get(key := (limited.gate, limited.name))
            if known is None or replace(known, at=limited.at) != limited:
                self._limits_known[key] = limited
                self._write(limited)


class _Jobs(dict[str, JobRecord]):
    def __init__(self, moved: Callable[[str, JobRecord | None, JobRecord | None], None]) -> None:
        super().__init__()
        self._tell = moved
        self.waiting: Counter[str] = Counter()
        """How many jobs of each queue are queued or scheduled."""

    def __setitem__(self, id: str, job: JobRecord) -> None:
        was = self.get(id)
        super().__setitem__(id, job)
        self._count(was, job)

    def __delitem__(self, id: str) -> None:
        was = self[id]
        super().__delitem__(id)
        self._count(was, None)

    def _count(self, was: JobRecord | None, job: JobRecord | None) -> None:
        if was is not None and was.state in _WAITING:
            self.waiting[was.queue] -= 1
        if job is not None and job.state in _WAITING:
            self.waiting[job.queue] += 1
        known = job or was
        assert known is not None
        self._tell(known.id, was, job)


_WAITING = frozenset((State.QUEUED, State.SCHEDULED))


class _Workers(dict[str, WorkerRecord]):
    def __init__(self, renewed: Callable[[str, WorkerRecord | None], None]) -> None:
        super().__init__()
        self._tell = renewed

    def __setitem__(self, id: str, record: WorkerRecord) -> None:
        known = self.get(id)
        super().__setitem__(id, record)
        if known is None or known.expires_at != record.expires_at:
            self._tell(id, record)

    def __delitem__(self, id: str) -> None:
        super().__delitem__(id)
        self._tell(id, None)

    def pop(self, id: str, *default: Any) -> Any:  # type: ignore[override]
        there = id in self
        record = super().pop(id, *default)
        if there:
            self._tell(id, None)
        return record


def _leases(request: Request[Any]) -> dict[str, int]:
    """Which jobs a request writes in the name of which lease."""
    if isinstance(request, SettleRequest):
        return {settlement.id: settlement.lease for settlement in request.settlements}
    if isinstance(request, NoteRequest):
        return {note.id: note.lease for note in request.notes}
    return {}
