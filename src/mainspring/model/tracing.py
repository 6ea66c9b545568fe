"""How somebody follows jobs from where they are enqueued to where they run (`app.tracing`).

What he needs to know of a job when it runs, its *trace*, is text by names (W3C's `traceparent` and its like). It is
stored with the job's options, and so it goes wherever the job goes: through retries, transactions, outboxes and flows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol

from mainspring.model.job import Claim, NewJob
from mainspring.model.outcome import Outcome

__all__ = ["Trace", "Tracing", "traced"]

Trace = Mapping[str, str]


class Tracing(Protocol):
    """Goes around what is done with jobs. It must not raise: whoever looks on spoils nothing."""

    def enqueuing(self, jobs: Sequence[NewJob]) -> AbstractContextManager[Sequence[NewJob]]:
        """Around the request that stores these jobs; gives them as they are to be stored."""

    def running(self, claim: Claim) -> AbstractContextManager[Callable[[Outcome], None]]:
        """Around a run, in a `contextvars` context of its own; gives whom to tell what it came to."""

    def here(self) -> Trace:
        """The trace of what is under way here, for another process to go on with."""

    def inside(self, trace: Trace) -> AbstractContextManager[None]:
        """Around what belongs to that, in the other process."""


def traced(jobs: Sequence[NewJob], trace: Trace) -> Sequence[NewJob]:
    """The jobs with that trace among their options."""
    if not trace:
        return jobs
    made: dict[str | None, str] = {}
    for job in jobs:
        if job.options not in made:
            options = {} if job.options is None else json.loads(job.options)
            made[job.options] = json.dumps(options | {"trace": dict(trace)}, separators=(",", ":"))
    return [replace(job, options=made[job.options]) for job in jobs]
