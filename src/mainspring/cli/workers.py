"""`mainspring workers`: who works, and commands for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from mainspring.admin import WorkerView
from mainspring.app import Mainspring
from mainspring.cli.options import App, Json, Url, existing
from mainspring.cli.output import Column, ago, iso, print_json, say, table, warn
from mainspring.cli.usage import Commands
from mainspring.model.sizes import format_bytes
from mainspring.model.text import quote

__all__ = ["commands", "worker_json", "worker_memory", "worker_state"]

commands = Commands(help="Look at workers, and quiet or stop them.")

Names = Annotated[list[str], typer.Argument(metavar="NAME...", hidden=True)]

COLUMNS = (
    Column("WORKER", whole=True),
    Column("STATE", is_state=True, whole=True),
    Column("JOBS", right=True),
    Column("QUEUES"),
    Column("TASKS", right=True, from_width=100),
    Column("MEMORY", right=True, whole=True, from_width=90),
    Column("STARTED", from_width=90),
    Column("LAST HEARD"),
    Column("ID", whole=True, from_width=130),
)


@commands.command("list")
def list_(context: typer.Context, app: App = None, url: Url = None, as_json: Json = False) -> None:
    """List the workers. "lost" ones went unheard for longer than their lease; their jobs go to others."""
    views = existing(context, app, url).workers.list()
    if as_json:
        print_json([worker_json(view) for view in views])
    elif not views:
        say("no worker runs; start one: mainspring worker MODULE:APP")
    else:
        table(COLUMNS, [_row(view) for view in views])


@commands.command()
def quiet(context: typer.Context, names: Names, app: App = None, url: Url = None, as_json: Json = False) -> None:
    """Tell workers to take no more jobs.

    They are named by name or id, and go on with what they run.
    """
    opened = existing(context, app, url)
    _tell(opened, names, opened.workers.quiet, "told to be quiet", as_json)


@commands.command()
def stop(context: typer.Context, names: Names, app: App = None, url: Url = None, as_json: Json = False) -> None:
    """Tell workers, by name or id, to stop gracefully."""
    opened = existing(context, app, url)
    _tell(opened, names, opened.workers.stop, "told to stop", as_json)


def _tell(app: Mainspring, names: list[str], act: Callable[[str], bool], told: str, as_json: bool) -> None:
    """Leave the command for each; a worker reads it within a second or so."""
    views = app.workers.list()
    heard: list[WorkerView] = []
    failed = False
    for name in names:
        meant = [view for view in views if name in (view.id, view.name)]
        reached = [view for view in meant if view.alive and act(view.id)]
        heard += reached
        if not reached:
            failed = True
            why = "is lost: nobody is there to hear it" if meant else "is not there; see `mainspring workers list`"
            warn(f"error: worker {quote(name)} {why}")
    if as_json:
        print_json([{"id": view.id, "name": view.name} for view in heard])
    else:
        for view in heard:
            say(f"worker {view.name}: {told}")
    if failed:
        raise typer.Exit(1)


def _row(view: WorkerView) -> tuple[str, ...]:
    return (
        view.name,
        worker_state(view),
        f"{view.running}/{view.concurrency}",
        ", ".join(view.queues),
        str(len(view.tasks)),
        worker_memory(view),
        ago(view.started_at),
        ago(view.beat_at),
        view.id,
    )


def worker_state(view: WorkerView) -> str:
    """In a word."""
    if not view.alive:
        return "lost"
    if view.command == "stop":
        return "stopping"
    return "quiet" if view.quiet or view.command == "quiet" else "alive"


def worker_memory(view: WorkerView) -> str:
    """How much it has."""
    return "-" if view.memory is None else format_bytes(view.memory)


def worker_json(view: WorkerView) -> dict[str, Any]:
    """A worker for programs."""
    return {
        "id": view.id,
        "name": view.name,
        "state": worker_state(view),
        "queues": list(view.queues),
        "tasks": list(view.tasks),
        "concurrency": view.concurrency,
        "running": view.running,
        "quiet": view.quiet,
        "alive": view.alive,
        "memory": view.memory,
        "started_at": iso(view.started_at),
        "beat_at": iso(view.beat_at),
    }
