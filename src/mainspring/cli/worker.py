"""`mainspring worker`: run an app's jobs in this process, or in several under a supervisor."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mainspring.app import Mainspring
from mainspring.cli.options import app_named, outer_place
from mainspring.cli.output import block
from mainspring.errors import ConfigurationError
from mainspring.model.durations import to_ms
from mainspring.model.sizes import to_bytes
from mainspring.worker.bounds import Bounds
from mainspring.worker.child import DISMISSED
from mainspring.worker.health import Health, HealthServer
from mainspring.worker.notify import Notifier
from mainspring.worker.supervisor import Supervisor
from mainspring.worker.tether import Tether
from mainspring.worker.vitals import Signs, checked

if TYPE_CHECKING:
    from mainspring.worker.worker import Worker

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
Processes = Annotated[
    int, typer.Option("--processes", "-p", min=1, metavar="N", help="How many processes, each with -c jobs at once.")
]
MaxJobs = Annotated[int | None, typer.Option(min=1, metavar="N", help="Replace a process that has begun so many jobs.")]
MaxMemory = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Replace a process that has so much memory, such as 512MB.")
]
MaxAge = Annotated[str | None, typer.Option(metavar="DURATION", help="Replace a process that is so old, such as 12h.")]
HealthPlace = Annotated[
    str | None,
    typer.Option("--health", metavar="[HOST:]PORT", help="Serve /healthz and /readyz there, or at a socket's path."),
]
TetherTo = Annotated[int | None, typer.Option("--tether", hidden=True)]


def worker(
    context: typer.Context,
    app: AppArgument = None,
    app_option: AppOption = None,
    queue: Queues = None,
    concurrency: Concurrency = 10,
    processes: Processes = 1,
    lease: Lease = "30s",
    grace: Grace = "25s",
    max_jobs: MaxJobs = None,
    max_memory: MaxMemory = None,
    max_age: MaxAge = None,
    health: HealthPlace = None,
    name: Name = None,
    process_jobs: ProcessJobs = None,
    process_memory: ProcessMemory = "512MB",
    log_level: Level = LogLevel.INFO,
    tether: TetherTo = None,
) -> None:
    """Run an app's jobs until told to stop.

    \b
    mainspring worker shop.jobs:app                            all its queues, 10 jobs at once
    mainspring worker shop.jobs:app -q email -q bulk -c 100    email first, bulk when email is empty
    mainspring worker shop.jobs:app -q critical:5 -q bulk:1    both, five to one
    mainspring worker shop.jobs:app -p 4 --max-memory 512MB    four processes, replaced when they grow

    Ctrl-C or SIGTERM stops gracefully: no new jobs, running ones get the grace period, what is left goes back without
    having used an attempt. A second signal stops at once. With several processes or a bound, SIGHUP replaces them one
    by one, by new ones with the newest code.
    """
    queues = read_queues(queue or ())
    bounds = Bounds(max_jobs, to_bytes(max_memory) if max_memory else None, to_ms(max_age) / 1000 if max_age else None)
    if tether is None and (processes > 1 or bounds):
        target = _named(context, app, app_option)
        to_ms(lease)
        command = [*_interpreter(), "-m", "mainspring", "worker", f"--app={target}", f"--concurrency={concurrency}"]
        command += [f"--lease={lease}", f"--grace={grace}", f"--log-level={log_level}"]
        command += [*(f"--queue={each}" for each in queue or ()), *([f"--name={name}"] if name else [])]
        command += [f"--process-memory={process_memory}", *([f"--process-jobs={process_jobs}"] if process_jobs else [])]
        log_to_stderr(log_level, with_process=True)
        supervisor = Supervisor(command, processes, grace=to_ms(grace) / 1000, bounds=bounds)
        with _served(health, supervisor.health):
            raise typer.Exit(supervisor.run())
    loaded = app_named(context, app, app_option)
    log_to_stderr(log_level, with_process=tether is not None)
    if tether is not None:
        name = f"{name or socket.gethostname()}:{os.getpid()}"
    working = loaded.worker(
        queues,
        concurrency=concurrency,
        lease=lease,
        grace=grace,
        name=name,
        process_jobs=process_jobs,
        process_memory=process_memory,
    )
    with _served(health, lambda: Health.of(working.signs())), ExitStack() as meanwhile:
        if looks := _looks(working, tether, health):
            meanwhile.enter_context(checked(working.vitals, working.signs, *looks))
        _announce(loaded)
        working.run()
    if tether is not None and working.dismissed:
        raise typer.Exit(DISMISSED)


def _named(context: typer.Context, target: str | None, option: str | None) -> str:
    """Which app its workers are to load: it is not loaded here, so that new code is new to whoever starts later."""
    if target and option and target != option:
        raise ConfigurationError(f"two apps are given, {target!r} and {option!r}; give one")
    named = target or option or outer_place(context).named_app()
    if named is None:
        raise ConfigurationError("say which app: module:app, such as shop.jobs:app (or set $MAINSPRING_APP)")
    return named


def _interpreter() -> list[str]:
    """Python as it was started here, with its options, without what it was told to run."""
    options = sys.orig_argv[1 : max(1, len(sys.orig_argv) - len(sys.argv))]
    return [sys.executable, *(option for option in options if option not in ("-m", "-c"))]


def _served(place: str | None, look: Callable[[], Health]) -> ExitStack:
    """The health is served meanwhile, if it is to be."""
    meanwhile = ExitStack()
    if place is not None:
        server = HealthServer(place, look)
        server.start()
        meanwhile.callback(server.stop)
    return meanwhile


def _looks(working: Worker, tether: int | None, health: str | None) -> list[Callable[[Signs], Any]]:
    """Who wants to see the signs of this worker. The health's server looks by itself, but for what takes time."""
    if tether is not None:
        # Whoever hangs up on its supervisor's terminal does not mean the worker.
        signal.signal(signal.SIGHUP, lambda *_: None)
        return [Tether(tether, working.stop_at_least).report]
    notifier = Notifier()
    if notifier.wanted:
        return [lambda signs: _notify(notifier, signs)]
    return [lambda signs: None] if health is not None else []


def _notify(notifier: Notifier, signs: Signs) -> None:
    if signs.stopping:
        notifier.stopping()
    elif signs.claim_age is not None:
        notifier.ready()
    if signs.ailment() is None:
        notifier.beat()


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


def log_to_stderr(level: LogLevel, *, with_process: bool = False) -> None:
    """Readable lines on standard error, unless the user's code has set up logging of its own."""
    handler = logging.StreamHandler(sys.stderr)
    process = "[%(process)d] " if with_process else ""
    handler.setFormatter(_PlainFormatter(f"%(asctime)s %(levelname)-7s {process}%(message)s", "%H:%M:%S"))
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
