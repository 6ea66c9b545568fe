"""The app that the workers of a chaos run serve, and whose jobs the others enqueue.

What happens to each run is written by the outermost middleware, what became of it by an observer.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any, Literal

import psycopg

from mainspring import Context, Event, Limits, Mainspring, Retry, Unique

from ..events import Ended, Fault, Limited, Started
from .records import Settled, clock, history_file

WHO = os.environ.get("CHAOS_WHO", "nobody")
OFFSET = float(os.environ.get("CHAOS_CLOCK_OFFSET", "0"))
"""By how many seconds this program's clock is wrong."""
ORDERS = os.environ.get("CHAOS_ORDERS", "")
"""Where the database is in which transactions write their orders beside their jobs; "": there are none."""
SLOTS, STARTS, PERIOD_MS = 4, 15, 1000
"""What the narrow queue, and the rated one, let through."""
SLOTS_EACH = 2
"""How many jobs of one tenant run at once."""
ATTEMPTS = 4

if OFFSET:
    _time, _time_ns = time.time, time.time_ns
    time.time = lambda: _time() + OFFSET
    time.time_ns = lambda: _time_ns() + int(OFFSET * 1e9)

history = history_file(WHO)
app = Mainspring()
app.queue("narrow", concurrency=SLOTS)
app.queue("rated", rate=f"{STARTS}/1s")
app.queue("tenants", partition="tenant", per_partition=Limits(concurrency=SLOTS_EACH))
app.queue("lines", partition="line", sequence=True, on_failure="skip")

TENANTS, LINES = 4, 3


def limits(at: float) -> list[Limited]:
    """The limits that hold, as histories tell of them."""
    return [
        Limited(at=at, gate="queue", name="narrow", concurrency=SLOTS),
        Limited(at=at, gate="queue", name="rated", rates=((STARTS, PERIOD_MS),)),
        *(
            Limited(at=at, gate="partition", name=f"tenants/tenant {number}", concurrency=SLOTS_EACH)
            for number in range(TENANTS)
        ),
        *(Limited(at=at, gate="partition", name=f"lines/line {number}", concurrency=1) for number in range(LINES)),
    ]


SOON = Retry(attempts=ATTEMPTS, delay="100ms", factor=1)


@app.middleware
async def recorded(ctx: Context, proceed: Callable[[], Awaitable[Any]]) -> Any:
    """Writes down that the run begins and how it ends."""
    job = ctx.job.record
    history.add(
        Started(
            at=clock(),
            job=job.id,
            lease=ctx.fence,
            process=WHO,
            attempt=ctx.attempt,
            claimed_ms=job.started_at or 0,
            task=job.task,
            queue=job.queue,
            partition=job.partition,
        )
    )
    how: Literal["returned", "failed", "interrupted"] = "interrupted"
    try:
        result = await proceed()
        how = "interrupted" if ctx.cancelled else "returned"
    except Exception:
        how = "failed"
        raise
    finally:
        history.add(Ended(at=clock(), job=job.id, lease=ctx.fence, process=WHO, how=how))
    return result


@app.on("completed", "retried", "snoozed", "dead", "cancelled", "returned", "crashed", "parked")
def settled(event: Event) -> None:
    """Writes down what the store has applied."""
    history.add(Settled(at=clock(), job=event.job.id, lease=event.job.record.lease, process=WHO, how=event.name))


def came(ctx: Context, token: str) -> dict[str, Any]:
    """What every task of these returns: whose settlement the stored result is."""
    ctx.progress(100, f"lease {ctx.fence}")
    return {"token": token, "lease": ctx.fence}


@app.task(retry=SOON)
async def quick(ctx: Context, token: str) -> dict[str, Any]:
    await asyncio.sleep(0.002)
    return came(ctx, token)


@app.task(retry=SOON)
def plain(ctx: Context, token: str, seconds: float) -> dict[str, Any]:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and not ctx.cancelled:
        threading.Event().wait(0.02)
    return came(ctx, token)


@app.task(retry=SOON)
async def slow(ctx: Context, token: str, seconds: float) -> dict[str, Any]:
    await asyncio.sleep(seconds)
    return came(ctx, token)


@app.task(retry=SOON)
async def shaky(ctx: Context, token: str, failures: int) -> dict[str, Any]:
    """Fails in its first tries; what it says then names the lease."""
    await asyncio.sleep(0.005)
    if ctx.attempt <= failures:
        raise RuntimeError(f"lease {ctx.fence}")
    return came(ctx, token)


@app.task(queue="keyed", retry=SOON, unique=Unique(by=("key",)))
async def keyed(ctx: Context, token: str, key: str, fails: bool) -> dict[str, Any]:
    await asyncio.sleep(0.05)
    if fails:
        raise RuntimeError(f"lease {ctx.fence}")
    return came(ctx, token)


@app.task(queue="narrow", retry=SOON)
async def narrow(ctx: Context, token: str) -> dict[str, Any]:
    await asyncio.sleep(0.1)
    return came(ctx, token)


@app.task(queue="rated", retry=SOON)
async def rated(ctx: Context, token: str) -> dict[str, Any]:
    return came(ctx, token)


@app.task(queue="tenants", retry=SOON)
async def tenants(ctx: Context, token: str, tenant: str) -> dict[str, Any]:
    await asyncio.sleep(0.05)
    return came(ctx, token)


@app.task(queue="lines", retry=Retry(attempts=2, delay="100ms", factor=1))
async def lines(ctx: Context, token: str, line: str, fails: bool) -> dict[str, Any]:
    await asyncio.sleep(0.01)
    if fails:
        raise RuntimeError(f"lease {ctx.fence}")
    return came(ctx, token)


@app.task(queue="flows", retry=SOON)
async def link(ctx: Context, token: str, fails: bool = False) -> dict[str, Any]:
    await asyncio.sleep(0.02)
    if fails:
        raise RuntimeError(f"lease {ctx.fence}")
    return came(ctx, token)


@app.task(queue="flows", retry=SOON)
async def spawning(ctx: Context, token: str, children: int) -> dict[str, Any]:
    """Leaves jobs behind, which appear when it completes."""
    ctx.spawn(*(link.job(f"{token}/{number}") for number in range(children)))
    return came(ctx, token)


@app.task(retry=SOON)
def completing(ctx: Context, token: str) -> None:
    """Completes itself in a transaction beside the data that it has written."""
    with orders() as connection:
        connection.execute(f"INSERT INTO chaos_orders VALUES ('done {token}', {ctx.fence})")
        ctx.complete(came(ctx, token), tx=connection)
        connection.commit()


@app.task(retry=SOON)
async def blocking(ctx: Context, token: str, seconds: float) -> dict[str, Any]:
    """Lets nothing else run on its worker's loop."""
    time.sleep(seconds)
    return came(ctx, token)


@app.task(retry=SOON)
async def deadly(ctx: Context, token: str, deaths: int) -> dict[str, Any]:
    """Ends its worker, as a segmentation fault does, in its first runs."""
    await asyncio.sleep(0.05)
    if ctx.job.crashes < deaths:
        history.add(Fault(at=clock(), process=WHO, what="killed"))
        os._exit(11)
    return came(ctx, token)


@app.task(retry=SOON, executor="process", timeout="20s")
def apart(ctx: Context, token: str, seconds: float, deaths: int) -> dict[str, Any]:
    """Works in a process of its own, and ends that, as a segmentation fault does, in its first runs."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if ctx.cancelled:
            raise RuntimeError(f"lease {ctx.fence}")
        time.sleep(0.02)
    if ctx.job.crashes < deaths:
        os._exit(11)
    return came(ctx, token)


@app.every("1s", name="tick", catch_up="all")
@app.task(retry=SOON, queue="ticks")
async def tick(ctx: Context) -> dict[str, Any]:
    return came(ctx, "")


def orders() -> Any:
    """A connection of the program's own to the database that the jobs are in."""
    if ORDERS.startswith("postgresql:"):
        return psycopg.connect(ORDERS, connect_timeout=5)
    return closing_sqlite(ORDERS)


def closing_sqlite(path: str) -> Any:
    return closing(sqlite3.connect(path, timeout=5))
