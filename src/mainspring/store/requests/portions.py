"""How much of a request its jobs take up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


_PORTION = 32 * 1024


def portions(*texts: str | None) -> int:
    """How much of a request a job takes up that carries these texts: 1 for a small one, more for a large one.

    Requests are kept to so many portions rather than jobs, so that none becomes a document of gigabytes.
    """
    return 1 + sum(map(len, filter(None, texts))) // _PORTION


def in_portions(items: Iterable[Item], limit: int, size: Callable[[Item], int]) -> Iterator[tuple[Item, ...]]:
    """The items in groups that take up `limit` portions at most; one that alone is larger is a group by itself."""
    group: list[Item] = []
    room = limit
    for item in items:
        needed = size(item)
        if group and needed > room:
            yield tuple(group)
            group, room = [], limit
        group.append(item)
        room -= needed
    if group:
        yield tuple(group)
