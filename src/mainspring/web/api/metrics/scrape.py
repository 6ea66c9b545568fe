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
        return Scraped(
            await self._app.queues.alist(quick=True),
            await self._app.workers.alist(),
            await self._rising.read(),
        )
