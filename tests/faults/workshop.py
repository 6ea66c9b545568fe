"""The app that the workers of `test_processes` serve: tasks that wait, die, and block."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from mainspring import Context, Mainspring

if wrong := float(os.environ.get("CHAOS_CLOCK_OFFSET", "0")):
    # This program's clock is wrong by so many seconds.
    _time, _time_ns = time.time, time.time_ns
    time.time = lambda: _time() + wrong
    time.time_ns = lambda: _time_ns() + int(wrong * 1e9)

HERE = Path(os.environ.get("CHAOS_FOLDER", "."))
app = Mainspring()


def note(*words: object) -> None:
    """One line, written at once: what a killed program noted stays."""
    with (HERE / "notes.txt").open("a") as notes:
        notes.write(" ".join(map(str, words)) + "\n")


@app.task
async def held(ctx: Context) -> int:
    """Goes on until there is a file that says so."""
    note("held", os.getpid(), ctx.fence)
    while not (HERE / f"go-{ctx.fence}").exists():
        await asyncio.sleep(0.01)
    ctx.progress(ctx.fence, f"lease {ctx.fence}")
    note("over", os.getpid(), ctx.fence)
    return ctx.fence


@app.task(queue="other")
async def quick() -> float:
    return time.monotonic()


@app.task
async def poison() -> None:
    note("poison", os.getpid())
    os._exit(11)


@app.task
async def blocking(seconds: float) -> None:
    note("blocking", os.getpid())
    time.sleep(seconds)


@app.task(queue="other")
async def numbered(number: int) -> int:
    return number


@app.every("1s", name="tick", catch_up="all")
@app.task(queue="ticks")
async def tick() -> None: ...


def enqueue_for_ever() -> None:
    """One number after the other, noted when it is stored, some alone and some together."""
    number = 0
    while True:
        many = app.enqueue_many([numbered.job(number + place) for place in range(9)])
        one = numbered.enqueue(number + 9)
        for place, job in enumerate([*many, one]):
            note("stored", number + place, job.id)
        number += 10


if __name__ == "__main__":
    enqueue_for_ever()
