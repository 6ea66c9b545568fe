"""Flows as the command line shows them: as JSON, as rows of a table, and one as a tree of what waits for what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mainspring.admin import FlowView
from mainspring.cli.job_views import job_json
from mainspring.cli.output import Column, ago, counted, for_people, iso, one_line, say, state_style, table
from mainspring.job import Job
from mainspring.model.states import State

__all__ = ["flow_json", "show", "show_all", "whole_flow_json"]

COLUMNS = (
    Column("ID", whole=True),
    Column("NAME"),
    Column("DONE", right=True, whole=True),
    Column("JOBS", from_width=100),
    Column("CREATED", whole=True),
)
DEPTH = 25
WIDTH = 20
"""How deep the tree is drawn, and how many jobs that wait for the same one; of the rest it says how many there are."""


def flow_json(view: FlowView) -> dict[str, Any]:
    """What lists have of a flow. The names stay as they are from version to version."""
    return {
        "id": view.id,
        "name": view.name,
        "parent": view.parent,
        "created_at": iso(view.created_at),
        "done": view.done,
        "total": view.total,
        "counts": {state.value: view.counts.get(state, 0) for state in State},
    }


def whole_flow_json(view: FlowView) -> dict[str, Any]:
    """Everything about one flow."""
    return flow_json(view) | {
        "callbacks": dict(view.callbacks),
        "jobs": [job_json(job) | {"parents": _parents_json(job)} for job in view.jobs],
        "parts": [whole_flow_json(part) for part in view.parts],
    }


def _parents_json(job: Job[Any]) -> list[dict[str, Any]]:
    return [
        {"id": parent.id, "on_failure": parent.policy.value, "state": parent.state and parent.state.value}
        for parent in job.record.parents
    ]


def show_all(views: Sequence[FlowView]) -> None:
    """A table of flows."""
    table(
        COLUMNS,
        [
            (view.id, view.name, f"{view.done:,} of {view.total:,}", _told(view.counts), ago(view.created_at))
            for view in views
        ],
    )


def _told(counts: Mapping[State, int]) -> str:
    return ", ".join(f"{counts[state]:,} {state}" for state in State if counts.get(state))


# --- one flow as a tree ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the tree."""

    depth: int
    text: str
    state: State | None = None
    rest: str = ""


@dataclass(slots=True)
class _Plan:
    """What is drawn under what."""

    roots: list[Job[Any]] = field(default_factory=list)
    below: dict[str, list[Job[Any]]] = field(default_factory=dict)
    part_of: dict[str, str] = field(default_factory=dict)
    callbacks: list[tuple[Job[Any], str]] = field(default_factory=list)


def show(view: FlowView, whole: bool = False) -> None:
    """One flow for people: each job under the first of those that it waits for."""
    head = f"flow {one_line(view.id)}  {one_line(view.name)}  {view.done:,} of {counted(view.total, 'job')} done"
    told = _told(view.counts)
    title = f"{head} ({told})" if told else head
    rows = list(_rows(_planned(view), whole))
    if for_people():
        _draw(title, rows)
        return
    say(title)
    for row in rows:
        say("  " * (row.depth + 1) + "  ".join(filter(None, [row.text, row.state, row.rest])))


def _planned(view: FlowView) -> _Plan:
    plan = _Plan()
    jobs: list[Job[Any]] = []
    waiting = [view]
    while waiting:
        flow = waiting.pop(0)
        for job in flow.jobs:
            if job.id in flow.callbacks:
                of_part = f" of {flow.name}" if flow is not view else ""
                plan.callbacks.append((job, f"on {flow.callbacks[job.id]}{of_part}"))
            else:
                jobs.append(job)
            if flow is not view:
                plan.part_of[job.id] = flow.name
        waiting += flow.parts
    known = {job.id for job in jobs}
    for job in sorted(jobs, key=lambda job: (job.created_at, job.id)):
        parents = [parent.id for parent in job.record.parents if parent.id in known]
        for parent in parents:
            plan.below.setdefault(parent, []).append(job)
        if not parents:
            plan.roots.append(job)
    return plan


def _rows(plan: _Plan, whole: bool) -> Iterator[_Row]:
    drawn: set[str] = set()
    stack: list[tuple[int, Job[Any] | _Row]] = _level(plan.roots, 0, whole)
    while stack:
        depth, job = stack.pop()
        if isinstance(job, _Row):
            yield job
            continue
        if job.id in drawn:
            yield _Row(depth, one_line(job.task), rest=f"{one_line(job.id)} (see above)")
            continue
        drawn.add(job.id)
        yield _row(job, depth, plan)
        below = plan.below.get(job.id, [])
        if depth + 1 >= DEPTH and below and not whole:
            yield _Row(depth + 1, "... and more below; --all draws everything")
        else:
            stack += _level(below, depth + 1, whole)
    for job, when in plan.callbacks:
        yield _row(job, 0, plan, f"{when}: ")


def _level(jobs: Sequence[Job[Any]], depth: int, whole: bool) -> list[tuple[int, Job[Any] | _Row]]:
    """Jobs side by side, the first one last, as a stack wants them."""
    shown: list[tuple[int, Job[Any] | _Row]] = [(depth, job) for job in (jobs if whole else jobs[:WIDTH])]
    if len(shown) < len(jobs):
        rest = jobs[len(shown) :]
        told = _told(Counter(job.state for job in rest))
        shown.append((depth, _Row(depth, f"... and {len(rest):,} more ({told}); --all draws everything")))
    return shown[::-1]


def _row(job: Job[Any], depth: int, plan: _Plan, before: str = "") -> _Row:
    part = plan.part_of.get(job.id)
    why = job.reason if job.state is not State.COMPLETED else None
    rest = [job.id, f"in {part}" if part and not before else "", why or ""]
    return _Row(depth, one_line(before + job.task), job.state, "  ".join(one_line(each) for each in rest if each))


def _draw(title: str, rows: Sequence[_Row]) -> None:
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

    tree = Tree(Text(title, "bold"))
    branches = [tree]
    for row in rows:
        line = Text(row.text, no_wrap=True, overflow="ellipsis")
        if row.state is not None:
            line.append(f"  {row.state}", state_style(row.state))
        line.append(f"  {row.rest}" if row.rest else "", "dim")
        del branches[row.depth + 1 :]
        branches.append(branches[-1].add(line))
    Console(highlight=False).print(tree)
