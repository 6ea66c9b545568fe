"""How who waits on an event loop hears of a commit: by the bell at once, and without one by looking."""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from punctual import atakes_less_than

from mainspring.store.sqlite.bell import DEAF_AFTER, Bell
from mainspring.store.sqlite.drivers import SqliteDriver
from mainspring.store.sqlite.hints import LONGEST_SECONDS, Changes, Poll, SqliteAsyncWatch

from .files import insert, scene_at
from .processes import PATIENCE, forks, running

pytestmark = pytest.mark.alone

QUIET_SECONDS = 0.4
"""After so long without a change the pauses between two looks have grown as long as they will."""
AT_ONCE = 0.025
"""Seconds from a commit to the end of a wait: half of what looking alone takes with the pauses of a bell."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "jobs.db"
    insert(path, "before")
    return path


@asynccontextmanager
async def listening(path: Path, bell: Bell) -> AsyncIterator[SqliteAsyncWatch]:
    """A watch on the store at `path` that relies on `bell`."""
    driver = scene_at(path).driver
    assert isinstance(driver, SqliteDriver)
    poll = Poll(Changes(driver.connect, bell.follow), bell)
    yield SqliteAsyncWatch(poll)
    poll.close()
    driver.close()


async def lateness(watch: SqliteAsyncWatch, path: Path, rounds: int = 5) -> float:
    """Seconds from the end of a commit after a long quiet to the end of the wait for it: the median of some rounds."""
    scene, late = scene_at(path), list[float]()
    for _ in range(rounds):
        while await watch.wait(QUIET_SECONDS):
            pass
        waiting = asyncio.create_task(watch.wait(PATIENCE))
        await asyncio.to_thread(scene.insert, f"{time.monotonic_ns()}")
        committed = time.monotonic()
        assert await waiting
        late.append(time.monotonic() - committed)
    scene.driver.close()
    return statistics.median(late)


async def test_after_a_long_quiet_a_commit_is_heard_at_once(path: Path) -> None:
    async with listening(path, bell := Bell(path)) as watch:
        await atakes_less_than(AT_ONCE, partial(lateness, watch, path))
        assert bell.works


async def test_by_a_link_too(path: Path) -> None:
    link = path.parent / "there" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    async with listening(link, bell := Bell(link)) as watch:
        await atakes_less_than(AT_ONCE, partial(lateness, watch, path))
        assert bell.works


async def test_a_bell_that_does_not_ring_is_not_relied_on_for_long(path: Path) -> None:
    """As on a file system that has no inotify: here, because it hangs at another store."""
    insert(path.parent / "other.db", "other")
    async with listening(path, bell := Bell(path.parent / "other.db")) as watch:
        for _ in range(5 * DEAF_AFTER):  # on a busy machine not each look is late enough to tell
            if bell.works:
                await lateness(watch, path, 1)
        assert not bell.works
        await atakes_less_than(3 * LONGEST_SECONDS, partial(lateness, watch, path))


async def test_without_a_bell_who_waits_looks(path: Path) -> None:
    async with listening(path, bell := Bell(None)) as watch:
        await atakes_less_than(3 * LONGEST_SECONDS, partial(lateness, watch, path))
        assert not bell.works


@forks
async def test_a_fork_leaves_the_bell_at_the_log_that_there_is_then(path: Path) -> None:
    """A fork closes all connections, and the last one to be closed takes the log away."""
    async with listening(path, bell := Bell(path)) as watch:
        assert not await watch.wait(0.01)
        with running(lambda: None):
            pass
        await atakes_less_than(AT_ONCE, partial(lateness, watch, path))
        assert bell.works


async def test_who_waits_hears_of_the_store_that_took_the_place_of_another(path: Path) -> None:
    async with listening(path, bell := Bell(path)) as watch:
        assert not await watch.wait(0.01)
        insert(path.parent / "backup.db", "of the backup")
        for log in path.parent.glob("jobs.db-*"):
            log.unlink()
        (path.parent / "backup.db").rename(path)
        assert await watch.wait(PATIENCE)
        await atakes_less_than(AT_ONCE, partial(lateness, watch, path))
        assert bell.works


async def test_each_of_several_who_wait_hears_once(path: Path) -> None:
    driver = scene_at(path).store.async_driver()
    one, two = await driver.watch(("queue:a",)), await driver.watch(("queue:b",))
    for number in range(3):
        waiting = [asyncio.create_task(watch.wait(PATIENCE)) for watch in (one, two)]
        await asyncio.sleep(0)
        await asyncio.to_thread(insert, path, f"{number}")
        assert await asyncio.gather(*waiting) == [True, True]
        while await one.wait(0.05) or await two.wait(0.05):
            pass
    await driver.aclose()


async def test_nothing_stays_open(path: Path) -> None:
    async def wait() -> None:
        driver = scene_at(path).store.async_driver()
        watch = await driver.watch(("queue:default",))
        assert not await watch.wait(0.01)
        await driver.aclose()

    await wait()
    gc.collect()  # other tests may have left something open
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        await wait()
    assert len(os.listdir("/proc/self/fd")) == before
