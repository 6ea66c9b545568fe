"""Who goes down with whom, and who comes back with whom: decided for a whole set of jobs at once, in memory.

What comes in is one look at the edges that it is about; what comes out are sets to write.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

__all__ = ["Risen", "causes", "rise"]


def causes(edges: Iterable[tuple[str, str, int, str | None]]) -> dict[str, str]:
    """Because of which parent each child goes down.

    `edges` are all FAIL edges of those that do: child, parent, place, how the parent ended. They go down generation by
    generation; of several parents in one generation it is the first in the order of the edges.
    """
    children: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    generation: dict[str, tuple[int, str]] = {}
    for child, parent, place, state in edges:
        if state in ("dead", "cancelled"):
            _prefer(generation, child, place, parent)
        elif state is None:
            children[parent].append((place, child))
    found: dict[str, str] = {}
    while generation:
        found.update((child, parent) for child, (_, parent) in generation.items())
        below: dict[str, tuple[int, str]] = {}
        for parent in generation:
            for place, child in children[parent]:
                if child not in found:
                    _prefer(below, child, place, parent)
        generation = below
    return found


def _prefer(generation: dict[str, tuple[int, str]], child: str, place: int, parent: str) -> None:
    if child not in generation or place < generation[child][0]:
        generation[child] = (place, parent)


@dataclass(slots=True)
class Risen:
    """Who comes back."""

    blocked: list[str] = field(default_factory=list)
    """They were cancelled because of those that run again, and wait for them anew."""
    down: list[tuple[str, str]] = field(default_factory=list)
    """Children that are still down because of another parent: child and parent."""


def rise(revived: Collection[str], edges: Iterable[tuple[str, str, int]]) -> Risen:
    """What comes back with `revived`. One of these is among `blocked` if it went down with others of them alone.

    `edges` are the FAIL edges that ended badly, child, parent, place, of all that are down because of their parents and
    that may come back.
    """
    left: defaultdict[str, dict[str, int]] = defaultdict(dict)
    children: defaultdict[str, list[str]] = defaultdict(list)
    for child, parent, place in edges:
        left[child][parent] = place
        children[parent].append(child)
    risen = Risen()
    queue = list(revived)
    known = set(queue)
    for parent in queue:
        for child in children[parent]:
            left[child].pop(parent, None)
            if not left[child]:
                risen.blocked.append(child)
                if child not in known:
                    known.add(child)
                    queue.append(child)
    for child, parents in left.items():
        if parents and child not in known:
            risen.down.append((child, min(parents, key=parents.__getitem__)))
    return risen
