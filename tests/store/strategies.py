"""What the random operations are made of: small worlds of names and times, in which things meet often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st

from mainspring.model.job import Conflict, Key, Until
from mainspring.model.states import FINAL, State
from mainspring.store.base import (
    Change,
    DefineQueue,
    Filter,
    LimitQueue,
    PauseQueue,
    PauseSchedule,
    PutSchedule,
    RemoveSchedule,
    Room,
)

from .conformance.scene import T0

LEASE_MS = 300


@dataclass(frozen=True, slots=True)
class Draft:
    """A job to insert: a new one, or one whose id was there before."""

    again: bool
    pick: int
    task: str
    queue: str
    priority: int
    delay_ms: int
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of some claim; `error` is by how much its lease is misnamed."""

    pick: int
    error: int
    state: State
    delay_ms: int
    follows: bool
    noted: bool
    keys: tuple[Key, ...]
    """What the job wants to hold that follows."""


@dataclass(frozen=True, slots=True)
class Remark:
    """A note about some claim; `error` is by how much its lease is misnamed."""

    pick: int
    error: int
    percent: int
    lines: int


def job_id(number: int) -> str:
    return f"job {number:03}"


def at(change: Change) -> Callable[[int], Change]:
    """A change that is the same at all times."""
    return lambda now: change


picks = st.integers(0, 1000)
"""Which of what there is by then; taken modulo its number."""
spans = st.integers(0, 400)
"""Milliseconds, of the size of a lease: delays run out, and so do leases."""
errors = st.sampled_from([0, 0, 0, 0, 1, -1])
queues = st.sampled_from(["a", "b"])
tasks = st.sampled_from(["mail", "print"])
schedules = st.sampled_from(["hourly", "daily"])

keys = st.builds(
    Key,
    st.sampled_from(["k", "k", "l"]),
    st.sampled_from(Until),
    st.sampled_from([None, 50, 300, 300]),
    st.sampled_from(Conflict),
    st.sampled_from([1, 1, 1, 2, 3]),
    st.sampled_from([None, None, 100]),
)
"""Few names, and now and then one on several seats, so that most who want one are not alone."""
key_lists = st.one_of(st.just(()), st.lists(keys, min_size=1, max_size=2).map(tuple))

drafts = st.builds(
    Draft, st.booleans(), picks, tasks, queues, st.integers(0, 3), st.sampled_from([0, 0, 50, 300]), key_lists
)
room_lists = st.lists(st.builds(Room, queues, st.integers(1, 4)), min_size=1, max_size=3)
settled_states = st.sampled_from([*sorted(FINAL), State.SCHEDULED, State.QUEUED])
fates = st.builds(Fate, picks, errors, settled_states, spans, st.booleans(), st.booleans(), key_lists)
remarks = st.builds(Remark, picks, errors, st.integers(0, 100), st.integers(0, 2))

id_sets = st.lists(st.integers(1, 30).map(job_id), max_size=6, unique=True).map(tuple)
state_sets = st.lists(st.sampled_from(State), max_size=4, unique=True).map(tuple)
filters = st.one_of(
    st.just(Filter()),
    st.builds(Filter, ids=id_sets),
    st.builds(Filter, states=state_sets),
    st.builds(
        Filter,
        ids=st.one_of(st.just(()), id_sets),
        states=state_sets,
        queue=st.one_of(st.none(), queues),
        task=st.one_of(st.none(), tasks),
        since=st.one_of(st.none(), spans.map(lambda ms: T0 + ms)),
        until=st.one_of(st.none(), spans.map(lambda ms: T0 + 4 * ms)),
    ),
)

changes = st.one_of(
    st.builds(LimitQueue, queues, st.one_of(st.none(), st.integers(0, 4))).map(at),
    st.builds(DefineQueue, queues, st.one_of(st.none(), st.integers(1, 4))).map(at),
    st.builds(PauseQueue, queues, st.sampled_from([True, False, False])).map(at),
    st.tuples(schedules, st.sampled_from([100, 200]), spans, st.integers(0, 3), key_lists).map(
        lambda it: (
            lambda now: PutSchedule(it[0], "mail", f'{{"every":{it[1]}}}', now + it[2], "a", priority=it[3], keys=it[4])
        )
    ),
    st.tuples(schedules, spans).map(lambda it: lambda now: PauseSchedule(it[0], it[1] % 2 == 0, now + it[1])),
    st.builds(PauseSchedule, schedules, st.just(False)).map(at),
    st.builds(RemoveSchedule, schedules).map(at),
)
"""Changes that wait for the time at which they are made."""
