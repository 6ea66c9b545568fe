"""Holes in a job's arguments: where the results of other jobs go, once those have ended.

While a flow is built, a `Pending` stands for such a result. It is taken out of the arguments before they are stored;
what stays is a `Hole`: where it was, and which parents fill it. The worker fills the holes with JSON, so that the
arguments are then decoded and validated as any others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mainspring.errors import InvalidFlow, ValidationError
from mainspring.model.job import Parent
from mainspring.model.text import quote

__all__ = ["ONLY_IN_FLOWS", "PREVIOUS", "Gap", "Hole", "Path", "Pending", "fill", "holds_any", "take_out"]

ONLY_IN_FLOWS = "give such a job to a Flow or a chain, with the one whose result it takes"

Path = tuple[str | int, ...]
"""A way into the arguments: the parameter's name first, then places in lists and names in objects."""


@dataclass(frozen=True, slots=True)
class Pending:
    """Stands, among the arguments of a job, for the result of a job of the same flow, or for those of several."""

    jobs: tuple[str, ...]
    listed: bool = False
    """The list of their results, in order; else the one result of the one job."""
    joined: bool = False
    """Each result is a list itself, and what is meant is the one list of all that is in them."""
    previous: bool = False
    """Which jobs those are is known once it stands in a chain."""

    def __repr__(self) -> str:
        if self.previous:
            return "<the result of the step before>"
        return f"<the results of {len(self.jobs)} jobs>" if self.listed else f"<the result of job {self.jobs[0]}>"

    def __format__(self, spec: str) -> str:
        # Else f"Receipt: {charge.result}" would go to somebody's customer just as it is.
        raise InvalidFlow(f"{self!r} is not known yet, so no text can be made of it; make it an argument of its own")


PREVIOUS = Pending((), previous=True)


@dataclass(frozen=True, slots=True)
class Gap:
    """Where a `Pending` stood."""

    path: Path
    of: Pending


@dataclass(frozen=True, slots=True)
class Hole:
    """A gap as it is stored: its jobs are places among the parents of the job that has it."""

    path: Path
    of: int | tuple[int, ...] | None
    """One parent's result, or the list of those of several; None: of all."""
    joined: bool = False

    def to_json(self) -> list[Any]:
        """As a JSON value."""
        of = list(self.of) if isinstance(self.of, tuple) else self.of
        return [list(self.path), of, True] if self.joined else [list(self.path), of]

    @classmethod
    def from_json(cls, stored: Any) -> Hole:
        """What `to_json` gave. Raises `ValueError` for anything else."""
        path, of, *rest = stored
        if not path or not all(type(each) in (str, int) for each in path) or rest not in ([], [True]):
            raise ValueError
        if isinstance(of, list):
            if not all(type(each) is int for each in of):
                raise ValueError
            of = tuple(of)
        elif of is not None and type(of) is not int:
            raise ValueError
        return cls(tuple(path), of, bool(rest))

    @classmethod
    def of_gap(cls, gap: Gap, places: Mapping[str, int]) -> Hole:
        """The gap in a job that has its parents at these places."""
        if not gap.of.listed:
            return cls(gap.path, places[gap.of.jobs[0]], gap.of.joined)
        of = tuple(places[job] for job in gap.of.jobs)
        return cls(gap.path, None if of == tuple(range(len(places))) else of, gap.of.joined)


# --- taking them out -------------------------------------------------------------------------------------------------

_CONTAINERS = (list, tuple, dict)
_MAX_DEPTH = 64


def holds_any(values: Iterable[Any]) -> bool:
    """Whether a `Pending` is among these values, or anywhere in the lists, tuples and dictionaries among them."""
    # Every argument of every job comes by here: most are of these types, and nothing can be in them.
    for value in values:
        kind = type(value)
        if kind is str or kind is int:
            continue
        if kind is Pending or (isinstance(value, _CONTAINERS) and _search(value)):
            return True
    return False


def _search(container: Any) -> bool:
    # Each container is looked at once: they may share others, or hold themselves.
    seen: set[int] = {id(container)}
    waiting = [container]
    while waiting:
        container = waiting.pop()
        for value in container.values() if isinstance(container, dict) else container:
            if type(value) is Pending:
                return True
            if isinstance(value, _CONTAINERS) and id(value) not in seen:
                seen.add(id(value))
                waiting.append(value)
    return False


def take_out(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Gap, ...]]:
    """The arguments by name with None where a `Pending` stood, and the gaps that this left.

    Raises `InvalidFlow` for one in a dictionary under a name that is no text, which JSON could not tell.
    """
    gaps: list[Gap] = []
    return {name: _without(value, (name,), gaps) for name, value in arguments.items()}, tuple(gaps)


def _without(value: Any, path: Path, gaps: list[Gap]) -> Any:
    if type(value) is Pending:
        gaps.append(Gap(path, value))
        return None
    if not isinstance(value, _CONTAINERS) or not holds_any([value]):
        return value
    if len(path) > _MAX_DEPTH:
        raise InvalidFlow(f"argument {path[0]!r}: {quote(value)} is nested over {_MAX_DEPTH} deep; flatten it")
    if isinstance(value, dict):
        for name, each in value.items():
            if not isinstance(name, str) and holds_any([each]):
                raise InvalidFlow(f"argument {path[0]!r}: a result can stand in a dictionary under text only: {name!r}")
        return {name: _without(each, (*path, name), gaps) for name, each in value.items()}
    return [_without(each, (*path, place), gaps) for place, each in enumerate(value)]


# --- filling them ----------------------------------------------------------------------------------------------------


def fill(args: str, holes: Sequence[Hole], parents: Sequence[Parent]) -> str:
    """The arguments, as JSON text, with the parents' results in their holes; null where a parent has none.

    Raises `ValidationError` where holes, arguments and parents do not belong together.
    """
    results: dict[int, Any] = {}

    def result(place: int) -> Any:
        if place not in results:
            text = parents[place].result
            results[place] = None if text is None else json.loads(text)
        return results[place]

    filled = json.loads(args)
    try:
        for hole in holes:
            if isinstance(hole.of, int):
                value = result(hole.of)
            else:
                value = [result(place) for place in (range(len(parents)) if hole.of is None else hole.of)]
            if hole.joined:
                value = _joined(value if isinstance(value, list) else [value])
            inside = filled
            for step in hole.path[:-1]:
                inside = inside[step]
            inside[hole.path[-1]] = value
    except (LookupError, TypeError):
        raise ValidationError(
            f"the results that this job was to get as arguments are not those of its {len(parents)} parents"
        ) from None
    return json.dumps(filled, separators=(",", ":"))


def _joined(lists: Sequence[Any]) -> list[Any]:
    """One list of what is in all of them; a job without a result adds nothing."""
    return [each for one in lists if isinstance(one, list) for each in one]
