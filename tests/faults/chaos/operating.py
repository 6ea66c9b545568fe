"""An operator who cannot leave anything alone.

Cancels, revives, puts off, pauses, limits and sends away, until told to stop; then all is resumed.
"""

from __future__ import annotations

import random
import signal
import sys
import time
from collections.abc import Callable
from typing import Literal

from mainspring import MainspringError

from ..events import Altered, Limited
from . import jobs
from .records import Refused, clock, history_file

PAUSE = 0.3
PLAIN = ("quick", "plain", "slow", "shaky", "narrow", "rated", "completing")
"""Tasks whose jobs it touches: those that nothing else waits for."""
PAUSED = ("narrow", "keyed", "flows")

history = history_file(jobs.WHO)


class Operator:
    """Does one thing at a time."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.paused: set[str] = set()

    def round(self) -> None:
        deeds: list[Callable[[], None]] = [
            self.cancel,
            self.revive,
            self.put_off,
            self.pause,
            self.limit,
            self.send_away,
        ]
        deed = self.chance.choices(deeds, (6, 4, 4, 4, 2, 1))[0]
        try:
            deed()
        except MainspringError as error:
            history.add(
                Refused(
                    at=clock(), process=jobs.WHO, what=deed.__name__, error=f"{type(error).__name__}: {error}"[:300]
                )
            )

    def chosen(self, *states: str) -> list[str]:
        page = jobs.app.jobs.find(task=self.chance.choice(PLAIN), state=states, limit=20)
        return [job.id for job in self.chance.sample(list(page), min(2, len(page)))]

    def announce(self, verb: Literal["cancel", "revive", "reschedule"], ids: list[str]) -> list[str]:
        for id in ids:
            history.add(Altered(at=clock(), job=id, verb=verb))
        return ids

    def cancel(self) -> None:
        jobs.app.jobs.cancel(self.announce("cancel", self.chosen("queued", "scheduled", "running")))

    def revive(self) -> None:
        jobs.app.jobs.retry(self.announce("revive", self.chosen("dead", "cancelled")))

    def put_off(self) -> None:
        ids = self.announce("reschedule", self.chosen("queued", "scheduled"))
        jobs.app.jobs.reschedule(ids, delay=self.chance.uniform(0, 2))

    def pause(self) -> None:
        if self.paused:
            self.resume()
            return
        queue = self.chance.choice(PAUSED)
        self.paused.add(queue)  # whatever comes of it
        jobs.app.queues.pause(queue)
        history.add(Limited(at=clock(), gate="queue", name=queue, concurrency=0))

    def resume(self) -> None:
        for queue in sorted(self.paused):
            slots = jobs.SLOTS if queue == "narrow" else None
            history.add(Limited(at=clock(), gate="queue", name=queue, concurrency=slots))
            jobs.app.queues.resume(queue)
            self.paused.discard(queue)

    def limit(self) -> None:
        """Of tenants' jobs, which have limits of their own beside, never more than so many."""
        slots = self.chance.choice((2, 4, 6))
        history.add(Limited(at=clock(), gate="queue", name="tenants", concurrency=MOST))
        jobs.app.queues.set_limits("tenants", concurrency=slots)
        history.add(Limited(at=clock(), gate="queue", name="tenants", concurrency=slots))

    def send_away(self) -> None:
        """Ask a worker to stop; somebody starts another in its place."""
        workers = [worker.id for worker in jobs.app.workers.list() if worker.alive]
        if workers:
            jobs.app.workers.stop(self.chance.choice(workers))


MOST = 6
"""The widest that it sets; told of before it sets one, since a request may have been done whose reply was lost."""


def main() -> None:
    operator = Operator(int(sys.argv[1]))
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.append(number))
    print("ready", flush=True)
    while not stopping:
        operator.round()
        time.sleep(operator.chance.expovariate(1 / PAUSE))
    while operator.paused:
        try:
            operator.resume()
        except MainspringError:
            time.sleep(0.2)


if __name__ == "__main__":
    main()
