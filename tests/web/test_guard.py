"""The guard: what it lets through, and what it refuses, whoever asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI, Request
from starlette.requests import HTTPConnection

from mainspring import Mainspring
from mainspring.web import create_app
from mainspring.web.files import FOLDER

from .asking import asking

FILE = min(path.name for path in FOLDER.iterdir())


@pytest.fixture
def jobs() -> Iterator[Mainspring]:
    app = Mainspring("sqlite://")
    yield app
    app.close()


def with_probes(web: FastAPI) -> FastAPI:
    """The web with a route that reads and one that changes, neither of which asks about roles itself."""

    @web.get("/probe")
    def look(request: Request) -> dict[str, Any]:
        identity = request.scope["mainspring.identity"]
        return {"name": identity.name, "role": identity.role.name.lower(), "nonce": request.scope["mainspring.nonce"]}

    @web.post("/probe")
    async def change(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    return web


@pytest.fixture
def local(jobs: Mainspring) -> FastAPI:
    """The web without authentication."""
    return with_probes(create_app(jobs))


# --- without authentication ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["http://localhost", "http://127.0.0.1:8000", "http://[::1]:9", "http://a.localhost"])
async def test_without_authentication_this_machine_may_do_everything(local: FastAPI, at: str) -> None:
    async with asking(local, at=at) as client:
        assert (await client.get("/probe")).json()["role"] == "admin"
        assert (await client.post("/probe", content=b"abc")).json() == {"bytes": 3}


@pytest.mark.parametrize("client", ["192.0.2.7", "10.0.0.1", "::ffff:10.0.0.1", "fe80::1", "testclient", ""])
async def test_without_authentication_no_other_machine_is_answered(local: FastAPI, client: str) -> None:
    async with asking(local, client=client) as other:
        answer = await other.get("/probe")
    assert answer.status_code == 403
    assert "auth=" in answer.json()["detail"]


@pytest.mark.parametrize("at", ["http://10.0.0.1", "http://[fd00::1]"])
async def test_without_authentication_no_other_host_is_answered(local: FastAPI, at: str) -> None:
    async with asking(local, at=at) as client:
        assert (await client.get("/probe")).status_code == 403


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
async def test_without_authentication_what_a_proxy_passes_on_is_not_answered(local: FastAPI, name: str) -> None:
    """To the server a proxy on this machine looks like this machine."""
    async with asking(local, headers={name: "127.0.0.1"}) as client:
        assert (await client.get("/probe")).status_code == 403


# --- hosts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "localhostx",
        "shop.example.evil",
        "xshop.example",
    ],
)
async def test_a_name_that_is_not_ours_is_refused(jobs: Mainspring, host: str) -> None:
    """DNS rebinding: the name of an attacker's site that leads to this machine."""
    web = with_probes(create_app(jobs, auth=lambda _: "admin", hosts=["shop.example"]))
    for each in (web, with_probes(create_app(jobs))):
        async with asking(each, at=f"http://{host}") as client:
            answer = await client.get("/probe")
            assert answer.status_code == 421
            assert host in answer.json()["detail"]
            assert (await client.post("/probe")).status_code == 421


@pytest.mark.parametrize(
    "host", ["shop.example", "SHOP.Example", "shop.example:84", "shop.example.", "a.b.wide.example"]
)
async def test_names_that_are_listed_are_answered(jobs: Mainspring, host: str) -> None:
    web = with_probes(create_app(jobs, auth=lambda _: "admin", hosts=["shop.example", "*.wide.example"]))
    async with asking(web, headers={"Host": host}) as client:
        assert (await client.get("/probe")).status_code == 200


@pytest.mark.parametrize("host", ["", "a b", "localhost@evil.example", "localhost/evil", "localhost:x", "[::1", "ü"])
async def test_a_host_that_is_none_is_refused(local: FastAPI, host: str) -> None:
    async with asking(local) as client:
        request = client.build_request("GET", "/probe")
        request.headers = type(request.headers)([(b"host", host.encode())])
        assert (await client.send(request)).status_code == 400


async def test_two_hosts_are_refused(local: FastAPI) -> None:
    async with asking(local) as client:
        request = client.build_request("GET", "/probe")
        request.headers = type(request.headers)([("host", "localhost"), ("host", "evil.example")])
        assert (await client.send(request)).status_code == 400


# --- pages of other sites --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "http://localhost:8001"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "localhost"},
        {"Origin": "http://localhost@evil.example"},
        {"Origin": "http://[::1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
        {"Sec-Fetch-Site": "anything"},
    ],
    ids=str,
)
async def test_what_a_page_of_another_site_sends_changes_nothing(local: FastAPI, headers: dict[str, str]) -> None:
    async with asking(local, headers=headers) as client:
        for method in ("POST", "PUT", "PATCH", "DELETE", "ODD"):
            assert (await client.request(method, "/probe")).status_code == 403


async def test_a_proxy_that_takes_the_port_off_the_host_is_told_so(local: FastAPI) -> None:
    async with asking(local, headers={"Origin": "http://localhost:8080"}) as client:
        detail = (await client.post("/probe")).json()["detail"]
    assert "'http://localhost:8080', and was sent to 'localhost'" in detail
    assert "$http_host" in detail


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://localhost"},
        {"Origin": "https://localhost"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"},
        {"Sec-Fetch-Site": "none"},
    ],
    ids=str,
)
async def test_pages_of_this_site_and_programs_may(local: FastAPI, headers: dict[str, str]) -> None:
    async with asking(local, headers=headers) as client:
        assert (await client.post("/probe")).status_code == 200


async def test_a_link_from_another_site_may_be_followed_and_nothing_else_be_embedded(local: FastAPI) -> None:
    async def status(mode: str, dest: str) -> int:
        headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
        async with asking(local, headers=headers) as client:
            return (await client.get("/probe")).status_code

    assert await status("navigate", "document") == 200
    assert await status("navigate", "iframe") == 403
    assert await status("no-cors", "image") == 403
    assert await status("no-cors", "script") == 403
    assert await status("cors", "empty") == 403


# --- the application's own check -------------------------------------------------------------------------------------


async def test_the_application_says_who_asks_by_identity_role_or_none(jobs: Mainspring) -> None:
    from mainspring.web import Identity, Role

    async def later(connection: HTTPConnection) -> Identity | None:
        return Identity("ann", Role.VIEWER) if connection.headers.get("x-user") == "ann" else None

    for auth in (later, lambda connection: later(connection), lambda c: "viewer" if "x-user" in c.headers else None):
        async with asking(with_probes(create_app(jobs, auth=auth))) as client:
            assert (await client.get("/probe")).status_code == 403
            known = await client.get("/probe", headers={"x-user": "ann"})
            assert (known.status_code, known.json()["role"]) == (200, "viewer")


async def test_a_viewer_changes_nothing_even_where_a_route_forgets_to_ask(jobs: Mainspring) -> None:
    async with asking(with_probes(create_app(jobs, auth=lambda _: "viewer"))) as client:
        assert (await client.get("/probe")).status_code == 200
        answer = await client.post("/probe")
    assert answer.status_code == 403
    assert "look" in answer.json()["detail"]


async def test_nobody_who_is_not_known_sees_whether_a_page_exists(jobs: Mainspring) -> None:
    async with asking(create_app(jobs, auth=lambda _: None)) as client:
        for path in ("/", "/no/such/page", "/api/v1/openapi.json", "/staticx", "/static", "/login/x", "/loginx"):
            assert (await client.get(path)).status_code == 403, path


# --- sizes -----------------------------------------------------------------------------------------------------------


async def test_bodies_are_bounded_whether_or_not_they_say_how_long_they_are(jobs: Mainspring) -> None:
    web = with_probes(create_app(jobs, max_body=1_000))

    async def pieces() -> Any:
        for _ in range(11):
            yield b"x" * 100

    async with asking(web) as client:
        assert (await client.post("/probe", content=b"x" * 1_000)).json() == {"bytes": 1_000}
        for content in (b"x" * 1_001, pieces()):
            answer = await client.post("/probe", content=content)
            assert answer.status_code == 413
            assert "1,000" in answer.json()["detail"]
        assert (await client.post("/probe", headers={"Content-Length": "-5"})).status_code == 413


async def test_headers_and_addresses_are_bounded(local: FastAPI) -> None:
    async with asking(local) as client:
        assert (await client.get("/probe", headers={"x-large": "x" * 40_000})).status_code == 431
        assert (await client.get("/probe", headers={f"x-{n}": "" for n in range(120)})).status_code == 431
        assert (await client.get("/probe", params={"q": "x" * 20_000})).status_code == 414


# --- what every answer says ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/probe", "/no-such-page", "/api/v1/openapi.json", f"/static/{FILE}"])
async def test_every_answer_tells_browsers_to_beware(local: FastAPI, path: str) -> None:
    async with asking(local) as client:
        answer = await client.get(path)
        refused = await client.post(path, headers={"Origin": "null"})
    for each in (answer, refused):
        policy = dict(part.partition(" ")[::2] for part in each.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert policy["script-src"].startswith("'nonce-")
        assert "unsafe" not in each.headers["content-security-policy"]
        assert each.headers["x-content-type-options"] == "nosniff"
        assert each.headers["referrer-policy"] == "same-origin"
        assert each.headers["x-frame-options"] == "DENY"
    assert answer.headers["cache-control"] == ("public, no-cache" if "static" in path else "no-store")


async def test_each_page_has_a_nonce_of_its_own_that_its_policy_names(local: FastAPI) -> None:
    async with asking(local) as client:
        answers = [await client.get("/probe") for _ in range(3)]
    nonces = {answer.json()["nonce"] for answer in answers}
    assert len(nonces) == 3
    assert min(map(len, nonces)) >= 22
    assert all(f"'nonce-{each.json()['nonce']}'" in each.headers["content-security-policy"] for each in answers)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Proto": "https"},
        {"X-Forwarded-Server": "shop.example"},
        {"CF-Connecting-IP": "127.0.0.1"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://shop.example"},
        {"Sec-Fetch-Site": "same-origin", "Referer": "https://shop.example/jobs"},
        {"Sec-Fetch-Site": "same-origin", "Referer": "https://[::1"},
    ],
    ids=str,
)
async def test_without_authentication_a_proxy_is_told_by_what_it_adds_or_the_browser_says(
    local: FastAPI, headers: dict[str, str]
) -> None:
    """It may put this machine's own name into Host."""
    async with asking(local, headers=headers) as client:
        assert (await client.get("/probe")).status_code == 403
        assert (await client.post("/probe")).status_code == 403


async def test_without_authentication_what_nginx_passes_on_by_default_is_not_answered(local: FastAPI) -> None:
    async def through_nginx(scope: Any, receive: Any, send: Any) -> None:
        await local({**scope, "http_version": "1.0"}, receive, send)

    async with asking(through_nginx) as client:
        answer = await client.get("/probe")
    assert answer.status_code == 403
    assert "proxy" in answer.json()["detail"]
