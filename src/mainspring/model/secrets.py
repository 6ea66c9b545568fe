"""Arguments that are nobody's business but the task's: how they are marked, and how they are hidden where arguments
are shown.

    @app.task
    def charge(order: int, card: Secret[str]) -> None: ...

To type checkers `Secret[str]` is `str`, and that is what the function gets. The store keeps the value like any other:
it is hidden from eyes, not encrypted. `Encrypted[str]` is a secret that is encrypted too, before it is stored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

from mainspring.errors import InvalidOption

__all__ = [
    "ENCRYPTED",
    "HIDDEN",
    "Encrypted",
    "Path",
    "Secret",
    "changed",
    "digested",
    "encrypts",
    "may_be_within",
    "mentions",
    "paths_in",
    "paths_of",
    "redacted",
    "restored",
    "values_at",
    "without_defaults",
]

T = TypeVar("T")

Path = tuple[str, ...]
"""Where a secret is among the arguments: names, and places in lists; "*": each of them."""

HIDDEN = "[secret]"
"""What is shown instead."""

MOST_PATHS = 50


WRITE_ONLY = "writeOnly"
"""What JSON Schema calls a secret."""
ENCRYPTED = "x-encrypted"
"""What we call it there, beside that."""


class Mark:
    """What `Secret` and `Encrypted` add to an annotation. JSON Schema has a word for it, so that forms know too."""

    __slots__ = ("encrypted",)

    def __init__(self, *, encrypted: bool = False) -> None:
        self.encrypted = encrypted

    def __repr__(self) -> str:
        return "encrypted" if self.encrypted else "secret"

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return {**handler(core), WRITE_ONLY: True, **({ENCRYPTED: True} if self.encrypted else {})}


Secret = Annotated[T, Mark()]
"""Marks an argument, or a field of one, as secret: `card: Secret[str]`."""

Encrypted = Annotated[T, Mark(encrypted=True)]
"""Marks an argument, or a field of one, as secret and to be stored encrypted: `card: Encrypted[str]`. The app needs
`encryption_keys` for it, and the extra `encryption`."""


# --- where they are --------------------------------------------------------------------------------------------------


def mentions(annotation: Any) -> bool:
    """Whether a mark can be seen in an annotation itself."""
    return isinstance(annotation, Mark) or any(map(mentions, _parts(annotation)))


def may_be_within(annotation: Any) -> bool:
    """Whether a mark may be in it, be it in a class of the user's."""
    parts = _parts(annotation)
    if parts:
        return any(map(may_be_within, parts))
    return isinstance(annotation, Mark) or getattr(annotation, "__module__", "builtins") not in _PLAIN_MODULES


def encrypts(annotation: Any, seen: frozenset[Any] = frozenset()) -> bool:
    """Whether something encrypted is in an annotation, or in the fields of the classes in it, as far as these say."""
    if isinstance(annotation, Mark):
        return annotation.encrypted
    parts = _parts(annotation)
    if isinstance(annotation, type) and annotation not in seen and may_be_within(annotation):
        try:
            parts = (*parts, *get_type_hints(annotation, include_extras=True).values())
        except Exception:  # noqa: BLE001 - the user's module may lack a name
            parts = (*parts, *getattr(annotation, "__annotations__", {}).values())
        seen |= {annotation}
    return any(encrypts(part, seen) for part in parts)


_PLAIN_MODULES = frozenset({"builtins", "typing", "types", "datetime", "decimal", "uuid", "pathlib", "collections.abc"})


def _parts(annotation: Any) -> tuple[Any, ...]:
    metadata: tuple[Any, ...] = getattr(annotation, "__metadata__", ())
    return (*get_args(annotation), *metadata)


def paths_in(schema: Mapping[str, Any], word: str = WRITE_ONLY) -> tuple[Path, ...]:
    """Where the JSON Schema of an object of arguments has secrets, or whatever else it has a word for."""
    found = tuple(dict.fromkeys(_paths(schema, schema.get("$defs", {}), (), word)))
    if len(found) <= MOST_PATHS:
        return found
    return tuple(dict.fromkeys(path[:1] for path in found))


def paths_of(stored: Iterable[Path], known: Iterable[Path], *, each: bool) -> tuple[Path, ...]:
    """Where a job's secrets are: as it was stored with, and as its task says now. `each`: its arguments are those of
    several calls, `{"items": [...]}`."""
    paths = dict.fromkeys((*stored, *known))
    return tuple(("items", "*", *path) for path in paths) if each else tuple(paths)


def _paths(schema: Any, definitions: Mapping[str, Any], open: Path, word: str) -> Iterable[Path]:
    if not isinstance(schema, Mapping):
        return
    if schema.get(word):
        yield ()
        return
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        if name not in open:
            yield from _paths(definitions.get(name), definitions, (*open, name), word)
        elif _reaches(definitions.get(name), definitions, {name}, word):
            # A type within itself has no end of paths: all of it is one secret.
            yield ()
    if _reaches(schema.get("propertyNames"), definitions, set(), word):
        # What is said by names can be hidden only with all that has them.
        yield ()
    for several in ("anyOf", "oneOf", "allOf"):
        for part in schema.get(several, ()):
            yield from _paths(part, definitions, open, word)
    for place, part in _members(schema):
        for path in _paths(part, definitions, open, word):
            yield (place, *path)


def _reaches(part: Any, definitions: Mapping[str, Any], seen: set[str], word: str) -> bool:
    """Whether there is a secret anywhere in it."""
    if isinstance(part, list):
        return any(_reaches(each, definitions, seen, word) for each in part)
    if not isinstance(part, Mapping):
        return False
    name = str(part.get("$ref", "")).rpartition("/")[2]
    if name and name not in seen:
        seen.add(name)
        if _reaches(definitions.get(name), definitions, seen, word):
            return True
    return part.get(word) is True or any(_reaches(each, definitions, seen, word) for each in part.values())


def without_defaults(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON Schema without the defaults of secrets, which are secrets too."""
    bare: dict[str, Any] = _bare(schema, schema.get("$defs", {}))
    return bare


def _bare(part: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(part, list):
        return [_bare(each, definitions) for each in part]
    if not isinstance(part, Mapping):
        return part
    bare: dict[str, Any] = {}
    for word, each in part.items():
        if word in ("properties", "patternProperties", "$defs"):
            bare[word] = {name: _bare(below, definitions) for name, below in each.items()}
        elif word != "default" or not _reaches(part, definitions, set(), WRITE_ONLY):
            bare[word] = _bare(each, definitions)
    return bare


def _members(schema: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    yield from schema.get("properties", {}).items()
    yield from ((str(number), part) for number, part in enumerate(schema.get("prefixItems", ())))
    yield from (("*", part) for part in schema.get("patternProperties", {}).values())
    yield "*", schema.get("items")
    yield "*", schema.get("additionalProperties")


# --- what is done about them -----------------------------------------------------------------------------------------


def redacted(value: Any, paths: Iterable[Path]) -> Any:
    """JSON values with what is at these paths hidden. That there is nothing (null) is no secret."""
    return changed(value, tuple(paths), lambda value, place: HIDDEN)


def digested(value: Any, paths: Iterable[Path]) -> Any:
    """The same with a digest in its place, so that equal secrets are still equal."""
    return changed(value, tuple(paths), lambda value, place: _digest(value))


def values_at(value: Any, paths: Iterable[Path]) -> list[Any]:
    """The JSON values at these paths."""
    found: list[Any] = []
    changed(value, tuple(paths), lambda each, place: found.append(each))
    return found


def restored(value: Any, original: Any, paths: Iterable[Path]) -> Any:
    """JSON values that were edited after `redacted`: what is hidden still is as it was in the original. Raises
    `InvalidOption` where there was nothing."""
    some = tuple(paths)
    if not some:
        return value
    if () in some:
        if value == HIDDEN and original is None:
            raise InvalidOption(f"an argument is {HIDDEN} where there was none before; give its value")
        return original if value == HIDDEN else value
    if isinstance(value, dict):
        was = original if isinstance(original, dict) else {}
        return {name: restored(each, was.get(name), _below(some, name)) for name, each in value.items()}
    if isinstance(value, list):
        there = [*(original if isinstance(original, list) else ()), *([None] * len(value))]
        return [restored(each, there[number], _below(some, str(number))) for number, each in enumerate(value)]
    return value


def changed(value: Any, paths: tuple[Path, ...], change: Callable[[Any, Path], Any], place: Path = ()) -> Any:
    """JSON values with what is at these paths changed; `change` is told the exact place. Null stays as it is."""
    if not paths or value is None:
        return value
    if () in paths:
        return change(value, place)
    if isinstance(value, dict):
        return {name: changed(each, _below(paths, name), change, (*place, name)) for name, each in value.items()}
    if isinstance(value, list):
        places = enumerate(value)
        return [changed(each, _below(paths, str(at)), change, (*place, str(at))) for at, each in places]
    return value


def _below(paths: tuple[Path, ...], place: str) -> tuple[Path, ...]:
    return tuple(path[1:] for path in paths if path[0] in (place, "*"))


def _digest(value: Any) -> str:
    return "sha256:" + hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
