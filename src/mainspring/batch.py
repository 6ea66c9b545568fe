"""Group commit: a batch is whatever gathered while the previous round trip was under way.

Nothing waits for company. An item that comes while nothing is under way is flushed at the loop's next turn; items
that come meanwhile wait for that flush to end, and go together in the next. So batches grow with the load, by
themselves, and cost an idle program no delay.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

__all__ = ["Batcher"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Gathers items of one event loop into batches, one batch under way at a time.

    The sizes of a batch's items come to `limit` at most, but for a batch of one item that alone is larger.

    `flush` takes a batch and gives one result for each of its items, in their order. What it raises, every item of
    that batch raises; the next batch is tried as if nothing had happened.
    """

    def __init__(
        self,
        flush: Callable[[list[Item]], Awaitable[Sequence[Result]]],
        limit: int = 1000,
        size: Callable[[Item], int] = lambda item: 1,
    ) -> None:
        self._flush = flush
        self._limit = limit
        self._size = size
        self._waiting: deque[tuple[Item, asyncio.Future[Result] | None]] = deque()
        self._task: asyncio.Task[None] | None = None

    def add(self, item: Item) -> asyncio.Future[Result]:
        """Hand over an item; await the future for its result.

        From here on the item will be flushed, whether or not anybody still waits: cancelling the future changes
        nothing for it nor for the others.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._gather(item, future)
        return future

    def hand_over(self, item: Item) -> None:
        """The same, where nobody asks what comes of it."""
        self._gather(item, None)

    def _gather(self, item: Item, future: asyncio.Future[Result] | None) -> None:
        self._waiting.append((item, future))
        if self._task is None:
            # An empty context: a batch belongs to no single caller, so it runs in the name of none.
            loop = asyncio.get_running_loop()
            self._task = loop.create_task(self._flush_all(), name="mainspring batch", context=Context())

    async def drain(self) -> None:
        """Wait until everything handed over so far, and whatever comes meanwhile, has been flushed."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    def _next_batch(self) -> list[tuple[Item, asyncio.Future[Result] | None]]:
        batch = [self._waiting.popleft()]
        room = self._limit - self._size(batch[0][0])
        while self._waiting and (room := room - self._size(self._waiting[0][0])) >= 0:
            batch.append(self._waiting.popleft())
        return batch

    async def _flush_all(self) -> None:
        batch: list[tuple[Item, asyncio.Future[Result] | None]] = []
        try:
            while self._waiting:
                batch = self._next_batch()
                try:
                    results = await self._flush([item for item, _ in batch])
                    for (_, future), result in zip(batch, results, strict=True):
                        if future is not None and not future.done():
                            future.set_result(result)
                except Exception as error:  # noqa: BLE001 - raised again by every item's future
                    for _, future in batch:
                        if future is not None and not future.done():
                            future.set_exception(error)
        finally:
            # Reached with futures left over only when this task itself is cancelled, as a closing loop does.
            self._task = None
            for _, future in [*batch, *self._waiting]:
                if future is not None:
                    future.cancel()
            self._waiting.clear()
