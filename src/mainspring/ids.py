"""Job ids: UUIDs of version 7 (RFC 9562), so that they sort by the time at which they were made.

    48 bits milliseconds · 4 bits version · 12 + 62 bits, taken together as one number; 2 bits variant between them

That number begins at random in every new millisecond and is counted up within one, which keeps the order of the ids
that one process makes, on whichever threads (RFC 9562 §6.2, method 1). A forked child begins at random again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from weakref import WeakSet

__all__ = ["IdMaker"]


class IdMaker:
    """Makes ids, each greater than the one before: `make = IdMaker(clock, random.SystemRandom().getrandbits)`.

    `clock` gives milliseconds since 1970 UTC, `random_bits` that many random bits as a number. A clock that goes back
    leaves the ids where they are until it has caught up.
    """

    __slots__ = ("__weakref__", "_clock", "_count", "_lock", "_ms", "_prefix", "_random_bits")

    def __init__(self, clock: Callable[[], int], random_bits: Callable[[int], int]) -> None:
        self._clock = clock
        self._random_bits = random_bits
        self._begin()
        _MAKERS.add(self)

    def _begin(self) -> None:
        # The lock is new too: at the fork another thread of the parent may have held the old one.
        self._lock = threading.Lock()
        self._ms = -1
        self._count = 0
        self._prefix = ""

    def __call__(self) -> str:
        """The next id, as text."""
        with self._lock:
            now = self._clock()
            if now > self._ms:
                self._ms = now
                # The highest of the 74 bits begins as 0: room for 2**73 ids in this millisecond.
                self._count = self._random_bits(73)
                self._prefix = f"{now >> 16:08x}-{now & 0xFFFF:04x}-7"
            else:
                self._count += 1
            count = self._count
            prefix = self._prefix
        return f"{prefix}{count >> 62:03x}-{count >> 48 & 0x3FFF | 0x8000:04x}-{count & 0xFFFFFFFFFFFF:012x}"


_MAKERS: WeakSet[IdMaker] = WeakSet()


def _begin_again() -> None:
    for maker in _MAKERS:
        maker._begin()


if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=_begin_again)
