"""A history sorted by what it is about, for the laws to read."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from mainspring.model.schedule import tick_id

from .events import (
    Acknowledged,
    Altered,
    Ended,
    Event,
    Fault,
    FaultsOver,
    Found,
    Limited,
    Moved,
    Offered,
    Renewed,
    Started,
    Ticking,
)

__all__ = ["Run", "Story"]

DISTURBING = frozenset(("killed", "frozen", "cut", "blocked", "stopping", "hurried", "lossy", "slow"))
"""Faults by which a process may lose its lease, or give a job back whose function goes on."""
LASTING = {"lossy": "mended", "slow": "mended", "cut": "mended", "frozen": "thawed"}
"""Those that last until their end is written down."""

AFTERMATH = 5.0
"""For how many seconds after its end a fault may be felt: a lost reply is waited for that long, also by a heart."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a task function."""

    started: Started
    ended: Ended | None
    until: float
    """Until when it surely went on with its lease: its end, the end of its process, or the first fault that may have
    cost its lease."""


@dataclass(slots=True)
class Story:
    """All events of each kind, in order."""

    offered: dict[str, Offered] = field(default_factory=dict)
    acknowledged: dict[str, Acknowledged] = field(default_factory=dict)
    altered: defaultdict[str, list[Altered]] = field(default_factory=lambda: defaultdict(list))
    limited: list[Limited] = field(default_factory=list)
    ticking: list[Ticking] = field(default_factory=list)
    started: list[Started] = field(default_factory=list)
    ended: dict[tuple[str, int], Ended] = field(default_factory=dict)
    """By job and lease."""
    faults: list[Fault] = field(default_factory=list)
    moved: list[Moved] = field(default_factory=list)
    renewed: defaultdict[str, list[Renewed]] = field(default_factory=lambda: defaultdict(list))
    found: dict[str, Found] = field(default_factory=dict)
    faults_over: float | None = None
    end: float = 0.0

    @classmethod
    def of(cls, history: Iterable[Event]) -> Story:
        """The story that the events tell."""
        story = cls()
        for event in history:
            story._take(event)
        return story

    def _take(self, event: Event) -> None:
        self.end = max(self.end, event.at)
        match event:
            case Moved():
                self.moved.append(event)
            case Renewed():
                self.renewed[event.worker].append(event)
            case Started():
                self.started.append(event)
            case Ended():
                self.ended.setdefault((event.job, event.lease), event)
            case Offered():
                self.offered.setdefault(event.job, event)
            case Acknowledged():
                self.acknowledged[event.job] = event
            case Altered():
                self.altered[event.job].append(event)
            case Fault():
                self.faults.append(event)
            case Limited():
                self.limited.append(event)
            case Ticking():
                self.ticking.append(event)
            case Found():
                self.found[event.job] = event
            case FaultsOver():
                self.faults_over = event.at

    def slots(self, ticking: Ticking) -> dict[str, int]:
        """The ids of a schedule's jobs and their slots, as far as they may be there: what was due when it was paused
        may have been on its way."""
        last = max(ticking.until_ms, round((self.faults_over or 0.0) * 1000)) + 100 * ticking.every_ms
        slots = range(ticking.since_ms, last, ticking.every_ms)
        return {tick_id(ticking.schedule, slot): slot for slot in slots}

    def disturbed(self, process: str, since: float, until: float) -> bool:
        """Whether anything but a graceful stop befell a process in that time."""
        return any(
            fault.process in (process, "")
            and since <= fault.at <= until
            and fault.what not in ("begun", "quiet", "stopping", "stopped")
            for fault in self.faults
        )

    def touched(self, process: str, until: float) -> bool:
        """Whether anything at all befell a process before that."""
        return any(
            fault.process in (process, "") and fault.at <= until and fault.what != "begun" for fault in self.faults
        )

    def runs(self) -> list[Run]:
        """The runs of task functions, in order."""
        losses: defaultdict[str, list[float]] = defaultdict(list)
        for fault in self.faults:
            if fault.what in DISTURBING:
                losses[fault.process].append(fault.at)
        runs: list[Run] = []
        for started in self.started:
            ended = self.ended.get((started.job, started.lease))
            faults = [at for at in losses[started.process] + losses[""] if at >= started.at]
            until = min([ended.at if ended else math.inf, *faults])
            if any(self._lasts(started.process, started.at - ago) for ago in (0.0, AFTERMATH)):
                until = started.at
            runs.append(Run(started, ended, until))
        return runs

    def _lasts(self, process: str, at: float) -> bool:
        """Whether something that lasts disturbs a process then."""
        lasting: set[str] = set()
        for fault in self.faults:
            if fault.at <= at and fault.process in (process, ""):
                if fault.what in LASTING:
                    lasting.add(LASTING[fault.what] + fault.process)
                lasting.discard(fault.what + fault.process)
        return bool(lasting) and not (self.faults_over is not None and self.faults_over <= at)

    def revivals(self, job: str) -> int:
        """How often it may have been revived: itself, or with a parent that it went down or ran with."""
        above, seen = [job], set[str]()
        while above:
            each = above.pop()
            if each not in seen:
                seen.add(each)
                above += self.offered[each].parents if each in self.offered else ()
        return sum(altered.verb == "revive" for each in seen for altered in self.altered[each])
