"""`mainspring queues`: what is in each queue, and its settings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

import typer

from mainspring.admin import QueueView
from mainspring.app import Mainspring
from mainspring.cli.options import App, Json, Url, existing
from mainspring.cli.output import one_line, print_json, say, warn
from mainspring.cli.queue_views import (
    limits_of,
    limits_text,
    partition_json,
    queue_json,
    show_queue,
    show_queues,
    state_of,
    task_json,
)
from mainspring.cli.usage import Commands
from mainspring.errors import ConfigurationError, InvalidOption, MainspringError
from mainspring.model.limits import KEEP, Keep, Rate
from mainspring.model.text import quote

__all__ = ["commands"]

commands = Commands(help="Look at queues, pause and limit them.")

Names = Annotated[list[str], typer.Argument(metavar="NAME...", hidden=True)]
Partition = Annotated[str | None, typer.Option("--partition", metavar="NAME", help="Only this partition of it.")]


@commands.command("list")
def list_(context: typer.Context, app: App = None, url: Url = None, as_json: Json = False) -> None:
    """List the queues: their limits, and the number of jobs in each state."""
    views = existing(context, app, url).queues.list()
    if as_json:
        print_json([queue_json(view) for view in views])
    elif not views:
        say("there are no queues yet; a queue is known from its first job on")
    else:
        show_queues(views)


@commands.command()
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", hidden=True)],
    app: App = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show a queue and its partitions.

    That is its limits, what is in it, and those of its partitions that have settings of their own.
    """
    opened = existing(context, app, url)
    view = _queue_named(opened, name)
    partitions = opened.queues.partitions(name)
    if as_json:
        print_json(queue_json(view) | {"partitions": [partition_json(each) for each in partitions]})
        return
    show_queue(view, partitions)


@commands.command()
def pause(
    context: typer.Context,
    names: Names,
    partition: Partition = None,
    app: App = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Let no worker take jobs from these queues. What runs goes on, and so does enqueuing.

    \b
    mainspring queues pause email
    mainspring queues pause api --partition acme
    """
    opened = existing(context, app, url)
    _each(opened, names, lambda name: opened.queues.pause(name, partition))
    _report(opened, names, partition, as_json)


@commands.command()
def resume(
    context: typer.Context,
    names: Names,
    partition: Partition = None,
    app: App = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Let workers take jobs from these queues again."""
    opened = existing(context, app, url)
    _each(opened, names, lambda name: opened.queues.resume(name, partition))
    _report(opened, names, partition, as_json)


@commands.command()
def limit(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", hidden=True)] = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="TASK", help="Limit this task, in all queues, not a queue.")
    ] = None,
    rate: Annotated[
        list[str] | None,
        typer.Option(metavar="N/TIME", help="How many may start in a time, such as 50/1m; more than once: all hold."),
    ] = None,
    concurrency: Annotated[
        str | None, typer.Option("--concurrency", "-c", metavar="N", help="How many may run at once.")
    ] = None,
    max_queued: Annotated[
        str | None, typer.Option(metavar="N", help="How many may wait; enqueuing more is an error.")
    ] = None,
    partition: Partition = None,
    per_partition: Annotated[
        bool, typer.Option("--per-partition", help="Each partition that has no word of its own.")
    ] = False,
    weight: Annotated[str | None, typer.Option(metavar="X", help="A partition's share beside the others', 1.")] = None,
    app: App = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Limit a queue, its partitions, or a task, over all workers.

    This wins over what the code says, and running workers obey at once. What is not given stays; "none": no limit.

    \b
    mainspring queues limit email --rate 50/1m --rate 10/s --concurrency 5
    mainspring queues limit email --rate none --max-queued 1000
    mainspring queues limit api --per-partition --concurrency 2
    mainspring queues limit api --partition acme --concurrency 10 --weight 2
    mainspring queues limit --task send_mail --rate 10/s
    """
    at_once, rates, waiting = _number("--concurrency", concurrency), _rates(rate), _number("--max-queued", max_queued)
    share = KEEP if weight is None else _weight(weight)
    if task is None and name is not None:
        opened = existing(context, app, url)
        change = partial(
            opened.queues.set_limits,
            concurrency=at_once,
            rate=rates,
            max_queued=waiting,
            partition=partition,
            per_partition=per_partition,
            weight=share,
        )
        _each(opened, [name], change)
        _report(opened, [name], partition, as_json)
    elif name is None and task is not None:
        if max_queued or partition or per_partition or weight:
            raise ConfigurationError("a task has no other limits than --rate and --concurrency; the others are queues'")
        opened = existing(context, app, url)
        opened.queues.set_task_limits(task, concurrency=at_once, rate=rates)
        if task not in opened.tasks and not opened.jobs.count(task=task):
            warn(f"note: no task is named {quote(task)} here, and there is no job of such a one")
        _report_task(opened, task, as_json)
    else:
        raise ConfigurationError("say what to limit: give either the name of a queue or --task")


# --- what the options say --------------------------------------------------------------------------------------------


def _number(option: str, text: str | None) -> int | Keep | None:
    if text is None:
        return KEEP
    if text == "none":
        return None
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise InvalidOption(f'{option} {quote(text)} is neither a whole number from 1 on nor "none"')
    return int(text)


def _rates(texts: list[str] | None) -> tuple[Rate, ...] | Keep | None:
    if not texts:
        return KEEP
    if texts == ["none"]:
        return None
    return tuple(Rate.parse(text) for text in texts)


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidOption(f"--weight {quote(text)} is not a number from 0.001 to 1000") from None


def _each(app: Mainspring, names: list[str], change: Callable[[str], None]) -> None:
    """Change each queue, and note those that no job was ever in: they may be misspelt."""
    known = {view.name for view in app.queues.list()}
    for name in names:
        change(name)
        if name not in known:
            warn(
                f"note: no job has been in queue {quote(name)} so far; there are: {', '.join(sorted(known)) or 'none'}"
            )


def _queue_named(app: Mainspring, name: str) -> QueueView:
    views = {view.name: view for view in app.queues.list()}
    if name not in views:
        raise MainspringError(f"no queue is named {quote(name)}; there are: {', '.join(views) or 'none'}")
    return views[name]


def _report(app: Mainspring, names: list[str], partition: str | None, as_json: bool) -> None:
    if partition is not None:
        views = [app.queues.partition(name, partition) for name in names]
        if as_json:
            print_json([partition_json(view) for view in views])
            return
        for view in views:
            place = f"queue {one_line(view.queue)}, partition {one_line(view.name) or '(none)'}"
            say(f"{place}: {state_of(view)}, {limits_of(view.limits) or 'no limit'}")
        return
    queues = [view for view in app.queues.list() if view.name in names]
    if as_json:
        print_json([queue_json(view) for view in queues])
        return
    for queue in queues:
        limits = limits_text(queue.concurrency, queue.rates, queue.max_queued) or "no limit"
        each = limits_of(queue.per_partition)
        say(f"queue {queue.name}: {state_of(queue)}, {limits}{f'; each partition: {each}' if each else ''}")


def _report_task(app: Mainspring, name: str, as_json: bool) -> None:
    views = [view for view in app.queues.task_limits() if view.name == name]
    if as_json:
        print_json([task_json(view) for view in views])
        return
    for view in views:
        say(f"task {one_line(view.name)}: {limits_text(view.concurrency, view.rates, None) or 'no limit'}")
