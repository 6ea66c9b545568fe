"""Who gets which key: decided for a whole set of new jobs at once, from one look at who holds what.

The jobs take their keys one after the other, as if each were inserted alone; here that happens in memory, and what
comes out are sets to write: jobs to insert, keys to take, waiting jobs to change.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from mainspring.model.job import Conflict, Key, NewJob
from mainspring.store.base import Full, Inserted

__all__ = ["Capacity", "Holder", "Place", "Plan", "Replacement", "Taken", "plan"]


Place = tuple[str, str]
"""Queue and partition."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The job that holds a key."""

    job: str
    waiting: bool
    """Not running, so that another may take its place."""
    created_at: int
    expires_at: int | None
    place: Place
    blocked: bool = False
    """By parents, so that it takes up no room where it is."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A key that a new job gets, as it is written."""

    name: str
    job: str
    until: str
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class Replacement:
    """What becomes of a waiting job whose place another one takes."""

    id: str
    args: str
    priority: int
    options: str | None
    run_at: int
    queue: str
    partition: str
    cost: int
    left: Place | None
    """Where it was, if that is elsewhere."""


@dataclass(slots=True)
class Capacity:
    """How many jobs may wait in a queue or a partition, and how many do."""

    limit: int
    waiting: int


@dataclass(slots=True)
class Plan:
    """What to write, and what to reply."""

    jobs: list[NewJob] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    replacements: dict[str, Replacement] = field(default_factory=dict)
    replies: list[Inserted] = field(default_factory=list)


def plan(
    jobs: Sequence[NewJob],
    known: Collection[str],
    holders: Mapping[str, Holder],
    now: int,
    capacities: Mapping[tuple[str, str | None], Capacity],
    limited: int,
) -> Plan:
    """What inserting `jobs` comes to. `known` are those of their ids that are there already; `capacities` are those of
    queues (None) and partitions that take only so many waiting jobs, which goes for the first `limited` jobs."""
    made = Plan()
    held = dict(holders)
    holding = {holder.job for holder in holders.values()}
    ids = set(known)
    for number, job in enumerate(jobs):
        if job.id in ids:
            made.replies.append(Inserted(job.id, existed=True))
            continue
        seats, refused = _seats(job.keys, held)
        if refused is not None:
            made.replies.append(_refuse(job, refused, held, made, now, capacities, limited=number < limited))
            continue
        full = _full(_places(job.queue, job.partition), capacities) if number < limited else None
        if full is not None:
            made.replies.append(Inserted(job.id, existed=False, full=full))
            continue
        for name, key in seats.items():
            expires_at = None if key.expires_ms is None else now + key.expires_ms
            held[name] = Holder(job.id, True, now, expires_at, (job.queue, job.partition), bool(job.parents))
            made.taken.append(Taken(name, job.id, key.until, expires_at))
        if job.id in holding:
            # It holds a key since an earlier life of this id, which was pruned since: now it waits again.
            held = {name: _again(holder, job, now) if holder.job == job.id else holder for name, holder in held.items()}
        ids.add(job.id)
        made.jobs.append(job)
        if not job.parents:
            _count(_places(job.queue, job.partition), capacities, 1)
        made.replies.append(Inserted(job.id, existed=False))
    return made


Places = tuple[tuple[str, str | None], ...]
"""What may be full: a queue (None), a partition of it."""


def _places(queue: str, partition: str) -> Places:
    return (queue, None), (queue, partition)


def _full(places: Places, capacities: Mapping[tuple[str, str | None], Capacity]) -> Full | None:
    """In which of these places there is no room for a job."""
    for place in places:
        capacity = capacities.get(place)
        if capacity is not None and capacity.waiting >= capacity.limit:
            return Full(*place, capacity.limit)
    return None


def _count(places: Places, capacities: Mapping[tuple[str, str | None], Capacity], change: int) -> None:
    for place in places:
        if place in capacities:
            capacities[place].waiting += change


def _again(holder: Holder, job: NewJob, now: int) -> Holder:
    return Holder(job.id, True, now, holder.expires_at, (job.queue, job.partition), bool(job.parents))


def _seats(keys: Sequence[Key], held: Mapping[str, Holder]) -> tuple[dict[str, Key], Key | None]:
    """A free seat for each key; else the first key that has none. A key that is named twice is taken once."""
    seats: dict[str, Key] = {}
    for key in keys:
        names = key.held_as()
        if any(name in seats for name in names):
            continue
        free = next((name for name in names if name not in held), None)
        if free is None:
            return {}, key
        seats[free] = key
    return seats, None


def _refuse(
    job: NewJob,
    key: Key,
    held: Mapping[str, Holder],
    made: Plan,
    now: int,
    capacities: Mapping[tuple[str, str | None], Capacity],
    *,
    limited: bool,
) -> Inserted:
    """What becomes of a job that does not get its key."""
    # Of several holders it is the one that will hold longest: the latest, and among equals the one on the last seat.
    holders = (held[name] for name in reversed(key.held_as()) if name in held)
    holder = max(holders, key=lambda each: inf if each.expires_at is None else each.expires_at)
    if key.on_conflict is Conflict.REJECT:
        return Inserted(holder.job, existed=True, rejected=key.name)
    if key.on_conflict is not Conflict.REPLACE or not holder.waiting:
        return Inserted(holder.job, existed=True)
    full = _move(job, holder, made, capacities, limited=limited)
    if full is not None:
        return Inserted(job.id, existed=False, full=full)
    run_at = now + job.delay_ms if job.run_at is None else job.run_at
    if key.max_delay_ms is not None:
        run_at = min(run_at, holder.created_at + key.max_delay_ms)
    made.replacements[holder.job] = Replacement(
        holder.job,
        job.args,
        job.priority,
        job.options,
        run_at,
        job.queue,
        job.partition,
        job.cost,
        None if holder.place == (job.queue, job.partition) else holder.place,
    )
    return Inserted(holder.job, existed=True)


def _move(
    job: NewJob, holder: Holder, made: Plan, capacities: Mapping[tuple[str, str | None], Capacity], *, limited: bool
) -> Full | None:
    """The holder goes to where the new job is to be, unless there is no room."""
    earlier = made.replacements.get(holder.job)
    before = _places(*holder.place) if earlier is None else _places(earlier.queue, earlier.partition)
    after = _places(job.queue, job.partition)
    left = tuple(place for place in before if place not in after)
    come = tuple(place for place in after if place not in before)
    if holder.blocked:
        return None
    full = _full(come, capacities) if limited else None
    if full is None:
        _count(left, capacities, -1)
        _count(come, capacities, 1)
    return full
