"""`GET /jobs/{id}/events`: a job as it happens, as Server-Sent Events; or as it stands, as JSON."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse, Response
from sse_starlette.sse import EventSourceResponse, SendTimeoutError
from starlette.types import Receive, Scope, Send

from mainspring.audit import acting
from mainspring.web.api.route import AsciiJson
from mainspring.web.identity import Identity
from mainspring.web.live.access import pass_for
from mainspring.web.live.desk import AtDesk, Desk
from mainspring.web.live.events import END, Seen, expired, snapshot_of
from mainspring.web.live.hub import Stream
from mainspring.web.problems import Forbidden, Problem
from mainspring.web.tickets import Pass

__all__ = ["router"]

HEARTBEAT_SECONDS = 15.0
"""How often a client hears something at least, so that it, and every proxy on the way, knows that we are there."""
SEND_SECONDS = 30.0
"""How long a client may take to receive something before it is given up."""
LEAVE_SECONDS = 1.0
"""How long streams may take to end when the server stops."""
RETRY_MS = 2000
"""After how long a browser should connect anew."""
HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
"""No proxy is to keep, compress or hold back what comes."""

router = APIRouter(tags=["live"])

Ticket = Annotated[str | None, Query(description="A ticket for this job, made by `mainspring.web.ticket`.")]
TicketHeader = Annotated[str | None, Header(alias="Mainspring-Ticket")]
After = Annotated[str | None, Query(description="The id of the last event that was received; as `Last-Event-ID`.")]


@router.get(
    "/jobs/{id:name}/events",
    summary="Follow a job",
    response_class=Response,
    responses={
        200: {
            "description": "Events: `snapshot`, `state`, `progress`, `log`, `output`, and `done` or `gone` at the end; "
            "asked for as JSON: the job as it stands.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}, "application/json": {}},
        },
        204: {"description": "The client has seen the end already."},
        403: {"description": "No ticket for this job, or it has expired."},
        404: {"description": "Asked for as JSON: there is no such job."},
    },
)
async def follow(
    request: Request,
    id: str,
    desk: AtDesk,
    ticket: Ticket = None,
    ticket_header: TicketHeader = None,
    after: After = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """The job as it stands, and each change until it has ended. Whoever comes back with the id of the last event that
    he has received is told the rest, nothing of it twice."""
    allowed = pass_for(request, id, ticket or ticket_header, desk.secret)
    accepted = request.headers.get("accept", "")
    if "application/json" in accepted and "text/event-stream" not in accepted:
        return AsciiJson(await snapshot(desk, id, allowed), headers=HEADERS)
    known = last_event_id or after or ""
    if known == END:
        # A browser that is told so connects no more.
        return Response(status_code=204, headers=HEADERS)
    bell = _Bell()
    return _Events(_frames(desk, id, Seen.parse(known), allowed, bell), bell, sep="\n", headers=HEADERS)


async def snapshot(desk: Desk, id: str, allowed: Pass) -> dict[str, Any]:
    """The job as it stands. Raises `JobNotFound`."""
    return snapshot_of(await desk.app.jobs.aget(id), allowed.sight)


@router.post("/jobs/{id:name}/events", summary="Cancel a job by its ticket", status_code=202)
async def tell(
    request: Request, id: str, desk: AtDesk, ticket: Ticket = None, ticket_header: TicketHeader = None
) -> JSONResponse:
    """Takes `{"event": "cancel"}`, from whoever has a ticket that allows that. Says whether there was anything to
    cancel: what has ended stays as it is."""
    allowed = pass_for(request, id, ticket or ticket_header, desk.secret)
    if not allowed.cancel:
        raise Forbidden("This ticket does not allow to cancel the job.")
    try:
        told = await request.json()
    except (ValueError, RecursionError):
        told = None
    if told != {"event": "cancel"}:
        raise Problem('The only event that can be told is {"event": "cancel"}.')
    identity: Identity = request.scope["mainspring.identity"]
    with acting(identity.name if identity.role else "a ticket"):
        count = await desk.app.jobs.acancel(id)
    return JSONResponse({"cancelled": count > 0}, 202)


class _Bell:
    """Rings when there is something to tell, and when the server stops."""

    def __init__(self) -> None:
        self.rung = asyncio.Event()
        self.is_last = False

    def set(self) -> None:
        """The server's: it stops."""
        self.is_last = True
        self.rung.set()


class _Events(EventSourceResponse):
    """A stream whose client takes nothing is ended, and that is no error of ours; when the server stops it ends as
    streams do, for a server takes one that breaks off for an error of ours."""

    def __init__(self, frames: AsyncIterator[bytes], bell: Any, **options: Any) -> None:
        super().__init__(
            frames,
            ping=0,  # none: frames have heartbeats
            send_timeout=SEND_SECONDS,
            shutdown_event=bell,
            shutdown_grace_period=LEAVE_SECONDS,
            **options,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(SendTimeoutError):
            await super().__call__(scope, receive, send)


async def _frames(desk: Desk, id: str, seen: Seen | None, allowed: Pass, bell: _Bell) -> AsyncIterator[bytes]:
    def ready(stream: Stream) -> None:
        bell.rung.set()

    stream = desk.hub.open(id, seen, allowed.sight, ready)
    try:
        yield b"retry: %d\n\n" % RETRY_MS
        while not allowed.expired:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(HEARTBEAT_SECONDS, allowed.seconds_left)):
                    await bell.rung.wait()
            bell.rung.clear()
            if bell.is_last:
                return  # clients come back, to whoever is there then
            for frame in _frames_of(stream):
                yield frame
            if stream.is_over:
                return
        if allowed.by_ticket:
            yield expired(id).sse
    finally:
        stream.close()


def _frames_of(stream: Stream) -> Iterator[bytes]:
    """What there is to tell, or that there is nothing. What has been told is not kept while the next is waited for."""
    events = deque(stream.take())
    if not events:
        yield b":\n\n"
        return
    while events:
        yield events.popleft().sse
    if not stream.is_over:
        stream.go_on()
