"""What the reference store remembers: dicts of values that are replaced, never changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mainspring.model.audit import AuditEntry
from mainspring.model.job import JobRecord, LogLine, NewJob, Policy, Until
from mainspring.model.states import State
from mainspring.model.stats import MINUTE_MS, Cell, gathered
from mainspring.store.base import NewFlow, ScheduleRecord, Sequence, WorkerRecord

Words = Mapping[str, Any]
"""What somebody said about limits, as `Limits.to_json` has it; a None takes back what was said before."""

GateName = tuple[str, ...]
"""("queue", queue), ("partition", queue, partition) or ("task", task)."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What is known about a queue, a partition or a task. Code's and operator's words are kept apart."""

    defined: Words = field(default_factory=dict)
    limited: Words = field(default_factory=dict)
    paused_at: int | None = None
    closed_until: int = 0
    spent: str | None = None
    reached: int = 0
    """Virtual time: a partition's own, and how far the turns of a queue have come."""
    each_defined: Words = field(default_factory=dict)
    each_limited: Words = field(default_factory=dict)
    sequence: Sequence | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """A key in the hands of a job."""

    job: str
    until: Until
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class Link:
    """An edge, seen from the child."""

    policy: Policy
    wants_result: bool
    state: State | None = None
    """How the parent ended; None: it has not."""
    result: str | None = None
    reason: str | None = None
    how: str = ""
    """The end in words."""
    broke: bool = False
    """Because of it the child was cancelled."""
    outlived: bool = False
    """The child was cancelled for another reason and came back since: that this parent is dead releases it no more."""

    @property
    def bad(self) -> bool:
        return self.state in (State.DEAD, State.CANCELLED)


class Contents:
    """All of it."""

    def __init__(self) -> None:
        self.jobs: dict[str, JobRecord] = {}
        self.logs: defaultdict[str, dict[tuple[int, int], LogLine]] = defaultdict(dict)
        """By job; and its lines by lease and number, in that order."""
        self.outputs: defaultdict[str, dict[tuple[int, int], str]] = defaultdict(dict)
        """By job; and its pieces by lease and number, in that order."""
        self.workers: dict[str, WorkerRecord] = {}
        self.gates: dict[GateName, Gate] = {}
        self.schedules: dict[str, ScheduleRecord] = {}
        self.keys: dict[str, Hold] = {}
        self.audit: dict[str, AuditEntry] = {}
        self.flows: dict[str, tuple[NewFlow, int]] = {}
        """And when they came."""
        self.links: dict[str, dict[str, Link]] = {}
        """By child and parent, in their order."""
        self.children: defaultdict[str, list[str]] = defaultdict(list)
        """Who has, or had, a link to a parent."""
        self.cells: dict[int, list[Cell]] = {MINUTE_MS: []}
        """By how long a stretch of time each is about."""
        self.reports: dict[str, int] = {}
        """The number of each source's last one."""

    def _count(self, now: int, job: JobRecord | NewJob, event: str) -> None:
        """Something happened to a job."""
        self._add([Cell(now, job.queue, job.task, {event: 1})])

    def _add(self, cells: Iterable[Cell], step: int = MINUTE_MS) -> None:
        self.cells = {**self.cells, step: gathered([*self.cells.get(step, ()), *cells], step)}

    def _holder(self, name: str, now: int) -> str | None:
        """Who holds a key."""
        hold = self.keys.get(name)
        return None if hold is None or (hold.expires_at is not None and hold.expires_at <= now) else hold.job

    def _give_back_keys(self, job: str, *until: Until) -> None:
        self.keys = {name: hold for name, hold in self.keys.items() if hold.job != job or hold.until not in until}

    def _give_back_at_end(self, job: JobRecord) -> None:
        resolved = () if job.state is State.DEAD else (Until.RESOLVED,)
        self._give_back_keys(job.id, Until.STARTED, Until.SETTLED, *resolved)

    def select(self, fits: Callable[[JobRecord], bool]) -> list[JobRecord]:
        return [job for job in self.jobs.values() if fits(job)]
