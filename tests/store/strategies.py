"""What the random operations are made of: small worlds of names and times, in which things meet often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st

from mainspring.model.job import Conflict, Key, Policy, Until
from mainspring.model.limits import KEEP, Limits, Rate
from mainspring.model.states import FINAL, State
from mainspring.store.base import (
    Change,
    DefineQueue,
    DefineTask,
    Filter,
    LimitPartition,
    LimitQueue,
    LimitTask,
    PauseQueue,
    PauseSchedule,
    PutSchedule,
    RemoveSchedule,
    Room,
)

from .conformance.scene import T0

LEASE_MS = 300


@dataclass(frozen=True, slots=True)
class Tie:
    """An edge to some job that is there, or comes before in the same request."""

    pick: int
    policy: Policy
    wants_result: bool


@dataclass(frozen=True, slots=True)
class Draft:
    """A job to insert: a new one, or one whose id was there before."""

    again: bool
    pick: int
    task: str
    place: tuple[str, str]
    """Queue and partition."""
    cost: int
    priority: int
    delay_ms: int
    keys: tuple[Key, ...]
    ties: tuple[Tie, ...]
    in_flow: bool


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
    closed_ms: int | None


@dataclass(frozen=True, slots=True)
class Remark:
    """A note about some claim; `error` is by how much its lease is misnamed."""

    pick: int
    error: int
    percent: int
    first: int
    lines: int
    again: bool
    """It is sent twice."""


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
PLACES = {"a": ("",), "b": ("",), "p": ("x", "y", "z"), "s": ("", "x")}
"""The queues and their partitions. "a" and "b" have none; "s" is a sequence, and holds nobody to limits of "each"."""
queues = st.sampled_from(sorted(PLACES))
places = st.sampled_from([("a", ""), ("a", ""), *((queue, name) for queue, names in PLACES.items() for name in names)])
costs = st.sampled_from([1, 1, 1, 2, 5])
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

ties = st.builds(Tie, picks, st.sampled_from([Policy.FAIL, *Policy]), st.booleans())
tie_lists = st.one_of(st.just(()), st.lists(ties, min_size=1, max_size=3).map(tuple))

drafts = st.builds(
    Draft,
    st.booleans(),
    picks,
    tasks,
    places,
    costs,
    st.integers(0, 3),
    st.sampled_from([0, 0, 50, 300]),
    key_lists,
    tie_lists,
    st.booleans(),
)
members = st.builds(
    Draft,
    st.just(False),
    picks,
    tasks,
    places,
    costs,
    st.integers(0, 3),
    st.just(0),
    st.just(()),
    tie_lists,
    st.just(True),
)
"""Jobs of a new flow."""
policies = st.lists(st.sampled_from([Policy.FAIL, Policy.RUN, Policy.DEAD]), max_size=3)
room_lists = st.lists(st.builds(Room, queues, st.integers(1, 4)), min_size=1, max_size=3)
settled_states = st.sampled_from([*sorted(FINAL), State.SCHEDULED, State.QUEUED])
fates = st.builds(
    Fate,
    picks,
    errors,
    settled_states,
    spans,
    st.booleans(),
    st.booleans(),
    key_lists,
    st.one_of(st.none(), st.none(), spans),
)
remarks = st.builds(Remark, picks, errors, st.integers(0, 100), st.integers(0, 4), st.integers(0, 2), st.booleans())

flow_ids = st.integers(1, 4).map(lambda number: f"flow {number}")
id_sets = st.lists(st.integers(1, 30).map(job_id), max_size=6, unique=True).map(tuple)
state_sets = st.lists(st.sampled_from(State), max_size=4, unique=True).map(tuple)
filters = st.one_of(
    st.just(Filter()),
    st.builds(Filter, ids=id_sets),
    st.builds(Filter, states=state_sets),
    st.builds(Filter, flow=flow_ids),
    st.builds(
        Filter,
        ids=st.one_of(st.just(()), id_sets),
        states=state_sets,
        queue=st.one_of(st.none(), queues),
        task=st.one_of(st.none(), tasks),
        since=st.one_of(st.none(), spans.map(lambda ms: T0 + ms)),
        until=st.one_of(st.none(), spans.map(lambda ms: T0 + 4 * ms)),
        partition=st.one_of(st.none(), st.none(), st.sampled_from(["", "x", "y"])),
        flow=st.one_of(st.none(), st.none(), flow_ids),
        text=st.one_of(st.none(), st.none(), st.sampled_from(["n", 'N":1', "nowhere"])),
        tag=st.one_of(st.none(), st.none(), st.sampled_from(["a", "b\u00e9", "b"])),
    ),
)

rates = st.one_of(
    st.just(()),
    st.tuples(st.builds(Rate, st.integers(1, 4), st.just(0.1)), st.builds(Rate, st.integers(3, 8), st.just(0.4))),
)
"""None, or of always the same lengths: of a length that comes back, stores may remember more or less."""
slots = st.one_of(st.none(), st.integers(0, 4))
rooms_to_wait = st.one_of(st.none(), st.none(), st.integers(3, 8))
weights = st.sampled_from([1.0, 1.0, 2.0, 0.3])


def unless_kept(values: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.one_of(st.just(KEEP), values)


limits = st.builds(Limits, slots, rates, rooms_to_wait, weights)
spoken = {
    "concurrency": unless_kept(slots),
    "rates": unless_kept(rates),
    "max_queued": unless_kept(rooms_to_wait),
}
partition_names = st.sampled_from(PLACES["p"])

limit_changes = st.one_of(
    st.builds(LimitQueue, queues, st.one_of(st.none(), st.integers(0, 4))),
    st.builds(LimitQueue, st.sampled_from(["b", "p"]), **spoken),
    st.builds(LimitTask, tasks, **{name: spoken[name] for name in ("concurrency", "rates")}),
    st.builds(
        LimitPartition,
        st.just("p"),
        st.one_of(st.none(), partition_names),
        weight=unless_kept(weights),
        **spoken,
    ),
    st.builds(LimitPartition, st.just("s"), st.just("x"), slots),
    st.builds(DefineQueue, st.sampled_from(["a", "b"]), st.one_of(st.none(), st.integers(1, 4))),
    st.builds(DefineQueue, st.just("b"), slots, rates, rooms_to_wait),
    st.builds(
        DefineQueue,
        st.just("p"),
        st.one_of(st.none(), st.integers(1, 6)),
        rates,
        each=limits,
        partitions=st.dictionaries(partition_names, limits, max_size=2).map(lambda named: tuple(named.items())),
    ),
    st.builds(DefineTask, tasks, slots, rates),
    st.builds(PauseQueue, queues, st.sampled_from([True, False, False])),
    places.filter(lambda place: place[0] in "ps").flatmap(
        lambda place: st.builds(PauseQueue, st.just(place[0]), st.booleans(), st.just(place[1]))
    ),
)

changes = st.one_of(
    limit_changes.map(at),
    limit_changes.map(at),
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
