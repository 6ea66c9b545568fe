"""`mainspring worker` and `mainspring dev`, as real processes."""

from __future__ import annotations

import os
import signal
import threading
from subprocess import Popen

import pytest

from mainspring import State

from .conftest import PATIENCE, Project, until

APP = "shop.jobs:app"


def reading(process: Popen[str]) -> list[str]:
    """What the process says on standard error, as it comes."""
    lines: list[str] = []
    stream = process.stderr
    assert stream is not None
    threading.Thread(target=lambda: lines.extend(iter(stream.readline, "")), daemon=True).start()
    # `extend` takes lines one by one from the iterator, so that they are there as soon as they are read.
    return lines


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_runs_jobs_and_stops_gracefully(project: Project, number: signal.Signals) -> None:
    job = project.app.tasks["add"].enqueue(1, 2)
    process = project.start("worker", APP, "-c", "5")
    assert job.result(PATIENCE) == 3
    process.send_signal(number)
    _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "tasks: add, send_welcome, slow, clean" in error
    assert "has stopped" in error
    assert "Traceback" not in error


def test_a_worker_serves_the_queues_that_it_is_told(project: Project) -> None:
    """With weights here; those without are served in strict order."""
    tasks = project.app.tasks
    other, mine = tasks["add"].enqueue(1, 2), tasks["slow"].enqueue()
    process = project.start("worker", APP, "-q", "slow:3", "-q", "email:1")
    mine.result(PATIENCE)
    assert other.refresh().state is State.QUEUED
    process.terminate()
    assert process.wait(PATIENCE) == 0


def test_a_log_shows_hostile_text_as_plain_text(project: Project) -> None:
    project.write(
        "hostile.py",
        "from mainspring import Mainspring\napp = Mainspring('sqlite:///shop.db')\n"
        "@app.on('completed')\ndef told(event): raise ValueError('a\\x1b[31mb\\u202ec')\n"
        "@app.task\ndef task() -> None: ...",
    )
    process = project.start("worker", "hostile")
    lines = reading(process)
    project.finish("enqueue", "hostile", "task", "--wait")
    until(lambda: "\\x1b[31mb\\u202ec" in "".join(lines))
    assert "\x1b[31m" not in "".join(lines)


def test_a_worker_without_a_usable_store_says_why(project: Project) -> None:
    project.write("lost.py", "from mainspring import Mainspring\napp = Mainspring('sqlite:///no/such/folder/x.db')")
    code, _, error = project.finish("worker", "lost")
    assert code == 1
    assert error.splitlines()[-1].startswith("error: ")
    assert "does not exist" in error
    assert "Traceback" not in error


def test_dev_starts_anew_when_the_code_changes(project: Project) -> None:
    code = (
        "from mainspring import Mainspring\napp = Mainspring('sqlite:///dev.db')\n"
        "@app.task\ndef version() -> int: return {}\n"
    )
    project.write("changing.py", code.format(1))
    process = project.start("dev", "changing")
    lines = reading(process)
    until(lambda: "serves default" in "".join(lines))
    assert project.finish("enqueue", "changing", "version", "--wait", "--timeout", "50s")[1] == "1\n"

    project.write("changing.py", "def (")
    until(lambda: "starts again when a file changes" in "".join(lines))
    assert "SyntaxError" in "".join(lines)

    project.write("changing.py", code.format(2222))
    until(lambda: "".join(lines).count("serves default") == 2)
    assert project.finish("enqueue", "changing", "version", "--wait", "--timeout", "50s")[1] == "2222\n"

    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0
    until(lambda: "".join(lines).count("has stopped") == 2)


def test_dev_takes_its_worker_along_when_the_terminal_closes(project: Project) -> None:
    process = project.start("dev", APP)
    lines = reading(process)
    until(lambda: "serves" in "".join(lines))
    os.kill(process.pid, signal.SIGHUP)
    assert process.wait(PATIENCE) == 0
    assert project.json("workers", "list", "--app", APP) == []
