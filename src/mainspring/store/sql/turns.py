"""A queue with more than slots to look at is served by turns: read what matters, decide in memory, write it as sets."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from mainspring.model.limits import MAX_COST, Limits
from mainspring.store.base import Operation
from mainspring.store.sql import gates
from mainspring.store.sql.documents import document
from mainspring.store.sql.plans.keys import Taken
from mainspring.store.sql.plans.turns import (
    Candidate,
    Gate,
    Lane,
    Turn,
    Turns,
    limits_of,
    sequence_key,
    sequence_until,
)
from mainspring.store.sql.statements import Row, sql

__all__ = ["Served", "look", "serve"]

READ_AT_LEAST = 16
"""How many partitions are read at once at least."""
ASKED_AT_LEAST = 64
"""How many partitions that wait at the gate of a task are asked at least when it is open."""
REGATED_AT_ONCE = 1000
"""How many jobs of one partition that were there before their task had a gate are given it at once."""
REGATED_ROUNDS = 3
BUSY_MS = 1000
"""When a job is met again that somebody else was about to change: who did so leaves word, unless it was taken back."""


@dataclass(frozen=True, slots=True)
class Served:
    """What a look at a queue, or a claim from it, came to."""

    rows: Sequence[Row] = ()
    """Claims, in the order of their turns."""
    opens_at: int | None = None
    """When time gives the queue something to claim; None: not time alone."""
    worth_writing: bool = False
    """A look: a claim would get something, or would have something to write down."""


def look(queue: str, now: int) -> Operation[Served]:
    """What a claim would meet. Changes nothing."""
    serving = yield from _begin(queue, 1, now)
    if serving.due or serving.asked():
        return Served(worth_writing=True)
    yield from serving.decide()
    if serving.ungated or serving.turns.taken or any(serving.changed()):
        return Served(worth_writing=True)
    return Served(opens_at=(yield from serving.opens_at()))


def serve(queue: str, worker: str, limit: int, now: int, closed: Collection[str]) -> Operation[Served]:
    """Claim up to `limit` jobs of a queue, none at the gates of tasks that are `closed`."""
    more = yield from gates.admit(queue)
    for _ in range(REGATED_ROUNDS):
        serving = yield from _begin(queue, limit, now, closed)
        yield from serving.wake(more)
        yield from serving.decide()
        if not serving.ungated:
            rows = yield from serving.write(worker)
            return Served(rows, (yield from serving.opens_at()))
        # What they move to may be the lane of a closed gate: everything is to be looked at anew.
        yield sql("regate", doc=document(sorted(serving.ungated)), queue=queue, limit=REGATED_AT_ONCE)
        closed = yield from gates.lock_tasks([queue])
    return Served(opens_at=now)


def _begin(queue: str, limit: int, now: int, closed: Collection[str] | None = None) -> Operation[_Serving]:
    settings = yield sql("queue_gate", queue=queue, now=now)
    return _Serving(queue, limit, now, settings[0], (yield sql("task_gates", queue=queue)), closed)


class _Serving:
    """One queue while it is served. The partition "" of a queue without partitions exists in memory only."""

    def __init__(
        self,
        queue: str,
        limit: int,
        now: int,
        settings: Row,
        tasks: Sequence[Row],
        closed: Collection[str] | None,
    ) -> None:
        """`closed`: at these tasks' gates nothing may pass, whatever they let through. None: this is but a look."""
        defined, limited, each_defined, each_limited, sequence, closed_until, spent, partitioned, due = settings
        self.due = bool(due)
        """Time opens a partition now."""
        self.ungated = set[str]()
        """Partitions with jobs that were there before their task had a gate."""
        self._queue = queue
        self._limit = limit
        self._now = now
        self._each = (each_defined, each_limited)
        self._sequence: str | None = sequence
        self._partitioned = bool(partitioned)
        self._closed = closed
        # Its slots were counted before, and are what `limit` is about.
        limits = replace(limits_of(defined, limited), concurrency=None)
        self._gate = Gate(limits, now, closed_until=closed_until, spent=spent)
        self._tasks: dict[str, Gate] = {}
        self._waited_at: dict[str, int] = {}
        """Tasks at whose gates jobs of this queue's partitions wait, and the least cost of a first one there."""
        for name, *stored, closed_until, spent, running, cost in tasks:
            gate = Gate(limits_of(*stored), now, closed_until=closed_until, spent=spent, running=running)
            self._tasks[name] = Gate(Limits(0), now) if closed and name in closed else gate
            if cost is not None:
                self._waited_at[name] = cost
        self.turns = Turns(self._gate, self._tasks, limit, sequence is not None)
        self._looked_at = 0
        self._more = False
        """Not all was looked at that may have something to claim."""

    @property
    def _bound(self) -> int:
        """How many partitions one claim looks at."""
        return 2 * self._limit + ASKED_AT_LEAST

    # --- who may have something to claim ---

    def asked(self) -> list[str]:
        """Tasks whose gate is open and at which partitions wait."""
        return [name for name, cost in self._waited_at.items() if self._tasks[name].passes(cost)]

    def wake(self, more: bool) -> Operation[None]:
        """Activate the partitions that time opens, and those that wait at the gate of a task that is open.

        `more`: others wait for nothing but another claim.
        """
        self._more = more
        if self.due:
            opened = yield sql("open_by_time", queue=self._queue, now=self._now, limit=self._bound)
            self._more = self._more or len(opened) == self._bound
        for task in self.asked():
            gate = self._tasks[task]
            room = gate.room
            limit = max(ASKED_AT_LEAST, self._limit if room is None else min(self._limit, room))
            most = gate.price(MAX_COST)
            left = yield sql("leave_lane", queue=self._queue, task=task, most=most, left=gate.left, limit=limit)
            yield sql("activate", doc=document([row[0] for row in left]), queue=self._queue)
            self._more = self._more or len(left) == limit

    # --- who is next ---

    def decide(self) -> Operation[None]:
        """Let `turns` come to their end."""
        if not self._partitioned:
            yield from self._join([Turn("", gate=Gate(limits_of(), self._now))])
        last: tuple[int, str] | None = (-1, "") if self._partitioned else None
        while not self.ungated:
            lanes = self.turns.run()
            if lanes:
                asked = max(lane.read for lane in lanes) + self._limit - len(self.turns.taken)
                yield from self._extend(lanes, min(asked, 4 * max(lane.read for lane in lanes)))
            elif self.turns.done or last is None:
                return
            elif self._looked_at >= self._bound:
                self._more = True
                return
            else:
                last = yield from self._read_turns(last)

    def _read_turns(self, last: tuple[int, str]) -> Operation[tuple[int, str] | None]:
        """The next active partitions after that one; gives the last of them, or None where there are no more."""
        limit = min(max(self._limit, READ_AT_LEAST), self._bound - self._looked_at)
        reached, name = last
        rows = yield sql("next_turns", queue=self._queue, reached=reached, name=name, limit=limit)
        self._looked_at += len(rows)
        limits = {name: limits_of(*self._each, *stored) for name, _, _, *stored, _, _ in rows}
        counted = [name for name, each in limits.items() if each.concurrency is not None]
        running = dict((yield sql("running_in", doc=document(counted), queue=self._queue))) if counted else {}
        turns = []
        for name, reached, paused_at, _, _, closed_until, spent in rows:
            gate = Gate(limits[name], self._now, closed_until=closed_until, spent=spent, running=running.get(name, 0))
            turns.append(Turn(name, reached, limits[name].weight, gate, paused_at is not None))
        yield from self._join(turns)
        self.turns.horizon = (turns[-1].reached, turns[-1].name) if len(rows) == limit else None
        return self.turns.horizon

    def _join(self, turns: list[Turn]) -> Operation[None]:
        """Partitions take part, with the first of their jobs."""
        open = {turn.name: turn for turn in turns if not (turn.paused or turn.gate.closed)}
        if self._sequence is not None:
            held = yield from self._holders(open)
            open = {name: turn for name, turn in open.items() if name not in held}
        names = document(list(open))
        lanes = (yield sql("lanes_in", doc=names, queue=self._queue)) if self._tasks and open else ()
        for name, gate in lanes if self._tasks else [(name, "") for name in open]:
            open[name].lanes.append(Lane(name, gate))
        if open:
            # As many as each gets of all, and one more, to see whether that is the end of it.
            share = 1 if self._sequence is not None else -(-self._limit // len(open)) + 1
            yield from self._extend([lane for turn in open.values() for lane in turn.lanes], share)
        self.turns.join(turns)

    def _holders(self, turns: dict[str, Turn]) -> Operation[set[str]]:
        """Of the partitions, those where a job of the sequence has started and not ended for good: only that one may
        go on there."""
        keys = [[name, sequence_key(self._queue, name)] for name in turns]
        held = set[str]()
        for name, job, task, priority, run_at, rowid, cost in (yield sql("holders", doc=document(keys))):
            held.add(name)
            turns[name].held = True
            if task is not None:
                lane = Lane(name, task if task in self._tasks else "", complete=True)
                lane.heads.append(Candidate(priority, run_at, job, rowid, cost))
                turns[name].lanes.append(lane)
        busy = yield from self._busy([job for turn in turns.values() for lane in turn.lanes for job in lane.heads])
        for lane in (lane for turn in turns.values() for lane in turn.lanes) if busy else ():
            lane.let_go(busy, self._now + BUSY_MS)
        return held

    def _busy(self, candidates: Sequence[Candidate]) -> Operation[set[str]]:
        """Those that somebody else is about to change; the others are ours from here on."""
        if self._closed is None or not candidates:
            return set()
        return {row[0] for row in (yield sql("busy_jobs", doc=document([job.id for job in candidates])))}

    def _extend(self, lanes: Sequence[Lane], asked: int) -> Operation[None]:
        """Read the first `asked` jobs of these lanes."""
        doc = document([[lane.partition, lane.gate] for lane in lanes])
        rows = yield sql("candidates", doc=doc, queue=self._queue, limit=asked)
        found: list[list[Candidate]] = [[] for _ in lanes]
        for number, priority, run_at, id, rowid, cost, _ in rows:
            found[number].append(Candidate(priority, run_at, id, rowid, cost))
        busy = yield from self._busy([job for candidates in found for job in candidates])
        for number, _, _, id, _, _, task in rows:
            if task in self._tasks and not lanes[number].gate and id not in busy:
                self.ungated.add(lanes[number].partition)
        for lane, candidates in zip(lanes, found, strict=True):
            lane.extend(candidates, asked)
            if busy:
                lane.let_go(busy, self._now + BUSY_MS)

    # --- what becomes of it ---

    def changed(self) -> Iterable[Turn]:
        """Partitions that are not as they are stored."""
        turns = self.turns.turns.values() if self._partitioned else ()
        return (turn for turn in turns if turn.served or not turn.active)

    def write(self, worker: str) -> Operation[list[Row]]:
        """Write down what was decided; gives the claims."""
        turns = list(self.changed())
        if turns:
            yield from self._write_turns(turns)
        taken = self.turns.taken
        if not taken:
            return []
        doc = document([job.place for job, _ in taken])
        rows = {row[0]: row for row in (yield sql("claim_rows", doc=doc, worker=worker, now=self._now))}
        queue = self._queue
        yield sql("write_queue", queue=queue, reached=self.turns.reached, spent=self._gate.spent())
        gates = {lane.gate for _, lane in taken if lane.gate}
        if gates:
            yield sql("write_tasks", doc=document([[name, self._tasks[name].spent()] for name in sorted(gates)]))
        if self._sequence is not None:
            until = sequence_until(self._sequence)
            keys = [Taken(sequence_key(queue, lane.partition), job.id, until, None) for job, lane in taken]
            yield sql("take_keys", doc=document(keys))
        return [rows[job.id] for job, _ in taken]

    def _write_turns(self, turns: Sequence[Turn]) -> Operation[None]:
        written = [
            [
                turn.name,
                turn.reached,
                turn.active,
                turn.open_at,
                turn.waiting,
                turn.gate.spent(),
                turn.gate.counts_until(),
            ]
            for turn in turns
        ]
        yield sql("write_turns", doc=document(written), queue=self._queue)
        if self._waited_at:
            yield sql("forget_lanes", doc=document([[self._queue, turn.name] for turn in turns]))
        waits = [[turn.name, task, turn.reached, cost] for turn in turns for task, cost in turn.waits.items()]
        if waits:
            yield sql("wait_in_lanes", doc=document(waits), queue=self._queue)

    def opens_at(self) -> Operation[int | None]:
        """When time gives the queue something more to claim, after all is written."""
        if len(self.turns.taken) >= self._limit:
            return None
        if self._more and not self.turns.stopped:
            return self._now
        times = [self.turns.opens_at] if self.turns.stopped else []
        if self._partitioned:
            ((first,),) = yield sql("partitions_open_at", queue=self._queue)
            lanes = (yield sql("lanes_open_at", queue=self._queue)) if self._tasks else ()
            opening = [first, *(self._tasks[task].opens_at(cost) for task, cost in lanes if cost is not None)]
        else:
            (turn,) = self.turns.turns.values()
            opening = [turn.open_at, *(self._tasks[task].opens_at(cost) for task, cost in turn.waits.items())]
        queue_opens_at = self._gate.opens_at(1) or 0
        times += [max(at, queue_opens_at) for at in opening if at is not None]
        return min((at for at in times if at is not None), default=None)
