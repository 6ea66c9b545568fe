"""Schedules in JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mainspring.admin import ScheduleView
from mainspring.model.schedule import Cron
from mainspring.web.shapes.base import JsonObject, Moment, Shape

__all__ = ["ScheduleShape", "schedule_shape"]


class ScheduleShape(Shape):
    """What is done at which times."""

    name: str
    task: str
    queue: str
    args: JsonObject
    priority: int
    cron: str | None = Field(description="Its cron line; null: it runs at an interval.")
    tz: str | None = Field(description="The time zone of its cron line.")
    every_seconds: float | None = Field(description="Its interval, counted from 1970 UTC; null: it has a cron line.")
    catch_up: Literal["none", "latest", "all"] = Field(description="Which of the missed times are made up for.")
    jitter_seconds: float
    next_at: Moment
    last_at: Moment | None = Field(description="The time that was served last.")
    paused: bool
    paused_at: Moment | None


def schedule_shape(view: ScheduleView) -> ScheduleShape:
    """A schedule as the store has it."""
    spec = view.timing.spec
    return ScheduleShape(
        name=view.name,
        task=view.task,
        queue=view.queue,
        args=dict(view.shown_args),
        priority=view.priority,
        cron=spec.expression if isinstance(spec, Cron) else None,
        tz=spec.tz if isinstance(spec, Cron) else None,
        every_seconds=None if isinstance(spec, Cron) else spec.interval_ms / 1000,
        catch_up=view.timing.catch_up,
        jitter_seconds=view.timing.jitter_ms / 1000,
        next_at=view.next_at,
        last_at=view.last_at,
        paused=view.paused,
        paused_at=view.paused_at,
    )
