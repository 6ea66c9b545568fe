"""A new job like an old one, with the same or with edited arguments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mainspring.clock import new_id
from mainspring.errors import InvalidOption
from mainspring.job import Job
from mainspring.model.job import Key, NewJob
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
    whose arguments nobody here can check, `ValidationError` for such as do not fit it, `InvalidOption` for a job that
    takes the results of others, and `EncryptionKeyMissing` where encrypted arguments must be read for it.
    """
    options = JobOptions.from_text(old.record.options)
    if options.holes:
        raise InvalidOption(
            f"job {old.id} takes the results of others in its flow, which no new one has; retry it, or its flow"
        )
    # A time that was set for the old one is none for this, and it is not enqueued where that one was.
    options = replace(options, deadline_at=None, trace=())
    stored, partition = old.record.args, old.partition
    keys: tuple[Key, ...] = ()
    task = app.tasks.get(old.task) if args is None else app.task_named(old.task)
    # Arguments that nobody has to read are copied as they are, which takes no encryption key.
    if task is not None and (args is not None or task.makes_keys or (task.codec.encrypted and not options.sealed)):
        if args is None:
            text = app.keyring.open(stored, task.name, options)
        else:
            given = restored(dict(args), old.args, old.secrets)
            given = app.keyring.opened_after_edit(given, task.name, options)
            text = _checked(task, given, each=options.each)
            if not options.each and app.partitioning(old.queue):
                partition = app.partition_of(task, old.queue, text)
        if not options.each:
            keys = task.keys_of(text)
        secrets = tuple(dict.fromkeys((*options.secrets, *task.codec.secrets)))
        options = replace(options, secrets=secrets, sealed=task.codec.encrypted)
        stored = app.keyring.seal(text, task.name, options)
    return NewJob(
        new_id(),
        old.task,
        old.queue,
        stored,
        old.priority,
        options=options.to_text(),
        keys=keys,
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
