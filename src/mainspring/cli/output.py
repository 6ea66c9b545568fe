"""What the command line prints: tables and lines for people, JSON for programs; foreign text always as plain text.

On a terminal rich draws the tables and times are relative ("3 min ago"). Elsewhere tables are aligned columns, nothing
is cut, and times are ISO.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

import typer

from mainspring.errors import ConfigurationError
from mainspring.model.durations import span

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "Column",
    "ago",
    "block",
    "clock",
    "confirm",
    "counted",
    "for_people",
    "grid",
    "iso",
    "one_line",
    "print_json",
    "say",
    "span",
    "state_style",
    "table",
    "warn",
]

# Control characters could move the cursor or worse, bidirectional ones make text read as what it is not.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_STATE_STYLES = {
    "dead": "red",
    "fail": "red",
    "lost": "red",
    "cancelled": "yellow",
    "paused": "yellow",
    "quiet": "yellow",
    "warn": "yellow",
    "running": "cyan",
    "completed": "green",
    "ok": "green",
    "alive": "green",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table, and what becomes of it where the terminal is narrow; elsewhere nothing is left out."""

    title: str
    right: bool = False
    is_state: bool = False
    """Its words have colours."""
    whole: bool = False
    """Never cut: ids, to be copied."""
    folds: bool = False
    """Goes on on the next line instead of being cut."""
    from_width: int = 0
    """Left out where the terminal has fewer columns."""


def state_style(word: str) -> str:
    """The colour of a state, in rich's words; none for others."""
    return _STATE_STYLES.get(word, "")


def for_people() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout.isatty()


def one_line(text: str) -> str:
    """The text on one line, with control and bidirectional characters shown as escapes."""
    return _UNSAFE.sub(_escaped, text)


def block(text: str) -> str:
    """The same for text of several lines: line ends and tabs stay."""
    return _UNSAFE.sub(lambda match: match[0] if match[0] in "\n\t" else _escaped(match), text)


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def say(text: str = "") -> None:
    """One piece of text on standard output."""
    print(block(text))


def warn(text: str) -> None:
    """One piece of text on standard error."""
    print(block(text), file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """One JSON document. ASCII only: what is hostile in a text stays an escape."""
    print(json.dumps(value, indent=2))


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Rows of foreign or own text under their titles."""
    shown = [[one_line(cell) for cell in row] for row in rows]
    if for_people():
        _draw(columns, shown)
    else:
        _align(columns, shown, sys.stdout)


def _draw(columns: Sequence[Column], rows: list[list[str]]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    console.print(grid(columns, rows, console.width))


def grid(columns: Sequence[Column], rows: Iterable[Sequence[str]], width: int) -> Table:
    """Rows, each cell on one line, for a terminal of that width."""
    from rich.table import Table
    from rich.text import Text

    def drawn(column: Column, text: str) -> Text:
        style = _STATE_STYLES.get(text, "") if column.is_state else ""
        return Text(text, style, no_wrap=not column.folds, overflow="fold" if column.folds else "ellipsis")

    shown = [place for place, column in enumerate(columns) if column.from_width <= width]
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in (columns[place] for place in shown):
        title = Text(column.title, no_wrap=True, overflow="ellipsis")
        grid.add_column(title, justify="right" if column.right else "left", no_wrap=column.whole)
    for row in rows:
        grid.add_row(*(drawn(columns[place], row[place]) for place in shown))
    return grid


def _align(columns: Sequence[Column], rows: list[list[str]], to: IO[str]) -> None:
    lines = [[column.title for column in columns], *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    for line in lines:
        cells = [
            cell.rjust(width) if column.right else cell.ljust(width)
            for column, cell, width in zip(columns, line, widths, strict=True)
        ]
        print("  ".join(cells).rstrip(), file=to)


def counted(number: int, noun: str) -> str:
    """`3 jobs`, `1 job`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def confirm(question: str, *, instead: str) -> None:
    """Ask before something that cannot be undone; ends the command unless the answer is yes.

    Where nobody can be asked (no terminal) it raises `ConfigurationError`; `instead` tells how to do without asking.
    """
    if not sys.stdin.isatty():
        raise ConfigurationError(instead)
    if not typer.confirm(one_line(question), err=True):
        warn("nothing was changed")
        raise typer.Exit(1)


# --- times -----------------------------------------------------------------------------------------------------------


def iso(at: datetime | None) -> str | None:
    """The time for programs, in UTC: 2031-05-01T09:30:00.000Z."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clock(at: datetime) -> str:
    """A time soon for people: "14:30:07", with the date where that is another day; ISO where nobody watches."""
    if not for_people():
        return iso(at) or ""
    local = at.astimezone()
    return f"{local:%H:%M:%S}" if local.date() == datetime.now().astimezone().date() else f"{local:%Y-%m-%d %H:%M:%S}"


def ago(at: datetime | None, nothing: str = "") -> str:
    """The time for people: "3 min ago", "in 2 h"; ISO where nobody watches."""
    if at is None:
        return nothing
    if not for_people():
        return iso(at) or nothing
    seconds = (datetime.now(UTC) - at).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"{span(seconds)} ago" if seconds > 0 else f"in {span(-seconds)}"
