"""Hides the secrets of one job in what its run says: errors, tracebacks, reasons, log lines, progress.

What is found is a value as it stands there, be it as `repr`, JSON or a URL has it, and the beginning or the end of a
long one, as is left of it where somebody has shortened it. A secret that was encoded, hashed or taken apart is not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

from mainspring.model.secrets import HIDDEN, Path, values_at

__all__ = ["SHORTEST", "Veil"]

SHORTEST = 4
"""Characters of the shortest value that is looked for: a shorter one is found everywhere, and says nothing."""
SHORTEST_LINE = 8
"""The same for one line of a text of several."""
LONG = 32
"""Characters from which on a value may have been shortened, so that parts of it are looked for..."""
SURE = 16
"""...which begin, or end, with so many of its own."""
LONGEST_IN_URL = 8 * 1024
MOST = 1000
"""Values. Of a job that has more all that it says is hidden."""

_PLACE = "\0"
"""Stands where something was found until all is looked for: no text of ours keeps it."""
_TOO_MANY = ("",)


class Veil:
    """Made of a job's stored arguments, where secrets are among them, and more of them that are not; looks at these
    when first asked."""

    __slots__ = ("_forms", "_more", "_paths", "_text")

    def __init__(self, text: str, paths: Iterable[Path], more: Iterable[Any] = ()) -> None:
        self._text = text
        self._paths = tuple(paths)
        self._more = tuple(more)
        self._forms: tuple[str, ...] | None = None

    def __call__(self, text: str) -> str:
        """The text with [secret] in place of each secret that it has. Never raises."""
        if self._forms is None:
            self._forms = self._found()
        forms = self._forms
        if not forms:
            return text
        if forms is _TOO_MANY:
            return HIDDEN if text else text
        if _PLACE in text:
            text = text.replace(_PLACE, "\ufffd")
        for form in forms:
            if form in text:
                text = text.replace(form, _PLACE)
        for form in forms:
            if len(form) < LONG:
                break
            text = _without_beginnings(text, form)
            text = _without_beginnings(text[::-1], form[::-1])[::-1]
        return text.replace(_PLACE, HIDDEN)

    def _found(self) -> tuple[str, ...]:
        try:
            return _forms([*values_at(json.loads(self._text), self._paths), *self._more])
        except (ValueError, RecursionError):
            # Arguments that nobody can read; what is said of them may be anything.
            return _TOO_MANY


def _forms(secrets: Iterable[Any]) -> tuple[str, ...]:
    """How the secrets may be written, the longest first."""
    values = {leaf for value in secrets for leaf in _leaves(value)}
    if len(values) > MOST:
        return _TOO_MANY
    return tuple(sorted({form for value in values for form in _written(value)}, key=len, reverse=True))


def _leaves(value: Any) -> Iterator[str]:
    """The texts and numbers in it, as texts; nobody recognises a secret by its true or false."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _leaves(each)
    elif isinstance(value, str | int | float) and not isinstance(value, bool) and len(text := str(value)) >= SHORTEST:
        yield text


def _written(value: str) -> Iterator[str]:
    yield value
    yield repr(value)[1:-1]
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    if len(value) <= LONGEST_IN_URL:
        yield quote(value, errors="replace")
        yield quote(value, safe="", errors="replace")
        yield quote_plus(value, errors="replace")
    if "\n" in value:
        # A traceback may indent each of them.
        yield from (line for each in value.splitlines() if len(line := each.strip()) >= SHORTEST_LINE)


def _without_beginnings(text: str, whole: str) -> str:
    """The text without what begins as the whole does, as far as it goes on like that."""
    head = whole[:SURE]
    kept: list[str] = []
    begin, at = 0, text.find(head)
    while at >= 0:
        end, most = at + SURE, min(len(text), at + len(whole))
        while end < most and text[end] == whole[end - at]:
            end += 1
        kept += text[begin:at], _PLACE
        begin, at = end, text.find(head, end)
    return "".join((*kept, text[begin:])) if kept else text
