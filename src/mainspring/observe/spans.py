"""Follows jobs by spans: one where jobs are enqueued (PRODUCER), one for each run of one (CONSUMER), its child.

A run's parent is where its job was enqueued, whichever attempt it is; so all attempts of a job are side by side in one
trace. (The conventions allow that where each message is processed by itself, instead of links.) A job that nobody has
enqueued in an instrumented process, such as that of a schedule or of SQL, begins a trace of its own.

Spans are named by their tasks, `run send_welcome`, which say more than the queues that the conventions have there.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from opentelemetry import context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, TracerProvider
from opentelemetry.util.types import AttributeValue

from mainspring.errors import MainspringError
from mainspring.model.job import Claim, NewJob
from mainspring.model.options import JobOptions
from mainspring.model.outcome import ErrorRecord, Outcome, Verdict
from mainspring.model.tracing import Trace, traced
from mainspring.observe import conventions as names
from mainspring.observe.conventions import harmless
from mainspring.observe.instruments import Instruments

__all__ = ["Spans", "tracer_of"]

MOST_CARRIED = 2048
"""How many characters of its trace go with each job: a propagator may want to send whatever it finds (baggage)."""

_FAILED = {Verdict.FAILED: "Exception", Verdict.BURIED: "Bury", Verdict.LOST: "ProcessCrashed"}
"""The outcomes that are errors, and what of, where the outcome does not say."""


def tracer_of(provider: TracerProvider | None) -> Tracer:
    """Our tracer, of that provider or of the global one."""
    return trace.get_tracer(names.NAME, names.VERSION, provider, schema_url=names.SCHEMA)


class Spans:
    """The `Tracing` of an app."""

    def __init__(self, tracer: Tracer, instruments: Instruments) -> None:
        self._tracer = tracer
        self._instruments = instruments

    # --- where jobs are enqueued ---

    @contextlib.contextmanager
    def enqueuing(self, jobs: Sequence[NewJob]) -> Iterator[Sequence[NewJob]]:
        span = self._begin_enqueuing(jobs) or trace.INVALID_SPAN
        began = time.perf_counter()
        error: Exception | None = None
        try:
            yield self._carrying(jobs, span) or jobs
        except Exception as raised:
            error = raised
            raise
        finally:
            self._end_enqueuing(span, jobs, time.perf_counter() - began, error)

    @harmless
    def _begin_enqueuing(self, jobs: Sequence[NewJob]) -> Span:
        tasks, queues = {job.task for job in jobs}, {job.queue for job in jobs}
        attributes: dict[str, AttributeValue] = {**names.ENQUEUE, names.TYPE: "send"}
        if len(jobs) == 1:
            attributes[names.JOB] = jobs[0].id
        else:
            attributes[names.BATCH] = len(jobs)
        if len(queues) == 1:
            attributes[names.QUEUE] = jobs[0].queue
        if len(tasks) == 1:
            attributes[names.TASK] = jobs[0].task
        name = f"enqueue {jobs[0].task}" if len(tasks) == 1 else "enqueue"
        return self._tracer.start_span(name, kind=SpanKind.PRODUCER, attributes=attributes)

    @harmless
    def _carrying(self, jobs: Sequence[NewJob], span: Span) -> Sequence[NewJob]:
        return traced(jobs, _carrier(trace.set_span_in_context(span)))

    @harmless
    def _end_enqueuing(self, span: Span, jobs: Sequence[NewJob], seconds: float, error: Exception | None) -> None:
        if error is not None:
            # Our own errors say what was wrong with the request; those of others may say anything.
            message = str(error) if isinstance(error, MainspringError) else ""
            _fail(span, ErrorRecord(type(error).__name__, message, ""))
        span.end()
        self._instruments.enqueued(jobs, seconds, None if error is None else type(error).__name__)

    # --- where they run ---

    @contextlib.contextmanager
    def running(self, claim: Claim) -> Iterator[Callable[[Outcome], None]]:
        span = self._begin_running(claim) or trace.INVALID_SPAN
        began = time.perf_counter()
        try:
            yield partial(self._note_outcome, span, claim, began)
        finally:
            self._end_running(span, claim)

    @harmless
    def _begin_running(self, claim: Claim) -> Span:
        self._instruments.began(claim)
        attributes: dict[str, AttributeValue] = {
            **names.RUN,
            names.TYPE: "process",
            names.QUEUE: claim.queue,
            names.JOB: claim.id,
            names.WORKER: claim.worker,
            names.TASK: claim.task,
            names.ATTEMPT: claim.attempt,
        }
        if claim.partition:
            attributes[names.PARTITION] = claim.partition
        if claim.flow is not None:
            attributes[names.FLOW] = claim.flow
        # An empty context: whatever the worker was started in, its jobs are no part of that.
        parent = propagate.extract(_stored(claim), Context())
        span = self._tracer.start_span(
            f"run {claim.task}", context=parent, kind=SpanKind.CONSUMER, attributes=attributes
        )
        # Not detached afterwards: this context ends with the run.
        context.attach(trace.set_span_in_context(span, parent))
        return span

    @harmless
    def _note_outcome(self, span: Span, claim: Claim, began: float, outcome: Outcome) -> None:
        seconds = time.perf_counter() - began
        span.set_attribute(names.OUTCOME, outcome.verdict.value)
        error = None
        if outcome.verdict in _FAILED:
            error = outcome.error or ErrorRecord(_FAILED[outcome.verdict], outcome.reason, "")
            _fail(span, error)
        self._instruments.ran(claim, outcome.verdict, seconds, None if error is None else error.type)

    @harmless
    def _end_running(self, span: Span, claim: Claim) -> None:
        span.end()
        self._instruments.ended(claim)

    # --- from one process to another ---

    def here(self) -> Trace:
        return _here() or {}

    @contextlib.contextmanager
    def inside(self, trace: Trace) -> Iterator[None]:
        token = _attach(trace)
        try:
            yield
        finally:
            if token is not None:
                context.detach(token)


@harmless
def _here() -> Trace:
    return _carrier(context.get_current())


_attach = harmless(lambda trace: context.attach(propagate.extract(trace, Context())))


def _carrier(of: Context) -> dict[str, str]:
    """What goes along, as the configured propagator has it."""
    found: dict[str, str] = {}
    propagate.inject(found, of)
    room = MOST_CARRIED
    return {name: text for name, text in found.items() if (room := room - len(name) - len(text)) >= 0}


def _stored(claim: Claim) -> dict[str, str]:
    """The trace that came with the job. What cannot be read is no trace; that it is wrong, the run shows."""
    with contextlib.suppress(Exception):
        return dict(JobOptions.from_text(claim.options).trace)
    return {}


def _fail(span: Span, error: ErrorRecord) -> None:
    """What is said of it is what the store gets, not the exception, in which secrets may be."""
    span.set_attribute(names.ERROR, error.type)
    span.set_status(StatusCode.ERROR, f"{error.type}: {error.message}" if error.message else error.type)
    said = {"exception.type": error.type, "exception.message": error.message, "exception.stacktrace": error.traceback}
    span.add_event("exception", {name: text for name, text in said.items() if text})
