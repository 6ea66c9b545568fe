"""Where a kind of store is measured: what each has to offer."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Ground"]


class Ground(Protocol):
    """Makes stores of one kind, fills them fast, and has the raw loop of that kind."""

    name: str
    title: str
    """With versions, and what matters for speed, for people."""

    def fresh(self) -> str:
        """The URL of a new, empty store."""

    def forget(self) -> None:
        """Throw away all stores so far: what is measured next is alone."""

    def copy_queued(self, url: str, copies: int) -> None:
        """So many more jobs like one that is queued there."""

    def copy_finished(self, url: str, copies: int) -> None:
        """So many more finished jobs like one there, ended over the last hour."""

    def tidy(self, url: str) -> None:
        """What such a store does by itself in a quiet minute, done now."""

    def raw_enqueue(self, jobs: int) -> float:
        """Jobs per second by bare statements, a commit each."""

    def raw_aenqueue(self, jobs: int) -> float:
        """The same as an event loop does it."""

    def raw_enqueue_many(self, jobs: int, batch: int) -> float:
        """Jobs per second, a commit per batch."""

    def raw_drain(self, jobs: int, batch: int) -> float:
        """Jobs per second, claimed and settled in batches."""
