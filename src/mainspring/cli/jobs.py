"""`mainspring jobs`: look at jobs, one or many, and change them."""

from __future__ import annotations

from typing import Annotated

import typer

from mainspring.cli.deeds import Deed, do, find, where_of
from mainspring.cli.job_views import (
    error_group_json,
    job_json,
    show,
    show_all,
    show_error_groups,
    whole_job_json,
)
from mainspring.cli.options import App, Json, Url, Yes, existing, json_object, moment_of
from mainspring.cli.output import for_people, one_line, print_json, say, warn
from mainspring.cli.usage import Commands
from mainspring.errors import ConfigurationError
from mainspring.model.states import FINAL, State

__all__ = ["commands"]

commands = Commands(help="Look at jobs, and retry, cancel, reschedule or delete them.")

StateOption = Annotated[
    list[str] | None, typer.Option("--state", metavar="STATE", help=f"{', '.join(State)}; repeat for several.")
]
QueueOption = Annotated[str | None, typer.Option("--queue", "-q", metavar="NAME", help="Only of this queue.")]
TaskOption = Annotated[str | None, typer.Option("--task", metavar="NAME", help="Only of this task.")]
FlowOption = Annotated[str | None, typer.Option("--flow", metavar="ID", help="Only of this flow and its parts.")]
TextOption = Annotated[
    str | None, typer.Option("--text", metavar="TEXT", help="Only with that in their arguments (as JSON).")
]
TagOption = Annotated[str | None, typer.Option("--tag", metavar="TAG", help="Only with that tag.")]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help='Ended since, or created if not ended: "2h" ago, "2031-05-01 09:30".')
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Ended, or created, until then.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", hidden=True)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say how many jobs fit, and change none.")]


@commands.command("list")
def list_(
    context: typer.Context,
    state: StateOption = None,
    queue: QueueOption = None,
    task: TaskOption = None,
    flow: FlowOption = None,
    text: TextOption = None,
    tag: TagOption = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many.")] = 50,
    app: App = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List jobs, newest first.

    \b
    mainspring jobs list --state dead --task send_welcome --since 2h
    mainspring jobs list --state queued --state running --queue email --json
    mainspring jobs list --tag vip --text ada@example.com
    """
    where = where_of(state, queue, task, since, until, flow, text, tag)
    jobs, more = find(existing(context, app, url), limit, where)
    if as_json:
        print_json([job_json(job) for job in jobs])
    elif not jobs:
        say("no job fits")
    else:
        show_all(jobs)
        if more:
            warn(f"there are more; see them with --limit {limit * 4}")


@commands.command("show")
def show_(
    context: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", hidden=True)],
    app: App = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show everything about one job.

    That is its arguments, result, progress, what happened when, the traceback of each try that failed, and its log.
    """
    job = existing(context, app, url).jobs.get(id)
    why = None if job.state in FINAL else job.why()
    if as_json:
        print_json(whole_job_json(job))
    else:
        show(job, why)


@commands.command()
def why(
    context: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", hidden=True)],
    app: App = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Say in one sentence why a job is not running."""
    job = existing(context, app, url).jobs.get(id)
    sentence = job.why()
    if as_json:
        print_json({"id": job.id, "state": job.state.value, "why": sentence})
    else:
        say(one_line(sentence))


@commands.command()
def retry(
    context: typer.Context,
    ids: Ids = None,
    state: StateOption = None,
    queue: QueueOption = None,
    task: TaskOption = None,
    flow: FlowOption = None,
    text: TextOption = None,
    tag: TagOption = None,
    since: Since = None,
    until: Until = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    app: App = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Queue ended jobs again, with all their tries.

    \b
    mainspring jobs retry 0199a0b4-5d11-7c3e-8f0a-2b9d6c1e4f70
    mainspring jobs retry --state dead --queue email

    Scheduled jobs run now. Without ids and --state it means the dead ones.
    """
    opened = existing(context, app, url)
    deed = Deed("retry", (State.DEAD,))
    do(deed, opened, ids, where_of(state, queue, task, since, until, flow, text, tag), yes, dry_run, as_json)


@commands.command()
def rerun(
    context: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", hidden=True)],
    args: Annotated[
        str | None, typer.Option(metavar="JSON", help="Other arguments, all of them, as one JSON object.")
    ] = None,
    app: App = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Enqueue a new job like that one, with these arguments or others.

    \b
    mainspring jobs rerun 0199a0b4-5d11-7c3e-8f0a-2b9d6c1e4f70 --app shop.jobs:app --args '{"user_id": 8}'

    The old one stays as it is. Other arguments are checked by the task, so the app is to be named for them.
    """
    job = existing(context, app, url).jobs.rerun(id, None if args is None else json_object("--args", args))
    if as_json:
        print_json(job_json(job))
    else:
        say(f"{job.id}  {one_line(job.task)} in queue {one_line(job.queue)}" if for_people() else job.id)


@commands.command()
def errors(
    context: typer.Context,
    queue: QueueOption = None,
    task: TaskOption = None,
    text: TextOption = None,
    tag: TagOption = None,
    since: Since = None,
    until: Until = None,
    app: App = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Group the newest 5,000 dead letters by what they died of.

    \b
    mainspring jobs errors --since 1d
    """
    where = where_of(None, queue, task, since, until, None, text, tag)
    groups = existing(context, app, url).jobs.errors(**where)
    if as_json:
        print_json([error_group_json(group) for group in groups])
    elif not groups:
        say("no dead letter fits")
    else:
        show_error_groups(groups)
        if groups.more:
            warn(f"only the newest {groups.looked_at:,} were looked at")


@commands.command()
def cancel(
    context: typer.Context,
    ids: Ids = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept with the job.")] = "",
    state: StateOption = None,
    queue: QueueOption = None,
    task: TaskOption = None,
    flow: FlowOption = None,
    text: TextOption = None,
    tag: TagOption = None,
    since: Since = None,
    until: Until = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    app: App = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Cancel waiting jobs, and running ones too.

    The worker of a running job is asked to; a plain function ends when it looks at `ctx.cancelled`, or by itself.

    \b
    mainspring jobs cancel 0199a0b4-5d11-7c3e-8f0a-2b9d6c1e4f70 --reason "the order was withdrawn"
    mainspring jobs cancel --task send_newsletter --since 10m
    """
    opened = existing(context, app, url)
    deed = Deed(
        "cancel",
        how={"reason": reason},
        of_running="running ones end as soon as their task lets them",
    )
    do(deed, opened, ids, where_of(state, queue, task, since, until, flow, text, tag), yes, dry_run, as_json)


@commands.command()
def reschedule(
    context: typer.Context,
    ids: Ids = None,
    delay: Annotated[str | None, typer.Option(metavar="DURATION", help='So long from now, such as "30m".')] = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help='Then: "2031-05-01 09:30".')] = None,
    state: StateOption = None,
    queue: QueueOption = None,
    task: TaskOption = None,
    flow: FlowOption = None,
    text: TextOption = None,
    tag: TagOption = None,
    since: Since = None,
    until: Until = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    app: App = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Let waiting jobs run at another time.

    \b
    mainspring jobs reschedule 0199a0b4-5d11-7c3e-8f0a-2b9d6c1e4f70 --delay 30m
    mainspring jobs reschedule --queue bulk --at "2031-05-01 22:00"
    """
    if (delay is None) == (at is None):
        raise ConfigurationError("say when: give either --delay or --at")
    moment = None if at is None else moment_of("--at", at)
    opened = existing(context, app, url)
    deed = Deed("reschedule", how={"delay": delay, "at": moment})
    do(deed, opened, ids, where_of(state, queue, task, since, until, flow, text, tag), yes, dry_run, as_json)


@commands.command()
def delete(
    context: typer.Context,
    ids: Ids = None,
    state: StateOption = None,
    queue: QueueOption = None,
    task: TaskOption = None,
    flow: FlowOption = None,
    text: TextOption = None,
    tag: TagOption = None,
    since: Since = None,
    until: Until = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    app: App = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Delete jobs that are not running, with their logs.

    Nothing brings them back.

    \b
    mainspring jobs delete --state dead --until 30d
    mainspring jobs delete --state completed --task heartbeat --yes
    """
    opened = existing(context, app, url)
    deed = Deed("delete")
    do(deed, opened, ids, where_of(state, queue, task, since, until, flow, text, tag), yes, dry_run, as_json)
