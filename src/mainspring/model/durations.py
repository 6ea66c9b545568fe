"""Durations as people write them (seconds, a `timedelta`, text such as "1h30m") and as the model counts them: in ms."""

from __future__ import annotations

import re
from datetime import timedelta

from mainspring.errors import InvalidDuration
from mainspring.model.text import quote

__all__ = ["MAX_MS", "Duration", "format_ms", "span", "to_ms"]

Duration = float | int | str | timedelta
"""Seconds, a `timedelta`, or text: a number and a unit (ms s m h d w), or several of them, the largest first."""

_UNITS = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_TEXT = re.compile(
    r"\s*" + r"\s*".join(rf"(?:(?P<{unit}>[0-9]+(?:\.[0-9]+)?)\s*{unit}(?![a-z]))?" for unit in _UNITS) + r"\s*"
)

MAX_MS = 36_525 * _UNITS["d"]
"""A hundred years. What is longer is a mistake, such as milliseconds given as seconds."""


def to_ms(value: Duration) -> int:
    """The duration in whole milliseconds, rounded to the nearest.

    Raises `InvalidDuration` for anything but seconds, a `timedelta` or text, and for what is negative, not a number, or
    longer than a hundred years.

    >>> to_ms(1.5), to_ms("1h30m"), to_ms(timedelta(days=1))
    (1500, 5400000, 86400000)
    """
    if isinstance(value, str):
        ms = _read(value)
    elif isinstance(value, timedelta):
        ms = value / timedelta(milliseconds=1)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        ms = value * 1000
    else:
        raise InvalidDuration(
            f"duration {quote(value)} is of type {type(value).__name__}; "
            'give seconds, a timedelta, or text such as "90s"'
        )
    if not 0 <= ms <= MAX_MS:  # false for NaN too
        raise InvalidDuration(f"duration {quote(value)} is out of range; give one between 0 and 100 years")
    return round(ms)


def format_ms(ms: int) -> str:
    """The shortest text that `to_ms` reads as `ms`.

    >>> format_ms(5_400_000), format_ms(250), format_ms(0)
    ('1h30m', '250ms', '0s')
    """
    parts = []
    for unit, size in _UNITS.items():
        count, ms = divmod(ms, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def span(seconds: float) -> str:
    """A duration for people, in its largest unit or two: "850 ms", "42 s", "3 min", "2 h 5 min", "4 d"."""
    # The bounds are those of what is shown: 59.9 s would be shown as 60 s, which is a minute.
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = max(1, int(seconds // 60))
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes and hours < 10 else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours and days < 3 else f"{days} d"


def _read(text: str) -> float:
    match = _TEXT.fullmatch(text)
    parts = {unit: number for unit, number in match.groupdict().items() if number} if match else {}
    if not parts:
        raise InvalidDuration(
            f"duration {quote(text)} cannot be read; "
            'write numbers with units (ms s m h d w), the largest first, such as "90s", "1h30m" or "500ms"'
        )
    return sum(float(number) * _UNITS[unit] for unit, number in parts.items())
