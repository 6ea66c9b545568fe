"""A program that enqueues, in every way that there is, until it is told to stop.

Half of them block, half run on an event loop. What is to be enqueued is written down before, under a name of its own
(the job's `token`), and what came back after.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from mainspring import Flow, JobDraft, MainspringError, Task, chain, chord
from mainspring.errors import StoreError
from mainspring.task import BoundTask

from ..events import Acknowledged, Offered
from . import jobs
from .records import Existed, Ordered, Refused, clock, history_file

PAUSE = 0.08
"""Seconds between two rounds, on average: the store is to be worked hard, the machine not."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One job that is about to be enqueued."""

    terms: BoundTask[..., Any]
    args: dict[str, Any]
    draft: JobDraft[Any]
    token: str
    keys: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()


class Enqueuer:
    """Plans jobs by chance, hands them in, writes down what came of it."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.chance = random.Random(seed)
        self.history = history_file(name)
        self.made = 0
        self.begun = f"{name}@{time.monotonic_ns() // 1_000_000}"

    # --- planning ---

    def token(self) -> str:
        self.made += 1
        return f"{self.begun}/{self.made}"

    def plan(self, task: Task[..., Any], delay: float | None = None, **args: Any) -> Planned:
        token = self.token()
        terms = task.using(priority=self.chance.choice((1, 5, 5, 5, 10)), delay=delay)
        keys = (f"keyed {args['key']}",) if "key" in args else ()
        args = {"token": token} | args
        return Planned(terms, args, terms.job(**args), token, keys)

    def some(self) -> Planned:
        """Any job that stands alone."""
        chance = self.chance
        later = chance.uniform(0.05, 3) if chance.random() < 0.2 else None
        kinds: list[Callable[[], Planned]] = [
            lambda: self.plan(jobs.quick, later),
            lambda: self.plan(jobs.plain, later, seconds=chance.uniform(0, 0.3)),
            lambda: self.plan(jobs.slow, later, seconds=chance.uniform(0.2, 6)),
            lambda: self.plan(jobs.shaky, later, failures=chance.choice((1, 2, 9))),
            lambda: self.plan(jobs.keyed, later, key=str(chance.randrange(12)), fails=chance.random() < 0.05),
            lambda: self.plan(jobs.narrow, later),
            lambda: self.plan(jobs.rated, later),
            lambda: self.plan(jobs.tenants, later, tenant=f"tenant {chance.randrange(jobs.TENANTS)}"),
            lambda: self.plan(
                jobs.lines, None, line=f"line {chance.randrange(jobs.LINES)}", fails=chance.random() < 0.1
            ),
            lambda: self.plan(jobs.spawning, later, children=chance.randrange(4)),
            lambda: self.plan(jobs.deadly, later, deaths=chance.choice((1, 1, 9))),
            lambda: self.plan(jobs.blocking, later, seconds=chance.uniform(1, 8)),
            lambda: self.plan(jobs.apart, later, seconds=chance.uniform(0, 1), deaths=chance.choice((0,) * 9 + (1, 9))),
        ]
        if jobs.ORDERS:
            kinds.append(lambda: self.plan(jobs.completing, later))
        return chance.choices(kinds, (6, 2, 1.5, 2, 4, 2, 2, 2, 1, 1, 0.03, 0.02, 0.3, 1)[: len(kinds)])[0]()

    def crowd(self) -> list[Planned]:
        return [self.some() for _ in range(self.chance.choice((2, 5, 20)))]

    def flow(self) -> tuple[Flow[Any], list[Planned]]:
        """A chain or a chord, one of whose jobs may fail for good."""
        chance = self.chance
        links = [self.plan(jobs.link, fails=chance.random() < 0.05) for _ in range(chance.randrange(2, 6))]
        tokens = [link.token for link in links]
        if chance.random() < 0.5:
            parents: Iterator[tuple[str, ...]] = ((tokens[at - 1],) if at else () for at in range(len(links)))
            flow: Flow[Any] = chain(*(link.draft for link in links))
        else:
            parents = (() if link is not links[-1] else tuple(tokens[:-1]) for link in links)
            flow = chord([link.draft for link in links[:-1]], links[-1].draft)
        return flow, [replace(link, parents=waits) for link, waits in zip(links, parents, strict=True)]

    # --- writing down ---

    def offer(self, planned: list[Planned]) -> float:
        for each in planned:
            new = each.draft.new
            self.history.add(
                Offered(
                    at=clock(),
                    job=each.token,
                    task=new.task,
                    queue=new.queue,
                    partition=new.partition,
                    keys=each.keys,
                    parents=each.parents,
                    attempts=each.draft.app.tasks[new.task].options.retry.attempts,
                )
            )
        return clock()

    def acknowledge(self, planned: list[Planned], existing: list[str | None], since: float) -> None:
        for each, holder in zip(planned, existing, strict=True):
            if holder is not None:
                self.history.add(Existed(at=clock(), job=each.token, holder=holder, since=since))
            self.history.add(Acknowledged(at=clock(), job=each.token, stored=holder is None))

    def refused(self, what: str, error: Exception) -> None:
        self.history.add(
            Refused(at=clock(), process=self.name, what=what, error=f"{type(error).__name__}: {error}"[:300])
        )

    # --- blocking ---

    def round(self) -> None:
        what = self.chance.choices(("one", "many", "flow", "order"), (6, 3, 2, 2 if jobs.ORDERS else 0))[0]
        try:
            {"one": self.one, "many": self.many, "flow": self.chained, "order": self.order}[what]()
        except MainspringError as error:
            self.refused(what, error)

    def one(self) -> None:
        planned = self.some()
        since = self.offer([planned])
        self.acknowledge([planned], [_existing(planned.terms.enqueue(**planned.args))], since)

    def many(self) -> None:
        planned = self.crowd()
        since = self.offer(planned)
        made = jobs.app.enqueue_many(each.draft for each in planned)
        self.acknowledge(planned, [_existing(job) for job in made], since)

    def chained(self) -> None:
        flow, planned = self.flow()
        since = self.offer(planned)
        flow.enqueue()
        self.acknowledge(planned, [None] * len(planned), since)

    def order(self) -> None:
        """An order and its job, by one commit, or none of both."""
        planned, rolled_back = self.plan(jobs.quick), self.chance.random() < 0.3
        since = self.offer([planned])
        try:
            with jobs.orders() as connection:
                connection.execute(f"INSERT INTO chaos_orders VALUES ('{planned.token}', NULL)")
                jobs.app.enqueue_many([planned.draft], tx=connection)
                if rolled_back:
                    connection.rollback()
                else:
                    connection.commit()
        except Exception as error:
            if isinstance(error, MainspringError) and not isinstance(error, StoreError):
                raise
            self.refused("order", error)
            self.history.add(Ordered(at=clock(), job=planned.token, done=None))
            return
        self.history.add(Ordered(at=clock(), job=planned.token, done=not rolled_back))
        if not rolled_back:
            self.acknowledge([planned], [None], since)

    # --- on a loop ---

    async def around(self) -> None:
        what = self.chance.choices(("one", "many", "flow", "several"), (6, 3, 2, 2))[0]
        try:
            await {"one": self.a_one, "many": self.a_many, "flow": self.a_chained, "several": self.several}[what]()
        except MainspringError as error:
            self.refused(what, error)

    async def a_one(self) -> None:
        planned = self.some()
        since = self.offer([planned])
        self.acknowledge([planned], [_existing(await planned.terms.aenqueue(**planned.args))], since)

    async def several(self) -> None:
        """At the same time, so that they commit in one group."""
        await asyncio.gather(*(self.around() for _ in range(3)))

    async def a_many(self) -> None:
        planned = self.crowd()
        since = self.offer(planned)
        made = await jobs.app.aenqueue_many(each.draft for each in planned)
        self.acknowledge(planned, [_existing(job) for job in made], since)

    async def a_chained(self) -> None:
        flow, planned = self.flow()
        since = self.offer(planned)
        await flow.aenqueue()
        self.acknowledge(planned, [None] * len(planned), since)


def _existing(job: Any) -> str | None:
    return job.id if job.existed else None


def main() -> None:
    seed, kind = int(sys.argv[1]), sys.argv[2]
    enqueuer = Enqueuer(jobs.WHO, seed)
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.append(number))
    print("ready", flush=True)
    if kind == "blocking":
        while not stopping:
            enqueuer.round()
            time.sleep(enqueuer.chance.expovariate(1 / PAUSE))
        return

    async def on_a_loop() -> None:
        while not stopping:
            await enqueuer.around()
            await asyncio.sleep(enqueuer.chance.expovariate(1 / PAUSE))

    asyncio.run(on_a_loop())


if __name__ == "__main__":
    main()
