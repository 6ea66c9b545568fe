"""Hints by NOTIFY: which topics a request touches, how seldom they are sent, who hears them.

NOTIFY makes commits queue up behind each other, so a topic is sent again only `QUIET_SECONDS` after it was sent
last. Who hears a hint takes another one for granted a little later, and so misses nothing that was held back meanwhile.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Set
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

__all__ = ["ECHO_SECONDS", "Speaker", "concerned", "said_in"]

QUIET_SECONDS = 0.020
ECHO_SECONDS = 0.025
"""How long after a hint the next one is taken for granted."""

NAMED_AT_MOST = 80
"""So many jobs that have said something are named one by one."""

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
            payload = json.dumps([JOBS if isinstance(request, NoteRequest) else QUEUES])
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
        case NoteRequest() if len(request.notes) <= NAMED_AT_MOST:
            # Only who follows these jobs is to look: he may be one of thousands.
            return [f"job:{note.id}" for note in request.notes]
        case NoteRequest() | ClaimRequest():
            return (JOBS,)
        case _:
            return ()


def said_in(payload: str) -> frozenset[str] | None:
    """What a hint is about (`queue:NAME`, `job:ID`, `QUEUES`, `JOBS`). None: it is not ours, and may be about
    anything."""
    try:
        return frozenset(json.loads(payload))
    except (ValueError, TypeError):
        return None


def concerned(said: frozenset[str] | None, topics: Set[str]) -> Set[str]:
    """Those of the topics that a hint is about."""
    if said is None:
        return topics
    named = said & topics
    if JOBS in said or QUEUES in said:
        named |= {topic for topic in topics if (JOBS if topic.startswith("job:") else QUEUES) in said}
    return named
