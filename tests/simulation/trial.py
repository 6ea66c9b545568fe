"""One seed, from its beginning to the verdict about it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

from faults.events import Event, Found, Ticking
from faults.history import Violation, liveness, safety

from mainspring.model import history as attempts_of
from mainspring.model.states import FINAL
from mainspring.store.base import ConfigureRequest, PauseSchedule

from .chaos import Chaos
from .jobs import TICK_MS
from .world import World

__all__ = ["PATIENCE_SECONDS", "Trial", "try_seed"]

logger = logging.getLogger("mainspring.worker")

PATIENCE_SECONDS = 400.0
"""Within so long after the last fault all must be done, on the simulated clock. Far more than the sum of what a job may
have to wait for, one after the other: leases, reaping, back-off, retries, rates."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one seed."""

    seed: int
    history: tuple[Event, ...]
    unsafe: tuple[Violation, ...]
    """What happened and never may."""
    undone: tuple[Violation, ...]
    """What should have happened and did not."""
    faults: tuple[str, ...]
    """Exceptions that nobody caught."""
    seconds: float
    """How long it took, on the simulated clock."""
    requests: int

    @property
    def violations(self) -> tuple[Violation, ...]:
        return self.unsafe + self.undone

    @property
    def holds(self) -> bool:
        return not self.violations and not self.faults


def try_seed(seed: int, *, log: bool = False, write: Callable[[Event], object] = lambda event: None) -> Trial:
    """Let a world of that seed run to its end, and judge it. `write` is told each event as it happens."""
    before, disabled = random.getstate(), logger.disabled
    random.seed(seed)  # jitter in the worker
    world = World(seed, write)
    try:
        logger.disabled = not log  # thousands of lines about what is meant to be
        world.loop.run(_play(world, Chaos(world, seed)))
    finally:
        random.setstate(before)
        logger.disabled = disabled
    history = tuple(world.history)
    faults = tuple(str(each.get("exception") or each.get("message")) for each in world.loop.faults)
    return Trial(
        seed,
        history,
        tuple(safety(history)),
        tuple(liveness(history)),
        faults,
        world.loop.time(),
        world.network.requests,
    )


async def _play(world: World, chaos: Chaos) -> None:
    await chaos.rage()
    loop = world.loop
    deadline = loop.time() + PATIENCE_SECONDS
    while loop.time() < deadline and not _caught_up(world):
        await asyncio.sleep(0.5)
    tick = world.store.schedules.get("tick")
    if tick is not None:
        last = tick.next_at - TICK_MS if _caught_up(world) else world.store.now_ms()
        first = world.store.first_slots["tick"]
        world.write(Ticking, schedule="tick", every_ms=TICK_MS, since_ms=first, until_ms=last)
        world.store.perform(ConfigureRequest((PauseSchedule("tick", True),)), "operator")
    while loop.time() < deadline and not _at_rest(world):
        await asyncio.sleep(0.5)
    for job in world.store.jobs.values():
        ends = tuple(attempt.verdict.value for attempt in attempts_of.parse(job.history))
        world.write(
            Found,
            job=job.id,
            task=job.task,
            state=job.state.value,
            lease=job.lease,
            attempt=job.attempt,
            crashes=job.crashes,
            queue=job.queue,
            ends=ends,
        )
    world.is_over = True


def _caught_up(world: World) -> bool:
    tick = world.store.schedules.get("tick")
    return tick is not None and tick.next_at > world.store.now_ms()


def _at_rest(world: World) -> bool:
    return all(job.state in FINAL for job in world.store.jobs.values())
