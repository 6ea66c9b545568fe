"""Follows jobs from the outside, as any program can that enqueued them, until they have ended."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import islice
from typing import Any

from examples.photos.display import Display, trouble
from examples.photos.worker import Trouble, Worker
from mainspring import Job, Mainspring, State

__all__ = ["expect_sound_or_buried", "follow", "follow_one"]

POLL_SECONDS = 0.1
FRONT = 200
"""How many unfinished jobs are looked at together: they run in the order in which they were enqueued."""
STALL_SECONDS = 180


def follow(
    app: Mainspring, names: Mapping[str, str], display: Display, worker: Worker, *, counted: bool = False
) -> dict[str, Job[Any]]:
    """Show jobs, given as names by id, until all have ended; gives them by name, as they ended and in their order.

    Raises `Trouble` if the worker dies, or if nothing moves any more.
    """
    waiting, ended = dict(names), dict[str, Job[Any]]()
    standing: list[object] = []
    moved_at = time.monotonic()
    while True:
        worker.check()
        front = list(islice(waiting, FRONT))
        jobs = sorted(app.jobs.find(ids=front, limit=FRONT), key=lambda job: job.id)  # ids rise with time
        for job in jobs:
            display.show(waiting[job.id], job)
            if job.finished_at:
                ended[job.id] = job
                del waiting[job.id]
        if counted:
            display.count(len(ended), len(names))
        if not waiting:
            return {name: ended[id] for id, name in names.items()}
        was, standing = standing, [(job.id, job.state, job.attempt, job.progress) for job in jobs]
        if standing != was:
            moved_at = time.monotonic()
        elif time.monotonic() - moved_at > STALL_SECONDS:
            raise Trouble(f"nothing has moved for {STALL_SECONDS} s; still waiting for {', '.join(waiting.values())}")
        time.sleep(POLL_SECONDS)


def follow_one(app: Mainspring, name: str, job: Job[Any], display: Display, worker: Worker) -> Job[Any]:
    """Show one job until it has ended; raises `Trouble` if it did not end well."""
    (ended,) = follow(app, {job.id: name}, display, worker).values()
    if ended.state is not State.COMPLETED:
        raise Trouble(f"the job {name!r} ended {ended.state}: {trouble(ended)}")
    return ended


def expect_sound_or_buried(photos: Mapping[str, Job[Any]]) -> None:
    """A photo's job completes, or buries a broken picture with a reason; anything else is `Trouble`."""
    odd = [
        f"  {name}: {job.state}, {trouble(job)}"
        for name, job in photos.items()
        if job.state is not State.COMPLETED
        and not (job.state is State.DEAD and (job.reason or "").startswith("buried"))
    ]
    if odd:
        raise Trouble("\n".join([f"{len(odd)} photos ended in a way that was not expected:", *odd]))
    if all(job.state is State.DEAD for job in photos.values()):
        raise Trouble("\n".join(["none of the photos can be read:", *(f"  {trouble(job)}" for job in photos.values())]))
