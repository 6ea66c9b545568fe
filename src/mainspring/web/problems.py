"""Errors as problem details: RFC 9457, `application/problem+json`. People with a browser get a page that says the same.

Every error has one place here that says its status: what a request did wrong is 4xx, a store that does not serve it is
503. What nobody has foreseen is 500: logged with an id, of which the answer tells nothing but the id.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from mainspring import errors
from mainspring.errors import MainspringError
from mainspring.model.text import clean
from mainspring.web.templates import render
from mainspring.web.where import inner_path

__all__ = ["Forbidden", "Problem", "Unexpected", "handle_problems"]

logger = logging.getLogger("mainspring.web")

DETAIL_CHARACTERS = 2_000
FAULTS_SHOWN = 50
POLICY_VIOLATION = 1008
INTERNAL_ERROR = 1011


class Problem(Exception):
    """What a request is answered with in place of what it wanted."""

    status = 400
    title = "Bad request"

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})


class Forbidden(Problem):
    """Known, and not allowed."""

    status = 403
    title = "Not allowed"


@dataclass(frozen=True, slots=True)
class Details:
    """One problem, ready to be told."""

    status: int
    title: str
    detail: str
    type: str = "about:blank"
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    """What programs may want to know of this type of problem."""

    def document(self) -> dict[str, Any]:
        return {"type": self.type, "title": self.title, "status": self.status, "detail": self.detail, **self.more}


# Looked up by the error's class, then by those that it is derived from.
STATUSES: dict[type[MainspringError], int] = {
    errors.ConfigurationError: 422,
    errors.EncryptionKeyMissing: 503,
    errors.ValidationError: 422,
    errors.PayloadTooLarge: 413,
    errors.InvalidFlow: 422,
    errors.UnknownTask: 404,
    errors.JobNotFound: 404,
    errors.FlowNotFound: 404,
    errors.ScheduleNotFound: 404,
    errors.WebhookNotFound: 404,
    errors.QueueFull: 429,
    errors.ResultTimeout: 408,
    errors.StoreError: 503,
    errors.StoreFull: 507,
    MainspringError: 409,
}
RETRY_SECONDS: dict[type[MainspringError], int] = {
    errors.QueueFull: 10,
    errors.StoreBusy: 1,
    errors.StoreUnavailable: 5,
}


def of_mainspring(error: MainspringError) -> Details:
    """What was asked for cannot be, or the store does not serve it."""
    kinds = [kind for kind in type(error).__mro__ if issubclass(kind, MainspringError)]
    status = next(STATUSES[kind] for kind in kinds if kind in STATUSES)
    wait = next((RETRY_SECONDS[kind] for kind in kinds if kind in RETRY_SECONDS), None)
    known = {name: getattr(error, name, None) for name in ("job_id", "key", "queue", "partition", "limit", "parent_id")}
    return Details(
        status,
        _words(type(error).__name__),
        told(str(error)),
        f"urn:mainspring:{_words(type(error).__name__).lower().replace(' ', '-')}",
        {"Retry-After": str(wait)} if wait else {},
        {name: value for name, value in known.items() if value is not None},
    )


def _words(name: str) -> str:
    """`JobNotFound` as "Job not found"."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip().capitalize()


def of_problem(problem: Problem) -> Details:
    return Details(problem.status, problem.title, told(problem.detail), headers=problem.headers)


def of_http(error: HTTPException) -> Details:
    """What the framework refuses: no such path, no such method, a body that is no JSON."""
    try:
        status = HTTPStatus(error.status_code)
        title, text = status.phrase.capitalize(), status.description
    except ValueError:
        title, text = f"Status {error.status_code}", ""
    given = told(str(error.detail))
    detail = given if given and given.lower() != title.lower() else f"{text or title}"
    return Details(error.status_code, title, detail, headers=dict(error.headers or {}))


def of_validation(faults: Sequence[Mapping[str, Any]]) -> Details:
    """What a request's parts are not. The values themselves are not told again: they may be large, or secret."""
    shown = [
        {"at": told(".".join(str(part) for part in fault.get("loc", ()))), "message": told(_message(fault))}
        for fault in faults[:FAULTS_SHOWN]
    ]
    first = told("; ".join(f"{fault['at']}: {fault['message']}" for fault in shown[:3]))
    return Details(422, "Invalid request", first, "urn:mainspring:invalid-request", more={"errors": shown})


def _message(fault: Mapping[str, Any]) -> str:
    """What pydantic says: of what we say ourselves, that alone; of a body that is no JSON, why."""
    message = str(fault.get("msg", "")).removeprefix("Value error, ")
    return f"{message}: {fault['ctx']['error']}" if fault.get("type") == "json_invalid" else message


def told(text: str) -> str:
    """Foreign text as it is told: of a length that somebody reads, and without what is no text."""
    return clean(text[:DETAIL_CHARACTERS])


def of_unexpected(reference: str) -> Details:
    detail = f"Something went wrong that nobody has foreseen. The log says more, under the id {reference}."
    return Details(500, "Unexpected error", detail, "urn:mainspring:unexpected", more={"id": reference})


def answer(connection: HTTPConnection, details: Details) -> Response:
    """The problem as a page for a browser that asks for one, else as JSON."""
    headers = {"Cache-Control": "no-store", **details.headers}
    if wants_page(connection):
        page = render(connection, "problem.html", problem=details)
        return Response(page, details.status, headers, "text/html; charset=utf-8")
    return Response(json.dumps(details.document()), details.status, headers, "application/problem+json")


def wants_page(connection: HTTPConnection) -> bool:
    """Whether this is a browser on its way to a page."""
    return (
        connection.scope["type"] == "http"
        and not inner_path(connection.scope).startswith(("/api/", "/static/"))
        and "text/html" in connection.headers.get("accept", "")
    )


async def refuse(connection: HTTPConnection, details: Details, receive: Receive, send: Send) -> None:
    """Answer whatever is asked with this problem; a WebSocket is not opened, and its browser told no more than that."""
    if connection.scope["type"] == "http":
        await answer(connection, details)(connection.scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": _reason(details)})


def _reason(details: Details) -> str:
    """As much as the frame that closes a WebSocket has room for."""
    return details.detail.encode("utf-8", "replace")[:120].decode("utf-8", "ignore")


def handle_problems(web: FastAPI) -> None:
    """Have every foreseen error answered as a problem."""

    def answered_by(kind: type[Exception], details_of: Any) -> None:
        async def handle(connection: HTTPConnection, error: Exception) -> Response | None:
            details = details_of(error)
            if isinstance(error, errors.StoreError):
                logger.warning("the store does not serve %s: %s", quoted(connection.scope["path"]), details.detail)
            if connection.scope["type"] == "http":
                return answer(connection, details)
            await connection.close(POLICY_VIOLATION, _reason(details))  # type: ignore[attr-defined]
            return None

        web.add_exception_handler(kind, handle)  # type: ignore[arg-type]

    answered_by(Problem, of_problem)
    answered_by(MainspringError, of_mainspring)
    answered_by(HTTPException, of_http)
    answered_by(RequestValidationError, lambda error: of_validation(error.errors()))


class Unexpected:
    """Answers what nobody has foreseen: 500 and an id, under which the log has the traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] in ("http.response.start", "websocket.accept", "websocket.close")
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except (ClientDisconnect, WebSocketDisconnect):
            # Nobody is there to be answered, and nothing went wrong.
            return
        except Exception:
            reference = secrets.token_hex(6)
            logger.exception("error %s at %s %s", reference, scope.get("method", "WebSocket"), quoted(scope["path"]))
            if not begun:
                await refuse(HTTPConnection(scope), of_unexpected(reference), receive, send)
            elif scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": INTERNAL_ERROR, "reason": f"error {reference}"})


def quoted(path: str) -> str:
    """A path as the log may have it: on one line, and not long."""
    return repr(path[:200])
