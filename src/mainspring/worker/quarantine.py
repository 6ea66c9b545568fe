"""Keeps the jobs apart that may have killed a worker.

When a worker dies nobody knows which of its jobs did it, if any: all of them are suspects from then on, until they have
completed. They begin one after the other, each alone for a moment, since most that kill do so at once; longer would
make all jobs of a machine that went down wait for each other's ends. Who was in the hands of two workers that died runs
alone among suspects from its beginning to its end: so one that kills again takes nobody with it who would be counted
out for that.

Who finds no place goes back to the store for a time, for any worker to take: kept here it would be lost once more with
who kills this one. For the same reason nothing is claimed while one begins, and it waits until the others are back.
Jobs that are no suspects run beside as always.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from mainspring.model.job import Claim

__all__ = ["ALONE_SECONDS", "ALONE_STEPS", "Quarantine"]

ALONE_SECONDS = 0.1
"""How long a suspect runs before the next one may begin."""
ALONE_STEPS = 10
"""In how many turns of the event loop that time is measured."""
APART_SECONDS = 0.15
"""How far apart suspects come back that are to begin one after the other."""
ALONE_TO_THE_END = 2
"""With how many crashes a suspect runs alone for good."""
WAIT_SECONDS = 1.0
"""About how long a suspect waits where nobody knows when its place is free."""


class Quarantine:
    """The suspects that run in one worker."""

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance
        self._inside: dict[tuple[str, int], int] = {}
        """By id and lease: the crashes of those that run."""
        self._beginning: tuple[str, int] | None = None
        """The one of them that has begun last, as long as it is to be alone."""
        self._sent_back = 0
        """How many came while it was."""

    @property
    def closed(self) -> bool:
        """Whether nothing is to be claimed."""
        return self._beginning is not None

    def enter(self, claim: Claim) -> int | None:
        """None: the job may begin, and nobody else until `open`. Else the milliseconds after which to try again."""
        worst = max(self._inside.values(), default=0)
        if worst >= ALONE_TO_THE_END or (worst and claim.crashes >= ALONE_TO_THE_END):
            return round(1000 * WAIT_SECONDS * (0.5 + self._chance()))
        if self.closed:
            self._sent_back += 1
            return round(1000 * APART_SECONDS * self._sent_back)
        self._beginning = (claim.id, claim.lease)
        self._inside[self._beginning] = claim.crashes
        self._sent_back = 0
        return None

    def open(self, claim: Claim) -> None:
        """It has been alone for long enough."""
        if self._beginning == (claim.id, claim.lease):
            self._beginning = None

    def leave(self, claim: Claim) -> None:
        """Its run has ended."""
        self._inside.pop((claim.id, claim.lease), None)
        self.open(claim)
