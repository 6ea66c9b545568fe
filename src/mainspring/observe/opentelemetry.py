"""Traces and metrics by OpenTelemetry: `opentelemetry.instrument(app)`. Needs the extra `otel`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from mainspring.app import Mainspring
from mainspring.errors import ConfigurationError
from mainspring.worker import processes

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

__all__ = ["instrument"]


def instrument(
    app: Mainspring,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    queues: bool = True,
) -> None:
    """Follow the app's jobs by spans, from where they are enqueued to where they run, and count what becomes of them.

    Say it where the app is made, so that whoever enqueues and whoever works does so. `tracer_provider` and
    `meter_provider` take the place of OpenTelemetry's own global ones. With `queues` every process that is instrumented
    also tells, as often as its metrics are read, how many jobs are in each queue.

    Raises `ConfigurationError` where OpenTelemetry is not installed, or the app is instrumented already.
    """
    if find_spec("opentelemetry") is None:
        raise ConfigurationError("OpenTelemetry is not installed: pip install 'mainspring[otel]'")
    if app.tracing is not None:
        raise ConfigurationError(f"{app!r} is instrumented already; do it once, where the app is made")
    from mainspring.observe.depths import tell_depths
    from mainspring.observe.instruments import Instruments, meter_of
    from mainspring.observe.spans import Spans, tracer_of

    meter = meter_of(meter_provider)
    instruments = Instruments(meter)
    app.tracing = Spans(tracer_of(tracer_provider), instruments)
    app.on("completed", "retried", "snoozed", "dead", "cancelled", "returned", "crashed", "parked")(instruments.told)
    if queues and not processes.in_job_process:
        tell_depths(meter, app)
