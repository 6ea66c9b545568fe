"""`/ws`: many jobs as they happen, over one WebSocket.

    → {"subscribe": "JOB", "ticket": "…", "after": "ID"}     ticket: unless one may look at all jobs anyway
    → {"unsubscribe": "JOB"}                                  after: the id of the last event received of that job
    ← {"job": "JOB", "event": "subscribed"}                   what comes of that job from here on answers this
    ← {"job": "JOB", "event": "progress", "id": "ID", "data": {"progress": 40.0, "text": "rendering"}}
    ← {"job": "JOB", "event": "refused", "data": {"detail": "…"}}
    ← {"event": "ping"}

The events are those of a job's stream. After `done`, `gone`, `expired` and `refused` nothing more comes of that job.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections import deque
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from mainspring.clock import now_ms
from mainspring.errors import JobNotFound
from mainspring.web.live.access import pass_for
from mainspring.web.live.desk import AtDesk, Desk
from mainspring.web.live.events import END, Event, Seen, expired
from mainspring.web.live.hub import Stream
from mainspring.web.problems import Problem
from mainspring.web.tickets import Pass

__all__ = ["router"]

SUBSCRIPTIONS = 1000
"""How many jobs one connection may follow at a time."""
LONGEST_MESSAGE = 4096
HEARTBEAT_SECONDS = 15.0
SEND_SECONDS = 30.0
"""How long a client may take to receive a message before it is given up."""
IDLE_SECONDS = 60.0
"""How long a connection may follow nothing."""

NO_TEXT, UNREADABLE, NONSENSE, TOO_LARGE, ANEW, TOO_SLOW = 1003, 1007, 1008, 1009, 1012, 1013

router = APIRouter()


@router.websocket("/ws")
async def follow_many(socket: WebSocket, desk: AtDesk) -> None:
    """Follow the jobs that the client subscribes to."""
    await socket.accept()
    conversation = _Conversation(socket, desk)
    telling = asyncio.create_task(conversation.tell(), name="mainspring websocket")
    hearing = asyncio.create_task(conversation.hear(), name="mainspring websocket")
    try:
        await asyncio.wait((telling, hearing), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (telling, hearing):
            task.cancel()
        codes = await asyncio.gather(telling, hearing, return_exceptions=True)
        conversation.close()
        for code in (code for code in codes if isinstance(code, int)):
            with suppress(RuntimeError, WebSocketDisconnect):
                await socket.close(code)


class _Conversation:
    """One connection. Nothing is kept for a client that does not take it: what there is to tell waits in the store."""

    def __init__(self, socket: WebSocket, desk: Desk) -> None:
        self._socket = socket
        self._desk = desk
        self._subscribed: dict[str, tuple[Stream, Pass]] = {}
        self._ready: deque[Stream] = deque()
        """Streams that have something to tell; each is in it once."""
        self._asides: deque[dict[str, Any]] = deque()
        """Answers that are not events. At most one for each message of the client, and no more are read meanwhile."""
        self._work = asyncio.Event()
        self._told = asyncio.Event()
        self._expires_at = math.inf
        """When the first of its tickets does, at the earliest: in milliseconds since 1970 UTC."""

    # --- what the client says ---

    async def hear(self) -> int | None:
        """Until the client goes; or the code with which to hang up on it."""
        try:
            while True:
                text = await self._socket.receive_text()
                if len(text) > LONGEST_MESSAGE:
                    return TOO_LARGE
                try:
                    said = json.loads(text)
                except (ValueError, RecursionError):
                    return UNREADABLE
                if not self._understand(said):
                    return NONSENSE
                while self._asides:
                    self._told.clear()
                    await self._told.wait()
        except WebSocketDisconnect:
            return None
        except KeyError:
            return NO_TEXT  # but bytes

    def _understand(self, said: Any) -> bool:
        match said:
            case {"subscribe": str(job), "ticket": str(ticket)}:
                self._subscribe(job, ticket, str(said.get("after", "")))
            case {"subscribe": str(job)}:
                self._subscribe(job, None, str(said.get("after", "")))
            case {"unsubscribe": str(job)}:
                self._unsubscribe(job)
            case _:
                return False
        return True

    def _subscribe(self, job: str, ticket: str | None, after: str) -> None:
        self._unsubscribe(job)
        try:
            allowed = pass_for(self._socket, job, ticket, self._desk.secret)
        except (Problem, JobNotFound) as refusal:
            self._refuse(job, str(refusal))
            return
        if len(self._subscribed) >= SUBSCRIPTIONS:
            self._refuse(job, f"One connection follows at most {SUBSCRIPTIONS:,} jobs at a time.")
            return
        self._answer({"job": job, "event": "subscribed"})
        if after != END:
            stream = self._desk.hub.open(job, Seen.parse(after), allowed.sight, self._has_something)
            self._subscribed[job] = stream, allowed
            self._expires_at = min(self._expires_at, allowed.expires_at)

    def _unsubscribe(self, job: str) -> None:
        if subscribed := self._subscribed.pop(job, None):
            subscribed[0].close()

    def _refuse(self, job: str, detail: str) -> None:
        self._answer({"job": job, "event": "refused", "data": {"detail": detail}})

    def _answer(self, aside: dict[str, Any]) -> None:
        self._asides.append(aside)
        self._work.set()

    # --- what it is told ---

    def _has_something(self, stream: Stream) -> None:
        self._ready.append(stream)
        self._work.set()

    async def tell(self) -> int | None:
        """For ever; or the code with which to hang up on the client."""
        try:
            return await self._tell()
        except TimeoutError:
            return TOO_SLOW
        except (WebSocketDisconnect, RuntimeError):
            return None

    async def _tell(self) -> int | None:
        idle = 0.0
        while idle < IDLE_SECONDS:
            if not await self._anything():
                await self._send('{"event":"ping"}')
                idle = 0.0 if self._subscribed else idle + HEARTBEAT_SECONDS
            while self._asides:
                await self._send(json.dumps(self._asides[0]))
                self._asides.popleft()
                self._told.set()
            while self._ready:
                await self._pass_on(self._ready.popleft())
            if not await self._end_expired():
                return ANEW
        return NONSENSE

    async def _anything(self) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(min(HEARTBEAT_SECONDS, max(0, self._expires_at + 1 - now_ms()) / 1000)):
                await self._work.wait()
        anything = self._work.is_set() or self._expires_at <= now_ms()
        self._work.clear()
        return anything

    async def _pass_on(self, stream: Stream) -> None:
        events = deque(stream.take())
        while events:
            # Whoever it was for may have said otherwise while the last one was sent.
            if self._stream_of(stream.job) is not stream:
                return
            await self._send_event(events.popleft())
        if not stream.is_over:
            stream.go_on()
        elif self._stream_of(stream.job) is stream:
            self._unsubscribe(stream.job)

    def _stream_of(self, job: str) -> Stream | None:
        subscribed = self._subscribed.get(job)
        return None if subscribed is None else subscribed[0]

    async def _end_expired(self) -> bool:
        """Whether it can go on: for somebody who may look at all jobs it is over as a whole, and he comes back."""
        if self._expires_at > now_ms():
            return True
        for job, allowed in [(job, allowed) for job, (_, allowed) in self._subscribed.items() if allowed.expired]:
            if not allowed.by_ticket:
                return False
            self._unsubscribe(job)
            await self._send_event(expired(job))
        left = (allowed.expires_at for _, allowed in self._subscribed.values())
        self._expires_at = min(left, default=math.inf)
        return True

    async def _send_event(self, event: Event) -> None:
        await self._send(event.message)

    async def _send(self, text: str) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await self._socket.send_text(text)

    def close(self) -> None:
        """Follow nothing more."""
        for job in list(self._subscribed):
            self._unsubscribe(job)
