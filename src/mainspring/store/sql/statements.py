"""Statements have a name, which operations use, and a text in the files of each store that speaks SQL.

    -- name: due_jobs
    -- Takes :queue, :now. Gives ids.
    SELECT ...

A statement's parameters are named too; one of them is usually `doc`, the request as JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final

from mainspring.store.base import Operation

__all__ = ["CLOCK", "READ", "WRITE", "Dialect", "Query", "Row", "Statement", "sql", "time_of"]

Row = tuple[Any, ...]

_SHARED = "mainspring.store.sql"
_SHARED_FILES = ("statements.sql", "audit.sql")


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement with its parameters, as an operation yields it to its driver."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Query:
    """A statement that was put together. What differs between the stores is written in words that each has its own
    text for: `{place}`, `{of_jobs}`, `{among ids}`."""

    text: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


READ: Final = Statement("READ")
"""Yielded before several statements that read: they all see the store as it is at the first of them."""

WRITE: Final = Statement("WRITE")
"""Yielded before the first statement that writes: from here on the operation holds a write transaction."""

CLOCK: Final = Statement("CLOCK")
"""Gives the store's time in milliseconds since 1970 UTC."""


def sql(name: str, /, **parameters: Any) -> Statement:
    """The statement of that name, with its parameters."""
    return Statement(name, parameters)


def time_of(given: int | None) -> Operation[int]:
    """The time of a request: the one that it carries, else the store's.

    An operation asks for it once it holds its locks, not before: so times rise in the order of the commits.
    """
    if given is not None:
        return given
    ((now,),) = yield CLOCK
    return int(now)


class Dialect:
    """The texts of one store's statements: those that all take, and those in the `.sql` files of its package.

    `words` say what the words of a `Query` are there; one that takes a name has it as `{}`. `adapt` is applied to every
    text once. `needless` are statements that the operations have for other stores' sake: they have no text.
    """

    def __init__(
        self,
        package: str,
        filenames: tuple[str, ...],
        words: Mapping[str, str],
        adapt: Callable[[str], str] = str,
        needless: tuple[str, ...] = (),
    ) -> None:
        self._words = words
        self._adapt = adapt
        self._texts: dict[str, str] = dict.fromkeys(needless, "")
        self._queries: dict[str, str] = {}
        shared = ((_SHARED, filename) for filename in _SHARED_FILES)
        for place, filename in (*shared, *((package, filename) for filename in filenames)):
            text = files(place).joinpath(filename).read_text(encoding="utf-8")
            parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
            for name, body in zip(parts[1::2], parts[2::2], strict=True):
                if name in self._texts:
                    raise ValueError(f"{package}: two statements are named {name}")
                self._texts[name] = adapt(body.strip().rstrip(";"))

    @property
    def names(self) -> frozenset[str]:
        """Those of all its statements."""
        return frozenset(self._texts)

    def text(self, step: Statement | Query) -> str:
        """What the database is to be given; "": nothing."""
        if isinstance(step, Statement):
            return self._texts[step.name]
        text = self._queries.get(step.text)
        if text is None:
            text = self._adapt(re.sub(r"\{(\w+)(?: (\w+))?\}", self._word, step.text))
            if len(self._queries) < 1000:
                self._queries[step.text] = text
        return text

    def _word(self, found: re.Match[str]) -> str:
        return self._words[found[1]].format(found[2] or "")
