"""A post that one worker holds: who holds it, who takes it over, who leaves it, and when it is filled again."""

from __future__ import annotations

import random
import time

from mainspring.worker.bounds import Bounds
from mainspring.worker.child import Child
from mainspring.worker.health import WorkerHealth

__all__ = ["Post"]

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 60.0
"""Seconds from a death to the next start: doubled with each death in a row. The same for those that reach their bounds
one soon after the other: so long they are spared."""
CALM_SECONDS = 30.0
"""A worker that has lived so long did not die of its start."""


class Post:
    """`bounds` are those at which its holder is replaced."""

    def __init__(self, bounds: Bounds) -> None:
        self._all_bounds = bounds
        self._bounds = bounds
        self.holder: Child | None = None
        self.heir: Child | None = None
        """Comes up beside the holder, to take over when it is ready."""
        self.leaving: list[Child] = []
        self.closed = False
        """True once an operator has told its holder to stop: it is filled no more."""
        self.deaths = 0
        """How many holders in a row have died soon."""
        self.due = 0.0
        """When it is filled next."""
        self._worn_soon = 0
        """How many holders in a row have reached a bound soon."""
        self._vacant_because = "it has not started yet"

    @property
    def children(self) -> list[Child]:
        """All its processes."""
        return [child for child in (self.holder, self.heir, *self.leaving) if child is not None]

    @property
    def in_change(self) -> bool:
        """Whether one worker follows another just now."""
        return self.heir is not None or bool(self.leaving)

    def fill(self, child: Child) -> None:
        """The post has a holder."""
        self.holder, self._bounds = child, self._all_bounds.spread()
        if self._worn_soon:
            child.spared_until = time.monotonic() + _pause(self._worn_soon)

    def hand_over(self, heir: Child) -> None:
        """The heir takes over; the holder, if there is one, leaves."""
        if self.holder is not None:
            self.leaving.append(self.holder)
        self.heir = None
        self.fill(heir)

    def vacate(self, lived: float, because: str) -> float:
        """The holder is dead. In how many seconds the post is filled again."""
        self.holder = None
        self.deaths = 1 if lived >= CALM_SECONDS else self.deaths + 1
        pause = _pause(self.deaths - 1)
        self.due = time.monotonic() + pause
        self._vacant_because = because
        return pause

    def forgive(self) -> None:
        """There is new code: what the old one did counts no more."""
        self.deaths, self.due = 0, 0.0

    def reached(self) -> str | None:
        """Which bound its holder has reached, for people."""
        holder = self.holder
        if holder is None or time.monotonic() < holder.spared_until or (signs := holder.signs) is None:
            return None
        return self._bounds.reached(signs)

    def wear_out(self, holder: Child) -> bool:
        """Its holder is going to be replaced for the bound that it has reached. True: that comes too soon each time."""
        soon = time.monotonic() - holder.spared_until < CALM_SECONDS
        self._worn_soon = self._worn_soon + 1 if soon else 0
        return self._worn_soon > 2

    def health(self) -> list[WorkerHealth]:
        """That of the holder first, or of the vacancy; then those who come and go."""
        holder, heir, leaving = self.holder, self.heir, list(self.leaving)
        if holder is not None:
            first = [holder.health("working")]
        elif not self.closed:
            first = [WorkerHealth("vacant", None, None, self._vacant_because, self._vacant_because)]
        else:
            first = []
        return [
            *first,
            *([heir.health("taking over")] if heir is not None else []),
            *(child.health("leaving") for child in leaving),
        ]


def _pause(doublings: int) -> float:
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(doublings, 16)) * (0.5 + random.random() / 2)
