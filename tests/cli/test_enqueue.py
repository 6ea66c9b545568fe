"""`mainspring enqueue`: arguments as text or JSON, validated before anything is stored."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta

import pytest

from mainspring import State
from mainspring.cli.target import load_app
from mainspring.testing import drain

from .conftest import PATIENCE, Project, until


def test_the_id_alone_is_printed_where_nobody_watches(project: Project) -> None:
    id = project.run("enqueue", "shop.jobs:app", "add", "a=1", "b=2").stdout.strip()
    assert project.app.jobs.get(id).args == {"a": 1, "b": 2}


def test_values_become_what_the_task_wants(project: Project) -> None:
    """`code` is text, so that 0123 keeps its zero; `user_id` is a number."""
    project.run("enqueue", "shop.jobs:app", "send_welcome", "user_id=7", "email=a=b@c.d", "code=0123")
    (job,) = project.app.jobs.find()
    assert job.args == {"user_id": 7, "email": "a=b@c.d", "code": "0123"}
    drain(project.app)
    assert job.result(0) == "7 a=b@c.d 0123"


def test_lists_objects_optional_and_enum_parameters(project: Project) -> None:
    project.write(
        "typed.py",
        "from enum import Enum\nfrom mainspring import Mainspring\napp = Mainspring('sqlite:///typed.db')\n"
        "class Colour(Enum):\n    RED = '1'\n"
        "@app.task\ndef paint(colour: Colour, sizes: list[int], note: str | None = None, any=None) -> None: ...\n",
    )
    project.run("enqueue", "typed", "paint", "colour=1", "sizes=[1, 2]", "note=5", "any={}")
    app = load_app("typed")
    (job,) = app.jobs.find()
    assert job.args == {"colour": "1", "sizes": [1, 2], "note": "5", "any": {}}


def test_all_arguments_as_json(project: Project) -> None:
    shown = project.json("enqueue", "shop.jobs:app", "add", "--args", '{"a": 1, "b": "2"}')
    assert shown["args"] == {"a": 1, "b": 2}
    assert shown["state"] == "queued"
    assert shown["queue"] == "default"


def test_delay_at_priority_and_queue(project: Project) -> None:
    project.run("enqueue", "shop.jobs:app", "add", "a=1", "b=2", "--delay", "2h", "--priority", "1", "-q", "urgent")
    (job,) = project.app.jobs.find()
    assert (job.queue, job.priority, job.state) == ("urgent", 1, State.SCHEDULED)
    assert timedelta(hours=1.9) < job.run_at - datetime.now(UTC) < timedelta(hours=2)
    at = project.json("enqueue", "shop.jobs:app", "add", "a=1", "b=2", "--at", "2091-05-01T09:30+02:00")["run_at"]
    assert at == "2091-05-01T07:30:00.000Z"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "a=1"], "b"),
        (["add", "a=1", "b=two"], "b='two'"),
        (["add", "a=1", "b=2", "c=3"], "c"),
        (["add", "a=1", "a=2"], "given twice"),
        (["add", "a"], "write NAME=VALUE"),
        (["add", "a=1", "--args", "{}"], "one way"),
        (["add", "--args", "{"], "is not JSON"),
        (["add", "--args", "[1, 2]"], "by their names"),
        (["add", "--args", "[" * 100_000], "is not JSON"),
        (["ad", "a=1"], "did you mean 'add'?"),
        (["add", "a=1", "b=2", "--delay", "soon"], "soon"),
        (["add", "a=1", "b=2", "--at", "soon"], "soon"),
        (["add", "a=1", "b=2", "--delay", "1s", "--at", "2091-05-01"], "give one"),
        (["add", "a=1", "b=2", "--priority", "100000"], "priority"),
        (["add", "a=1", "b=2", "--timeout", "1s"], "--wait"),
        (["send_welcome", "user_id=1", "email=\udc80"], "a lone surrogate"),
        (["send_welcome", "user_id=1", "--args", '{"user_id": 1, "email": "\\u0000"}'], "one way"),
        (["send_welcome", "--args", '{"user_id": 1, "email": "\\u0000"}'], "a NUL character"),
    ],
)
def test_what_cannot_be_enqueued_is_refused_before_anything_is_stored(
    project: Project, arguments: list[str], said: str
) -> None:
    error = project.run("enqueue", "shop.jobs:app", *arguments, code=2).stderr
    assert error.startswith("error: ")
    assert said in error
    assert not (project.folder / "shop.db").exists()


def test_waiting_prints_the_result(project: Project) -> None:
    worker = project.start("worker", "shop.jobs:app")
    assert project.finish("enqueue", "shop.jobs:app", "add", "a=1", "b=2", "--wait", "--timeout", "50s")[:2] == (
        0,
        "3\n",
    )
    code, _, error = project.finish("enqueue", "shop.jobs:app", "send_welcome", "user_id=1", "email=x", "--wait")
    assert code == 1
    assert "ValueError: no address: x" in error
    assert "jobs.py" in error, "the task's own traceback"
    worker.terminate()
    assert worker.wait(PATIENCE) == 0


def test_ctrl_c_while_waiting_is_quiet_and_the_job_stays(project: Project) -> None:
    process = project.start("enqueue", "shop.jobs:app", "add", "a=1", "b=2", "--wait")
    until(lambda: (project.folder / "shop.db").exists() and project.app.jobs.count())
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=PATIENCE) == ("", "")
    assert process.returncode == 130
    assert project.app.jobs.count(state="queued") == 1


def test_waiting_too_short_says_how_to_look_later(project: Project) -> None:
    error = project.run("enqueue", "shop.jobs:app", "add", "a=1", "b=2", "--wait", "--timeout", "10ms", code=1).stderr
    assert "still queued" in error
    assert "mainspring jobs show" in error
