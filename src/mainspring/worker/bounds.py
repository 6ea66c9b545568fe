"""After how many jobs, how much memory or how long a worker is replaced by a fresh one."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from mainspring.model.durations import span
from mainspring.model.sizes import format_bytes
from mainspring.worker.vitals import Signs

__all__ = ["Bounds"]

SPREAD = 0.1
"""By up to so much of it a worker reaches its bound of jobs or age earlier, so that not all reach it at once."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """None: no such bound."""

    jobs: int | None = None
    memory: int | None = None
    """In bytes, resident."""
    age: float | None = None
    """In seconds."""

    def __bool__(self) -> bool:
        return (self.jobs, self.memory, self.age) != (None, None, None)

    def spread(self) -> Bounds:
        """Those of one worker of several."""
        part = 1 - SPREAD * random.random()
        return replace(
            self,
            jobs=None if self.jobs is None else max(1, round(self.jobs * part)),
            age=None if self.age is None else self.age * part,
        )

    def reached(self, signs: Signs) -> str | None:
        """Which bound a worker has reached, for people."""
        if self.jobs is not None and signs.begun >= self.jobs:
            return f"it has begun {signs.begun:,} jobs"
        if self.memory is not None and signs.memory >= self.memory:
            return f"it has {format_bytes(signs.memory)} of memory"
        if self.age is not None and signs.age >= self.age:
            return f"it is {span(signs.age)} old"
        return None
