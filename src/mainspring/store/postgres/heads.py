"""Heads: where in its queue a claim begins, while what was there before lies in the way.

As long as anybody on the server keeps a transaction open, no index entry of a job that is gone can be cleared away.
They pile up at the front of the queue, where claims begin, and every claim walks past all of them: the more have been
done, the longer. So once a look from the beginning has been slow, the next ones begin where the last one ended.

What it costs: a job that comes to stand before the head (a more urgent one, one that was given back, one whose
transaction was committed late) is not seen while others fill the claims, until the next look from the beginning. That
is a quarter of a second, or ten times as long as such a look takes, and never more than five seconds. Where the others
do not fill a claim, the store looks from the beginning within that claim.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from mainspring.model.job import Claim
from mainspring.store.base import Room

__all__ = ["Head", "Heads", "Look", "Place"]

SLOW_US = 3_000
"""A look that takes longer has met more than jobs: fifty of them are found in 200 µs. That a server was just busy at
that moment cannot be told from it; then what is said above is paid once for nothing."""

SHARE = 10
"""Looks from the beginning are so many times as far apart as they are long: a tenth of the time goes into them."""

SHORTEST_SECONDS = 0.25
"""Hardly noticed of one job where many wait; and looks of 3 ms are then one in a hundred of the time."""

LONGEST_SECONDS = 5.0
"""As long as an operation may take: so the slowest looks that succeed take up half of the time."""

MOST = 1_000
"""Queues whose heads are known at once. A worker serves a few; who goes through more pays with a slow look."""


class Place(NamedTuple):
    """Where a job stands in its queue; smaller is earlier."""

    priority: int
    run_at: int
    id: str


END = Place(1001, 0, "")
"""Behind every job: priorities end at 1000."""


class Head(NamedTuple):
    """Where claims begin in a queue, and until when (on the clock of `Heads`)."""

    place: Place
    until: float


class Look(NamedTuple):
    """How a claim looked for jobs in one queue."""

    queue: str
    whole: bool
    """From the queue's beginning, not from its head."""
    took_us: int
    """By the server's clock; if that was set meanwhile, anything."""


class Heads:
    """The heads that one program knows.

    A head is good for a time that counts from the look after which it was set. Claims move the head on, but not that
    time: so whatever stands before it is looked at when the time is over, however slow claims still are, and after an
    idle time by the first one. It is counted by a clock of this program that nobody sets, not by the store's.

    Threads and event loops share one of these, without a lock: each step reads or replaces one entry. Where two claims
    come back in another order than that of their jobs, the head is put back, which makes for a longer walk; where one
    of them is undone, its jobs stand before the head, and are seen like all that does.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heads: dict[str, Head] = {}

    def of(self, rooms: Iterable[Room]) -> dict[str, Head]:
        """The heads of these queues that are good now."""
        if not self._heads:
            return {}
        now = self._clock()
        known = {room.queue: self._heads.get(room.queue) for room in rooms}
        return {queue: head for queue, head in known.items() if head is not None and now < head.until}

    def learn(self, used: Mapping[str, Head], looks: Iterable[Look], claims: Iterable[Claim]) -> None:
        """What one claim met: the heads it began at, its looks and what it got, both in their order."""
        last = {claim.queue: claim for claim in claims}
        for look in looks:
            claim = last.get(look.queue)
            place = Place(claim.priority, claim.run_at, claim.id) if claim else END
            if look.whole:
                self._set(look.queue, place, look.took_us)
            elif claim:
                self._heads[look.queue] = Head(place, used[look.queue].until)

    def _set(self, queue: str, place: Place, took_us: int) -> None:
        """After a look from the beginning. Where that found nothing, what comes from now on waits for the next one, as
        far as other queues fill the claims."""
        if took_us < SLOW_US:
            self._heads.pop(queue, None)
            return
        if len(self._heads) >= MOST:
            self._heads.clear()
        seconds = min(max(SHORTEST_SECONDS, SHARE * took_us / 1_000_000), LONGEST_SECONDS)
        self._heads[queue] = Head(place, self._clock() + seconds)
