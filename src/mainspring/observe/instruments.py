"""What is counted and measured, by OpenTelemetry's meters: by queue and task, and never by job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from opentelemetry import metrics
from opentelemetry.metrics import Meter, MeterProvider

from mainspring.events import Event
from mainspring.model.job import Claim, NewJob
from mainspring.model.outcome import Verdict
from mainspring.observe import conventions as names

__all__ = ["Instruments", "meter_of"]

SHORT = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Seconds: the conventions' buckets."""
LONG = (*SHORT, 30, 60, 300, 900, 3600)
"""Jobs wait, and run, for longer than messages do."""

_RAN = frozenset({Verdict.COMPLETED, Verdict.FAILED, Verdict.BURIED})


def meter_of(provider: MeterProvider | None) -> Meter:
    """Our meter, of that provider or of the global one."""
    return metrics.get_meter(names.NAME, names.VERSION, provider, schema_url=names.SCHEMA)


class Instruments:
    """The first four are of the conventions, the others our own."""

    def __init__(self, meter: Meter) -> None:
        self._sent = meter.create_counter("messaging.client.sent.messages", "{message}", "Jobs that were enqueued.")
        self._sending = meter.create_histogram(
            "messaging.client.operation.duration",
            "s",
            "How long enqueuing took.",
            explicit_bucket_boundaries_advisory=SHORT,
        )
        self._consumed = meter.create_counter("messaging.client.consumed.messages", "{message}", "Runs that began.")
        self._processing = meter.create_histogram(
            "messaging.process.duration",
            "s",
            "How long runs took that completed or failed.",
            explicit_bucket_boundaries_advisory=LONG,
        )
        self._waiting = meter.create_histogram(
            "mainspring.job.wait.duration",
            "s",
            "How long jobs were due before they ran.",
            explicit_bucket_boundaries_advisory=LONG,
        )
        self._running = meter.create_up_down_counter("mainspring.job.running", "{job}", "Jobs that run here now.")
        self._events = meter.create_counter("mainspring.job.events", "{job}", "What became of jobs that have run.")

    def enqueued(self, jobs: Sequence[NewJob], seconds: float, error: str | None) -> None:
        """Jobs were handed to the store, which took that long over it."""
        failed = {} if error is None else {names.ERROR: error}
        for (queue, task), count in Counter((job.queue, job.task) for job in jobs).items():
            self._sent.add(count, _of(names.ENQUEUE, queue, task) | failed)
        self._sending.record(seconds, names.ENQUEUE | failed)

    def began(self, claim: Claim) -> None:
        """A run begins."""
        about = _of(names.RUN, claim.queue, claim.task)
        self._consumed.add(1, about)
        self._waiting.record(max(0, claim.started_at - claim.run_at) / 1000, about)
        self._running.add(1, about)

    def ran(self, claim: Claim, verdict: Verdict, seconds: float, error: str | None) -> None:
        """It has come to something."""
        if verdict in _RAN:
            failed = {} if error is None else {names.ERROR: error}
            self._processing.record(seconds, _of(names.RUN, claim.queue, claim.task) | failed)

    def ended(self, claim: Claim) -> None:
        """It is over."""
        self._running.add(-1, _of(names.RUN, claim.queue, claim.task))

    async def told(self, event: Event) -> None:
        """The store has what became of the job."""
        about = _of(names.SYSTEM, event.job.queue, event.task)
        self._events.add(1, about | {names.EVENT: event.name})


def _of(operation: Mapping[str, str], queue: str, task: str) -> dict[str, str]:
    return {**operation, names.QUEUE: queue, names.TASK: task}
