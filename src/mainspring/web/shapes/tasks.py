"""Tasks in JSON, with the JSON Schema of their arguments."""

from __future__ import annotations

import inspect
from typing import Any

from pydantic import Field

from mainspring.admin import TaskView
from mainspring.model.durations import to_ms
from mainspring.task import Task
from mainspring.web.shapes.base import JsonObject, Moment, Shape, rates_of

__all__ = ["RetryShape", "TaskLimitsShape", "TaskShape", "WholeTaskShape", "task_shape", "whole_task_shape"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class RetryShape(Shape):
    """How often its jobs are tried, and how long they wait in between."""

    attempts: int
    delay_seconds: list[float] | None = Field(description="One, which grows, or each; null: a function says.")
    factor: float
    max_delay_seconds: float
    jitter: bool


class TaskShape(Shape):
    """A task of the program that serves this API."""

    name: str
    description: str | None = Field(description="The first paragraph of its function's docstring.")
    queue: str
    priority: int
    executor: str = Field(description='"async", "thread" or "process".')
    retry: RetryShape
    timeout_seconds: float | None
    deadline_seconds: float | None
    cost: int
    tags: list[str]


class TaskLimitsShape(Shape):
    """How many of its jobs run and start, over all workers and queues, as it is in force."""

    concurrency: int | None
    rates: list[str] = Field(description='How many may start in a time, such as "50/1m"; all of them hold.')
    opens_at: Moment | None = Field(description="When time lets the next job through; null: at once.")


class WholeTaskShape(TaskShape):
    """Everything about one task."""

    arguments: JsonObject = Field(description="The JSON Schema (2020-12) of its arguments; secrets are `writeOnly`.")
    limits: TaskLimitsShape


def task_shape(task: Task[..., Any]) -> TaskShape:
    """A task as the code has it."""
    return TaskShape(**_common(task))


def whole_task_shape(task: Task[..., Any], limits: TaskView | None) -> WholeTaskShape:
    """A task, its arguments, and its limits as the store has them."""
    options = task.options
    concurrency, rates = options.concurrency, options.rates
    if limits is not None:
        concurrency, rates = limits.concurrency, limits.rates
    return WholeTaskShape(
        **_common(task),
        arguments=arguments_schema(task),
        limits=TaskLimitsShape(
            concurrency=concurrency, rates=rates_of(rates), opens_at=None if limits is None else limits.opens_at
        ),
    )


def arguments_schema(task: Task[..., Any]) -> dict[str, Any]:
    """The JSON Schema of a task's arguments by name, defaults included. Raises `ConfigurationError` for annotations
    that cannot be resolved."""
    codec = task.codec
    try:
        schema = codec.json_schema()
    except Exception:  # noqa: BLE001 - a type of the user's that has no schema still has validation
        schema = {"type": "object"}
    hidden = {path[0] for path in codec.secrets if path}
    for name, default in task.defaults.items():
        if name in hidden:
            continue
        if isinstance(part := schema.get("properties", {}).get(name), dict):
            part.setdefault("default", default)
    about: dict[str, Any] = {"$schema": DIALECT, "title": task.name}
    if (description := _description(task)) is not None:
        about["description"] = description
    return about | {name: value for name, value in schema.items() if name not in about}


def _common(task: Task[..., Any]) -> dict[str, Any]:
    options = task.options
    return {
        "name": task.name,
        "description": _description(task),
        "queue": options.queue,
        "priority": options.priority,
        "executor": options.executor if options.executor != "auto" else "async" if task.is_async else "thread",
        "retry": _retry(task),
        "timeout_seconds": None if options.timeout_ms is None else options.timeout_ms / 1000,
        "deadline_seconds": None if options.deadline_ms is None else options.deadline_ms / 1000,
        "cost": options.cost,
        "tags": list(options.tags),
    }


def _retry(task: Task[..., Any]) -> RetryShape:
    retry = task.options.retry
    delay = retry.delay
    several = delay if isinstance(delay, tuple) else (delay,)
    return RetryShape(
        attempts=retry.attempts,
        delay_seconds=None if callable(delay) else [to_ms(each) / 1000 for each in several],
        factor=retry.factor,
        max_delay_seconds=to_ms(retry.max_delay) / 1000,
        jitter=retry.jitter,
    )


def _description(task: Task[..., Any]) -> str | None:
    text = inspect.getdoc(task.function)
    return " ".join(text.partition("\n\n")[0].split()) if text else None
