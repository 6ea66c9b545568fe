"""Errors as problem details: RFC 9457, `application/problem+json`."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mainspring import errors
from mainspring.errors import MainspringError

__all__ = ["Forbidden", "Problem", "handle_problems"]


class Problem(Exception):
    """What a request is answered with in place of what it wanted."""

    status = 400
    title = "Bad request"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Forbidden(Problem):
    """Known, and not allowed."""

    status = 403
    title = "Not allowed"


# Looked up by the error's class, then by those that it is derived from.
STATUSES: dict[type[MainspringError], int] = {
    errors.ConfigurationError: 422,
    errors.ValidationError: 422,
    errors.PayloadTooLarge: 413,
    errors.InvalidFlow: 422,
    errors.UnknownTask: 404,
    errors.JobNotFound: 404,
    errors.FlowNotFound: 404,
    errors.ScheduleNotFound: 404,
    errors.QueueFull: 429,
    errors.StoreError: 503,
    errors.StoreFull: 507,
    MainspringError: 409,
}


def handle_problems(web: FastAPI) -> None:
    """Have every foreseen error answered as a problem."""

    async def of_problem(request: Request, error: Any) -> Response:
        return _answer(error.status, error.title, error.detail)

    async def of_mainspring(request: Request, error: Any) -> Response:
        status = next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
        return _answer(status, type(error).__name__, str(error))

    async def of_http(request: Request, error: Any) -> Response:
        return _answer(error.status_code, str(error.detail), str(error.detail))

    async def of_validation(request: Request, error: Any) -> Response:
        told = [{"at": ".".join(map(str, each["loc"])), "message": each["msg"]} for each in error.errors()]
        return _answer(422, "Invalid request", "; ".join(f"{each['at']}: {each['message']}" for each in told), told)

    web.add_exception_handler(Problem, of_problem)
    web.add_exception_handler(MainspringError, of_mainspring)
    web.add_exception_handler(HTTPException, of_http)
    web.add_exception_handler(RequestValidationError, of_validation)


def _answer(status: int, title: str, detail: str, told: Any = None) -> Response:
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    if told is not None:
        document["errors"] = told
    return Response(json.dumps(document), status, media_type="application/problem+json")
