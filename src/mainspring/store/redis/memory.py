"""What a server may have forgotten.

One that was killed has lost what was not on its disk, and one that took over what it had not been told yet: a second,
at most durabilities. Jobs that a worker had settled in that time run in its name again, and it does not know; it beats,
so that nobody else takes them either. So its first claim after that is refused, as if the reply had been lost: its next
one names what it holds, and all else that is in its name is given to it once more.
"""

from __future__ import annotations

from typing import Any

from mainspring.errors import StoreUnavailable
from mainspring.store.base import ClaimRequest, Request
from mainspring.store.redis.greeting import Greeting

__all__ = ["Memory"]


class Memory:
    """Which run of which server each worker has claimed from last."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._runs: dict[str, str] = {}

    def check(self, request: Request[Any], server: Greeting) -> None:
        """Raises `StoreUnavailable` for a claim that has to say what its worker holds, and does not."""
        if not isinstance(request, ClaimRequest):
            return
        known = self._runs.get(request.worker)
        self._runs[request.worker] = server.run
        if known not in (None, server.run) and request.held is None:
            raise StoreUnavailable(
                f"{self._url} has started anew, or is another server than before: it may have forgotten what it did "
                "last. Claim again, and say which jobs are held"
            )
