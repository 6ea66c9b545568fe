"""`app.queues`: what is in each queue, and its settings."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from mainspring.admin.door import Door
from mainspring.clock import moment
from mainspring.errors import InvalidOption
from mainspring.model.options import check_name
from mainspring.model.states import State
from mainspring.model.text import quote
from mainspring.store.base import ConfigureRequest, CountRequest, Filter, LimitQueue, PauseQueue
from mainspring.twin import Steps, ask, twins

__all__ = ["QueueView", "Queues", "check_concurrency"]


@dataclass(frozen=True, slots=True)
class QueueView:
    """A queue: its settings and what is in it."""

    name: str
    paused_at: datetime | None
    concurrency: int | None
    """How many of its jobs may run at once; None: any number."""
    counts: Mapping[State, int]
    """How many jobs are in each state; states with none are left out."""
    oldest_waiting: float | None
    """For how many seconds the longest-waiting queued job has been due."""

    @property
    def paused(self) -> bool:
        """Whether no job is taken from it."""
        return self.paused_at is not None


class Queues(Door):
    """`app.queues`."""

    def _list(self) -> Steps[builtins.list[QueueView]]:
        """All queues that have jobs or settings, by name."""
        settings = yield from ask(ConfigureRequest(read=frozenset({"queues"})))
        counted = yield from ask(CountRequest(Filter()))
        known = {record.name: record for record in settings.queues}
        views = []
        for name in sorted(known.keys() | {tally.queue for tally in counted.tallies}):
            tallies = [tally for tally in counted.tallies if tally.queue == name]
            oldest = min((tally.oldest_at for tally in tallies if tally.oldest_at is not None), default=None)
            record = known.get(name)
            views.append(
                QueueView(
                    name=name,
                    paused_at=moment(record.paused_at) if record and record.paused_at is not None else None,
                    concurrency=record.concurrency if record else None,
                    counts={tally.state: tally.count for tally in tallies},
                    oldest_waiting=None if oldest is None else max(0, counted.now - oldest) / 1000,
                )
            )
        return views

    list, alist = twins(_list)

    def _pause(self, name: str) -> Steps[None]:
        """Let no job be taken from the queue, by no worker. What runs goes on; enqueuing goes on."""
        yield from self._change(PauseQueue(check_name("queue", name), True))

    pause, apause = twins(_pause)

    def _resume(self, name: str) -> Steps[None]:
        """Let jobs be taken from the queue again."""
        yield from self._change(PauseQueue(check_name("queue", name), False))

    resume, aresume = twins(_resume)

    def _set_limits(self, name: str, *, concurrency: int | None) -> Steps[None]:
        """Let at most so many of its jobs run at once, over all workers; None: any number.

        This wins over what the code says (`app.queue`), until it is set again.
        """
        yield from self._change(LimitQueue(check_name("queue", name), check_concurrency(concurrency)))

    set_limits, aset_limits = twins(_set_limits)


def check_concurrency(value: int | None) -> int | None:
    """`value`, if it can be a limit of running jobs; else raises `InvalidOption`."""
    if value is not None and (type(value) is not int or value < 1):
        raise InvalidOption(f"concurrency={quote(value)} is not a whole number from 1 on; None: no limit")
    return value
