"""`mainspring jobs`: looking at jobs and changing them, one or many."""

from __future__ import annotations

import json
import re

import pytest

from mainspring import State
from mainspring.testing import drain

from .conftest import PATIENCE, Project

HOSTILE = "a\x1b[31m\x1b]0;title\x07[bold]b\u202egpj.exe\u2066\r\n:smile:"


@pytest.fixture
def busy(project: Project) -> Project:
    """Two dead jobs of queue email, one completed, two queued."""
    tasks = project.app.tasks
    for email in ("x", "y", "a@b.c"):
        tasks["send_welcome"].enqueue(1, email)
    drain(project.app)
    project.app.enqueue_many([tasks["add"].job(1, 2), tasks["slow"].job()])
    return project


def listed(project: Project, *conditions: str) -> list[tuple[str, str]]:
    return [(job["task"], job["state"]) for job in project.json("--app", "shop.jobs", "jobs", "list", *conditions)]


# --- list and show ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ([], 5),
        (["--state", "dead"], 2),
        (["--state", "DEAD", "--state", "completed"], 3),
        (["--queue", "email"], 3),
        (["--task", "send_welcome", "--state", "dead", "--since", "2h"], 2),
        (["--until", "2h"], 0),
        (["--since", "2020-01-01"], 5),
        (["--since", "2091-01-01T00:00Z"], 0),
        (["--limit", "2"], 2),
        (["--task", "nothing"], 0),
    ],
)
def test_listing_by_conditions(busy: Project, conditions: list[str], found: int) -> None:
    assert len(listed(busy, *conditions)) == found


def test_a_table_shows_whole_ids_and_why_jobs_died(busy: Project) -> None:
    shown = busy.run("jobs", "list", "--app", "shop.jobs", "--state", "dead").stdout
    (job, _) = busy.app.jobs.find(state="dead")
    assert job.id in shown
    assert "attempts used up (2 of 2): no address: y" in shown
    assert "..." not in shown
    assert "no job fits" in busy.run("jobs", "list", "--app", "shop.jobs", "--task", "nothing").stdout


def test_a_list_that_is_cut_says_so(busy: Project) -> None:
    assert "--limit" in busy.run("jobs", "list", "--app", "shop.jobs", "--limit", "2").stderr
    assert not busy.run("jobs", "list", "--app", "shop.jobs", "--limit", "5").stderr


def test_json_has_stable_names_and_iso_times(busy: Project) -> None:
    (job, _) = busy.json("jobs", "list", "--app", "shop.jobs", "--state", "dead")
    assert list(job) == [
        "id", "task", "queue", "partition", "flow", "state", "priority", "args", "tags", "attempt", "crashes",
        "created_at", "run_at", "started_at", "finished_at", "worker", "cancel_requested", "progress", "progress_text",
        "reason", "error",
    ]  # fmt: skip
    assert job["created_at"].endswith("Z")
    assert job["error"] == {"type": "ValueError", "message": "no address: y"}


def test_showing_a_job_shows_everything_about_it(busy: Project) -> None:
    drain(busy.app)
    (dead, _) = busy.app.jobs.find(state="dead")
    shown = busy.run("jobs", "show", dead.id, "--app", "shop.jobs").stdout
    for part in (dead.id, "send_welcome", '"email": "y"', "attempts used up (2 of 2)", "try 1 failed", "try 2 failed"):
        assert part in shown
    assert "error of tries 1, 2" in shown
    assert shown.count("Traceback (most recent call last)") == 1
    (slow,) = busy.app.jobs.find(task="slow")
    shown = busy.run("jobs", "show", slow.id, "--app", "shop.jobs").stdout
    assert "40 % rendering" in shown
    assert "half way" in shown
    whole = busy.json("jobs", "show", slow.id, "--app", "shop.jobs")
    assert whole["log"][0]["text"] == "half way"
    assert whole["attempts"][0]["verdict"] == "completed"
    assert whole["result"] is None


def test_why_a_job_is_not_running(busy: Project) -> None:
    (job,) = busy.app.jobs.find(task="add")
    busy.app.queues.pause("default")
    said = busy.run("jobs", "why", job.id, "--app", "shop.jobs").stdout
    assert re.fullmatch(r"queue 'default' is paused since (?:[\d-]+ )?[\d:]+ UTC, and no worker is running\n", said)
    told = busy.json("jobs", "why", job.id, "--app", "shop.jobs")
    assert told == {"id": job.id, "state": "queued", "why": said.rstrip("\n")}
    assert f"why       {said}" in busy.run("jobs", "show", job.id, "--app", "shop.jobs").stdout
    (dead, _) = busy.app.jobs.find(state="dead")
    assert (
        "UTC: attempts used up (2 of 2): ValueError: no address: y\n"
        in busy.run("jobs", "why", dead.id, "--app", "shop.jobs").stdout
    )
    assert "\n  why " not in busy.run("jobs", "show", dead.id, "--app", "shop.jobs").stdout
    assert "error: no job has the id 'x'" in busy.run("jobs", "why", "x", "--app", "shop.jobs", code=1).stderr


def test_a_job_that_is_not_there(busy: Project) -> None:
    assert "error: no job has the id 'x'" in busy.run("jobs", "show", "x", "--app", "shop.jobs", code=1).stderr


@pytest.mark.parametrize("command", [["jobs", "list"], ["jobs", "show"]], ids=" ".join)
def test_hostile_text_is_shown_as_plain_text(project: Project, command: list[str]) -> None:
    """Escape sequences, markup and bidirectional characters in arguments and errors do nothing to the terminal."""
    job = project.app.tasks["send_welcome"].enqueue(1, HOSTILE)
    drain(project.app)
    which = [job.id] if command[-1] == "show" else []
    for shown in (
        project.run(*command, *which, "--app", "shop.jobs").stdout,
        project.on_terminal(*command, *which, "--app", "shop.jobs", columns=400)[1].replace("\x1b[31mdead", "dead"),
    ):
        for unsafe in ("\x1b[31m", "\x1b]", "\x07", "\u202e", "\u2066"):
            assert unsafe not in shown
        assert "[bold]b" in shown
        assert ":smile:" in shown or "..." in shown
        assert "\\u202e" in shown


# --- changing by ids -------------------------------------------------------------------------------------------------


def test_retrying_one_job_by_its_id_does_not_ask(busy: Project) -> None:
    (job, _) = busy.app.jobs.find(state="dead")
    assert busy.run("jobs", "retry", job.id, "--app", "shop.jobs").stdout == "1 job retried\n"
    assert job.refresh().state is State.QUEUED


def test_ids_that_do_not_fit_are_named_and_the_others_done(busy: Project) -> None:
    (dead, _) = busy.app.jobs.find(state="dead")
    (queued,) = busy.app.jobs.find(task="add")
    result = busy.run("jobs", "retry", dead.id, queued.id, "nothing", "--app", "shop.jobs", code=1)
    assert (
        f"job {queued.id} is queued; only dead, cancelled, completed or scheduled jobs can be retried" in result.stderr
    )
    assert "'nothing'" in result.stderr
    assert "1 job retried" in result.stdout
    assert dead.refresh().state is State.QUEUED


def test_cancel_reschedule_and_delete_by_id(busy: Project) -> None:
    (job,) = busy.app.jobs.find(task="add")
    busy.run("jobs", "reschedule", job.id, "--at", "2091-05-01", "--app", "shop.jobs")
    assert job.refresh().state is State.SCHEDULED
    assert job.run_at.year in (2091, 2090)
    busy.run("jobs", "cancel", job.id, "--reason", "withdrawn", "--app", "shop.jobs")
    assert job.refresh().reason == "cancelled: withdrawn"
    busy.run("jobs", "delete", job.id, "--app", "shop.jobs")
    assert not busy.app.jobs.find(task="add")


# --- changing many ---------------------------------------------------------------------------------------------------


def test_a_bulk_change_without_a_terminal_is_refused_and_says_how(busy: Project) -> None:
    result = busy.run("jobs", "retry", "--state", "dead", "--queue", "email", "--app", "shop.jobs", code=2)
    assert "2 jobs (2 dead) would be retried" in result.stderr
    assert "--yes" in result.stderr
    assert busy.app.jobs.count(state="dead") == 2


def test_a_bulk_change_on_a_terminal_shows_the_number_and_asks(busy: Project) -> None:
    command = ["jobs", "retry", "--state", "dead", "--queue", "email", "--app", "shop.jobs"]
    code, shown = busy.on_terminal(*command, answer="n\n")
    assert code == 1
    assert "Retry 2 jobs (2 dead)?" in shown
    assert "nothing was changed" in shown
    assert busy.app.jobs.count(state="dead") == 2
    code, shown = busy.on_terminal(*command, answer="y\n")
    assert code == 0
    assert "2 of about 2 jobs retried so far" in shown
    assert "2 jobs retried" in shown
    assert busy.app.jobs.count(state="dead") == 0


def test_yes_does_not_ask_and_dry_run_does_nothing(busy: Project) -> None:
    dry = busy.json("jobs", "delete", "--queue", "email", "--dry-run", "--app", "shop.jobs")
    assert dry == {"matched": 3, "exact": True, "changed": 0, "dry_run": True}
    assert busy.app.jobs.count(queue="email") == 3
    done = busy.json("jobs", "delete", "--queue", "email", "--yes", "--app", "shop.jobs")
    assert done == {"matched": 3, "exact": True, "changed": 3, "dry_run": False}
    assert busy.app.jobs.count(queue="email") == 0


def test_retrying_without_a_state_means_the_dead(busy: Project) -> None:
    """Else `jobs retry --queue email` would run again what went well."""
    busy.run("jobs", "retry", "--queue", "email", "--yes", "--app", "shop.jobs")
    assert busy.app.jobs.count(queue="email", state="queued") == 2
    assert busy.app.jobs.count(queue="email", state="completed") == 1


def test_a_state_in_which_nothing_can_be_done_is_wrong_usage(busy: Project) -> None:
    error = busy.run("jobs", "cancel", "--state", "dead", "--yes", "--app", "shop.jobs", code=2).stderr
    assert "only blocked, scheduled, queued or running jobs can be cancelled" in error


def test_nothing_fits_is_no_failure(busy: Project) -> None:
    assert busy.run("jobs", "retry", "--task", "nothing", "--app", "shop.jobs").stdout == "no job fits\n"


# --- around ----------------------------------------------------------------------------------------------------------


def test_a_closed_pipe_is_quiet(busy: Project) -> None:
    """As with `mainspring jobs list | head -1`."""
    process = busy.start("jobs", "list", "--json", "--app", "shop.jobs")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(PATIENCE) == 0


def test_json_for_programs_is_ascii_also_on_a_terminal(project: Project) -> None:
    project.app.tasks["send_welcome"].enqueue(1, HOSTILE)
    _, shown = project.on_terminal("jobs", "list", "--json", "--app", "shop.jobs")
    assert shown.isascii()
    assert json.loads(shown)[0]["args"]["email"] == HOSTILE


# --- tags, texts, groups of errors, once more ------------------------------------------------------------------------


def test_jobs_are_chosen_by_tag_and_by_what_is_in_their_arguments(project: Project) -> None:
    first = project.run("enqueue", "shop.jobs:app", "add", "a=1", "b=2", "--tag", "vip", "--tag", "x").stdout.strip()
    second = project.run("enqueue", "shop.jobs:app", "send_welcome", "user_id=7", "email=Ada@b.c").stdout.strip()
    (job,) = project.json("jobs", "list", "--tag", "vip", "--app", "shop.jobs:app")
    assert (job["id"], job["tags"]) == (first, ["vip", "x"])
    (job,) = project.json("jobs", "list", "--text", "ada@", "--app", "shop.jobs:app")
    assert job["id"] == second
    assert "vip, x" in project.run("jobs", "show", first, "--app", "shop.jobs:app").stdout
    done = project.json("jobs", "cancel", "--tag", "vip", "--yes", "--app", "shop.jobs:app")
    assert done == {"matched": 1, "exact": True, "changed": 1, "dry_run": False}
    assert project.json("jobs", "delete", "--text", "ADA@", "--dry-run", "--app", "shop.jobs:app")["matched"] == 1


def test_dead_letters_are_grouped_and_one_is_run_once_more(busy: Project) -> None:
    dead = busy.json("jobs", "list", "--app", "shop.jobs", "--state", "dead")
    groups = busy.json("jobs", "errors", "--app", "shop.jobs")
    assert {(group["task"], group["type"]) for group in groups} == {("send_welcome", "ValueError")}
    assert {id for group in groups for id in group["ids"]} == {job["id"] for job in dead}
    group = groups[0]
    assert group["message"] in busy.run("jobs", "errors", "--app", "shop.jobs").stdout
    assert "no dead letter" in busy.run("jobs", "errors", "--app", "shop.jobs", "--queue", "nothing").stdout
    args = '{"user_id": 7, "email": "ada@b.c"}'
    new = busy.json("jobs", "rerun", dead[0]["id"], "--app", "shop.jobs", "--args", args)
    assert (new["state"], new["args"]["email"], new["queue"]) == ("queued", "ada@b.c", "email")
    refused = busy.run("jobs", "rerun", dead[0]["id"], "--app", "shop.jobs", "--args", "[1]", code=2)
    assert "not a JSON object" in refused.stderr
