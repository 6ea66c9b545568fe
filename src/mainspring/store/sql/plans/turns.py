"""Who passes the gates of one queue, and whose turn it is: decided in memory, from what a store has read.

A queue serves its partitions by turns (stride scheduling): always the one with the smallest virtual time, which then
moves on by cost / weight. Within a partition the first job goes whose task's gate lets it through. Nothing here reads
or writes; whoever does asks `Turns.run` what it is to read next.
"""

from __future__ import annotations

import heapq
import json
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from mainspring.model.job import Until
from mainspring.model.limits import NO_LIMITS, Limits, Spent, share

__all__ = ["Candidate", "Gate", "Lane", "Turn", "Turns", "limits_of", "sequence_key", "sequence_until"]


@lru_cache(maxsize=10_000)
def limits_of(*stored: str) -> Limits:
    """What several JSON texts of limits come to together: a later one wins, setting by setting."""
    return Limits.from_json(*map(json.loads, stored))


def sequence_key(queue: str, partition: str) -> str:
    """The key that the job of a sequence holds which has started and not ended for good."""
    return f"sequence:{queue}:{json.dumps(partition, ensure_ascii=False)}"


def sequence_until(sequence: str) -> Until:
    """When that key is given back: "block" keeps those behind a dead job waiting."""
    return Until.RESOLVED if sequence == "block" else Until.SETTLED


class Gate:
    """What a queue, a partition or a task lets through at one time, less what has been taken of it since."""

    __slots__ = ("_closed_until", "_left", "_memory", "_now", "_rates", "_spent", "slots")

    def __init__(
        self, limits: Limits, now: int, *, closed_until: int = 0, spent: str | None = None, running: int = 0
    ) -> None:
        self.slots = None if limits.concurrency is None else max(0, limits.concurrency - running)
        self._closed_until = closed_until if closed_until > now else 0
        self._now = now
        self._rates = limits.rates
        self._memory = spent
        self._spent = Spent(limits.rates, spent, now) if limits.rates else None
        self._left = self._spent.left() if self._spent else None

    @property
    def closed(self) -> bool:
        """Only what is no matter of time can open it: somebody must end first."""
        return self.slots == 0

    @property
    def left(self) -> int | None:
        """What its rates let through; None: any number."""
        return self._left

    @property
    def room(self) -> int | None:
        """How many jobs may pass at most; None: any number. 0 also while it is closed by time."""
        if self._closed_until:
            return 0
        return min((each for each in (self.slots, self._left) if each is not None), default=None)

    def price(self, cost: int) -> int:
        """What a job of that cost counts here."""
        return self._spent.price(cost) if self._spent else 0

    def passes(self, cost: int) -> bool:
        """Whether a job of that cost may start now."""
        if self.slots == 0 or self._closed_until:
            return False
        return self._left is None or self.price(cost) <= self._left

    def opens_at(self, cost: int) -> int | None:
        """When time lets such a job through that may not pass now; None: not time alone."""
        if self.slots == 0:
            return None
        return max(self._closed_until, self._spent.opens_at(cost) if self._spent else 0)

    def take(self, cost: int) -> None:
        """A job of that cost starts."""
        if self.slots is not None:
            self.slots -= 1
        if self._spent is not None and self._left is not None:
            price = self._spent.price(cost)
            self._left -= price
            self._spent.add(price)

    def spent(self) -> str | None:
        """What to keep of what has started."""
        return self._spent.to_text() if self._spent else self._memory

    def counts_until(self) -> int:
        """When that may be forgotten: what started last is out of sight then, and it is open again."""
        return max(self._closed_until, self._now + 2 * max((rate.per_ms for rate in self._rates), default=0))


class Candidate(NamedTuple):
    """A queued job, as far as its turn goes; they sort in the order of their queue."""

    priority: int
    run_at: int
    id: str
    place: object
    """Where the store has it."""
    cost: int


@dataclass(slots=True)
class Lane:
    """The queued jobs of one partition that have one task's gate, or ("") none; read from the front, bit by bit."""

    partition: str
    gate: str
    heads: deque[Candidate] = field(default_factory=deque)
    read: int = 0
    """How many have been read so far."""
    complete: bool = False
    """There are no more than were read."""
    _met: set[str] = field(default_factory=set)
    """They may stand elsewhere when they are read again: others have come meanwhile."""
    again_at: int | None = None
    """When to look again: some that were read are somebody else's just now."""

    def extend(self, candidates: Iterable[Candidate], asked: int) -> None:
        """All of its first `asked` candidates, in any order: those that were read before are let go."""
        found = sorted(candidates)
        self.heads.extend(job for job in found if job.id not in self._met)
        self._met.update(job.id for job in found)
        self.read = len(found)
        self.complete = len(found) < asked

    def let_go(self, busy: Collection[str], again_at: int) -> None:
        """These are somebody else's just now; what becomes of them shows later."""
        left = deque(job for job in self.heads if job.id not in busy)
        if len(left) < len(self.heads):
            self.heads, self.again_at = left, again_at


@dataclass(slots=True)
class Turn:
    """A partition in its turn."""

    name: str
    reached: int = 0
    weight: float = 1.0
    gate: Gate = field(default_factory=lambda: Gate(NO_LIMITS, 0))
    paused: bool = False
    held: bool = False
    """By a job of the sequence that has started and not ended for good; others may wait for it, which were not read."""
    lanes: list[Lane] = field(default_factory=list)
    served: bool = False
    active: bool = True
    """It may have something to claim still."""
    open_at: int | None = None
    """Not active: when time opens it."""
    waits: dict[str, int] = field(default_factory=dict)
    """Not active: the closed gates of tasks at which jobs wait here, with the cost of the first of them."""

    def wanting(self) -> list[Lane]:
        """Lanes of which the next job is not known, if there is one."""
        return [lane for lane in self.lanes if not lane.heads and not lane.complete]

    def empty(self) -> bool:
        """Certainly."""
        return all(lane.complete and not lane.heads for lane in self.lanes)

    @property
    def waiting(self) -> bool:
        """Not active, and there may be jobs that wait for something other than time."""
        if self.active or self.open_at is not None:
            return False
        return self.held or self.gate.closed or not self.empty()

    def next(self, tasks: Mapping[str, Gate]) -> Lane | None:
        """The lane of the first job that its task's gate lets through."""
        first: Lane | None = None
        for lane in self.lanes:
            if not lane.heads:
                continue
            gate = tasks.get(lane.gate)
            if gate is not None and not gate.passes(lane.heads[0].cost):
                self.waits[lane.gate] = lane.heads[0].cost
            elif first is None or lane.heads[0] < first.heads[0]:
                first = lane
        return first

    def leave(self, open_at: int | None = None, *, waiting: bool = False) -> None:
        """There is nothing more to claim here, until `open_at` or until something happens; `waiting`: until a task's
        gate opens that was closed to the next jobs."""
        again = (lane.again_at for lane in self.lanes if lane.again_at is not None)
        self.active, self.open_at = False, min((at for at in (open_at, *again) if at is not None), default=None)
        if not waiting:
            self.waits.clear()


class Turns:
    """The turns of one claim. `run` goes on until something must be read first, or nothing more can be taken."""

    def __init__(self, queue: Gate, tasks: Mapping[str, Gate], limit: int, sequence: bool = False) -> None:
        self.taken: list[tuple[Candidate, Lane]] = []
        self.turns: dict[str, Turn] = {}
        """All partitions that were looked at."""
        self.reached: int | None = None
        """The virtual time that the queue has come to; None: nobody was served."""
        self.opens_at: int | None = None
        """The queue's own gate is closed to the job whose turn it is: when time opens it."""
        self.stopped = False
        """Somebody's turn it is, and the queue's own gate does not let him through."""
        self.horizon: tuple[int, str] | None = None
        """Virtual time and name behind which there may be other partitions; None: there are none."""
        self._queue = queue
        self._tasks = tasks
        self._limit = limit
        self._sequence = sequence
        self._heap: list[tuple[int, str]] = []

    @property
    def done(self) -> bool:
        """Nothing more is to be taken, whoever else may be there."""
        return self.stopped or len(self.taken) >= self._limit

    def join(self, turns: Iterable[Turn]) -> None:
        """Further active partitions."""
        for turn in turns:
            self.turns[turn.name] = turn
            heapq.heappush(self._heap, (turn.reached, turn.name))

    def run(self) -> list[Lane]:
        """Serve until done, or until these lanes must be read further, or (none) more partitions."""
        while self._heap and not self.done:
            if self.horizon is not None and self._heap[0] > self.horizon:
                break
            turn = self.turns[self._heap[0][1]]
            if turn.paused or turn.gate.closed:
                turn.leave()
            elif turn.wanting():
                # One look for all that have come to their end.
                return [lane for each in self.turns.values() if each.active for lane in each.wanting()]
            else:
                self._serve(turn)
            if not turn.active:
                heapq.heappop(self._heap)
        return []

    def _serve(self, turn: Turn) -> None:
        """One job of the partition whose turn it is; or it leaves."""
        turn.waits.clear()
        lane = turn.next(self._tasks)
        if lane is None:
            turn.leave(waiting=True)
            return
        job = lane.heads[0]
        if not turn.gate.passes(job.cost):
            turn.leave(turn.gate.opens_at(job.cost))
            return
        if not self._queue.passes(job.cost):
            self.stopped, self.opens_at = True, self._queue.opens_at(job.cost)
            return
        lane.heads.popleft()
        self.taken.append((job, lane))
        self._queue.take(job.cost)
        turn.gate.take(job.cost)
        if lane.gate in self._tasks:
            self._tasks[lane.gate].take(job.cost)
        self.reached = turn.reached
        turn.served = True
        turn.reached += share(job.cost, turn.weight)
        if self._sequence or turn.empty():
            turn.leave()
        else:
            heapq.heapreplace(self._heap, (turn.reached, turn.name))
