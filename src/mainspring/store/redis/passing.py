"""Ends and revivals that reach more jobs than one script tells."""

from __future__ import annotations

from mainspring.store.base import Operation
from mainspring.store.redis.documents import document
from mainspring.store.redis.scripts import Call

__all__ = ["pass_on"]

SCRIPTS = 3
AT_ONCE = 250
"""So many children are told by each of them, so that the server is not held up, and by the one that began it: 1,000."""


def pass_on(now: int | None) -> Operation[None]:
    """Go on where a script has left some to be told. What is left after that, claims and reaps do."""
    for _ in range(SCRIPTS):
        if not (yield Call("pass_on", document(jobs=AT_ONCE, now=now))):
            return
