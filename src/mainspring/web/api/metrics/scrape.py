"""What is read from the store for one scrape."""

from __future__ import annotations

from dataclasses import dataclass

from mainspring.admin import QueueView, WorkerView
from mainspring.app import Mainspring
from mainspring.web.api.metrics.rising import Risen, Rising

__all__ = ["Scrape", "Scraped"]


@dataclass(frozen=True, slots=True)
class Scraped:
    """How it stands, and what has happened."""

    queues: list[QueueView]
    workers: list[WorkerView]
    risen: Risen


class Scrape:
    """Of one app, in one process."""

    def __init__(self, app: Mainspring) -> None:
        self._app = app
        self._rising = Rising(app.stats)

    async def read(self) -> Scraped:
        """A handful of requests, each of which is bounded."""
        queues = await self._app.queues.alist(quick=True)
        workers = await self._app.workers.alist()
        # Those of which nothing was counted yet are told of too: nobody sees a counter rise that was not there before.
        tasks = {*self._app.tasks, *(task for worker in workers for task in worker.tasks)}
        return Scraped(queues, workers, await self._rising.read([queue.name for queue in queues], tasks))
