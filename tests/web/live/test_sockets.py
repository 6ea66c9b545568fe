"""Many jobs over one WebSocket: the same events, each job with its own ticket and its own place to go on from."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mainspring import Mainspring
from mainspring.web import ticket
from mainspring.web.live import access, sockets

from .scene import PATIENCE, Teller


class Client:
    """A browser's end of the connection."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.heard: list[dict[str, Any]] = []

    async def say(self, **said: object) -> None:
        await self.connection.send(json.dumps(said))

    async def hear(self, job: str, *events: str, times: int = 1) -> dict[str, Any]:
        """That event of that job, or one of those, once it has come so many times."""
        async with asyncio.timeout(PATIENCE):
            while (
                len(found := [said for said in self.heard if said.get("job") == job and said["event"] in events])
                < times
            ):
                self.heard.append(json.loads(await self.connection.recv()))
        return found[times - 1]

    async def hung_up_on(self) -> int | None:
        async with asyncio.timeout(PATIENCE):
            with suppress(ConnectionClosed):
                async for said in self.connection:
                    self.heard.append(json.loads(said))
        return self.connection.close_code


@asynccontextmanager
async def connected(base: str, **options: Any) -> AsyncIterator[Client]:
    async with connect(f"{base.replace('http', 'ws', 1)}/api/v1/ws", open_timeout=PATIENCE, **options) as connection:
        yield Client(connection)


@pytest.fixture
def stranger(app: Mainspring, serve: Callable[..., str]) -> str:
    """The web where nobody is known."""
    return serve(app, auth=lambda request: None)


async def test_many_jobs_are_followed_each_with_its_ticket(app: Mainspring, teller: Teller, stranger: str) -> None:
    jobs = [app.tasks["work"].enqueue(n).id for n in range(5)]
    async with connected(stranger) as client:
        for job in jobs:
            await client.say(subscribe=job, ticket=ticket(job))
        for job in jobs:
            assert (await client.hear(job, "snapshot"))["data"]["id"] == job
        teller.claim(5)
        teller.say(*jobs, progress=5, lines=("a",), pieces=("x",))
        for job in jobs:
            await client.hear(job, "output")
        teller.end(jobs[2], result="1")
        assert (await client.hear(jobs[2], "done"))["data"]["result"] == 1


async def test_a_ticket_is_needed_for_each_job(app: Mainspring, stranger: str) -> None:
    one, other = app.tasks["work"].enqueue(1).id, app.tasks["work"].enqueue(2).id
    async with connected(stranger) as client:
        await client.say(subscribe=one)
        assert "ticket" in (await client.hear(one, "refused"))["data"]["detail"]
        await client.say(subscribe=one, ticket=ticket(other))
        assert "another job" in (await client.hear(one, "refused", times=2))["data"]["detail"]
        await client.say(subscribe=other, ticket=ticket(other))
        await client.hear(other, "snapshot")
    assert all(said["job"] == other for said in client.heard if said["event"] != "refused")


async def test_who_may_look_at_all_jobs_needs_none(app: Mainspring, base: str) -> None:
    job = app.tasks["work"].enqueue(1).id
    async with connected(base) as client:
        await client.say(subscribe=job)
        await client.hear(job, "snapshot")


async def test_each_job_goes_on_from_where_the_client_was(app: Mainspring, teller: Teller, base: str) -> None:
    one, other = app.tasks["work"].enqueue(1).id, app.tasks["work"].enqueue(2).id
    teller.claim(2)
    teller.say(one, other, lines=("a",), pieces=("x",))
    async with connected(base) as client:
        await client.say(subscribe=one)
        last = (await client.hear(one, "output"))["id"]
    teller.say(one, other, lines=("b",))
    async with connected(base) as client:
        await client.say(subscribe=one, after=last)
        await client.say(subscribe=other)
        assert [line["text"] for line in (await client.hear(one, "log"))["data"]["lines"]] == ["b"]
        assert [line["text"] for line in (await client.hear(other, "log"))["data"]["lines"]] == ["a", "b"]
    assert [said["event"] for said in client.heard if said["job"] == one] == ["subscribed", "log"]


async def test_after_unsubscribing_nothing_more_comes(app: Mainspring, teller: Teller, base: str) -> None:
    one, other = app.tasks["work"].enqueue(1).id, app.tasks["work"].enqueue(2).id
    teller.claim(2)
    async with connected(base) as client:
        for job in (one, other):
            await client.say(subscribe=job)
            await client.hear(job, "snapshot")
        await client.say(unsubscribe=one)
        await client.say(subscribe="nonesuch", ticket="none")
        await client.hear("nonesuch", "refused")  # so what was said before has been understood
        teller.say(one, other, progress=50)
        await client.hear(other, "progress")
        teller.end(other)
        await client.hear(other, "done")
    assert [said["event"] for said in client.heard if said["job"] == one] == ["subscribed", "snapshot"]


async def test_who_subscribes_again_begins_at_the_beginning(app: Mainspring, teller: Teller, base: str) -> None:
    """What comes after "subscribed" answers that, and nothing that was said before it."""
    job = app.tasks["work"].enqueue(1).id
    teller.claim()
    teller.say(job, lines=tuple("x" * 8000 for _ in range(30)))
    async with connected(base) as client:
        for _ in range(5):
            await client.say(subscribe=job)
        await client.hear(job, "subscribed", times=5)  # or one before the last may be told of the end as well
        teller.end(job)
        await client.hear(job, "done")
    events = [said["event"] for said in client.heard]
    last = len(events) - events[::-1].index("subscribed")
    assert events.count("subscribed") == 5
    assert events[last:] == ["snapshot", *["log"] * 4, "done"]


async def test_no_more_jobs_than_so_many_at_a_time(app: Mainspring, base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "SUBSCRIPTIONS", 3)
    jobs = [app.tasks["work"].enqueue(n).id for n in range(5)]
    async with connected(base) as client:
        for job in jobs[:4]:
            await client.say(subscribe=job)
        assert "at most 3" in (await client.hear(jobs[3], "refused"))["data"]["detail"]
        await client.say(unsubscribe=jobs[0])
        await client.say(subscribe=jobs[4])
        await client.hear(jobs[4], "snapshot")


async def test_a_subscription_ends_with_its_ticket(
    app: Mainspring, teller: Teller, stranger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and no other with it."""
    monkeypatch.setattr(sockets, "HEARTBEAT_SECONDS", 10 * PATIENCE)  # nothing else makes it look at the time
    for seconds in (0.5, 2.0, 8.0):  # for longer, where a busy machine was not there in time
        one, other, third = (app.tasks["work"].enqueue(n).id for n in range(3))
        teller.claim(3)
        async with connected(stranger) as client:
            await client.say(subscribe=other, ticket=ticket(other, 2 * seconds))
            await client.say(subscribe=one, ticket=ticket(one, seconds))
            await client.say(subscribe=third, ticket=ticket(third))
            await client.hear(third, "snapshot")
            for job in (one, other):
                await client.hear(job, "expired", "refused")
            teller.say(one, other, third, progress=50)
            await client.hear(third, "progress")
        events = [(said["job"], said["event"]) for said in client.heard]
        ends = [(one, "expired"), (other, "expired"), (third, "progress")]
        if {(one, "snapshot"), (other, "snapshot")} <= set(events) and events[-3:] == ends:
            break
    assert events[-3:] == ends


async def test_who_follows_without_a_ticket_is_asked_again_who_he_is(
    app: Mainspring, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = app.tasks["work"].enqueue(1).id
    for ms in (300, 2_000, 8_000):  # for longer, where a busy machine has told nothing in that time
        monkeypatch.setattr(access, "ROLE_MS", ms)
        async with connected(base) as client:
            await client.say(subscribe=job)
            assert await client.hung_up_on() == sockets.ANEW
        if (events := [said["event"] for said in client.heard]) != ["subscribed"]:
            break
    assert events == ["subscribed", "snapshot"]


async def test_a_silent_connection_is_pinged_and_one_that_follows_nothing_ended(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(sockets, "IDLE_SECONDS", 0.2)
    async with connected(base) as client:
        assert await client.hung_up_on() == sockets.NONSENSE
    assert client.heard == [{"event": "ping"}] * 4


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("{", 1007),
        ("[]", 1008),
        ('{"subscribe": 1}', 1008),
        ('{"do": "anything"}', 1008),
        ('"' + "x" * 5000 + '"', 1009),
        ("[" * 4000, 1007),
    ],
    ids=["no json", "a list", "a number", "another verb", "too long", "too deep"],
)
async def test_nonsense_is_hung_up_on(base: str, said: str, code: int) -> None:
    async with connected(base) as client:
        await client.connection.send(said)
        assert await client.hung_up_on() == code


async def test_bytes_are_hung_up_on(base: str) -> None:
    async with connected(base) as client:
        await client.connection.send(b"\x00\x01")
        assert await client.hung_up_on() == sockets.NO_TEXT


async def test_pages_of_other_sites_do_not_get_in(app: Mainspring, serve: Callable[..., str]) -> None:
    """A browser sends its cookies along with them; one of a listed site still needs a ticket."""
    base = serve(app, origins=["https://shop.example"])
    job = app.tasks["work"].enqueue(1).id
    with pytest.raises(InvalidStatus) as refused:
        async with connected(base, origin="https://evil.example"):
            pass
    assert refused.value.response.status_code == httpx.codes.FORBIDDEN
    async with connected(base, origin="https://shop.example") as client:
        await client.say(subscribe=job)
        await client.hear(job, "refused")
        await client.say(subscribe=job, ticket=ticket(job))
        await client.hear(job, "snapshot")
