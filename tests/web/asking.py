"""How tests ask the web: in this process, from any address, with any headers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

__all__ = ["asking"]


@asynccontextmanager
async def asking(
    web: Any, *, at: str = "http://localhost", client: str = "127.0.0.1", headers: Mapping[str, str] | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client at that address, that asks for the site under the name of `at`. Redirects are shown, not followed."""
    transport = httpx.ASGITransport(app=web, client=(client, 40_000))
    async with httpx.AsyncClient(transport=transport, base_url=at, headers=headers) as asking:
        yield asking
