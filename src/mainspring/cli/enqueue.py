"""`mainspring enqueue`: one job, by its task's name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from mainspring.cli.job_views import job_json
from mainspring.cli.options import Json, app_named, json_object, moment_of, outer_place
from mainspring.cli.output import for_people, one_line, print_json, say, warn
from mainspring.errors import ConfigurationError, JobFailed
from mainspring.job import Job
from mainspring.model.text import quote
from mainspring.task import Task

__all__ = ["enqueue"]


def enqueue(
    context: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(metavar="MODULE:APP TASK [NAME=VALUE]...", hidden=True),
    ],
    app: Annotated[
        str | None, typer.Option("--app", metavar="MODULE:APP", help="The app; then TASK comes first.")
    ] = None,
    args: Annotated[str | None, typer.Option(metavar="JSON", help="All arguments as one JSON object.")] = None,
    delay: Annotated[str | None, typer.Option(metavar="DURATION", help='Not before so long, such as "5m".')] = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help='Not before then: "2031-05-01 09:30".')] = None,
    priority: Annotated[int | None, typer.Option(metavar="N", help="Lower runs first; 5 is usual.")] = None,
    queue: Annotated[
        str | None, typer.Option("--queue", "-q", metavar="NAME", help="Not the task's own queue.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="TAG", help="Not the task's own tags; repeat.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the job to end, and print its result.")] = False,
    timeout: Annotated[str | None, typer.Option(metavar="DURATION", help="With --wait: at most so long.")] = None,
    as_json: Json = False,
) -> None:
    """Enqueue a job. Prints its id; with --wait, its result.

    \b
    mainspring enqueue shop.jobs:app send_welcome user_id=7 email=a@b.c
    mainspring enqueue shop.jobs:app report --args '{"days": [1, 2]}' --delay 2h
    mainspring enqueue shop.jobs:app add a=1 b=2 --wait --timeout 30s

    A NAME=VALUE is text where the task wants text, else JSON. Arguments that do not fit the task are refused before
    anything is stored.
    """
    if timeout is not None and not wait:
        raise ConfigurationError("--timeout says how long to wait; give --wait too")
    target, name, pairs = _split(context, app, words)
    loaded = app_named(context, target, None)
    task = loaded.task_named(name)
    text = json.dumps(_from_pairs(task, pairs)) if args is None else _checked(args, pairs)
    given, named = task.codec.decode(task.codec.encode_text(text))
    when = None if at is None else moment_of("--at", at)
    bound = task.using(delay=delay, at=when, priority=priority, queue=queue, tags=tag or None)
    job = bound.enqueue(*given, **named)
    if wait:
        _wait(job, timeout, as_json)
    elif as_json:
        print_json(job_json(job))
    else:
        say(f"{job.id}  {one_line(name)} in queue {one_line(job.queue)}, {job.state}" if for_people() else job.id)


def _split(context: typer.Context, app: str | None, words: Sequence[str]) -> tuple[str | None, str, Sequence[str]]:
    """The app, the task's name, and the arguments."""
    outer = outer_place(context)
    # $MAINSPRING_APP may be set for good, and another app be named all the same: by what looks like one.
    elsewhere = app or outer.app or (None if ":" in words[0] else outer.named_app())
    if elsewhere:
        return elsewhere, words[0], words[1:]
    if len(words) < 2:
        raise ConfigurationError("say which task: mainspring enqueue MODULE:APP TASK [NAME=VALUE]...")
    return words[0], words[1], words[2:]


def _from_pairs(task: Task[..., Any], pairs: Sequence[str]) -> dict[str, Any]:
    schema = task.codec.json_schema()
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ConfigurationError(f"{quote(pair)} is no argument; write NAME=VALUE, or give them all by --args JSON")
        if name in values:
            raise ConfigurationError(f"argument {quote(name)} is given twice")
        values[name] = value if _takes_text(schema, schema.get("properties", {}).get(name)) else _json_or_text(value)
    return values


def _takes_text(schema: Mapping[str, Any], part: Any) -> bool:
    """Whether that part of the JSON Schema allows text, so that `zip=01234` and `code=7` stay what was typed."""
    if not isinstance(part, Mapping):
        return False
    if "$ref" in part:
        part = schema.get("$defs", {}).get(str(part["$ref"]).rpartition("/")[2], {})
    return part.get("type") == "string" or any(_takes_text(schema, each) for each in part.get("anyOf", ()))


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _checked(args: str, pairs: Sequence[str]) -> str:
    if pairs:
        raise ConfigurationError(f"both --args and {quote(pairs[0])} are given; give all arguments one way")
    json_object("--args", args)
    return args


def _wait(job: Job[Any], timeout: str | None, as_json: bool) -> None:
    try:
        job.result(timeout)
    except JobFailed as error:
        if error.traceback and not as_json:
            warn(error.traceback.rstrip())
        raise
    result = json.loads(job.record.result or "null")
    if as_json:
        print_json(job_json(job) | {"result": result})
    else:
        print_json(result)
