"""Which partition of its queue a job is in: told by its arguments, written as a name that every store can keep."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any
from uuid import UUID

from mainspring.errors import InvalidOption
from mainspring.model.options import check_name
from mainspring.model.text import quote

__all__ = ["PartitionBy", "Partitioning", "partition_name"]

PartitionBy = str | Callable[[Mapping[str, Any]], object]
"""What tells partitions apart: an argument by its name, or what a function makes of all of them (a mapping by name, as
JSON values, defaults filled in)."""


@dataclass(frozen=True, slots=True)
class Partitioning:
    """How the jobs of a queue are dealt to its partitions. Raises `InvalidOption`."""

    queue: str
    by: PartitionBy

    def __post_init__(self) -> None:
        if not callable(self.by) and not (isinstance(self.by, str) and self.by.isidentifier()):
            raise InvalidOption(
                f"partition={quote(self.by)} of queue {self.queue!r} is neither the name of an argument nor a function "
                "of the arguments"
            )

    def partition_of(self, task: str, args: Mapping[str, Any]) -> str:
        """The partition of a job with these arguments; "" where they tell of none (None).

        Raises `InvalidOption` for a task without that argument, and for a value that cannot be a name.
        """
        if not isinstance(self.by, str):
            told = self.by(args)
        elif self.by in args:
            told = args[self.by]
        else:
            raise InvalidOption(
                f"queue {self.queue!r} is partitioned by the argument {self.by!r}, which task {task!r} does not have; "
                "give it that argument, another queue, or say using(partition=...)"
            )
        try:
            return partition_name(told)
        except InvalidOption as refused:
            raise InvalidOption(f"task {task!r} in queue {self.queue!r}: {refused}") from None


def partition_name(value: object) -> str:
    """A value as the name of a partition: text as it is, None as "" (in no partition), numbers, bools, UUIDs and enums
    as they are in JSON. Raises `InvalidOption` for others, and for text that cannot be a name."""
    if isinstance(value, Enum):
        value = value.value
    if value is None or value == "":
        return ""
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        value = json.dumps(value)
    elif isinstance(value, UUID):
        value = str(value)
    if not isinstance(value, str):
        raise InvalidOption(f"partition {quote(value)} is of type {type(value).__name__}; give text or a number")
    return check_name("partition", value)
