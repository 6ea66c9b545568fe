"""Every route there is: what strangers, viewers and guests get of it, whatever it asks for itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from starlette.routing import WebSocketRoute

from mainspring import Mainspring, group
from mainspring.web import Identity, Passwords, Role, create_app
from mainspring.web.files import FOLDER
from mainspring.web.guard import ONES_OWN, PUBLIC, SAFE_METHODS, SIGN_IN, TICKETED

from .asking import asking

FILE = min(path.name for path in FOLDER.iterdir())
ORIGIN = "https://shop.example"


@pytest.fixture
def jobs() -> Iterator[Mainspring]:
    app = Mainspring("sqlite://")

    @app.task
    def x() -> None: ...

    yield app
    app.close()


def routes(web: FastAPI) -> list[tuple[str, str]]:
    """Each path with something in place of its parameters, and each method; what is a socket is left out."""

    def walk(given: Iterable[Any], prefix: str) -> Iterator[tuple[str, str]]:
        for route in given:
            inner = getattr(route, "original_router", None)
            if inner is not None:
                yield from walk(inner.routes, prefix + route.include_context.prefix)
            elif not isinstance(route, WebSocketRoute):
                path = re.sub(r"\{[^}]*\}", "x", prefix + route.path)
                yield from ((path, method) for method in sorted(route.methods or {"GET"}))

    return sorted(set(walk(web.routes, "")))


async def status(web: FastAPI, path: str, method: str, **headers: str) -> int:
    async with asking(web, headers={name.replace("_", "-"): value for name, value in headers.items()}) as client:
        return (await client.request(method, path)).status_code


async def test_strangers_get_nothing_of_any_route(jobs: Mainspring) -> None:
    for web in (create_app(jobs, auth=lambda _: None), create_app(jobs, auth=Passwords([]))):
        for path, method in routes(web):
            got = await status(web, path, method)
            if PUBLIC.fullmatch(path) or SIGN_IN.fullmatch(path):
                assert got in (200, 401, 404), (method, path)
            else:
                assert got in (401, 403), (method, path)


async def test_viewers_change_nothing_by_any_route(jobs: Mainspring) -> None:
    web = create_app(jobs, auth=lambda _: "viewer")
    changing = [(path, method) for path, method in routes(web) if method not in SAFE_METHODS]
    for path, method in changing:
        if not ONES_OWN.fullmatch(path):
            assert await status(web, path, method) == 403, (method, path)
    # Nor by what a server may take for another method.
    for header in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        assert await status(web, "/api/v1/jobs/x", "POST", **{header: "DELETE"}) in (403, 405)


async def test_pages_of_other_sites_change_nothing_by_any_route(jobs: Mainspring) -> None:
    web = create_app(jobs, origins=[ORIGIN])
    for path, method in routes(web):
        for headers in ({"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}, {"Origin": "https://evil.example"}):
            if method not in SAFE_METHODS:
                assert await status(web, path, method, **headers) == 403, (method, path, headers)
        if not PUBLIC.fullmatch(path) and not TICKETED.fullmatch(path):
            assert await status(web, path, method, Origin=ORIGIN) == 403, (method, path)


async def test_a_guest_of_another_site_has_nothing_but_his_ticket(jobs: Mainspring) -> None:
    """Where the browser belongs to an admin, his cookies count for nothing."""
    web = probed(create_app(jobs, auth=lambda _: "admin", origins=[ORIGIN]))
    async with asking(web, headers={"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"}) as client:
        answer = await client.get("/api/v1/jobs/x/events")
        assert answer.status_code in (403, 404)
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "Origin" in answer.headers["vary"]
        preflight = await client.options("/api/v1/jobs/x/events")
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == ORIGIN
        for path in ("/probe", "/", "/api/v1/jobs", "/api/v1/jobs/x", "/api/v1/jobs/x/eventsx"):
            refused = await client.get(path)
            assert refused.status_code == 403
            assert "access-control-allow-origin" not in refused.headers
    async with asking(web, headers={"Origin": "https://evil.example"}) as other:
        answer = await other.get("/api/v1/jobs/x/events")
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers


# --- who may do what, and what the audit log has of it ---------------------------------------------------------------

WHERE = {"where": {"task": "x"}}
TIMING = {"task": "x", "every": "1h"}
DEEDS: dict[tuple[str, str], tuple[Role, str, Any]] = {
    ("POST", "/jobs/cancel"): (Role.OPERATOR, "jobs.cancel", WHERE),
    ("POST", "/jobs/retry"): (Role.OPERATOR, "jobs.retry", {"where": {"task": "x", "state": ["cancelled"]}}),
    ("POST", "/jobs/reschedule"): (Role.OPERATOR, "jobs.reschedule", {**WHERE, "delay": "1h"}),
    ("POST", "/jobs/reprioritise"): (Role.OPERATOR, "jobs.reprioritise", {**WHERE, "priority": 1}),
    ("POST", "/jobs/delete"): (Role.ADMIN, "jobs.delete", {"where": {"task": "x", "state": ["scheduled"]}}),
    ("POST", "/jobs"): (Role.OPERATOR, "jobs.enqueue", {"jobs": [{"task": "x"}]}),
    ("POST", "/tasks/{name}/jobs"): (Role.OPERATOR, "jobs.enqueue", {}),
    ("POST", "/jobs/{id}/rerun"): (Role.OPERATOR, "jobs.rerun", {}),
    ("POST", "/jobs/{id}/reschedule"): (Role.OPERATOR, "jobs.reschedule", {"delay": "1h"}),
    ("POST", "/jobs/{id}/reprioritise"): (Role.OPERATOR, "jobs.reprioritise", {"priority": 1}),
    ("POST", "/jobs/{id}/events"): (Role.OPERATOR, "jobs.cancel", {"event": "cancel"}),
    ("POST", "/jobs/{id}/retry"): (Role.OPERATOR, "jobs.retry", None),
    ("POST", "/jobs/{id}/cancel"): (Role.OPERATOR, "jobs.cancel", None),
    ("DELETE", "/jobs/{id}"): (Role.ADMIN, "jobs.delete", None),
    ("POST", "/flows/{id}/cancel"): (Role.OPERATOR, "jobs.cancel", None),
    ("POST", "/queues/{name}/pause"): (Role.OPERATOR, "queues.pause", None),
    ("POST", "/queues/{name}/resume"): (Role.OPERATOR, "queues.resume", None),
    ("POST", "/queues/{name}/partitions/{partition}/pause"): (Role.OPERATOR, "queues.pause", None),
    ("POST", "/queues/{name}/partitions/{partition}/resume"): (Role.OPERATOR, "queues.resume", None),
    ("PATCH", "/queues/{name}/limits"): (Role.ADMIN, "queues.set_limits", {"concurrency": 3}),
    ("PATCH", "/queues/{name}/partition-limits"): (Role.ADMIN, "queues.set_limits", {"concurrency": 3}),
    ("PATCH", "/queues/{name}/partitions/{partition}/limits"): (Role.ADMIN, "queues.set_limits", {"concurrency": 3}),
    ("PATCH", "/tasks/{name}/limits"): (Role.ADMIN, "queues.set_task_limits", {"concurrency": 3}),
    ("PUT", "/schedules/{name}"): (Role.ADMIN, "schedules.put", TIMING),
    ("POST", "/schedules/{name}/pause"): (Role.OPERATOR, "schedules.pause", None),
    ("POST", "/schedules/{name}/resume"): (Role.OPERATOR, "schedules.resume", None),
    ("POST", "/schedules/{name}/run"): (Role.OPERATOR, "schedules.run_now", None),
    ("DELETE", "/schedules/{name}"): (Role.ADMIN, "schedules.remove", None),
    ("POST", "/webhooks/{name}/test"): (Role.OPERATOR, "webhooks.test", None),
    ("POST", "/workers/{id}/quiet"): (Role.OPERATOR, "workers.quiet", None),
    ("POST", "/workers/{id}/stop"): (Role.OPERATOR, "workers.stop", None),
}
"""In an order in which each finds what it is done to."""


async def test_each_deed_takes_its_role_and_leaves_one_entry_of_whoever_did_it(jobs: Mainspring) -> None:
    who = [Identity("nobody", Role.VIEWER)]
    web = create_app(jobs, auth=lambda _: who[0])
    jobs.webhook("https://example.com/x", on="dead", secret="long enough to sign with", name="x")
    flow = group(jobs.tasks["x"].job()).enqueue()
    place, schema = "/api/v1", web.openapi()["paths"]
    there = {(how.upper(), path.removeprefix(place)) for path in schema for how in schema[path] if how != "get"}
    assert there == set(DEEDS)
    async with asking(web) as client:
        for (method, path), (role, action, body) in DEEDS.items():
            id = flow.id if "flows" in path else jobs.tasks["x"].using(delay="1h").enqueue().id
            url = place + path.replace("{id}", id).replace("{name}", "x").replace("{partition}", "p")
            for less in Role:
                who[0] = Identity(f"{less.name} of {path}", less)
                before = jobs.audit.list(limit=1000)
                if less < role:
                    refused = await client.request(method, url, json=body)
                    assert (refused.status_code, refused.json()["title"]) == (403, "Not allowed"), (method, path)
                    assert len(jobs.audit.list(limit=1000)) == len(before), (method, path, less)
            answer = await client.request(method, url, json=body)
            assert answer.status_code < 300 or "workers" in path, (method, path, answer.text)
            entry, *rest = jobs.audit.list(limit=1000)
            assert [each.id for each in rest] == [each.id for each in before], (method, path)
            assert (entry.actor, entry.action) == (who[0].name, action)
            assert entry.count is not None or "workers" in path


# --- mounted ---------------------------------------------------------------------------------------------------------


async def test_the_guard_is_there_wherever_the_web_is_mounted(jobs: Mainspring) -> None:
    outer = FastAPI()
    outer.mount("/a/b", probed(create_app(jobs, auth=lambda _: None)))
    async with asking(outer) as client:
        for path in ("/", "/probe", "//probe", "/./probe", "/static/../probe", "/a/b/login", "/login/../probe",
                     "/static/", "/static%2f..%2fprobe", "/static/x/../../probe"):  # fmt: skip
            answer = await client.get(f"/a/b{path}")
            assert answer.status_code in (403, 404), path
            assert b"guest" not in answer.content
        assert (await client.get(f"/a/b/static/{FILE}")).status_code == 200


@pytest.mark.parametrize("root", ["/static", "/static/x", "/login", "/api/v1/jobs"])
async def test_no_place_to_be_mounted_at_opens_anything(jobs: Mainspring, root: str) -> None:
    outer = FastAPI()
    outer.mount(root, probed(create_app(jobs, auth=lambda _: None)))
    async with asking(outer) as client:
        assert (await client.get(f"{root}/probe")).status_code == 403


# --- sockets ---------------------------------------------------------------------------------------------------------


def probed(web: FastAPI) -> FastAPI:
    @web.get("/probe")
    def look() -> str:
        return "guest"

    @web.websocket("/socket")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept(headers=[(b"x-role", websocket.scope["mainspring.identity"].role.name.encode())])
        await websocket.close()

    return web


async def handshake(
    web: FastAPI, path: str = "/socket", client: str = "127.0.0.1", **headers: str
) -> list[dict[str, Any]]:
    """What a WebSocket's handshake is answered with."""
    given = {"host": "localhost"} | {name.replace("_", "-").lower(): value for name, value in headers.items()}
    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "client": (client, 40_000),
        "server": ("localhost", 80),
        "subprotocols": [],
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await web(scope, receive, send)
    return sent


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"},
        {"Host": "evil.example"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
        {"X_Forwarded_For": "127.0.0.1"},
    ],
    ids=str,
)
async def test_a_socket_is_not_opened_for_pages_of_other_sites(jobs: Mainspring, headers: dict[str, str]) -> None:
    """Browsers let any page open a socket to anywhere, with cookies: only the Origin tells."""
    assert [each["type"] for each in await handshake(probed(create_app(jobs)), **headers)] == ["websocket.close"]


@pytest.mark.parametrize("path", ["/socket", "/", "/no/such", "/api/v1/wsx", "/static/x"])
async def test_a_socket_is_not_opened_for_strangers(jobs: Mainspring, path: str) -> None:
    sent = await handshake(probed(create_app(jobs, auth=lambda _: None)), path)
    assert [each["type"] for each in sent] == ["websocket.close"]
    sent = await handshake(probed(create_app(jobs)), path, client="192.0.2.1")
    assert [each["type"] for each in sent] == ["websocket.close"]


async def test_a_socket_is_opened_for_those_who_are_known(jobs: Mainspring) -> None:
    for headers in (
        {},
        {"Origin": "http://localhost"},
        {"Sec_Fetch_Site": "same-origin", "Origin": "http://localhost"},
    ):
        sent = await handshake(probed(create_app(jobs, auth=lambda _: "viewer")), **headers)
        assert sent[0]["type"] == "websocket.accept"
        assert (b"x-role", b"VIEWER") in sent[0]["headers"]


async def test_a_check_that_fails_opens_no_socket(jobs: Mainspring, caplog: pytest.LogCaptureFixture) -> None:
    sent = await handshake(probed(create_app(jobs, auth=lambda _: "no such role")))
    assert [each["type"] for each in sent] == ["websocket.close"]
    assert "no such role" not in sent[0]["reason"]
    assert "no such role" in caplog.text
