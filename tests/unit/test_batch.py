"""Group commit: what gathers, what waits, and what becomes of errors and of cancelled waiters."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from mainspring.batch import Batcher


class Door:
    """A flush that lets a batch through only when told to."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.open = asyncio.Event()

    async def flush(self, items: list[int]) -> Sequence[str]:
        self.batches.append(items)
        await self.open.wait()
        if -1 in items:
            raise OSError("the disk is gone")
        return [f"done {item}" for item in items]


async def test_an_item_that_finds_nothing_under_way_is_flushed_at_once() -> None:
    door = Door()
    door.open.set()
    assert await Batcher(door.flush).add(1) == "done 1"
    assert door.batches == [[1]]


async def test_items_that_come_meanwhile_go_together_in_the_next_batch() -> None:
    door = Door()
    batcher = Batcher(door.flush)
    first = batcher.add(1)
    await asyncio.sleep(0)
    rest = [batcher.add(item) for item in (2, 3, 4)]
    door.open.set()
    assert await asyncio.gather(first, *rest) == ["done 1", "done 2", "done 3", "done 4"]
    assert door.batches == [[1], [2, 3, 4]]


async def test_items_of_one_turn_of_the_loop_go_together() -> None:
    door = Door()
    door.open.set()
    batcher = Batcher(door.flush)
    await asyncio.gather(*(batcher.add(item) for item in range(5)))
    assert door.batches == [[0, 1, 2, 3, 4]]


async def test_no_batch_is_larger_than_the_limit() -> None:
    door = Door()
    door.open.set()
    batcher = Batcher(door.flush, limit=2)
    await asyncio.gather(*(batcher.add(item) for item in range(5)))
    assert door.batches == [[0, 1], [2, 3], [4]]


async def test_an_error_fails_its_whole_batch_and_no_other() -> None:
    door = Door()
    door.open.set()
    batcher = Batcher(door.flush, limit=2)
    results = await asyncio.gather(*(batcher.add(item) for item in (1, -1, 2)), return_exceptions=True)
    assert [type(result) for result in results] == [OSError, OSError, str]
    assert await batcher.add(3) == "done 3"


async def test_too_few_results_fail_the_batch_instead_of_leaving_somebody_waiting() -> None:
    async def flush(items: list[int]) -> Sequence[int]:
        return items[1:]

    batcher = Batcher(flush)
    results = await asyncio.gather(batcher.add(1), batcher.add(2), return_exceptions=True)
    assert isinstance(results[1], ValueError)


async def test_a_cancelled_waiter_changes_nothing_for_its_item_nor_for_the_others() -> None:
    door = Door()
    batcher = Batcher(door.flush)
    impatient = asyncio.ensure_future(_wait_for(batcher, 1))
    patient = asyncio.ensure_future(_wait_for(batcher, 2))
    await asyncio.sleep(0)
    impatient.cancel()
    door.open.set()
    assert await patient == "done 2"
    assert impatient.cancelled()
    assert door.batches == [[1, 2]]


async def test_drain_waits_for_all_that_was_handed_over() -> None:
    door = Door()
    batcher = Batcher(door.flush, limit=1)
    futures = [batcher.add(item) for item in range(3)]
    door.open.set()
    await batcher.drain()
    assert all(future.done() for future in futures)
    await batcher.drain()


async def test_a_loop_that_closes_leaves_nobody_waiting() -> None:
    door = Door()
    batcher = Batcher(door.flush, limit=1)
    futures = [batcher.add(1), batcher.add(2)]
    await asyncio.sleep(0)
    (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "mainspring batch")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(future.cancelled() for future in futures)
    door.open.set()
    assert await batcher.add(3) == "done 3"


async def _wait_for(batcher: Batcher[int, str], item: int) -> str:
    return await batcher.add(item)


async def test_large_items_make_small_batches() -> None:
    door = Door()
    batcher = Batcher(door.flush, limit=10, size=lambda item: item)
    first = batcher.add(1)
    await asyncio.sleep(0)
    rest = [batcher.add(item) for item in (4, 6, 25, 3, 3, 5)]
    door.open.set()
    await asyncio.gather(first, *rest)
    assert door.batches == [[1], [4, 6], [25], [3, 3], [5]]
