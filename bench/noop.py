"""The program under measurement: tasks that do nothing, and a worker process that says how it went.

MAINSPRING_URL=... python -m bench.noop drain QUEUE JOBS CONCURRENCY   run so many jobs, then say how long it took
MAINSPRING_URL=... python -m bench.noop uncounted QUEUE JOBS CONCURRENCY   the same without counting for statistics
MAINSPRING_URL=... python -m bench.noop share QUEUE CONCURRENCY        begin when a line comes in, end when no job comes
MAINSPRING_URL=... python -m bench.noop wait QUEUE                     be a worker until a line comes in
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time

import psutil

from mainspring import Limits, Mainspring
from mainspring.worker.worker import Worker

app = Mainspring()
app.queue("limited", concurrency=100_000, rate=["1000000/1s", "60000000/1m"])
app.queue("tenants", per_partition=Limits(concurrency=5))

IDLE_SECONDS = 1.0
COMING_SECONDS = 10.0


class Course:
    """Where a drain begins and ends; on the clock that all processes of a machine share."""

    first_at = 0.0
    last_at = 0.0
    ran = 0
    stop_after = 0
    worker: Worker


@app.task
async def noop(user_id: int, email: str) -> None:
    Course.last_at = time.monotonic()
    if Course.ran == 0:
        Course.first_at = Course.last_at
    Course.ran += 1
    if Course.ran == Course.stop_after:
        Course.worker.stop()


@app.task
async def pick_up(sent_at: float) -> float:
    return time.time() - sent_at


@app.task
async def nap() -> None:
    await asyncio.sleep(0.01)


def drain(queue: str, jobs: int, concurrency: int, stats: bool = True) -> None:
    """From the first run to the last settlement, and the worker's leaving."""
    Course.stop_after = jobs
    Course.worker = app.worker([queue], concurrency=concurrency, stats=stats)
    process = psutil.Process()
    before = process.cpu_times()
    Course.worker.run()
    seconds, after = time.monotonic() - Course.first_at, process.cpu_times()
    cpu = after.user + after.system - before.user - before.system
    say(seconds=seconds, ran=Course.ran, cpu=cpu, rss=process.memory_info().rss)


def share(queue: str, concurrency: int) -> None:
    """From the first run to the last, of those that came to this process."""
    Course.worker = app.worker([queue], concurrency=concurrency)
    say()
    sys.stdin.readline()
    threading.Thread(target=_stop_when_idle, daemon=True).start()
    Course.worker.run()
    say(ran=Course.ran, first_at=Course.first_at, last_at=Course.last_at)


def _stop_when_idle() -> None:
    began, seen = time.monotonic(), -1
    while seen != Course.ran or (not seen and time.monotonic() < began + COMING_SECONDS):
        seen = Course.ran
        time.sleep(IDLE_SECONDS)
    Course.worker.stop()


async def wait(queue: str) -> None:
    worker = app.worker([queue], concurrency=100)
    working = asyncio.create_task(worker.arun())
    await asyncio.sleep(1)
    say(rss=psutil.Process().memory_info().rss)
    await asyncio.to_thread(sys.stdin.readline)
    worker.stop()
    await working


def say(**figures: float) -> None:
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case "drain", queue, jobs, concurrency:
            drain(queue, int(jobs), int(concurrency))
        case "uncounted", queue, jobs, concurrency:
            drain(queue, int(jobs), int(concurrency), stats=False)
        case "share", queue, concurrency:
            share(queue, int(concurrency))
        case "wait", queue:
            asyncio.run(wait(queue))
        case _:
            raise SystemExit(__doc__)
