"""`mainspring webhooks`: list them, and try one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers.receiver import Receiver, receiving

from mainspring.testing import drain

from .conftest import Project

DECLARED = """
app.webhook({url!r}, on=("dead", "completed"), task="add", secret="a secret of the tests' own", allow_private=True)
app.webhook("https://example.com/jobs?token=hidden", on="flow.failed", secret="a secret of the tests' own")
"""


@pytest.fixture
def receiver(project: Project) -> Iterator[Receiver]:
    with receiving(Receiver()) as receiver, (project.folder / "shop" / "jobs.py").open("a") as module:
        module.write(DECLARED.format(url=receiver.url))
        module.flush()
        yield receiver


def test_list(project: Project, receiver: Receiver) -> None:
    loopback, other = project.json("webhooks", "list", "--app", "shop.jobs")
    assert loopback["name"] == "127.0.0.1"
    assert loopback["url"] == receiver.url
    assert loopback["on"] == ["completed", "dead"]
    assert loopback["tasks"] == ["add"]
    assert (other["name"], other["url"], other["last"]) == ("example.com", "https://example.com/jobs?…", [])
    out = project.run("webhooks", "list", "--app", "shop.jobs").stdout
    assert "completed, dead, task add" in out
    assert "never" in out
    assert "hidden" not in out


def test_list_without_any(project: Project) -> None:
    assert "declares no webhooks" in project.run("webhooks", "list", "--app", "shop.jobs").stdout


def test_a_try_is_a_job_that_a_worker_delivers(project: Project, receiver: Receiver) -> None:
    id = project.run("webhooks", "test", "127.0.0.1", "--app", "shop.jobs").stdout.strip()
    report = drain(project.app, queues=["webhooks"])
    assert [job.id for job in report.jobs] == [id]
    assert receiver.events == ["ping"]
    (loopback, _) = project.json("webhooks", "list", "--app", "shop.jobs")
    assert [(job["id"], job["state"]) for job in loopback["last"]] == [(id, "completed")]


def test_a_try_can_be_waited_for(project: Project, receiver: Receiver) -> None:
    project.start("worker", "shop.jobs:app")
    done = project.run("webhooks", "test", "127.0.0.1", "--app", "shop.jobs", "--wait")
    assert done.stdout.startswith("answered 200 after ")
    assert project.json("webhooks", "test", "127.0.0.1", "--app", "shop.jobs", "--wait")["result"]["status"] == 200


def test_mistakes(project: Project) -> None:
    assert "say which app" in project.run("webhooks", "list", code=2).stderr
    assert "no webhook is named 'x'" in project.run("webhooks", "test", "x", "--app", "shop.jobs", code=1).stderr
