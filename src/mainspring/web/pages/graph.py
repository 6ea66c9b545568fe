"""A flow as a graph: who waits for whom, from left to right, one column for each step. Many jobs alike are one node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mainspring.admin import FlowView
from mainspring.job import Job
from mainspring.model.states import State
from mainspring.web.pages.links import Links
from mainspring.web.pages.text import plain, short_id
from mainspring.web.pages.words import counted, number

__all__ = ["Drawn", "Edge", "Graph", "graph_of"]

WIDTH, HEIGHT = 208, 48
ACROSS, DOWN = 56, 16
ALIKE = 6
"""From so many jobs on, of one task and with the same parents, they are drawn as one node."""
MOST = 300
"""More nodes are not drawn."""
SWEEPS = 4

_WORST = (
    State.DEAD,
    State.RUNNING,
    State.CANCELLED,
    State.QUEUED,
    State.SCHEDULED,
    State.BLOCKED,
    State.COMPLETED,
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A node, where it is drawn."""

    x: int
    y: int
    label: str
    sub: str
    state: State
    href: str
    title: str
    is_this: bool
    is_many: bool


@dataclass(frozen=True, slots=True)
class Edge:
    """A line from a node to one that waits for it."""

    path: str
    arrow: str
    dotted: bool
    """Whether the one that waits goes on whatever becomes of the other."""


@dataclass(frozen=True, slots=True)
class Graph:
    """What the template draws."""

    width: int
    height: int
    nodes: tuple[Drawn, ...]
    edges: tuple[Edge, ...]
    summary: str
    left_out: int = 0


@dataclass(slots=True)
class _Node:
    """One job, or many alike."""

    key: str
    jobs: list[Job[Any]]
    above: dict[str, bool] = field(default_factory=dict)
    """The keys of the nodes that it waits for, each with whether it is to go on whatever becomes of that."""
    layer: int = 0
    row: float = 0.0
    part: str = ""


def graph_of(flow: FlowView, links: Links, this: str | None = None) -> Graph:
    """The graph of a flow and its parts; the job `this` is marked."""
    nodes = _nodes(flow, this)
    left_out = max(0, len(nodes) - MOST)
    nodes = dict(list(nodes.items())[:MOST])
    for node in nodes.values():
        node.above = {key: dotted for key, dotted in node.above.items() if key in nodes}
    layers = _layers(nodes)
    _order(layers, nodes)
    rows = max((len(layer) for layer in layers), default=0)
    height = rows * (HEIGHT + DOWN) - DOWN
    places: dict[str, tuple[int, int]] = {}
    for column, layer in enumerate(layers):
        top = (height - (len(layer) * (HEIGHT + DOWN) - DOWN)) // 2
        for row, node in enumerate(layer):
            places[node.key] = (column * (WIDTH + ACROSS) + 1, top + row * (HEIGHT + DOWN) + 1)
    return Graph(
        width=max(0, len(layers) * (WIDTH + ACROSS) - ACROSS) + 2,
        height=max(0, height) + 2,
        nodes=tuple(_drawn(node, *places[node.key], links, this) for node in nodes.values()),
        edges=tuple(
            _edge(places[key], places[node.key], dotted)
            for node in nodes.values()
            for key, dotted in node.above.items()
        ),
        summary=f"{counted(flow.total, 'job')}, {number(flow.done)} done",
        left_out=left_out,
    )


def _jobs(flow: FlowView, within: str = "") -> Iterable[tuple[Job[Any], str]]:
    for job in flow.jobs:
        yield job, within
    for part in flow.parts:
        yield from _jobs(part, part.name)


def _nodes(flow: FlowView, this: str | None) -> dict[str, _Node]:
    """The nodes by their keys: jobs of one task, with the same parents, are one where they are many."""
    jobs = sorted(_jobs(flow), key=lambda each: (each[0].created_at, each[0].id))
    groups: dict[tuple[str, str, frozenset[str]], list[Job[Any]]] = {}
    parts = {}
    for job, part in jobs:
        parts[job.id] = part
        parents = frozenset(parent.id for parent in job.record.parents)
        groups.setdefault((job.task, part, parents), []).append(job)
    nodes: dict[str, _Node] = {}
    node_of: dict[str, str] = {}
    for group in groups.values():
        marked = [job for job in group if job.id == this]
        others = [job for job in group if job.id != this]
        alike = [others] if len(others) >= ALIKE else [[job] for job in others]
        for some in [*([marked] if marked else []), *alike]:
            node = _Node(some[0].id, some, part=parts[some[0].id])
            nodes[node.key] = node
            node_of |= {job.id: node.key for job in some}
    for node in nodes.values():
        for parent in node.jobs[0].record.parents:
            if (key := node_of.get(parent.id)) is not None and key != node.key:
                node.above[key] = node.above.get(key, True) and parent.policy.value != "fail"
    return nodes


def _layers(nodes: Mapping[str, _Node]) -> list[list[_Node]]:
    """Each node one column to the right of the last of those that it waits for."""
    below: dict[str, list[_Node]] = {}
    missing = {key: len(node.above) for key, node in nodes.items()}
    for node in nodes.values():
        for key in node.above:
            below.setdefault(key, []).append(node)
    ready = [node for node in nodes.values() if not node.above]
    while ready:
        node = ready.pop()
        for child in below.get(node.key, ()):
            child.layer = max(child.layer, node.layer + 1)
            missing[child.key] -= 1
            if not missing[child.key]:
                ready.append(child)
    layers: list[list[_Node]] = [[] for _ in range(max((node.layer for node in nodes.values()), default=-1) + 1)]
    for node in nodes.values():
        layers[node.layer].append(node)
    return layers


def _order(layers: Sequence[list[_Node]], nodes: Mapping[str, _Node]) -> None:
    """Sort each column so that lines cross little: each node at the mean place of its neighbours, there and back."""
    below: dict[str, list[_Node]] = {}
    for node in nodes.values():
        for key in node.above:
            below.setdefault(key, []).append(node)

    def settle(layer: list[_Node]) -> None:
        for row, node in enumerate(layer):
            node.row = row - (len(layer) - 1) / 2

    def mean(near: Iterable[_Node], otherwise: float) -> float:
        rows = [node.row for node in near]
        return sum(rows) / len(rows) if rows else otherwise

    for layer in layers:
        settle(layer)
    for _ in range(SWEEPS):
        for layer in layers[1:]:
            layer.sort(key=lambda node: mean((nodes[key] for key in node.above), node.row))
            settle(layer)
        for layer in reversed(layers[:-1]):
            layer.sort(key=lambda node: mean(below.get(node.key, ()), node.row))
            settle(layer)


def _drawn(node: _Node, x: int, y: int, links: Links, this: str | None) -> Drawn:
    first = node.jobs[0]
    count = len(node.jobs)
    counts = Counter(job.state for job in node.jobs)
    state = next(state for state in _WORST if counts[state])
    if count > 1:
        told = ", ".join(f"{number(counts[each])} {each}" for each in State if counts[each])
        flow = first.flow_id or ""
        href, sub = links("jobs", flow=flow, task=first.task), told
    else:
        href, sub = links("job", id=first.id), node.part or short_id(first.id)
    label = f"{count} × {first.task}" if count > 1 else first.task
    return Drawn(
        x=x,
        y=y,
        label=plain(label, 24),
        sub=plain(sub, 30),
        state=state,
        href=href,
        title=plain(f"{label}: {sub if count > 1 else state}", 200),
        is_this=count == 1 and first.id == this,
        is_many=count > 1,
    )


def _edge(start: tuple[int, int], end: tuple[int, int], dotted: bool) -> Edge:
    x1, y1 = start[0] + WIDTH, start[1] + HEIGHT // 2
    x2, y2 = end[0] - 5, end[1] + HEIGHT // 2
    bend = ACROSS // 2
    straight = f"M{x1} {y1}H{x2}"
    curved = f"M{x1} {y1}H{x2 - ACROSS + 5}C{x2 - bend} {y1} {x2 - bend} {y2} {x2} {y2}"
    return Edge(straight if y1 == y2 else curved, f"M{x2} {y2 - 3.5}l5 3.5-5 3.5Z", dotted)
