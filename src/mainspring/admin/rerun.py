"""A new job like an old one, with the same or with edited arguments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mainspring.clock import new_id
from mainspring.errors import InvalidOption
from mainspring.job import Job
from mainspring.model.job import NewJob
from mainspring.model.options import JobOptions
from mainspring.model.secrets import restored
from mainspring.model.text import quote

if TYPE_CHECKING:
    from mainspring.app import Mainspring
    from mainspring.task import Task

__all__ = ["like"]


def like(app: Mainspring, old: Job[Any], args: Mapping[str, Any] | None) -> NewJob:
    """A job of the same task, queue, priority and options as the old one, which it leaves as it is.

    With edited arguments, those in which a secret is still hidden have it as it was. Raises `UnknownTask` for a task
    whose arguments nobody here can check, `ValidationError` for such as do not fit it, and `InvalidOption` for a job
    that takes the results of others.
    """
    options = JobOptions.from_text(old.record.options)
    if options.holes:
        raise InvalidOption(
            f"job {old.id} takes the results of others in its flow, which no new one has; retry it, or its flow"
        )
    # A time that was set for the old one is none for this, and it is not enqueued where that one was.
    options = replace(options, deadline_at=None, trace=())
    text, partition = old.record.args, old.partition
    task = app.tasks.get(old.task) if args is None else app.task_named(old.task)
    if args is not None and task is not None:
        text = _checked(task, restored(dict(args), old.args, old.secrets), each=options.each)
        if not options.each:
            partition = app.partition_of(task, old.queue, text) if app.partitioning(old.queue) else partition
    return NewJob(
        new_id(),
        old.task,
        old.queue,
        text,
        old.priority,
        options=options.to_text(),
        keys=() if task is None or options.each else task.keys_of(text),
        partition=partition,
        cost=old.cost,
    )


def _checked(task: Task[..., Any], args: dict[str, Any], *, each: bool) -> str:
    """As they are stored."""
    if not each:
        return task.codec.encode_text(json.dumps(args))
    items = args.get("items")
    if not isinstance(items, list) or len(args) > 1:
        raise InvalidOption(f'{quote(args)} is not {{"items": [...]}}, which a job with a chunk of arguments has')
    return f'{{"items":[{",".join(task.codec.encode_text(json.dumps(item)) for item in items)}]}}'
