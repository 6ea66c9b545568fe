"""Limits in earnest: three worker processes on one file, one of them killed on the way, and every start measured.

What is looked at is what happened, not what any gate believes: the claim times that the store recorded, and the times
at which the functions themselves began and ended.
"""

from __future__ import annotations

import statistics
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import accumulate, count
from pathlib import Path
from typing import Any

import pytest
from punctual import holds_once

from mainspring.clock import new_id
from mainspring.job import Job
from mainspring.model.job import NewJob
from mainspring.store.base import InsertRequest

from .scene import wait_until
from .test_processes import Place

pytestmark = pytest.mark.alone

PER_MS = 1000
FIRST = 800
"""Starts in that time. At 2000 it is 20,000 jobs, and still holds where there is a processor for each worker."""
RAISED, LOWERED = FIRST * 3 // 2, FIRST // 2
"""To what an operator changes it on the way."""
JOBS = 10 * FIRST

AT_ONCE = {"all": 6, "narrow": 4, "a": 3, "b": 3, "c": 3}
"""How many runs at once: of the queue, of a task, of its partitions."""

MODULE = f'''
import asyncio, os, random, time
from pathlib import Path
from mainspring import Context, Limits, Mainspring

HERE = Path(__file__).parent
app = Mainspring(f"sqlite:///{{HERE}}/jobs.db")
app.queue("api", rate="{FIRST}/{PER_MS}ms")
app.queue("few", concurrency={AT_ONCE["all"]}, partition="whose", per_partition=Limits(concurrency={AT_ONCE["a"]}))

notes = open(HERE / f"notes-{{os.getpid()}}.txt", "a", buffering=1)

@app.task(queue="api")
async def start() -> float:
    return time.time() * 1000

@app.task(queue="few", concurrency={AT_ONCE["narrow"]})
async def narrow(whose: str, ctx: Context) -> None:
    await work("narrow", whose, ctx)

@app.task(queue="few")
async def wide(whose: str, ctx: Context) -> None:
    await work("wide", whose, ctx)

async def work(task, whose, ctx):
    print(task, whose, ctx.job.id, ctx.fence, "begins", time.time(), file=notes)
    await asyncio.sleep(random.uniform(0.005, 0.03))
    print(task, whose, ctx.job.id, ctx.fence, "ends", time.time(), file=notes)
'''


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path, MODULE, ())
    yield place
    place.close()


def jobs_of(place: Place, queue: str) -> list[Job[Any]]:
    jobs: list[Job[Any]] = []
    cursor = None
    while True:
        page = place.app.jobs.find(queue=queue, limit=1000, cursor=cursor)
        jobs += page
        cursor = page.cursor
        if cursor is None:
            return jobs


def enqueue(place: Place, *jobs: NewJob) -> None:
    place.app._blocking.driver.run(InsertRequest(jobs))


def started(place: Place) -> tuple[subprocess.Popen[str], ...]:
    """Three workers that have run something already: the first run of a process takes its time."""
    workers = tuple(place.worker(lease="10s", concurrency=50) for _ in range(3))
    for _ in workers:
        enqueue(place, *(NewJob(new_id(), "start") for _ in range(150)))
    wait_until(lambda: place.app.jobs.count(state="completed", queue="default") == 450)
    return workers


def kill_at_work(process: subprocess.Popen[str], place: Place) -> None:
    """Kill the worker while it has jobs in its hands."""
    place.kill_at_work(process, lambda job: True)


def ms() -> int:
    return time.time_ns() // 1_000_000


# --- rates -----------------------------------------------------------------------------------------------------------


def enqueue_at_window_edges(place: Place, total: int, windows: int) -> threading.Thread:
    """Before each full second, where a fixed window is about to forget, and right after it, where it has forgotten."""
    first = (ms() // PER_MS + 1) * PER_MS

    def enqueue_all() -> None:
        for window in range(windows):
            for offset in (-300, 10):
                time.sleep(max(0.0, (first + window * PER_MS + offset - ms()) / 1000))
                enqueue(place, *(NewJob(new_id(), "start", "api") for _ in range(total // windows // 2)))

    thread = threading.Thread(target=enqueue_all)
    thread.start()
    return thread


def change_rate(place: Place, limit: int) -> tuple[int, int]:
    """Between which two times it changed."""
    before = ms()
    place.app.queues.set_limits("api", rate=f"{limit}/{PER_MS}ms")
    return before, ms()


def most_in_any_window(starts: Sequence[int], since: int, until: int) -> int:
    """The most starts in a window that ends with a start of that time, wherever the window began."""
    most = first = 0
    for place, at in enumerate(starts):
        while starts[first] <= at - PER_MS:
            first += 1
        if since < at <= until:
            most = max(most, place + 1 - first)
    return most


def share_of_rate(starts: Sequence[int], limit: int) -> float:
    """What the starts come to of those that were allowed, from the first one on, in whole lengths of the rate."""
    lengths = (len(starts) - 1) // limit
    if lengths < 2:
        return 0.0  # too few to measure by: what should have changed the rate came too late
    return lengths * PER_MS / (starts[lengths * limit] - starts[0])


@pytest.mark.timeout(360)
def test_never_more_starts_than_the_rate_in_any_window_and_hardly_fewer(tmp_path: Path) -> None:
    rounds = count()

    def measured() -> tuple[float, float]:
        folder = tmp_path / f"{next(rounds)}"
        folder.mkdir()
        with closing(Place(folder, MODULE, ())) as place:
            return changing_rates(place)

    holds_once(lambda found: found[0] >= 0.95 and found[1] < 10, measured)


def changing_rates(place: Place) -> tuple[float, float]:
    """The least share of a rate that was made use of, and after how many ms a function begins, by the median."""

    def done() -> int:
        return place.app.jobs.count(state="completed", queue="api")

    doomed, *_ = started(place)
    enqueuing = enqueue_at_window_edges(place, JOBS, windows=5)
    wait_until(lambda: done() > 1.3 * FIRST)
    kill_at_work(doomed, place)
    wait_until(lambda: done() > 2.8 * FIRST)
    raised = change_rate(place, RAISED)
    wait_until(lambda: done() > 2.8 * FIRST + 3.3 * RAISED)
    lowered = change_rate(place, LOWERED)
    enqueuing.join()
    wait_until(lambda: done() == JOBS, patience=40)

    jobs = jobs_of(place, "api")
    assert len(jobs) == JOBS
    assert any(job.crashes for job in jobs)
    # The starts of runs that the kill cut short too.
    starts = sorted(round(attempt.started_at.timestamp() * 1000) for job in jobs for attempt in job.attempts)
    assert most_in_any_window(starts, 0, ms()) <= RAISED
    shares = list[float]()
    for limit, since, until in ((FIRST, 0, raised[0]), (RAISED, raised[1], lowered[0]), (LOWERED, lowered[1], ms())):
        assert most_in_any_window(starts, since, until) <= limit
        # What was spent before a change counts for one length more.
        shares.append(share_of_rate([at for at in starts if since + PER_MS < at <= until], limit))
    # Nothing is claimed in advance: the function begins when the store says that the job has started.
    lags = [float(job.record.result or "nan") - (job.record.started_at or 0) for job in jobs]
    return min(shares), statistics.median(lags)


# --- concurrency -----------------------------------------------------------------------------------------------------


Span = tuple[float, float]


def spans(place: Place, died_at: dict[int, float]) -> dict[str, list[Span]]:
    """When functions began and ended (the latest: with their process): of all, of each task, of each partition."""
    begun: dict[tuple[str, ...], tuple[int, float]] = {}
    ended: dict[tuple[str, ...], float] = {}
    for pid, (*run, what, at) in place.notes():
        if what == "begins":
            begun[tuple(run)] = pid, float(at)
        else:
            ended[tuple(run)] = float(at)
    found = defaultdict[str, list[Span]](list)
    for run, (pid, began) in begun.items():
        for group in ("all", *run[:2]):
            found[group].append((began, ended.get(run) or died_at[pid]))
    return found


def most_at_once(spans: Sequence[Span]) -> int:
    changes = sorted(change for began, ended in spans for change in ((began, 1), (ended, -1)))
    return max(accumulate(change for _, change in changes))


def test_never_more_at_once_than_the_limits_and_the_slots_of_a_killed_worker_come_back(place: Place) -> None:
    def done() -> int:
        return place.app.jobs.count(state="completed", queue="few")

    def enqueue_few(count: int) -> None:
        kinds = [(task, whose) for task in ("narrow", "wide") for whose in "abc"]
        chosen = [kinds[number % len(kinds)] for number in range(count)]
        jobs = [NewJob(new_id(), task, "few", f'{{"whose": "{whose}"}}', partition=whose) for task, whose in chosen]
        enqueue(place, *jobs)

    doomed, *_ = started(place)
    enqueue_few(600)
    wait_until(lambda: len(place.notes()) > 200)
    kill_at_work(doomed, place)
    died_at = {doomed.pid: time.time()}
    wait_until(lambda: done() == 600, patience=40)
    assert any(job.crashes for job in jobs_of(place, "few"))
    again = time.time()
    enqueue_few(300)
    wait_until(lambda: done() == 900, patience=40)

    measured = spans(place, died_at)
    assert {group: most_at_once(measured[group]) for group in AT_ONCE} == AT_ONCE
    assert most_at_once([span for span in measured["all"] if span[0] > again]) == AT_ONCE["all"]
