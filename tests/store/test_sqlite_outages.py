"""What may befall a store on a file while it is used: a full disk, a lock that stays, a file that goes away."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest

from mainspring.errors import StoreBusy, StoreError, StoreUnavailable
from mainspring.model.job import NewJob
from mainspring.store.base import InsertRequest
from mainspring.store.sqlite import connection

from .conformance.scene import Scene
from .files import ids_at, insert, scene_at, sound
from .processes import PATIENCE, elsewhere, fork, forks, running

pytestmark = forks


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where there is no store yet."""
    return tmp_path / "jobs.db"


@pytest.fixture
def scene(path: Path) -> Iterator[Scene]:
    """A store on a file, with one job in it."""
    scene = scene_at(path)
    scene.insert("before")
    yield scene
    scene.driver.close()


def on_a_small_disk(folder: Path, megabytes: int) -> bool:
    """Put an empty file system of that size on `folder`, seen by this process alone; False: this user may not."""
    libc = ctypes.CDLL(None, use_errno=True)
    new_namespace, private, recursive = 0x20000, 1 << 18, 1 << 14
    return bool(
        libc.unshare(new_namespace) == 0
        and libc.mount(b"none", b"/", None, private | recursive, None) == 0
        and libc.mount(b"tmpfs", bytes(folder), b"tmpfs", 0, f"size={megabytes}m".encode()) == 0
    )


class TestFull:
    """No room left: the insert fails as a whole, what was there stays, and it goes on once there is room."""

    JOBS = tuple(NewJob(f"job {number}", "task", args=f'"{"x" * 1000}"') for number in range(3000))

    def fails_and_heals(self, path: Path, make_room: Callable[[], None]) -> str:
        """What the error said."""
        scene = scene_at(path)
        with pytest.raises(StoreError) as failure:
            scene.insert(*self.JOBS)
        assert str(path) in str(failure.value)
        assert "nothing was changed" in str(failure.value)
        assert scene.ids() == ["before"]
        make_room()
        scene.insert(*self.JOBS)
        assert len(scene.ids(limit=1000)) == 1 + len(self.JOBS)
        scene.driver.close()
        assert sound(path)
        return type(failure.value).__name__

    @pytest.mark.fault("full disk", "sqlite")
    def test_a_full_disk(self, tmp_path: Path) -> None:
        """Without the right to mount one, files that may not grow stand in for it: SQLite only names it otherwise."""

        def fill() -> str:
            if not on_a_small_disk(tmp_path, 16):
                return self.with_short_files(tmp_path / "jobs.db").replace("StoreUnavailable", "StoreFull")
            insert(tmp_path / "jobs.db", "before")
            ballast = tmp_path / "ballast"
            with ballast.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(4096))
            os.truncate(ballast, ballast.stat().st_size - 1_000_000)
            return self.fails_and_heals(tmp_path / "jobs.db", ballast.unlink)

        assert elsewhere(fill) == "StoreFull"

    def test_files_that_may_not_grow(self, path: Path) -> None:
        assert elsewhere(lambda: self.with_short_files(path)) in ("StoreUnavailable", "StoreFull")

    def with_short_files(self, path: Path) -> str:
        insert(path, "before")
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, most))
        return self.fails_and_heals(path, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)))


class TestLocked:
    """Another process that does not let go of its transaction."""

    @pytest.mark.parametrize("lock", ["IMMEDIATE", "EXCLUSIVE"])
    def test_waiting_ends_with_the_deadline_and_nothing_changed(
        self, scene: Scene, path: Path, monkeypatch: pytest.MonkeyPatch, lock: str
    ) -> None:
        monkeypatch.setattr(connection, "OPERATION_DEADLINE", 0.3)
        locked, release = fork.Event(), fork.Event()

        def hold() -> None:
            with closing(sqlite3.connect(path, isolation_level=None)) as raw:
                raw.execute(f"BEGIN {lock}")
                locked.set()
                release.wait(PATIENCE)

        with running(hold):
            assert locked.wait(PATIENCE)
            began = time.monotonic()
            with pytest.raises(StoreBusy, match=r"locked by others for 0.3 s; nothing was changed, try again") as busy:
                scene.insert("new")
            assert 0.3 <= time.monotonic() - began < PATIENCE, "not until the lock was let go"
            assert scene.store.url in str(busy.value)
            assert scene.ids() == ["before"], "readers do not wait for a writer"
            release.set()
        scene.insert("new")
        assert set(scene.ids()) == {"before", "new"}

    def test_who_waits_gets_its_turn_as_soon_as_the_lock_is_free(self, scene: Scene, path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as raw, ThreadPoolExecutor(1) as pool:
            raw.execute("BEGIN IMMEDIATE")
            waiting = pool.submit(scene.insert, "new")
            assert "new" not in scene.ids()
            raw.execute("ROLLBACK")
            assert [reply.existed for reply in waiting.result(PATIENCE)] == [False]

    def test_a_new_store_that_is_locked_before_it_has_a_schema(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection, "OPERATION_DEADLINE", 0.2)
        with closing(sqlite3.connect(path, isolation_level=None)) as raw:
            raw.execute("BEGIN EXCLUSIVE")
            with pytest.raises(StoreBusy):
                insert(path, "new")
        insert(path, "new")
        assert ids_at(path) == {"new"}


class TestGone:
    """A file that goes away under a running program. SQLite goes on writing to it, and all that is lost."""

    @pytest.fixture(params=["idle connections", "no connection yet"])
    def scene(self, request: pytest.FixtureRequest, scene: Scene) -> Scene:
        if request.param == "no connection yet":
            scene.driver.close()
        return scene

    def test_a_deleted_file_is_an_error_and_stays_deleted(self, scene: Scene, path: Path) -> None:
        for file in path.parent.glob("jobs.db*"):
            file.unlink()
        for attempt in (lambda: scene.insert("new"), scene.ids, scene.join):
            with pytest.raises(StoreUnavailable, match=r"jobs.db is gone: it was deleted or moved.*restart"):
                attempt()
        assert os.listdir(path.parent) == []

    def test_an_async_driver_says_the_same_and_nobody_hangs(self, scene: Scene, path: Path) -> None:
        async def use() -> None:
            driver = scene.store.async_driver()
            await driver.run(InsertRequest((NewJob("async", "task"),)))
            watch = await driver.watch(("queue:default",))
            path.unlink()
            with pytest.raises(StoreUnavailable, match="is gone"):
                await driver.run(InsertRequest((NewJob("new", "task"),)))
            assert not await watch.wait(0.05)
            await watch.aclose()
            await driver.aclose()

        asyncio.run(use())

    def test_a_file_that_was_moved_and_moved_back_goes_on(self, scene: Scene, path: Path) -> None:
        path.rename(path.parent / "elsewhere.db")
        with pytest.raises(StoreUnavailable, match="is gone"):
            scene.insert("lost")
        (path.parent / "elsewhere.db").rename(path)
        scene.insert("new")
        scene.driver.close()
        assert ids_at(path) == {"before", "new"}

    def test_a_file_that_was_replaced_is_the_store_from_then_on(self, scene: Scene, path: Path) -> None:
        backup = path.parent / "backup.db"
        insert(backup, "of the backup")
        for file in path.parent.glob("jobs.db-*"):
            file.unlink()
        backup.rename(path)
        scene.insert("new")
        assert set(scene.ids()) == {"of the backup", "new"}
        scene.driver.close()
        assert ids_at(path) == {"of the backup", "new"}
        assert sound(path)

    def test_an_empty_file_in_its_place_is_made_a_store(self, scene: Scene, path: Path) -> None:
        for file in path.parent.glob("jobs.db*"):
            file.unlink()
        path.touch()
        scene.insert("new")
        assert scene.ids() == ["new"]
