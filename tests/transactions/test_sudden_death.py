"""kill -9 between the completion and its commit: nothing of either stays, and the job runs again elsewhere, once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from worker.scene import bury, wait_until

from .places import Place, PostgresPlace

MODULE = """
import os, sqlite3, sys, time
from contextlib import closing
from pathlib import Path
import psycopg
from mainspring import Context, Mainspring

HERE = Path(__file__).parent
app = Mainspring()

def connect():
    address = os.environ["ADDRESS"]
    return psycopg.connect(address) if address.startswith("postgresql:") else closing(sqlite3.connect(address))

@app.task(retry=1)
def charge(ctx: Context, when: str) -> str:
    with connect() as connection:
        connection.execute(f"INSERT INTO {os.environ['ORDERS']} VALUES ({ctx.fence})")
        ctx.complete(f"run {ctx.fence}", tx=connection)
        if when == "before" and ctx.fence == 1:
            (HERE / "written").touch()
            time.sleep(600)
        connection.commit()
        if when == "after" and ctx.fence == 1:
            (HERE / "written").touch()
            time.sleep(600)
    return ""

if __name__ == "__main__":
    app.worker(lease="10s").run()
"""


@pytest.fixture
def start(place: Place, tmp_path: Path) -> Callable[[], subprocess.Popen[bytes]]:
    (tmp_path / "jobs.py").write_text(MODULE)
    url = place.app.url if not isinstance(place, PostgresPlace) else _with_password(place)
    environment = os.environ | {"MAINSPRING_URL": url, "ADDRESS": place.address, "ORDERS": place.orders}
    return lambda: subprocess.Popen([sys.executable, "jobs.py"], cwd=tmp_path, env=environment)


def _with_password(place: Place) -> str:
    return f"{place.address}{'&' if '?' in place.address else '?'}schema={place.orders.partition('.')[0]}"


@pytest.mark.parametrize("place", ["postgres", "sqlite"], indirect=True)
@pytest.mark.parametrize("when", ["before", "after"])
def test_kill_9_around_the_commit(
    place: Place, start: Callable[[], subprocess.Popen[bytes]], tmp_path: Path, when: str
) -> None:
    app = place.app

    @app.task(retry=1)
    def charge(when: str) -> str: ...

    job = charge.enqueue(when)
    first = start()
    try:
        wait_until((tmp_path / "written").exists)
        assert place.stored() == ([] if when == "before" else [1])
    finally:
        first.kill()
        first.wait()
        bury(app, first)
    second = start()
    try:
        run = 1 if when == "after" else int(job.result(timeout=40).split()[1])
        assert job.result(timeout=40) == f"run {run}"
        assert place.stored() == [run]
        assert job.refresh().crashes == (0 if when == "after" else 1)
        wait_until(lambda: not any(worker.running for worker in app.workers.list() if worker.alive))
        assert app.jobs.count() == app.jobs.count(state="completed") == 1
    finally:
        second.terminate()
        second.wait(30)
