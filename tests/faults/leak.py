"""Many jobs through one worker, and how much memory it has: `python -m faults.leak --jobs 1000000 --store postgres`.

Most do nothing; some fail and are tried again, some run on threads, some speak of their progress and log: each is a
path on which something could be kept.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from mainspring import Context, JobDraft, Mainspring, Retry

from .chaos.ground import GROUNDS, ground

__all__ = ["Measured", "measure"]

WARM = 20_000
"""After so many jobs a worker has all that it needs."""
FULL = WARM * 3 // 2
"""After so many its caches are full. It is looked at when it has done exactly these."""
AHEAD = 20_000
"""How many jobs wait at most: the rest is enqueued meanwhile."""
PIECE = 5_000
POLL_SECONDS = 0.25

app = Mainspring()


@app.task
async def nothing(number: int) -> int:
    return number


@app.task(retry=Retry(attempts=2, delay=0))
async def failing(ctx: Context, number: int) -> int:
    if ctx.attempt == 1:
        raise RuntimeError(f"number {number}")
    return number


@app.task
def threaded(number: int) -> int:
    return number


@app.task
async def speaking(ctx: Context, number: int) -> int:
    ctx.progress(50, "half")
    ctx.log(f"number {number}")
    return number


@dataclass(frozen=True, slots=True)
class Measured:
    """Resident memory of the worker, in bytes, by how many jobs were done."""

    samples: tuple[tuple[int, int], ...]
    seconds: float

    @property
    def warm(self) -> int:
        """The most that it had by the time it was warm, and half as long again: caches fill until then."""
        return max(bytes for done, bytes in self.samples if done <= FULL)

    @property
    def last(self) -> int:
        """The least that it had in the last tenth."""
        most = self.samples[-1][0]
        return min(bytes for done, bytes in self.samples if done >= 0.9 * most)

    @property
    def growth(self) -> int:
        """What it had more in the end than when it was warm."""
        return self.last - self.warm


def drafts(first: int, count: int) -> list[JobDraft[int]]:
    some = {0: failing, 1: threaded, 2: speaking}
    return [some.get(number % 50, nothing).job(number) for number in range(first, first + count)]


def measure(url: str, jobs: int, say: bool = False) -> Measured:
    """Let a worker do so many jobs on the store at that URL."""
    here = Mainspring(url)
    here.store.migrate()
    for task in list(app.tasks.values()):
        here._register(task)
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"MAINSPRING_URL": url, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "mainspring", "worker", "faults.leak:app", "-c", "100", "--log-level", "error"]
    with tempfile.TemporaryFile() as said:
        worker = subprocess.Popen(command, env=environment, stdout=said, stderr=said)
        try:
            began = time.monotonic()
            samples = tuple(_sampled(here, psutil.Process(worker.pid), jobs, say))
            return Measured(samples, time.monotonic() - began)
        finally:
            worker.terminate()
            worker.wait(60)
            here.close()


def _sampled(here: Mainspring, worker: psutil.Process, jobs: int, say: bool) -> Iterator[tuple[int, int]]:
    sent = done = 0
    shown = time.monotonic()
    while done < jobs:
        most = jobs if done >= FULL else min(jobs, FULL)
        while sent < most and sent - done < AHEAD:
            piece = drafts(sent, min(PIECE, most - sent))
            here.enqueue_many(piece)
            sent += len(piece)
        done = sent - here.jobs.count(state=("queued", "scheduled", "running"))
        yield done, worker.memory_info().rss
        if say and time.monotonic() - shown > 5:
            shown = time.monotonic()
            print(f"  {done:>9,} jobs, {worker.memory_info().rss / 1e6:.1f} MB", flush=True)
        time.sleep(POLL_SECONDS)


def main() -> None:
    parser = argparse.ArgumentParser(description="Whether a worker's memory stays flat.")
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--store", choices=list(GROUNDS), default="sqlite")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ground(options.store, megabytes=0) as place:
        url = place.apart() if place.has_server else f"sqlite:///{folder}/jobs.db"
        measured = measure(url, options.jobs, say=True)
    print(
        f"{options.store}: {options.jobs:,} jobs in {measured.seconds:.0f} s; {measured.warm / 1e6:.1f} MB after "
        f"{WARM:,}, {measured.last / 1e6:.1f} MB at the end ({measured.growth / 1e6:+.1f} MB)"
    )
    sys.exit(measured.growth > BOUND)


BOUND = 8_000_000
"""More than that is a leak: 8 bytes for each of a million jobs."""

if __name__ == "__main__":
    main()
