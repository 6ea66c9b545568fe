"""Gates are told of what may open them: new jobs, and all that happens to others; and they are closed on request.

Which partitions of a queue may have something to claim is written down beside them, so that a claim looks at no others.
Whoever changes that, or cannot rule it out, activates them; the next claim looks for itself (`turns`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from mainspring.model.job import NewJob
from mainspring.model.settlement import Settlement
from mainspring.store.base import Operation
from mainspring.store.sql.documents import document
from mainspring.store.sql.plans.keys import Capacity, Place
from mainspring.store.sql.plans.turns import limits_of, sequence_key
from mainspring.store.sql.statements import sql

__all__ = [
    "admit",
    "capacities",
    "close",
    "enter",
    "leave",
    "lock",
    "lock_tasks",
    "move",
    "prune",
    "wake",
    "wake_places",
    "wake_queue",
]

ADMITTED_AT_ONCE = 5000
"""How many arrivals at one queue a claim takes note of."""


def enter(places: Collection[Place]) -> Operation[None]:
    """Jobs have come to these partitions, which may have one to claim."""
    parted = sorted({queue for queue, partition in places if partition})
    if parted:
        yield sql("part_queues", doc=document(parted))
    if parted or (yield from _partitioned()):
        yield from wake_places(places)


def wake(ids: Collection[str]) -> Operation[None]:
    """Something happened to these jobs, live or final: the partitions that they are in may have one to claim."""
    if ids and (yield from _partitioned()):
        yield from wake_places((yield sql("places_of", doc=document(list(ids)))))


def leave(live: Sequence[int] = (), finished: Sequence[int] = ()) -> Operation[None]:
    """The jobs in these rows are about to be gone: others may be claimed where they were."""
    if (live or finished) and (yield from _partitioned()):
        places = (yield sql("places_of_live", doc=document(live))) if live else []
        places += (yield sql("places_of_finished", doc=document(finished))) if finished else []
        yield from wake_places(places)


def move(left: Sequence[tuple[str, str, str]]) -> Operation[None]:
    """Jobs that wait (id, queue, partition) have left that partition: its sequence goes on without them, and others may
    be claimed there."""
    if (yield from _partitioned()):
        keys = [[sequence_key(queue, partition), id] for id, queue, partition in left]
        yield sql("give_back_named", doc=document(keys))
        yield from wake_places([(queue, partition) for _, queue, partition in left])


def _partitioned() -> Operation[bool]:
    """Most stores have no partition at all, and nothing to do for them."""
    return bool((yield sql("any_partition")))


def wake_places(places: Iterable[Place]) -> Operation[None]:
    """There may be something to claim in these partitions."""
    named = sorted({(queue, partition) for queue, partition in places if partition})
    unnamed = sorted({(queue, "") for queue, _ in places})
    if unnamed:
        yield sql("wake_places", doc=document([*named, *unnamed]))
    if (yield sql("any_lane")):
        yield sql("forget_lanes", doc=document([*named, *unnamed]))


def admit(queue: str) -> Operation[bool]:
    """Wake the partitions of which word was left, where `wake_places` does no more than that. Whether there may be
    more."""
    arrived = yield sql("take_arrivals", queue=queue, limit=ADMITTED_AT_ONCE)
    names = sorted({row[0] for row in arrived})
    if names:
        yield sql("admit", doc=document(names), queue=queue, parted=any(names))
        yield sql("forget_lanes", doc=document([[queue, name] for name in names]))
    return len(arrived) >= ADMITTED_AT_ONCE


def lock(queues: Sequence[str]) -> Operation[None]:
    """Be alone with the gates of these queues (sorted) until the end of the transaction."""
    if queues:
        # Asked before anything is locked: who has locked some, and then adds others, meets who does it the other way.
        unknown = yield sql("unknown_queues", doc=document(queues))
        yield sql("add_queues" if unknown else "lock_gates", doc=document(queues))


def lock_tasks(queues: Sequence[str]) -> Operation[frozenset[str]]:
    """Be alone with the tasks' gates at which jobs of these queues are, too. Gives the others that let only so many
    through: who came there since does not pass."""
    others = (yield sql("lock_gates_of_tasks", doc=document(queues))) if queues else ()
    return frozenset(row[0] for row in others)


def wake_queue(queue: str) -> Operation[None]:
    """There may be something to claim in all partitions of a queue."""
    yield sql("wake_queue", queue=queue)
    yield from wake_places([(queue, "")])


def close(settlements: Iterable[Settlement], now: int) -> Operation[None]:
    """Close the gates of jobs whose (applied) settlements say so."""
    until = {each.id: now + each.closed_ms for each in settlements if each.closed_ms is not None}
    if not until:
        return
    queues, partitions, tasks = list[list[object]](), list[list[object]](), list[list[object]]()
    for row in (yield sql("gates_of", doc=document(list(until)))):
        id, queue, partition, task, partitioned, *texts = row
        if partitioned and limits_of(*texts[2:6]).rates:
            partitions.append([queue, partition, until[id]])
        elif limits_of(*texts[6:8]).rates:
            tasks.append([task, until[id]])
        elif limits_of(*texts[0:2]).rates or not partition:
            queues.append([queue, until[id]])
        else:
            partitions.append([queue, partition, until[id]])
    # In the order in which claims lock them.
    for name, closed in (("close_queues", queues), ("close_tasks", tasks), ("close_partitions", partitions)):
        if closed:
            yield sql(name, doc=document(closed))


def capacities(jobs: Sequence[NewJob]) -> Operation[dict[tuple[str, str | None], Capacity]]:
    """Where these jobs are to go: the queues (None) and partitions that take only so many waiting ones."""
    queues = yield sql("queues_that_fill", doc=document(sorted({job.queue for job in jobs})))
    if not queues:
        return {}
    texts = {queue: stored for queue, *stored in queues}
    places = sorted({(job.queue, job.partition) for job in jobs if job.queue in texts})
    own = {(queue, name): stored for queue, name, *stored in (yield sql("settings_of", doc=document(places)))}
    limits: dict[tuple[str, str | None], int | None] = {
        (queue, None): limits_of(*stored[0:2]).max_queued for queue, stored in texts.items()
    }
    for queue, partition in places:
        if partition or texts[queue][4]:
            stored = own.get((queue, partition), [])
            limits[queue, partition] = limits_of(*texts[queue][2:4], *stored).max_queued
    filling = {place: limit for place, limit in limits.items() if limit is not None}
    if not filling:
        return {}
    yield sql("lock_room", doc=document(sorted({queue for queue, _ in filling})))
    counts = yield sql("waiting_in", doc=document(list(filling)), most=max(filling.values()))
    return {(queue, name): Capacity(filling[queue, name], waiting) for queue, name, waiting in counts}


def prune(gone: Sequence[str], now: int, limit: int) -> Operation[None]:
    """These jobs are gone, and perhaps the last of their partitions."""
    if gone:
        yield sql("give_back_sequences", doc=document(gone))
    for row in (yield sql("lock_arrived", limit=limit)):
        yield from admit(row[0])
    yield sql("forget_partitions", now=now, limit=limit)
