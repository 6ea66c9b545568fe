"""Where arguments are encrypted, and what stands there instead of a value: a token, `{"$sealed": "..."}`.

    {"order": 7, "card": "4111"}   ⇄   {"order": 7, "card": {"$sealed": "3f9c21aa.q83v…"}}

How a token is made is the business of whoever has keys and chance (`mainspring.keyring`). What binds it to its place is
its *context*: the task, and the place in the arguments, so that it opens nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from mainspring.errors import DecryptionFailed
from mainspring.model.secrets import Path, changed

__all__ = ["Open", "Seal", "opened", "overlap", "sealed"]

Seal = Callable[[bytes, bytes], str]
"""What makes a token of a value and its context."""
Open = Callable[[str, bytes], bytes]
"""What gives the value of a token. Raises `DecryptionFailed`, `EncryptionKeyMissing`."""

_NAME = "$sealed"
_compact = json.JSONEncoder(separators=(",", ":")).encode
_BLOCK = 32
"""Values are filled up to a multiple of so many bytes, so that `true` and `false` look alike."""


def sealed(args: Any, task: str, paths: tuple[Path, ...], seal: Seal) -> Any:
    """Arguments as JSON values, with tokens in place of the values at these paths. Null stays null."""

    def close(value: Any, place: Path) -> dict[str, str]:
        text = _compact(value).encode()
        return {_NAME: seal(text.ljust(-len(text) % _BLOCK + len(text)), _context(task, place))}

    return changed(args, paths, close)


def opened(args: Any, task: str, paths: tuple[Path, ...], open: Open, *, partly: bool = False) -> Any:
    """What `sealed` was given. Where they may be sealed `partly` (after an edit), a plain value stays as it is; else it
    raises `DecryptionFailed`, as does a token that was changed or comes from elsewhere."""

    def value_of(value: Any, place: Path) -> Any:
        token = value.get(_NAME) if isinstance(value, dict) and len(value) == 1 else None
        if isinstance(token, str):
            return json.loads(open(token, _context(task, place)))
        if partly:
            return value
        raise DecryptionFailed(
            f"task {task!r}: argument {'.'.join(place)} is not encrypted, as it was when it was stored"
        )

    return changed(args, paths, value_of)


def overlap(path: Iterable[str | int], paths: Iterable[Path]) -> bool:
    """Whether a place in the arguments is within one of these, or one of these within it."""
    steps = tuple(map(str, path))
    return any(all(here in (there, "*") for there, here in zip(steps, each, strict=False)) for each in paths)


def _context(task: str, place: Path) -> bytes:
    return _compact(["mainspring argument", task, *place]).encode()
