"""Jobs over the API: found, looked at, and changed one at a time."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from mainspring import Flow, Mainspring, Retry, Secret
from mainspring.model.failure import describe
from mainspring.model.outcome import Outcome
from mainspring.web import Identity, Role

from .conftest import Api, Hands

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def ids(listing: Any) -> list[str]:
    return [job["id"] for job in listing["items"]]


async def test_finding(api: Api, app: Mainspring, hands: Hands) -> None:
    add = app.tasks["add"]
    dead = await add.aenqueue(1)
    hands.kill(OSError("no disk"))
    email = await app.tasks["mail/welcome"].aenqueue("a@b.c")
    later = await add.using(delay="1h", partition="acme", tags=["vip"]).aenqueue(22)
    flow = Flow("order")
    node = flow.add(add.job(3))
    await flow.aenqueue()
    member = node.job
    everything = {dead.id, email.id, later.id, member.id}

    async def found(query: str) -> set[str]:
        return set(ids(await api("GET", f"/jobs?{query}")))

    assert await found("") == everything
    assert await found("state=dead") == {dead.id}
    assert await found("state=dead&state=scheduled") == {dead.id, later.id}
    assert await found("queue=email") == await found("task=mail/welcome") == {email.id}
    assert await found("partition=acme") == {later.id}
    assert await found("tag=vip") == await found("text=22") == {later.id}
    assert await found("text=A%40B") == {email.id}
    assert await found(f"flow={flow.id}") == {member.id}
    assert await found(f"id={later.id}&id=nobody") == {later.id}
    assert await found("since=1h") == everything
    assert await found("until=1h") == await found("since=2099-01-01T00:00:00%2B01:00") == set()
    assert await found("until=2099-01-01T00:00:00+01:00") == everything


async def test_counting(api: Api, app: Mainspring, hands: Hands) -> None:
    await app.tasks["add"].aenqueue(1)
    hands.kill(OSError("no disk"))
    await app.tasks["add"].using(queue="email").aenqueue(2)
    counted = await api("GET", "/counts")
    assert (counted["total"], counted["counts"]["dead"], counted["counts"]["queued"]) == (2, 1, 1)
    assert counted["counts"]["running"] == 0
    assert (await api("GET", "/counts?queue=email&state=dead"))["total"] == 0
    await api.refused("GET", "/counts?limit=5", 422)


async def test_pages_follow_each_other(api: Api, app: Mainspring) -> None:
    jobs = await app.aenqueue_many(app.tasks["add"].job(n) for n in range(7))
    seen: list[str] = []
    page = await api("GET", "/jobs?limit=3")
    while page["cursor"] is not None:
        assert len(page["items"]) == 3
        seen += ids(page)
        page = await api("GET", "/jobs", params={"limit": 3, "cursor": page["cursor"]})
    assert seen + ids(page) == [job.id for job in reversed(jobs)]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("stat=dead", "query.stat"),
        ("state=lost", "query.state"),
        ("limit=0", "query.limit"),
        ("limit=1001", "query.limit"),
        ("limit=9999999999999999999999999", "query.limit"),
        ("since=yesterday", "query.since"),
        ("since=2031-05-01T09:30:00", "query.since"),
        ("since=9e99", "query.since"),
        ("queue=a%00b", "query.queue"),
        (f"queue={'x' * 300}", "query.queue"),
        ("id=%00", "query.id"),
        ("text=", "query.text"),
        (f"text={'x' * 501}", "query.text"),
        ("cursor=abc", "cursor"),
        ("cursor=", "cursor"),
        ("cursor=live:1:%00", "query.cursor"),
        ("cursor=mainspring_jobs:99999999999999999999:a", "cursor"),
    ],
)
async def test_what_cannot_be_asked_for_is_refused(api: Api, query: str, told: str) -> None:
    assert told in (await api.refused("GET", f"/jobs?{query}", 422))["detail"]


async def test_lists_stay_small_however_large_the_jobs_are(api: Api, app: Mainspring, hands: Hands) -> None:
    await app.tasks["add"].aenqueue(1)
    hands.kill(OSError("x" * 5000))
    large = await app.tasks["mail/welcome"].aenqueue("a" * 20_000)
    live, dead = (await api("GET", "/jobs"))["items"]
    assert (live["id"], live["args"]) == (large.id, None)
    assert (dead["args"], len(dead["error"]["message"])) == ({"a": 1}, 1000 - len(" … ".encode()) + len(" … "))
    assert (await api("GET", f"/jobs/{large.id}"))["args"] == {"to": "a" * 20_000}


async def test_one_job_with_everything(api: Api, app: Mainspring, hands: Hands) -> None:
    flow = Flow("sum")
    first = flow.add(app.tasks["add"].job(1))
    second = flow.add(app.tasks["add"].job(2), after=[first])
    await flow.aenqueue()
    claim = hands.claim()
    hands.note(claim, 40, "half of it", "so far so good")
    running = await api("GET", f"/jobs/{claim.id}")
    assert (running["state"], running["progress"], running["progress_text"]) == ("running", 40, "half of it")
    assert [line["text"] for line in running["log"]] == ["so far so good"]
    hands.settle(claim, Outcome.failed(describe(OSError("no disk")), OSError()), Retry(attempts=2, delay=0))
    hands.settle(hands.claim(), Outcome.completed('{"sum": 3, "odd": "\\ud800"}'))
    whole = await api("GET", f"/jobs/{claim.id}")
    assert (whole["state"], whole["attempt"], whole["flow"]) == ("completed", 2, flow.id)
    assert whole["result"] == {"sum": 3, "odd": "\ud800"}
    assert [attempt["verdict"] for attempt in whole["attempts"]] == ["failed", "completed"]
    assert whole["attempts"][0]["error"]["type"] == "OSError"
    assert RFC3339.fullmatch(whole["finished_at"])
    assert RFC3339.fullmatch(whole["log"][0]["at"])
    assert whole["output"] == ""
    child = await api("GET", f"/jobs/{second.job.id}")
    assert child["parents"] == [{"id": claim.id, "policy": "fail", "state": "completed", "reason": None}]
    assert "completed" in whole["why"]


async def test_why_it_waits(api: Api, app: Mainspring) -> None:
    job = await app.tasks["add"].using(delay="2h").aenqueue(1)
    assert "is due in 2 h" in (await api("GET", f"/jobs/{job.id}"))["why"]


async def test_cancelling(api: Api, app: Mainspring, hands: Hands) -> None:
    running = await app.tasks["add"].aenqueue(1)
    hands.claim()
    waiting = await app.tasks["add"].aenqueue(2)
    cancelled = await api("POST", f"/jobs/{waiting.id}/cancel", json={"reason": "withdrawn"})
    assert (cancelled["state"], cancelled["reason"]) == ("cancelled", "cancelled: withdrawn")
    asked = await api("POST", f"/jobs/{running.id}/cancel", 202)
    assert (asked["state"], asked["cancel_requested"]) == ("running", True)
    problem = await api.refused("POST", f"/jobs/{waiting.id}/cancel", 409)
    assert "has ended" in problem["detail"]
    await api.refused("POST", "/jobs/nobody/cancel", 404)
    await api.refused("POST", f"/jobs/{running.id}/cancel", 422, json={"reason": "a\0b"})


async def test_retrying(api: Api, app: Mainspring, hands: Hands) -> None:
    job = await app.tasks["add"].aenqueue(1)
    await api.refused("POST", f"/jobs/{job.id}/retry", 409)
    hands.kill(OSError("no disk"))
    problem = await api.refused("POST", f"/jobs/{job.id}/retry", 422, json={"args": {"a": 2}})
    assert "takes no body" in problem["detail"]
    assert (await api("POST", f"/jobs/{job.id}/retry", json={}))["state"] == "queued"
    await api.refused("POST", "/jobs/nobody/retry", 404)


async def test_a_job_like_an_old_one_with_other_arguments(api: Api, app: Mainspring, hands: Hands) -> None:
    job = (
        await app.tasks["add"].using(priority=2, timeout="9s", partition="acme", cost=3, tags=["vip"]).aenqueue(1, b=7)
    )
    hands.kill(OSError("no disk"))
    response = await api.ask("POST", f"/jobs/{job.id}/rerun", json={"args": {"a": 5}})
    again = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/api/v1/jobs/{again['id']}"
    assert again["id"] != job.id
    assert (again["state"], again["args"], again["queue"]) == ("queued", {"a": 5}, "default")
    assert (again["priority"], again["partition"], again["cost"], again["tags"]) == (2, "acme", 3, ["vip"])
    assert again["options"]["timeout_seconds"] == 9
    assert (await api("GET", f"/jobs/{job.id}"))["state"] == "dead"
    assert (await api("POST", f"/jobs/{job.id}/rerun", 201))["args"] == {"a": 1, "b": 7}
    problem = await api.refused("POST", f"/jobs/{job.id}/rerun", 422, json={"args": {"a": "five"}})
    assert "a='five'" in problem["detail"]
    await api.refused("POST", "/jobs/nobody/rerun", 404, json={"args": {}})


async def test_a_job_of_an_unknown_task_is_run_again_as_it_was_only(api: Api, app: Mainspring, hands: Hands) -> None:
    @app.task
    def gone(n: int) -> None: ...

    job = await gone.aenqueue(1)
    hands.kill(OSError("no disk"))
    app._tasks.pop("gone")
    await api.refused("POST", f"/jobs/{job.id}/rerun", 404, json={"args": {"n": 2}})
    assert (await api("GET", f"/jobs/{job.id}"))["task"] == "gone"
    assert (await api("POST", f"/jobs/{job.id}/retry"))["state"] == "queued"


async def test_what_is_secret_is_shown_to_nobody(api: Api, app: Mainspring, hands: Hands) -> None:
    @app.task(priority=1)
    def charge(order: int, card: Secret[str], pin: Secret[str] = "0000") -> None: ...

    schema = (await api("GET", "/tasks/charge"))["arguments"]
    assert schema["properties"]["card"]["writeOnly"] is True
    assert "default" not in schema["properties"]["pin"]
    given = {"order": 7, "card": "4111-1111"}
    made = await api("POST", "/tasks/charge/jobs", 201, json={"args": given})
    hands.kill(OSError("no disk"))
    again = await api("POST", f"/jobs/{made['id']}/rerun", 201, json={"args": {"order": 8, "card": "[secret]"}})
    assert again["args"] == {"order": 8, "card": "[secret]"}
    assert (await app.jobs.aget(again["id"])).args == {"order": 8, "card": "4111-1111"}
    put = {"task": "charge", "every": 60, "args": given}
    await api("PUT", "/schedules/monthly", 201, json=put)
    kept = await api("PUT", "/schedules/monthly", json={**put, "args": {"order": 9, "card": "[secret]"}})
    assert kept["args"] == {"order": 9, "card": "[secret]"}
    assert (await api("POST", "/schedules/monthly/run", 201))["args"] == kept["args"]
    assert (await app.schedules.alist())[0].args == {"order": 9, "card": "4111-1111"}
    refused = await api.ask("POST", "/tasks/charge/jobs", json={"args": {"order": "x", "card": "4111-1111"}})
    assert refused.status_code == 422
    for path in ("/jobs", f"/jobs/{made['id']}", f"/jobs/{again['id']}", "/schedules", "/audit"):
        # The whole of it: four digits are in one id of some thousands.
        assert "4111-1111" not in json.dumps(await api("GET", path)), path
    assert "4111-1111" not in refused.text


async def test_rescheduling_and_reprioritising(api: Api, app: Mainspring, hands: Hands) -> None:
    job = await app.tasks["add"].aenqueue(1)
    moved = await api("POST", f"/jobs/{job.id}/reschedule", json={"delay": "1h"})
    assert moved["state"] == "scheduled"
    moved = await api("POST", f"/jobs/{job.id}/reschedule", json={"at": "2099-05-01T09:30:00+02:00"})
    assert moved["run_at"] == "2099-05-01T07:30:00.000Z"
    assert (await api("POST", f"/jobs/{job.id}/reprioritise", json={"priority": 1}))["priority"] == 1
    for body in ({}, {"delay": 5, "at": "2099-05-01T09:30:00Z"}):
        await api.refused("POST", f"/jobs/{job.id}/reschedule", 422, json=body)
    await api.refused("POST", f"/jobs/{job.id}/reprioritise", 422, json={})
    await api("POST", f"/jobs/{job.id}/cancel")
    await api.refused("POST", f"/jobs/{job.id}/reschedule", 409, json={"delay": 5})
    await api.refused("POST", f"/jobs/{job.id}/reprioritise", 409, json={"priority": 1})


async def test_deleting(api: Api, app: Mainspring, hands: Hands) -> None:
    running = await app.tasks["add"].aenqueue(1)
    hands.claim()
    waiting = await app.tasks["add"].aenqueue(2)
    assert await api("DELETE", f"/jobs/{waiting.id}", 204) is None
    await api.refused("GET", f"/jobs/{waiting.id}", 404)
    await api.refused("DELETE", f"/jobs/{waiting.id}", 404)
    await api.refused("DELETE", f"/jobs/{running.id}", 409)


async def test_an_id_may_have_a_slash_in_it(api: Api, app: Mainspring) -> None:
    await app.tasks["add"].using(id="order/7").aenqueue(1)
    assert (await api("GET", "/jobs/order%2F7"))["id"] == "order/7"
    assert (await api("POST", "/jobs/order%2F7/cancel"))["state"] == "cancelled"


@pytest.mark.parametrize("id", ["%00", "a%00b", "%ED%A0%80", "x" * 201, "%FF", "%E2%80%AE", "..%2F..", "%20"])
async def test_hostile_ids_are_refused(api: Api, id: str) -> None:
    assert (await api.ask("GET", f"/jobs/{id}")).status_code in (404, 422)
    assert (await api.ask("POST", f"/jobs/{id}/cancel")).status_code in (404, 422)
    assert (await api.ask("DELETE", f"/jobs/{id}")).status_code in (404, 422)


async def test_roles(api: Api, app: Mainspring) -> None:
    job = await app.tasks["add"].aenqueue(1)
    api.who = Identity("eve", Role.VIEWER)
    await api("GET", f"/jobs/{job.id}")
    await api.refused("POST", f"/jobs/{job.id}/cancel", 403)
    api.who = Identity("olga", Role.OPERATOR)
    await api("POST", f"/jobs/{job.id}/cancel")
    await api.refused("DELETE", f"/jobs/{job.id}", 403)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/jobs?queue=a&queue=b", "query.queue: It is given 2 times"),
        ("/jobs?limit=1&limit=1", "query.limit: It is given 2 times"),
        ("/queues?limit=1", "query.limit: Extra inputs are not permitted"),
        ("/jobs/x?verbose", "query.verbose: Extra inputs are not permitted"),
        ("/about?a=1&b=2", "query.a: Extra inputs are not permitted; query.b: Extra inputs are not permitted"),
    ],
)
async def test_what_nobody_reads_in_a_query_is_refused(front: Api, path: str, told: str) -> None:
    assert told in (await front.refused("GET", path, 422))["detail"]


async def test_what_may_be_several_is_given_several_times(front: Api) -> None:
    await front("GET", "/jobs?id=a&id=b&state=dead&state=queued")
