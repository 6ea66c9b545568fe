"""`mainspring worker`: run an app's jobs in this process."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from mainspring.app import Mainspring
from mainspring.cli.options import app_named
from mainspring.cli.output import block
from mainspring.errors import ConfigurationError

__all__ = ["AppArgument", "AppOption", "Concurrency", "Grace", "Level", "LogLevel", "Queues", "read_queues", "worker"]


class LogLevel(StrEnum):
    """How much a worker says."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


AppArgument = Annotated[str | None, typer.Argument(metavar="MODULE:APP", hidden=True)]
AppOption = Annotated[
    str | None, typer.Option("--app", metavar="MODULE:APP", help="The app, if it is not the argument.")
]
Queues = Annotated[
    list[str] | None,
    typer.Option(
        "--queue", "-q", metavar="NAME[:WEIGHT]", help="Serve this queue; repeat for more. All, if not given."
    ),
]
Concurrency = Annotated[int, typer.Option("--concurrency", "-c", min=1, metavar="N", help="How many jobs at once.")]
Lease = Annotated[
    str, typer.Option(metavar="DURATION", help="How long after its last heartbeat this worker counts as alive.")
]
Grace = Annotated[str, typer.Option(metavar="DURATION", help="How long running jobs may go on when it stops.")]
Name = Annotated[
    str | None, typer.Option(metavar="TEXT", help="What `workers list` calls it. Default: host and process.")
]
ProcessJobs = Annotated[
    int | None, typer.Option(min=1, metavar="N", help='Replace a process of executor="process" after so many jobs.')
]
ProcessMemory = Annotated[str, typer.Option(metavar="SIZE", help="Replace one that keeps more between two jobs.")]
Level = Annotated[LogLevel, typer.Option("--log-level", help="How much to say.")]


def worker(
    context: typer.Context,
    app: AppArgument = None,
    app_option: AppOption = None,
    queue: Queues = None,
    concurrency: Concurrency = 10,
    lease: Lease = "30s",
    grace: Grace = "25s",
    name: Name = None,
    process_jobs: ProcessJobs = None,
    process_memory: ProcessMemory = "512MB",
    log_level: Level = LogLevel.INFO,
) -> None:
    """Run an app's jobs until told to stop.

    \b
    mainspring worker shop.jobs:app                            all its queues, 10 jobs at once
    mainspring worker shop.jobs:app -q email -q bulk -c 100    email first, bulk when email is empty
    mainspring worker shop.jobs:app -q critical:5 -q bulk:1    both, five to one

    Ctrl-C or SIGTERM stops gracefully: no new jobs, running ones get the grace period, what is left goes back without
    having used an attempt. A second signal stops at once.
    """
    queues = read_queues(queue or ())
    loaded = app_named(context, app, app_option)
    log_to_stderr(log_level)
    working = loaded.worker(
        queues,
        concurrency=concurrency,
        lease=lease,
        grace=grace,
        name=name,
        process_jobs=process_jobs,
        process_memory=process_memory,
    )
    _announce(loaded)
    working.run()


def read_queues(given: Sequence[str]) -> list[str] | dict[str, int] | None:
    """Names in strict order, or names with weights; None: all queues. Raises `ConfigurationError` for a mixture."""
    weights: dict[str, int] = {}
    plain: list[str] = []
    for text in given:
        name, colon, weight = text.rpartition(":")
        if not (colon and weight.isdecimal()):
            plain.append(text)
        elif name in weights:
            raise ConfigurationError(f"queue {name!r} is given twice")
        else:
            weights[name] = int(weight)
    if plain and weights:
        weighted = next(iter(weights))
        raise ConfigurationError(
            f"-q {plain[0]} has no weight and -q {weighted}:{weights[weighted]} has one; give all queues "
            "weights, to be served in proportion, or none, to be served in strict order"
        )
    return weights or plain or None


def log_to_stderr(level: LogLevel) -> None:
    """Readable lines on standard error, unless the user's code has set up logging of its own."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PlainFormatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.getLogger("mainspring").setLevel(level.upper())


class _PlainFormatter(logging.Formatter):
    """What jobs put into their errors reaches the terminal as plain text."""

    def format(self, record: logging.LogRecord) -> str:
        return block(super().format(record))


def _announce(app: Mainspring) -> None:
    logger = logging.getLogger("mainspring.worker")
    if app.tasks:
        logger.info("store %s, tasks: %s", app.url, ", ".join(app.tasks))
    else:
        logger.warning(
            "the app has no tasks: whatever is claimed will be parked. Is their module imported by the app's?"
        )
