"""How long somebody who guesses has to wait: the more often he was wrong, the longer.

What it remembers is bounded whatever is tried: names and addresses are put into a fixed number of slots, by a key that
nobody outside knows, so that no flood of other names can make it forget one.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil

from mainspring.web.origin import address
from mainspring.web.problems import Problem

__all__ = ["Throttle", "TooManyFailures", "client_key"]

SLOTS = 16_384
FORGET_SECONDS = 15 * 60.0


class TooManyFailures(Problem):
    """Wrong too often, lately."""

    status = 429
    title = "Too many attempts"

    def __init__(self, seconds: float) -> None:
        wait = max(1, ceil(seconds))
        super().__init__(f"Wrong too often. Try again in {wait} s.", headers={"Retry-After": str(wait)})


@dataclass(slots=True)
class _Slot:
    failures: int = 0
    last: float = 0.0


class Throttle:
    """Counts failures per key. The first `free` cost nothing; each one after that doubles the wait, from a second to
    `longest`. All is forgotten a quarter of an hour after the last; a success makes nothing be forgotten, lest whoever
    has one account could guess at others between his own visits."""

    def __init__(self, *, free: int, longest: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._free = free
        self._longest = longest
        self._clock = clock
        self._key = secrets.token_bytes(16)
        self._slots: dict[int, _Slot] = {}

    def check(self, key: str) -> None:
        """Raises `TooManyFailures` while the key has to wait."""
        slot = self._slots.get(self._place(key))
        if slot is None:
            return
        waited = self._clock() - slot.last
        if waited >= FORGET_SECONDS:
            slot.failures = 0
        elif slot.failures > self._free:
            wait = min(self._longest, 2.0 ** (slot.failures - self._free - 1)) - waited
            if wait > 0:
                raise TooManyFailures(wait)

    def failed(self, key: str) -> None:
        """Once more wrong."""
        slot = self._slots.setdefault(self._place(key), _Slot())
        slot.failures = min(slot.failures + 1, self._free + 64)
        slot.last = self._clock()

    def forgiven(self, key: str) -> None:
        """One that was counted beforehand was none."""
        slot = self._slots.get(self._place(key))
        if slot is not None:
            slot.failures = max(0, slot.failures - 1)

    def _place(self, key: str) -> int:
        digest = blake2b(key.encode("utf-8", "surrogatepass"), key=self._key, digest_size=8).digest()
        return int.from_bytes(digest, "big") % SLOTS


def client_key(client: str) -> str:
    """What counts as one client: an address, or the /64 network that any one subscriber of IPv6 has to himself."""
    found = address(client)
    if found is None or found.version == 4:
        return client if found is None else str(found)
    return found.exploded[:19]
