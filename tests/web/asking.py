"""How tests ask the web: in this process, from any address, with any headers, at a moment that lasts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

__all__ = ["Hand", "asking"]


class Hand:
    """A clock that is moved by hand: however long the machine takes, it is the same moment."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def asking(
    web: Any, *, at: str = "http://localhost", client: str = "127.0.0.1", headers: Mapping[str, str] | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client at that address, that asks for the site under the name of `at`. Redirects are shown, not followed."""
    transport = httpx.ASGITransport(app=web, client=(client, 40_000))
    async with httpx.AsyncClient(transport=transport, base_url=at, headers=headers) as asking:
        yield asking
