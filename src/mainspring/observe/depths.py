"""How many jobs are in each queue, read from the store as often as somebody reads the metrics."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from mainspring.admin import QueueView
from mainspring.app import Mainspring
from mainspring.errors import StoreError
from mainspring.model.states import LIVE, State
from mainspring.observe import conventions as names

__all__ = ["tell_depths"]

logger = logging.getLogger("mainspring.observe")

MOST_QUEUES = 200
"""How many queues are told of, by name: each is a series of its own for each of its states."""
SECONDS = 1.0
"""For how long what was read is told: both gauges are asked at once."""


def tell_depths(meter: Meter, app: Mainspring) -> None:
    """Have that meter tell of the app's queues."""
    depths = _Depths(app)
    meter.create_observable_gauge(
        "mainspring.queue.jobs",
        [depths.jobs],
        "{job}",
        "Jobs by queue and state; of more than 10,000 only so many are counted.",
    )
    meter.create_observable_gauge(
        "mainspring.queue.oldest", [depths.oldest], "s", "For how long the longest-waiting job of the queue is due."
    )


class _Depths:
    """Its callbacks are called on a thread of the meter's reader."""

    def __init__(self, app: Mainspring) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._read: list[QueueView] = []
        self._read_at = float("-inf")

    def jobs(self, options: CallbackOptions) -> Iterator[Observation]:
        for queue in self._queues():
            for state in State:
                if state in LIVE:
                    about = {**names.SYSTEM, names.QUEUE: queue.name, names.STATE: state.value}
                    yield Observation(queue.counts.get(state, 0), about)

    def oldest(self, options: CallbackOptions) -> Iterator[Observation]:
        for queue in self._queues():
            yield Observation(queue.oldest_waiting or 0.0, {**names.SYSTEM, names.QUEUE: queue.name})

    def _queues(self) -> list[QueueView]:
        with self._lock:
            if time.monotonic() - self._read_at > SECONDS:
                try:
                    self._read = self._app.queues.list(quick=True)[:MOST_QUEUES]
                except StoreError as error:
                    logger.warning("the queues cannot be counted: %s", error)
                    self._read = []
                self._read_at = time.monotonic()
            return self._read
