"""Random operations on the reference and on a store, side by side: every reply the same, and afterwards all contents.

    TestOperations = operations_like_the_reference(lambda: SomeStore(...))    # a fresh, migrated store each time

What "the same" means says `side_by_side`. `MAINSPRING_HYPOTHESIS=ci` runs many more of them than the usual "dev".
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
from hypothesis.stateful import initialize, precondition, rule

from mainspring.model.job import Claim, Edge, LogLine, NewJob, Note, Policy
from mainspring.model.states import FINAL, State
from mainspring.model.stats import EVENTS, HOUR_MS, MINUTE_MS, Cell, Report
from mainspring.store.base import (
    AlterRequest,
    BeatRequest,
    Callback,
    Change,
    ClaimRequest,
    Command,
    CommandWorker,
    ConfigureRequest,
    CountRequest,
    DefineQueue,
    Filter,
    FindRequest,
    InsertRequest,
    LimitPartition,
    NewFlow,
    NoteRequest,
    PruneRequest,
    ReapRequest,
    Room,
    Sequence,
    SettleRequest,
    Store,
    Tick,
    Verb,
    Window,
)

from .conformance.scene import DAY, presence, settlement
from .side_by_side import SideBySide, ids, pages
from .strategies import (
    LEASE_MS,
    PLACES,
    Draft,
    Fate,
    Remark,
    changes,
    drafts,
    fates,
    filters,
    members,
    picks,
    policies,
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

SETTLING = (Verb.CANCEL, Verb.REVIVE, Verb.DELETE)
"""What children hear of: how such jobs fall into batches, and so who is told first, is open."""


OPTIONS = (None, '{"timeout_ms":5,"tags":["a","b\\u00e9"]}', None, "[7]")
"""What nobody can read is kept like the rest."""


class Operations(SideBySide):
    """The rules."""

    # --- workers -----------------------------------------------------------------------------------------------------

    @initialize(
        jobs=st.lists(drafts, min_size=4, max_size=12),
        sequence=st.sampled_from(["block", "skip"]),
        remembered=st.booleans(),
    )
    def begin(self, jobs: list[Draft], sequence: Sequence, remembered: bool) -> None:
        """Pruning forgets partitions that have no settings, and with them whose turn it is: there is either or."""
        self.join(lease_ms=5000)
        self.join(lease_ms=LEASE_MS)
        self.prunes = remembered
        named = [LimitPartition(queue, name, weight=1.0) for queue in "ps" for name in PLACES[queue]]
        self.change(DefineQueue("s", sequence=sequence), *(named if remembered else ()))
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

    @rule(pick=picks, number=st.integers(1, 9), counted=st.dictionaries(st.sampled_from(EVENTS), st.integers(1, 5)))
    def report(self, pick: int, number: int, counted: dict[str, int]) -> None:
        """Also one that the store has had already."""
        cell = Cell(self.now // MINUTE_MS * MINUTE_MS, "ab"[pick % 2], "mail", counted)
        stats = (Report(f"life {pick % 3}", number, (cell,)),)
        worker = presence(self.worker(pick), LEASE_MS)
        self.ask(BeatRequest(worker, "stay", stats, now=self.now), lambda reply: (reply.now, reply.alive))

    @rule()
    def roll_up(self) -> None:
        self.ask(PruneRequest({}, stats=True, now=self.now), lambda reply: None)

    @rule(
        queue=st.sampled_from([None, "a", "p"]),
        window=st.builds(
            Window, st.just(HOUR_MS), st.sampled_from([MINUTE_MS, HOUR_MS]), st.sampled_from([None, "queue", "task"])
        ),
    )
    def look_back(self, queue: str | None, window: Window) -> None:
        request = CountRequest(Filter(queue=queue), window, now=self.now)
        self.ask(request, lambda reply: (reply.now, [(each.at, each.name, dict(each.numbers)) for each in reply.stats]))

    @rule(ms=spans)
    def time_passes(self, ms: int) -> None:
        self.now += ms

    @precondition(lambda self: self.due)
    @rule(pick=picks, off=st.sampled_from([-1, 0, 0, 1]))
    def time_comes(self, pick: int, off: int) -> None:
        """To the edge of when something is due, or a gate opens."""
        self.now = max(self.now, self.due[-1 - pick % min(3, len(self.due))] + off)

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
        self.ask_to_insert(InsertRequest(self.new_jobs(jobs), all_or_none=all_or_none, now=self.now))

    @rule(jobs=st.lists(members, max_size=4), parted=st.booleans(), policies=policies, again=st.booleans())
    def start_flow(self, jobs: list[Draft], parted: bool, policies: list[Policy], again: bool) -> None:
        """A flow, of its own or as a part of another, with its callbacks, in a queue where there always is room."""
        parent = self.flows[-1] if parted and self.flows else None
        self.flows.append(f"flow {len(self.flows) + 1}")
        called = [(f"{self.flows[-1]} call {number}", policy) for number, policy in enumerate(policies)]
        flow = NewFlow(self.flows[-1], "a flow", parent, tuple(Callback(*each) for each in called))
        callbacks = tuple(NewJob(id, "mail", "a", flow=flow.id) for id, _ in called)
        request = InsertRequest((*self.new_jobs(jobs, flow.id), *callbacks), flows=(flow,), now=self.now)
        for _ in range(1 + again):
            self.ask_to_insert(request)

    def new_jobs(self, drafts: list[Draft], flow: str | None = None) -> tuple[NewJob, ...]:
        made: list[NewJob] = []
        for draft in drafts:
            id = self.old_id(draft.pick) if draft.again else self.new_id()
            job = NewJob(
                id,
                draft.task,
                draft.place[0],
                f'{{"n":{draft.pick}}}',
                draft.priority,
                delay_ms=draft.delay_ms,
                options=OPTIONS[draft.pick % 4],
                keys=draft.keys,
                partition=draft.place[1],
                cost=draft.cost,
                flow=flow or (self.some_flow(draft.pick) if draft.in_flow else None),
                parents=self.edges(draft, id, made),
            )
            made.append(job)
        return tuple(made)

    def edges(self, draft: Draft, child: str, before: list[NewJob]) -> tuple[Edge, ...]:
        """To jobs that are there, or come before: no callbacks, that themselves may wait for the child."""
        pool = [id for id in (*self.reference.jobs, *(job.id for job in before)) if "call" not in id and id != child]
        chosen = {pool[tie.pick % len(pool)] if pool and tie.pick % 40 else "nobody": tie for tie in draft.ties}
        return tuple(Edge(parent, tie.policy, tie.wants_result) for parent, tie in chosen.items())

    def some_flow(self, pick: int) -> str | None:
        return self.flows[pick % len(self.flows)] if self.flows else None

    @rule(
        pick=picks,
        rooms=room_lists,
        limit=st.integers(1, 6),
    )
    def claim(self, pick: int, rooms: list[Room], limit: int) -> None:
        reply = self.ask_to_claim(ClaimRequest(self.worker(pick), tuple(rooms), limit, now=self.now))
        self.claims += reply.claims
        if reply.next_due is not None:
            self.due.append(reply.next_due)

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
            follow_ups = (self.follow_up(claim, fate),) if fate.follows else ()
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
                closed_ms=fate.closed_ms,
            )
            if fate.noted:
                lines = (LogLine(self.now, f"end {fate.delay_ms}"),)
                notes.append(
                    Note(
                        claim.id,
                        claim.lease + fate.error,
                        100.0,
                        lines=lines,
                        first=fate.pick % 5,
                        checkpoint=f"[{fate.pick}]" if fate.pick % 2 else None,
                    )
                )
        self.ask(SettleRequest(tuple(settlements.values()), tuple(notes), now=self.now))
        self.inserted += len(self.reference.jobs) - before

    def follow_up(self, claim: Claim, fate: Fate) -> NewJob:
        """Some follow on what they wait for, or on what is gone; some belong to a flow."""
        parents = [
            (),
            (Edge(claim.id, wants_result=True),),
            (Edge(claim.id, Policy.RUN), Edge("nobody", Policy.IGNORE)),
        ]
        return NewJob(
            self.new_id(),
            "mail",
            "b",
            keys=fate.keys,
            flow=self.some_flow(fate.pick) if fate.pick % 2 else None,
            parents=parents[fate.pick % 3],
        )

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
                first=remark.first,
                checkpoint=f"[{remark.percent}]" if remark.percent % 5 else None,
                pieces=tuple(f"{remark.percent}.{number}" for number in range(remark.lines // 2)),
                first_piece=remark.first,
                kept_from=remark.first // 2,
            )
        for _ in range(1 + noted[0].again):
            self.ask(NoteRequest(tuple(notes.values()), now=self.now))

    # --- operators ---------------------------------------------------------------------------------------------------

    @rule(verb=st.sampled_from(Verb), filter=filters, value=st.integers(-2, 400), limit=st.sampled_from([1, 3, 1000]))
    def alter(self, verb: Verb, filter: Filter, value: int, limit: int) -> None:
        if verb is Verb.RESCHEDULE:
            value += self.now
        if verb in SETTLING and self.reference.links:
            limit = 1000
        count = self.ask_to_alter(AlterRequest(verb, filter, value, f"because of {value}", limit, now=self.now))
        self.removed += count if verb is Verb.DELETE else 0

    @precondition(lambda self: self.reference.links)
    @rule(verb=st.sampled_from(SETTLING), pick=picks)
    def alter_one(self, verb: Verb, pick: int) -> None:
        """Some job that waits for others, or that others wait for."""
        tied = sorted({id for child, links in self.reference.links.items() for id in (child, *links)})
        request = AlterRequest(verb, Filter(ids=(tied[pick % len(tied)],)), reason="this one", now=self.now)
        count = self.ask_to_alter(request)
        self.removed += count if verb is Verb.DELETE else 0

    @precondition(lambda self: self.prunes and any(job.finished_at for job in self.reference.jobs.values()))
    @rule(keep_ms=st.dictionaries(st.sampled_from(sorted(FINAL)), spans, min_size=1))
    def prune(self, keep_ms: dict[State, int]) -> None:
        if State.COMPLETED in keep_ms:
            # To a midnight, since a store may keep completed jobs by the day.
            midnight = (self.now // DAY + keep_ms[State.COMPLETED] % 2) * DAY
            keep_ms = keep_ms | {State.COMPLETED: self.now - midnight}
        self.removed += self.ask(PruneRequest(keep_ms, now=self.now))

    @rule(filter=filters, limit=st.integers(1, 5))
    def look(self, filter: Filter, limit: int) -> None:
        request = FindRequest(filter, limit, now=self.now)
        found, expected = pages(self.driver.run, request), pages(self.expected.run, request)
        assert found == expected, f"{request}\n  expected {ids(expected)}\n  got      {ids(found)}"
        self.ask(CountRequest(filter, now=self.now), lambda reply: (reply.now, set(reply.tallies)))
        for job in found[-1:]:
            self.ask(CountRequest(Filter(), ahead_of=job.id, each=1000, now=self.now), lambda reply: reply.tallies)

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


def operations_like_the_reference(open_store: Callable[[], Store]) -> type[TestCase]:
    """A test case that compares the stores made by `open_store` with the reference."""
    machine: Any = type("Operations", (Operations,), {"open_store": staticmethod(open_store)})
    case: type[TestCase] = pytest.mark.timeout(1800)(machine.TestCase)  # a failure takes its time to be made small
    case.settings = PROFILES[os.environ.get("MAINSPRING_HYPOTHESIS", "dev")]  # type: ignore[attr-defined]
    return case
