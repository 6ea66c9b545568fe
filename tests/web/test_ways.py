"""The ways of knowing who asks: tokens, a proxy's word, the application's own check; alone and together."""

from __future__ import annotations

import asyncio
import hmac
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from mainspring import Mainspring
from mainspring.errors import ConfigurationError, InvalidOption
from mainspring.web import Identity, Passwords, ProxyUser, Role, Tokens, create_app, make_token
from mainspring.web.auth import tokens as tokens_module
from mainspring.web.auth.throttle import Throttle

from .asking import Hand, asking

TOKEN, STORED = make_token()
OTHER, OTHER_STORED = make_token()
LINES = [f"deploys:operator:{STORED}", f"graphs:viewer:{OTHER_STORED}"]
PROXY = "10.1.0.1"


@pytest.fixture
def jobs() -> Iterator[Mainspring]:
    app = Mainspring("sqlite://")
    yield app
    app.close()


def site(jobs: Mainspring, auth: Any, **options: Any) -> FastAPI:
    web = create_app(jobs, auth=auth, **options)

    @web.get("/probe")
    def look(request: Request) -> dict[str, str]:
        identity = request.scope["mainspring.identity"]
        return {
            "name": identity.name,
            "role": identity.role.name.lower(),
            "client": request.scope["mainspring.client"],
            "scheme": request.url.scheme,
        }

    @web.post("/probe")
    def change() -> None: ...

    return web


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# --- tokens ----------------------------------------------------------------------------------------------------------


async def test_a_program_is_known_by_its_token(jobs: Mainspring) -> None:
    async with asking(site(jobs, Tokens(LINES)), client="192.0.2.1") as client:
        answer = (await client.get("/probe", headers=bearer(TOKEN))).json()
        assert (answer["name"], answer["role"]) == ("deploys", "operator")
        assert (await client.post("/probe", headers=bearer(TOKEN))).status_code == 200
        assert (await client.get("/probe", headers=bearer(OTHER))).json()["role"] == "viewer"
        assert (await client.post("/probe", headers=bearer(OTHER))).status_code == 403


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Basic YTpi", f"Bearer {STORED}", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x",
     f"Bearer {TOKEN} {TOKEN}", "Bearer deploys", "Token " + TOKEN, "Bearer " + "x" * 20_000],
    ids=range(11),
)  # fmt: skip
async def test_what_is_no_token_of_ours_is_refused(jobs: Mainspring, authorization: str) -> None:
    async with asking(site(jobs, Tokens(LINES)), headers={"Authorization": authorization}) as client:
        answer = await client.get("/probe", headers={"Accept": "text/html"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert TOKEN not in answer.text


async def test_tokens_in_the_address_or_a_cookie_are_not_taken(jobs: Mainspring) -> None:
    """There they would be logged, or be sent by a browser on its own."""
    async with asking(site(jobs, Tokens(LINES)), headers={"Cookie": f"token={TOKEN}"}) as client:
        assert (await client.get("/probe", params={"token": TOKEN, "access_token": TOKEN})).status_code == 401


async def test_all_tokens_are_compared_in_constant_time(jobs: Mainspring, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def watched(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(tokens_module, "compare_digest", watched)
    async with asking(site(jobs, Tokens(LINES))) as client:
        for token in (TOKEN, OTHER, "ms_wrong"):
            await client.get("/probe", headers=bearer(token))
    assert [len(one) == len(other) for one, other in compared] == [True] * 6


async def test_whoever_tries_tokens_waits(jobs: Mainspring) -> None:
    ways = Tokens(LINES, throttle=Throttle(free=3, longest=60, clock=Hand()))
    async with asking(site(jobs, ways), client="192.0.2.1") as client:
        statuses = [(await client.get("/probe", headers=bearer("ms_wrong"))).status_code for _ in range(6)]
        assert statuses == [401, 401, 401, 401, 429, 429]
        assert (await client.get("/probe", headers=bearer(TOKEN))).status_code == 429
    async with asking(site(jobs, ways), client="192.0.2.2") as other:
        assert (await other.get("/probe", headers=bearer(TOKEN))).status_code == 200


@pytest.mark.parametrize(
    "line", [f"a:viewer:{TOKEN}", "a:viewer:sha256:abc", f"a:viewer:{STORED.upper()}"], ids=["plain", "short", "upper"]
)
def test_a_token_is_never_kept_as_it_is(line: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Tokens([line])
    assert TOKEN not in str(refused.value)


# --- a proxy's word --------------------------------------------------------------------------------------------------


def by_proxy(**options: Any) -> ProxyUser:
    return ProxyUser(["10.1.0.0/16", "::1"], header="X-User", **options)


async def test_a_proxy_of_ours_says_who_asks(jobs: Mainspring) -> None:
    async with asking(site(jobs, by_proxy(role="viewer")), client=PROXY) as client:
        answer = (await client.get("/probe", headers={"X-User": "ann"})).json()
        assert (answer["name"], answer["role"]) == ("ann", "viewer")
        for headers in ({}, {"X-User": ""}, {"X-User": "  "}, {"X-User": "a" * 101}, {"X-Users": "ann"}):
            assert (await client.get("/probe", headers=headers)).status_code == 403


@pytest.mark.parametrize(
    "client", ["192.0.2.1", "10.2.0.1", "127.0.0.1", "::ffff:10.2.0.1", "", "10.1.0.1.evil.example"]
)
async def test_nobody_else_says_who_asks(jobs: Mainspring, client: str) -> None:
    headers = {"X-User": "ann", "X-Forwarded-For": PROXY, "X-Forwarded-User": "ann", "X-Real-IP": PROXY}
    web = site(jobs, by_proxy(role="admin"), proxies=["10.1.0.0/16"])
    async with asking(web, client=client, headers=headers) as other:
        answer = await other.get("/probe")
    assert answer.status_code == 403
    assert "proxy" in answer.json()["detail"]


async def test_an_address_of_the_newer_kind_that_is_one_of_the_older_counts_as_that(jobs: Mainspring) -> None:
    web = site(jobs, by_proxy(role="viewer"))
    async with asking(web, client=f"::ffff:{PROXY}", headers={"X-User": "ann"}) as client:
        assert (await client.get("/probe")).status_code == 200


async def test_a_header_that_came_twice_counts_for_nothing(jobs: Mainspring) -> None:
    """The proxy may have added its own to what somebody has sent."""
    web = site(jobs, by_proxy(role_header="X-Groups", role="viewer"))
    async with asking(web, client=PROXY) as client:
        for headers in (
            [("X-User", "ann"), ("X-User", "bob")],
            [("X-User", "ann"), ("X-Groups", "admin"), ("X-Groups", "viewer")],
        ):
            assert (await client.get("/probe", headers=headers)).status_code == 403


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        ("oncall", "operator"),
        ("staff, platform,oncall", "admin"),
        ("staff", "viewer"),
        ("", "viewer"),
        ("ADMIN, admin", "viewer"),
    ],
)
async def test_the_highest_of_the_roles_that_are_told_counts(jobs: Mainspring, groups: str, role: str) -> None:
    ways = by_proxy(role_header="X-Groups", roles={"oncall": "operator", "platform": Role.ADMIN}, role="viewer")
    async with asking(site(jobs, ways), client=PROXY, headers={"X-User": "ann", "X-Groups": groups}) as client:
        assert (await client.get("/probe")).json()["role"] == role


async def test_who_has_no_role_is_refused(jobs: Mainspring) -> None:
    async with asking(site(jobs, by_proxy(role_header="X-Role")), client=PROXY, headers={"X-User": "ann"}) as client:
        assert (await client.get("/probe", headers={"X-Role": "owner"})).status_code == 403
        assert (await client.get("/probe", headers={"X-Role": "operator"})).json()["role"] == "operator"


@pytest.mark.parametrize(
    ("given", "client", "seen"),
    [
        ("203.0.113.9", PROXY, "203.0.113.9"),
        ("1.1.1.1, 203.0.113.9", PROXY, "203.0.113.9"),
        ("203.0.113.9, 10.1.0.7", PROXY, "203.0.113.9"),
        ("10.1.0.8, 10.1.0.7", PROXY, "10.1.0.8"),
        ("203.0.113.9, nonsense", PROXY, PROXY),
        ("", PROXY, PROXY),
        ("127.0.0.1", "192.0.2.1", "192.0.2.1"),
    ],
)
async def test_the_address_of_a_client_is_believed_of_proxies_alone(
    jobs: Mainspring, given: str, client: str, seen: str
) -> None:
    web = site(jobs, lambda _: "viewer", proxies=["10.1.0.0/16"])
    headers = {"X-Forwarded-For": given, "X-Forwarded-Proto": "https"}
    async with asking(web, client=client, headers=headers) as asked:
        answer = (await asked.get("/probe")).json()
    assert answer["client"] == seen
    assert answer["scheme"] == ("https" if client == PROXY else "http")


async def test_a_proxy_that_was_forgotten_is_said_once(jobs: Mainspring, caplog: pytest.LogCaptureFixture) -> None:
    """All that come by it would wait for whoever of them guesses."""
    web = site(jobs, lambda _: "viewer")
    for client, headers in (("10.1.0.1", {"X-Forwarded-For": "203.0.113.9"}), ("192.0.3.1", {"X-Forwarded-For": "x"})):
        async with asking(web, client=client, headers=headers) as asked:
            for _ in range(3):
                assert (await asked.get("/probe")).status_code == 200
    assert [record.getMessage()[:8] for record in caplog.records if "--proxy" in record.getMessage()] == ["10.1.0.1"]


async def test_guessing_by_way_of_a_proxy_makes_the_guesser_wait_and_nobody_else(jobs: Mainspring) -> None:
    throttle = Throttle(free=1, longest=60, clock=Hand())
    web = site(jobs, Tokens(LINES, throttle=throttle), proxies=[PROXY])
    async with asking(web, client=PROXY) as client:
        for _ in range(4):
            await client.get("/probe", headers=bearer("x") | {"X-Forwarded-For": "203.0.113.9"})
        mine = bearer(TOKEN) | {"X-Forwarded-For": "203.0.113.10"}
        his = bearer(TOKEN) | {"X-Forwarded-For": "203.0.113.10, 203.0.113.9"}
        assert (await client.get("/probe", headers=mine)).status_code == 200
        assert (await client.get("/probe", headers=his)).status_code == 429


def test_networks_and_roles_that_are_none_are_refused(jobs: Mainspring) -> None:
    for make in (
        lambda: ProxyUser(["everywhere"], role="viewer"),
        lambda: ProxyUser([PROXY]),
        lambda: ProxyUser([PROXY], role="root"),
        lambda: create_app(jobs, proxies=["10.1.0.1/8"]),
        lambda: create_app(jobs, hosts=["shop.example:80"]),
        lambda: create_app(jobs, origins=["shop.example"]),
        lambda: create_app(jobs, origins=["https://shop.example/"]),
    ):
        with pytest.raises(InvalidOption):
            make()


# --- the application, and several ways -------------------------------------------------------------------------------


async def test_what_the_application_gives_must_be_a_role(jobs: Mainspring, caplog: pytest.LogCaptureFixture) -> None:
    for given in ("root", "", "ADMIN", True, 3, object()):
        async with asking(site(jobs, lambda _, given=given: given)) as client:
            answer = await client.get("/probe")
        assert answer.status_code == 500
        assert "viewer, operator" in caplog.text
        caplog.clear()


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        (Role.OPERATOR, ("operator", "operator")),
        (Identity("ann\nadmin@host did it\x1b", Role.VIEWER), ("ann admin@host did it\ufffd", "viewer")),
        (Identity("a" * 5_000, Role.VIEWER), ("a" * 100, "viewer")),
    ],
    ids=["role", "lines", "long"],
)
async def test_what_the_application_gives_is_fit_for_the_log(jobs: Mainspring, given: Any, seen: Any) -> None:
    async with asking(site(jobs, lambda _: given)) as client:
        answer = (await client.get("/probe")).json()
    assert (answer["name"], answer["role"]) == seen


@pytest.mark.parametrize(("name", "role"), [("", Role.ADMIN), (" \n", Role.ADMIN), (7, Role.ADMIN), ("ann", "admin")])
def test_an_identity_has_a_name_and_a_role(name: Any, role: Any) -> None:
    with pytest.raises(InvalidOption):
        Identity(name, role)


@pytest.mark.parametrize("given", [Role.GUEST, Identity("ann", Role.GUEST)])
async def test_whoever_is_but_a_guest_is_a_stranger(jobs: Mainspring, given: Any) -> None:
    """Also at a route that forgets to ask about roles."""
    async with asking(site(jobs, lambda _: given)) as client:
        assert (await client.get("/probe")).status_code == 403


async def test_the_application_may_answer_for_itself(jobs: Mainspring) -> None:
    async def check(connection: HTTPConnection) -> str:
        raise HTTPException(307, headers={"Location": "/shop/login"})

    async with asking(site(jobs, check)) as client:
        answer = await client.get("/probe")
    assert (answer.status_code, answer.headers["location"]) == (307, "/shop/login")


async def test_a_check_that_fails_lets_nobody_in_and_tells_nothing(
    jobs: Mainspring, caplog: pytest.LogCaptureFixture
) -> None:
    def check(connection: HTTPConnection) -> str:
        raise RuntimeError("the password of the database is hunter2")

    async with asking(site(jobs, check)) as client:
        answer = await client.get("/probe")
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert answer.json()["id"] in caplog.text
    assert "hunter2" in caplog.text


async def test_a_check_that_takes_its_time_does_not_hold_up_others(jobs: Mainspring) -> None:
    entered, released = threading.Event(), threading.Event()

    def check(connection: HTTPConnection) -> str:
        if "x-slow" in connection.headers:
            entered.set()
            released.wait(20)
        return "viewer"

    async with asking(site(jobs, check)) as client:
        slow = asyncio.create_task(client.get("/probe", headers={"x-slow": "1"}))
        await asyncio.to_thread(entered.wait, 20)
        assert (await client.get("/probe")).status_code == 200
        released.set()
        assert (await slow).status_code == 200


async def test_several_ways_are_asked_in_turn_and_people_are_told_to_sign_in(jobs: Mainspring) -> None:
    users = Passwords([f"ann:admin:{PasswordHasher(1, 8, 1).hash('x')}"])
    web = site(jobs, [users, Tokens(LINES), lambda c: "viewer" if c.headers.get("x-staff") else None])
    async with asking(web) as client:
        assert (await client.get("/probe", headers=bearer(TOKEN))).json()["name"] == "deploys"
        assert (await client.get("/probe", headers={"x-staff": "1"})).json()["name"] == "viewer"
        assert (await client.get("/probe", headers=bearer("wrong") | {"x-staff": "1"})).status_code == 401
        assert (await client.get("/probe")).status_code == 401
        page = await client.get("/probe", headers={"Accept": "text/html"})
        assert page.headers["location"] == "/login?next=%2Fprobe"
        assert (await client.get("/login")).status_code == 200
