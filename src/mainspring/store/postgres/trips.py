"""Round trips that a settlement and a claim of plain jobs share: one statement, one transaction, one commit.

A worker that is busy settles what has run and claims what comes next, over and over; where its batches are of fifty, a
third of the time goes into what each trip and each commit cost by themselves. So one trip is under way at a time, and
those who come meanwhile wait for its end: then a settlement and a claim that have both waited go together. Nobody waits
for company, and whoever comes while nothing is under way goes at once.

They stay two operations. The settlement is carried out first; each sees what was committed before it began. Where the
server refuses the one or the other, neither was done, and each goes by itself.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass

from mainspring.store.postgres.plain import parted, together
from mainspring.store.postgres.script import Whole
from mainspring.store.sql.statements import Row

__all__ = ["Trips"]

SLOW_SECONDS = 0.2
"""How long one waits for another's trip. None takes as long, on a slow disk either, unless it waits for somebody's
locks or walks past a lot that is gone; both may happen again."""

APART_SECONDS = 1.0
"""For how long everybody goes by himself after such a trip: so a settlement is held up by a slow claim now and then,
not by each."""


@dataclass(frozen=True, slots=True, eq=False)
class _Rider:
    step: Whole
    rows: asyncio.Future[list[Row] | None]


class Trips:
    """The trips of one event loop. `execute` gives a statement's rows, or None where nothing was done; what it raises,
    all who are aboard raise."""

    def __init__(self, execute: Callable[[Whole], Awaitable[list[Row] | None]]) -> None:
        self._execute = execute
        self._waiting: list[_Rider] = []
        self._going: asyncio.Task[None] | None = None
        self._apart_until = 0.0

    async def go(self, step: Whole) -> list[Row] | None:
        """The rows of a plain claim or settlement. None: it was not carried out, and is to go by itself."""
        if time.monotonic() < self._apart_until:
            return None
        loop = asyncio.get_running_loop()
        rider = _Rider(step, loop.create_future())
        self._waiting.append(rider)
        if self._going is None:
            # An empty context: it belongs to no single rider.
            self._going = loop.create_task(self._keep_going(), name="mainspring trips", context=Context())
        return await rider.rows

    async def _keep_going(self) -> None:
        aboard: list[_Rider] = []
        try:
            while self._waiting:
                # The first of each kind; without those whose callers have given up.
                waiting = [rider for rider in self._waiting if not rider.rows.done()]
                aboard = list({rider.step.name: rider for rider in reversed(waiting)}.values())
                self._waiting = [rider for rider in waiting if rider not in aboard]
                if aboard:
                    await self._trip(aboard)
        finally:
            # Reached with riders left over only when this task itself is cancelled, as a closing loop does.
            self._going = None
            for rider in [*aboard, *self._waiting]:
                rider.rows.cancel()
            self._waiting.clear()

    async def _trip(self, aboard: list[_Rider]) -> None:
        patience = asyncio.get_running_loop().call_later(SLOW_SECONDS, self._part)
        try:
            rows = await self._execute(together([rider.step for rider in aboard]))
        except Exception as error:  # noqa: BLE001 - raised again by everybody aboard
            for rider in aboard:
                if not rider.rows.done():
                    rider.rows.set_exception(error)
        else:
            parts = [None] * len(aboard) if rows is None else parted([rider.step for rider in aboard], rows)
            for rider, part in zip(aboard, parts, strict=True):
                _tell(rider, part)
        finally:
            patience.cancel()
            if self._apart_until == math.inf:
                self._apart_until = time.monotonic() + APART_SECONDS

    def _part(self) -> None:
        """The trip under way is slow: nobody waits for it any more."""
        self._apart_until = math.inf
        while self._waiting:
            _tell(self._waiting.pop(), None)


def _tell(rider: _Rider, rows: list[Row] | None) -> None:
    if not rider.rows.done():
        rider.rows.set_result(rows)
