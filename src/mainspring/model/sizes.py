"""Sizes of memory as people write them ("512MB") and as the model counts them: in bytes."""

from __future__ import annotations

import re

from mainspring.errors import InvalidOption
from mainspring.model.text import quote

__all__ = ["format_bytes", "to_bytes"]

_UNITS = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
_TEXT = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(?:I?B)?\s*", re.IGNORECASE)


def to_bytes(value: str | int) -> int:
    """The size in bytes. A unit is a power of 1024, however it is written: "512MB", "512MiB" and "512m" are the same.

    Raises `InvalidOption` for anything but a number with a unit, and for less than one byte.

    >>> to_bytes("512MB"), to_bytes("1.5 GiB"), to_bytes(4096)
    (536870912, 1610612736, 4096)
    """
    match = _TEXT.fullmatch(str(value)) if type(value) in (str, int) else None
    size = round(float(match[1]) * _UNITS[f"{match[2].upper()}B"]) if match else 0
    if not 1 <= size <= 1 << 60:
        raise InvalidOption(f'size {quote(value)} cannot be read; write a number and a unit, such as "512MB" or "2GB"')
    return size


def format_bytes(size: int) -> str:
    """A size for people, in its largest unit.

    >>> format_bytes(512), format_bytes(536_870_912), format_bytes(1_610_612_736)
    ('512 B', '512 MB', '1.5 GB')
    """
    unit = max((unit for unit in _UNITS if size >= _UNITS[unit]), key=_UNITS.__getitem__, default="B")
    return f"{size / _UNITS[unit]:.3g} {unit}" if size < 1000 * _UNITS[unit] else f"{size / _UNITS[unit]:.0f} {unit}"
