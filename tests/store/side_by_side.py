"""A store and the reference under the same requests: how their replies are compared, and what always holds of both.

Left open by the contract, and so not compared: the order in which settings and orphans are listed; what a worker that
leaves is told; `next_due` where some queue gave all that was asked of it, and where rates are in play how far too
early it is: the reference says when there will be something to claim, a store when a gate opens.

All else is compared exactly, the turns of partitions too: the smallest (virtual time, name) is next, and who had
nothing to claim for a while begins at the virtual time of the queue, whenever a store notices that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine, invariant

from mainspring.errors import DuplicateJob, InvalidFlow, QueueFull
from mainspring.model.job import Claim, JobRecord
from mainspring.store.base import (
    AlterRequest,
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
    Page,
    Reply,
    Request,
    Settings,
    Store,
)

from .conformance.scene import T0
from .reference import ReferenceStore
from .strategies import job_id


class SideBySide(RuleBasedStateMachine):
    """The two stores, and what there is to pick from. `open_store` is set by whoever makes a test case of it."""

    open_store: Callable[[], Store]

    def __init__(self) -> None:
        super().__init__()
        self.reference = ReferenceStore()
        self.expected = self.reference.driver()
        self.store = type(self).open_store()
        self.driver = self.store.driver()
        self.now = T0
        self.numbers = 0
        self.flows: list[str] = []
        self.workers: list[str] = []
        self.claims: list[Claim] = []
        """Every claim ever made: most are stale after a while, and are tried again all the same."""
        self.due: list[int] = []
        """When something was promised to be due."""
        self.inserted = 0
        self.removed = 0

    def teardown(self) -> None:
        self.driver.close()

    # --- asking both -------------------------------------------------------------------------------------------------

    def ask(self, request: Request[Reply], view: Callable[[Any], Any] = lambda reply: reply) -> Reply:
        """Put `request` to both; the store's reply, which must look as the reference's does."""
        reply, expected = self.driver.run(request), self.expected.run(request)
        assert view(reply) == view(expected), f"{request}\n  expected {view(expected)}\n  got      {view(reply)}"
        return reply

    def ask_to_insert(self, request: InsertRequest) -> None:
        """Put it to both. What one turns down whole, the other must turn down for the same reason."""

        def outcome(driver: Driver) -> tuple[Inserted, ...] | str:
            try:
                return driver.run(request)
            except (DuplicateJob, InvalidFlow, QueueFull) as refusal:
                return repr(refusal)

        reply, expected = outcome(self.driver), outcome(self.expected)
        assert known_once(reply) == known_once(expected), f"{request}\n  expected {expected}\n  got      {reply}"
        self.inserted += sum(isinstance(each, Inserted) and not (each.existed or each.full) for each in reply)

    def ask_to_claim(self, request: ClaimRequest) -> ClaimReply:
        """Put it to both."""
        reply, expected = self.driver.run(request), self.expected.run(request)
        text = f"{request}\n  expected {expected}\n  got      {reply}"
        assert replace(reply, next_due=None) == replace(expected, next_due=None), text
        if not filled(request, reply) and reply.next_due != expected.next_due:
            timed = any(gate.spent or gate.closed_until for gate in self.reference.gates.values())
            earlier = reply.next_due is not None and self.now < reply.next_due < (expected.next_due or inf)
            assert timed, text
            assert earlier, text
        return reply

    def ask_to_alter(self, request: AlterRequest) -> int:
        """Put it to both, batch by batch; how many jobs were changed."""
        count: int = sum(reply.count for reply in batches(self.driver.run, request))
        expected = sum(reply.count for reply in batches(self.expected.run, request))
        assert count == expected, f"{request}\n  expected {expected}\n  got      {count}"
        return count

    # --- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def same_jobs(self) -> None:
        request = FindRequest(Filter(), limit=1000, with_log=True, with_parents=True, now=self.now)
        found = pages(self.driver.run, request)
        expected = pages(self.expected.run, request)
        assert ids(found) == ids(expected), f"\n  expected {ids(expected)}\n  got      {ids(found)}"
        for job, other in zip(found, expected, strict=True):
            assert job == other, f"\n  expected {other}\n  got      {job}"

    @invariant()
    def same_flows(self) -> None:
        request = FindRequest(Filter(), limit=2, flows=True, now=self.now)
        found, expected = all_flows(self.driver.run, request), all_flows(self.expected.run, request)
        assert found == expected, f"\n  expected {expected}\n  got      {found}"

    @invariant()
    def same_numbers(self) -> None:
        """And no job is lost, and none doubled."""
        request = CountRequest(Filter(), now=self.now)
        tallies = self.ask(request, lambda reply: (reply.now, set(reply.tallies))).tallies
        assert sum(tally.count for tally in tallies) == self.inserted - self.removed

    @invariant()
    def same_settings(self) -> None:
        read = frozenset({"queues", "schedules", "workers", "tasks", "partitions"})
        for partition in (("p", "x"), ("s", "x")):
            self.ask(ConfigureRequest(read=read, partition=partition, now=self.now), view=as_sets)  # type: ignore[arg-type]

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


# --- views of replies ------------------------------------------------------------------------------------------------


def known_once(replies: tuple[Inserted, ...] | str) -> Any:
    """Which ids, in order; and which of them were new, wherever among equal ids that is said. A refusal as it is."""
    if isinstance(replies, str):
        return replies
    new = sorted((reply.id, reply.existed, reply.rejected or "", repr(reply.full)) for reply in replies)
    return [reply.id for reply in replies], new


def as_sets(reply: Settings) -> Any:
    """The settings in no order; queues and tasks without any left out, as a store may not list them."""
    queues = {replace(queue, name="") for queue in reply.queues}
    plain = {queue for queue in queues if queue == type(queue)("")}
    return (
        reply.now,
        {queue for queue in reply.queues if replace(queue, name="") not in plain},
        set(reply.schedules),
        set(reply.workers),
        reply.next_tick,
        {task for task in reply.tasks if task.concurrency is not None or task.rates},
        reply.partitions,
    )


def filled(request: ClaimRequest, reply: ClaimReply) -> bool:
    """Whether some queue gave all that was asked of it: then nothing is promised about when to come back."""
    asked, got = Counter[str](), Counter(claim.queue for claim in reply.claims)
    for room in request.rooms:
        asked[room.queue] += room.limit
    return len(reply.claims) >= request.limit or any(got[queue] >= asked[queue] for queue in asked)


def batches(ask: Callable[[AlterRequest], Any], request: AlterRequest) -> list[Any]:
    """Every batch of an alteration."""
    replies = [ask(request)]
    while replies[-1].cursor is not None:
        assert len(replies) < 1000, "an alteration that comes to no end"
        assert replies[-1].count <= request.limit
        replies.append(ask(replace(request, cursor=replies[-1].cursor)))
    return replies


def all_pages(ask: Callable[[FindRequest], Page], request: FindRequest) -> list[Page]:
    found = [ask(request)]
    while (cursor := found[-1].cursor) is not None:
        assert len(found) < 1000, "a search that comes to no end"
        found.append(ask(replace(request, cursor=cursor)))
    assert all(len(page.jobs) <= request.limit for page in found)
    return found


def pages(ask: Callable[[FindRequest], Page], request: FindRequest) -> list[JobRecord]:
    """Every page of a search, put together."""
    return [job for page in all_pages(ask, request) for job in page.jobs]


def all_flows(ask: Callable[[FindRequest], Page], request: FindRequest) -> list[FlowRecord]:
    return [replace(flow, counts=tuple(sorted(flow.counts))) for page in all_pages(ask, request) for flow in page.flows]


def ids(jobs: list[JobRecord]) -> list[str]:
    return [job.id for job in jobs]
