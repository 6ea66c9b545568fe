"""Histories: what happened while faults raged, written by all actors, and held against the invariants of the design.

    with HistoryFile(path) as history:                  # each process its own file, or all the same one
        history.add(Offered(at=clock(), job="1", task="work"))
    violations = check(read(folder.glob("*.jsonl")))

`safety` may be asked about any history, also one that breaks off; `liveness` only about one that was given time after
its last fault, and that ends with one `Found` for each job in the store.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from . import laws
from .events import Event, from_line, to_line
from .story import Story
from .violation import Violation

__all__ = ["HistoryFile", "Violation", "check", "liveness", "read", "safety"]


class HistoryFile:
    """Appends events to a file, each with one write, so that many processes can share it and a killed one loses none
    that it has written."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def __enter__(self) -> HistoryFile:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def add(self, event: Event) -> None:
        """Write one event; it outlives this process from here on."""
        os.write(self._file, (to_line(event) + "\n").encode())


def read(paths: Iterable[Path]) -> list[Event]:
    """All events of these files, in the order of time. The last line of a file may be torn."""
    events: list[Event] = []
    for path in paths:
        lines = path.read_text().split("\n")
        events += [from_line(line) for line in lines[:-1]]
    return sorted(events, key=lambda event: event.at)


def safety(history: Sequence[Event]) -> list[Violation]:
    """What happened and never may."""
    story = Story.of(history)
    return [violation for law in laws.SAFETY for violation in law(story)]


def liveness(history: Sequence[Event]) -> list[Violation]:
    """What should have happened by the end and has not."""
    story = Story.of(history)
    return [violation for law in laws.LIVENESS for violation in law(story)]


def check(history: Sequence[Event]) -> list[Violation]:
    """Both."""
    return safety(history) + liveness(history)
