"""Random operations on the reference and on a store, side by side: every reply the same, and afterwards all contents.

    TestOperations = operations_like_the_reference(lambda: SomeStore(...))    # a fresh, migrated store each time

`MAINSPRING_HYPOTHESIS=ci` runs many more of them than the usual "dev".
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal
from unittest import TestCase

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mainspring.errors import DuplicateJob
from mainspring.model.job import Claim, JobRecord, LogLine, NewJob, Note
from mainspring.model.states import FINAL, State
from mainspring.store.base import (
    AlterRequest,
    BeatRequest,
    Change,
    ClaimReply,
    ClaimRequest,
    Command,
    CommandWorker,
    ConfigureRequest,
    CountRequest,
    Driver,
    Filter,
    FindRequest,
    Inserted,
    InsertRequest,
    NoteRequest,
    PruneRequest,
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

from .conformance.scene import T0, presence, settlement
from .reference import ReferenceStore
from .strategies import (
    LEASE_MS,
    Draft,
    Fate,
    Remark,
    changes,
    drafts,
    fates,
    filters,
    job_id,
    picks,
    remarks,
    room_lists,
    spans,
)

PHASES = [Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink]
"""All but the explaining, which takes minutes here."""
PROFILES = {
    "dev": settings(max_examples=50, stateful_step_count=30, deadline=None, phases=PHASES),
    "ci": settings(
        max_examples=500,
        stateful_step_count=60,
        deadline=None,
        phases=PHASES,
        suppress_health_check=[HealthCheck.too_slow],
    ),
}


class SideBySide(RuleBasedStateMachine):
    """The machine. `open_store` is set by `operations_like_the_reference`."""

    open_store: Callable[[], Store]

    def __init__(self) -> None:
        super().__init__()
        self.reference = ReferenceStore()
        self.expected = self.reference.driver()
        self.store = type(self).open_store()
        self.driver = self.store.driver()
        self.now = T0
        self.numbers = 0
        self.workers: list[str] = []
        self.claims: list[Claim] = []
        """Every claim ever made: most are stale after a while, and are tried again all the same."""
        self.inserted = 0
        self.removed = 0

    def teardown(self) -> None:
        self.driver.close()

    def ask(self, request: Request[Reply], view: Callable[[Any], Any] = lambda reply: reply) -> Reply:
        """Put `request` to both; the store's reply, which must look as the reference's does."""
        reply, expected = self.driver.run(request), self.expected.run(request)
        assert view(reply) == view(expected), f"{request}\n  expected {view(expected)}\n  got      {view(reply)}"
        return reply

    def ask_to_insert(self, request: InsertRequest) -> None:
        """Put it to both. What one turns down whole, the other must turn down for the same reason."""

        def outcome(driver: Driver) -> tuple[Inserted, ...] | tuple[str, str]:
            try:
                return driver.run(request)
            except DuplicateJob as refusal:
                return refusal.job_id, refusal.key

        reply, expected = outcome(self.driver), outcome(self.expected)
        assert known_once(reply) == known_once(expected), f"{request}\n  expected {expected}\n  got      {reply}"
        self.inserted += sum(isinstance(each, Inserted) and not each.existed for each in reply)

    # --- workers -----------------------------------------------------------------------------------------------------

    @initialize(jobs=st.lists(drafts, min_size=4, max_size=12))
    def begin(self, jobs: list[Draft]) -> None:
        self.join(lease_ms=5000)
        self.join(lease_ms=LEASE_MS)
        self.insert(jobs)

    @rule(lease_ms=st.sampled_from([LEASE_MS, LEASE_MS, 5000]))
    def join(self, lease_ms: int) -> None:
        self.workers.append(f"worker {len(self.workers)}")
        self.ask(BeatRequest(presence(self.workers[-1], lease_ms), "join", now=self.now))

    @rule(
        pick=picks,
        phase=st.sampled_from(["stay", "stay", "stay", "look", "look", "leave"]),
        running=st.integers(0, 9),
        quiet=st.booleans(),
    )
    def beat(self, pick: int, phase: Literal["stay", "look", "leave"], running: int, quiet: bool) -> None:
        """What a worker that leaves is told is open."""
        described = replace(presence(self.worker(pick), LEASE_MS), running=running, quiet=quiet)
        self.ask(
            BeatRequest(described, phase, now=self.now),
            lambda reply: (
                reply.now,
                phase != "leave" and (reply.alive, sorted(reply.cancelled), reply.command),
            ),
        )

    @rule(ms=spans)
    def time_passes(self, ms: int) -> None:
        self.now += ms

    @rule(pick=picks)
    def reap(self, pick: int) -> None:
        request = ReapRequest(self.worker(pick), limit=1000, now=self.now)
        reaped = self.ask(request, lambda claims: sorted(claims, key=lambda claim: claim.id))
        self.claims += reaped

    @rule(lease_ms=st.sampled_from([LEASE_MS, 5000]))
    def take_over(self, lease_ms: int) -> None:
        """All that do not beat die, and one comes who looks after what they left."""
        self.time_passes(LEASE_MS + 1)
        self.join(lease_ms)
        self.reap(pick=-1)

    # --- jobs --------------------------------------------------------------------------------------------------------

    @rule(jobs=st.lists(drafts, max_size=6), all_or_none=st.booleans())
    def insert(self, jobs: list[Draft], all_or_none: bool = False) -> None:
        new = tuple(
            NewJob(
                self.old_id(job.pick) if job.again else self.new_id(),
                job.task,
                job.queue,
                f'{{"n":{job.pick}}}',
                job.priority,
                delay_ms=job.delay_ms,
                options=f"[{job.pick}]" if job.pick % 2 else None,
                keys=job.keys,
            )
            for job in jobs
        )
        self.ask_to_insert(InsertRequest(new, all_or_none=all_or_none, now=self.now))

    @rule(
        pick=picks,
        rooms=room_lists,
        limit=st.integers(1, 6),
    )
    def claim(self, pick: int, rooms: list[Room], limit: int) -> None:
        asked = min(limit, sum(room.limit for room in rooms))

        def view(reply: ClaimReply) -> Any:
            """`next_due` is promised only where there was room for more."""
            return reply.claims, reply.now, reply.alive, reply.next_due if len(reply.claims) < asked else None

        self.claims += self.ask(ClaimRequest(self.worker(pick), tuple(rooms), limit, now=self.now), view).claims

    @rule(pick=picks, rooms=room_lists, ms=spans, fates=st.lists(fates, min_size=1, max_size=3))
    def work(self, pick: int, rooms: list[Room], ms: int, fates: list[Fate]) -> None:
        """Claim, run for a while, and settle some of it."""
        before = len(self.claims)
        self.claim(pick, rooms, limit=4)
        self.time_passes(ms // 10)
        self.settle_claims(list(zip(self.claims[before:], fates, strict=False)))

    @precondition(lambda self: self.claims)
    @rule(fates=st.lists(fates, min_size=1, max_size=5))
    def settle(self, fates: list[Fate]) -> None:
        self.settle_claims([(self.some_claim(fate.pick), fate) for fate in fates])

    def settle_claims(self, settled: list[tuple[Claim, Fate]]) -> None:
        settlements, notes, before = {}, [], len(self.reference.jobs)
        for claim, fate in settled:
            if claim.id in settlements:
                continue
            follow_ups = (NewJob(self.new_id(), "mail", "b", keys=fate.keys),) if fate.follows else ()
            settlements[claim.id] = settlement(
                replace(claim, lease=claim.lease + fate.error, attempt=claim.attempt - fate.pick % 2),
                fate.state,
                delay_ms=fate.delay_ms,
                postponed=fate.pick % 2,
                history=f"[{claim.lease}]",
                result="1" if fate.state is State.COMPLETED else None,
                error='{"type":"E"}' if fate.pick % 3 else None,
                reason=f"after {fate.delay_ms}" if fate.pick % 5 else None,
                follow_ups=follow_ups,
            )
            if fate.noted:
                lines = (LogLine(self.now, f"end {fate.delay_ms}"),)
                notes.append(Note(claim.id, claim.lease + fate.error, 100.0, lines=lines))
        self.ask(SettleRequest(tuple(settlements.values()), tuple(notes), now=self.now))
        self.inserted += len(self.reference.jobs) - before

    @precondition(lambda self: self.claims)
    @rule(noted=st.lists(remarks, min_size=1, max_size=3))
    def note(self, noted: list[Remark]) -> None:
        notes = {}
        for remark in noted:
            claim = self.some_claim(remark.pick)
            notes[claim.id] = Note(
                claim.id,
                claim.lease + remark.error,
                progress=remark.percent if remark.percent % 3 else None,
                progress_text=f"at {remark.percent}" if remark.percent % 2 else None,
                lines=tuple(LogLine(self.now, f"{remark.percent} {number}") for number in range(remark.lines)),
            )
        self.ask(NoteRequest(tuple(notes.values()), now=self.now))

    # --- operators ---------------------------------------------------------------------------------------------------

    @rule(verb=st.sampled_from(Verb), filter=filters, value=st.integers(-2, 400), limit=st.sampled_from([1, 3, 1000]))
    def alter(self, verb: Verb, filter: Filter, value: int, limit: int) -> None:
        if verb is Verb.RESCHEDULE:
            value += self.now
        request = AlterRequest(verb, filter, value, f"because of {value}", limit, now=self.now)
        count = sum(reply.count for reply in batches(self.driver.run, request))
        expected = sum(reply.count for reply in batches(self.expected.run, request))
        assert count == expected, f"{request}\n  expected {expected}\n  got      {count}"
        self.removed += count if verb is Verb.DELETE else 0

    @precondition(lambda self: any(job.finished_at for job in self.reference.jobs.values()))
    @rule(keep_ms=st.dictionaries(st.sampled_from(sorted(FINAL)), spans, min_size=1))
    def prune(self, keep_ms: dict[State, int]) -> None:
        self.removed += self.ask(PruneRequest(keep_ms, now=self.now))

    @rule(filter=filters, limit=st.integers(1, 5))
    def look(self, filter: Filter, limit: int) -> None:
        request = FindRequest(filter, limit, now=self.now)
        found, expected = pages(self.driver.run, request), pages(self.expected.run, request)
        assert found == expected, f"{request}\n  expected {ids(expected)}\n  got      {ids(found)}"
        self.ask(CountRequest(filter, now=self.now), lambda reply: (reply.now, set(reply.tallies)))

    @rule(changes=st.lists(changes, min_size=1, max_size=3))
    def configure(self, changes: list[Callable[[int], Change]]) -> None:
        self.change(*(change(self.now) for change in changes))

    @rule(pick=picks, command=st.sampled_from(Command))
    def command(self, pick: int, command: Command) -> None:
        """Nobody is told to go quiet after having been told to stop: which of the two then counts is open."""
        worker = self.reference.workers.get(self.worker(pick))
        if worker is None or worker.command is not Command.STOP:
            self.change(CommandWorker(self.worker(pick), command))

    def change(self, *changes: Change) -> None:
        self.ask(ConfigureRequest(changes, now=self.now), lambda reply: (reply.changed, reply.now))

    @precondition(lambda self: self.reference.schedules)
    @rule(late=st.sampled_from([0, 0, 0, -1]), jobs=st.integers(0, 2), all_or_none=st.booleans())
    def tick(self, late: int, jobs: int, all_or_none: bool) -> None:
        """Serve all due schedules, at times as one who looked before somebody else served them."""
        due = self.ask(ConfigureRequest(read=frozenset({"due"}), now=self.now)).schedules
        ticks = tuple(
            Tick(
                schedule.name,
                schedule.next_at + late,
                self.now + 100,
                tuple(NewJob(self.new_id(), "mail", "a", keys=schedule.keys) for _ in range(jobs)),
            )
            for schedule in due
        )
        self.ask_to_insert(InsertRequest(ticks=ticks, all_or_none=all_or_none, now=self.now))

    # --- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def same_jobs(self) -> None:
        request = FindRequest(Filter(), limit=1000, with_log=True, now=self.now)
        found = pages(self.driver.run, request)
        expected = pages(self.expected.run, request)
        assert ids(found) == ids(expected)
        for job, other in zip(found, expected, strict=True):
            assert job == other, f"\n  expected {other}\n  got      {job}"

    @invariant()
    def same_numbers(self) -> None:
        self.ask(CountRequest(Filter(), now=self.now), lambda reply: (reply.now, set(reply.tallies)))

    @invariant()
    def same_settings(self) -> None:
        self.ask(ConfigureRequest(read=frozenset({"queues", "schedules", "workers"}), now=self.now), view=as_sets)

    @invariant()
    def no_job_is_lost_and_none_doubled(self) -> None:
        tallies = self.driver.run(CountRequest(Filter(), now=self.now)).tallies
        assert sum(tally.count for tally in tallies) == self.inserted - self.removed

    # --- picking -----------------------------------------------------------------------------------------------------

    def worker(self, pick: int) -> str:
        """Mostly one that is alive."""
        alive = [worker.id for worker in self.reference.workers.values() if worker.expires_at > self.now]
        pool = alive if alive and pick % 5 != 1 else self.workers
        return pool[pick % len(pool)]

    def some_claim(self, pick: int) -> Claim:
        recent = self.claims[-8:]
        return recent[pick % len(recent)]

    def new_id(self) -> str:
        self.numbers += 1
        return job_id(self.numbers)

    def old_id(self, pick: int) -> str:
        return job_id(pick % self.numbers + 1) if self.numbers else self.new_id()


def operations_like_the_reference(open_store: Callable[[], Store]) -> type[TestCase]:
    """A test case that compares the stores made by `open_store` with the reference."""
    machine: Any = type("Operations", (SideBySide,), {"open_store": staticmethod(open_store)})
    case: type[TestCase] = pytest.mark.timeout(900)(machine.TestCase)  # a failure takes its time to be made small
    case.settings = PROFILES[os.environ.get("MAINSPRING_HYPOTHESIS", "dev")]  # type: ignore[attr-defined]
    return case


def known_once(replies: tuple[Inserted, ...] | tuple[str, str]) -> Any:
    """Which ids, in order; and which of them were new, wherever among equal ids that is said. A refusal as it is."""
    told = [reply for reply in replies if isinstance(reply, Inserted)]
    new = sorted((reply.id, reply.existed, reply.rejected or "") for reply in told)
    return [reply.id for reply in told] if told else replies, new


def as_sets(reply: Settings) -> Any:
    """The settings in no order; queues without settings of their own left out, as a store may not list them."""
    queues = {queue for queue in reply.queues if queue.paused_at is not None or queue.concurrency is not None}
    return reply.now, queues, set(reply.schedules), set(reply.workers), reply.next_tick


def batches(ask: Callable[[AlterRequest], Any], request: AlterRequest) -> list[Any]:
    """Every batch of an alteration."""
    replies = [ask(request)]
    while replies[-1].cursor is not None:
        assert len(replies) < 1000, "an alteration that comes to no end"
        assert replies[-1].count <= request.limit
        replies.append(ask(replace(request, cursor=replies[-1].cursor)))
    return replies


def pages(ask: Callable[[FindRequest], Any], request: FindRequest) -> list[JobRecord]:
    """Every page of a search, put together."""
    found: list[JobRecord] = []
    for _ in range(1000):
        page = ask(request)
        assert len(page.jobs) <= request.limit
        found += page.jobs
        if page.cursor is None:
            return found
        request = replace(request, cursor=page.cursor)
    raise AssertionError("a search that comes to no end")


def ids(jobs: list[JobRecord]) -> list[str]:
    return [job.id for job in jobs]
