"""Turns, sequences and keys in earnest: worker processes and enqueuers that race, all on one file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mainspring import Job

from .scene import wait_until
from .test_processes import Place

pytestmark = pytest.mark.timeout(300)

WEIGHTS = {"ann": 1, "bob": 1, "eve": 2}
LENGTH = 12
"""How many jobs a sequence has."""
FLAKY, SLEEPY, DEADLY, BROKEN = 2, 4, 6, 8
"""The jobs of a sequence that fail twice, snooze, kill their worker, and end dead."""

MODULE = f"""
import asyncio, os, time
from pathlib import Path
from mainspring import Context, Limits, Mainspring, Retry, Snooze, Unique

HERE = Path(__file__).parent
app = Mainspring(f"sqlite:///{{HERE}}/jobs.db")
app.queue("shares", partition="tenant", partitions={{"eve": Limits(weight={WEIGHTS["eve"]})}})
app.queue("turns", partition="tenant")
app.queue("block", partition="account", sequence=True)
app.queue("skip", partition="account", sequence=True, on_failure="skip")

notes = open(HERE / f"notes-{{os.getpid()}}.txt", "a", buffering=1)

@app.task(queue="shares")
async def share(tenant: str) -> None:
    print(tenant, file=notes)

@app.task(queue="turns")
async def turn(tenant: str, ctx: Context) -> None:
    print(tenant, ctx.job.id, file=notes)
    await asyncio.sleep(0.005)

@app.task(retry=Retry(attempts=3, delay="20ms"))
async def step(account: str, number: int, ctx: Context) -> None:
    run = (ctx.job.queue, account, number, ctx.fence)
    print(*run, time.time(), file=notes)
    try:
        await take(ctx, account, number)
    finally:
        print(*run, time.time(), file=notes)

async def take(ctx: Context, account: str, number: int) -> None:
    await asyncio.sleep(0.005)
    if number == {FLAKY} and ctx.attempt < 3:
        raise OSError("try again")
    if number == {SLEEPY} and ctx.fence == 1:
        raise Snooze("50ms")
    if number == {DEADLY} and account == "a" and ctx.fence == 1:
        (HERE / f"deadly-{{ctx.job.queue}}").touch()
        await asyncio.sleep(600)
    if number == {BROKEN} and not (HERE / "mended").exists():
        raise ValueError("no")

@app.task(unique=Unique())
async def once(number: int) -> None: ...
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path, MODULE, ())
    place.app.queue("shares", partition="tenant")
    place.app.queue("turns", partition="tenant")
    for name in ("block", "skip"):
        place.app.queue(name, partition="account", sequence=True)

    async def share(tenant: str) -> None: ...
    async def turn(tenant: str) -> None: ...
    async def step(account: str, number: int) -> None: ...

    place.app.task(queue="shares")(share)
    place.app.task(queue="turns")(turn)
    place.app.task(step)
    yield place
    place.close()


def noted(place: Place) -> list[list[str]]:
    return [words for _, words in place.notes()]


def test_weights_of_one_one_and_two_give_such_shares_of_ten_thousand_jobs(place: Place) -> None:
    share = place.app.tasks["share"]
    place.app.enqueue_many(share.job(tenant) for tenant, weight in WEIGHTS.items() for _ in range(weight * 2500 + 200))
    place.worker(concurrency=100)
    wait_until(lambda: place.app.jobs.count(state="completed") == 10_600, patience=60)

    order = [tenant for (tenant,) in noted(place)]
    for many in (100, 1000, 10_000):
        shares = Counter(order[:many])
        for tenant, weight in WEIGHTS.items():
            fair = many * weight / sum(WEIGHTS.values())
            assert abs(shares[tenant] - fair) <= 0.05 * fair + 1, (many, shares)


def test_one_job_of_another_tenant_is_among_the_next_however_many_wait(place: Place) -> None:
    turn, slots = place.app.tasks["turn"], 20
    place.app.enqueue_many(turn.job("many") for _ in range(100_000))
    place.worker(concurrency=slots)
    wait_until(lambda: len(noted(place)) > 5 * slots)
    few: list[Job[Any]] = []
    for number in range(20):
        few.append(turn.enqueue(f"few-{number}"))
        few[-1].result(20)
    assert place.app.jobs.count(state="queued", partition="many") > 50_000

    order = [id for _, id in noted(place)]
    claimed_at = {}
    for first in range(0, len(order), 1000):
        for job in place.app.jobs.find(order[first : first + 1000], limit=1000):
            claimed_at[job.id] = job.record.started_at or 0
    for job in few:
        before = [id for id in order[: order.index(job.id)] if claimed_at.get(id, 0) > job.record.created_at]
        # A claim may have been under way; in the next one it comes first, or after the one whose turn it was.
        assert len(before) <= 2 * slots, (job.partition, len(before))


def test_sequences_keep_their_order_whatever_becomes_of_a_job_and_of_its_worker(place: Place) -> None:
    """In both kinds, in three accounts each, there are a job that fails twice, one that snoozes, one whose worker is
    killed, and one that ends dead."""
    step, count = place.app.tasks["step"], place.app.jobs.count
    places = [(queue, account) for queue in ("block", "skip") for account in "abc"]
    drafts = [step.using(queue=queue).job(account, number) for number in range(LENGTH) for queue, account in places]
    jobs = place.app.enqueue_many(drafts)
    workers = [place.worker(lease="10s", concurrency=10)]
    wait_until(lambda: all((place.folder / f"deadly-{queue}").exists() for queue in ("block", "skip")))
    workers.append(place.worker(lease="10s", concurrency=10))

    # Two accounts are held up by jobs that hang in the first worker. The others go on without them.
    wait_until(lambda: count(queue="skip", state=("completed", "dead")) == DEADLY + 2 * LENGTH)
    wait_until(lambda: count(queue="block", state=("completed", "dead")) == DEADLY + 2 * (BROKEN + 1))
    place.kill(workers[0])
    wait_until(lambda: count(queue="skip", state=("completed", "dead")) == 3 * LENGTH)
    wait_until(lambda: count(queue="block", state="dead") == 3)
    assert count(queue="block", state="queued") == 3 * (LENGTH - BROKEN - 1), "the dead hold up those behind them"
    for account in "abc":
        holder = place.app.queues.partition("block", account).holder
        assert holder == jobs[BROKEN * len(places) + places.index(("block", account))].id
    (place.folder / "mended").touch()
    assert place.app.jobs.retry(queue="block", state="dead") == 3
    wait_until(lambda: count(queue="block", state="completed") == 3 * LENGTH)

    assert count(queue="skip", state="dead") == 3
    for queue, account in places:
        check_order(place, queue, account)


def check_order(place: Place, queue: str, account: str) -> None:
    """By the times at which the functions themselves began and ended; the killed one only began."""
    runs: dict[tuple[int, int], list[float]] = {}
    for *whose, number, fence, at in noted(place):
        if whose == [queue, account]:
            runs.setdefault((int(number), int(fence)), []).append(float(at))
    times = sorted(runs.values())
    assert times == [runs[run] for run in sorted(runs)], "in order"
    assert all(before[-1] <= after[0] for before, after in pairwise(times)), "one at a time"
    often = Counter(number for number, _ in runs)
    expected = Counter(range(LENGTH)) + Counter({FLAKY: 2, SLEEPY: 1, BROKEN: 3 if queue == "block" else 2})
    assert often == expected + Counter({DEADLY: 1} if account == "a" else {})


RACER = """
import asyncio, sys, threading
from mainspring import StoreBusy
from jobs import once
once.codec
found = [[] for _ in range(8)]
barrier = threading.Barrier(9)

def race(number):
    barrier.wait()
    for key in range(5):
        job = None
        while job is None:
            try:
                job = asyncio.run(once.aenqueue(key)) if number % 2 else once.enqueue(key)
            except StoreBusy:
                pass  # sixty-three others were before it for all of its deadline
        found[number].append(job.id)

threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
for thread in threads:
    thread.start()
print("ready", flush=True)
sys.stdin.readline()
barrier.wait()
for thread in threads:
    thread.join()
for ids in found:
    print(*ids)
"""


def test_of_sixty_four_racing_enqueuers_one_makes_the_job_and_all_get_it(place: Place) -> None:
    racers = [place.start("-c", RACER) for _ in range(8)]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n", place.errors()
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    found = [line.split() for racer in racers for line in racer.communicate(timeout=60)[0].splitlines()]
    assert [racer.returncode for racer in racers] == [0] * 8, place.errors()
    assert len(found) == 64
    assert len(found[0]) == len(set(found[0])) == 5
    assert all(ids == found[0] for ids in found)
    assert {job.id for job in place.app.jobs.find(limit=1000)} == set(found[0])
