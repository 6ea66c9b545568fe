"""What the tests of live jobs share: a job whose run does what the test says, and clients that listen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from mainspring.model.job import LogLine, Note
from mainspring.model.settlement import Settlement
from mainspring.model.states import State
from mainspring.store.base import (
    BeatRequest,
    ClaimRequest,
    NoteRequest,
    Presence,
    Room,
    SettleRequest,
    Store,
)

__all__ = ["PATIENCE", "Listener", "Said", "Teller", "listening", "until"]

PATIENCE = 60.0
"""How many seconds something may take before a test calls it lost."""


async def until(fits: Callable[[], object | Awaitable[object]], what: str = "") -> None:
    """Wait until that is so."""
    async with asyncio.timeout(PATIENCE):
        while True:
            said = fits()
            if await said if asyncio.iscoroutine(said) else said:
                return
            await asyncio.sleep(0.01)


class Teller:
    """Runs jobs as a worker does, but says of them what the test wants, when the test wants."""

    def __init__(self, store: Store) -> None:
        self._driver = store.driver()
        self._presence = Presence("teller", "teller", ("default",), ("work",), 10_000, 0, 600_000)
        self._driver.run(BeatRequest(self._presence, "join"))
        self.leases: dict[str, int] = {}
        self._lines: dict[str, int] = {}
        self._pieces: dict[str, int] = {}

    def claim(self, count: int = 1) -> list[str]:
        """Begin to run so many jobs; their ids."""
        claims = self._driver.run(ClaimRequest("teller", (Room("default", count),), count)).claims
        for claim in claims:
            self.leases[claim.id] = claim.lease
            self._lines[claim.id] = self._pieces[claim.id] = 0
        return [claim.id for claim in claims]

    def say(
        self,
        *jobs: str,
        progress: float | None = None,
        text: str | None = None,
        lines: tuple[str, ...] = (),
        pieces: tuple[str, ...] = (),
        kept_from: int = 0,
    ) -> None:
        """Note the same of each of these jobs, in one request."""
        notes = []
        for job in jobs:
            first, first_piece = self._lines[job], self._pieces[job]
            self._lines[job] += len(lines)
            self._pieces[job] += len(pieces)
            logged = tuple(LogLine(1_700_000_000_000, line) for line in lines)
            said = {"pieces": pieces, "first_piece": first_piece, "kept_from": kept_from}
            notes.append(Note(job, self.leases[job], progress, text, logged, first, **said))  # type: ignore[arg-type]
        assert self._driver.run(NoteRequest(tuple(notes))) == set(jobs)

    def end(self, job: str, state: State = State.COMPLETED, **changes: Any) -> None:
        """The run has ended."""
        settlement = replace(Settlement(job, self.leases[job], state, 1, 0, 0, "[]"), **changes)
        assert self._driver.run(SettleRequest((settlement,))) == {job}

    def close(self) -> None:
        self._driver.close()


@dataclass
class Said:
    """One event, as a client has received it."""

    name: str
    data: Any
    id: str = ""


@dataclass
class Listener:
    """A client of one stream. It keeps what it hears."""

    response: httpx.Response
    events: list[Said] = field(default_factory=list)
    heartbeats: int = 0
    retry_ms: int | None = None
    ended: bool = False

    def named(self, name: str) -> list[Any]:
        """The data of all events of that name."""
        return [event.data for event in self.events if event.name == name]

    @property
    def lines(self) -> list[str]:
        """The log, as it was heard."""
        return [line["text"] for data in self.named("log") for line in data["lines"]]

    @property
    def output(self) -> str:
        """The output, as a page would show it."""
        shown = ""
        for data in self.named("output"):
            shown = data["text"] if data["anew"] else shown + data["text"]
        return shown

    @property
    def last_id(self) -> str:
        return next((event.id for event in reversed(self.events) if event.id), "")

    async def heard(self, name: str, times: int = 1) -> Any:
        """The data of the so-manieth event of that name, once it has come."""
        await until(lambda: len(self.named(name)) >= times or self.ended, what=name)
        return self.named(name)[times - 1]

    async def over(self) -> None:
        await until(lambda: self.ended)

    async def read(self) -> None:
        fields: dict[str, str] = {}
        try:
            async for line in self.response.aiter_lines():
                if line:
                    name, _, value = line.partition(":")
                    fields[name] = value.removeprefix(" ")
                    continue
                if "event" in fields:
                    self.events.append(Said(fields["event"], json.loads(fields["data"]), fields.get("id", "")))
                elif "retry" in fields:
                    self.retry_ms = int(fields["retry"])
                else:
                    self.heartbeats += 1
                fields = {}
        except httpx.HTTPError:
            pass  # the connection was cut
        finally:
            self.ended = True


@asynccontextmanager
async def listening(url: str, after: str | None = None, **headers: str) -> AsyncIterator[Listener]:
    """Listen to the stream at that URL while the block runs."""
    headers = {"Accept": "text/event-stream", **headers}
    if after is not None:
        headers["Last-Event-ID"] = after
    async with httpx.AsyncClient(timeout=PATIENCE) as client, client.stream("GET", url, headers=headers) as response:
        listener = Listener(response)
        reading = asyncio.create_task(listener.read())
        try:
            yield listener
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
