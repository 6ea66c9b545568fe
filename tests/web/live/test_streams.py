"""A job as Server-Sent Events: all that happens is told, in order, once, to whoever has a ticket for it."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from mainspring import Mainspring, StoreUnavailable
from mainspring.model.states import State
from mainspring.web import job_url, ticket
from mainspring.web.live import access, hub, streams
from mainspring.web.live.events import Event

from .scene import PATIENCE, Teller, listening, until


class TestEvents:
    """What a stream tells."""

    async def test_a_stream_begins_with_how_the_job_stands_and_ends_with_its_result(
        self, app: Mainspring, teller: Teller, base: str
    ) -> None:
        job = app.tasks["work"].enqueue(1)
        async with listening(job_url(job, base)) as listener:
            snapshot = await listener.heard("snapshot")
            assert (snapshot["id"], snapshot["task"], snapshot["state"]) == (job.id, "work", "queued")
            assert snapshot["progress"] is None
            teller.claim()
            assert (await listener.heard("state"))["state"] == "running"
            teller.say(job.id, progress=40, text="rendering", lines=("one",), pieces=("Hel",))
            assert await listener.heard("progress") == {"progress": 40.0, "text": "rendering"}
            (line,) = (await listener.heard("log"))["lines"]
            assert (line["text"], line["at"]) == ("one", "2023-11-14T22:13:20.000Z")
            assert await listener.heard("output") == {"text": "Hel", "anew": True}
            teller.say(job.id, pieces=("lo",))
            assert await listener.heard("output", 2) == {"text": "lo", "anew": False}
            teller.end(job.id, result='{"pages": 3}')
            done = await listener.heard("done")
            assert (done["state"], done["result"]) == ("completed", {"pages": 3})
            await listener.over()
        assert [event.name for event in listener.events][-1] == "done"
        assert listener.named("state")[1:] == []

    async def test_what_was_said_before_is_told_to_whoever_comes_later(
        self, app: Mainspring, teller: Teller, base: str
    ) -> None:
        job = app.tasks["work"].enqueue(1)
        teller.claim()
        teller.say(job.id, progress=10, lines=("a", "b"), pieces=("x", "y"))
        async with listening(job_url(job, base)) as listener:
            assert (await listener.heard("snapshot"))["progress"] == 10.0
            await listener.heard("output")
            assert (listener.lines, listener.output) == (["a", "b"], "xy")
            teller.end(job.id)
            await listener.over()
        async with listening(job_url(job, base)) as late:
            await late.over()
        assert [event.name for event in late.events] == ["snapshot", "log", "output", "done"]
        assert (late.lines, late.output) == (["a", "b"], "xy")

    async def test_a_new_run_begins_its_output_anew_and_goes_on_with_the_log(
        self, app: Mainspring, teller: Teller, base: str
    ) -> None:
        job = app.tasks["work"].enqueue(1)
        teller.claim()
        teller.say(job.id, lines=("first",), pieces=("Good mor",))
        async with listening(job_url(job, base)) as listener:
            await listener.heard("output")
            teller.end(job.id, State.QUEUED)
            teller.claim()
            teller.say(job.id, lines=("second",), pieces=("Good ",))
            await listener.heard("output", 2)
            teller.say(job.id, pieces=("evening",))
            await listener.heard("output", 3)
        assert listener.output == "Good evening"
        assert listener.lines == ["first", "second"]

    async def test_whoever_has_missed_what_is_kept_no_more_begins_with_what_is(
        self, app: Mainspring, teller: Teller, base: str
    ) -> None:
        """A page never shows a text with a hole in it."""
        job = app.tasks["work"].enqueue(1)
        teller.claim()
        teller.say(job.id, pieces=("a", "b"))
        async with listening(job_url(job, base)) as listener:
            assert (await listener.heard("output"))["text"] == "ab"
        teller.say(job.id, pieces=("c", "d"))
        teller.say(job.id, pieces=("e",), kept_from=3)
        async with listening(job_url(job, base), after=listener.last_id) as listener:
            assert await listener.heard("output") == {"text": "de", "anew": True}
            teller.say(job.id, pieces=("f",), kept_from=3)
            assert await listener.heard("output", 2) == {"text": "f", "anew": False}
        assert app.jobs.get(job.id).output == "def"

    async def test_a_deleted_job_ends_its_streams(self, app: Mainspring, base: str) -> None:
        job = app.tasks["work"].enqueue(1)
        async with listening(job_url(job, base)) as listener:
            await listener.heard("snapshot")
            app.jobs.delete(job.id)
            await listener.over()
        assert [event.name for event in listener.events] == ["snapshot", "gone"]

    async def test_a_job_that_is_damaged_ends_its_own_streams_alone(
        self, app: Mainspring, teller: Teller, base: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        damaged, sound = app.tasks["work"].enqueue(1), app.tasks["work"].enqueue(2)
        teller.claim(2)
        async with listening(job_url(damaged, base)) as one, listening(job_url(sound, base)) as other:
            await one.heard("snapshot")
            await other.heard("snapshot")
            teller.end(damaged.id, result="{")
            teller.end(sound.id, result="2")
            await one.over()
            await other.over()
        assert (one.events[-1].name, one.events[-1].data["detail"]) == (
            "gone",
            "What is stored of this job cannot be read.",
        )
        assert (other.events[-1].name, other.events[-1].data["result"]) == ("done", 2)
        assert f"job {damaged.id} cannot be told of" in caplog.text

    async def test_a_job_that_is_not_there_yet_is_waited_for(
        self, app: Mainspring, base: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It may be on its way through an outbox."""
        monkeypatch.setattr(hub, "POLL_SECONDS", 0.1)
        monkeypatch.setattr(hub, "PATIENCE_SECONDS", PATIENCE)
        async with listening(job_url("soon", base)) as listener:
            await asyncio.sleep(0.2)
            assert listener.events == []
            app.tasks["work"].using(id="soon").enqueue(1)
            await listener.heard("snapshot")

    async def test_one_that_never_comes_is_gone(self, base: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hub, "POLL_SECONDS", 0.1)
        monkeypatch.setattr(hub, "PATIENCE_SECONDS", 0.2)
        async with listening(job_url("never", base)) as listener:
            await listener.over()
        assert [event.name for event in listener.events] == ["gone"]

    async def test_much_is_told_in_parts(self, app: Mainspring, teller: Teller, base: str) -> None:
        job = app.tasks["work"].enqueue(1)
        teller.claim()
        teller.say(job.id, lines=tuple(f"{n} " + "x" * 8000 for n in range(40)), pieces=("y" * 8000,) * 20)
        async with listening(job_url(job, base)) as listener:
            await until(lambda: len(listener.output) == 160_000)
        assert len(listener.lines) == 40
        assert len(listener.named("log")) == 5
        assert len(listener.named("output")) == 3

    async def test_hostile_text_comes_through_as_it_is(self, app: Mainspring, teller: Teller, base: str) -> None:
        hostile = "a\r\nevent: done\ndata: {}\n\n</script>\u2028\u202e☃"
        job = app.tasks["work"].enqueue(1)
        teller.claim()
        teller.say(job.id, text=hostile, lines=(hostile,), pieces=(hostile,))
        async with listening(job_url(job, base)) as listener:
            await listener.heard("output")
            assert listener.named("snapshot")[0]["text"] == hostile
            assert (listener.lines, listener.output) == ([hostile], hostile)
            assert listener.named("done") == []


class TestComingBack:
    """Whoever comes back with the id of the last event is told the rest, once."""

    async def test_from_each_event_on_the_rest_is_told(self, app: Mainspring, teller: Teller, base: str) -> None:
        """Whichever event was the last to arrive, all that came after it comes, and nothing else."""
        job = app.tasks["work"].enqueue(1)
        url = job_url(job, base)
        async with listening(url) as whole:
            await whole.heard("snapshot")
            teller.claim()
            await whole.heard("state")
            for n in range(3):
                teller.say(job.id, progress=n, lines=(f"line {n}",), pieces=(f"piece {n} ",))
                await whole.heard("output", n + 1)
            teller.end(job.id, result="7")
            await whole.over()
        for place, event in enumerate(whole.events[:-1]):
            async with listening(url, after=event.id) as again:
                await again.over()
            lines = [line for each in whole.events[: place + 1] if each.name == "log" for line in each.data["lines"]]
            assert [line["text"] for line in lines] + again.lines == ["line 0", "line 1", "line 2"]
            before = "".join(each.data["text"] for each in whole.events[: place + 1] if each.name == "output")
            assert before + "".join(data["text"] for data in again.named("output")) == "piece 0 piece 1 piece 2 "
            assert again.named("snapshot") == []
            assert again.named("done") == whole.named("done")

    async def test_nothing_comes_to_whoever_knows_it_all(self, app: Mainspring, teller: Teller, base: str) -> None:
        job = app.tasks["work"].enqueue(1)
        teller.claim()
        teller.say(job.id, progress=1, lines=("a",), pieces=("x",))
        url = job_url(job, base)
        async with listening(url) as listener:
            await listener.heard("output")
        async with listening(url, after=listener.last_id) as again:
            teller.say(job.id, lines=("b",))
            await again.heard("log")
        assert [event.name for event in again.events] == ["log"]
        assert again.lines == ["b"]

    async def test_who_has_seen_the_end_is_told_to_stay_away(self, app: Mainspring, teller: Teller, base: str) -> None:
        job = app.tasks["work"].enqueue(1)
        teller.claim()
        teller.end(job.id)
        async with listening(job_url(job, base)) as listener:
            await listener.over()
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            response = await client.get(job_url(job, base), headers={"Last-Event-ID": listener.last_id})
        assert (response.status_code, response.content) == (204, b"")

    @pytest.mark.parametrize("id", ["", "nonsense", "1.2.3", "x.y.z.u", "-5.0.a.b", f"{'f' * 90}.0.a.b", "0.0.é.☃"])
    async def test_an_id_that_is_none_of_ours_begins_at_the_beginning(
        self, app: Mainspring, teller: Teller, base: str, id: str
    ) -> None:
        job = app.tasks["work"].enqueue(1)
        async with listening(f"{job_url(job, base)}&after={id}") as listener:
            assert (await listener.heard("snapshot"))["id"] == job.id

    async def test_it_makes_no_difference_which_server_one_comes_back_to(
        self, app: Mainspring, teller: Teller, serve: Callable[..., str]
    ) -> None:
        secret = "one that both know"
        job = app.tasks["work"].enqueue(1)
        teller.claim()
        teller.say(job.id, progress=1, lines=("a",), pieces=("x",))
        async with listening(job_url(job, serve(app, secret=secret), secret=secret)) as one:
            await one.heard("output")
        teller.say(job.id, lines=("b",), pieces=("y",))
        async with listening(job_url(job, serve(app, secret=secret), secret=secret), after=one.last_id) as other:
            await other.heard("output")
        assert one.lines + other.lines == ["a", "b"]
        assert [event.name for event in other.events] == ["log", "output"]


@pytest.mark.parametrize("id", ["reports/2026/11", "a b?c#d%2Fe&ü", "../events", "x/events"])
async def test_an_id_of_ones_own_may_have_any_letters(
    app: Mainspring, teller: Teller, serve: Callable[..., str], id: str
) -> None:
    stranger = serve(app, auth=lambda request: None)
    job = app.tasks["work"].using(id=id).enqueue(1)
    async with (
        listening(job_url(job, stranger, cancel=True)) as listener,
        httpx.AsyncClient(timeout=PATIENCE) as client,
    ):
        assert (await listener.heard("snapshot"))["id"] == id
        told = await client.get(job_url(job, stranger), headers={"Accept": "application/json"})
        assert told.json()["id"] == id
        await client.post(job_url(job, stranger, cancel=True), content='{"event": "cancel"}')
        await listener.heard("done")


@pytest.mark.parametrize("id", ["\x00", "x" * 256, "..\x1b[0m"])
async def test_what_cannot_be_an_id_is_no_job(app: Mainspring, base: str, id: str) -> None:
    """No store is asked for it, and other streams go on."""
    job = app.tasks["work"].enqueue(1)
    async with listening(job_url(job, base)) as listener, httpx.AsyncClient(timeout=PATIENCE) as client:
        name = quote(id, safe="")
        response = await client.get(f"{base}/api/v1/jobs/{name}/events")
        assert response.status_code == 404
        app.jobs.cancel(job.id)
        await listener.heard("done")


class TestTheWay:
    """How it gets to the client."""

    async def test_nothing_on_the_way_is_to_keep_or_hold_it_back(self, app: Mainspring, base: str) -> None:
        async with listening(job_url(app.tasks["work"].enqueue(1), base)) as listener:
            await listener.heard("snapshot")
        headers = listener.response.headers
        assert headers["content-type"].startswith("text/event-stream")
        assert headers["cache-control"] == "no-store, no-transform"
        assert headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in headers
        assert listener.retry_ms == streams.RETRY_MS

    async def test_a_silent_job_is_heard_of_all_the_same(
        self, app: Mainspring, base: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.05)
        async with listening(job_url(app.tasks["work"].enqueue(1), base)) as listener:
            await listener.heard("snapshot")  # a busy machine beats before it, too
            heard = listener.heartbeats
            await until(lambda: listener.heartbeats >= heard + 3)
        assert [event.name for event in listener.events] == ["snapshot"]

    async def test_who_follows_without_a_ticket_is_asked_again_who_he_is(
        self, app: Mainspring, base: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """He may have signed out since. The stream ends without a word, and a browser comes back to go on."""
        job = app.tasks["work"].enqueue(1)
        for ms in (300, 2_000, 8_000):  # for longer, where a busy machine has told nothing in that time
            monkeypatch.setattr(access, "ROLE_MS", ms)
            async with listening(f"{base}/api/v1/jobs/{job.id}/events") as listener:
                await listener.over()
            if listener.events:
                break
        assert [event.name for event in listener.events] == ["snapshot"]

    async def test_asked_for_as_json_it_is_the_job_as_it_stands(
        self, app: Mainspring, teller: Teller, base: str
    ) -> None:
        job = app.tasks["work"].enqueue(1)
        teller.claim()
        teller.say(job.id, progress=1, lines=("a",), pieces=("x", "y"))
        async with httpx.AsyncClient(timeout=PATIENCE, headers={"Accept": "application/json"}) as client:
            told = (await client.get(job_url(job, base))).json()
            assert (told["state"], told["progress"], told["output"]) == ("running", 1.0, "xy")
            assert [line["text"] for line in told["log"]] == ["a"]
            missing = await client.get(job_url("nobody", base))
        assert missing.status_code == 404
        assert missing.headers["content-type"] == "application/problem+json"

    async def test_a_result_that_has_no_utf_8_is_told_all_the_same(
        self, app: Mainspring, teller: Teller, base: str
    ) -> None:
        job = app.tasks["work"].enqueue(1)
        teller.claim()
        teller.end(job.id, result=r'"half \ud800"')
        async with listening(job_url(job, base)) as listener:
            assert (await listener.heard("done"))["result"] == "half \ud800"
        async with httpx.AsyncClient(timeout=PATIENCE, headers={"Accept": "application/json"}) as client:
            assert (await client.get(job_url(job, base))).json()["result"] == "half \ud800"

    async def test_streams_outlive_a_store_that_does_not_answer_for_a_while(
        self, app: Mainspring, teller: Teller, base: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They wait, and are told what has happened meanwhile as soon as it answers."""
        monkeypatch.setattr(hub, "OUTAGE_SECONDS", 0.05)
        monkeypatch.setattr(hub, "POLL_SECONDS", 10 * PATIENCE)  # so that it is not by chance that they look again
        job = app.tasks["work"].enqueue(1)
        driver = type(app.store.async_driver())
        run, failures = driver.run, 0

        async def failing(self: object, request: object) -> object:
            nonlocal failures
            failures += 1
            raise StoreUnavailable("it is away")

        async with listening(job_url(job, base)) as listener:
            await listener.heard("snapshot")
            with monkeypatch.context() as away:
                away.setattr(driver, "run", failing)
                app.jobs.cancel(job.id)
                await until(lambda: failures > 3)
            assert driver.run is run
            assert (await listener.heard("done"))["state"] == "cancelled"
        assert [event.name for event in listener.events] == ["snapshot", "done"]

    async def test_many_streams_of_one_job_are_one_to_the_store(
        self, app: Mainspring, teller: Teller, base: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is told to them all is made once."""
        job = app.tasks["work"].enqueue(1)
        teller.claim()
        made: list[object] = []
        events_of = hub.events_of

        def counted(*what: object) -> object:
            made.append(what)
            return events_of(*what)  # type: ignore[arg-type]

        monkeypatch.setattr(hub, "events_of", counted)
        async with AsyncExitStack() as stack:
            listeners = [await stack.enter_async_context(listening(job_url(job, base))) for _ in range(20)]
            for listener in listeners:
                await listener.heard("snapshot")
            await until(lambda: len(listeners[0].events) == 1)
            made.clear()
            teller.say(job.id, progress=50)
            for listener in listeners:
                await listener.heard("progress")
        assert len(made) <= 3  # one for them all; another look or two may find nothing new

    async def test_what_has_been_told_is_kept_no_longer(
        self, app: Mainspring, teller: Teller, base: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A mebibyte of output for each of thousands of streams that wait for more would be gigabytes."""
        made: list[weakref.ref[Event]] = []
        events_of = hub.events_of

        def noted(*what: Any) -> tuple[Event, ...]:
            events = events_of(*what)
            made.extend(weakref.ref(event) for event in events)
            return events

        monkeypatch.setattr(hub, "events_of", noted)
        monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 10 * PATIENCE)  # with which it would let go of them
        job = app.tasks["work"].enqueue(1)
        teller.claim()
        teller.say(job.id, pieces=("x" * 8000,) * 20)
        async with listening(job_url(job, base)) as listener:
            await until(lambda: len(listener.output) == 160_000)
            await until(lambda: not any(event() for event in made))
        assert len(made) >= 4


class TestTickets:
    """Who has a ticket for a job sees that one and nothing else."""

    async def refused(self, url: str, **headers: str) -> str:
        async with httpx.AsyncClient(timeout=PATIENCE, headers=headers) as client:
            response = await client.get(url)
        assert response.status_code == 403
        assert response.headers["content-type"] == "application/problem+json"
        return str(response.json()["detail"])

    @pytest.fixture
    def stranger(self, app: Mainspring, serve: Callable[..., str]) -> str:
        """The web where nobody is known."""
        return serve(app, auth=lambda request: None)

    async def test_without_one_a_stranger_is_refused(self, app: Mainspring, stranger: str) -> None:
        job = app.tasks["work"].enqueue(1)
        assert "ticket" in await self.refused(f"{stranger}/api/v1/jobs/{job.id}/events")

    async def test_with_one_he_follows_the_job(self, app: Mainspring, stranger: str) -> None:
        job = app.tasks["work"].enqueue(1)
        async with listening(job_url(job, stranger)) as listener:
            await listener.heard("snapshot")
        bare = job_url(job, stranger).partition("?")[0]
        async with listening(bare, **{"Mainspring-Ticket": ticket(job)}) as listener:
            await listener.heard("snapshot")

    async def test_another_jobs_ticket_is_refused(self, app: Mainspring, stranger: str, base: str) -> None:
        job, other = app.tasks["work"].enqueue(1), app.tasks["work"].enqueue(2)
        theirs = f"/api/v1/jobs/{job.id}/events?ticket={ticket(other)}"
        assert "another job" in await self.refused(stranger + theirs)
        assert "another job" in await self.refused(base + theirs)  # also to somebody who may do anything

    @pytest.mark.parametrize("spoil", [lambda text: text[:-2], lambda text: "x" + text, lambda text: "", str.upper])
    async def test_an_altered_one_is_refused(self, app: Mainspring, stranger: str, spoil: Callable[[str], str]) -> None:
        job = app.tasks["work"].enqueue(1)
        await self.refused(f"{stranger}/api/v1/jobs/{job.id}/events?ticket={spoil(ticket(job))}")

    async def test_one_that_was_made_with_another_secret_is_refused(self, app: Mainspring, stranger: str) -> None:
        job = app.tasks["work"].enqueue(1)
        assert "another secret" in await self.refused(job_url(job, stranger, secret="that of another site"))

    async def test_an_expired_one_is_refused(self, app: Mainspring, stranger: str) -> None:
        job = app.tasks["work"].enqueue(1)
        url = job_url(job, stranger, "10ms")
        await asyncio.sleep(0.02)
        assert "expired" in await self.refused(url)

    async def test_a_stream_ends_with_its_ticket(self, app: Mainspring, stranger: str) -> None:
        job = app.tasks["work"].enqueue(1)
        for seconds in (0.5, 2.0, 8.0):  # for longer, where a busy machine was not there in time
            async with listening(job_url(job, stranger, seconds)) as listener:
                await listener.over()
            if listener.named("snapshot"):
                break
        assert [event.name for event in listener.events] == ["snapshot", "expired"]
        assert listener.last_id == listener.events[0].id  # with another ticket it goes on from there

    async def test_it_opens_nothing_else(self, app: Mainspring, stranger: str) -> None:
        job = app.tasks["work"].enqueue(1)
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            for path in ("/", "/api/v1/openapi.json", f"/api/v1/jobs/{job.id}", "/api/v1/jobs"):
                response = await client.get(f"{stranger}{path}?ticket={ticket(job)}")
                assert response.status_code in (401, 403, 404), path

    async def test_what_it_does_not_show_is_not_told(self, app: Mainspring, teller: Teller, stranger: str) -> None:
        job = app.tasks["work"].enqueue(1)
        teller.claim()
        teller.say(job.id, lines=("secret line",))
        error = '{"type": "ValueError", "message": "secret message", "traceback": "secret traceback"}'
        teller.end(job.id, State.DEAD, error=error, reason="secret reason", result='"secret result"')

        async def told(**rights: bool) -> str:
            url = job_url(job, stranger, **rights)  # type: ignore[arg-type]
            async with listening(url) as listener:
                await listener.over()
            async with httpx.AsyncClient(timeout=PATIENCE, headers={"Accept": "application/json"}) as client:
                return str(listener.events) + (await client.get(url)).text

        assert "secret" not in await told(log=False, result=False)
        assert "secret line" in await told()
        assert "secret result" in await told(log=False)
        whole = await told(errors=True)
        assert "secret message" in whole
        assert "secret reason" in whole
        assert "secret traceback" not in whole

    async def test_who_may_look_at_all_jobs_needs_none(self, app: Mainspring, teller: Teller, base: str) -> None:
        job = app.tasks["work"].enqueue(1)
        teller.claim()
        teller.end(job.id, State.DEAD, error='{"type": "E", "message": "m", "traceback": "t"}')
        async with listening(f"{base}/api/v1/jobs/{job.id}/events") as listener:
            await listener.over()
        assert listener.named("done")[0]["error"] == {"type": "E", "message": "m", "traceback": "t"}


class TestCancelling:
    """A job's owner may change his mind, if his ticket says so."""

    async def test_a_ticket_for_that_cancels(self, app: Mainspring, serve: Callable[..., str]) -> None:
        stranger = serve(app, auth=lambda request: None)
        job = app.tasks["work"].enqueue(1)
        url = job_url(job, stranger, cancel=True)
        async with listening(url) as listener, httpx.AsyncClient(timeout=PATIENCE) as client:
            await listener.heard("snapshot")
            response = await client.post(url, content='{"event": "cancel"}')
            assert (response.status_code, response.json()) == (202, {"cancelled": True})
            assert (await listener.heard("done"))["state"] == "cancelled"
            assert (await client.post(url, content='{"event": "cancel"}')).json() == {"cancelled": False}
        assert [(entry.actor, entry.action, entry.count) for entry in app.audit.list()] == [
            ("a ticket", "jobs.cancel", 0),
            ("a ticket", "jobs.cancel", 1),
        ]

    async def test_other_tickets_do_not(self, app: Mainspring, serve: Callable[..., str]) -> None:
        stranger = serve(app, auth=lambda request: None)
        job = app.tasks["work"].enqueue(1)
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            response = await client.post(job_url(job, stranger), content='{"event": "cancel"}')
            assert response.status_code == 403
            nonsense = await client.post(job_url(job, stranger, cancel=True), content="cancel!")
            assert nonsense.status_code == 400
        assert job.refresh().state is State.QUEUED


class TestOrigins:
    """Pages of other sites follow jobs where they are allowed to."""

    async def test_a_page_of_a_listed_site_may(self, app: Mainspring, serve: Callable[..., str]) -> None:
        base = serve(app, auth=lambda request: None, origins=["https://shop.example"])
        job = app.tasks["work"].enqueue(1)
        browser = {"Origin": "https://shop.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
        async with listening(job_url(job, base), **browser) as listener:
            await listener.heard("snapshot")
        assert listener.response.headers["access-control-allow-origin"] == "https://shop.example"
        assert "Origin" in listener.response.headers["vary"]
        assert "access-control-allow-credentials" not in listener.response.headers

    async def test_a_page_of_any_other_may_not(self, app: Mainspring, serve: Callable[..., str]) -> None:
        base = serve(app, origins=["https://shop.example"])
        job = app.tasks["work"].enqueue(1)
        browser = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
        async with httpx.AsyncClient(timeout=PATIENCE, headers=browser) as client:
            response = await client.get(job_url(job, base))
        assert response.status_code == 403
        assert "access-control-allow-origin" not in response.headers

    async def test_a_listed_site_still_needs_a_ticket(self, app: Mainspring, serve: Callable[..., str]) -> None:
        """Also where everybody on this machine is known."""
        base = serve(app, origins=["https://shop.example"])
        job = app.tasks["work"].enqueue(1)
        async with httpx.AsyncClient(timeout=PATIENCE, headers={"Origin": "https://shop.example"}) as client:
            response = await client.get(f"{base}/api/v1/jobs/{job.id}/events")
        assert response.status_code == 403
