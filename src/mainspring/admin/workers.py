"""`app.workers`: who works, and commands for them."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from datetime import datetime

from mainspring.admin.door import Door
from mainspring.clock import moment
from mainspring.store.base import Command, CommandWorker, ConfigureRequest
from mainspring.twin import Steps, ask, twins

__all__ = ["WorkerView", "Workers"]


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker as it last described itself."""

    id: str
    name: str
    """Host and process id."""
    queues: tuple[str, ...]
    tasks: tuple[str, ...]
    concurrency: int
    running: int
    quiet: bool
    """Whether it takes no more jobs."""
    alive: bool
    """False: it has not been heard of for longer than its lease; its jobs go to others."""
    started_at: datetime
    beat_at: datetime
    command: str | None
    """What it was told and has not heard yet."""
    memory: int | None = None
    """How many bytes of memory it has, with the processes in which its jobs run. None: it has not said."""


class Workers(Door):
    """`app.workers`."""

    def _list(self) -> Steps[builtins.list[WorkerView]]:
        """All workers that the store knows, the longest-running first."""
        settings = yield from ask(ConfigureRequest(read=frozenset({"workers"})))
        return [
            WorkerView(
                id=record.id,
                name=record.name,
                queues=record.queues,
                tasks=record.tasks,
                concurrency=record.concurrency,
                running=record.running,
                quiet=record.quiet,
                alive=record.expires_at > settings.now,
                started_at=moment(record.started_at),
                beat_at=moment(record.beat_at),
                command=record.command,
                memory=record.memory,
            )
            for record in sorted(settings.workers, key=lambda record: (record.started_at, record.id))
        ]

    list, alist = twins(_list)

    def _quiet(self, id: str) -> Steps[bool]:
        """Tell a worker to take no more jobs; it hears it with its next beat. False: no such worker."""
        return (yield from self._change(CommandWorker(id, Command.QUIET), "workers.quiet", id))

    quiet, aquiet = twins(_quiet)

    def _stop(self, id: str) -> Steps[bool]:
        """Tell a worker to stop gracefully; it hears it with its next beat. False: no such worker."""
        return (yield from self._change(CommandWorker(id, Command.STOP), "workers.stop", id))

    stop, astop = twins(_stop)
