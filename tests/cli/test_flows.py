"""`mainspring flows`: list them, draw one, cancel one; and jobs chosen by their flow."""

from __future__ import annotations

import pytest

from mainspring import Flow, Mainspring, chain, group, previous
from mainspring.testing import drain

from .conftest import Project


@pytest.fixture
def flow(project: Project) -> Flow[object]:
    """add; under it two that run side by side, of which one fails; then one that waits for both."""
    app = project.app
    add, send = app.tasks["add"], app.tasks["send_welcome"]
    flow = Flow("order")
    first = flow.add(add.job(1, 2))
    pair = flow.add(group(send.job(first.result, "a@b.c"), send.job(first.result, "nobody"), name="mails"), after=first)
    flow.add(add.job(1, 1), after=pair)
    flow.on_complete(add.job(9, 9))
    flow.enqueue()
    drain(app)
    return flow


def test_list(project: Project, flow: Flow[object]) -> None:
    (listed,) = project.json("flows", "list", "--app", "shop.jobs")
    assert (listed["id"], listed["name"], listed["parent"]) == (flow.id, "order", None)
    assert (listed["done"], listed["total"]) == (5, 5)
    assert listed["counts"]["dead"] == 1
    out = project.run("flows", "list", "--app", "shop.jobs").stdout
    assert "5 of 5" in out
    assert "3 completed, 1 dead, 1 cancelled" in out


def test_list_without_any(project: Project) -> None:
    project.app.jobs.count()
    assert project.run("flows", "list", "--app", "shop.jobs").stdout == "there are no flows\n"


def test_show_draws_each_job_under_the_one_that_it_waits_for(project: Project, flow: Flow[object]) -> None:
    out = project.run("flows", "show", flow.id, "--app", "shop.jobs").stdout
    head, *lines = out.splitlines()
    assert head.startswith(f"flow {flow.id}  order  5 of 5 jobs done (3 completed, 1 dead, 1 cancelled)")
    told = [(len(line) - len(line.lstrip()), line.split()[0]) for line in lines]
    assert told == [(2, "add"), (4, "send_welcome"), (6, "add"), (4, "send_welcome"), (6, "add"), (2, "on")]
    assert "completed" in lines[1]
    assert "in mails" in lines[1]
    assert "cancelled" in lines[2]
    assert "is dead" in lines[2]
    assert "attempts used up" in lines[3]
    assert lines[4].endswith("(see above)")
    assert lines[5].startswith("  on complete: add  completed")


def test_show_on_a_terminal_draws_a_tree(project: Project, flow: Flow[object]) -> None:
    code, out = project.on_terminal("flows", "show", flow.id, "--app", "shop.jobs:app", columns=140)
    assert code == 0
    assert "├── add" in out
    assert "│   ├── send_welcome" in out


def test_show_as_json_has_everything(project: Project, flow: Flow[object]) -> None:
    shown = project.json("flows", "show", flow.id, "--app", "shop.jobs")
    assert [job["task"] for job in shown["jobs"]] == ["add", "add", "add"]
    (part,) = shown["parts"]
    assert (part["name"], part["parent"]) == ("mails", flow.id)
    one, two = part["jobs"]
    assert [one["state"], two["state"]] == ["completed", "dead"]
    assert one["parents"] == [{"id": shown["jobs"][0]["id"], "on_failure": "fail", "state": "completed"}]
    assert list(shown["callbacks"].values()) == ["complete"]
    assert one["flow"] == part["id"]


def test_large_flows_are_drawn_in_part_unless_all_is_asked_for(project: Project) -> None:
    app: Mainspring = project.app
    add = app.tasks["add"]
    flow = group(add.job(n, n) for n in range(30)).enqueue()
    deep = chain(add.job(1, 1), *(add.job(previous, 1) for _ in range(60))).enqueue()
    out = project.run("flows", "show", flow.id, "--app", "shop.jobs").stdout
    assert "... and 10 more (10 queued); --all draws everything" in out
    assert len(out.splitlines()) == 22
    assert len(project.run("flows", "show", flow.id, "--all", "--app", "shop.jobs").stdout.splitlines()) == 31
    out = project.run("flows", "show", deep.id, "--app", "shop.jobs").stdout
    assert "... and more below" in out
    assert len(project.run("flows", "show", deep.id, "--all", "--app", "shop.jobs").stdout.splitlines()) == 62


def test_cancel(project: Project) -> None:
    add = project.app.tasks["add"]
    flow = chain(add.job(1, 1), add.job(previous, 1)).enqueue()
    out = project.run("flows", "cancel", flow.id, "--reason", "no more", "--app", "shop.jobs").stdout
    assert out == f"flow {flow.id} cancelled\n"
    assert {job.state for job in flow.jobs()} == {"cancelled"}
    assert project.run("flows", "cancel", flow.id, "--app", "shop.jobs").stdout == "all its jobs have ended already\n"
    assert project.json("flows", "cancel", flow.id, "--app", "shop.jobs") == {"changed": False, "done": 2, "total": 2}


def test_an_unknown_flow_is_an_error(project: Project) -> None:
    project.app.jobs.count()
    for command in ("show", "cancel"):
        assert "no flow has the id 'x'" in project.run("flows", command, "x", "--app", "shop.jobs", code=1).stderr


def test_jobs_can_be_chosen_by_flow(project: Project, flow: Flow[object]) -> None:
    project.app.tasks["add"].enqueue(1, 1)
    jobs = project.json("jobs", "list", "--flow", flow.id, "--app", "shop.jobs")
    assert len(jobs) == 5
    (dead,) = project.json("jobs", "list", "--flow", flow.id, "--state", "dead", "--app", "shop.jobs")
    assert "flow" in project.run("jobs", "show", dead["id"], "--app", "shop.jobs").stdout
    out = project.run("jobs", "retry", "--flow", flow.id, "--yes", "--app", "shop.jobs").stdout
    assert out == "1 job retried\n"
