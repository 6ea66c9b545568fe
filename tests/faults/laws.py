"""The invariants of the design (its chapter 7), each as a law that a story keeps or breaks.

Where the store's own view is there (`Moved`), the laws go by that, and are exact. Else they go by what task functions
saw, and then a law leaves alone what a fault may excuse: it never accuses wrongly, and may let something pass.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from mainspring.model.options import MAX_CRASHES, REAP_MS

from .events import Moved
from .gate_laws import children, keys, keys_free, limits, rates
from .story import Story
from .violation import FINAL, Law, Violation

__all__ = ["LIVENESS", "SAFETY"]

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
        # A revival whose request was carried out twice may be two.
        if found.ends.count("completed") > 1 and not story.revivals(job):
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
