"""What is measured, section by section: each takes a ground and sizes, and gives figures."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from bench.figures import Beside, Figure, Sizes, alternating, median
from bench.ground import Ground
from bench.processes import BATCH, drain, enqueue_noops, opened, share, worker_process
from mainspring import Flow, Mainspring

__all__ = ["SECTIONS", "Section"]

Section = Callable[[Ground, Sizes], Iterator[Figure]]


def start(ground: Ground, sizes: Sizes) -> Iterator[Figure]:
    """What a program pays for the import alone."""

    def best_ms(code: str) -> float:
        def ms() -> float:
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            return 1000 * (time.perf_counter() - started)

        return min(ms() for _ in range(5))

    yield Figure("import", "import mainspring", best_ms("import mainspring") - best_ms("pass"), "ms")


def enqueue(ground: Ground, sizes: Sizes) -> Iterator[Figure]:
    """One by one, blocking and awaited, beside a bare INSERT; many at once, beside a bulk insert."""
    few = sizes.jobs // 10

    def one_by_one() -> float:
        with opened(ground.fresh()) as app:
            noop = app.tasks["noop"]
            noop.enqueue(7, email="a@b.c")
            started = time.perf_counter()
            for _ in range(few):
                noop.enqueue(7, email="a@b.c")
            return few / (time.perf_counter() - started)

    async def awaited() -> float:
        async with opened(ground.fresh()) as app:
            noop = app.tasks["noop"]
            await noop.aenqueue(7, email="a@b.c")
            started = time.perf_counter()
            for _ in range(few):
                await noop.aenqueue(7, email="a@b.c")
            return few / (time.perf_counter() - started)

    def many() -> float:
        with opened(ground.fresh()) as app:
            noop = app.tasks["noop"]
            noop.enqueue(7, email="a@b.c")
            started = time.perf_counter()
            for _ in range(0, sizes.jobs, BATCH):
                app.enqueue_many(noop.job(7, email="a@b.c") for _ in range(BATCH))
            return sizes.jobs / (time.perf_counter() - started)

    ours, raw = alternating(sizes, one_by_one, lambda: ground.raw_enqueue(few))
    yield Figure("enqueue", "enqueue, one by one", ours, "jobs/s", Beside("raw", raw))
    ours, raw = alternating(sizes, lambda: asyncio.run(awaited()), lambda: ground.raw_aenqueue(few))
    yield Figure("aenqueue", "aenqueue, one by one", ours, "jobs/s", Beside("raw", raw))
    ours, raw = alternating(sizes, many, lambda: ground.raw_enqueue_many(sizes.jobs, BATCH))
    yield Figure("enqueue_many", f"enqueue_many, {BATCH:,} at a time", ours, "jobs/s", Beside("raw", raw))


def plain_drain(ground: Ground, sizes: Sizes) -> Iterator[Figure]:
    """One worker process runs all there is, results kept, beside the raw loop in batches of its concurrency."""
    cpu_us: list[float] = []
    memory: list[float] = []

    def ours() -> float:
        url = ground.fresh()
        enqueue_noops(url, sizes.jobs)
        said = drain(url, "default", sizes.jobs, sizes.concurrency)
        cpu_us.append(1e6 * said["cpu"] / said["ran"])
        memory.append(said["rss"] / 1e6)
        return float(said["ran"] / said["seconds"])

    rate, raw = alternating(sizes, ours, lambda: ground.raw_drain(sizes.jobs, sizes.concurrency))
    yield Figure("drain", "drain, one worker process", rate, "jobs/s", Beside("raw", raw))
    yield Figure("drain_cpu", "its processor time per job", statistics.median(cpu_us), "µs")
    yield Figure("drain_memory", "its memory afterwards", statistics.median(memory), "MB")


def statistics_kept(ground: Ground, sizes: Sizes) -> Iterator[Figure]:
    """The same drain with and without counting for statistics."""

    def rate(counted: bool) -> float:
        url = ground.fresh()
        enqueue_noops(url, sizes.jobs)
        said = drain(url, "default", sizes.jobs, sizes.concurrency, counted=counted)
        return float(said["ran"] / said["seconds"])

    on, off = alternating(sizes, lambda: rate(True), lambda: rate(False))
    yield Figure("drain_counted", "drain, with statistics", on, "jobs/s", Beside("without", off))


def backlog(ground: Ground, sizes: Sizes) -> Iterator[Figure]:
    """The same drain beside a long queue, and on top of a long history."""
    queued, finished = ground.fresh(), ground.fresh()
    enqueue_noops(queued, 1)
    ground.copy_queued(queued, sizes.backlog)
    enqueue_noops(finished, 1)
    drain(finished, "default", 1, 1)
    ground.copy_finished(finished, sizes.backlog)

    def rate(url: str) -> float:
        enqueue_noops(url, sizes.jobs)
        ground.tidy(url)  # alike for all three: else what differs is what the server knows about its tables
        said = drain(url, "default", sizes.jobs, sizes.concurrency)
        return float(said["ran"] / said["seconds"])

    empty, *rates = alternating(sizes, lambda: rate(ground.fresh()), lambda: rate(queued), lambda: rate(finished))
    for kind, value in zip(("queued", "finished"), rates, strict=True):
        what = f"drain, {sizes.backlog:,} more {kind}"
        yield Figure(f"drain_{kind}", what, value, "jobs/s", Beside("alone", empty))


def two_workers(ground: Ground, sizes: Sizes) -> Iterator[Figure]:
    """The same jobs shared by two worker processes, from the first run to the last."""

    def rate(processes: int) -> float:
        url = ground.fresh()
        enqueue_noops(url, sizes.jobs)
        return share(url, processes, sizes.concurrency)

    two, one = alternating(sizes, lambda: rate(2), lambda: rate(1))
    yield Figure("two_workers", "drain, two worker processes", two, "jobs/s", Beside("one", one))


def gates(ground: Ground, sizes: Sizes) -> Iterator[Figure]:
    """Drains of queues with more than their jobs to look at."""

    def rate(queue: str, partitions: Iterable[str]) -> float:
        url = ground.fresh()
        with opened(url) as app:
            noop = app.tasks["noop"]
            app.enqueue_many(noop.using(queue=queue, partition=name).job(7, email="a@b.c") for name in partitions)
        said = drain(url, queue, sizes.jobs, sizes.concurrency)
        return float(said["ran"] / said["seconds"])

    numbers, many = range(sizes.jobs), sizes.jobs // 5
    for key, what, queue, partitions in (
        ("limited", "limited queue", "limited", ["" for _ in numbers]),
        ("partitions", "100 partitions", "shared", [str(number % 100) for number in numbers]),
        (
            "skewed",
            f"{many:,} partitions, one with most jobs",
            "shared",
            [str(number if number < many else 0) for number in numbers],
        ),
    ):
        value = median(sizes, partial(rate, queue, partitions))
        yield Figure(f"drain_{key}", f"drain, {what}", value, "jobs/s")


def flows(ground: Ground, sizes: Sizes) -> Iterator[Figure]:
    """What it costs that jobs wait for each other."""
    jobs = sizes.jobs // 5

    def insert_ms() -> float:
        with opened(ground.fresh()) as app:
            app.tasks["noop"].enqueue(7, email="a@b.c")
            flow = _in_pairs(app, jobs)
            started = time.perf_counter()
            flow.enqueue()
            return 1000 * (time.perf_counter() - started)

    def rate(pairs: bool) -> float:
        url = ground.fresh()
        if pairs:
            with opened(url) as app:
                _in_pairs(app, 2 * jobs).enqueue()
        else:
            enqueue_noops(url, 2 * jobs)
        said = drain(url, "default", 2 * jobs, sizes.concurrency)
        return float(said["ran"] / said["seconds"])

    yield Figure("insert_flow", f"insert a flow of {jobs:,}", median(sizes, insert_ms), "ms")
    pairs, single = alternating(sizes, lambda: rate(True), lambda: rate(False))
    yield Figure("drain_pairs", "drain, pairs of a flow", pairs, "jobs/s", Beside("single", single))


def _in_pairs(app: Mainspring, jobs: int) -> Flow[Any]:
    """A flow of so many jobs, every second of which waits for the one before."""
    noop, flow = app.tasks["noop"], Flow("pairs")
    for _ in range(jobs // 2):
        flow.add(noop.job(7, email="a@b.c"), after=flow.add(noop.job(7, email="a@b.c")))
    return flow


def idle(ground: Ground, sizes: Sizes) -> Iterator[Figure]:
    """A worker that has nothing to do: its memory, and how soon it is at a job that comes."""
    url = ground.fresh()
    with worker_process(url, "wait", "default") as worker, opened(url) as app:
        yield Figure("memory", "memory of an idle worker", worker.said()["rss"] / 1e6, "MB")
        pick_up = app.tasks["pick_up"]
        late_ms = _late_ms(lambda _: pick_up.enqueue(time.time()).result(timeout=10))
    yield Figure("pick_up_p50", "pick-up latency, p50", late_ms[len(late_ms) // 2], "ms")
    yield Figure("pick_up_p99", "pick-up latency, p99", late_ms[int(len(late_ms) * 0.99)], "ms")


def newcomer(ground: Ground, sizes: Sizes) -> Iterator[Figure]:
    """Each is the first job of its tenant, while another one has a long queue and slots are idle."""
    url = ground.fresh()
    with opened(url) as app:
        app.tasks["nap"].using(queue="tenants", partition="crowd").enqueue()
    ground.copy_queued(url, sizes.backlog)
    ground.tidy(url)
    with worker_process(url, "wait", "tenants") as worker, opened(url) as app:
        worker.said()
        pick_up = app.tasks["pick_up"].using
        late_ms = _late_ms(
            lambda number: pick_up(queue="tenants", partition=str(number)).enqueue(time.time()).result(timeout=10)
        )
    what = f"first job beside {sizes.backlog:,} of another tenant, p99"
    yield Figure("newcomer_p99", what, late_ms[int(len(late_ms) * 0.99)], "ms")


def _late_ms(late: Callable[[int], float]) -> list[float]:
    """How late 200 jobs are that come 20 ms apart, sorted."""
    measured: list[float] = []
    for number in range(200):
        time.sleep(0.02)
        measured.append(1000 * late(number))
    return sorted(measured)


SECTIONS: Mapping[str, Section] = {
    "import": start,
    "enqueue": enqueue,
    "drain": plain_drain,
    "stats": statistics_kept,
    "backlog": backlog,
    "two": two_workers,
    "gates": gates,
    "flows": flows,
    "idle": idle,
    "newcomer": newcomer,
}
