"""Workers that die with jobs in their hands: what becomes of these, of the guilty one, and of everybody else."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest
from punctual import holds_once

from mainspring import Job, State
from mainspring.model.outcome import Verdict
from mainspring.model.states import FINAL

from .places import Place
from .scene import bury, wait_until

pytestmark = pytest.mark.timeout(300)

LEASE = "10s"
"""So long that no busy machine loses it; of a worker that dies nobody waits for its end."""

MODULE = '''
app.queue("ledger", partition="n", sequence=True, on_failure="skip")

# Whoever comes again goes to no file: a disk that is slow would keep it for longer than a suspect is alone.

@app.task
async def steady(n: int, ctx: Context) -> int:
    """Once it has come to run with its worker, it is in the way of nobody."""
    if ctx.fence == 1:
        note("steady", n)
        while not told("go"):
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.02)
    return n

@app.task
def plainly(n: int, ctx: Context) -> int:
    if ctx.fence == 1:
        note("plainly", n)
        while not told("go"):
            time.sleep(0.01)
    return n

@app.task
async def kill(n: int, ctx: Context) -> None:
    if ctx.fence == 1:
        note("kill", n)
        while not told("go"):
            await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)

@app.task
async def kill_later(n: int, ctx: Context) -> None:
    if ctx.fence == 1:
        note("kill_later", n)
        while not told("go"):
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)

@app.task
async def endless(n: int, ctx: Context) -> int:
    note("endless", n, time.time())
    while not told(f"over {n // 10}"):
        await asyncio.sleep(0.05)
    return n

@app.task(queue="other")
async def now(n: int) -> float:
    return time.time()
'''


def outlast(place: Place, jobs: Sequence[Job[Any]], workers: int = 1, patience: float = 200, **options: Any) -> int:
    """Replace each worker that dies until all jobs have ended; how many died."""
    running = [place.start(**options) for _ in range(workers)]
    died, deadline = 0, time.monotonic() + patience
    while any(job.refresh().state not in FINAL for job in jobs):
        assert time.monotonic() < deadline, [(job.task, job.state, job.crashes, job.reason) for job in jobs]
        for number, worker in enumerate(running):
            if worker.poll() is not None:
                died += 1
                bury(place.app, worker)
                running[number] = place.start(**options)
        time.sleep(0.05)
    return died


def dies(place: Place, worker: subprocess.Popen[bytes]) -> None:
    """By itself, and its lease with it."""
    assert worker.wait(60) == -signal.SIGKILL
    bury(place.app, worker)


def is_poison(job: Job[Any]) -> bool:
    job.refresh()
    assert [attempt.verdict for attempt in job.attempts] == [Verdict.LOST] * 3
    return (job.state, job.crashes, job.reason) == (State.DEAD, 3, "poison")


def completed(job: Job[Any]) -> tuple[int, int]:
    """Attempts and crashes of a job that was beside."""
    assert job.refresh().state is State.COMPLETED, (job.state, job.reason)
    return job.attempt, job.crashes


@pytest.mark.parametrize("guilty", [1, 2])
def test_who_kills_dies_alone_and_no_other_pays_for_it(place: Place, guilty: int) -> None:
    poisons = [place.enqueue("kill", n) for n in range(guilty)]
    innocents = [place.enqueue("plainly" if n % 2 else "steady", n) for n in range(20 - guilty)]
    first = place.worker(lease=LEASE, concurrency=20)
    wait_until(lambda: len(place.notes(first)) == 20, what="all run at once")
    place.tell("go")
    fresh = [place.enqueue("steady", 100 + n, delay=n / 5) for n in range(10)]
    dies(place, first)
    died = 1 + outlast(place, [*poisons, *innocents, *fresh], lease=LEASE, concurrency=20)
    assert all(map(is_poison, poisons))
    # The first death may be that of both; after it each kills by itself.
    assert died == 1 + 2 * guilty
    # One may have ended before the first death.
    assert set(map(completed, innocents)) <= {(1, 0), (1, 1)}
    assert {attempts for attempts, _ in map(completed, fresh)} == {1}


def test_who_kills_late_takes_others_along_once_more_at_most(place: Place) -> None:
    poison = place.enqueue("kill_later")
    innocents = [place.enqueue("steady", n) for n in range(9)]
    first = place.worker(lease=LEASE)
    wait_until(lambda: len(place.notes(first)) == 10, what="all run at once")
    place.tell("go")
    dies(place, first)
    assert 1 + outlast(place, [poison, *innocents], lease=LEASE) == 3
    assert is_poison(poison)
    assert {attempts for attempts, _ in map(completed, innocents)} == {1}
    assert max(crashes for _, crashes in map(completed, innocents)) <= 2


def test_several_workers_share_what_one_has_left(place: Place) -> None:
    poison = place.enqueue("kill")
    innocents = [place.enqueue("steady", n) for n in range(12)]
    first = place.worker(lease=LEASE, concurrency=20)
    wait_until(lambda: len(place.notes(first)) == 13, what="all run at once")
    place.tell("go")
    dies(place, first)
    outlast(place, [poison, *innocents], workers=3, lease=LEASE, concurrency=20)
    assert is_poison(poison)
    assert set(map(completed, innocents)) <= {(1, 0), (1, 1)}


def test_who_kills_in_a_sequence_holds_up_its_own_partition_alone(place: Place) -> None:
    place.tell("go")
    poison = place.enqueue("kill", 0, queue="ledger", partition="a")
    behind = [place.enqueue("steady", n, queue="ledger", partition="a") for n in range(3)]
    beside = [place.enqueue("steady", n, queue="ledger", partition="b") for n in range(3)]
    outlast(place, [poison, *behind, *beside], lease=LEASE)
    assert is_poison(poison)
    assert {attempts for attempts, _ in map(completed, behind + beside)} == {1}
    assert all(job.finished_at >= poison.finished_at for job in behind)  # type: ignore[operator]
    # In their order, as ever.
    ends = [job.finished_at for job in behind]
    assert ends == sorted(ends)  # type: ignore[type-var]


def test_all_jobs_of_a_killed_worker_run_elsewhere_within_eight_seconds_and_nobody_waits_for_that(
    place: Place,
) -> None:
    """With a lease of 5 s."""
    rounds = count()
    holds_once(lambda took: took[0] < 8 and took[1] < 1, lambda: killed_with_ten(place, next(rounds)))


def killed_with_ten(place: Place, round: int) -> tuple[float, float]:
    """Seconds until the last of ten jobs of a killed worker runs again, and that others wait meanwhile at most."""
    doomed = place.worker(lease="5s", concurrency=10, queues=["default"])
    jobs = [place.enqueue("endless", 10 * round + n) for n in range(10)]
    wait_until(lambda: len(place.notes(doomed)) == 10)
    other = place.worker(lease="5s", concurrency=20, queues=["default", "other"])
    place.enqueue("now", queue="other").result(20)
    doomed.kill()
    died, waits = time.time(), list[float]()
    while len(place.notes(other)) < 10:
        assert time.time() < died + 30
        sent = time.time()
        waits.append(place.enqueue("now", queue="other").result(20) - sent)
        time.sleep(0.05)
    again = max(float(note[2]) for note in place.notes(other)) - died
    place.tell(f"over {round}")
    wait_until(lambda: all(job.refresh().state in FINAL for job in jobs))
    assert {attempts for attempts, _ in map(completed, jobs)} == {1}
    other.terminate()
    assert other.wait(30) == 0
    return again, max(waits)
