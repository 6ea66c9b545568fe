"""The words in which the suite speaks: a store with a clock that the test holds, and short forms of requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Literal

import pytest

from mainspring.model.job import Claim, Edge, JobRecord, LogLine, NewJob, Note, Parent, Policy
from mainspring.model.settlement import Settlement
from mainspring.model.states import State
from mainspring.store.base import (
    AlterReply,
    AlterRequest,
    BeatReply,
    BeatRequest,
    Change,
    ClaimReply,
    ClaimRequest,
    ConfigureRequest,
    CountRequest,
    Driver,
    Filter,
    FindRequest,
    FlowRecord,
    Inserted,
    InsertRequest,
    NewFlow,
    NoteRequest,
    PartitionRecord,
    Presence,
    PruneRequest,
    Readable,
    ReapRequest,
    Reply,
    Request,
    Room,
    Settings,
    SettleRequest,
    Store,
    Tick,
    Verb,
)

T0 = 1_700_000_000_000
LEASE_MS = 30_000

needs = pytest.mark.needs
"""`@needs("hints")`: a test of something that not every store can do. A backend's file lists in `LACKS` what it cannot.

hints       drivers of one store in one process hear of each other's changes
processes   a forked process sees the same store
moments     each completed job is forgotten by itself, at its time, not all of a day together
scale       ten thousand partitions are no more work than one
"""

DAY = 86_400_000
ALL_COMPLETED = {State.COMPLETED: -DAY}
ALL_ENDED = dict.fromkeys((State.COMPLETED, State.DEAD, State.CANCELLED), -DAY)
"""Retentions that nothing outlives, not even where completed jobs go by the day."""


class Scene:
    """A store, a driver, and the time of all requests made through it."""

    def __init__(self, store: Store, driver: Driver) -> None:
        self.store = store
        self.driver = driver
        self.now = T0

    def ask(self, request: Request[Reply]) -> Reply:
        """Perform `request` as it stands."""
        return self.driver.run(request)

    def later(self, ms: int) -> int:
        """Let `ms` pass; the new time."""
        self.now += ms
        return self.now

    # --- jobs ---

    def insert(
        self,
        *jobs: NewJob | str,
        ticks: Iterable[Tick] = (),
        all_or_none: bool = False,
        flows: Iterable[NewFlow] = (),
    ) -> tuple[Inserted, ...]:
        request = InsertRequest(tuple(map(as_job, jobs)), tuple(ticks), all_or_none, tuple(flows), now=self.now)
        return self.ask(request)

    def claim(self, worker: str = "worker", *rooms: Room, limit: int = 100) -> tuple[Claim, ...]:
        return self.claim_reply(worker, *rooms, limit=limit).claims

    def claim_reply(self, worker: str = "worker", *rooms: Room, limit: int = 100) -> ClaimReply:
        return self.ask(ClaimRequest(worker, rooms or (Room("default", limit),), limit, now=self.now))

    def claim_one(self, worker: str = "worker", *rooms: Room) -> Claim:
        (claim,) = self.claim(worker, *rooms, limit=1)
        return claim

    def drain(self, worker: str = "worker", *rooms: Room, limit: int = 100) -> list[str]:
        """The ids of all that can be claimed now: asks until nothing comes and nothing is promised for now."""
        ids = list[str]()
        for _ in range(1000):
            reply = self.claim_reply(worker, *rooms, limit=limit)
            ids += [claim.id for claim in reply.claims]
            if not reply.claims and (reply.next_due is None or reply.next_due > self.now):
                return ids
        raise AssertionError("a claim that always promises more")

    def settle(self, *settlements: Settlement, notes: Iterable[Note] = ()) -> frozenset[str]:
        return self.ask(SettleRequest(settlements, tuple(notes), now=self.now))

    def note(self, *notes: Note) -> frozenset[str]:
        return self.ask(NoteRequest(notes, now=self.now))

    def finish(self, *ids: str, state: State = State.COMPLETED, worker: str = "worker") -> None:
        """Insert jobs and take them to a final state."""
        self.insert(*(NewJob(id, "finish", queue="finish") for id in ids))
        claims = self.claim(worker, Room("finish", len(ids)), limit=len(ids))
        assert self.settle(*(settlement(claim, state) for claim in claims)) == set(ids)

    def start(self, *ids: str) -> tuple[Claim, ...]:
        """Claim jobs that have each a queue of their own (`own`)."""
        claims = self.claim("worker", *(Room(id, 1) for id in ids), limit=len(ids))
        assert [claim.id for claim in claims] == list(ids)
        return claims

    def end(self, *ids: str, state: State = State.COMPLETED, **changes: Any) -> None:
        """Claim such jobs, and settle them all in one request."""
        assert self.settle(*(settlement(claim, state, **changes) for claim in self.start(*ids))) == set(ids)

    # --- workers ---

    def join(self, worker: str = "worker", lease_ms: int = LEASE_MS) -> BeatReply:
        return self.beat(worker, "join", lease_ms=lease_ms)

    def beat(
        self,
        worker: str = "worker",
        phase: Literal["join", "stay", "look", "leave"] = "stay",
        *,
        lease_ms: int = LEASE_MS,
        **changes: Any,
    ) -> BeatReply:
        return self.ask(BeatRequest(replace(presence(worker, lease_ms), **changes), phase, now=self.now))

    def reap(self, worker: str = "worker", limit: int = 100) -> tuple[Claim, ...]:
        return self.ask(ReapRequest(worker, limit, now=self.now))

    # --- operators ---

    def alter(self, verb: Verb, filter: Filter | str, value: int | None = None, reason: str | None = None) -> int:
        """Do `verb` to all that fit, however many batches it takes; how many were changed."""
        if isinstance(filter, str):
            filter = Filter(ids=(filter,))
        request = AlterRequest(verb, filter, value, reason, now=self.now)
        return sum(reply.count for reply in self.batches(request))

    def batches(self, request: AlterRequest) -> list[AlterReply]:
        """Every batch of one alteration."""
        replies = [self.ask(request)]
        while replies[-1].cursor is not None:
            assert len(replies) < 1000, "an alteration that comes to no end"
            replies.append(self.ask(replace(request, cursor=replies[-1].cursor)))
        return replies

    def prune(self, keep_ms: dict[State, int], limit: int = 1000) -> int:
        return self.ask(PruneRequest(keep_ms, limit, now=self.now))

    def configure(self, *changes: Change) -> Settings:
        """Apply changes, and read everything there is."""
        read = frozenset[Readable]({"queues", "schedules", "workers", "tasks", "partitions"})
        return self.ask(ConfigureRequest(changes, read, now=self.now))

    def partition(self, name: str, queue: str = "default") -> PartitionRecord:
        """One partition, whatever is known of it."""
        read = frozenset[Readable]({"partitions"})
        partitions = self.ask(ConfigureRequest(read=read, partition=(queue, name), now=self.now)).partitions
        (record,) = (record for record in partitions if (record.queue, record.name) == (queue, name))
        return record

    # --- reading ---

    def find(
        self,
        filter: Filter = Filter(),  # noqa: B008
        limit: int = 100,
        with_log: bool = False,
        with_parents: bool = False,
    ) -> list[JobRecord]:
        """All pages of what fits."""
        request = FindRequest(filter, limit, with_log=with_log, with_parents=with_parents, now=self.now)
        found: list[JobRecord] = []
        for _ in range(10_000):
            page = self.ask(request)
            assert len(page.jobs) <= limit
            found += page.jobs
            if page.cursor is None:
                return found
            request = replace(request, cursor=page.cursor)
        raise AssertionError("a search that comes to no end")

    def ids(self, filter: Filter = Filter(), limit: int = 100) -> list[str]:  # noqa: B008
        return [job.id for job in self.find(filter, limit)]

    def job(self, id: str) -> JobRecord:
        """The one job of that id, with its log."""
        (job,) = self.find(Filter(ids=(id,)), with_log=True)
        return job

    def state(self, id: str) -> State:
        return self.job(id).state

    def states(self, *ids: str) -> list[State]:
        """The states of jobs, in the order of their ids given."""
        states = {job.id: job.state for job in self.find(Filter(ids=ids))}
        return [states[id] for id in ids]

    def parents(self, id: str) -> tuple[Parent, ...]:
        """The parents of the one job of that id."""
        (job,) = self.find(Filter(ids=(id,)), with_parents=True)
        return job.parents

    def flow(self, id: str) -> FlowRecord:
        """The one flow of that id."""
        (flow,) = self.ask(FindRequest(Filter(flow=id), flows=True, now=self.now)).flows
        return flow

    def count(self, filter: Filter = Filter()) -> dict[tuple[str, State], int]:  # noqa: B008
        """How many jobs fit, by queue and state."""
        request = CountRequest(filter, now=self.now)
        counts: Counter[tuple[str, State]] = Counter()
        for _ in range(1000):
            reply = self.ask(request)
            places = [(tally.queue, tally.state) for tally in reply.tallies]
            assert len(set(places)) == len(places), "a queue and state counted twice"
            counts.update({(tally.queue, tally.state): tally.count for tally in reply.tallies})
            if reply.cursor is None:
                return dict(counts)
            request = replace(request, cursor=reply.cursor)
        raise AssertionError("a count that comes to no end")


def as_job(job: NewJob | str) -> NewJob:
    """A plain job where only its id matters."""
    return NewJob(job, "task") if isinstance(job, str) else job


def own(id: str, *parents: Edge | str, policy: Policy = Policy.FAIL, **fields: Any) -> NewJob:
    """A job in a queue of its own, of its name, so that a test can run it when it likes; a child of `parents`."""
    edges = tuple(Edge(parent, policy) if isinstance(parent, str) else parent for parent in parents)
    return NewJob(id, "task", queue=id, parents=edges, **fields)


def presence(worker: str, lease_ms: int = LEASE_MS) -> Presence:
    """A worker's description of itself."""
    return Presence(worker, f"{worker}@host", ("default",), ("task",), concurrency=10, running=0, lease_ms=lease_ms)


def settlement(claim: Claim, state: State = State.COMPLETED, **changes: Any) -> Settlement:
    """What becomes of `claim`: its numbers as they are, and what `changes` says."""
    return replace(
        Settlement(claim.id, claim.lease, state, claim.attempt, claim.crashes, claim.postponed, claim.history),
        **changes,
    )


def lines(*texts: str, at: int = T0) -> tuple[LogLine, ...]:
    """Log lines, all written at one time."""
    return tuple(LogLine(at, text) for text in texts)
