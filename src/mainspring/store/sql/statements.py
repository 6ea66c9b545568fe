"""SQL lives in files beside the store that speaks it: named statements, each headed by what it is for.

    -- name: due_jobs
    -- Takes :queue, :now. Gives ids.
    SELECT ...

A statement goes to the driver as text with named parameters, one of which is usually `doc`, the request as JSON.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final

__all__ = ["READ", "WRITE", "Statement", "Statements"]

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement with its parameters, as an operation yields it to its driver."""

    sql: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


READ: Final = Statement("-- from here on this operation reads one state of the store")
"""Yielded before several statements that read: they all see the store as it is at the first of them."""

WRITE: Final = Statement("-- from here on this operation writes")
"""Yielded before the first statement that writes: from here on the operation holds a write transaction."""


class Statements:
    """The named statements of one `.sql` file in one package."""

    def __init__(self, package: str, filename: str) -> None:
        text = files(package).joinpath(filename).read_text(encoding="utf-8")
        parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
        self._texts = {name: body.strip().rstrip(";") for name, body in zip(parts[1::2], parts[2::2], strict=True)}

    def __call__(self, name: str, /, **parameters: Any) -> Statement:
        """The statement of that name, with its parameters."""
        return Statement(self._texts[name], parameters)
