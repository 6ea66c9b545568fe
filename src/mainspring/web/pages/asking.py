"""Questions before something is done: a page with a form, which a script shows as a dialog where it can."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from starlette.responses import Response

from mainspring.web.pages.rendering import Page

__all__ = ["Field", "Question", "ask"]


@dataclass(frozen=True, slots=True)
class Field:
    """Something to be filled in with the answer."""

    name: str
    label: str
    value: str = ""
    help: str = ""
    needed: bool = False
    kind: str = "text"
    """Of the `<input>`."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and what a yes does."""

    title: str
    """As a question: "Retry this job?"."""
    text: tuple[str, ...]
    """What that would mean, a sentence or two for each paragraph."""
    action: str
    """The address that the form goes to."""
    button: str
    back: str
    """Where a no leads."""
    danger: bool = False
    hidden: tuple[tuple[str, str], ...] = ()
    fields: tuple[Field, ...] = ()
    check: str = ""
    """A sentence that must be ticked, for what changes very much at once."""


def ask(page: Page, question: Question, *, section: str, problem: str | None = None) -> Response:
    """The page with that question."""
    status = 200 if problem is None else 422
    return page.show("ask.html", status=status, question=question, section=section, problem=problem)


def hidden(pairs: Iterable[tuple[str, object]]) -> tuple[tuple[str, str], ...]:
    """Values that the form carries along; what is None or "" is left out, several values are repeated."""
    told: list[tuple[str, str]] = []
    for name, value in pairs:
        values = value if isinstance(value, (list, tuple)) else (value,)
        told += [(name, str(each)) for each in values if each is not None and each != ""]
    return tuple(told)
