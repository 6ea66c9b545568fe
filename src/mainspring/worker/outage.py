"""Living through a store that is away: try for ever, with jittered back-off, and say so once."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from mainspring.errors import StoreError

__all__ = ["Outage"]

T = TypeVar("T")

logger = logging.getLogger("mainspring.worker")

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 5.0


class Outage:
    """The reachability of the store as one part of the worker sees it. `what` names that part in the log."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._failures = 0

    async def outlast(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What `ask` gives, however often the store has to be asked."""
        while True:
            try:
                reply = await ask()
            except StoreError as error:
                await asyncio.sleep(self.failed(error))
            else:
                self.over()
                return reply

    def over(self) -> None:
        """The store has answered."""
        if self._failures:
            logger.warning("%s: the store answers again after %d tries", self._what, self._failures)
            self._failures = 0

    def failed(self, error: StoreError) -> float:
        """Seconds to wait before the next try."""
        if not self._failures:
            logger.warning("%s: the store does not answer, trying on: %s", self._what, error)
        self._failures += 1
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._failures, 10))
        return pause * (0.5 + random.random() / 2)
