"""A worker keeps its lease through what its jobs do to it, and gives up all that it had when it has lost it."""

from __future__ import annotations

import signal
import time
from contextlib import closing
from itertools import count
from urllib.parse import urlsplit

import pytest
from punctual import holds_once
from servers.proxy import Proxy

from mainspring.model.outcome import Verdict
from mainspring.model.states import FINAL

from .places import Place
from .scene import wait_until

pytestmark = pytest.mark.timeout(300)

MODULE = """
def hog(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)

@app.task
async def rude(n: int) -> str:
    note("rude")
    hog(12)
    return "at last"

@app.task
async def held(n: int, ctx: Context) -> int:
    note("held", ctx.fence)
    while not told(f"go-{ctx.fence}"):
        await asyncio.sleep(0.01)
    ctx.log(f"fence {ctx.fence}")
    ctx.progress(ctx.fence)
    ctx.checkpoint(ctx.fence)
    note("over", ctx.fence)
    return ctx.fence

@app.task
async def waits(n: int) -> int:
    note("waits", n)
    while not told(f"go {n}"):
        await asyncio.sleep(0.01)
    return n

@app.task
async def short(n: int, ctx: Context) -> int:
    note("short", n)
    await asyncio.sleep(0.05)
    return n

@app.task
async def long(n: int, ctx: Context) -> int:
    note("long", n)
    while not told("over"):
        await asyncio.sleep(0.05)
    return n
"""


def test_a_loop_that_a_job_blocks_for_three_leases_keeps_them_and_is_named_while_it_stands(place: Place) -> None:
    worker = place.worker(lease="4s")
    other = place.worker(lease="10s", queues=["none"])  # it would reap what the first one lost
    job = place.enqueue("rude")
    wait_until(lambda: place.notes(worker))
    wait_until(lambda: f"by job {job.id} (rude)" in place.errors(worker))
    assert job.refresh().state not in FINAL
    assert "has been blocked for " in place.errors(worker)
    wait_until(lambda: "in hog" in place.errors(worker))
    assert job.result(30) == "at last"
    job.refresh()
    assert (job.crashes, job.attempt, job.record.lease) == (0, 1, 1)
    assert place.alive() == 2
    assert "went unheard" not in place.errors(worker) + place.errors(other)


@pytest.mark.fault("silent network", "postgres", "redis")
@pytest.mark.parametrize("place", ["postgresql", "redis"], indirect=True)
def test_a_short_lease_outlasts_a_connection_that_has_gone_silent(place: Place) -> None:
    direct, parts = place.url, urlsplit(place.url)
    rounds = count()
    with closing(Proxy(parts.hostname or "", parts.port or 0)) as proxy:
        place.url = proxy.url(direct)
        worker = place.worker(lease="5s")
        place.url = direct
        place.worker(lease="5s", queues=["none"])  # it would reap what the first one lost

        def through_silence() -> tuple[int, int, int]:
            number = next(rounds)
            job = place.enqueue("waits", number)
            wait_until(lambda: ["waits", str(number)] in place.notes(worker))
            for _ in range(2):
                proxy.forget()
                time.sleep(6)  # longer than the lease
            place.tell(f"go {number}")
            assert job.result(60) == number
            job.refresh()
            return job.crashes, job.attempt, job.record.lease

        # Where a busy machine keeps it from what it would do in the rest of the lease, it loses the job.
        holds_once(lambda found: found == (0, 1, 1), through_silence)


@pytest.mark.parametrize("meanwhile", ["has finished", "still runs"])
def test_a_worker_frozen_past_its_lease_changes_nothing_when_it_thaws(place: Place, meanwhile: str) -> None:
    frozen = place.worker(lease="4s")
    job = place.enqueue("held")
    wait_until(lambda: place.notes(frozen))
    frozen.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: not place.alive())
        other = place.worker()
        wait_until(lambda: place.notes(other))
        if meanwhile == "has finished":
            place.tell("go-3")
            assert job.result(20) == 3
        before = place.app.jobs.get(job.id)
        place.tell("go-1")
    finally:
        frozen.send_signal(signal.SIGCONT)
    wait_until(lambda: place.alive() == 2, what="it starts over")
    wait_until(lambda: "went unheard for longer than its lease" in place.errors(frozen))
    assert place.app.jobs.get(job.id).record == before.record
    place.tell("go-3")
    assert job.result(20) == 3
    seen = place.app.jobs.get(job.id)
    assert seen.record.lease == 3
    assert ([line.text for line in seen.log], seen.progress) == (["fence 3"], 3)
    assert [attempt.verdict for attempt in seen.attempts] == [Verdict.LOST, Verdict.COMPLETED]
    # And it is a good worker again.
    other.terminate()
    assert other.wait(60) == 0
    assert place.enqueue("short", 7).result(20) == 7


@pytest.mark.parametrize("place", ["postgresql", "redis"], indirect=True)
def test_workers_whose_clocks_are_two_hours_apart_get_on_with_each_other(place: Place) -> None:
    """On SQLite all workers are on one machine, and have one clock."""
    workers = [place.worker(lease="10s", clock_off=off) for off in (3600, -3600)]
    jobs = [place.enqueue("short", n, delay=n / 20) for n in range(40)]
    jobs += [place.enqueue("long", n) for n in range(15)]  # more than one of them runs at once
    due = {job.id: job.record.run_at for job in (job.refresh() for job in jobs)}
    wait_until(lambda: all(place.notes(worker) for worker in workers), what="both work")
    place.tell("over")
    wait_until(lambda: all(job.refresh().state in FINAL for job in jobs))
    for job in jobs:
        assert (job.attempt, job.crashes, job.record.lease) == (1, 0, 1)
        assert job.record.started_at is not None
        assert job.record.finished_at is not None
        assert due[job.id] <= job.record.started_at <= job.record.finished_at
        assert job.record.started_at < due[job.id] + 20_000
    wait_until(lambda: place.alive() == 2)
    assert "went unheard" not in place.errors()
