"""What the live routes of one web share: the hub, and the secret by which they know their tickets."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from mainspring.app import Mainspring
from mainspring.web.live.hub import Hub

__all__ = ["AtDesk", "Desk"]


class Desk:
    """The live part of one web."""

    def __init__(self, app: Mainspring, secret: str) -> None:
        self.app = app
        self.secret = secret
        self._hub: tuple[asyncio.AbstractEventLoop, Hub] | None = None

    @property
    def hub(self) -> Hub:
        """The hub of the loop that runs here."""
        loop = asyncio.get_running_loop()
        if self._hub is None or self._hub[0] is not loop:
            self._hub = loop, Hub(self.app.jobs.followed)
        return self._hub[1]

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return 0 if self._hub is None else self._hub[1].streams


def _desk_of(connection: HTTPConnection) -> Desk:
    desk: Desk = connection.app.state.desk
    return desk


AtDesk = Annotated[Desk, Depends(_desk_of)]
