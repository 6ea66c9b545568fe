"""What a stranger sees first: help texts, the version, and one clear line for each mistake."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from .conftest import Project

COMMANDS = [
    *("worker", "dev", "enqueue", "jobs", "flows", "queues", "schedules", "workers", "webhooks"),
    *("audit", "top", "web", "migrate", "doctor", "bench"),
]
DEEPER = {
    "jobs": ["list", "show", "why", "retry", "rerun", "errors", "cancel", "reschedule", "delete"],
    "flows": ["list", "show", "cancel"],
    "queues": ["list", "show", "pause", "resume", "limit"],
    "schedules": ["list", "pause", "resume", "run", "remove"],
    "workers": ["list", "quiet", "stop"],
    "webhooks": ["list", "test"],
}
ALL = [(name,) for name in COMMANDS] + [(name, inner) for name, inners in DEEPER.items() for inner in inners]


def test_help_lists_the_commands_in_the_order_of_use(project: Project) -> None:
    shown = project.run("--help").stdout
    listed = [line.split()[0] for line in shown.partition("Commands:")[2].splitlines() if line.startswith("  ")]
    assert listed == COMMANDS


@pytest.mark.parametrize("command", ALL, ids=" ".join)
def test_every_command_has_a_help_that_is_not_cut(project: Project, command: tuple[str, ...]) -> None:
    shown = project.run(*command, "--help").stdout
    assert shown.startswith(f"Usage: mainspring {' '.join(command)} ")
    assert "..." not in shown.replace("[ARGS]...", "").replace("[ID]...", "").replace("NAME...", "").replace(
        "[NAME=VALUE]...", ""
    ), "a summary in a list of commands is too long"


def test_commands_without_arguments_show_their_help_as_wrong_usage(project: Project) -> None:
    assert "Commands:" in project.run(code=2).stderr
    assert "Commands:" in project.run("jobs", code=2).stderr


def test_version(project: Project) -> None:
    assert project.run("--version").stdout.startswith("mainspring ")


@pytest.mark.parametrize(
    "mistake",
    [
        ["no-such-command"],
        ["jobs", "no-such-command"],
        ["jobs", "list", "--no-such-option"],
        ["jobs", "list", "--state", "dying"],
        ["jobs", "list", "--since", "yesterday-ish"],
        ["jobs", "list", "--limit", "0"],
        ["jobs", "list", "--url", "mysql://x"],
        ["jobs", "list", "--url", "sqlite:///x.db", "--app", "shop.jobs:app"],
        ["jobs", "retry"],
        ["jobs", "reschedule", "x"],
        ["jobs", "show"],
        ["jobs", "why"],
        ["queues", "show"],
        ["queues", "limit"],
        ["queues", "limit", "email"],
        ["queues", "limit", "email", "5"],
        ["queues", "limit", "email", "--task", "add", "--rate", "5/s"],
        ["queues", "limit", "email", "--concurrency", "many"],
        ["queues", "limit", "email", "--concurrency", "0"],
        ["queues", "limit", "email", "--max-queued", "0"],
        ["queues", "limit", "email", "--rate", "often"],
        ["queues", "limit", "email", "--rate", "5/s", "--rate", "none"],
        ["queues", "limit", "email", "--weight", "2"],
        ["queues", "limit", "email", "--partition", "a", "--weight", "0"],
        ["queues", "limit", "email", "--partition", "a", "--weight", "heavy"],
        ["queues", "limit", "email", "--partition", "a", "--per-partition", "--rate", "5/s"],
        ["queues", "limit", "email", "--partition", " a", "--rate", "5/s"],
        ["queues", "limit", "--task", "add"],
        ["queues", "limit", "--task", "add", "--weight", "2"],
        ["worker"],
        ["worker", "shop.jobs:app", "--app", "shop.other:app"],
        ["worker", "shop.jobs:app", "-c", "0"],
        ["worker", "shop.jobs:app", "--lease", "soon"],
        ["worker", "shop.jobs:app", "-q", "a", "-q", "b:2"],
        ["worker", "shop.jobs:app", "-q", "a:1", "-q", "a:2"],
        ["worker", "shop.jobs:app", "-q", "a:0"],
        ["worker", "-p", "2"],
        ["worker", "shop.jobs:app", "-p", "0"],
        ["worker", "shop.jobs:app", "-p", "2", "--app", "shop.other:app"],
        ["worker", "shop.jobs:app", "-p", "2", "--lease", "soon"],
        ["worker", "shop.jobs:app", "-p", "2", "--health", "here"],
        ["worker", "shop.jobs:app", "--max-memory", "lots"],
        ["worker", "shop.jobs:app", "--max-age", "old"],
        ["worker", "shop.jobs:app", "--max-jobs", "0"],
        ["dev"],
        ["dev", "shop.jobs:app", "--grace", "soon"],
        ["enqueue", "shop.jobs:app"],
        ["enqueue", "shop.jobs:app", "no_such_task"],
        ["bench", "-n", "many"],
    ],
    ids=" ".join,
)
def test_a_mistake_gives_one_line_and_exit_code_2(project: Project, mistake: list[str]) -> None:
    project.run("migrate", "--app", "shop.jobs:app")
    project.run("migrate")
    error = project.run(*mistake, code=2).stderr
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error


def test_mixing_queues_with_and_without_weights_says_what_the_two_mean(project: Project) -> None:
    error = project.run("worker", "shop.jobs:app", "-q", "email", "-q", "bulk:1", code=2).stderr
    assert "email" in error
    assert "bulk:1" in error
    assert "strict order" in error


@pytest.mark.alone
def test_help_comes_quickly() -> None:
    """In seconds of the processor: other programs that run here take none of those. Any of ten all the same."""

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "mainspring", "--help"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)

    assert any(seconds() < 0.4 for _ in range(10))
