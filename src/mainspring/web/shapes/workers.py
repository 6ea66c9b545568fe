"""Workers in JSON."""

from __future__ import annotations

from pydantic import Field

from mainspring.admin import WorkerView
from mainspring.store.base import Command
from mainspring.web.shapes.base import Moment, Shape

__all__ = ["WorkerShape", "worker_shape"]


class WorkerShape(Shape):
    """A worker as it last described itself."""

    id: str
    name: str = Field(description="Host and process id.")
    queues: list[str]
    tasks: list[str]
    concurrency: int
    running: int = Field(description="How many jobs it runs.")
    quiet: bool = Field(description="Whether it takes no more jobs.")
    alive: bool = Field(description="False: it has not been heard of for longer than its lease; its jobs go to others.")
    started_at: Moment
    beat_at: Moment
    command: Command | None = Field(description="What it was told and has not heard yet.")
    memory: int | None = Field(
        description="How many bytes of memory it has, with the processes in which its jobs run; null: it has not said."
    )


def worker_shape(view: WorkerView) -> WorkerShape:
    """A worker as it was seen."""
    return WorkerShape(
        id=view.id,
        name=view.name,
        queues=list(view.queues),
        tasks=list(view.tasks),
        concurrency=view.concurrency,
        running=view.running,
        quiet=view.quiet,
        alive=view.alive,
        started_at=view.started_at,
        beat_at=view.beat_at,
        command=None if view.command is None else Command(view.command),
        memory=view.memory,
    )
