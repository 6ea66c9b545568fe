"""Where a page ended: text that a caller gives back for the next one, and may have made up."""

from __future__ import annotations

import re

from mainspring.errors import InvalidOption
from mainspring.model.text import clean, quote

__all__ = ["read_cursor"]

_CURSOR = re.compile(r"(?:([a-z_]+):)?([0-9]{1,19}):(.{0,200})", re.DOTALL)
_MOST = 2**63


def read_cursor(cursor: str, sides: tuple[str, ...] = ()) -> tuple[str, int, str]:
    """Its side (one of `sides`; "" where there are none), time and id. Raises `InvalidOption` for what no page gave."""
    read = _CURSOR.fullmatch(cursor) if isinstance(cursor, str) and clean(cursor) == cursor else None
    if read is None or (read[1] or "") not in (sides or ("",)) or int(read[2]) >= _MOST:
        raise InvalidOption(f"cursor {quote(cursor)} is not one that a page has given; begin without one")
    return read[1] or "", int(read[2]), read[3]
