"""Enqueuing by a task's name: arguments and options as JSON, checked by the task's own annotations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from mainspring.app import Mainspring
from mainspring.errors import InvalidOption, MainspringError, PayloadTooDeep, ValidationError
from mainspring.job import Job
from mainspring.model.keys import IDEMPOTENCY_FOR
from mainspring.model.text import quote
from mainspring.task import BoundTask, JobDraft, Task
from mainspring.web.api.inputs import Ask, At, Condition, Cost, Delay, Name, Priority, Seconds, Tag
from mainspring.web.problems import Forbidden

__all__ = ["EnqueueAsk", "draft", "enqueue", "is_own", "read_arguments", "task_to_enqueue"]


class EnqueueAsk(Ask):
    """A job to enqueue. What is left out is as its task says."""

    args: dict[str, Any] = Field(default={}, description="Its arguments by name: see the task's JSON Schema.")
    delay: Delay | None = None
    at: At | None = Field(default=None, description="Not before then.")
    priority: Priority | None = None
    queue: Name | None = None
    partition: Condition | None = Field(default=None, description='Of its queue; "": in none.')
    timeout: Seconds | None = Field(default=None, description="How long a run may take.")
    deadline: Seconds | None = Field(default=None, description="How long after it is enqueued it is worth starting.")
    attempts: int | None = Field(default=None, strict=True, ge=1, le=1_000_000, description="How often to try, in all.")
    cost: Cost | None = Field(default=None, description="How many starts it counts for, where a rate limits them.")
    tags: list[Tag] | None = Field(default=None, max_length=20, description="Words by which it can be found.")
    id: Name | None = Field(default=None, description="One whose id is there already is not stored again.")
    idempotency_for: Seconds | None = Field(
        default=None, description=f"How long the Idempotency-Key holds; {IDEMPOTENCY_FOR} if left out."
    )


def task_to_enqueue(app: Mainspring, name: str) -> Task[..., Any]:
    """The task of that name. Raises `UnknownTask`, and `Forbidden` for one of Mainspring's own: with arguments from
    outside it would, say, tell a receiver of webhooks, under our signature, what has never happened."""
    task = app.task_named(name)
    if is_own(name):
        raise Forbidden(f"task {name!r} is Mainspring's own; its jobs are made by what they are about")
    return task


def is_own(name: str) -> bool:
    """Whether a task of that name is Mainspring's own."""
    return name.startswith("mainspring.")


async def enqueue(task: Task[..., Any], ask: EnqueueAsk, idempotency_key: str | None) -> Job[Any]:
    """Enqueue a job. Raises `ValidationError`, `InvalidOption`, `DuplicateJob`, `QueueFull`."""
    bound = _bound(task, ask, idempotency_key)
    args, kwargs = read_arguments(task, bound, ask.args)
    return await bound.aenqueue(*args, **kwargs)


def draft(task: Task[..., Any], ask: EnqueueAsk, idempotency_key: str | None) -> JobDraft[Any]:
    """The same, not yet enqueued. Raises `ValidationError`, `InvalidOption`."""
    bound = _bound(task, ask, idempotency_key)
    args, kwargs = read_arguments(task, bound, ask.args)
    return bound.job(*args, **kwargs)


def _bound(task: Task[..., Any], ask: EnqueueAsk, idempotency_key: str | None) -> BoundTask[..., Any]:
    if ask.idempotency_for is not None and idempotency_key is None:
        raise InvalidOption("idempotency_for says how long an idempotency key holds, and none is given")
    return task.using(
        delay=ask.delay,
        at=ask.at,
        priority=ask.priority,
        queue=ask.queue,
        partition=ask.partition,
        timeout=ask.timeout,
        deadline=ask.deadline,
        retry=ask.attempts,
        cost=ask.cost,
        id=ask.id,
        tags=ask.tags,
        idempotency_key=idempotency_key,
        idempotency_for=ask.idempotency_for,
    )


def read_arguments(
    task: Task[..., Any], bound: BoundTask[..., Any], given: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The call that these arguments, JSON values by name, are of. Raises `ValidationError`, also for what the user's
    `by` and `partition` functions make of them."""
    try:
        args, kwargs = task.codec.decode(task.codec.encode_text(json.dumps(given)))
        bound.job(*args, **kwargs)
    except MainspringError:
        raise
    except RecursionError:
        raise PayloadTooDeep(f"arguments of task {task.name!r}: nested too deep; hand over something flatter") from None
    except Exception as error:
        raise ValidationError(f"task {task.name!r} cannot take these arguments: {quote(error)}") from error
    return args, kwargs
