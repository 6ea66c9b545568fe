"""`mainspring schedules`: what runs at which times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from mainspring.admin import ScheduleView
from mainspring.app import Mainspring
from mainspring.cli.job_views import job_json
from mainspring.cli.options import App, Json, Url, existing
from mainspring.cli.output import Column, ago, iso, print_json, say, table
from mainspring.cli.usage import Commands
from mainspring.errors import ScheduleNotFound
from mainspring.model.durations import format_ms
from mainspring.model.schedule import Cron, Timing
from mainspring.model.text import quote

__all__ = ["commands"]

commands = Commands(help="Look at schedules, pause them, or run one now.")

Names = Annotated[list[str], typer.Argument(metavar="NAME...", hidden=True)]

COLUMNS = (
    Column("SCHEDULE", whole=True),
    Column("TASK"),
    Column("QUEUE", from_width=100),
    Column("WHEN", whole=True),
    Column("STATE", is_state=True, whole=True),
    Column("NEXT", whole=True),
    Column("LAST", from_width=90),
)


@commands.command("list")
def list_(context: typer.Context, app: App = None, url: Url = None, as_json: Json = False) -> None:
    """List the schedules. A worker writes those of its code when it starts."""
    views = existing(context, app, url).schedules.list()
    if as_json:
        print_json([_schedule_json(view) for view in views])
    elif not views:
        say("there are no schedules; a worker writes those of its code when it starts")
    else:
        table(COLUMNS, [_row(view) for view in views])


@commands.command()
def pause(context: typer.Context, names: Names, app: App = None, url: Url = None, as_json: Json = False) -> None:
    """Let these schedules make no jobs until they are resumed."""
    opened = existing(context, app, url)
    _for_each(opened, names, opened.schedules.pause)
    _report(opened, names, as_json)


@commands.command()
def resume(context: typer.Context, names: Names, app: App = None, url: Url = None, as_json: Json = False) -> None:
    """Let these schedules make jobs again.

    They go on with their next time; what passed meanwhile is not made up for.
    """
    opened = existing(context, app, url)
    _for_each(opened, names, opened.schedules.resume)
    _report(opened, names, as_json)


@commands.command()
def run(context: typer.Context, names: Names, app: App = None, url: Url = None, as_json: Json = False) -> None:
    """Enqueue their jobs now, besides the regular ones, paused or not. Prints the jobs' ids."""
    opened = existing(context, app, url)
    jobs = _for_each(opened, names, opened.schedules.run_now)
    if as_json:
        print_json([job_json(job) for job in jobs])
    else:
        for job in jobs:
            say(job.id)


@commands.command()
def remove(context: typer.Context, names: Names, app: App = None, url: Url = None) -> None:
    """Forget these schedules; their jobs stay. What the code declares comes back when a worker starts."""
    opened = existing(context, app, url)
    _for_each(opened, names, opened.schedules.remove)
    for name in names:
        say(f"schedule {name}: removed")


def _for_each(app: Mainspring, names: list[str], act: Callable[[str], Any]) -> list[Any]:
    """Do it to all of them, or to none if one of them is not there."""
    known = [view.name for view in app.schedules.list()]
    for name in names:
        if name not in known:
            raise ScheduleNotFound(f"no schedule is named {quote(name)}; there are: {', '.join(known) or 'none'}")
    return [act(name) for name in names]


def _report(app: Mainspring, names: list[str], as_json: bool) -> None:
    views = [view for view in app.schedules.list() if view.name in names]
    if as_json:
        print_json([_schedule_json(view) for view in views])
        return
    for view in views:
        say(f"schedule {view.name}: {'paused' if view.paused else f'next {ago(view.next_at)}'}")


def _row(view: ScheduleView) -> tuple[str, ...]:
    return (
        view.name,
        view.task,
        view.queue,
        _when(view.timing),
        "paused" if view.paused else "on",
        "" if view.paused else ago(view.next_at),
        ago(view.last_at, "never"),
    )


def _when(timing: Timing) -> str:
    spec = timing.spec
    if isinstance(spec, Cron):
        return spec.expression + ("" if spec.tz == "UTC" else f" {spec.tz}")
    return f"every {format_ms(spec.interval_ms)}"


def _schedule_json(view: ScheduleView) -> dict[str, Any]:
    spec = view.timing.spec
    return {
        "name": view.name,
        "task": view.task,
        "queue": view.queue,
        "args": dict(view.shown_args),
        "priority": view.priority,
        "cron": spec.expression if isinstance(spec, Cron) else None,
        "tz": spec.tz if isinstance(spec, Cron) else None,
        "every_seconds": None if isinstance(spec, Cron) else spec.interval_ms / 1000,
        "catch_up": view.timing.catch_up,
        "jitter_seconds": view.timing.jitter_ms / 1000,
        "next_at": iso(view.next_at),
        "last_at": iso(view.last_at),
        "paused": view.paused,
        "paused_at": iso(view.paused_at),
    }
