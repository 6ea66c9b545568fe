"""Many jobs at once over the API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mainspring import Mainspring
from mainspring.web import Identity, Role
from mainspring.web.api import bulk

from .conftest import Api, Hands


async def test_a_dry_run_says_what_would_happen_and_changes_nothing(api: Api, app: Mainspring, hands: Hands) -> None:
    await app.tasks["add"].aenqueue(1)
    hands.claim()
    await app.aenqueue_many(app.tasks["add"].job(n) for n in range(3))
    await app.tasks["add"].using(delay="1h").aenqueue(1)
    ask = {"where": {"task": "add"}, "reason": "withdrawn"}
    dry = await api("POST", "/jobs/cancel", json={**ask, "dry_run": True})
    assert (dry["matched"], dry["changed"], dry["dry_run"]) == (5, 0, True)
    assert dry["counts"] == {"blocked": 0, "scheduled": 1, "queued": 3, "running": 1}
    assert dry["told"] == "5 jobs (1 scheduled, 3 queued, 1 running) would be cancelled"
    assert await app.jobs.acount(state="cancelled") == 0
    done = await api("POST", "/jobs/cancel", json=ask)
    assert (done["matched"], done["changed"]) == (5, 5)
    assert await app.jobs.acount(state="cancelled") == 4


async def test_retrying_means_the_dead_ones_unless_told_otherwise(api: Api, app: Mainspring, hands: Hands) -> None:
    dead, completed = [await app.tasks["add"].aenqueue(n) for n in range(2)]
    hands.kill(OSError("no disk"))
    hands.complete()
    assert (await api("POST", "/jobs/retry", json={"where": {"task": "add"}}))["changed"] == 1
    assert (await dead.arefresh()).state == "queued"
    again = await api("POST", "/jobs/retry", json={"where": {"id": [completed.id]}})
    assert (again["changed"], again["counts"]["completed"]) == (1, 1)


async def test_rescheduling_reprioritising_deleting(api: Api, app: Mainspring) -> None:
    jobs = await app.aenqueue_many(app.tasks["add"].job(n) for n in range(3))
    assert (await api("POST", "/jobs/reschedule", json={"where": {"task": "add"}, "delay": 60}))["changed"] == 3
    assert (await jobs[0].arefresh()).state == "scheduled"
    assert (await api("POST", "/jobs/reprioritise", json={"where": {"state": ["scheduled"]}, "priority": 1}))[
        "changed"
    ] == 3
    assert (await jobs[0].arefresh()).priority == 1
    deleted = await api("POST", "/jobs/delete", json={"where": {"id": [jobs[0].id, "nobody"]}})
    assert (deleted["matched"], deleted["changed"]) == (1, 1)
    assert await app.jobs.acount() == 2


async def test_where_nothing_fits_nothing_is_done(api: Api) -> None:
    done = await api("POST", "/jobs/delete", json={"where": {"queue": "none"}})
    assert (done["matched"], done["changed"], done["told"]) == (0, 0, "no job fits that can be deleted")


@pytest.mark.parametrize("verb", ["cancel", "retry", "reschedule", "reprioritise", "delete"])
@pytest.mark.parametrize(
    ("ask", "told"),
    [
        ({"where": {}}, "say which jobs"),
        ({"where": {"id": [], "state": []}}, "say which jobs"),
        ({}, "body.where"),
        ({"where": {"stat": ["dead"]}}, "body.where.stat"),
        ({"where": {"id": ["a\0"]}}, "body.where.id"),
        ({"where": {"id": ["a"] * 1001}}, "body.where.id"),
        ({"where": {"state": ["lost"]}}, "body.where.state"),
        ({"where": {"since": 5}}, "body.where.since"),
        ({"where": {"queue": "a"}, "dry_run": "yes"}, "body.dry_run"),
    ],
)
async def test_no_bulk_hits_all_jobs_by_an_oversight(front: Api, verb: str, ask: dict[str, Any], told: str) -> None:
    job = await front.app.tasks["add"].aenqueue(1)
    more = {"reschedule": {"delay": 60}, "reprioritise": {"priority": 1}}.get(verb, {})
    assert told in (await front.refused("POST", f"/jobs/{verb}", 422, json=ask | more))["detail"]
    assert ((await job.arefresh()).state, job.priority) == ("queued", 5)


async def test_states_in_which_it_cannot_be_done_are_refused(api: Api) -> None:
    problem = await api.refused("POST", "/jobs/cancel", 422, json={"where": {"state": ["dead"]}})
    assert "only jobs that are" in problem["detail"]


async def test_only_admins_delete(api: Api) -> None:
    api.who = Identity("olga", Role.OPERATOR)
    await api("POST", "/jobs/cancel", json={"where": {"queue": "a"}})
    await api.refused("POST", "/jobs/delete", 403, json={"where": {"queue": "a"}})


@pytest.fixture
async def swept(app: Mainspring, api: Api, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A request that does not come to the end of its 1,500 jobs at once, and its first answer."""
    monkeypatch.setattr(bulk, "SECONDS", 0)
    await app.aenqueue_many(app.tasks["add"].job(n) for n in range(1500))
    return {"where": {"task": "add"}, "reason": "enough"}


async def test_what_does_not_fit_into_one_request_goes_on_with_the_next(
    api: Api, app: Mainspring, swept: dict[str, Any]
) -> None:
    answer = await api("POST", "/jobs/cancel", json=swept)
    assert not answer["done"]
    assert (answer["matched"], answer["exact"]) == (1500, True)
    assert answer["told"] == f"{answer['changed']:,} of 1,500 jobs (1,500 queued) cancelled so far"
    late = await app.tasks["add"].aenqueue(1)
    changed = answer["changed"]
    while not answer["done"]:
        answer = await api("POST", "/jobs/cancel", json=swept | {"cursor": answer["cursor"]})
        changed += answer["changed"]
    assert (changed, answer["changed_in_all"], answer["cursor"]) == (1500, 1500, None)
    assert answer["told"] == "1,500 of 1,500 jobs (1,500 queued) cancelled"
    assert (await late.arefresh()).state == "queued"
    entries = [entry for entry in await app.audit.alist() if entry.action == "jobs.cancel"]
    assert [(entry.actor, entry.count) for entry in entries] == [("ada", 1500)]


async def test_a_cursor_is_good_for_its_own_request_and_for_who_sent_it(api: Api, swept: dict[str, Any]) -> None:
    cursor = (await api("POST", "/jobs/cancel", json=swept))["cursor"]
    other = {"where": {"task": "add", "queue": "default"}, "reason": "enough", "cursor": cursor}
    assert "for another request" in (await api.refused("POST", "/jobs/cancel", 422, json=other))["detail"]
    ask = {"where": {"task": "add"}, "cursor": cursor}
    assert "for another request" in (await api.refused("POST", "/jobs/delete", 422, json=ask))["detail"]
    for forged in (cursor[:-2], "x", "live:1:a", f"{cursor}.x", "\ud800"):
        ask = swept | {"cursor": forged}
        sent: dict[str, Any] = {"content": json.dumps(ask).encode(), "headers": {"content-type": "application/json"}}
        problem = await api.refused("POST", "/jobs/cancel", 422, **sent)
        assert "cursor" in problem["detail"]
    api.who = Identity("eve", Role.ADMIN)
    problem = await api.refused("POST", "/jobs/cancel", 422, json=swept | {"cursor": cursor})
    assert "ada has begun this" in problem["detail"]
    api.who = Identity("ada", Role.VIEWER)
    await api.refused("POST", "/jobs/cancel", 403, json=swept | {"cursor": cursor})


async def test_jobs_named_by_their_ids_are_all_done_by_one_request(
    api: Api, app: Mainspring, swept: dict[str, Any]
) -> None:
    ids = [job.id for job in await app.jobs.afind(limit=1000)]
    answer = await api("POST", "/jobs/delete", json={"where": {"id": ids}})
    assert (answer["changed"], answer["done"]) == (1000, True)
