"""Queues, schedules, workers and flows over the API."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from mainspring import Flow, Mainspring
from mainspring.web import Identity, Role
from mainspring.web.api import bulk

from .conftest import Api, Hands


async def test_who_one_is(api: Api, app: Mainspring) -> None:
    api.who = Identity("eve", Role.VIEWER)
    about = await api("GET", "/about")
    assert (about["title"], about["store"]) == ("Mainspring", app.url)
    assert about["caller"] == {"name": "eve", "role": "viewer"}


async def test_queues(api: Api, app: Mainspring) -> None:
    await app.tasks["add"].aenqueue(1)
    await app.tasks["mail/welcome"].aenqueue("a@b.c")
    queues = {queue["name"]: queue for queue in (await api("GET", "/queues"))["items"]}
    assert queues.keys() == {"default", "email"}
    assert queues["email"]["counts"]["queued"] == 1
    assert queues["email"]["oldest_waiting_seconds"] >= 0
    assert (await api("GET", "/queues/email"))["name"] == "email"
    await api.refused("GET", "/queues/none", 404)


async def test_pausing_and_limiting_a_queue(api: Api) -> None:
    paused = await api("POST", "/queues/mail%2Fbulk/pause")
    assert (paused["name"], paused["paused"]) == ("mail/bulk", True)
    assert (await api("POST", "/queues/mail%2Fbulk/resume"))["paused"] is False
    limited = await api("PATCH", "/queues/mail%2Fbulk/limits", json={"concurrency": 5, "rates": ["50/m"]})
    assert (limited["concurrency"], limited["rates"], limited["max_queued"]) == (5, ["50/1m"], None)
    freed = await api("PATCH", "/queues/mail%2Fbulk/limits", json={"concurrency": None, "max_queued": 9})
    assert (freed["concurrency"], freed["rates"], freed["max_queued"]) == (None, ["50/1m"], 9)
    each = await api("PATCH", "/queues/mail%2Fbulk/partition-limits", json={"concurrency": 2, "weight": 2.5})
    assert each["per_partition"] == {"concurrency": 2, "rates": [], "max_queued": None, "weight": 2.5}


@pytest.mark.parametrize(
    "limits",
    [{}, {"concurrency": 0}, {"concurrency": 10**30}, {"concurrency": 1.5}, {"rates": ["fast"]}, {"rates": "50/m"},
     {"rates": ["1/m"] * 11}, {"weight": 2}, {"max_queued": True}, {"rates": [f"{10**19}/m"]}, {"rates": ["1/99999d"]}],
)  # fmt: skip
async def test_limits_that_cannot_be_are_refused(front: Api, limits: dict[str, Any]) -> None:
    await front.refused("PATCH", "/queues/email/limits", 422, json=limits)


async def test_partitions(api: Api, app: Mainspring) -> None:
    await app.tasks["add"].using(partition="a/b").aenqueue(1)
    assert (await api("GET", "/queues/default/partitions/a%2Fb"))["counts"]["queued"] == 1
    assert (await api("POST", "/queues/default/partitions/a%2Fb/pause"))["paused"] is True
    limited = await api("PATCH", "/queues/default/partitions/a%2Fb/limits", json={"concurrency": 3, "weight": 0.5})
    assert (limited["limits"]["concurrency"], limited["limits"]["weight"]) == (3, 0.5)
    (listed,) = (await api("GET", "/queues/default/partitions"))["items"]
    assert (listed["name"], listed["paused"]) == ("a/b", True)
    assert (await api("POST", "/queues/default/partitions/a%2Fb/resume"))["paused"] is False


async def test_schedules_are_put_paused_run_and_removed(api: Api) -> None:
    put = {"task": "add", "cron": "0 3 * * *", "tz": "Europe/Berlin", "args": {"a": 1}, "jitter": "5m"}
    response = await api.ask("PUT", "/schedules/nightly%2Fadd", json=put)
    assert (response.status_code, response.headers["location"]) == (201, "/api/v1/schedules/nightly%2Fadd")
    made = response.json()
    assert (made["cron"], made["tz"], made["every_seconds"], made["jitter_seconds"]) == (
        "0 3 * * *", "Europe/Berlin", None, 300,
    )  # fmt: skip
    changed = await api("PUT", "/schedules/nightly%2Fadd", json={"task": "add", "every": 90, "args": {"a": 2}})
    assert (changed["cron"], changed["every_seconds"], changed["args"]) == (None, 90, {"a": 2})
    assert [each["name"] for each in (await api("GET", "/schedules"))["items"]] == ["nightly/add"]
    times = (await api("GET", "/schedules/nightly%2Fadd/next?count=3"))["items"]
    first, second, third = map(datetime.fromisoformat, times)
    assert second - first == third - second == timedelta(seconds=90)
    assert (await api("POST", "/schedules/nightly%2Fadd/pause"))["paused"] is True
    run = await api.ask("POST", "/schedules/nightly%2Fadd/run")
    assert (run.status_code, run.json()["args"]) == (201, {"a": 2})
    assert run.headers["location"] == f"/api/v1/jobs/{run.json()['id']}"
    assert (await api("POST", "/schedules/nightly%2Fadd/resume"))["paused"] is False
    await api("DELETE", "/schedules/nightly%2Fadd", 204)
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/next"), ("POST", "/pause"), ("POST", "/run")):
        await api.refused(method, f"/schedules/nightly%2Fadd{path}", 404)


@pytest.mark.parametrize(
    ("put", "status"),
    [
        ({"task": "none", "every": 60}, 404),
        ({"task": "add", "args": {"a": 1}}, 422),
        ({"task": "add", "args": {"a": 1}, "every": 60, "cron": "* * * * *"}, 422),
        ({"task": "add", "args": {"a": "x"}, "every": 60}, 422),
        ({"task": "add", "args": {"a": 1}, "every": 0}, 422),
        ({"task": "add", "args": {"a": 1}, "cron": "often"}, 422),
        ({"task": "add", "args": {"a": 1}, "cron": "0 0 30 2 *"}, 422),
        ({"task": "add", "args": {"a": 1}, "cron": "* * * * *", "tz": "Mars/\0"}, 422),
        ({"task": "add", "args": {"a": 1}, "cron": "* * * * *", "tz": "../../etc/passwd"}, 422),
        ({"task": "add", "args": {"a": 1}, "every": 60, "catch_up": "some"}, 422),
        ({"task": "add", "args": {"a": 1}, "evry": 60}, 422),
    ],
)
async def test_schedules_that_cannot_be_are_refused(front: Api, put: dict[str, Any], status: int) -> None:
    await front.refused("PUT", "/schedules/x", status, json=put)
    assert (await front("GET", "/schedules"))["items"] == []


async def test_workers(api: Api, hands: Hands) -> None:
    (worker,) = (await api("GET", "/workers"))["items"]
    assert (worker["id"], worker["name"], worker["alive"], worker["tasks"]) == (hands.id, "hands", True, ["add"])
    assert worker["memory"] is None, "it has not said"
    assert (await api("POST", f"/workers/{hands.id}/quiet", 202))["command"] == "quiet"
    assert (await api("POST", f"/workers/{hands.id}/stop", 202))["command"] == "stop"
    assert (await api("GET", f"/workers/{hands.id}"))["command"] == "stop"
    for method, path in (("GET", ""), ("POST", "/quiet"), ("POST", "/stop")):
        await api.refused(method, f"/workers/nobody{path}", 404)


async def test_flows_as_graphs(api: Api, app: Mainspring) -> None:
    add = app.tasks["add"]
    flow, part = Flow("order"), Flow("parts")
    first = flow.add(add.job(1))
    part.add(add.job(2))
    flow.add(part, after=[first])
    last = flow.on_success(add.job(3))
    await flow.aenqueue()
    (listed,) = (await api("GET", "/flows"))["items"]
    assert (listed["id"], listed["name"], listed["total"], listed["done"]) == (flow.id, "order", 3, 0)
    graph = await api("GET", f"/flows/{flow.id}")
    nodes = {node["id"]: node for node in graph["nodes"]}
    (inner,) = [node for node in nodes.values() if node["flow"] == part.id]
    assert [each["name"] for each in graph["parts"]] == ["parts"]
    assert nodes[first.job.id]["state"] == "queued"
    assert nodes[last.job.id]["follows_on"] == "success"
    edges = {(edge["parent"], edge["child"]) for edge in graph["edges"]}
    assert {(first.job.id, inner["id"]), (first.job.id, last.job.id), (inner["id"], last.job.id)} <= edges
    cancelled = await api("POST", f"/flows/{flow.id}/cancel", json={"reason": "withdrawn"})
    assert (cancelled["matched"], cancelled["done"]) == (3, True)
    whole = await api("GET", f"/flows/{flow.id}")
    assert whole["counts"]["cancelled"] == whole["done"] == 3
    await api.refused("GET", "/flows/none", 404)
    await api.refused("POST", "/flows/none/cancel", 404)


async def test_a_flow_of_any_size_is_read_page_by_page(api: Api, app: Mainspring, hands: Hands) -> None:
    flow = Flow("many")
    first = flow.add(app.tasks["add"].job(0))
    for n in range(1, 8):
        flow.add(app.tasks["add"].job(n), after=[first])
    await flow.aenqueue()
    hands.complete()
    page = await api("GET", f"/flows/{flow.id}?limit=3")
    seen, edges = [node["id"] for node in page["nodes"]], page["edges"]
    assert (len(seen), page["total"], page["done"]) == (3, 8, 1)
    while page["cursor"]:
        page = await api("GET", f"/flows/{flow.id}", params={"limit": 3, "cursor": page["cursor"]})
        assert len(page["nodes"]) <= 3
        seen += [node["id"] for node in page["nodes"]]
        edges += page["edges"]
    assert seen == [job.id for job in await app.jobs.afind(flow=flow.id)]
    assert {(edge["parent"], edge["child"]) for edge in edges} == {(first.job.id, id) for id in seen[:-1]}
    await api.refused("GET", f"/flows/{flow.id}?cursor=nonsense", 422)
    await api.refused("GET", f"/flows/{flow.id}?limit=1001", 422)


async def test_a_large_flow_is_cancelled_bit_by_bit(api: Api, app: Mainspring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "SECONDS", 0)
    flow = app.tasks["add"].map(range(1200))
    await flow.aenqueue()
    answer = await api("POST", f"/flows/{flow.id}/cancel", json={"reason": "enough"})
    assert (answer["matched"], answer["done"]) == (1200, False)
    await api.refused("POST", f"/flows/{flow.id}/cancel", 422, json={"cursor": answer["cursor"]})
    while not answer["done"]:
        ask = {"reason": "enough", "cursor": answer["cursor"]}
        answer = await api("POST", f"/flows/{flow.id}/cancel", json=ask)
    assert (await flow.aprogress()).states == {"cancelled": 1200}
    assert answer["changed_in_all"] == 1200


async def test_pages_of_flows(api: Api, app: Mainspring) -> None:
    made = []
    for number in range(5):
        flow, part = Flow(f"flow {number}"), Flow("part")
        part.add(app.tasks["add"].job(number))
        flow.add(part)
        await flow.aenqueue()
        made.append(flow.id)
    seen: list[str] = []
    page = await api("GET", "/flows?limit=2")
    while page["cursor"] is not None:
        seen += [flow["id"] for flow in page["items"]]
        page = await api("GET", "/flows", params={"limit": 2, "cursor": page["cursor"]})
    seen += [flow["id"] for flow in page["items"]]
    assert sorted(seen) == sorted(made)
    await api.refused("GET", "/flows?cursor=live:1:a", 422)


async def test_webhooks(api: Api, app: Mainspring) -> None:
    app.webhook("https://example.com/hook?key=s3cret", on=("completed",), secret="x" * 32, name="shop/told")
    run = await api.ask("POST", "/webhooks/shop%2Ftold/test")
    assert run.status_code == 201
    (webhook,) = (await api("GET", "/webhooks"))["items"]
    assert (webhook["name"], webhook["url"], webhook["on"]) == (
        "shop/told",
        "https://example.com/hook?…",
        ["completed"],
    )
    assert [job["id"] for job in webhook["last"]] == [run.json()["id"]]
    await api.refused("POST", "/webhooks/none/test", 404)


async def test_nobody_can_have_webhooks_tell_what_has_not_happened(api: Api, app: Mainspring) -> None:
    app.webhook("https://example.com/hook", on=("completed",), secret="x" * 32, name="told")
    assert "mainspring.webhook" in app.tasks
    assert [task["name"] for task in (await api("GET", "/tasks"))["items"]] == ["add", "mail/welcome"]
    forged = {"webhook": "told", "event": {"type": "completed"}}
    await api.refused("POST", "/tasks/mainspring.webhook/jobs", 403, json={"args": forged})
    put = {"task": "mainspring.webhook", "every": 60, "args": forged}
    await api.refused("PUT", "/schedules/forged", 403, json=put)
    job = await api("POST", "/webhooks/told/test", 201)
    await api("POST", f"/jobs/{job['id']}/cancel")
    await api.refused("POST", f"/jobs/{job['id']}/rerun", 403, json={"args": forged})
    await api("POST", f"/jobs/{job['id']}/retry")


async def test_who_may_only_look_changes_nothing(api: Api) -> None:
    api.who = Identity("eve", Role.VIEWER)
    for method, path, body in (
        ("POST", "/queues/email/pause", None),
        ("PATCH", "/queues/email/limits", {"concurrency": 5}),
        ("PUT", "/schedules/x", {"task": "add", "every": 60, "args": {"a": 1}}),
        ("DELETE", "/schedules/x", None),
        ("POST", "/workers/x/stop", None),
        ("POST", "/flows/x/cancel", None),
    ):
        await api.refused(method, path, 403, json=body)
    for path in ("/queues", "/schedules", "/workers", "/flows"):
        await api("GET", path)
