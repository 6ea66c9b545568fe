"""Texts that others wrote, made fit for a page: never as markup, never too long, and with nothing in them unseen.

Everything that a job, a queue, a worker or an error says goes through here. Its direction is isolated (`<bdi>`), and
characters that cannot be seen, or that change how others are read, are shown by their number.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

from markupsafe import Markup, escape

__all__ = ["BLOCK", "LINE", "block", "choice", "json_block", "line", "plain", "pretty", "short_id"]

LINE = 120
"""How many characters of a text stand in a line of a table."""
BLOCK = 20_000
"""How many characters of a text stand on a page of its job; the whole is to be had apart."""

# Controls (but tab and line end), formats (bidi marks, joiners, byte order marks, tags), surrogates, private use, and
# the two line ends that only Unicode knows.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\uf8ff"
    "\ufeff\ufff0-\ufffb\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
)
_JSON = re.compile(r'("(?:\\.|[^"\\])*")(\s*:)?|\b(?:true|false|null)\b|-?\d[\d.eE+-]*')


def line(text: object, limit: int = LINE) -> Markup:
    """A text for one line: line ends are shown as ↵, and what is over `limit` characters is cut."""
    whole = str(text)
    shown = whole[:limit]
    more = len(whole) - len(shown)
    marked = _marked(shown.replace("\r\n", "↵").replace("\n", "↵").replace("\t", " "))
    cut = Markup('<span class="cut" title="{} more characters">…</span>').format(f"{more:,}") if more else Markup()
    return Markup("<bdi>") + Markup(marked) + cut + Markup("</bdi>")  # noqa: S704 - escaped by _marked


def block(text: str, limit: int = BLOCK) -> Markup:
    """A text of several lines, at most `limit` characters of it."""
    shown = text[:limit].replace("\r\n", "\n")
    return Markup("<bdi>") + Markup(_marked(shown)) + Markup("</bdi>")  # noqa: S704 - escaped by _marked


def pretty(value: Any) -> str:
    """A JSON value as people read it, on several lines."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def json_block(text: str, limit: int = BLOCK) -> Markup:
    """JSON text as `pretty` made it, with its names, texts and numbers told apart; at most `limit` characters of it."""
    shown = text[:limit]
    parts: list[str] = []
    at = 0
    for found in _JSON.finditer(shown):
        parts.append(_marked(shown[at : found.start()]))
        kind = ("k" if found[2] else "s") if found[1] else "n"
        body = found[1] or found[0]
        parts.append(f'<span class="j-{kind}">{_marked(body)}</span>{found[2] or ""}')
        at = found.end()
    parts.append(_marked(shown[at:]))
    return Markup('<bdi dir="ltr">') + Markup("".join(parts)) + Markup("</bdi>")  # noqa: S704 - escaped by _marked


def plain(text: object, limit: int = LINE) -> str:
    """A text for an attribute or a title: what cannot be seen is shown by its number, what is over `limit` is cut."""
    whole = str(text)
    shown = _UNSEEN.sub(lambda found: f"<{_number(found[0])}>", whole[:limit]).replace("\n", "↵")
    return shown + ("…" if len(whole) > limit else "")


def choice(text: str) -> str:
    """A JSON value as one of several to choose from: a text without its quotes."""
    value = json.loads(text)
    return value if isinstance(value, str) and value else text


def short_id(id: str) -> str:
    """An id as lists show it: of ids that begin with the time when they were made, the end tells them apart."""
    return id if len(id) <= 13 else f"…{id[-8:]}"


def _marked(text: str) -> str:
    """Escaped, and with what cannot be seen in it shown."""
    return _UNSEEN.sub(_mark, str(escape(text)))


def _mark(found: re.Match[str]) -> str:
    character = found[0]
    name = unicodedata.name(character, "control character" if ord(character) < 0xA0 else "no name")
    return f'<span class="unseen" title="{name.lower()}">{_number(character)}</span>'


def _number(character: str) -> str:
    return f"U+{ord(character):04X}"
