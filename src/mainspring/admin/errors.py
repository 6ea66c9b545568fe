"""Dead letters by what they died of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import overload

from mainspring.clock import moment
from mainspring.model import failure
from mainspring.model.job import JobRecord

__all__ = ["ErrorGroup", "ErrorGroups", "grouped"]

MESSAGE_LENGTH = 200

# What differs from one job to the next: ids, addresses, numbers, and what stands in quotes.
_VARYING = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b0x[0-9a-f]+|\b[0-9a-f]{16,}\b"
    r"|\d+(?:[.,:]\d+)*|(?<!\w)'[^']*'(?!\w)|\"[^\"]*\"",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Dead letters of one task that died of the same."""

    task: str
    type: str
    """The name of the exception's type; "": there was none (a job that was buried, or killed its workers)."""
    message: str
    """What they have in common of it, "…" for what differs from job to job: "no answer from host … after … ms"."""
    example: str
    """The newest one's message as it was, or the beginning of it."""
    count: int
    newest: datetime
    oldest: datetime
    ids: tuple[str, ...]
    """All of them, the newest first: `app.jobs.retry(group.ids)`."""


class ErrorGroups(Sequence[ErrorGroup]):
    """The groups, the largest first."""

    __slots__ = ("_groups", "looked_at", "more")

    def __init__(self, groups: Iterable[ErrorGroup], looked_at: int, more: bool) -> None:
        self._groups = tuple(groups)
        self.looked_at = looked_at
        """How many dead letters were looked at, the newest."""
        self.more = more
        """Whether there may be older ones."""

    def __len__(self) -> int:
        return len(self._groups)

    @overload
    def __getitem__(self, index: int) -> ErrorGroup: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[ErrorGroup, ...]: ...
    def __getitem__(self, index: int | slice) -> ErrorGroup | tuple[ErrorGroup, ...]:
        return self._groups[index]

    def __repr__(self) -> str:
        return f"<ErrorGroups: {len(self)} of {self.looked_at}{' or more' if self.more else ''} dead letters>"


def grouped(dead: Iterable[JobRecord]) -> list[ErrorGroup]:
    """Groups of these dead letters, the largest first, of as large ones the newest first."""
    groups: dict[tuple[str, str, str], list[tuple[JobRecord, str]]] = {}
    for record in dead:
        type, message = _error(record)
        groups.setdefault((record.task, type, _common(message)), []).append((record, message))
    made = []
    for (task, type, common), members in groups.items():
        members.sort(key=lambda member: (member[0].finished_at or 0, member[0].id), reverse=True)
        times = [moment(record.finished_at or 0) for record, _ in members]
        ids = tuple(record.id for record, _ in members)
        made.append(ErrorGroup(task, type, common, members[0][1], len(members), times[0], times[-1], ids))
    return sorted(made, key=lambda group: (group.count, group.newest), reverse=True)


def _error(record: JobRecord) -> tuple[str, str]:
    if record.error is None:
        return "", record.reason or ""
    error = failure.from_text(record.error)
    return error.type, error.message


def _common(message: str) -> str:
    return " ".join(_VARYING.sub("…", message).split())[:MESSAGE_LENGTH]
