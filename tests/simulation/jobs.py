"""The app whose jobs the simulated workers run. What a job does on each of its runs stands in its arguments."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from faults.events import Ended, Offered, Started

from mainspring import Bury, Cancel, Context, Limits, Mainspring, Rate, Retry, RetryAfter, Snooze
from mainspring.errors import RateLimited
from mainspring.worker.run import Interruption

if TYPE_CHECKING:
    from .world import Process

__all__ = ["ATTEMPTS", "PARTITIONS", "QUEUES", "TICK_MS", "Deed", "app", "tasks"]

ATTEMPTS = 3
TICK_MS = 2000
PARTITIONS = "abc"

Deed = Literal[
    "return",
    "fail",
    "retry after",
    "snooze",
    "rate limited",
    "bury",
    "cancel",
    "kill",
    "block",
    "cling",
    "spawn",
    "note",
]
"""What a run ends in. "kill" ends its worker, "block" holds up its loop first, "cling" does not let itself be
cancelled at once."""

app = Mainspring("sqlite://")
app.queue("narrow", concurrency=2)
app.queue("rated", rate=[Rate(3, per="1s"), Rate(8, per="5s")])
app.queue("parts", partition="who", per_partition=Limits(concurrency=1))
app.queue("line", partition="who", sequence=True, on_failure="skip")
QUEUES = ("default", "narrow", "rated", "parts", "line")

_RETRY = Retry(attempts=ATTEMPTS, delay="0.5s", max_delay="3s")


async def _do(ctx: Context, deeds: list[Deed], seconds: list[float], who: str) -> str:
    from .world import here

    process = here()
    claim = ctx._run.claim
    run = claim.attempt + claim.postponed + claim.crashes - 1
    deed = deeds[min(run, len(deeds) - 1)]
    pause = seconds[min(run, len(seconds) - 1)]
    process.write(
        Started,
        job=claim.id,
        lease=claim.lease,
        process=process.name,
        attempt=claim.attempt,
        claimed_ms=claim.started_at,
        task=claim.task,
        queue=claim.queue,
        partition=claim.partition,
        cost=claim.cost,
    )
    how = "failed"
    try:
        value = await _perform(ctx, process, deed, pause)
        how = "returned"
        return value
    except asyncio.CancelledError:
        how = "failed" if ctx._run.interruption in (None, Interruption.TIMED_OUT) else "interrupted"
        raise
    except (Snooze, RateLimited):
        how = "postponed"
        raise
    except Bury:
        how = "buried"
        raise
    except Cancel:
        how = "cancelled"
        raise
    finally:
        process.write(Ended, job=claim.id, lease=claim.lease, process=process.name, how=how)


async def _perform(ctx: Context, process: Process, deed: Deed, pause: float) -> str:
    if deed == "block":
        process.block(min(pause * 4, 8.0))
    if deed == "note":
        for percent in range(0, 100, 25):
            ctx.progress(percent, "on its way")
            ctx.log(f"{percent} %")
            await asyncio.sleep(pause / 4)
    elif deed == "cling":
        try:
            await asyncio.sleep(pause)
        except asyncio.CancelledError:
            await asyncio.sleep(pause)
            raise
    else:
        await asyncio.sleep(pause)
    match deed:
        case "fail":
            raise ValueError("it was to fail")
        case "retry after":
            raise RetryAfter("1s")
        case "snooze":
            raise Snooze("0.7s")
        case "rate limited":
            raise RateLimited("0.5s")
        case "bury":
            raise Bury("it was to be buried")
        case "cancel":
            raise Cancel("it was to be cancelled")
        case "kill":
            process.die()
            await asyncio.get_running_loop().create_future()
        case "spawn":
            _spawn(ctx, process)
    return "done"


def _spawn(ctx: Context, process: Process) -> None:
    drafts = []
    for number in (1, 2):
        draft = plain.job(deeds=["return"], seconds=[0.1])
        id = f"{ctx.job.id}.{ctx.fence}.{number}"
        drafts.append(replace(draft, new=replace(draft.new, id=id)))
        process.write(Offered, job=id, task="plain", attempts=ATTEMPTS)
    ctx.spawn(*drafts)


@app.task(retry=_RETRY)
async def plain(ctx: Context, deeds: list[Deed], seconds: list[float], who: str = "") -> str:
    return await _do(ctx, deeds, seconds, who)


@app.task(retry=_RETRY, timeout="4s")
async def limited(ctx: Context, deeds: list[Deed], seconds: list[float], who: str = "") -> str:
    return await _do(ctx, deeds, seconds, who)


@app.task(retry=_RETRY, concurrency=2)
async def gated(ctx: Context, deeds: list[Deed], seconds: list[float], who: str = "") -> str:
    return await _do(ctx, deeds, seconds, who)


@app.every(TICK_MS / 1000, catch_up="all", args={"deeds": ["return"], "seconds": [0.2]}, retry=_RETRY)
async def tick(ctx: Context, deeds: list[Deed], seconds: list[float], who: str = "") -> str:
    return await _do(ctx, deeds, seconds, who)


tasks = {"plain": plain, "limited": limited, "gated": gated}
