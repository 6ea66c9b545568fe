"""alter and prune: what is done to jobs from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from mainspring.model.states import LIVE, State
from mainspring.store.requests.filter import Filter
from mainspring.store.requests.request import Request


class Verb(StrEnum):
    """What can be done to selected jobs."""

    CANCEL = "cancel"
    """Waiting jobs become cancelled; running ones are asked to (`cancel_requested`); final ones stay. Jobs that go
    down with a cancelled parent are not counted."""
    REVIVE = "revive"
    """Final jobs become queued again: attempt, crashes and postponed 0, result, error, reason, progress gone, history,
    lease and checkpoint kept. Scheduled ones become due now. Others stay. What was cancelled because the job had ended
    badly is revived too, all the way down, and is blocked again, once none of its parents stands in the way any more;
    such jobs are not counted. Children that are blocked still wait for it anew. A job that is itself revived alone,
    while its parent is as it was, no longer waits for anything; in one batch with its parent it waits for that one."""
    RESCHEDULE = "reschedule"
    """Waiting jobs (scheduled, queued) get `value` as their run_at, and the state that follows from it."""
    REPRIORITISE = "reprioritise"
    """Waiting jobs (blocked, scheduled, queued) get `value` as their priority."""
    DELETE = "delete"
    """Jobs that are not running are gone, with their logs. Running ones stay. For the children of one that had not
    ended that is a bad end."""

    @property
    def changes(self) -> tuple[State, ...]:
        """To jobs in which states it does something."""
        return _CHANGES[self]


_CHANGES = {
    Verb.CANCEL: tuple(state for state in State if state in LIVE),
    Verb.REVIVE: (State.DEAD, State.CANCELLED, State.COMPLETED, State.SCHEDULED),
    Verb.RESCHEDULE: (State.QUEUED, State.SCHEDULED),
    Verb.REPRIORITISE: (State.BLOCKED, State.QUEUED, State.SCHEDULED),
    Verb.DELETE: tuple(state for state in State if state is not State.RUNNING),
}


@dataclass(frozen=True, slots=True)
class AlterReply:
    """How far one bounded batch of an alteration came."""

    count: int
    """Jobs changed."""
    cursor: str | None
    """Where the next batch goes on; None: done."""


@dataclass(frozen=True, slots=True)
class AlterRequest(Request[AlterReply]):
    """Does `verb` to selected jobs, looking at no more than `limit` or so; the caller repeats with the reply's cursor
    until it is None. Walks as `find` does, so that what it changes is not met again."""

    operation: ClassVar[str] = "alter"
    verb: Verb
    filter: Filter
    value: int | None = None
    reason: str | None = None
    """CANCEL: stored with the job."""
    limit: int = 1000
    cursor: str | None = None
    now: int | None = None


@dataclass(frozen=True, slots=True)
class PruneRequest(Request[int]):
    """Deletes at most `limit` final jobs that ended longer ago than their state's retention; gives their number. Keys
    whose time is over go too, and flows and partitions of which nothing is left; and at most `limit` entries of the
    audit log that are older than `keep_audit_ms`.

    A store may keep completed jobs by the day (UTC): then they go with their day, up to a day later and all at once,
    whatever the limit.

    Where `stats`, no jobs: instead statistics are rolled up (`stats.ROLLS`), and those older than `stats.KEEP_MS`
    deleted, about `limit` at most; gives how many were looked at.
    """

    operation: ClassVar[str] = "prune"
    keep_ms: Mapping[State, int]
    limit: int = 1000
    stats: bool = False
    keep_audit_ms: int | None = None
    """None: all of it."""
    now: int | None = None
