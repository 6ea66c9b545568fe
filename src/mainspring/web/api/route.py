"""What every route of the API has: a bounded body, answers in ASCII, and problems that are documented."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Response
from fastapi.routing import APIRoute
from pydantic import Field
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Message, Receive

from mainspring.web.problems import Problem
from mainspring.web.shapes.base import Shape

__all__ = ["PREFIX", "BodyTooLarge", "Conflict", "NotFound", "new_router", "problems", "put_location"]

PREFIX = "/api/v1"

MAX_BODY_BYTES = 4 * 1024 * 1024
"""Arguments are 1 MiB at most, and may be written at greater length than they are stored."""


class BodyTooLarge(Problem):
    """More than anything that is asked for here takes."""

    status = 413
    title = "Body too large"


class NotFound(Problem):
    """There is nothing of that name."""

    status = 404
    title = "Not found"


class Conflict(Problem):
    """It cannot be done to this one, as it stands."""

    status = 409
    title = "Conflict"


class NameConvertor(Convertor[str]):
    """A name that may have slashes in it."""

    regex = ".+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class JobIdConvertor(NameConvertor):
    """The same, but for what stands below a job and is read: its events."""

    regex = "(?:(?!/events$).)+"


register_url_convertor("name", NameConvertor())
register_url_convertor("job_id", JobIdConvertor())


class AsciiJson(JSONResponse):
    """JSON in which everything else is an escape: what a job has returned may have no UTF-8."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


class BoundedRoute(APIRoute):
    """A route whose body is read only as far as it is of a size that could be meant."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def bounded(request: Request) -> Response:
            body = await _read(request)
            return await handle(Request(request.scope, _given(body, request.receive)))

        return bounded


async def _read(request: Request) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 12 or int(declared) > MAX_BODY_BYTES):
        raise _too_large()
    parts: list[bytes] = []
    room = MAX_BODY_BYTES
    async for part in request.stream():
        room -= len(part)
        if room < 0:
            raise _too_large()
        parts.append(part)
    return b"".join(parts)


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"the body is over {MAX_BODY_BYTES:,} bytes; send less")


def _given(body: bytes, receive: Receive) -> Receive:
    """Gives the body that was read, and then whatever comes."""
    told = False

    async def receive_again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


# --- what is documented ----------------------------------------------------------------------------------------------


class FaultShape(Shape):
    """One part of a request that is not as it should be."""

    at: str = Field(description='Which part: "body.args", "query.state".')
    message: str


class ProblemShape(Shape):
    """Why a request was not done: RFC 9457."""

    type: str
    title: str
    status: int
    detail: str = Field(description="What was wrong, with which value, and what to do about it.")
    errors: list[FaultShape] = Field(default=[], description="Of a request: which parts are not as they should be.")


MEDIA_TYPE = "application/problem+json"


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that an operation may be answered with, as OpenAPI has them."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemShape"}}},
        }
        for status in statuses
    }


def new_router(tag: str, **options: Any) -> APIRouter:
    """A router for one noun; every one of its operations may meet these problems."""
    return APIRouter(
        tags=[tag],
        route_class=BoundedRoute,
        default_response_class=AsciiJson,
        responses=problems(400, 401, 403, 422, 503),
        generate_unique_id_function=lambda route: route.name,
        **options,
    )


def put_location(request: Request, response: Response, *path: str) -> None:
    """Say where the thing that was made is."""
    root = request.scope.get("root_path", "").rstrip("/")
    response.headers["location"] = quote(root) + PREFIX + "".join(f"/{quote(part, safe='')}" for part in path)
