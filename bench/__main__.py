"""Measures Mainspring on the embedded store and prints one table and one JSON document: `make bench`.

Every figure stands beside the raw store loop of the same run, as a ratio: machines differ and are shared, ratios hold.
`--quick` takes a tenth of the jobs, `--json` prints only the document.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import raw

CONCURRENCY = 100
BATCH = 1000
REPEATS = 3


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured thing, and the same by the raw loop where there is such a thing."""

    what: str
    value: float
    unit: str
    raw: float | None = None
    bar: str = ""
    """What it has to reach."""

    @property
    def ratio(self) -> float | None:
        return None if self.raw is None else self.value / self.raw


class Bench:
    """One run over one kind of store."""

    def __init__(self, folder: Path, jobs: int, backlog: int) -> None:
        self._folder = folder
        self._jobs = jobs
        self._backlog = backlog
        self._files = 0

    def figures(self) -> Iterator[Figure]:
        yield Figure("import mainspring", self.import_ms(), "ms", bar="< 250")
        yield self.enqueue()
        yield self.enqueue_many()
        plain = self.drained(lambda path: None)
        raw_drain = median(lambda: raw.claim_and_settle(self._file(), self._jobs, CONCURRENCY))
        yield Figure("drain, one worker process", plain, "jobs/s", raw_drain, "≥ 15,000 and ≥ 0.12 raw")
        queued = self.drained(self.fill_queued)
        yield Figure(f"drain, {self._backlog:,} more queued", queued, "jobs/s", raw_drain, f"≥ {plain * 0.85:,.0f}")
        finished = self.drained(self.fill_finished)
        yield Figure(f"drain, {self._backlog:,} finished", finished, "jobs/s", raw_drain, f"≥ {plain * 0.85:,.0f}")
        yield from self.gated()
        yield from self.flows()
        yield from self.idle_worker()
        yield self.newcomer()

    # --- each figure ---

    def import_ms(self) -> float:
        def seconds(code: str) -> float:
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            return time.perf_counter() - start

        return 1000 * (best(lambda: seconds("import mainspring")) - best(lambda: seconds("pass")))

    def enqueue(self) -> Figure:
        jobs = self._jobs // 10

        def rate() -> float:
            with opened(self._file()) as noop:
                noop.enqueue(7, email="a@b.c")
                start = time.perf_counter()
                for _ in range(jobs):
                    noop.enqueue(7, email="a@b.c")
                return jobs / (time.perf_counter() - start)

        beside = median(lambda: raw.insert_singly(self._file(), jobs))
        return Figure("enqueue, one by one", median(rate), "jobs/s", beside)

    def enqueue_many(self) -> Figure:
        def rate() -> float:
            with opened(self._file()) as noop:
                noop.enqueue(7, email="a@b.c")
                start = time.perf_counter()
                for _ in range(0, self._jobs, BATCH):
                    noop._app.enqueue_many(noop.job(7, email="a@b.c") for _ in range(BATCH))
                return self._jobs / (time.perf_counter() - start)

        beside = median(lambda: raw.insert_batches(self._file(), self._jobs, BATCH))
        return Figure("enqueue_many, 1,000 at a time", median(rate), "jobs/s", beside, "≥ 40,000")

    def drained(self, prepare: Callable[[Path], None]) -> float:
        def rate() -> float:
            path = self._file()
            self.fill(path, self._jobs)
            prepare(path)
            return drain(path, "default", self._jobs)

        return median(rate)

    def gated(self) -> Iterator[Figure]:
        """Drains of queues with more than their jobs to look at."""

        def rate(queue: str, partitions: Iterable[str]) -> float:
            path = self._file()
            with opened(path) as noop:
                drafts = (noop.using(queue=queue, partition=name).job(7, email="a@b.c") for name in partitions)
                noop._app.enqueue_many(drafts)
            return drain(path, queue, self._jobs)

        numbers = range(self._jobs)
        many = self._jobs // 5
        for what, queue, partitions in (
            ("limited queue", "limited", ["" for _ in numbers]),
            ("100 partitions", "shared", [str(number % 100) for number in numbers]),
            (
                f"{many:,} partitions, one with most jobs",
                "shared",
                [str(number if number < many else 0) for number in numbers],
            ),
        ):
            drained = median(lambda queue=queue, partitions=partitions: rate(queue, partitions))
            yield Figure(f"drain, {what}", drained, "jobs/s", bar="≥ 8,000")

    def flows(self) -> Iterator[Figure]:
        """What it costs that jobs wait for each other."""
        jobs = self._jobs // 5

        def drained(pairs: bool) -> float:
            path = self._file()
            with opened(path) as noop:
                if pairs:
                    in_pairs(noop, 2 * jobs).enqueue()
                else:
                    noop._app.enqueue_many(noop.job(7, email="a@b.c") for _ in range(2 * jobs))
            return drain(path, "default", 2 * jobs)

        def insert_ms() -> float:
            with opened(self._file()) as noop:
                noop.enqueue(7, email="a@b.c")
                flow = in_pairs(noop, jobs)
                start = time.perf_counter()
                flow.enqueue()
                return 1000 * (time.perf_counter() - start)

        yield Figure(f"insert a flow of {jobs:,}", median(insert_ms), "ms", bar="< 1,000")
        plain = median(lambda: drained(pairs=False))
        yield Figure("drain, pairs of a flow", median(lambda: drained(pairs=True)), "jobs/s", bar=f"≥ {plain / 2:,.0f}")

    def newcomer(self) -> Figure:
        """Each is the first job of its tenant, while another one has a long queue and slots are idle."""
        path = self._file()
        with opened(path, "nap") as nap:
            crowd = nap.using(queue="tenants", partition="crowd")
            nap._app.enqueue_many(crowd.job() for _ in range(self._backlog))
        with worker_process(path, "wait", "tenants"), opened(path, "pick_up") as pick_up:
            late_ms = []
            for number in range(200):
                time.sleep(0.02)
                alone = pick_up.using(queue="tenants", partition=str(number))
                late_ms.append(1000 * alone.enqueue(time.time()).result(timeout=10))
        late_ms.sort()
        what = f"first job beside {self._backlog:,} of another tenant, p99"
        return Figure(what, late_ms[int(len(late_ms) * 0.99)], "ms", bar="< 20")

    def idle_worker(self) -> Iterator[Figure]:
        path = self._file()
        with worker_process(path, "wait", "default") as (said, _), opened(path, "pick_up") as pick_up:
            yield Figure("memory of an idle worker", said["rss"] / 1e6, "MB", bar="< 80")
            late_ms = []
            for _ in range(200):
                time.sleep(0.02)
                late_ms.append(1000 * pick_up.enqueue(time.time()).result(timeout=10))
        late_ms.sort()
        yield Figure("pick-up latency, p50", late_ms[len(late_ms) // 2], "ms", bar="< 10")
        yield Figure("pick-up latency, p99", late_ms[int(len(late_ms) * 0.99)], "ms")

    # --- what they stand on ---

    def _file(self) -> Path:
        self._files += 1
        return self._folder / f"{self._files}.db"

    def fill(self, path: Path, jobs: int) -> None:
        with opened(path) as noop:
            noop._app.enqueue_many(noop.job(number, email="a@b.c") for number in range(jobs))

    def fill_queued(self, path: Path) -> None:
        self.fill(path, self._backlog)

    def fill_finished(self, path: Path) -> None:
        """Copies of a job that really ran, ended over the last hour."""
        with opened(path) as noop:
            first = noop.using(priority=0)
            noop._app.enqueue_many(first.job(0, email="a@b.c") for _ in range(100))
        run_worker(path, "drain", "default", 1, 1)
        with sqlite3.connect(path) as connection:
            columns = [row[1] for row in connection.execute("PRAGMA table_info(mainspring_finished)")]
            changed = {"id": "printf('%036d', n)", "finished_at": "finished_at - n % 3600000"}
            values = ", ".join(changed.get(column, column) for column in columns)
            connection.execute(
                "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?) "
                f"INSERT INTO mainspring_finished ({', '.join(columns)}) "
                f"SELECT {values} FROM numbers CROSS JOIN (SELECT * FROM mainspring_finished LIMIT 1)",
                (self._backlog,),
            )


@contextmanager
def opened(path: Path, task: str = "noop") -> Iterator[object]:
    """A task of the measured program, on a store of its own."""
    from mainspring import Mainspring

    with Mainspring(f"sqlite:///{path}") as app:

        @app.task
        async def noop(user_id: int, email: str) -> None: ...

        @app.task
        async def pick_up(sent_at: float) -> float:
            return sent_at

        @app.task
        async def nap() -> None: ...

        yield app.tasks[task]


@contextmanager
def worker_process(path: Path, *arguments: object) -> Iterator[tuple[dict[str, float], subprocess.Popen[str]]]:
    """A worker in a process of its own, and the first thing that it says."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.noop", *map(str, arguments)],
        env=os.environ | {"MAINSPRING_URL": f"sqlite:///{path}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit("the measured worker failed, see above")
        yield json.loads(line), process
        process.stdin.close()


def in_pairs(noop: object, jobs: int) -> object:
    """A flow of so many jobs, every second of which waits for the one before."""
    from mainspring import Flow

    flow = Flow("pairs")
    for _ in range(jobs // 2):
        flow.add(noop.job(7, email="a@b.c"), after=flow.add(noop.job(7, email="a@b.c")))
    return flow


def drain(path: Path, queue: str, jobs: int) -> float:
    """Jobs per second, by one worker process."""
    said = run_worker(path, "drain", queue, jobs, CONCURRENCY)
    return said["ran"] / said["seconds"]


def run_worker(path: Path, *arguments: object) -> dict[str, float]:
    with worker_process(path, *arguments) as (said, _):
        return said


def median(measure: Callable[[], float]) -> float:
    return statistics.median(measure() for _ in range(REPEATS))


def best(measure: Callable[[], float]) -> float:
    return min(measure() for _ in range(5))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the jobs")
    parser.add_argument("--json", action="store_true", help="print only the JSON document")
    options = parser.parse_args()
    scale = 10 if options.quick else 1
    console = Console(stderr=options.json)
    with tempfile.TemporaryDirectory(prefix="mainspring-bench-") as folder:
        table = Table("", "figure", "raw loop", "ratio", "bar", title="Mainspring on SQLite")
        for column in table.columns[1:]:
            column.justify = "right"
        figures = []
        for figure in Bench(Path(folder), 50_000 // scale, 1_000_000 // scale).figures():
            figures.append(asdict(figure) | {"ratio": figure.ratio})
            value = f"{figure.value:,.0f} {figure.unit}" if figure.value >= 100 else f"{figure.value:.1f} {figure.unit}"
            beside = "" if figure.raw is None else f"{figure.raw:,.0f}"
            ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
            table.add_row(figure.what, value, beside, ratio, figure.bar)
            console.log(f"{figure.what}: {value}")
        console.print(table)
    machine = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {os.cpu_count()} cores"
    document = {"machine": machine, "concurrency": CONCURRENCY, "store": "sqlite", "figures": figures}
    print(json.dumps(document, indent=None if options.json else 2))


if __name__ == "__main__":
    main()
