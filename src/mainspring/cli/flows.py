"""`mainspring flows`: look at flows, and cancel them."""

from __future__ import annotations

from typing import Annotated

import typer

from mainspring.cli.flow_views import flow_json, show, show_all, whole_flow_json
from mainspring.cli.options import App, Json, Url, existing
from mainspring.cli.output import counted, print_json, say
from mainspring.cli.usage import Commands
from mainspring.model.states import State

__all__ = ["commands"]

commands = Commands(help="Look at flows, and cancel them.")

Id = Annotated[str, typer.Argument(metavar="ID", hidden=True)]


@commands.command("list")
def list_(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="At most so many.")] = 50,
    app: App = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List flows, newest first, and how far they are.

    Those inside others are shown with these.
    """
    views = existing(context, app, url).flows.list(limit)
    if as_json:
        print_json([flow_json(view) for view in views])
    elif not views:
        say("there are no flows")
    else:
        show_all(views)


@commands.command("show")
def show_(
    context: typer.Context,
    id: Id,
    whole: Annotated[bool, typer.Option("--all", help="Draw all jobs, however many.")] = False,
    app: App = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Draw one flow as a tree, with states.

    Each job stands under the one that it waits for; where it waits for several, under the first of them, and the others
    name it.
    """
    view = existing(context, app, url).flows.view(id)
    if as_json:
        print_json(whole_flow_json(view))
    else:
        show(view, whole)


@commands.command()
def cancel(
    context: typer.Context,
    id: Id,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept with the jobs.")] = "",
    app: App = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Cancel all jobs of a flow that have not ended.

    Those of its parts too. The workers of running ones are asked to.
    """
    flow = existing(context, app, url).flows.get(id)
    changed = flow.cancel(reason)
    progress = flow.progress()
    running = progress.states.get(State.RUNNING, 0)
    if as_json:
        print_json({"changed": changed, "done": progress.done, "total": progress.total})
    elif not changed:
        say("all its jobs have ended already")
    else:
        of_running = f"; {counted(running, 'job')} still running, which end as soon as their tasks let them"
        say(f"flow {flow.id} cancelled{of_running if running else ''}")
