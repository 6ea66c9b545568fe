"""Foreign values and texts, made fit to be shown in an error message and kept by any store."""

from __future__ import annotations

import re
import reprlib

__all__ = ["clean", "cut", "quote", "small"]

_SHORT = reprlib.Repr()
_SHORT.maxlevel = 3
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80

# Not only what stores refuse (NUL, lone surrogates): an escape character in an error text would reach into the
# terminal of whoever lists the dead letters.
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


_SMALL = {capital: capital + 32 for capital in range(ord("A"), ord("Z") + 1)}


def quote(value: object) -> str:
    """`repr(value)`, shortened to about 80 characters; never raises, whatever `__repr__` does."""
    try:
        return clean(_SHORT.repr(value))
    except Exception:  # noqa: BLE001 - foreign code
        return f"<{type(value).__name__}>"


def clean(text: str) -> str:
    """The text with control characters (but tab and line ends) and lone surrogates replaced by U+FFFD."""
    return _UNFIT.sub("\ufffd", text)


def small(text: str) -> str:
    """The text with small letters for the capital ones of ASCII, and of no other alphabet: as every store has it."""
    return text.translate(_SMALL)


def cut(text: str, limit: int, *, keep_end: bool = False) -> str:
    """Clean text of at most `limit` bytes of UTF-8. What is too much goes from the end, or from the first third on."""
    cleaned = clean(text[: limit + 1] if not keep_end or len(text) <= limit else text[:limit] + text[-limit:])
    data = cleaned.encode()
    if len(data) <= limit:
        return cleaned
    mark = " … "
    room = limit - len(mark.encode())
    head = room // 3 if keep_end else room
    tail = data[len(data) - (room - head) :]
    return data[:head].decode(errors="ignore") + mark + tail.decode(errors="ignore")
