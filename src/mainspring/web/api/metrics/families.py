"""What was read, as families of Prometheus' metrics: https://prometheus.io/docs/practices/naming/."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from mainspring.admin import QueueView, WorkerView
from mainspring.admin.jobs import EACH_TALLIED
from mainspring.model.states import State
from mainspring.model.stats import Histogram, bucket, point
from mainspring.web.api.metrics.rising import By, Risen
from mainspring.web.api.metrics.scrape import Scraped

__all__ = ["Families"]

MOST = 100
"""Of how many queues, and of how many tasks, is told: the first by name."""

BOUNDS_MS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 131072, 524288, 2097152, 8388608)
"""Up to where the buckets of histograms go: bounds of those in which times are counted, up to some two hours."""
_UP_TO = tuple((str(ms / 1000), bucket(ms)) for ms in BOUNDS_MS)

EVENTS = {
    "enqueued": "Jobs that were enqueued.",
    "started": "Runs that began.",
    "completed": "Jobs that ended well.",
    "failed": "Runs that raised.",
    "retried": "Failed runs after which the job is tried again.",
    "dead": "Jobs that failed for good.",
    "cancelled": "Jobs that were cancelled.",
    "crashed": "Runs whose worker, or process, died.",
    "limited": "Runs that were told to slow down.",
}
SINCE = "Since this process was first asked."


class Families(Collector):
    """All that one scrape shows."""

    def __init__(self, scraped: Scraped) -> None:
        self._scraped = scraped

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("mainspring", "The program that answers.", {"version": version("mainspring")})
        yield from _of_queues(self._scraped.queues[:MOST])
        yield _number("mainspring_queues", "Queues, those included that are not told of.", len(self._scraped.queues))
        yield from _of_workers(self._scraped.workers)
        yield from _by_queue(self._scraped.risen)
        yield from _by_task(self._scraped.risen)


def _of_queues(queues: Sequence[QueueView]) -> Iterator[Metric]:
    at_least = f"Where there are more than {EACH_TALLIED:,} it may be more than this says, and no less."
    jobs = GaugeMetricFamily("mainspring_jobs", f"Jobs by queue and state. {at_least}", labels=("queue", "state"))
    oldest = GaugeMetricFamily(
        "mainspring_queue_oldest_waiting_seconds",
        "For how long the longest-waiting queued job has been due; 0 where none waits.",
        labels=("queue",),
    )
    paused = GaugeMetricFamily("mainspring_queue_paused", "1: no job is taken from the queue.", labels=("queue",))
    for queue in queues:
        for state in State:
            jobs.add_metric((queue.name, state.value), queue.counts.get(state, 0))
        oldest.add_metric((queue.name,), queue.oldest_waiting or 0.0)
        paused.add_metric((queue.name,), queue.paused)
    yield from (jobs, oldest, paused)


def _of_workers(workers: Sequence[WorkerView]) -> Iterator[Metric]:
    there = GaugeMetricFamily(
        "mainspring_workers",
        "Workers: working, quiet (they take no more jobs), or lost (not heard of for too long).",
        labels=("state",),
    )
    lost = [worker for worker in workers if not worker.alive]
    quiet = [worker for worker in workers if worker.alive and worker.quiet]
    working = [worker for worker in workers if worker.alive and not worker.quiet]
    for name, some in (("working", working), ("quiet", quiet), ("lost", lost)):
        there.add_metric((name,), len(some))
    yield there
    slots = sum(worker.concurrency for worker in working)
    yield _number("mainspring_worker_slots", "How many jobs may run at once in workers that are working.", slots)
    running = sum(worker.running for worker in (*working, *quiet))
    yield _number("mainspring_worker_running", "How many jobs run in workers, by their own account.", running)


def _by_queue(risen: Risen) -> Iterator[Metric]:
    of = _first("queue", risen)
    for event, text in EVENTS.items():
        yield _counter(f"mainspring_jobs_{event}", f"{text} {SINCE}", "queue", of, event)
    waits = HistogramMetricFamily(
        "mainspring_job_wait_seconds",
        f"From when a job was due until it was claimed, for each run that began. {SINCE}",
        labels=("queue",),
    )
    runs = HistogramMetricFamily(
        "mainspring_job_run_seconds",
        f"From the claim to the end, for each run that completed or failed. {SINCE}",
        labels=("queue",),
    )
    for name, numbers in of.items():
        counted = point(0, numbers)
        for family, histogram in ((waits, counted.wait), (runs, counted.run)):
            family.add_metric((name,), _buckets(histogram), histogram.total_ms / 1000)
    yield from (waits, runs)


def _by_task(risen: Risen) -> Iterator[Metric]:
    of = _first("task", risen)
    for event in ("completed", "failed", "dead"):
        yield _counter(f"mainspring_task_{event}", f"{EVENTS[event]} {SINCE}", "task", of, event)
    runs = SummaryMetricFamily(
        "mainspring_task_run_seconds", f"How long runs took that completed or failed. {SINCE}", labels=("task",)
    )
    for name, numbers in of.items():
        run = point(0, numbers).run
        runs.add_metric((name,), run.count, run.total_ms / 1000)
    yield runs


def _first(by: By, risen: Risen) -> Mapping[str, Mapping[str, int]]:
    """The first queues, or tasks, by name."""
    names = sorted(name for kind, name in risen if kind == by)[:MOST]
    return {name: risen[by, name] for name in names}


def _counter(name: str, text: str, label: str, of: Mapping[str, Mapping[str, int]], event: str) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=(label,))
    for each, numbers in of.items():
        family.add_metric((each,), numbers.get(event, 0))
    return family


def _number(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value)


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """How many took no longer than each of the bounds, to the millisecond."""
    told = [(bound, float(_below(number, histogram.counts))) for bound, number in _UP_TO]
    return [*told, ("+Inf", float(histogram.count))]


def _below(number: int, counts: Iterable[tuple[int, int]]) -> int:
    return sum(count for each, count in counts if each < number)
