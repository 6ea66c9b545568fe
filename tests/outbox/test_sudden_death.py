"""kill -9 of whoever relays, wherever it is at: each job is in the store exactly once."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from transactions.libraries import BLOCKING
from worker.scene import wait_until

from mainspring import Mainspring

from .shops import PostgresShop, Shop

pytestmark = pytest.mark.timeout(300)

BOTH = pytest.mark.parametrize("shop", ["postgres", "sqlite"], indirect=True)

MODULE = """
from mainspring import Mainspring

app = Mainspring()

@app.task(queue="nobody serves it")
def ship(order: int) -> None: ...

if __name__ == "__main__":
    app.worker(["idle"]).run()
"""
"""A worker that relays, and runs nothing."""


class Relays:
    """Processes that relay from a shop to a store."""

    def __init__(self, folder: Path, store: str, shop: Shop) -> None:
        (folder / "relays.py").write_text(MODULE)
        self._folder = folder
        self._environment = os.environ | {"MAINSPRING_URL": store, "MAINSPRING_OUTBOX": shop.outbox_url}
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        self._running.append(subprocess.Popen([sys.executable, "relays.py"], cwd=self._folder, env=self._environment))

    def kill(self) -> None:
        """kill -9 of the oldest one."""
        process = self._running.pop(0)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def kill_all(self) -> None:
        while self._running:
            self.kill()


@pytest.fixture
def app(redis_url: str, shop: Shop) -> Iterator[Mainspring]:
    """An app whose jobs are in Redis."""
    with Mainspring(redis_url, outbox=shop.outbox_url) as app:
        app.task(name="ship", queue="nobody serves it")(lambda order: None)
        yield app


@pytest.fixture
def relays(tmp_path: Path, redis_url: str, shop: Shop) -> Iterator[Relays]:
    relays = Relays(tmp_path, redis_url, shop)
    yield relays
    relays.kill_all()


def put(shop: Shop, app: Mainspring, count: int) -> None:
    library = next(each for each in BLOCKING if each.store in shop.outbox_url)
    task: Any = app.tasks["ship"]
    with library.begin(shop) as begun:
        app.outbox(begun.tx).enqueue_many([task.job(number) for number in range(count)])
        begun.commit()


def stop(process: subprocess.Popen[bytes], shop: Shop) -> None:
    """SIGSTOP where it holds no lock on the file: with one, nobody could write there until it goes on."""
    while True:
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        if isinstance(shop, PostgresShop) or not has_locked(process.pid, Path(shop.address)):
            return
        process.send_signal(signal.SIGCONT)


def has_locked(pid: int, path: Path) -> bool:
    """Whether the process has one of SQLite's locks on that file. See proc_locks(5)."""
    inode = path.stat().st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        _, kind, *_, holder, file, _, _ = line.split()
        if kind == "POSIX" and int(holder) == pid and int(file.rpartition(":")[2]) == inode:
            return True
    return False


@contextmanager
def nothing_deleted(shop: Shop) -> Iterator[None]:
    """Meanwhile rows can be read and locked, and a DELETE waits."""
    if isinstance(shop, PostgresShop):
        with psycopg.connect(shop.address) as connection:
            connection.execute(f"LOCK TABLE {shop.table} IN SHARE MODE")  # type: ignore[arg-type]
            yield
    else:
        with closing(sqlite3.connect(shop.address, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield


@BOTH
def test_kill_9_between_the_insert_and_the_deletion(shop: Shop, app: Mainspring, relays: Relays) -> None:
    put(shop, app, 10)
    with nothing_deleted(shop):
        relays.start()
        wait_until(lambda: app.jobs.count() == 10)
        relays.kill()
        assert shop.waiting() == 10, "sent, and not deleted"
    ids = {job.id for job in app.jobs.find()}
    relays.start()
    wait_until(lambda: shop.waiting() == 0)
    assert {job.id for job in app.jobs.find()} == ids
    assert app.jobs.count() == 10


@BOTH
def test_a_job_that_has_ended_meanwhile_does_not_come_again(shop: Shop, app: Mainspring, relays: Relays) -> None:
    put(shop, app, 1)
    with nothing_deleted(shop):
        relays.start()
        wait_until(lambda: app.jobs.count() == 1)
        relays.kill()
        app.jobs.cancel(task="ship")
    relays.start()
    wait_until(lambda: shop.waiting() == 0)
    assert app.jobs.count() == app.jobs.count(state="cancelled") == 1


@BOTH
def test_kill_9_again_and_again_over_many_rows(shop: Shop, app: Mainspring, relays: Relays) -> None:
    """Two relays at a time; the one that has been there longer dies."""
    put(shop, app, 2000)
    chance = random.Random(7)
    relays.start()
    for _ in range(6):
        relays.start()
        seen = app.jobs.count()
        wait_until(lambda: app.jobs.count() > seen or not shop.waiting())  # noqa: B023
        time.sleep(chance.random() / 50)
        relays.kill()
    wait_until(lambda: shop.waiting() == 0)
    assert app.jobs.count() == 2000
    assert shop.status().aside == 0


@BOTH
def test_who_stands_still_in_his_turn_loses_it(shop: Shop, app: Mainspring, relays: Relays) -> None:
    """A process that was stopped, with rows in its hands: the next one has them after ten seconds, and when the first
    one goes on, nothing comes of it."""
    put(shop, app, 10)
    with nothing_deleted(shop):
        relays.start()
        wait_until(lambda: app.jobs.count() == 10)
        stopped = relays._running[0]
        stop(stopped, shop)
    relays.start()
    try:
        wait_until(lambda: shop.waiting() == 0)
    finally:
        stopped.send_signal(signal.SIGCONT)
    put(shop, app, 10)
    wait_until(lambda: shop.waiting() == 0)
    assert app.jobs.count() == 20
