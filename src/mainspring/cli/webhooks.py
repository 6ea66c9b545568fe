"""`mainspring webhooks`: whom the app tells of what, how that goes, and a try."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mainspring.admin import WebhookView
from mainspring.cli.job_views import job_json
from mainspring.cli.options import App, Json, app_named
from mainspring.cli.output import Column, ago, for_people, print_json, say, table
from mainspring.cli.usage import Commands

__all__ = ["commands"]

commands = Commands(help="Look at webhooks, and try one.")

COLUMNS = (
    Column("WEBHOOK", whole=True),
    Column("URL", folds=True),
    Column("TELLS OF", folds=True),
    Column("LAST", is_state=True, whole=True),
    Column("WHEN", whole=True),
)


@commands.command("list")
def list_(context: typer.Context, app: App = None, as_json: Json = False) -> None:
    """List the webhooks of the code, and their newest deliveries.

    Deliveries are jobs: `mainspring jobs list --task mainspring.webhook` lists them all.
    """
    views = app_named(context, None, app).webhooks.list()
    if as_json:
        print_json([_webhook_json(view) for view in views])
    elif not views:
        say("the app declares no webhooks; see app.webhook(...)")
    else:
        table(COLUMNS, [_row(view) for view in views])


@commands.command("test")
def try_(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", hidden=True)],
    app: App = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for it to end, and say how it went.")] = False,
    timeout: Annotated[str, typer.Option(metavar="DURATION", help="With --wait: at most so long.")] = "30s",
    as_json: Json = False,
) -> None:
    """Deliver an event "ping" to a webhook, by name.

    It is a job, like every delivery: a worker that serves the queue "webhooks" makes it. Prints its id.
    """
    job = app_named(context, None, app).webhooks.test(name)
    if wait:
        answer = job.result(timeout)
        if as_json:
            print_json(job_json(job) | {"result": answer})
        else:
            say(f"answered {answer['status']} after {answer['seconds']} s")
    elif as_json:
        print_json(job_json(job))
    else:
        say(f"{job.id}  ping to {name}, {job.state}" if for_people() else job.id)


def _row(view: WebhookView) -> tuple[str, ...]:
    newest = view.last[0] if view.last else None
    return (
        view.name,
        view.url,
        ", ".join((*view.on, *(f"task {task}" for task in view.tasks), *(f"queue {queue}" for queue in view.queues))),
        str(newest.state) if newest else "",
        ago(newest.finished_at or newest.created_at, "never") if newest else "never",
    )


def _webhook_json(view: WebhookView) -> dict[str, Any]:
    return {
        "name": view.name,
        "url": view.url,
        "on": list(view.on),
        "tasks": list(view.tasks),
        "queues": list(view.queues),
        "include_result": view.include_result,
        "allow_private": view.allow_private,
        "last": [job_json(job) for job in view.last],
    }
