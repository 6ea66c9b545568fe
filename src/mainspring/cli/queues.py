"""`mainspring queues`: what is in each queue, and its settings."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mainspring.admin import QueueView
from mainspring.app import Mainspring
from mainspring.cli.options import App, Json, Url, existing
from mainspring.cli.output import Column, iso, print_json, say, span, table, warn
from mainspring.cli.usage import Commands
from mainspring.errors import InvalidOption
from mainspring.model.states import State
from mainspring.model.text import quote

__all__ = ["commands"]

commands = Commands(help="Look at queues, pause and limit them.")

Names = Annotated[list[str], typer.Argument(metavar="NAME...", hidden=True)]

COLUMNS = (
    Column("QUEUE", whole=True),
    Column("STATE", is_state=True, whole=True),
    Column("LIMIT", right=True, from_width=90),
    *(Column(state.upper(), right=True, whole=True) for state in State if state is not State.BLOCKED),
    Column("OLDEST WAITING", right=True, from_width=100),
)


@commands.command("list")
def list_(context: typer.Context, app: App = None, url: Url = None, as_json: Json = False) -> None:
    """List the queues, with the number of jobs in each state."""
    views = existing(context, app, url).queues.list()
    if as_json:
        print_json([_queue_json(view) for view in views])
    elif not views:
        say("there are no queues yet; a queue is known from its first job on")
    else:
        table(COLUMNS, [_row(view) for view in views])


@commands.command()
def pause(context: typer.Context, names: Names, app: App = None, url: Url = None, as_json: Json = False) -> None:
    """Let no worker take jobs from these queues. What runs goes on, and so does enqueuing."""
    opened = existing(context, app, url)
    for name in _noting_new(opened, names):
        opened.queues.pause(name)
    _report(opened, names, as_json)


@commands.command()
def resume(context: typer.Context, names: Names, app: App = None, url: Url = None, as_json: Json = False) -> None:
    """Let workers take jobs from these queues again."""
    opened = existing(context, app, url)
    for name in _noting_new(opened, names):
        opened.queues.resume(name)
    _report(opened, names, as_json)


@commands.command()
def limit(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", hidden=True)],
    concurrency: Annotated[str, typer.Argument(metavar="N|none", hidden=True)],
    app: App = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Let at most N jobs of a queue run at once, over all workers. This wins over what the code says.

    \b
    mainspring queues limit email 5
    mainspring queues limit email none
    """
    opened = existing(context, app, url)
    wanted = None if concurrency == "none" else _number(concurrency)
    for each in _noting_new(opened, [name]):
        opened.queues.set_limits(each, concurrency=wanted)
    _report(opened, [name], as_json)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise InvalidOption(f'limit {quote(text)} is neither a whole number from 1 on nor "none"')
    return int(text)


def _noting_new(app: Mainspring, names: list[str]) -> list[str]:
    """The names; those that no job was ever in may be misspelt."""
    known = {view.name for view in app.queues.list()}
    for name in names:
        if name not in known:
            warn(
                f"note: no job has been in queue {quote(name)} so far; there are: {', '.join(sorted(known)) or 'none'}"
            )
    return names


def _report(app: Mainspring, names: list[str], as_json: bool) -> None:
    views = [view for view in app.queues.list() if view.name in names]
    if as_json:
        print_json([_queue_json(view) for view in views])
        return
    for view in views:
        limited = "no limit" if view.concurrency is None else f"at most {view.concurrency} at once"
        say(f"queue {view.name}: {'paused' if view.paused else 'open'}, {limited}")


def _row(view: QueueView) -> tuple[str, ...]:
    return (
        view.name,
        "paused" if view.paused else "open",
        "" if view.concurrency is None else str(view.concurrency),
        *(f"{view.counts.get(state, 0):,}" for state in State if state is not State.BLOCKED),
        "" if view.oldest_waiting is None else span(view.oldest_waiting),
    )


def _queue_json(view: QueueView) -> dict[str, Any]:
    return {
        "name": view.name,
        "paused": view.paused,
        "paused_at": iso(view.paused_at),
        "concurrency": view.concurrency,
        "counts": {state.value: view.counts.get(state, 0) for state in State},
        "oldest_waiting_seconds": view.oldest_waiting,
    }
