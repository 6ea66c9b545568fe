"""What a law has to say: that it was broken, when, and by which job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .story import Story

__all__ = ["FINAL", "Law", "Violation"]

FINAL = frozenset(("completed", "dead", "cancelled"))


@dataclass(frozen=True, slots=True)
class Violation:
    """A law that was broken, when, and by which job (or gate)."""

    law: str
    at: float
    what: str
    text: str

    def __str__(self) -> str:
        return f"{self.at:9.3f}  {self.law}: {self.what}: {self.text}"


Law = Callable[[Story], Iterator[Violation]]
