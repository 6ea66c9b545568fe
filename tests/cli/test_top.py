"""`mainspring top`: what goes on, once or again and again, for people and for programs."""

from __future__ import annotations

import os
import pty
import re
import signal
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from mainspring import Point
from mainspring.cli.top_view import Sight
from mainspring.model.stats import Series

from .conftest import PATIENCE, Project, until


def worked(project: Project) -> None:
    """Three jobs have been run, one of them in vain, and one waits in a queue that is paused."""
    app = project.app
    app.tasks["add"].enqueue(1, 2)
    app.tasks["send_welcome"].enqueue(7, email="a@b.c")
    app.tasks["send_welcome"].enqueue(8, email="nobody")
    app.queues.pause("slow")
    app.tasks["slow"].enqueue(0)
    worker = project.start("worker", "shop.jobs:app", "-q", "default", "-q", "email")
    until(lambda: app.jobs.count(state=("completed", "dead")) == 3)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(PATIENCE) == 0


def test_programs_get_one_document(project: Project) -> None:
    worked(project)
    sight = project.json("top", "--app", "shop.jobs:app")
    total = sight["total"]
    assert {name: total[name] for name in ("enqueued", "started", "completed", "failed", "retried", "dead")} == {
        "enqueued": 4, "started": 4, "completed": 2, "failed": 2, "retried": 1, "dead": 1
    }  # fmt: skip
    assert total["run"]["count"] == 4
    assert {"depth", "oldest_seconds"} <= total.keys()
    assert total["wait"]["p50_seconds"] <= total["wait"]["p95_seconds"] <= total["wait"]["p99_seconds"]
    assert (len(sight["points"]), sight["seconds_per_point"], sight["span_seconds"]) == (60, 60, 3600)
    assert sum(point["enqueued"] for point in sight["points"]) == 4
    queues = {queue["name"]: queue for queue in sight["queues"]}
    assert (queues["slow"]["paused"], queues["slow"]["counts"]["queued"], queues["email"]["stats"]["failed"]) == (
        True, 1, 2
    )  # fmt: skip
    assert sight["workers"] == []


def test_rates_go_by_the_stores_clock() -> None:
    """However wrong that of the machine is on which one looks."""
    at = datetime(2031, 5, 1, 12, tzinfo=UTC)
    points = tuple(Point(at + timedelta(minutes=n), completed=90) for n in range(60))
    series = Series(points, 60, points[-1].at + timedelta(seconds=30))
    for off in (-3600, 0, 3600):
        sight = Sight("", at + timedelta(hours=1, seconds=off), 3600, series, {}, [], [])
        assert (sight.recent_seconds, sight.rate("completed")) == (90, 2)


def test_without_a_terminal_it_looks_once_and_cuts_nothing(project: Project) -> None:
    project.app.tasks["add"].using(queue="q" * 150).enqueue(1, 2)
    code, out, err = project.finish("top", "--app", "shop.jobs:app", "--span", "1d")
    assert (code, err) == (0, "")
    assert "1 enqueued, 0 completed" in out
    assert "q" * 150 in out


def test_the_span_is_up_to_thirty_days(project: Project) -> None:
    project.app.tasks["add"].enqueue(1, 2)
    refusal = project.run("top", "--app", "shop.jobs:app", "--span", "90d", code=2).stderr
    assert "give one between 1m and 4w2d" in refusal
    assert len(project.json("top", "--app", "shop.jobs:app", "--span", "30d")["points"]) == 360


def test_on_a_terminal_of_eighty_columns_no_line_is_broken(project: Project) -> None:
    worked(project)
    project.app.tasks["add"].using(queue="a rather long name for a queue \u202e").enqueue(1, 2)
    code, shown = project.on_terminal("top", "--app", "shop.jobs:app", "--once", columns=80)
    assert code == 0
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in shown.replace("\r", "").splitlines()]
    assert max(map(len, lines)) <= 80
    assert "slow (paused)" in shown
    assert "█" in shown
    assert "\u202e" not in shown
    assert [line.split()[0] for line in lines if line].count("QUEUE") == 1


def test_on_a_terminal_it_goes_on_until_it_is_told_to_stop(project: Project) -> None:
    app = project.app
    app.tasks["add"].enqueue(1, 2)
    terminal = Terminal(project, "top", "--app", "shop.jobs:app", "--every", "50ms")
    until(lambda: "1 enqueued" in terminal.read())
    app.enqueue_many(app.tasks["add"].job(n, 2) for n in range(6))
    until(lambda: "7 enqueued" in terminal.read())
    terminal.process.send_signal(signal.SIGINT)
    until(lambda: terminal.read() and terminal.process.poll() is not None)
    assert terminal.process.wait(PATIENCE) == 0


def test_it_outlives_a_store_that_goes_away(project: Project) -> None:
    app = project.app
    app.tasks["add"].enqueue(1, 2)
    terminal = Terminal(project, "top", "--app", "shop.jobs:app", "--every", "50ms")
    until(lambda: "1 enqueued" in terminal.read())
    app.close()
    for name in ("shop.db", "shop.db-wal", "shop.db-shm"):
        with suppress(FileNotFoundError):  # whoever notices that its store is gone takes these two away
            (project.folder / name).rename(project.folder / f"{name}.away")
    until(lambda: "this is what was seen last" in terminal.read())
    terminal.process.send_signal(signal.SIGINT)
    until(lambda: terminal.read() and terminal.process.poll() is not None)
    assert terminal.process.wait(PATIENCE) == 0


class Terminal:
    """The real command on a terminal that one goes on reading."""

    def __init__(self, project: Project, *args: str) -> None:
        self._ours, theirs = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "50"}
        streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
        self.process = project.start(*args, **streams, env=environment)
        os.close(theirs)
        os.set_blocking(self._ours, False)
        self._shown = b""

    def read(self) -> str:
        """All that it has shown by now."""
        try:
            while piece := os.read(self._ours, 65536):
                self._shown += piece
        except OSError:
            time.sleep(0.01)
        return self._shown.decode(errors="replace")
