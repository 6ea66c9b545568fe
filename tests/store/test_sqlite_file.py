"""A store on a file: who may use it, what else may be there, its settings and schema. And a store that is on none."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mainspring.errors import SchemaMismatch, StoreCorrupt, UnsuitableStore
from mainspring.model.job import NewJob
from mainspring.model.states import State
from mainspring.store.base import (
    BeatRequest,
    ClaimRequest,
    CountRequest,
    Filter,
    FindRequest,
    InsertRequest,
    Request,
    Room,
)
from mainspring.store.migrate import Migration, migrations
from mainspring.store.sqlite import SqliteStore
from mainspring.store.sqlite.connection import Connection
from mainspring.store.sqlite.location import locate

from .conformance.scene import Scene, presence
from .files import ids_at, insert, scene_at, store_at
from .processes import elsewhere, forks

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


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """A store in a folder that every user can reach and write to, unlike those that pytest makes."""
    folder = Path(tempfile.mkdtemp())
    insert(folder / "jobs.db", "before")
    folder.chmod(0o777)
    (folder / "jobs.db").chmod(0o666)
    yield folder / "jobs.db"
    folder.chmod(0o777)
    shutil.rmtree(folder)


class TestPermissions:
    """What this user may not do. Root may do everything, so it is tried as another user."""

    @pytest.mark.parametrize(
        ("file_mode", "folder_mode", "error"),
        [
            (0o444, 0o777, "StoreReadOnly"),
            (0o444, 0o555, "StoreReadOnly"),
            (0o666, 0o555, "StoreReadOnly"),
            (0o000, 0o777, "StoreUnavailable"),
            (0o222, 0o777, "StoreUnavailable"),
            (0o666, 0o666, "StoreUnavailable"),
            (0o666, 0o000, "StoreUnavailable"),
        ],
    )
    def test_a_store_that_may_not_be_written(
        self, everybodys: Path, file_mode: int, folder_mode: int, error: str
    ) -> None:
        everybodys.chmod(file_mode)
        everybodys.parent.chmod(folder_mode)
        answer = elsewhere(lambda: insert(everybodys, "new"), as_nobody=True)
        assert answer.startswith(f"{error}: ")
        assert str(everybodys) in answer
        assert "permission" in answer.lower() or "this user" in answer
        everybodys.parent.chmod(0o777)
        everybodys.chmod(0o666)
        assert ids_at(everybodys) == {"before"}

    def test_a_store_that_may_be_written(self, everybodys: Path) -> None:
        assert elsewhere(lambda: insert(everybodys, "new"), as_nobody=True) == "None"
        assert ids_at(everybodys) == {"before", "new"}

    def test_a_file_that_may_be_read_can_be_looked_at(self, everybodys: Path) -> None:
        everybodys.chmod(0o444)
        assert elsewhere(lambda: ids_at(everybodys), as_nobody=True) == "{'before'}"
        wanted = store_at(everybodys).schema().wanted
        assert elsewhere(lambda: store_at(everybodys).schema().found, as_nobody=True) == str(wanted)

    def test_a_folder_in_which_no_file_can_be_made(self, everybodys: Path) -> None:
        everybodys.parent.chmod(0o555)
        answer = elsewhere(lambda: insert(everybodys.parent / "new.db", "new"), as_nobody=True)
        assert answer.startswith("StoreUnavailable: cannot open")
        assert os.listdir(everybodys.parent) == ["jobs.db"]

    @pytest.mark.parametrize("name", ["jobs.db", "folder/jobs.db"])
    def test_a_look_into_a_folder_that_may_not_be_entered(self, everybodys: Path, name: str) -> None:
        everybodys.parent.chmod(0o000)
        answer = elsewhere(lambda: store_at(everybodys.parent / name).schema(), as_nobody=True)
        assert answer.startswith("StoreUnavailable: cannot open")


class TestDamage:
    """Files that are no store, or no longer."""

    def uses(self, path: Path) -> list[str]:
        """What comes of the ways to use a store: each works or says StoreCorrupt, and nothing else."""
        requests: tuple[Request[Any], ...] = (
            InsertRequest((NewJob("new", "task"),)),
            FindRequest(Filter(), limit=1000),
            BeatRequest(presence("worker"), "join"),
            ClaimRequest("worker", (Room("default", 1000),), 1000),
            CountRequest(Filter()),
        )
        answers = []
        for request in requests:
            driver = store_at(path).driver()
            answer = ""
            try:
                driver.run(request)
            except StoreCorrupt as error:
                answer = str(error)
            finally:
                driver.close()
            assert not answer or (str(path) in answer and "restore a backup" in answer)
            answers.append(answer)
        return answers

    @pytest.fixture
    def whole(self, path: Path) -> bytes:
        """The bytes of a store with some hundred jobs."""
        scene = scene_at(path)
        scene.insert(*(NewJob(f"job {number}", "task", args=f'{{"x": "{"y" * 200}"}}') for number in range(300)))
        scene.driver.close()
        return path.read_bytes()

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(b"hello, world\n" * 1000, id="text"),
            pytest.param(b"hi", id="short text"),
            pytest.param(random.Random(1).randbytes(8192), id="random bytes"),
            pytest.param(b"SQLite format 3\0" + random.Random(2).randbytes(8192), id="right beginning, then random"),
            pytest.param(bytes(8192), id="zeros"),
        ],
    )
    def test_what_is_no_database_is_refused_and_left_alone(self, path: Path, data: bytes) -> None:
        path.write_bytes(data)
        with pytest.raises(StoreCorrupt):
            store_at(path).schema()
        assert all(self.uses(path))
        assert path.read_bytes() == data
        assert os.listdir(path.parent) == [path.name]

    def test_a_header_then_garbage(self, path: Path, whole: bytes) -> None:
        path.write_bytes(whole[:100] + random.Random(3).randbytes(len(whole) - 100))
        assert all(self.uses(path))

    @pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9])
    def test_a_file_that_was_cut_short(self, path: Path, whole: bytes, share: float) -> None:
        path.write_bytes(whole[: int(len(whole) * share)])
        assert any(self.uses(path))

    @pytest.mark.parametrize("seed", range(20))
    def test_a_page_of_garbage_is_met_with_no_other_error(self, path: Path, whole: bytes, seed: int) -> None:
        chance = random.Random(seed)
        page = chance.randrange(1, len(whole) // 4096) * 4096
        path.write_bytes(whole[:page] + chance.randbytes(4096) + whole[page + 4096 :])
        self.uses(path)

    def test_damaged_letters_in_the_schema(self, path: Path, whole: bytes) -> None:
        """SQLite quotes them in its message, which Python cannot read then."""
        path.write_bytes(whole.replace(b"CREATE TABLE mainspring_log", b"CREATE TABL\xae mainspring_log"))
        assert all(self.uses(path))

    def test_damaged_letters_in_a_job_keep_nobody_from_the_others(self, path: Path, whole: bytes) -> None:
        path.write_bytes(whole.replace(b"yyyyy", b"yy\xffyy"))
        assert not any(self.uses(path))

    def test_damage_under_a_running_program(self, scene: Scene, path: Path) -> None:
        scene.insert(*(NewJob(f"job {number}", "task", args=f'"{"y" * 200}"') for number in range(300)))
        scene.driver.close()
        scene.count()
        with path.open("r+b") as file:
            file.write(random.Random(4).randbytes(path.stat().st_size))
        other = scene.store.driver()
        with pytest.raises(StoreCorrupt):
            other.run(FindRequest(Filter(), limit=1000))
        other.close()

    def test_an_empty_file_becomes_a_store(self, path: Path) -> None:
        path.touch()
        insert(path, "new")
        assert ids_at(path) == {"new"}


class TestForeign:
    """Files that are in order, but not as this program knows them."""

    def test_a_newer_schema_is_refused_and_left_alone(self, scene: Scene, path: Path) -> None:
        known = len(migrations("mainspring.store.sqlite.migrations"))
        scene.driver.close()
        with closing(sqlite3.connect(path)) as raw:
            raw.execute("INSERT INTO mainspring_schema VALUES (99, '0099_later')")
            raw.commit()
        store = store_at(path)
        assert (store.schema().found, store.schema().wanted) == (99, known)
        for attempt in (store.migrate, lambda: insert(path, "new"), lambda: ids_at(path)):
            with pytest.raises(SchemaMismatch, match=rf"version 99.*up to {known}.*`mainspring migrate`") as refusal:
                attempt()
            assert store.url in str(refusal.value)
        with closing(sqlite3.connect(path)) as raw:
            assert raw.execute("SELECT id FROM mainspring_jobs").fetchall() == [("before",)]

    @pytest.mark.parametrize("mode", ["delete", "wal"])
    def test_tables_of_others_in_the_same_file_are_left_alone(self, path: Path, mode: str) -> None:
        with closing(sqlite3.connect(path)) as raw:
            raw.executescript(
                f"PRAGMA journal_mode = {mode}; PRAGMA user_version = 7; PRAGMA application_id = 8;"
                "CREATE TABLE jobs (id INTEGER PRIMARY KEY, what TEXT); CREATE INDEX queued ON jobs (what);"
                "CREATE TABLE schema (version INTEGER); INSERT INTO schema VALUES (42);"
                "INSERT INTO jobs (what) VALUES ('theirs'), ('theirs too');"
            )
            theirs = raw.execute("SELECT * FROM sqlite_master ORDER BY name").fetchall()

        scene = scene_at(path)
        scene.join()
        scene.finish("done")
        scene.insert("new")
        assert set(scene.ids()) == {"new", "done"}
        scene.driver.close()

        with closing(sqlite3.connect(path)) as raw:
            assert raw.execute("PRAGMA user_version").fetchone() == (7,)
            assert raw.execute("PRAGMA application_id").fetchone() == (8,)
            assert raw.execute("SELECT what FROM jobs").fetchall() == [("theirs",), ("theirs too",)]
            assert raw.execute("SELECT * FROM schema").fetchall() == [(42,)]
            now = raw.execute("SELECT * FROM sqlite_master ORDER BY name").fetchall()
        assert [entry for entry in now if "mainspring" not in entry[2]] == theirs

    def test_a_place_without_wal_is_refused(self, path: Path) -> None:
        """SQLite only says so in the answer to a pragma; what it would lose is that several processes can write."""
        there = replace(locate(f"sqlite:///{path}"), uri=f"{path.as_uri()}?vfs=unix-dotfile")
        with pytest.raises(UnsuitableStore, match="several processes"):
            Connection(there, threading.Lock())


class TestSettings:
    """What each connection is told when it is opened."""

    def test_every_connection_of_every_driver_has_them(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        store = store_at(path)
        opened: list[Connection] = []
        connect = store._connect

        def remember(turn: threading.Lock) -> Connection:
            opened.append(connect(turn))
            return opened[-1]

        monkeypatch.setattr(store, "_connect", remember)
        driver = store.driver()
        with driver.connection(), driver.connection():
            watch = driver.watch(("queue:default",))

        async def use() -> None:
            driver = store.async_driver()
            watch = await driver.watch(("queue:default",))
            await asyncio.gather(*(driver.run(CountRequest(Filter())) for _ in range(8)))
            found = [(pragma("journal_mode"), pragma("synchronous")) for pragma in map(reader, opened)]
            assert found == [("wal", 2)] * len(opened)
            assert len(opened) >= 5
            await watch.aclose()
            await driver.aclose()

        def reader(connection: Connection) -> Callable[[str], object]:
            return lambda name: connection.rows(f"PRAGMA {name}")[0][0]

        asyncio.run(use())
        watch.close()
        driver.close()

    def test_a_closed_store_is_one_file(self, scene: Scene, path: Path) -> None:
        assert len(os.listdir(path.parent)) == 3
        scene.driver.close()
        assert os.listdir(path.parent) == [path.name]


class TestSchema:
    """Migrations."""

    KNOWN = migrations("mainspring.store.sqlite.migrations")

    def tables(self, path: Path) -> set[tuple[str, ...]]:
        with closing(sqlite3.connect(path)) as raw:
            return set(raw.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))

    def test_they_are_numbered_from_1_without_a_gap(self) -> None:
        assert [each.version for each in self.KNOWN] == list(range(1, len(self.KNOWN) + 1))
        assert [int(each.name.split("_")[0]) for each in self.KNOWN] == [each.version for each in self.KNOWN]

    @pytest.mark.parametrize("version", range(len(KNOWN) + 1))
    def test_every_older_store_becomes_the_same_as_a_new_one(self, tmp_path: Path, version: int) -> None:
        new, old = store_at(tmp_path / "new.db"), store_at(tmp_path / "old.db")
        new.migrate()
        old._migrations = self.KNOWN[:version]
        old.migrate()
        old._migrations = self.KNOWN
        assert (old.schema().found, old.schema().wanted) == (version, len(self.KNOWN))
        assert old.migrate().found == version
        assert old.schema().found == len(self.KNOWN)
        assert self.tables(tmp_path / "old.db") == self.tables(tmp_path / "new.db")
        assert old.migrate().found == len(self.KNOWN)

    def test_a_look_at_a_missing_file_makes_none(self, path: Path) -> None:
        assert store_at(path).schema().found == 0
        assert os.listdir(path.parent) == []

    def test_a_migration_that_fails_leaves_nothing_behind(self, scene: Scene, path: Path) -> None:
        scene.driver.close()
        before = self.tables(path)
        store = store_at(path)
        broken = Migration(
            len(self.KNOWN) + 1, "broken", "CREATE TABLE mainspring_new (x);\nCREATE TABLE mainspring_jobs (x);\n"
        )
        store._migrations = (*self.KNOWN, broken)
        with pytest.raises(SchemaMismatch, match=r"schema version \d \(.*already exists\): it was"):
            store.migrate()
        assert self.tables(path) == before
        assert ids_at(path) == {"before"}

    def test_the_file_of_another_program_whose_tables_have_our_names_is_left_alone(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as raw:
            raw.execute("CREATE TABLE mainspring_jobs (x)")
        before = self.tables(path)
        with pytest.raises(SchemaMismatch, match=r"schema version 1 .*name another file"):
            store_at(path).migrate()
        assert self.tables(path) == before


class TestMemory:
    """`sqlite://`: for tests."""

    def test_stores_are_private(self) -> None:
        one, two = SqliteStore("sqlite://"), SqliteStore("sqlite://")
        for store, id in ((one, "of one"), (two, "of two")):
            Scene(store, store.driver()).insert(id)
        assert Scene(one, one.driver()).ids() == ["of one"]
        assert Scene(two, two.driver()).ids() == ["of two"]

    def test_its_drivers_and_threads_share_it(self) -> None:
        store = SqliteStore("sqlite://")
        shared = Scene(store, store.driver())

        def use(number: int) -> None:
            own = Scene(store, store.driver())
            own.insert(f"own {number}")
            shared.insert(f"shared {number}")
            own.driver.close()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(use, range(40)))
        assert shared.count() == {("default", State.QUEUED): 80}

    def test_it_stays_while_no_driver_is_open(self) -> None:
        store = SqliteStore("sqlite://")
        first = Scene(store, store.driver())
        first.insert("j")
        first.driver.close()
        assert Scene(store, store.driver()).ids() == ["j"]

    def test_it_is_gone_with_its_store(self) -> None:
        store = SqliteStore("sqlite://")
        scene = Scene(store, store.driver())
        scene.insert("j")
        with closing(sqlite3.connect(store._location.uri, uri=True)) as raw:
            assert raw.execute("SELECT id FROM mainspring_jobs").fetchall() == [("j",)]
        uri = store._location.uri
        scene.driver.close()
        del scene, store
        gc.collect()
        with closing(sqlite3.connect(uri, uri=True)) as raw:
            assert raw.execute("SELECT * FROM sqlite_master").fetchall() == []

    def test_it_leaves_no_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        store = SqliteStore("sqlite://")
        scene = Scene(store, store.driver())
        scene.insert(*(NewJob(f"{number}", "task", args=f'"{"x" * 1000}"') for number in range(2000)))
        scene.driver.close()
        assert os.listdir(tmp_path) == []
        assert (store.schema().found, store.url) == (store.schema().wanted, "sqlite://")
