"""Where a page ended: text that a caller gives back for the next one, and may have made up."""

from __future__ import annotations

import re

from mainspring.errors import InvalidOption
from mainspring.model.text import clean, quote

__all__ = ["read_cursor", "some_of"]

_CURSOR = re.compile(r"(?:([a-z_]+):)?([0-9]{1,19}):(.{0,200})", re.DOTALL)
_MOST = 2**63


def read_cursor(cursor: str, sides: tuple[str, ...] = ()) -> tuple[str, int, str]:
    """Its side (one of `sides`; "" where there are none), time and id. Raises `InvalidOption` for what no page gave."""
    read = _CURSOR.fullmatch(cursor) if isinstance(cursor, str) and clean(cursor) == cursor else None
    if read is None or (read[1] or "") not in (sides or ("",)) or int(read[2]) >= _MOST:
        raise InvalidOption(f"cursor {quote(cursor)} is not one that a page has given; begin without one")
    return read[1] or "", int(read[2]), read[3]


def some_of(ids: tuple[str, ...], most: int, cursor: str | None) -> tuple[tuple[str, ...], str | None]:
    """So many of the ids at most, from the cursor on, each once and the newest (as ids are made) first; and where to go
    on, None at the end."""
    if len(ids) <= most and cursor is None:
        return ids, None
    _, first, _ = read_cursor(cursor, ("ids",)) if cursor is not None else ("", 0, "")
    ordered = sorted(set(ids), reverse=True)
    last = first + most
    return tuple(ordered[first:last]), f"ids:{last}:" if last < len(ordered) else None
