"""What an OpenTelemetry SDK has been told: its finished spans, and its metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from mainspring import Mainspring
from mainspring.observe import opentelemetry

__all__ = ["Seen", "id_of", "parent", "trace_of"]


class Seen:
    """An SDK of one's own, that an app is instrumented with."""

    def __init__(self, app: Mainspring, **options: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.tracers.get_tracer("the user's")
        self._reader = InMemoryMetricReader()
        self.meters = MeterProvider([self._reader], shutdown_on_exit=False)
        opentelemetry.instrument(app, tracer_provider=self.tracers, meter_provider=self.meters, **options)

    def spans(self, name: str = "") -> list[ReadableSpan]:
        """The finished spans, or those of that name, in the order in which they began."""
        there: Sequence[ReadableSpan] = self._exporter.get_finished_spans()
        return sorted((span for span in there if name in ("", span.name)), key=lambda span: span.start_time or 0)

    def span(self, name: str) -> ReadableSpan:
        (only,) = self.spans(name)
        return only

    def forget(self) -> None:
        self._exporter.clear()

    def points(self, metric: str) -> list[tuple[dict[str, Any], Any]]:
        """Attributes and numbers of a metric, as it is read now: a value, or the count of a histogram."""
        data = self._reader.get_metrics_data()
        found = [
            (dict(point.attributes), getattr(point, "value", None) if hasattr(point, "value") else point.count)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for each in scope.metrics
            if each.name == metric
            for point in each.data.data_points
        ]
        return sorted(found, key=repr)


def parent(span: ReadableSpan) -> int | None:
    """The id of its parent."""
    return None if span.parent is None else span.parent.span_id


def id_of(span: ReadableSpan) -> int:
    return span.get_span_context().span_id


def trace_of(span: ReadableSpan) -> int:
    """The id of its trace."""
    return span.get_span_context().trace_id
