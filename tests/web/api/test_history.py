"""Statistics, dead letters by error, and the audit log over the API."""

from __future__ import annotations

import pytest

from mainspring import Mainspring
from mainspring.web import Identity, Role

from .conftest import Api, Hands


async def test_statistics(api: Api, app: Mainspring) -> None:
    for n in range(3):
        await app.tasks["add"].aenqueue(n)
    await app.tasks["mail/welcome"].aenqueue("a@b.c")
    series = await api("GET", "/stats/series?span=1h")
    assert series["seconds_per_point"] == 60
    assert len(series["points"]) in (60, 61)
    assert series["total"]["enqueued"] == sum(point["enqueued"] for point in series["points"]) == 4
    assert series["total"]["wait"] == {
        "count": 0, "mean_seconds": None, "p50_seconds": None, "p95_seconds": None, "p99_seconds": None,
    }  # fmt: skip
    assert (await api("GET", "/stats/series?queue=email"))["total"]["enqueued"] == 1
    assert (await api("GET", "/stats/series?task=none&span=7d"))["total"]["enqueued"] == 0
    totals = (await api("GET", "/stats/totals?span=3600&by=task"))["items"]
    assert [(total["name"], total["enqueued"]) for total in totals] == [("add", 3), ("mail/welcome", 1)]


@pytest.mark.parametrize("query", ["span=1s", "span=31d", "span=soon", "span=-1", "spam=1h", "queue=%00", "task=a%00b"])
async def test_statistics_of_what_there_cannot_be_are_refused(front: Api, query: str) -> None:
    await front.refused("GET", f"/stats/series?{query}", 422)


async def test_dead_letters_by_what_they_died_of(api: Api, app: Mainspring, hands: Hands) -> None:
    jobs = await app.aenqueue_many(app.tasks["add"].job(n) for n in range(3))
    for error in (OSError("no answer after 5 ms"), OSError("no answer after 17 ms"), ValueError("no number")):
        hands.kill(error)
    found = await api("GET", "/errors?task=add&since=1h")
    assert (found["looked_at"], found["more"]) == (3, False)
    first, second = found["items"]
    assert (first["type"], first["message"], first["count"]) == ("OSError", "no answer after … ms", 2)
    assert set(first["ids"]) == {job.id for job in jobs[:2]}
    assert (second["type"], second["count"]) == ("ValueError", 1)
    assert (await api("GET", "/errors?queue=none"))["items"] == []
    await api.refused("GET", "/errors?state=dead", 422)


async def test_the_audit_log_tells_who_did_what(api: Api, app: Mainspring) -> None:
    api.who = Identity("olga", Role.OPERATOR)
    job = await api("POST", "/tasks/add/jobs", 201, json={"args": {"a": 1}})
    await api("POST", "/queues/email/pause")
    api.who = Identity("ada", Role.ADMIN)
    await api("POST", "/jobs/cancel", json={"where": {"task": "add"}, "reason": "withdrawn"})
    await api("DELETE", f"/jobs/{job['id']}", 204)
    await app.jobs.aretry(job["id"])  # nobody acts: no entry
    entries = (await api("GET", "/audit"))["items"]
    assert [(entry["actor"], entry["action"], entry["count"]) for entry in entries] == [
        ("ada", "jobs.delete", 1),
        ("ada", "jobs.cancel", 1),
        ("olga", "queues.pause", 1),
        ("olga", "jobs.enqueue", 1),
    ]
    assert entries[1]["detail"]["reason"] == "cancelled: withdrawn"
    assert entries[2]["target"] == "email"


async def test_pages_of_the_audit_log(api: Api) -> None:
    for _ in range(5):
        await api("POST", "/queues/email/pause")
    seen: list[str] = []
    page = await api("GET", "/audit?limit=2")
    while page["cursor"] is not None:
        seen += [entry["id"] for entry in page["items"]]
        page = await api("GET", "/audit", params={"limit": 2, "cursor": page["cursor"]})
    assert len({*seen, *(entry["id"] for entry in page["items"])}) == 5


@pytest.mark.parametrize("cursor", ["", "abc", "x:1", "99999999999999999999999:a", "-1:a", "1:%00", "1"])
async def test_made_up_cursors_of_the_audit_log_are_refused(api: Api, cursor: str) -> None:
    await api.refused("GET", f"/audit?cursor={cursor}", 422)
