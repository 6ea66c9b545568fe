"""The names by which OpenTelemetry's tools know what is told: its conventions for messaging, and our own beside them.

https://opentelemetry.io/docs/specs/semconv/messaging/ (still in development; here as of 1.38). To enqueue is to "send"
there, and to run is to "process". What it calls a destination is the queue, a message is the job.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from importlib.metadata import version
from typing import ParamSpec, TypeVar

__all__ = [
    "ATTEMPT",
    "BATCH",
    "ENQUEUE",
    "ERROR",
    "EVENT",
    "FLOW",
    "JOB",
    "NAME",
    "OUTCOME",
    "PARTITION",
    "QUEUE",
    "RUN",
    "SCHEMA",
    "STATE",
    "SYSTEM",
    "TASK",
    "TYPE",
    "VERSION",
    "WORKER",
    "harmless",
]

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger("mainspring.observe")

NAME, VERSION = "mainspring", version("mainspring")
SCHEMA = "https://opentelemetry.io/schemas/1.38.0"

SYSTEM = {"messaging.system": "mainspring"}
ENQUEUE = SYSTEM | {"messaging.operation.name": "enqueue"}
RUN = SYSTEM | {"messaging.operation.name": "run"}
TYPE = "messaging.operation.type"

QUEUE = "messaging.destination.name"
PARTITION = "messaging.destination.partition.id"
JOB = "messaging.message.id"
BATCH = "messaging.batch.message_count"
WORKER = "messaging.client.id"
ERROR = "error.type"

TASK = "mainspring.task"
FLOW = "mainspring.flow"
ATTEMPT = "mainspring.attempt"
OUTCOME = "mainspring.outcome"
"""What a run came to."""
EVENT = "mainspring.event"
"""What became of its job."""
STATE = "mainspring.state"


def harmless(function: Callable[P, R]) -> Callable[P, R | None]:
    """What a sampler, a propagator or an exporter raises is logged, and changes nothing for the jobs."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return function(*args, **kwargs)
        except Exception:
            logger.exception("OpenTelemetry failed; the jobs go on")
            return None

    return call
