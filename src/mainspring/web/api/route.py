"""What every route of the API has: names in its path, answers in ASCII, and problems that are documented."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Response
from pydantic import Field
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import JSONResponse

from mainspring.admin import acting
from mainspring.web.api.strict import StrictRoute
from mainspring.web.identity import Role
from mainspring.web.problems import Problem
from mainspring.web.shapes.base import Shape
from mainspring.web.site import By, may
from mainspring.web.where import base_path

__all__ = [
    "PREFIX",
    "PROBLEM",
    "Conflict",
    "NotFound",
    "ProblemShape",
    "changing",
    "new_router",
    "problems",
    "put_location",
]

PREFIX = "/api/v1"


class NotFound(Problem):
    """There is nothing of that name."""

    status = 404
    title = "Not found"


class Conflict(Problem):
    """It cannot be done to this one, as it stands."""

    status = 409
    title = "Conflict"


class NotRead(Problem):
    """A body where none is wanted."""

    status = 422
    title = "Invalid request"


class NotJson(Problem):
    """A body of a kind that is not read here."""

    status = 415
    title = "Not JSON"


async def only_what_is_read(request: Request) -> None:
    """Refuses bodies that nobody would read: whoever has sent one has meant something by it."""
    headers = request.headers
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if getattr(request.scope.get("route"), "body_field", None) is None:
        if (await request.body()).strip() not in (b"", b"{}"):
            raise NotRead("this takes no body, and one is given; leave it out")
    elif not (kind == "application/json" or kind.endswith("+json")):
        raise NotJson(f"the body is of type {kind or 'none'}; send JSON, with Content-Type: application/json")


async def _acting(identity: By) -> AsyncIterator[None]:
    with acting(identity.name):
        yield


def changing(role: Role) -> list[Any]:
    """What an operation that changes something depends on: it takes that role, and the audit log tells who did it."""
    return [may(role), Depends(_acting)]


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
PROBLEM = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemShape"}}}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that an operation may be answered with, as OpenAPI has them."""
    return {status: {"description": HTTPStatus(status).phrase, **PROBLEM} for status in statuses}


def new_router(tag: str, **options: Any) -> APIRouter:
    """A router for one noun; every one of its operations may meet these problems."""
    return APIRouter(
        tags=[tag],
        dependencies=[Depends(only_what_is_read)],
        route_class=StrictRoute,
        default_response_class=AsciiJson,
        responses=problems(401, 403, 422, 503),
        generate_unique_id_function=lambda route: route.name,
        **options,
    )


def put_location(request: Request, response: Response, *path: str) -> None:
    """Say where the thing that was made is."""
    response.headers["location"] = (
        quote(base_path(request.scope)) + PREFIX + "".join(f"/{quote(part, safe='')}" for part in path)
    )
