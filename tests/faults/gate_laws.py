"""The laws about who may start, and when: limits, rates, keys, and parents. See `laws`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from .events import Limited, Started
from .story import Story
from .violation import FINAL, Violation

__all__ = ["children", "keys", "keys_free", "limits", "rates"]


# --- limits ----------------------------------------------------------------------------------------------------------


def limits(story: Story) -> Iterator[Violation]:
    """8: never over a concurrency limit."""
    gates = _Gates(story)
    claimed = {(each.job, each.at): min(each.at, each.claimed_ms / 1000) for each in story.started}
    running: dict[str, tuple[tuple[str, str], ...]] = {}
    for at, job, begins in _runs(story):
        if not begins:
            running.pop(job, None)
            continue
        for gate in gates.of(job):
            most = gates.slots(gate, at if story.moved else claimed.get((job, at), at), at)
            others = [other for other, its in running.items() if gate in its and other != job]
            if most is not None and len(others) >= most:
                text = f"{job} started beside {len(others)}, {most} may run"
                yield Violation("concurrency", at, ":".join(gate), text)
        running[job] = gates.of(job)


def rates(story: Story) -> Iterator[Violation]:
    """7: never over a rate, in any stretch of time of its length."""
    gates = _Gates(story)
    by_gate: defaultdict[tuple[str, str], list[tuple[int, dict[int, int]]]] = defaultdict(list)
    for ms, at, job in _starts(story):
        for gate in gates.of(job):
            limit = gates.limit(gate, at)
            starts = by_gate[gate]
            # One that is dearer than all that a rate allows takes the whole of it.
            starts.append((ms, {per: min(gates.cost(job), most) for most, per in (limit.rates if limit else ())}))
            for most, per_ms in limit.rates if limit is not None else ():
                since = max(ms - per_ms, gates.rate_since(gate, per_ms, at))
                spent = sum(prices.get(per_ms, 0) for start, prices in starts if start > since)
                if spent > most:
                    text = f"{spent} starts in the {per_ms} ms before {ms}, {most} may"
                    yield Violation("rate", at, ":".join(gate), text)


class _Gates:
    """Which gates a job goes through, and how wide they are."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._started = {started.job: started for started in story.started}
        self._limited: defaultdict[tuple[str, str], list[Limited]] = defaultdict(list)
        for limited in story.limited:
            self._limited[limited.gate, limited.name].append(limited)

    def of(self, job: str) -> tuple[tuple[str, str], ...]:
        known: object = self._story.offered.get(job) or self._started.get(job)
        if known is None:
            return ()
        queue, partition, task = known.queue, known.partition, known.task  # type: ignore[attr-defined]
        names = (("queue", queue), ("partition", f"{queue}/{partition}"), ("task", task))
        return tuple(name for name in names if name in self._limited)

    def cost(self, job: str) -> int:
        known = self._story.offered.get(job)
        return 1 if known is None else known.cost

    def limit(self, gate: tuple[str, str], at: float) -> Limited | None:
        """What is in force."""
        return next((each for each in reversed(self._limited[gate]) if each.at <= at), None)

    def slots(self, gate: tuple[str, str], since: float, at: float) -> int | None:
        """The most that may have run at some moment between a claim and what was seen of it; None: any number."""
        before = self.limit(gate, since)
        forces = [before, *(each for each in self._limited[gate] if since < each.at <= at)]
        slots = [each.concurrency for each in forces if each is not None and each.concurrency is not None]
        return max(slots) if len(slots) == len(forces) else None

    def rate_since(self, gate: tuple[str, str], per_ms: int, at: float) -> int:
        """Since when, without a break, the gate has had a rate of that length."""
        since: float | None = None
        for limited in self._limited[gate]:
            if limited.at <= at and any(per == per_ms for _, per in limited.rates):
                since = limited.at if since is None else since
            elif limited.at <= at:
                since = None
        return int((since or 0.0) * 1000) - 1


def _starts(story: Story) -> list[tuple[int, float, str]]:
    """When each job was given out: on the store's clock, and on that of the history."""
    if story.moved:
        given_out = (each for each in story.moved if each.by == "claim" and each.state == "running")
        return [(int(each.at * 1000), each.at, each.job) for each in given_out]
    return sorted((started.claimed_ms, started.at, started.job) for started in story.started)


def _runs(story: Story) -> list[tuple[float, str, bool]]:
    """When each job began and ceased to run, in order."""
    if story.moved:
        return [(each.at, each.job, each.state == "running") for each in story.moved if each.was != each.state]
    edges: list[tuple[float, str, bool]] = []
    again: dict[str, float] = {}
    for run in reversed(story.runs()):
        # Given out anew it was not in this hand any more, whether that knew it or not.
        until = min(run.until, again.get(run.started.job, run.until))
        again[run.started.job] = run.started.at
        if until > run.started.at:
            edges += [(run.started.at, run.started.job, True), (until, run.started.job, False)]
    return sorted(edges, key=lambda edge: (edge[0], edge[2]))


# --- keys and edges --------------------------------------------------------------------------------------------------


def keys(story: Story) -> Iterator[Violation]:
    """6: no two live jobs hold one key."""
    holders: dict[str, str] = {}
    for at, job, begins in _lives(story):
        for key in story.offered[job].keys if job in story.offered else ():
            holder = holders.get(key)
            if not begins:
                if holder == job:
                    del holders[key]
            elif holder is None or holder == job:
                holders[key] = job
            else:
                yield Violation("key", at, job, f"it takes {key!r}, which {holder} holds")


def _lives(story: Story) -> list[tuple[float, str, bool]]:
    """From when to when each job could hold its keys: until its first end, after which it never has them again."""
    if not story.moved:
        return [run for run in _runs(story) if not story.revivals(run[1])]
    lives, over = [], set[str]()
    for moved in story.moved:
        if moved.job in over:
            continue
        if not moved.was:
            lives.append((moved.at, moved.job, True))
        elif not moved.state or moved.state in FINAL:
            over.add(moved.job)
            lives.append((moved.at, moved.job, False))
    return lives


def keys_free(story: Story) -> Iterator[Violation]:
    """6: a job is turned away for its key only while somebody has that key."""
    if not story.moved:
        return
    spans: defaultdict[str, list[list[float]]] = defaultdict(list)
    open_spans: dict[str, list[float]] = {}
    for at, job, begins in _lives(story):
        for key in story.offered[job].keys if job in story.offered else ():
            if begins:
                open_spans[job + key] = [at, float("inf")]
                spans[key].append(open_spans[job + key])
            elif job + key in open_spans:
                open_spans[job + key][1] = at
    for job, acknowledged in story.acknowledged.items():
        offered = story.offered.get(job)
        if acknowledged.stored or offered is None or not offered.keys:
            continue
        held = (begin <= acknowledged.at and end >= offered.at for key in offered.keys for begin, end in spans[key])
        if not any(held):
            yield Violation("key", acknowledged.at, job, f"turned away for {offered.keys}, which nobody had")


def children(story: Story) -> Iterator[Violation]:
    """9: a child starts only when its last parent has ended."""
    if not story.moved:
        yield from _children_seen(story)
        return
    state: dict[str, str] = {}
    for moved in story.moved:
        state[moved.job] = moved.state
        if moved.was != "blocked" or moved.state not in ("queued", "scheduled") or moved.by == "alter":
            continue
        for parent in story.offered[moved.job].parents if moved.job in story.offered else ():
            # One that was deleted counts as ended, though a client who had not heard may insert it once more.
            deleted = any(altered.verb == "delete" for altered in story.altered[parent])
            if not deleted and state.get(parent, "") not in FINAL | {""}:
                yield Violation("child", moved.at, moved.job, f"released while {parent} is {state[parent]}")


def _children_seen(story: Story) -> Iterator[Violation]:
    firsts: dict[str, Started] = {}
    for started in story.started:
        firsts.setdefault(started.job, started)
    for job, first in firsts.items():
        for parent in story.offered[job].parents if job in story.offered else ():
            ends = [ended.at for (id, _), ended in story.ended.items() if id == parent]
            killed_by = story.found[parent].state != "completed" if parent in story.found else True
            if story.altered[job] or story.altered[parent] or killed_by:
                continue
            if not ends or min(ends) > first.at:
                yield Violation("child", first.at, job, f"it started before its parent {parent} had ended")
