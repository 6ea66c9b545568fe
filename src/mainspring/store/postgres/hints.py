"""Hints by NOTIFY: which topics a request touches, how seldom they are sent, who hears them.

NOTIFY makes commits queue up behind each other, so a topic is sent again only `QUIET_SECONDS` after it was sent
last. Who hears a hint takes another one for granted a little later, and so misses nothing that was held back meanwhile.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from mainspring.store.base import (
    AlterRequest,
    ClaimRequest,
    ConfigureRequest,
    InsertRequest,
    NoteRequest,
    Request,
    SettleRequest,
)
from mainspring.store.sql.statements import Statement

__all__ = ["ECHO_SECONDS", "Speaker", "concerns"]

QUIET_SECONDS = 0.020
ECHO_SECONDS = 0.025
"""How long after a hint the next one is taken for granted."""

QUEUES, JOBS = "queues", "jobs"
"""What may concern every queue, and what may concern every job."""


class Speaker:
    """What one driver says."""

    def __init__(self, channel: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._channel = channel
        self._clock = clock
        self._said: dict[str, float] = {}

    def hint(self, request: Request[Any]) -> Statement | None:
        """The NOTIFY that goes with a request, if it is worth one now."""
        now = self._clock()
        silent_at = now - QUIET_SECONDS
        if type(request) is InsertRequest and len(request.jobs) == 1 and not request.ticks:
            # There is one of these for each single job, and seldom something to be said.
            topic = f"queue:{request.jobs[0].queue}"
            topics = [topic] if self._said.get(topic, -1.0) <= silent_at else []
        else:
            topics = [topic for topic in _topics(request) if self._said.get(topic, -1.0) <= silent_at]
        if not topics:
            return None
        if len(self._said) > 1000:
            self._said.clear()
        self._said.update(dict.fromkeys(topics, now))
        payload = json.dumps(topics)
        if len(payload) > 4000:
            payload = json.dumps([QUEUES])
        return Statement("notify", {"channel": self._channel, "payload": payload})


def _topics(request: Request[Any]) -> Iterable[str]:
    match request:
        case InsertRequest():
            jobs = [*request.jobs, *(job for tick in request.ticks for job in tick.jobs)]
            return {f"queue:{job.queue}" for job in jobs}
        case SettleRequest():
            return (QUEUES, JOBS)
        case AlterRequest():
            return (QUEUES, JOBS)
        case ConfigureRequest() if request.changes:
            return (QUEUES,)
        case NoteRequest() | ClaimRequest():
            return (JOBS,)
        case _:
            return ()


def concerns(payload: str, topics: tuple[str, ...]) -> bool:
    """Whether a hint is about any of these topics (`queue:NAME`, `job:ID`). What is not ours may be about anything."""
    try:
        said = set(json.loads(payload))
    except (ValueError, TypeError):
        return True
    return any(topic in said or (JOBS if topic.startswith("job:") else QUEUES) in said for topic in topics)
