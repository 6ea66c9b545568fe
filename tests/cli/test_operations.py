"""`mainspring queues`, `schedules`, `workers`, `migrate`."""

from __future__ import annotations

import os
import pwd
import socket

import pytest

from mainspring import State
from mainspring.model.sizes import format_bytes

from .conftest import PATIENCE, Project, until

APP = ["--app", "shop.jobs:app"]


# --- queues ----------------------------------------------------------------------------------------------------------


def test_queues_are_listed_with_counts(project: Project) -> None:
    project.app.tasks["add"].enqueue(1, 2)
    project.app.tasks["add"].using(delay="1h").enqueue(1, 2)
    (queue,) = project.json("queues", "list", *APP)
    assert queue["name"] == "default"
    assert queue["counts"] == {state.value: int(state in ("queued", "scheduled")) for state in State}
    assert queue["oldest_waiting_seconds"] >= 0
    assert "OLDEST WAITING" in project.run("queues", "list", *APP).stdout


def test_pausing_and_resuming_queues(project: Project) -> None:
    project.app.tasks["add"].enqueue(1, 2)
    assert "queue default: paused" in project.run("queues", "pause", "default", *APP).stdout
    assert project.app.queues.list()[0].paused
    assert "queue default: open" in project.run("queues", "resume", "default", *APP).stdout


def test_a_queue_that_no_job_was_ever_in_is_noted(project: Project) -> None:
    project.app.tasks["add"].enqueue(1, 2)
    assert "no job has been in queue 'defalt'" in project.run("queues", "pause", "defalt", *APP).stderr


# --- schedules -------------------------------------------------------------------------------------------------------


def test_schedules_are_listed_paused_resumed_run_and_removed(project: Project) -> None:
    project.app.schedules.put("hourly", "clean", every="1h")
    project.app.schedules.put("nightly", "clean", cron="0 3 * * *", tz="Europe/Berlin")
    hourly, nightly = project.json("schedules", "list", *APP)
    assert (hourly["every_seconds"], hourly["cron"], hourly["paused"]) == (3600, None, False)
    assert (nightly["cron"], nightly["tz"]) == ("0 3 * * *", "Europe/Berlin")
    shown = project.run("schedules", "list", *APP).stdout
    assert "every 1h" in shown
    assert "0 3 * * * Europe/Berlin" in shown
    assert project.json("schedules", "pause", "hourly", *APP)[0]["paused"]
    assert not project.json("schedules", "resume", "hourly", *APP)[0]["paused"]
    id = project.run("schedules", "run", "hourly", *APP).stdout.strip()
    assert project.app.jobs.get(id).task == "clean"
    project.run("schedules", "remove", "hourly", "nightly", *APP)
    assert project.json("schedules", "list", *APP) == []


def test_an_unknown_schedule_changes_nothing_and_names_those_there_are(project: Project) -> None:
    project.app.schedules.put("hourly", "clean", every="1h")
    error = project.run("schedules", "pause", "hourly", "horly", *APP, code=1).stderr
    assert "no schedule is named 'horly'; there are: hourly" in error
    assert not project.app.schedules.list()[0].paused


# --- workers ---------------------------------------------------------------------------------------------------------


def test_a_worker_is_listed_made_quiet_and_stopped(project: Project) -> None:
    project.run("migrate", *APP)
    assert "no worker runs" in project.run("workers", "list", *APP).stdout
    process = project.start("worker", "shop.jobs:app", "--name", "one", "-c", "3", "--lease", "5s")
    (worker,) = until(lambda: project.json("workers", "list", *APP))
    assert (worker["name"], worker["state"], worker["concurrency"]) == ("one", "alive", 3)

    def listed_alike() -> tuple[str, int] | None:
        """As text and as JSON, with no heartbeat in between that says how much memory it has by now."""
        memory = project.json("workers", "list", *APP)[0]["memory"]
        text = project.run("workers", "list", *APP).stdout
        return (text, memory) if memory == project.json("workers", "list", *APP)[0]["memory"] else None

    listed, memory = until(listed_alike)
    assert "0/3" in listed
    assert f"  {format_bytes(memory)}  " in listed
    assert project.run("workers", "quiet", "one", *APP).stdout == "worker one: told to be quiet\n"
    until(lambda: project.json("workers", "list", *APP)[0]["quiet"])  # it has heard it, and said so
    project.run("workers", "stop", worker["id"], *APP)
    assert process.wait(PATIENCE) == 0
    assert project.json("workers", "list", *APP) == []


def test_a_worker_that_is_not_there(project: Project) -> None:
    project.run("migrate", *APP)
    assert "worker 'x' is not there" in project.run("workers", "stop", "x", *APP, code=1).stderr


# --- migrate ---------------------------------------------------------------------------------------------------------


def test_migrating_says_from_and_to_which_version(project: Project) -> None:
    first = project.json("migrate", "--url", "sqlite:///new.db")
    assert first["from"] == 0
    assert first["to"] >= 1
    assert f"has schema version {first['to']} already" in project.run("migrate", "--url", "sqlite:///new.db").stdout
    assert "was not there; now has" in project.run("migrate", "--url", "sqlite:///other.db").stdout


def test_there_is_no_script_for_what_migrates_itself(project: Project) -> None:
    error = project.run("migrate", "--sql", "--url", "sqlite:///new.db", code=2).stderr
    assert "whoever opens it first brings its schema up to date" in error
    assert not (project.folder / "new.db").exists()


# --- the audit log ---------------------------------------------------------------------------------------------------


def test_what_is_done_on_the_command_line_is_in_the_audit_log(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "somebody else")
    id = project.run("enqueue", "shop.jobs:app", "add", "a=1", "b=2").stdout.strip()
    project.run("jobs", "cancel", id, *APP)
    project.run("queues", "pause", "email", *APP)
    pause, cancel, enqueue = project.json("audit", *APP)
    assert (pause["action"], pause["target"], pause["count"]) == ("queues.pause", "email", 1)
    assert (cancel["action"], cancel["target"], cancel["count"]) == ("jobs.cancel", id, 1)
    assert (enqueue["action"], enqueue["detail"]["args"]) == ("jobs.enqueue", {"a": 1, "b": 2})
    me = f"{pwd.getpwuid(os.getuid()).pw_name}@{socket.gethostname()}"
    assert [entry["actor"] for entry in (pause, cancel, enqueue)] == [me] * 3
    assert "queues.pause" in project.run("audit", *APP).stdout
    assert "there are more" in project.run("audit", "--limit", "2", *APP).stderr


def test_what_the_program_does_is_not_in_the_audit_log(project: Project) -> None:
    project.app.tasks["add"].enqueue(1, 2).cancel()
    assert project.json("audit", *APP) == []
    assert "nobody" in project.run("audit", *APP).stdout
