"""Errors as problem details: RFC 9457, `application/problem+json`."""

from __future__ import annotations

__all__ = ["Forbidden", "Problem"]


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
