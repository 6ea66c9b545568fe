"""`mainspring queues limit`, and what the other commands show of limits and partitions."""

from __future__ import annotations

from mainspring import Limits, Rate
from mainspring.store.base import BeatRequest, ClaimRequest, Presence, Room

from .conftest import Project

APP = ["--app", "shop.jobs:app"]


def limit(project: Project, *args: str) -> str:
    return project.run("queues", "limit", *args, *APP).stdout


def claim(project: Project, queue: str) -> None:
    """Take one job, as a worker does."""
    driver = project.app.store.driver()
    driver.run(BeatRequest(Presence("w", "w", (queue,), ("add",), 1, 0, 60_000), "join"))
    assert driver.run(ClaimRequest("w", (Room(queue, 1),), 1)).claims
    driver.close()


def test_limits_of_a_queue_are_set_one_by_one_and_lifted_by_none(project: Project) -> None:
    project.app.tasks["add"].enqueue(1, 2)
    shown = limit(project, "default", "--rate", "50/1m", "--rate", "10/s", "--concurrency", "5")
    assert shown == "queue default: open, 5 at once, 50/1m, 10/1s\n"
    assert limit(project, "default", "--max-queued", "1000") == (
        "queue default: open, 5 at once, 50/1m, 10/1s, 1,000 waiting\n"
    )
    (queue,) = project.json("queues", "limit", "default", "--rate", "none", "-c", "none", *APP)
    assert (queue["concurrency"], queue["rates"], queue["max_queued"]) == (None, [], 1000)
    assert limit(project, "default", "--max-queued", "none") == "queue default: open, no limit\n"


def test_limits_of_partitions(project: Project) -> None:
    project.app.tasks["add"].enqueue(1, 2)
    assert limit(project, "default", "--per-partition", "-c", "2") == (
        "queue default: open, no limit; each partition: 2 at once\n"
    )
    assert limit(project, "default", "--partition", "acme", "--rate", "5/s", "--weight", "2.5") == (
        "queue default, partition acme: open, 2 at once, 5/1s, weight 2.5\n"
    )
    assert project.app.queues.partition("default", "acme").limits == Limits(2, Rate(5), weight=2.5)
    (partition,) = project.json("queues", "limit", "default", "--partition", "acme", "--max-queued", "9", *APP)
    assert (partition["queue"], partition["name"], partition["weight"]) == ("default", "acme", 2.5)
    assert (partition["concurrency"], partition["rates"], partition["max_queued"]) == (2, ["5/1s"], 9)


def test_limits_of_a_task(project: Project) -> None:
    project.run("migrate", *APP)
    assert limit(project, "--task", "add", "--rate", "10/s", "-c", "3") == "task add: 3 at once, 10/1s\n"
    (task,) = project.json("queues", "limit", "--task", "add", "--rate", "none", *APP)
    assert task == {"name": "add", "concurrency": 3, "rates": [], "opens_at": None}
    error = project.run("queues", "limit", "--task", "add", "--partition", "acme", "-c", "3", *APP, code=2).stderr
    assert "a task has no other limits than --rate and --concurrency" in error


def test_a_task_that_nobody_knows_may_be_misspelt(project: Project) -> None:
    project.run("migrate", *APP)
    ran = project.run("queues", "limit", "--task", "ad", "--rate", "10/s", *APP)
    assert ran.stdout == "task ad: 10/1s\n"
    assert ran.stderr == "note: no task is named 'ad' here, and there is no job of such a one\n"
    assert project.run("queues", "limit", "--task", "add", "--rate", "10/s", *APP).stderr == ""


def test_what_is_in_no_partition_is_limited_too(project: Project) -> None:
    project.app.tasks["add"].using(partition="acme").enqueue(1, 2)
    assert (
        limit(project, "default", "--partition", "", "-c", "3") == "queue default, partition (none): open, 3 at once\n"
    )


def test_a_partition_is_paused_and_resumed(project: Project) -> None:
    project.app.tasks["add"].using(partition="acme").enqueue(1, 2)
    paused = project.run("queues", "pause", "default", "--partition", "acme", *APP).stdout
    assert paused == "queue default, partition acme: paused, no limit\n"
    assert project.json("queues", "list", *APP)[0]["paused"] is False
    (partition,) = project.json("queues", "resume", "default", "--partition", "acme", *APP)
    assert (partition["paused"], partition["counts"]["queued"]) == (False, 1)


def test_the_list_shows_limits_and_until_when_a_queue_is_closed(project: Project) -> None:
    for _ in range(2):
        project.app.tasks["add"].enqueue(1, 2)
    limit(project, "default", "--rate", "1/1h", "-c", "5")
    assert project.json("queues", "list", *APP)[0]["opens_at"] is None
    claim(project, "default")
    shown = project.run("queues", "list", *APP).stdout
    assert "5 at once, 1/1h" in shown
    (queue,) = project.json("queues", "list", *APP)
    assert f"closed until {queue['opens_at']}" in shown
    _, drawn = project.on_terminal("queues", "list", *APP, columns=160)
    assert "closed until" in drawn


def test_showing_a_queue_and_its_partitions(project: Project) -> None:
    add = project.app.tasks["add"]
    add.using(partition="bolt").enqueue(1, 2)
    limit(project, "default", "--per-partition", "-c", "2")
    limit(project, "default", "--partition", "acme", "--weight", "3")
    shown = project.run("queues", "show", "default", *APP).stdout
    assert "each partition 2 at once" in shown
    assert "jobs           1 queued" in shown
    assert "acme" in shown
    assert "2 at once, weight 3" in shown
    whole = project.json("queues", "show", "default", *APP)
    assert whole["per_partition"] == {"concurrency": 2, "rates": [], "max_queued": None, "weight": 1.0}
    assert [(each["name"], each["weight"]) for each in whole["partitions"]] == [("acme", 3.0)]


def test_showing_a_queue_that_is_not_there_names_those_there_are(project: Project) -> None:
    project.app.tasks["add"].enqueue(1, 2)
    error = project.run("queues", "show", "defalt", *APP, code=1).stderr
    assert error == "error: no queue is named 'defalt'; there are: default\n"


def test_a_job_shows_its_partition(project: Project) -> None:
    job = project.app.tasks["add"].using(partition="acme").enqueue(1, 2)
    assert project.json("jobs", "show", job.id, *APP)["partition"] == "acme"
    assert "partition acme" in project.run("jobs", "show", job.id, *APP).stdout


def test_enqueuing_into_a_full_queue_is_one_line(project: Project) -> None:
    project.app.tasks["add"].enqueue(1, 2)
    limit(project, "default", "--max-queued", "1")
    error = project.run("enqueue", "shop.jobs:app", "add", "a=1", "b=2", code=1).stderr
    assert error == "error: not enqueued: queue 'default' has 1 jobs waiting, as many as it may; try again later\n"
