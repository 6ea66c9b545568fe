"""The invariants of the design (its chapter 7), each as a law that a story keeps or breaks.

Where the store's own view is there (`Moved`), the laws go by that, and are exact. Else they go by what task functions
saw, and then a law leaves alone what a fault may excuse: it never accuses wrongly, and may let something pass.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

from mainspring.model.options import MAX_CRASHES, REAP_MS

from .events import Limited, Moved, Started
from .story import Story

__all__ = ["LIVENESS", "SAFETY", "Violation"]

FINAL = frozenset(("completed", "dead", "cancelled"))


@dataclass(frozen=True, slots=True)
class Violation:
    """A law that was broken, when, and by which job (or gate)."""

    law: str
    at: float
    what: str
    text: str

    def __str__(self) -> str:
        return f"{self.at:9.3f}  {self.law}: {self.what}: {self.text}"


Law = Callable[[Story], Iterator[Violation]]


# --- jobs are neither lost nor invented ------------------------------------------------------------------------------


def lost(story: Story) -> Iterator[Violation]:
    """1: what was acknowledged is there."""
    if not story.found:
        return
    for job, acknowledged in story.acknowledged.items():
        deleted = any(altered.verb == "delete" for altered in story.altered[job])
        if acknowledged.stored and job not in story.found and not deleted:
            yield Violation(
                "lost", acknowledged.at, job, "its enqueue was acknowledged, and the store does not have it"
            )


def unexpected(story: Story) -> Iterator[Violation]:
    """1: what is there was asked for."""
    asked = set(story.offered).union(*(story.slots(ticking) for ticking in story.ticking))
    for job in story.found:
        if job not in asked:
            yield Violation("unexpected", story.end, job, "it is in the store, and nobody enqueued it")
    for started in story.started:
        if started.job not in asked:
            yield Violation("unexpected", started.at, started.job, "it ran, and nobody enqueued it")


def unfinished(story: Story) -> Iterator[Violation]:
    """2, 12: once faults have stopped, every job comes to its end."""
    for found in story.found.values():
        if found.state not in FINAL:
            since = "" if story.faults_over is None else f" {story.end - story.faults_over:.0f} s after the last fault"
            yield Violation("unfinished", story.end, found.job, f"it is {found.state}{since}")


def recovery(story: Story) -> Iterator[Violation]:
    """2: a dead worker's jobs are taken over within the time between two rounds of reaping, if there is anybody."""
    begun = {fault.process: fault.at for fault in story.faults if fault.what == "begun"}
    owners: dict[str, str] = {}
    for moved in story.moved:
        renewals = story.renewed[owners.get(moved.job, "")]
        owners[moved.job] = moved.worker
        ends = [renewed.until for renewed in renewals if renewed.at <= moved.at]
        if moved.by != "reap" or not ends or moved.at <= ends[-1] + REAP_MS / 1000 + 1:
            continue
        idle = (process for process, at in begun.items() if at <= ends[-1])
        if any(not story.touched(process, moved.at) for process in idle):
            text = f"taken over {moved.at - ends[-1]:.1f} s after the end of its worker's lease"
            yield Violation("recovery", moved.at, moved.job, text)


def ticks(story: Story) -> Iterator[Violation]:
    """10: one job for each slot."""
    for ticking in story.ticking:
        slots = story.slots(ticking)
        stored = [moved.job for moved in story.moved if not moved.was and moved.job in slots]
        for job in {job for job in stored if stored.count(job) > 1}:
            yield Violation("ticks", slots[job] / 1000, job, f"{ticking.schedule} ticked twice for one slot")
        if not story.found:
            continue
        for job, slot in slots.items():
            if slot <= ticking.until_ms and job not in story.found:
                yield Violation("ticks", slot / 1000, job, f"{ticking.schedule} did not tick for slot {slot}")


# --- leases ----------------------------------------------------------------------------------------------------------

MOVES: dict[str, frozenset[tuple[str, str]]] = {
    # What each operation may do to jobs that it does not write in the name of a lease: the picture of the seven states.
    "insert": frozenset(
        {("", "blocked"), ("", "scheduled"), ("", "queued"), ("scheduled", "scheduled"), ("queued", "queued")}
        | {("scheduled", "queued"), ("queued", "scheduled")}
        | {("blocked", "blocked"), ("blocked", "scheduled"), ("blocked", "queued"), ("blocked", "cancelled")}
    ),
    "claim": frozenset({("scheduled", "queued"), ("queued", "running")}),
    "reap": frozenset({("running", "running")}),
    "settle": frozenset(
        {("", "blocked"), ("", "scheduled"), ("", "queued")}
        | {("blocked", "scheduled"), ("blocked", "queued"), ("blocked", "cancelled")}
    ),
    "note": frozenset(),
    "prune": frozenset({(state, "") for state in FINAL}),
    "alter": frozenset(
        {(state, "") for state in FINAL | {"blocked", "scheduled", "queued"}}
        | {(state, "cancelled") for state in ("blocked", "scheduled", "queued")}
        | {(state, after) for state in ("scheduled", "queued") for after in ("scheduled", "queued")}
        | {(state, after) for state in FINAL for after in ("queued", "blocked")}
        | {("running", "running"), ("blocked", "blocked"), ("blocked", "queued"), ("blocked", "scheduled")}
    ),
}
WRITES = frozenset({("running", state) for state in ("scheduled", "queued", *FINAL)})


def moves(story: Story) -> Iterator[Violation]:
    """Each job moves along the picture of the states only: so none is settled twice, or released twice."""
    for moved in story.moved:
        step = moved.was, moved.state
        if moved.named is not None:
            allowed = step in WRITES if moved.by == "settle" else moved.by == "note" and step == ("running", "running")
        else:
            allowed = step in MOVES.get(moved.by, frozenset())
        if not allowed:
            yield Violation("moves", moved.at, moved.job, f"{moved.by} of {moved.sender}: {moved.was} -> {moved.state}")


def leases(story: Story) -> Iterator[Violation]:
    """3, 4: a lease number only rises, by one with each new owner; a write in another lease's name changes nothing."""
    last: dict[str, int] = {}
    for moved in story.moved:
        before = last.get(moved.job, 0)
        gives = (moved.by == "claim" and moved.state == "running") or moved.by == "reap"
        if not moved.state:
            last.pop(moved.job, None)
        else:
            if moved.lease != before + gives:
                text = f"{moved.by} of {moved.sender}: lease {before} -> {moved.lease}"
                yield Violation("leases", moved.at, moved.job, text)
            last[moved.job] = moved.lease
        if moved.named is not None and moved.named != before:
            text = f"{moved.by} of {moved.sender} wrote in the name of lease {moved.named}, while {before} held"
            yield Violation("stale", moved.at, moved.job, text)


def early_reaps(story: Story) -> Iterator[Violation]:
    """3: nothing is taken from a worker that the store counts as alive."""
    owners: dict[str, str] = {}
    for moved in story.moved:
        if moved.by == "reap":
            owner = owners.get(moved.job, "")
            good = [renewed.until for renewed in story.renewed[owner] if renewed.at <= moved.at]
            if good and good[-1] > moved.at:
                text = f"taken from {owner}, whose lease is good until {good[-1]:.3f}"
                yield Violation("early reap", moved.at, moved.job, text)
        owners[moved.job] = moved.worker


def lost_in_peace(story: Story) -> Iterator[Violation]:
    """3: a worker whose process goes on, and whose way to the store is open, keeps its lease, whatever its jobs do."""
    processes = {id: each.process for id, renewals in story.renewed.items() for each in renewals if each.process}
    owners: dict[str, str] = {}
    for moved in story.moved:
        process = processes.get(owners.get(moved.job, ""))
        owners[moved.job] = moved.worker
        if moved.by != "reap" or process is None:
            continue
        excuses = (each for each in story.faults if each.process in ("", process) and each.at <= moved.at)
        if all(each.what in ("begun", "blocked", "stopping", "hurried", "quiet") for each in excuses):
            yield Violation("lost in peace", moved.at, moved.job, f"taken from {process}, which nothing had befallen")


def overlaps(story: Story) -> Iterator[Violation]:
    """3: no job runs twice at once in the hands of workers that both own it."""
    if story.moved:
        yield from _stale_starts(story)
        return
    runs = defaultdict(list)
    for run in story.runs():
        runs[run.started.job].append(run)
    for job, its in runs.items():
        for first, second in pairwise(its):
            late = second.started.lease < first.started.lease  # claimed before, and its worker stood still since
            claimed = min(second.started.at, second.started.claimed_ms / 1000)
            if late and story.disturbed(second.started.process, claimed, second.started.at):
                continue
            if second.started.at < first.until:
                text = f"lease {first.started.lease} on {first.started.process} until {first.until:.3f}, "
                text += f"lease {second.started.lease} on {second.started.process} from {second.started.at:.3f}"
                yield Violation("overlap", second.started.at, job, text)
            if second.started.lease <= first.started.lease:
                text = f"lease {second.started.lease} was given out after {first.started.lease}"
                yield Violation("leases", second.started.at, job, text)


def _stale_starts(story: Story) -> Iterator[Violation]:
    """No run begins under a lease that the job has no more, or has begun under already."""
    held: dict[str, int] = {}
    begun = set[tuple[str, int]]()
    events = sorted([*story.moved, *story.started], key=lambda event: event.at)
    for event in events:
        if isinstance(event, Moved):
            held[event.job] = event.lease if event.state == "running" else 0
            if not event.state:
                begun = {each for each in begun if each[0] != event.job}
            continue
        if (event.job, event.lease) in begun:
            yield Violation("overlap", event.at, event.job, f"it began twice under lease {event.lease}")
        begun.add((event.job, event.lease))
        if held.get(event.job) != event.lease:
            text = f"it began under lease {event.lease} on {event.process}, and {held.get(event.job)} held"
            yield Violation("stale start", event.at, event.job, text)


def early_ends(story: Story) -> Iterator[Violation]:
    """A worker settles a run when its function has ended; only one that stops gives up on a function that does not."""
    begun = {(started.job, started.lease): started for started in story.started}
    for moved in story.moved:
        if moved.by != "settle" or moved.named is None or (moved.job, moved.named) not in begun:
            continue
        started, ended = begun[moved.job, moved.named], story.ended.get((moved.job, moved.named))
        stops = (fault.at for fault in story.faults if fault.process == started.process and fault.what == "stopping")
        if started.at <= moved.at and (ended is None or ended.at > moved.at) and not any(at < moved.at for at in stops):
            text = f"settled as {moved.state} by {moved.sender} while its function went on under lease {moved.named}"
            yield Violation("early end", moved.at, moved.job, text)


def after_its_end(story: Story) -> Iterator[Violation]:
    """4: a job that has completed does not run again."""
    completed = {found.job: found for found in story.found.values() if found.state == "completed"}
    for job, found in completed.items():
        if found.ends.count("completed") > 1 + story.revivals(job):
            yield Violation("settled twice", story.end, job, f"its attempts ended {', '.join(found.ends)}")
    for started in story.started:
        # Deleted and, by a client who had not heard, inserted once more, a job begins anew.
        deleted = any(altered.verb == "delete" for altered in story.altered[started.job])
        if not deleted and started.job in story.found and started.lease > story.found[started.job].lease:
            text = f"it ran under lease {started.lease}, and its last one is {story.found[started.job].lease}"
            yield Violation("leases", started.at, started.job, text)


# --- attempts --------------------------------------------------------------------------------------------------------


def attempts(story: Story) -> Iterator[Violation]:
    """11: starts are no more than attempts and what gave one back. 13: who hands back gives it back."""
    used: defaultdict[str, int] = defaultdict(int)
    interrupted = {key for key, ended in story.ended.items() if ended.how == "interrupted"}
    before: dict[str, Moved] = {}
    for moved in story.moved:
        was = before.get(moved.job)
        if moved.by == "claim" and moved.state == "running":
            used[moved.job] += 1
        elif moved.by == "alter" and moved.was in FINAL:
            used[moved.job] = 0
        elif moved.by == "settle" and moved.named is not None and was is not None:
            if moved.attempt < was.attempt:
                used[moved.job] -= 1
            elif (moved.job, moved.named) in interrupted and moved.state in ("queued", "scheduled"):
                yield Violation("hand back", moved.at, moved.job, f"an interrupted run used attempt {moved.attempt}")
        allowed = story.offered[moved.job].attempts if moved.job in story.offered else None
        if allowed is not None and max(used[moved.job], moved.attempt) > allowed:
            yield Violation(
                "attempts", moved.at, moved.job, f"attempt {moved.attempt} of {allowed}, {used[moved.job]} used"
            )
        if moved.crashes > MAX_CRASHES:
            yield Violation("attempts", moved.at, moved.job, f"{moved.crashes} crashes")
        before[moved.job] = moved
    for started in story.started:
        allowed = story.offered[started.job].attempts if started.job in story.offered else None
        if allowed is not None and started.attempt > allowed:
            yield Violation("attempts", started.at, started.job, f"attempt {started.attempt} of {allowed}")


def crashes(story: Story) -> Iterator[Violation]:
    """A crash is counted only of a job that was taken from a dead worker."""
    before: dict[str, Moved] = {}
    for moved in story.moved:
        was = before.get(moved.job)
        if was is not None and moved.crashes > was.crashes and was.by not in ("reap", "note"):
            yield Violation("crashes", moved.at, moved.job, f"{moved.crashes} after {was.by}")
        if moved.by not in ("note", "alter") or was is None:
            before[moved.job] = moved


def stops(story: Story) -> Iterator[Violation]:
    """13: a process that was stopped gracefully, and otherwise left in peace, leaves no job behind."""
    for stopping in story.faults:
        if stopping.what != "stopping":
            continue
        ends = [each.at for each in story.faults if each.process == stopping.process and each.what == "stopped"]
        if not ends or story.disturbed(stopping.process, 0.0, ends[0]):
            continue
        mine = {
            id for id, renewals in story.renewed.items() if any(each.process == stopping.process for each in renewals)
        }
        owners: dict[str, str] = {}
        for moved in story.moved:
            if moved.at <= ends[0]:
                owners[moved.job] = moved.worker if moved.state == "running" else ""
        for job, owner in owners.items():
            if owner in mine:
                yield Violation("stop", ends[0], job, f"{stopping.process} stopped gracefully and left it running")


# --- limits ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Start:
    job: str
    ms: int
    cost: int
    gates: tuple[tuple[str, str], ...]


def limits(story: Story) -> Iterator[Violation]:
    """8: never over a concurrency limit."""
    gates = _Gates(story)
    claimed = {(started.job, started.at): min(started.at, started.claimed_ms / 1000) for started in story.started}
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


def _runs(story: Story, revived: Mapping[str, float] = MappingProxyType({})) -> list[tuple[float, str, bool]]:
    """When each job began and ceased to run, in order; without the runs that began after it was `revived`."""
    if story.moved:
        return [(each.at, each.job, each.state == "running") for each in story.moved if each.was != each.state]
    edges: list[tuple[float, str, bool]] = []
    again: dict[str, float] = {}
    for run in reversed(story.runs()):
        # Given out anew it was not in this hand any more, whether that knew it or not.
        until = min(run.until, again.get(run.started.job, run.until))
        again[run.started.job] = run.started.at
        if run.started.at < until and run.started.at < revived.get(run.started.job, float("inf")):
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
        revived = {job: altered.at for job, its in story.altered.items() for altered in its if altered.verb == "revive"}
        return _runs(story, revived)
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


SAFETY: tuple[Law, ...] = (
    lost,
    unexpected,
    moves,
    leases,
    early_reaps,
    lost_in_peace,
    overlaps,
    early_ends,
    after_its_end,
    attempts,
    crashes,
    stops,
    limits,
    rates,
    keys,
    keys_free,
    children,
)
LIVENESS: tuple[Law, ...] = (unfinished, recovery, ticks)
