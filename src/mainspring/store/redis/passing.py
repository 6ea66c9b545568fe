"""Ends and revivals that reach more jobs than one script tells."""

from __future__ import annotations

from mainspring.store.base import Operation
from mainspring.store.redis.documents import document
from mainspring.store.redis.scripts import Call

__all__ = ["pass_on"]

SCRIPTS = 2
"""A script tells 350 jobs, so that the server is not held up; with these the request that began it tells 1,000."""


def pass_on(now: int | None) -> Operation[None]:
    """Go on where a script has left some to be told. What is left after that, claims and reaps do."""
    for _ in range(SCRIPTS):
        if not (yield Call("pass_on", document(now=now))):
            return
