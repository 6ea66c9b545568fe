"""The program under measurement: tasks that do nothing, and a worker process that says how it went.

MAINSPRING_URL=... python -m bench.noop drain QUEUE JOBS CONCURRENCY   run so many jobs, then say how long it took
MAINSPRING_URL=... python -m bench.noop wait QUEUE                     be a worker until a line comes in
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import psutil

from mainspring import Limits, Mainspring
from mainspring.worker.worker import Worker

app = Mainspring()
app.queue("limited", concurrency=100_000, rate=["1000000/1s", "60000000/1m"])
app.queue("tenants", per_partition=Limits(concurrency=5))


class Course:
    """Where a drain begins and ends."""

    first_at = 0.0
    ran = 0
    stop_after = 0
    worker: Worker


@app.task
async def noop(user_id: int, email: str) -> None:
    if Course.ran == 0:
        Course.first_at = time.perf_counter()
    Course.ran += 1
    if Course.ran == Course.stop_after:
        Course.worker.stop()


@app.task
async def pick_up(sent_at: float) -> float:
    return time.time() - sent_at


@app.task
async def nap() -> None:
    await asyncio.sleep(0.01)


def drain(queue: str, jobs: int, concurrency: int) -> None:
    """From the first run to the last settlement, and the worker's leaving."""
    Course.stop_after = jobs
    Course.worker = app.worker([queue], concurrency=concurrency)
    Course.worker.run()
    say(seconds=time.perf_counter() - Course.first_at, ran=Course.ran)


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
    if sys.argv[1] == "drain":
        drain(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        asyncio.run(wait(sys.argv[2]))
