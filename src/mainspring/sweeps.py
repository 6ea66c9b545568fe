"""Sweeps: a verb on its way through very many jobs, which can be left off after any batch and gone on with later.

What `altering` does to all jobs that fit takes as long as it takes, minutes for a million. A sweep is the same bit by
bit, for those who have to answer meanwhile: it is a plain value that says what is done to which jobs and how far that
has come, and whoever has it can go on, in this process or another. It keeps to the jobs that were there when it was
begun; one that nobody goes on with has done what it has done, and its entry in the audit log says so.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from mainspring.altering import batches, told
from mainspring.audit import actor, new_entry
from mainspring.errors import InvalidOption, StoreError
from mainspring.model.states import State
from mainspring.store.base import ConfigureRequest, CountRequest, Filter, Verb
from mainspring.twin import Steps, ask

if TYPE_CHECKING:
    from mainspring.app import Mainspring

__all__ = ["DONE", "SWEEPS", "Sweep", "SweepVerb", "begin", "go_on"]

SweepVerb = Literal["cancel", "retry", "reschedule", "reprioritise", "delete"]
SWEEPS: Mapping[SweepVerb, Verb] = {
    "cancel": Verb.CANCEL,
    "retry": Verb.REVIVE,
    "reschedule": Verb.RESCHEDULE,
    "reprioritise": Verb.REPRIORITISE,
    "delete": Verb.DELETE,
}
"""What operators ask for, and the store's verb for it."""
DONE: Mapping[Verb, str] = {
    Verb.CANCEL: "cancelled",
    Verb.REVIVE: "retried",
    Verb.RESCHEDULE: "rescheduled",
    Verb.REPRIORITISE: "reprioritised",
    Verb.DELETE: "deleted",
}
"""What has been done to the jobs then."""

COUNTING_SECONDS = 1.0
"""So long it is counted beforehand how many jobs there are."""
COUNTED_AT_ONCE = 100_000
TELLING_SECONDS = 1.0
"""So often the audit log is told how far it has come."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """What is done to which jobs, and how far that has come: `app.jobs.sweep`, `app.jobs.go_on`."""

    verb: Verb
    where: Filter
    """Bounded by the time at which it was begun."""
    value: int | None = None
    reason: str | None = None
    counts: Mapping[State, int] = field(default_factory=dict)
    """How many jobs there were when it was begun, by the states in which something can be done to them."""
    exact: bool = True
    """False: there may have been more than were counted."""
    changed: int = 0
    """How many it has been done to so far."""
    cursor: str | None = None
    done: bool = False
    """Whether it has come to the end."""
    entry: str | None = None
    """The id of its entry in the audit log; None: there is none, or not yet."""
    actor: str | None = None
    """Who has begun it."""

    @property
    def matched(self) -> int:
        """How many jobs there were when it was begun; at least so many, if that is not exact."""
        return sum(self.counts.values())


def begin(verb: Verb, where: Filter, value: int | None = None, reason: str | None = None) -> Steps[Sweep]:
    """Count the jobs, for a second at most. None is changed yet."""
    states = tuple(state for state in verb.changes if not where.states or state in where.states)
    where = replace(where, states=states)
    if not states:
        return Sweep(verb, where, value, reason, done=True, actor=actor())
    counts = dict.fromkeys(states, 0)
    deadline = time.monotonic() + COUNTING_SECONDS
    request = CountRequest(where, most=COUNTED_AT_ONCE)
    first = reply = yield from ask(request)
    while True:
        for tally in reply.tallies:
            counts[tally.state] += tally.count
        if reply.cursor is None or time.monotonic() >= deadline:
            break
        reply = yield from ask(replace(request, cursor=reply.cursor))
    exact = reply.cursor is None
    # What comes later is not meant. By the store's clock, by which jobs are made and end.
    until = first.now if where.until is None else min(where.until, first.now)
    bounded = where if where.ids else replace(where, until=until)
    nothing = exact and not any(counts.values())
    return Sweep(verb, bounded, value, reason, counts, exact, done=nothing, actor=actor())


def go_on(app: Mainspring, sweep: Sweep, seconds: float) -> Steps[Sweep]:
    """Do the next batches, for about so many seconds, one batch at least; gives how far it has come."""
    if sweep.actor != actor():
        raise InvalidOption(f"{sweep.actor or 'the program'} has begun this; begin anew in your own name")
    if sweep.done:
        # What found nothing to do was wanted all the same.
        return sweep if sweep.entry else (yield from _tell(sweep, sweep.changed))
    if sweep.entry is None:
        sweep = yield from _tell(sweep, None)
    some = yield from batches(app, sweep.verb, sweep.where, sweep.value, sweep.reason)
    ends = time.monotonic() + seconds
    tells = time.monotonic() + TELLING_SECONDS
    begun = sweep.cursor
    while True:
        try:
            reply = yield from some(sweep.cursor)
        except StoreError:
            if sweep.cursor == begun:
                raise
            # What has been done is told; whoever goes on will hear of it, if it lasts.
            return (yield from _tell(sweep, sweep.changed))
        sweep = replace(sweep, changed=sweep.changed + reply.count, cursor=reply.cursor, done=reply.cursor is None)
        now = time.monotonic()
        if sweep.done or now >= ends:
            return (yield from _tell(sweep, sweep.changed))
        if now >= tells:
            sweep = yield from _tell(sweep, sweep.changed)
            tells = now + TELLING_SECONDS


def _tell(sweep: Sweep, changed: int | None) -> Steps[Sweep]:
    """Have the audit log say how far it has come: one entry, whose count rises."""
    # All states in which it does something go without saying.
    where = replace(sweep.where, states=()) if sweep.where.states == sweep.verb.changes else sweep.where
    action, target, detail = told(sweep.verb, where, sweep.value, sweep.reason)
    detail["of"] = sweep.matched if sweep.exact else f"at least {sweep.matched:,}"
    entry = new_entry(action, target, detail, sweep.entry)
    if entry is None:
        return sweep
    yield from ask(ConfigureRequest(audit=replace(entry, count=changed)))
    return replace(sweep, entry=entry.id)
