"""Flows in JSON: in short, as lists have them, and as a graph."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from mainspring.admin import FlowView
from mainspring.job import Job
from mainspring.model.states import State
from mainspring.web.shapes.base import Counts, Moment, Shape, counts_of

__all__ = ["FlowShape", "WholeFlowShape", "flow_shape", "whole_flow_shape"]


class FlowShape(Shape):
    """Jobs that belong together, as lists have them."""

    id: str
    name: str
    created_at: Moment
    counts: Counts
    total: int = Field(description="How many jobs it has, those of its parts included.")
    done: int = Field(description="How many of them have ended, well or badly.")


class PartShape(Shape):
    """A flow that is a part of another."""

    id: str
    name: str
    parent: str = Field(description="The id of the flow that it is a part of.")
    created_at: Moment
    counts: Counts


class FlowNodeShape(Shape):
    """A job of the flow."""

    id: str
    task: str
    queue: str
    state: State
    flow: str | None = Field(description="The id of the flow, or part of it, that it belongs to.")
    progress: float | None
    reason: str | None
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    follows_on: str | None = Field(description='Of a callback: "success", "complete" or "dead".')


class FlowEdgeShape(Shape):
    """One job waits for another."""

    parent: str
    child: str
    policy: Literal["fail", "ignore", "run", "dead"] = Field(
        description="What becomes of the child when the parent ends badly."
    )


class WholeFlowShape(FlowShape):
    """A flow as a graph."""

    parts: list[PartShape] = Field(description="The flows inside it, however deep, that these nodes are in.")
    nodes: list[FlowNodeShape] = Field(
        description="Some of its jobs and of those of its parts: newest first, those that have ended last."
    )
    edges: list[FlowEdgeShape] = Field(description="What these nodes wait for, or have waited for.")
    cursor: str | None = Field(description="Give it back for the next nodes; null: there are no more.")


def flow_shape(view: FlowView) -> FlowShape:
    """A flow as it was seen."""
    return FlowShape(
        id=view.id,
        name=view.name,
        created_at=view.created_at,
        counts=counts_of(view.counts),
        total=view.total,
        done=view.done,
    )


def whole_flow_shape(view: FlowView) -> WholeFlowShape:
    """A flow that was looked up with its parts and some of its jobs."""
    flows = list(_inside(view))
    callbacks = {id: when for flow in flows for id, when in flow.callbacks.items()}
    jobs = sorted((job for flow in flows for job in flow.jobs), key=_place, reverse=True)
    return WholeFlowShape(
        **dict(flow_shape(view)),
        parts=[
            PartShape(
                id=flow.id,
                name=flow.name,
                parent=flow.parent or view.id,
                created_at=flow.created_at,
                counts=counts_of(flow.counts),
            )
            for flow in flows[1:]
        ],
        nodes=[
            FlowNodeShape(
                id=job.id,
                task=job.task,
                queue=job.queue,
                state=job.state,
                flow=job.flow_id,
                progress=job.progress,
                reason=job.reason,
                created_at=job.created_at,
                started_at=job.started_at,
                finished_at=job.finished_at,
                follows_on=callbacks.get(job.id),
            )
            for job in jobs
        ],
        edges=[
            FlowEdgeShape(parent=parent.id, child=job.id, policy=parent.policy.value)
            for job in jobs
            for parent in job.record.parents
        ],
        cursor=view.cursor,
    )


def _place(job: Job[Any]) -> tuple[bool, datetime, str]:
    """Its place from the end of a list of jobs."""
    return job.finished_at is None, job.finished_at or job.created_at, job.id


def _inside(view: FlowView) -> Iterator[FlowView]:
    """The flow and all that are inside it."""
    yield view
    for part in view.parts:
        yield from _inside(part)
