"""Keeps the jobs apart that may have killed a worker.

When a worker dies nobody knows which of its jobs did it, if any: all of them are suspects from then on, until they have
completed. They begin one after the other, each alone for a moment, since most that kill do so at once; longer would
make all jobs of a machine that went down wait for each other's ends. Who was in the hands of two workers that died runs
alone among suspects from its beginning to its end: so one that kills again takes nobody with it who would be counted
out for that.

Who finds no place goes back to the store, for a time, and for any worker to take: here it would be lost once more with
who kills this one. Jobs that are no suspects begin as always.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from mainspring.model.job import Claim

__all__ = ["Quarantine"]

ALONE_SECONDS = 0.1
"""How long a suspect runs before the next one begins."""
APART_SECONDS = 0.15
"""How far apart suspects are sent back that are to begin one after the other: the way back takes some time, too."""
ALONE_TO_THE_END = 2
"""With how many crashes a suspect runs alone for good."""
WAIT_SECONDS = 1.0
"""About how long a suspect waits where nobody knows when its place is free."""


class Quarantine:
    """The suspects that run in one worker."""

    def __init__(self, now: Callable[[], float] = time.monotonic, chance: Callable[[], float] = random.random) -> None:
        self._now = now
        self._chance = chance
        self._inside: dict[tuple[str, int], int] = {}
        """By id and lease: the crashes of those that run."""
        self._free_at = 0.0
        """When the one that began last has run alone for long enough."""
        self._line_ends_at = 0.0
        """When the last of those is back that were sent to wait for that."""

    def enter(self, claim: Claim) -> int | None:
        """None: the job may begin; `leave` says that it has ended. Else the milliseconds after which to try again."""
        if claim.cancel_requested:
            return None  # nothing of it will run
        now = self._now()
        worst = max(self._inside.values(), default=0)
        if worst >= ALONE_TO_THE_END or (worst and claim.crashes >= ALONE_TO_THE_END):
            return round(1000 * WAIT_SECONDS * (0.5 + self._chance()))
        if now < self._free_at:
            place = max(self._free_at, self._line_ends_at)
            self._line_ends_at = place + APART_SECONDS
            return max(1, round(1000 * (place - now)))
        self._inside[claim.id, claim.lease] = claim.crashes
        self._free_at = now + ALONE_SECONDS
        return None

    def leave(self, claim: Claim) -> None:
        """A run has ended."""
        if self._inside:
            self._inside.pop((claim.id, claim.lease), None)
