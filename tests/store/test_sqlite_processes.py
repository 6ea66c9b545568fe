"""Several processes, and several threads, on one file at once."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import pytest
from punctual import takes_less_than

from mainspring.model.job import Key, NewJob
from mainspring.model.states import State
from mainspring.store.base import Inserted
from mainspring.store.sqlite import SqliteStore
from mainspring.store.sqlite import forks as forks_of_the_store
from mainspring.store.sqlite.drivers import SqliteDriver

from .conformance.scene import Scene, settlement
from .files import ids_at, insert, scene_at, sound, store_at
from .processes import PATIENCE, fork, forks, running

pytestmark = forks


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where there is no store yet."""
    return tmp_path / "jobs.db"


def wants_the_key(round: int, name: str) -> NewJob:
    """One of several jobs that race for the key of this round."""
    return NewJob(f"round {round}: {name}", "task", keys=(Key(f"round {round}"),))


def assert_one_won(replies: Sequence[Inserted], scene: Scene, round: int) -> None:
    """One job is there, it is new to one of its rivals, and all were given it."""
    assert Counter(reply.existed for reply in replies) == {False: 1, True: len(replies) - 1}
    (winner,) = {reply.id for reply in replies}
    assert [id for id in scene.ids() if id.startswith(f"round {round}:")] == [winner]


class TestAtOnce:
    """Nobody waits in vain, nothing is lost, nothing is given out twice."""

    INSERTS = 120
    BATCH = 5

    def test_processes_that_insert_and_processes_that_claim_and_settle(self, path: Path) -> None:
        """An error in any of them, StoreBusy most of all, fails the test with that process."""
        everything = 4 * self.INSERTS * self.BATCH
        reports = fork.Queue()

        def insert_many(process: int) -> None:
            scene = scene_at(path)
            for number in range(self.INSERTS):
                scene.insert(*(f"{process} {number} {job}" for job in range(self.BATCH)))
            scene.driver.close()

        def work(process: int) -> None:
            scene = scene_at(path)
            scene.join(f"worker {process}")
            leases = []
            while scene.count().get(("default", State.COMPLETED), 0) < everything:
                claims = scene.claim(f"worker {process}", limit=20)
                leases += [(claim.id, claim.lease) for claim in claims]
                assert scene.settle(*map(settlement, claims)) == {claim.id for claim in claims}
            scene.driver.close()
            reports.put(leases)

        with running(*(partial(insert_many, each) for each in range(4)), *(partial(work, each) for each in range(3))):
            shares = [reports.get(timeout=PATIENCE) for _ in range(3)]
        leases = Counter(lease for share in shares for lease in share)
        assert len(leases) == everything
        assert set(leases.values()) == {1}
        assert {lease for _, lease in leases} == {1}
        assert len(ids_at(path)) == everything
        assert sound(path)

    def test_threads_that_share_one_driver(self, path: Path) -> None:
        scene = scene_at(path)
        scene.join()

        def use(thread: int) -> list[str]:
            mine = []
            for number in range(30):
                scene.insert(f"{thread} {number} a", f"{thread} {number} b")
                claims = scene.claim(limit=3)
                assert scene.settle(*map(settlement, claims)) == {claim.id for claim in claims}
                mine += [claim.id for claim in claims]
            return mine

        with ThreadPoolExecutor(8) as pool:
            claimed = Counter(id for ids in pool.map(use, range(8)) for id in ids)
        assert set(claimed.values()) == {1}
        assert sum(scene.count().values()) == 8 * 30 * 2
        assert scene.count()["default", State.COMPLETED] == len(claimed)
        scene.driver.close()

    RIVALS = 64

    def test_threads_that_race_for_one_key(self, path: Path) -> None:
        """With a driver each, and all with one."""
        insert(path, "the file is there")
        for round, drivers in enumerate((self.RIVALS, 1)):
            scenes = [scene_at(path) for _ in range(drivers)]
            start = threading.Barrier(self.RIVALS)

            def enqueue(rival: int, round: int, scenes: list[Scene], start: threading.Barrier) -> Inserted:
                start.wait(PATIENCE)
                return scenes[rival % len(scenes)].insert(wants_the_key(round, f"{rival}"))[0]

            with ThreadPoolExecutor(self.RIVALS) as pool:
                replies = list(pool.map(partial(enqueue, round=round, scenes=scenes, start=start), range(self.RIVALS)))
            assert_one_won(replies, scenes[0], round)
            for scene in scenes:
                scene.driver.close()

    def test_processes_whose_threads_race_for_one_key(self, path: Path) -> None:
        processes, threads, rounds = 8, 8, 5
        insert(path, "the file is there")
        start, reports = fork.Barrier(processes), fork.Queue()

        def race(process: int) -> None:
            scene = scene_at(path)
            with ThreadPoolExecutor(threads) as pool:
                for round in range(rounds):
                    start.wait(PATIENCE)
                    rivals = [wants_the_key(round, f"{process} {thread}") for thread in range(threads)]
                    reports.put((round, [reply for replies in pool.map(scene.insert, rivals) for reply in replies]))
            scene.driver.close()

        with running(*(partial(race, process) for process in range(processes))):
            shares = [reports.get(timeout=PATIENCE) for _ in range(processes * rounds)]
        scene = scene_at(path)
        for round in range(rounds):
            replies = [reply for of, share in shares if of == round for reply in share]
            assert len(replies) == self.RIVALS
            assert_one_won(replies, scene, round)
        scene.driver.close()
        assert sound(path)

    def test_processes_that_race_to_make_a_store(self, tmp_path: Path) -> None:
        rounds = 20
        start = fork.Barrier(2)

        def make(by: Callable[[Path], None]) -> None:
            for number in range(rounds):
                start.wait(PATIENCE)
                by(tmp_path / f"{number}.db")

        def migrate(path: Path) -> None:
            SqliteStore(f"sqlite:///{path}").migrate()
            insert(path, "after a migration")

        with running(partial(make, migrate), partial(make, lambda path: insert(path, "of its own accord"))):
            pass
        versions = [(version + 1,) for version in range(store_at(tmp_path / "0.db").schema().wanted)]
        for number in range(rounds):
            assert ids_at(tmp_path / f"{number}.db") == {"after a migration", "of its own accord"}
            with sqlite3.connect(tmp_path / f"{number}.db") as raw:
                assert raw.execute("SELECT version FROM mainspring_schema").fetchall() == versions
            raw.close()


class TestKilled:
    """A process that is killed while it writes."""

    BATCH = 40

    @pytest.mark.fault("kill -9 who enqueues", "sqlite")
    def test_what_it_was_told_is_stored_is_there_and_the_rest_is_whole(self, path: Path) -> None:
        told = set[str]()
        for turn in range(5):
            reader, writer = fork.Pipe(duplex=False)

            def write(turn: int = turn, writer: Pipe = writer) -> None:
                scene = scene_at(path)
                for number in range(1_000_000):
                    name = f"{turn} {number}"
                    scene.insert(*(NewJob(f"{name} {job}", "task", args=f'"{"x" * 500}"') for job in range(self.BATCH)))
                    writer.send(name)

            with running(write) as (process,):
                for _ in range(10):
                    told.add(reader.recv())
                process.kill()
                process.join()
                writer.close()
                while reader.poll():
                    try:
                        told.add(reader.recv())
                    except EOFError:
                        break
                reader.close()
                assert process.exitcode == -signal.SIGKILL
        assert sound(path)
        batches = Counter(id.rpartition(" ")[0] for id in ids_at(path))
        assert told <= batches.keys()
        assert set(batches.values()) == {self.BATCH}
        assert len(batches) <= len(told) + 5, "what it was not told is at most the one insert that it was at"

    def test_nobody_waits_for_it(self, path: Path) -> None:
        insert(path, "before")
        reader, writer = fork.Pipe(duplex=False)

        def die_within_a_transaction() -> None:
            raw = sqlite3.connect(path, isolation_level=None)
            raw.execute("BEGIN IMMEDIATE")
            raw.execute("DELETE FROM mainspring_jobs")
            writer.send("in it")
            time.sleep(PATIENCE)

        with running(die_within_a_transaction) as (process,):
            assert reader.recv() == "in it"
            process.kill()
            process.join()
        insert(path, "after")
        assert ids_at(path) == {"before", "after"}


class TestFork:
    """A store that was used before its process forked.

    SQLite's tables of locks are copied to the child, the locks themselves are not: with a file open across the fork,
    what the child writes is lost, or the child waits for ever for a lock that is nobody's.
    """

    @pytest.fixture
    def scene(self, path: Path) -> Iterator[Scene]:
        scene = scene_at(path)
        scene.insert("before")
        yield scene
        scene.driver.close()

    def open_here(self, path: Path) -> list[str]:
        """The store's files that this process has open."""
        files = []
        for fd in os.listdir("/proc/self/fd"):
            with suppress(FileNotFoundError):  # closed since, as that of the list itself
                files.append(os.readlink(f"/proc/self/fd/{fd}"))
        return [file for file in files if file.startswith(str(path))]

    def test_no_file_is_open_across_the_fork(self, scene: Scene, path: Path) -> None:
        watch = scene.driver.watch(("queue:default",))
        assert self.open_here(path)

        def look() -> None:
            assert not self.open_here(path)

        with running(look):
            pass
        watch.close()

    def test_parent_and_child_go_on(self, scene: Scene, path: Path) -> None:
        def write(who: str) -> None:
            for number in range(50):
                scene.insert(f"{who} {number}")
            assert {"before", f"{who} 0"} <= set(scene.ids())

        with running(partial(write, "child")):
            write("parent")
        wanted = {"before", *(f"{who} {number}" for who in ("child", "parent") for number in range(50))}
        assert set(scene.ids()) == wanted
        scene.driver.close()
        assert ids_at(path) == wanted
        assert sound(path)

    def test_what_the_child_writes_is_there_after_the_parent_has_closed_the_store(
        self, scene: Scene, path: Path
    ) -> None:
        ready, closed = fork.Event(), fork.Event()

        def write() -> None:
            scene.insert("while the parent has it open")
            ready.set()
            assert closed.wait(PATIENCE)
            scene.insert("afterwards")

        with running(write):
            assert ready.wait(PATIENCE)
            scene.driver.close()
            closed.set()
        assert ids_at(path) == {"before", "while the parent has it open", "afterwards"}

    def test_a_fork_while_other_threads_write(self, scene: Scene, path: Path) -> None:
        with ThreadPoolExecutor(4) as pool:
            writing = [
                pool.submit(lambda thread=thread: [scene.insert(f"{thread} {number}") for number in range(100)])  # type: ignore[misc]
                for thread in range(4)
            ]
            for turn in range(10):
                with running(partial(scene.insert, f"child {turn}")):
                    pass
            for each in writing:
                each.result(PATIENCE)
        assert len(scene.ids(limit=1000)) == 1 + 4 * 100 + 10
        scene.driver.close()
        assert sound(path)

    def test_a_fork_by_who_holds_a_connection_waits_for_nobody(
        self, scene: Scene, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(forks_of_the_store, "LONGEST_WAIT", 1.5 * PATIENCE)
        driver = scene_at(path).store.driver()
        assert isinstance(driver, SqliteDriver)
        began = time.monotonic()
        with driver.connection(), running(lambda: None):
            pass
        assert time.monotonic() - began < PATIENCE
        driver.close()

    def test_listeners_of_the_parent_go_on(self, scene: Scene, path: Path) -> None:
        async def listen() -> None:
            driver = scene.store.async_driver()
            watch, other = await driver.watch(("queue:default",)), scene.driver.watch(("queue:default",))
            waiting = asyncio.create_task(watch.wait(PATIENCE))
            await asyncio.sleep(0)
            for turn in range(3):
                with running(partial(scene.insert, f"child {turn}")):
                    pass
                assert await waiting
                assert await asyncio.to_thread(other.wait, PATIENCE)
                waiting = asyncio.create_task(watch.wait(PATIENCE))
            waiting.cancel()
            await asyncio.wait([waiting])
            other.close()
            await driver.aclose()

        asyncio.run(listen())


class TestHints:
    """A commit of another process wakes who waits for it."""

    ROUNDS = 15
    MEDIAN = 0.020
    """Seconds from the end of the insert in one process to the end of the wait in the other."""

    @contextmanager
    def another_process(self, path: Path) -> Iterator[Callable[[], float]]:
        """Gives what tells another process to insert a job, and afterwards at what time it had done so."""
        here, there = fork.Pipe()

        def insert_when_told() -> None:
            scene = scene_at(path)
            while there.recv():
                scene.insert(f"{time.monotonic_ns()}")
                there.send(time.monotonic())
            scene.driver.close()

        with running(insert_when_told):
            waiting = False

            def tell() -> float:
                nonlocal waiting
                waiting = not waiting
                if waiting:
                    here.send(True)
                    return 0.0
                return float(here.recv())

            yield tell
            here.send(False)

    @pytest.mark.alone
    def test_a_blocking_watch(self, path: Path) -> None:
        insert(path, "before")
        scene = scene_at(path)
        watch = scene.driver.watch(("queue:default",))

        def lateness(tell: Callable[[], float]) -> float:
            late = []
            for _ in range(self.ROUNDS):
                tell()
                assert watch.wait(PATIENCE)
                woken = time.monotonic()
                late.append(woken - tell())
            return statistics.median(late)

        with self.another_process(path) as tell:
            takes_less_than(self.MEDIAN, lambda: lateness(tell))
        watch.close()
        scene.driver.close()

    @pytest.mark.alone
    def test_an_async_watch(self, path: Path) -> None:
        insert(path, "before")

        async def listen(tell: Callable[[], float]) -> float:
            driver = scene_at(path).store.async_driver()
            watch = await driver.watch(("queue:default",))
            late = []
            for _ in range(self.ROUNDS):
                tell()
                assert await watch.wait(PATIENCE)
                woken = time.monotonic()
                late.append(woken - await asyncio.to_thread(tell))
            await watch.aclose()
            await driver.aclose()
            return statistics.median(late)

        with self.another_process(path) as tell:
            takes_less_than(self.MEDIAN, lambda: asyncio.run(listen(tell)))

    def test_nothing_is_polled_while_nobody_waits(self, path: Path) -> None:
        insert(path, "before")

        async def listen() -> None:
            me = asyncio.current_task()
            driver = scene_at(path).store.async_driver()
            watch = await driver.watch(("queue:default",))
            assert asyncio.all_tasks() == {me}, "a watch alone costs nothing"
            waits = [asyncio.create_task(watch.wait(0.02)) for _ in range(3)]
            await asyncio.wait(waits)
            async with asyncio.timeout(PATIENCE):
                while asyncio.all_tasks() != {me}:
                    await asyncio.sleep(0.001)
            await watch.aclose()
            await driver.aclose()

        asyncio.run(listen())
