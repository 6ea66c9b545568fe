"""Passwords and sessions: signing in, being known, signing out; and those who try without."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from http.cookies import Morsel, SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI, Request

from mainspring import Mainspring
from mainspring.errors import ConfigurationError
from mainspring.web import Passwords, create_app, hash_password
from mainspring.web.auth.signing import place_within
from mainspring.web.auth.throttle import SLOTS, Throttle, TooManyFailures, client_key
from mainspring.web.sessions import Session, Sessions

from .asking import Hand, asking

# As cheap as can be: what is tried here is not how dear guessing is.
_cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
ANN, BOB = _cheap.hash("ann's own"), _cheap.hash("bob's own")
USERS = [f"ann:admin:{ANN}", "# the next may look", "", f"bob:viewer:{BOB}"]
SECRET = "a secret of this test"


@pytest.fixture
def jobs() -> Iterator[Mainspring]:
    app = Mainspring("sqlite://")
    yield app
    app.close()


@pytest.fixture
def site(jobs: Mainspring) -> FastAPI:
    return probed(create_app(jobs, auth=Passwords(USERS), secret=SECRET))


def probed(web: FastAPI) -> FastAPI:
    @web.get("/probe")
    def look(request: Request) -> dict[str, str]:
        identity = request.scope["mainspring.identity"]
        return {"name": identity.name, "role": identity.role.name.lower()}

    return web


async def sign_in(client: httpx.AsyncClient, name: str, password: str, **more: str) -> httpx.Response:
    return await client.post("/login", data={"name": name, "password": password, **more})


def cookie_of(answer: httpx.Response) -> Morsel[str]:
    cookies: SimpleCookie = SimpleCookie(answer.headers["set-cookie"])
    (morsel,) = cookies.values()
    return morsel


# --- signing in and out ----------------------------------------------------------------------------------------------


async def test_somebody_signs_in_is_known_and_signs_out(site: FastAPI) -> None:
    async with asking(site) as client:
        assert (await client.get("/probe")).status_code == 401
        assert (await sign_in(client, "ann", "ann's own")).status_code == 303
        assert (await client.get("/probe")).json() == {"name": "ann", "role": "admin"}
        out = await client.post("/logout")
        assert (out.status_code, out.headers["location"]) == (303, "/login")
        assert (await client.get("/probe")).status_code == 401


async def test_a_viewer_may_sign_out(site: FastAPI) -> None:
    async with asking(site) as client:
        await sign_in(client, "bob", "bob's own")
        assert (await client.post("/logout")).status_code == 303
        assert (await client.get("/probe")).status_code == 401


@pytest.mark.parametrize(
    ("name", "password"), [("ann", "bob's own"), ("ann", ""), ("", ""), ("no one", "x"), ("ann", "x" * 1_500)]
)
async def test_a_wrong_name_or_password_is_told_from_neither(site: FastAPI, name: str, password: str) -> None:
    async with asking(site) as client:
        answer = await sign_in(client, name, password)
        assert answer.status_code == 401
        assert "do not belong together" in answer.text
        assert "set-cookie" not in answer.headers


async def test_the_page_shows_a_hostile_name_as_text(site: FastAPI) -> None:
    async with asking(site) as client:
        answer = await sign_in(client, '"><script>alert(1)</script>', "x")
    assert "<script>alert" not in answer.text


async def test_browsers_are_shown_where_to_sign_in_and_go_on_to_where_they_were_going(jobs: Mainspring) -> None:
    outer = FastAPI()
    outer.mount("/jobs", probed(create_app(jobs, auth=Passwords(USERS))))
    async with asking(outer) as client:
        asked = await client.get("/jobs/dead?task=a%20b&x=1", headers={"Accept": "text/html"})
        assert asked.status_code == 303
        assert asked.headers["location"].startswith("/jobs/login?next=")
        page = await client.get(asked.headers["location"])
        assert 'value="/dead?task=a%20b&amp;x=1"' in page.text
        assert 'action="/jobs/login"' in page.text
        data = {"name": "ann", "password": "ann's own", "next": "/dead?task=a%20b&x=1"}
        done = await client.post("/jobs/login", data=data)
        assert done.headers["location"] == "/jobs/dead?task=a%20b&x=1"
        assert cookie_of(done)["path"] == "/jobs"
        assert (await client.get("/jobs/probe")).status_code == 200


@pytest.mark.parametrize(
    "place",
    ["https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example", "javascript:alert(1)",  # noqa: E501
     "/x\r\nSet-Cookie: a=b", " /x", "x", "", "/x\\y", "///evil.example", "/é"],
)  # fmt: skip
async def test_signing_in_leads_to_no_other_site(site: FastAPI, place: str) -> None:
    assert place_within(place) == "/"
    async with asking(site) as client:
        answer = await sign_in(client, "ann", "ann's own", next=place)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


# --- the cookie ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("at", "secure"), [("http://localhost", False), ("https://localhost", True)])
async def test_scripts_and_other_sites_do_not_get_the_cookie(site: FastAPI, at: str, secure: bool) -> None:
    async with asking(site, at=at) as client:
        cookie = cookie_of(await sign_in(client, "ann", "ann's own"))
        assert cookie["httponly"]
        assert cookie["samesite"] == "lax"
        assert bool(cookie["secure"]) is secure
        assert cookie["domain"] == ""
        gone = cookie_of(await client.post("/logout"))
        assert (gone["max-age"], bool(gone["secure"])) == ("0", secure)


@pytest.mark.parametrize(
    ("at", "base", "prefix"),
    [
        ("https://localhost", "", "__Host-m"),
        ("https://localhost", "/jobs", "__Secure-m"),
        ("http://localhost", "", "m"),
    ],
)
async def test_on_https_a_site_beside_this_one_cannot_plant_a_cookie(
    jobs: Mainspring, at: str, base: str, prefix: str
) -> None:
    """Browsers take such names with `Secure` alone, and `__Host-` without a domain and for all paths only."""
    outer = FastAPI()
    outer.mount(base, probed(create_app(jobs, auth=Passwords(USERS))))
    async with asking(outer, at=at) as client:
        answer = await client.post(f"{base}/login", data={"name": "ann", "password": "ann's own"})
        cookie = cookie_of(answer)
        assert cookie.key.startswith(prefix)
        assert (cookie["path"], bool(cookie["secure"])) == (base or "/", at.startswith("https"))
        assert (await client.get(f"{base}/probe")).json()["name"] == "ann"
        planted = {"Cookie": f"{cookie.key.removeprefix('__Host-').removeprefix('__Secure-')}={cookie.value}"}
    async with asking(outer, at=at, headers=planted) as other:
        assert (await other.get(f"{base}/probe")).status_code == (200 if prefix == "m" else 401)


async def test_each_sign_in_has_a_session_of_its_own_and_ends_the_one_that_was_there(site: FastAPI) -> None:
    """Session fixation: whatever cookie somebody has been given beforehand is worth nothing afterwards."""
    async with asking(site) as attacker, asking(site) as client:
        planted = cookie_of(await sign_in(attacker, "bob", "bob's own"))
        client.cookies.set(planted.key, planted.value)
        mine = cookie_of(await sign_in(client, "ann", "ann's own"))
        assert mine.value != planted.value
        assert (await attacker.get("/probe")).status_code == 401
        again = cookie_of(await sign_in(client, "ann", "ann's own"))
        assert again.value != mine.value
        async with asking(site, headers={"Cookie": f"{mine.key}={mine.value}"}) as old:
            assert (await old.get("/probe")).status_code == 401


async def test_a_cookie_that_was_signed_out_is_no_good_to_whoever_has_copied_it(site: FastAPI) -> None:
    async with asking(site) as client:
        cookie = cookie_of(await sign_in(client, "ann", "ann's own"))
        await client.post("/logout")
    async with asking(site, headers={"Cookie": f"{cookie.key}={cookie.value}"}) as thief:
        assert (await thief.get("/probe")).status_code == 401


async def test_cookies_that_were_made_up_are_worth_nothing(jobs: Mainspring, site: FastAPI) -> None:
    other = create_app(jobs, auth=Passwords(USERS), secret="the secret of another")
    async with asking(site) as client, asking(other) as elsewhere:
        cookie = cookie_of(await sign_in(client, "ann", "ann's own"))
        foreign = cookie_of(await sign_in(elsewhere, "ann", "ann's own"))
    head, _, signature = cookie.value.rpartition(".")
    for value in (foreign.value, head, f"{head}.", f".{signature}", f"{head}x.{signature}", "", "x", "x" * 8_000):
        async with asking(site, headers={"Cookie": f"{cookie.key}={value}"}) as forger:
            assert (await forger.get("/probe")).status_code == 401


async def test_another_process_with_the_same_secret_knows_the_session(jobs: Mainspring, site: FastAPI) -> None:
    twin = probed(create_app(jobs, auth=Passwords(USERS), secret=SECRET))
    async with asking(site) as client, asking(twin) as other:
        cookie = cookie_of(await sign_in(client, "ann", "ann's own"))
        other.cookies.set(cookie.key, cookie.value)
        assert (await other.get("/probe")).status_code == 200


@pytest.mark.parametrize(
    ("users", "status"),
    [([f"ann:admin:{BOB}"], 401), ([f"bob:admin:{ANN}"], 401), ([f"ann:viewer:{ANN}"], 200)],
    ids=["another password", "gone", "another role"],
)
async def test_a_session_ends_with_its_password_and_has_the_role_of_now(
    jobs: Mainspring, site: FastAPI, users: list[str], status: int
) -> None:
    later = probed(create_app(jobs, auth=Passwords(users), secret=SECRET))
    async with asking(site) as client, asking(later) as other:
        cookie = cookie_of(await sign_in(client, "ann", "ann's own"))
        other.cookies.set(cookie.key, cookie.value)
        answer = await other.get("/probe")
    assert answer.status_code == status
    assert status == 401 or answer.json()["role"] == "viewer"


def test_a_session_ends_after_half_a_day() -> None:
    hand = Hand()
    sessions = Sessions(SECRET, clock=hand)
    cookie = sessions.write(Session.new("ann", "mark"))
    hand.now += 12 * 3600 - 1
    assert sessions.read(cookie)
    hand.now += 1
    assert sessions.read(cookie) is None


def test_what_was_signed_out_is_remembered_only_as_long_as_it_matters() -> None:
    hand = Hand()
    sessions = Sessions(SECRET, clock=hand)
    for _ in range(50):
        sessions.end(sessions.write(Session.new("ann", "mark")))
    hand.now += 13 * 3600
    cookie = sessions.write(Session.new("ann", "mark"))
    sessions.end(cookie)
    assert sessions.read(cookie) is None
    assert len(sessions._ended) == 1


# --- those who guess -------------------------------------------------------------------------------------------------


async def test_whoever_guesses_waits_longer_each_time(jobs: Mainspring) -> None:
    hand = Hand()
    by_client = Throttle(free=2, longest=60, clock=hand)
    site = probed(create_app(jobs, auth=Passwords(USERS, by_client=by_client)))
    async with asking(site) as client:
        for wait in (0, 0, 1, 2, 4, 8, 16, 32, 60, 60):
            assert (await sign_in(client, f"name {wait} {hand.now}", "wrong")).status_code == 401
            refused = await sign_in(client, "ann", "ann's own")
            if wait:
                assert refused.status_code == 429
                assert refused.headers["retry-after"] == str(wait)
                hand.now += wait
            else:
                assert refused.status_code == 303
        # Somebody else does not wait for him.
        async with asking(site, client="127.0.0.2") as other:
            assert (await sign_in(other, "ann", "ann's own")).status_code == 303


async def test_a_name_that_is_guessed_at_from_everywhere_waits_but_not_for_long(jobs: Mainspring) -> None:
    hand = Hand()
    by_name = Throttle(free=3, longest=15, clock=hand)
    site = probed(create_app(jobs, auth=Passwords(USERS, by_name=by_name)))
    for number in range(20):
        async with asking(site, client=f"192.0.2.{number}") as guesser:
            await sign_in(guesser, "ann", "wrong")
            hand.now += 0.1
    async with asking(site) as client:
        refused = await sign_in(client, "ann", "ann's own")
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) <= 15
        assert (await sign_in(client, "bob", "bob's own")).status_code == 303
        hand.now += 15
        assert (await sign_in(client, "ann", "ann's own")).status_code == 303


async def test_where_somebody_has_signed_in_before_he_is_not_kept_out_by_guesses_from_elsewhere(
    jobs: Mainspring,
) -> None:
    hand = Hand()
    by_client, by_name = Throttle(free=5, longest=300, clock=hand), Throttle(free=3, longest=15, clock=hand)
    site = probed(create_app(jobs, auth=Passwords(USERS, by_client=by_client, by_name=by_name)))
    async with asking(site, client="198.51.100.1") as client:
        assert (await sign_in(client, "ann", "ann's own")).status_code == 303
        for number in range(8):
            async with asking(site, client=f"192.0.2.{number}") as guesser:
                await sign_in(guesser, "ann", "wrong")
        async with asking(site, client="192.0.2.99") as guesser:
            assert (await sign_in(guesser, "ann", "ann's own")).status_code == 429
        assert (await sign_in(client, "ann", "ann's own")).status_code == 303
        # Nor does he get at others from there, or at his own without end.
        assert [(await sign_in(client, "ann", "wrong")).status_code for _ in range(7)][-1] == 429


async def test_names_that_are_not_there_wait_as_those_that_are(jobs: Mainspring) -> None:
    """Else the waiting would tell who is there."""
    hand = Hand()
    site = create_app(jobs, auth=Passwords(USERS, by_name=Throttle(free=1, longest=60, clock=hand)))
    for name in ("ann", "no one"):
        statuses = []
        for number in range(4):
            async with asking(site, client=f"192.0.2.{number}") as guesser:
                statuses.append((await sign_in(guesser, name, "wrong")).status_code)
        assert statuses == [401, 401, 429, 429]


async def test_one_account_does_not_help_to_guess_at_another(jobs: Mainspring) -> None:
    hand = Hand()
    site = create_app(jobs, auth=Passwords(USERS, by_client=Throttle(free=3, longest=60, clock=hand)))
    async with asking(site) as client:
        statuses = []
        for _ in range(5):
            statuses.append((await sign_in(client, "ann", "wrong")).status_code)
            statuses.append((await sign_in(client, "bob", "bob's own")).status_code)
    assert statuses == [401, 303, 401, 303, 401, 303, 401, 429, 429, 429]


async def test_many_guesses_at_once_count_as_many(jobs: Mainspring) -> None:
    site = create_app(jobs, auth=Passwords(USERS, by_client=Throttle(free=3, longest=60, clock=Hand())))
    async with asking(site) as client:
        answers = await asyncio.gather(*(sign_in(client, f"name {n}", "wrong") for n in range(20)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses[:4] == [401] * 4
    assert set(statuses[4:]) == {429}


def test_what_is_remembered_of_guesses_is_bounded_and_no_flood_makes_it_forget() -> None:
    hand = Hand()
    throttle = Throttle(free=2, longest=60, clock=hand)
    for _ in range(8):
        throttle.failed("ann")
    for number in range(3 * SLOTS):
        throttle.failed(f"name {number}")
    assert len(throttle._slots) <= SLOTS
    with pytest.raises(TooManyFailures):
        throttle.check("ann")
    hand.now += 15 * 60
    throttle.check("ann")


@pytest.mark.parametrize(
    ("client", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:aaaa::1", "2001:0db8:0001:0002"),
        ("2001:db8:1:2::9", "2001:0db8:0001:0002"),
        ("", ""),
    ],
)
def test_a_network_of_one_subscriber_is_one_client(client: str, key: str) -> None:
    assert client_key(client) == key


@pytest.mark.alone
async def test_a_name_that_is_not_there_takes_as_long_as_one_that_is(jobs: Mainspring) -> None:
    free: dict[str, Any] = {"by_client": Throttle(free=99, longest=1), "by_name": Throttle(free=99, longest=1)}
    site = create_app(jobs, auth=Passwords([f"ann:admin:{hash_password('as dear as it is')}"], **free))

    async def seconds(name: str) -> float:
        before = time.process_time()
        await sign_in(client, name, "wrong")
        return time.process_time() - before

    async with asking(site) as client:
        both = [(await seconds("ann"), await seconds("no one")) for _ in range(5)]
    known, unknown = map(min, zip(*both, strict=True))
    assert 0.5 < unknown / known < 2


# --- the lines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    ["ann", "ann:admin", "ann:admin:", "ann::x", ":admin:x", f"ann:root:{ANN}", "ann:admin:plain text",
     f"ann:admin:{ANN[:-9]}!", f"a\x00n:admin:{ANN}", f"a  b:admin:{ANN}",
     f"{'a' * 101}:admin:{ANN}", "ann:admin:sha256:" + "0" * 64],
    ids=range(12),
)  # fmt: skip
def test_a_line_that_is_none_is_named_and_its_secret_is_not(line: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Passwords([f"bob:viewer:{BOB}", line])
    assert "plain text" not in str(refused.value)
    assert "$argon2" not in str(refused.value)


@pytest.mark.parametrize(("mode", "said"), [(0o600, False), (0o664, False), (0o666, True)])
def test_a_file_that_anybody_can_write_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, said: bool
) -> None:
    (tmp_path / "users.txt").write_text(f"bob:viewer:{BOB}")
    (tmp_path / "users.txt").chmod(mode)
    Passwords.from_file(tmp_path / "users.txt")
    assert ("can be written by anybody" in caplog.text) is said


def test_nobody_is_there_twice(jobs: Mainspring) -> None:
    with pytest.raises(ConfigurationError, match="twice"):
        Passwords([f"ann:admin:{ANN}", f"ann:viewer:{BOB}"])
    make: list[Callable[[], object]] = [
        lambda: create_app(jobs, auth=[]),
        lambda: create_app(jobs, auth=[Passwords(USERS), Passwords(USERS)]),
    ]
    for each in make:
        with pytest.raises(ConfigurationError):
            each()
