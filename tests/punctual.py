"""Promises about time, on machines where other programs may be in the way at any moment.

They can only make something later, so the best of some tries is what counts: what is late by itself is so each time.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

__all__ = ["TRIES", "atakes_less_than", "holds_once", "seconds", "takes_less_than"]

T = TypeVar("T")

TRIES = 3


def seconds(deed: Callable[[], object]) -> float:
    """How long that takes."""
    started = time.monotonic()
    deed()
    return time.monotonic() - started


def holds_once(promise: Callable[[T], bool], measure: Callable[[], T]) -> None:
    """Fail unless the promise holds for what one of some tries measures; those after it are not made."""
    found: list[T] = []
    while not found or not promise(found[-1]):
        assert len(found) < TRIES, found
        found.append(measure())


def takes_less_than(bound: float, measure: Callable[[], float]) -> None:
    """Fail unless one of some tries takes less than so many seconds."""
    holds_once(lambda took: took < bound, measure)


async def atakes_less_than(bound: float, measure: Callable[[], Awaitable[float]]) -> None:
    """The same."""
    took: list[float] = []
    while not took or took[-1] >= bound:
        assert len(took) < TRIES, took
        took.append(await measure())
