"""Requests as JSON documents: how sets travel into SQL in one parameter."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from mainspring.model.job import Conflict, Key, Until

__all__ = ["document", "keys_of"]


def document(rows: Sequence[Any]) -> str:
    """One JSON array for a set of frozen dataclasses (or plain values)."""
    try:
        return to_json(rows).decode()
    except (PydanticSerializationError, UnicodeEncodeError):
        # Text that is no valid UTF-8, in a reason or a name: the standard library writes it as escapes.
        return json.dumps([asdict(row) if is_dataclass(row) and not isinstance(row, type) else row for row in rows])


def keys_of(text: str) -> tuple[Key, ...]:
    """The keys in a document of them."""
    return tuple(
        Key(**{**key, "until": Until(key["until"]), "on_conflict": Conflict(key["on_conflict"])})
        for key in json.loads(text)
    )
