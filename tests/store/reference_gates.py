"""The reference store's gates: what a queue, a partition of it and a task let through, and whose turn it is.

Nothing is remembered about who may be claimed: each claim looks at all that waits. So a partition that had nothing to
give for a while has no moment at which it comes back; instead every one stands, whenever it is looked at, at its own
virtual time or at its queue's, whichever is later. That is the same: while a partition can be served, its own time is
never behind its queue's, since the turns always go to whoever is furthest behind.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import replace

from mainspring.model.job import JobRecord, Until
from mainspring.model.limits import NO_LIMITS, Limits, Spent, share
from mainspring.model.settlement import Settlement
from mainspring.model.states import State
from mainspring.store.base import Full

from .reference_contents import Contents, Gate, GateName, Hold

UNKNOWN = Gate()


class Gates(Contents):
    """The part of the store that limits."""

    def _order(self, job: JobRecord) -> tuple[int, int, str]:
        return job.priority, job.run_at, job.id

    def _gate(self, name: GateName) -> Gate:
        return self.gates.get(name, UNKNOWN)

    def _gates_of(self, job: JobRecord) -> tuple[GateName, ...]:
        """Those that a job goes through, the narrowest first."""
        return ("partition", job.queue, job.partition), ("task", job.task), ("queue", job.queue)

    def _partitioned(self, queue: str) -> bool:
        return any(name[:2] == ("partition", queue) for name in self.gates)

    def _limits(self, name: GateName) -> Limits:
        """What is in force. Jobs outside of any partition are in one, called "", only where their queue has others."""
        gate = self._gate(name)
        if name[0] != "partition":
            return Limits.from_json(gate.defined, gate.limited)
        if not name[2] and not self._partitioned(name[1]):
            return NO_LIMITS
        queue = self._gate(("queue", name[1]))
        return Limits.from_json(queue.each_defined, queue.each_limited, gate.defined, gate.limited)

    def _spent(self, name: GateName, now: int) -> Spent:
        return Spent(self._limits(name).rates, self._gate(name).spent, now)

    def _opens_at(self, name: GateName, now: int, cost: int = 1) -> int | None:
        """When time lets a job through; None: at once."""
        at = max(self._gate(name).closed_until, self._spent(name, now).opens_at(cost))
        return at if at > now else None

    def _capacity(self, name: str) -> int:
        """How many more jobs may run in a queue as a whole."""
        concurrency = self._limits(("queue", name)).concurrency
        if self._gate(("queue", name)).paused_at is not None:
            return 0
        if concurrency is None:
            return len(self.jobs)
        return concurrency - len(self.select(lambda job: job.queue == name and job.state is State.RUNNING))

    def _full(self, queue: str, partition: str, mover: JobRecord | None = None) -> Full | None:
        """Why one more waiting job has no room; the mover, wherever it waits now, needs none there."""
        for name, place in ((("queue", queue), None), (("partition", queue, partition), partition)):
            limit = self._limits(name).max_queued
            there = mover and mover.queue == queue and place in (None, mover.partition)
            if limit is not None and not there:
                waiting = self.select(lambda job: job.queue == queue and job.state in (State.SCHEDULED, State.QUEUED))
                if sum(place is None or job.partition == place for job in waiting) >= limit:
                    return Full(queue, place, limit)
        return None

    def _close(self, job: JobRecord, settlement: Settlement, now: int) -> None:
        if settlement.closed_ms is None:
            return
        narrowest = next((name for name in self._gates_of(job) if self._limits(name).rates), None)
        if narrowest is None:
            narrowest = ("partition", job.queue, job.partition) if job.partition else ("queue", job.queue)
        gate = self._gate(narrowest)
        self.gates[narrowest] = replace(gate, closed_until=max(gate.closed_until, now + settlement.closed_ms))

    def _pass(self, job: JobRecord, now: int) -> None:
        """A job goes through its gates."""
        for name in self._gates_of(job):
            if self._limits(name).rates:
                spent = self._spent(name, now)
                spent.add(spent.price(job.cost))
                self.gates[name] = replace(self._gate(name), spent=spent.to_text())
        queue, partition = ("queue", job.queue), ("partition", job.queue, job.partition)
        if self._partitioned(job.queue):
            turn = max(self._gate(queue).reached, self._gate(partition).reached)
            moved = turn + share(job.cost, self._limits(partition).weight)
            self.gates[queue] = replace(self._gate(queue), reached=turn)
            self.gates[partition] = replace(self._gate(partition), reached=moved)
        sequence = self._gate(queue).sequence
        if sequence is not None:
            until = Until.RESOLVED if sequence == "block" else Until.SETTLED
            self.keys[sequence_key(job.queue, job.partition)] = Hold(job.id, until, None)

    def _opening(self, queue: str, now: int) -> int | None:
        """When time alone gives a queue something to claim; None: not time alone, or there is something now."""
        timed = {name for name, gate in self.gates.items() if gate.closed_until > now or self._limits(name).rates}
        times = {
            self._opens_at(name, now, job.cost)
            for job in self.select(lambda job: job.queue == queue and job.state is State.QUEUED)
            for name in timed.intersection(self._gates_of(job))
        } - {None}
        if not times or Look(self, queue, now).next() is not None:
            return None
        return next((at for at in sorted(filter(None, times)) if Look(self, queue, at).next() is not None), None)


def sequence_key(queue: str, partition: str) -> str:
    """What the job of a sequence holds that has started and not ended for good."""
    return f"sequence:{queue}:{json.dumps(partition)}"


class Look:
    """One look at all that waits in a queue: who is next, as long as anybody may go."""

    def __init__(self, store: Gates, queue: str, now: int) -> None:
        self.store = store
        self.queue = queue
        self.now = now
        self.slots = store._capacity(queue)
        self.running: Counter[GateName] = Counter()
        self.waiting: defaultdict[str, list[JobRecord]] = defaultdict(list)
        """The jobs of each partition that may be claimed as far as is known, in order."""
        for job in sorted(store.jobs.values(), key=store._order):
            if job.state is State.RUNNING:
                self.running.update(store._gates_of(job))
            elif job.state is State.QUEUED and job.queue == queue and self._in_sequence(job):
                self.waiting[job.partition].append(job)

    def _in_sequence(self, job: JobRecord) -> bool:
        """Whether it is not the turn of somebody else in its partition."""
        if self.store._gate(("queue", self.queue)).sequence is None:
            return True
        return self.store._holder(sequence_key(self.queue, job.partition), self.now) in (None, job.id)

    def next(self) -> JobRecord | None:
        """Whose turn it is."""
        heads = [head for partition in list(self.waiting) if (head := self._head(partition)) is not None]
        if not heads or self.slots <= 0:
            return None
        job = min(heads, key=lambda head: (self._turn(head.partition), head.partition))
        return job if self._lets_through(("queue", self.queue), job) else None

    def took(self, job: JobRecord) -> None:
        """The job that was next has started."""
        self.slots -= 1
        self.running.update(self.store._gates_of(job))
        in_sequence = self.store._gate(("queue", self.queue)).sequence is not None
        rest = [] if in_sequence else [other for other in self.waiting[job.partition] if other.id != job.id]
        self.waiting[job.partition] = rest

    def _head(self, partition: str) -> JobRecord | None:
        """The first job of a partition whose task's gate and whose partition's gate are open to it.

        Who is held up at a task's gate holds up that task's jobs; who is held up at the partition's, everybody there.
        """
        while self.waiting[partition]:
            job = self.waiting[partition][0]
            if not self._lets_through(("task", job.task), job):
                self.waiting[partition] = [other for other in self.waiting[partition] if other.task != job.task]
            elif not self._lets_through(("partition", self.queue, partition), job):
                self.waiting[partition] = []
            else:
                return job
        del self.waiting[partition]
        return None

    def _lets_through(self, name: GateName, job: JobRecord) -> bool:
        gate, limits = self.store._gate(name), self.store._limits(name)
        if gate.paused_at is not None or gate.closed_until > self.now:
            return False
        if name[0] != "queue" and limits.concurrency is not None and self.running[name] >= limits.concurrency:
            return False
        spent = Spent(limits.rates, gate.spent, self.now)
        left = spent.left()
        return left is None or spent.price(job.cost) <= left

    def _turn(self, partition: str) -> int:
        own, queue = self.store._gate(("partition", self.queue, partition)), self.store._gate(("queue", self.queue))
        return max(own.reached, queue.reached)
