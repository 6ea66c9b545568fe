"""What a way of finding out who asks is, and the simplest: the application that this is mounted in knows."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from mainspring.errors import ConfigurationError
from mainspring.model.text import quote
from mainspring.web.identity import Identity, Role
from mainspring.web.problems import Forbidden, Problem

__all__ = ["AuthCheck", "HostApplication", "Unknown", "Way"]

Answer = Identity | Role | str | None
AuthCheck = Callable[[HTTPConnection], Answer | Awaitable[Answer]]
"""A function of the application that this is mounted in: it gets the request (for a WebSocket, its handshake) and gives
an `Identity`, a role or its name, or None for somebody who may not even look. What it raises as an `HTTPException` is
answered as that says."""


class Way(Protocol):
    """One way of finding out who asks."""

    async def identify(self, connection: HTTPConnection, client: str) -> Identity | None:
        """Whoever asks from the address `client`; None: not known by this way. Raises `Problem` for what can be neither
        let in nor passed on, such as a wrong token."""

    def missing(self, connection: HTTPConnection) -> Problem:
        """What somebody is told who is known by no way."""


class Unknown(Problem):
    """Nobody knows who asks; showing it would help."""

    status = 401
    title = "Not signed in"


class HostApplication:
    """The application that this is mounted in says who asks."""

    def __init__(self, check: AuthCheck) -> None:
        self._check = check
        self._is_async = inspect.iscoroutinefunction(check) or inspect.iscoroutinefunction(
            getattr(check, "__call__", None)  # noqa: B004 - an object with an async __call__
        )

    async def identify(self, connection: HTTPConnection, client: str) -> Identity | None:
        answer = self._check(connection) if self._is_async else await run_in_threadpool(self._check, connection)
        if inspect.isawaitable(answer):
            answer = await answer
        if answer is None or isinstance(answer, Identity):
            return answer
        if isinstance(answer, str):
            answer = Role.named(answer)
        if isinstance(answer, Role):
            return Identity(answer.name.lower(), answer)
        raise ConfigurationError(
            f"auth gave {quote(answer)}; it is to give an Identity, a role's name (viewer, operator, admin), or None"
        )

    def missing(self, connection: HTTPConnection) -> Problem:
        return Forbidden("The application that this is part of does not let you in here.")
