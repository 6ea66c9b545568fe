"""What is measured, as values: figures, what stands beside them, the bars that they have to reach."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Beside", "Figure", "Sizes", "alternating", "median"]


class Beside(NamedTuple):
    """The same measured on something else in the same run: machines differ and are shared, ratios hold."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured thing. `key` names it for good, `what` says it to people."""

    key: str
    what: str
    value: float
    unit: str
    beside: Beside | None = None

    @property
    def ratio(self) -> float | None:
        return None if self.beside is None else self.value / self.beside.value


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    jobs: int
    backlog: int
    concurrency: int
    repeat: int


def median(sizes: Sizes, measure: Callable[[], float]) -> float:
    """Of as many measurements as wanted."""
    return statistics.median(measure() for _ in range(sizes.repeat))


def alternating(sizes: Sizes, *measures: Callable[[], float]) -> list[float]:
    """The median of each, measured in turns, so that what slows the machine down meanwhile concerns all alike."""
    rounds = [[measure() for measure in measures] for _ in range(sizes.repeat)]
    return [statistics.median(column) for column in zip(*rounds, strict=True)]
