"""SQLite: a file per store, in a temporary folder."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from bench import sqlite_raw

__all__ = ["SqliteGround", "sqlite_ground"]

_ID = "printf('00000000-0000-7000-8000-%012x', n)"


class SqliteGround:
    name = "sqlite"
    title = f"SQLite {sqlite3.sqlite_version}"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = 0

    def fresh(self) -> str:
        return f"sqlite:///{self._file()}"

    def forget(self) -> None:
        shutil.rmtree(self._folder)
        self._folder.mkdir()

    def copy_queued(self, url: str, copies: int) -> None:
        changed = dict.fromkeys(("created_at", "run_at"), f"{{}} - ({copies} - n) / 100")
        self._copy(url, "mainspring_jobs", copies, changed)

    def copy_finished(self, url: str, copies: int) -> None:
        self._copy(url, "mainspring_finished", copies, {"finished_at": "{} - n % 3600000"})

    def tidy(self, url: str) -> None:
        """Nothing."""

    def raw_enqueue(self, jobs: int) -> float:
        return sqlite_raw.insert_singly(self._file(), jobs)

    def raw_aenqueue(self, jobs: int) -> float:
        return self.raw_enqueue(jobs)

    def raw_enqueue_many(self, jobs: int, batch: int) -> float:
        return sqlite_raw.insert_batches(self._file(), jobs, batch)

    def raw_drain(self, jobs: int, batch: int) -> float:
        return sqlite_raw.claim_and_settle(self._file(), jobs, batch)

    def _file(self) -> Path:
        self._files += 1
        return self._folder / f"{self._files}.db"

    def _copy(self, url: str, table: str, copies: int, changed: Mapping[str, str]) -> None:
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            values = ", ".join(_ID if each == "id" else changed.get(each, "{}").format(each) for each in columns)
            connection.execute(
                "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?) "
                f"INSERT INTO {table} ({', '.join(columns)}) "
                f"SELECT {values} FROM numbers CROSS JOIN (SELECT * FROM {table} LIMIT 1)",
                (copies,),
            )


@contextmanager
def sqlite_ground() -> Iterator[SqliteGround]:
    with tempfile.TemporaryDirectory(prefix="mainspring-bench-") as folder:
        stores = Path(folder) / "stores"
        stores.mkdir()
        yield SqliteGround(stores)
