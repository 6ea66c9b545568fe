"""A form made of a task's JSON Schema: the inputs of its arguments, those of nested models among them.

What has no input that could hold it (a dict, a list of models, a union) is written as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["NOTHING", "PREFIX", "Argument", "arguments_of", "lines_of", "to_json"]

PREFIX = "arg."
DEEPEST = 3
"""Models nested deeper are written as JSON,"""
WIDEST = 30
"""and so are those with more fields."""

NOTHING: Any = object()
"""Stands where there is no value, which is not the same as None."""

_INPUTS = {"date": "date"}
_HINTS = {
    "date-time": "2031-05-01T09:30:00+02:00",
    "time": "09:30:00",
    "duration": "PT1H30M",
    "uuid": "00000000-0000-0000-0000-000000000000",
}
_WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "yes or no", "null": "null"}
_MANY = {"string": "texts", "integer": "whole numbers", "number": "numbers"}
_LONG = ("text", "body", "message", "html")


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument, or one field of a model, as a form asks for it."""

    path: tuple[str, ...]
    """Its name, after those of the models that it is in."""
    kind: str
    """ "text", "long" (text), "number", "choice", "bool", "lines" (a list, an item a line), "json", or "group": a
    model, whose fields are its `parts`."""
    label: str
    """What it is, in a word or two: "text", "whole number"."""
    needed: bool
    optional: bool = False
    """Whether it may be null."""
    default: str = ""
    """As it is used where nothing is given."""
    help: str = ""
    choices: tuple[str, ...] = ()
    """As JSON texts."""
    parts: tuple[Argument, ...] = ()
    item: str = ""
    """The JSON type of the items, of "lines"."""
    input: str = "text"
    value: str = ""
    was: Any = NOTHING
    """The value that the job has, of whose arguments this is a form."""
    wrong: str = ""

    @property
    def name(self) -> str:
        """Its own name."""
        return self.path[-1]

    @property
    def field(self) -> str:
        """The name of its input."""
        return PREFIX + "/".join(name.replace("~", "~0").replace("/", "~1") for name in self.path)

    @property
    def switch(self) -> str:
        """The name of the input that says whether a model is given at all; "" for one that must be."""
        return f"{self.field}?" if self.kind == "group" and (self.optional or not self.needed) else ""

    @property
    def is_wrong(self) -> bool:
        """Whether it, or a part of it, cannot be read."""
        return bool(self.wrong) or any(part.is_wrong for part in self.parts)


def arguments_of(schema: Mapping[str, Any], defaults: Mapping[str, Any]) -> tuple[Argument, ...]:
    """The arguments of a task, by the schema of its codec and the defaults of its parameters."""
    return _fields(schema, schema, (), defaults)


def _fields(
    schema: Mapping[str, Any], part: Mapping[str, Any], path: tuple[str, ...], defaults: Mapping[str, Any]
) -> tuple[Argument, ...]:
    needed = frozenset(part.get("required", ()))
    return tuple(
        _argument(schema, (*path, name), given, name in needed, defaults.get(name, NOTHING))
        for name, given in part.get("properties", {}).items()
    )


def _argument(schema: Mapping[str, Any], path: tuple[str, ...], given: Any, needed: bool, default: Any) -> Argument:
    part, optional = _plain(schema, given)
    told = given if isinstance(given, Mapping) else {}
    help = str(told.get("description") or part.get("description") or "")
    base = Argument(path, "json", _label(schema, part, optional), needed, optional, help=help.partition("\n\n")[0])
    if default is not NOTHING:
        base = replace(base, default=_short(default), value=_text_of(part, default))
    if "writeOnly" in part or "writeOnly" in told:
        plain = part.get("type") == "string"
        label = f"{base.label}, secret" if plain else f"{base.label}, as JSON, secret"
        return replace(base, label=label, default="", value="", input="password", kind="text" if plain else "json")
    if choices := _choices(part):
        texts = tuple(json.dumps(each, ensure_ascii=False) for each in choices)
        value = json.dumps(default, ensure_ascii=False) if default is not NOTHING else ""
        return replace(base, kind="choice", choices=(*texts, "null") if optional else texts, value=value)
    match part.get("type"):
        case "string":
            form = str(part.get("format", ""))
            hint = f" such as {_HINTS[form]}" if form in _HINTS else ""
            kind = "long" if not form and path[-1] in _LONG else "text"
            return replace(base, kind=kind, input=_INPUTS.get(form, "text"), help=(base.help + hint).strip())
        case "integer" | "number":
            return replace(base, kind="number")
        case "boolean" if not optional:
            return replace(base, kind="bool")
        case "boolean":
            return replace(base, kind="choice", choices=("true", "false", "null"))
        case "array" if item := _item(schema, part):
            text = "" if default is NOTHING else lines_of(default)
            if text is not None:
                return replace(base, kind="lines", label=f"{base.label}, one a line", item=item, value=text)
        case "object" if _is_model(part) and len(path) <= DEEPEST:
            inner = {name: each.get("default", NOTHING) for name, each in part["properties"].items()}
            inner |= default if isinstance(default, Mapping) else {}
            return replace(base, kind="group", parts=_fields(schema, part, path, inner), value="")
    return base if base.label.endswith("JSON") else replace(base, label=f"{base.label}, as JSON")


def _plain(schema: Mapping[str, Any], part: Any) -> tuple[Mapping[str, Any], bool]:
    """The part with references followed, and "X or null" as X; whether null is allowed."""
    optional = False
    for _ in range(8):
        if not isinstance(part, Mapping):
            return {}, optional
        if "$ref" in part:
            part = schema.get("$defs", {}).get(str(part["$ref"]).rpartition("/")[2], {})
            continue
        several = part.get("anyOf")
        if isinstance(several, list):
            others = [each for each in several if not (isinstance(each, Mapping) and each.get("type") == "null")]
            optional = optional or len(others) < len(several)
            if len(others) == 1:
                part = others[0]
                continue
            return {"anyOf": others}, optional
        return part, optional
    return {}, optional


def _is_model(part: Mapping[str, Any]) -> bool:
    properties = part.get("properties")
    fields = isinstance(properties, Mapping) and all(isinstance(each, Mapping) for each in properties.values())
    return fields and 0 < len(part["properties"]) <= WIDEST and not part.get("additionalProperties")


def _item(schema: Mapping[str, Any], part: Mapping[str, Any]) -> str:
    """The JSON type of a list's items, if each can be a line of text; else ""."""
    item, optional = _plain(schema, part.get("items"))
    kind = str(item.get("type", ""))
    fits = kind in ("string", "integer", "number") and not optional and "writeOnly" not in item
    return kind if fits and "prefixItems" not in part else ""


def _choices(part: Mapping[str, Any]) -> list[Any]:
    if "const" in part:
        return [part["const"]]
    if part.get("type") == "boolean":
        return []
    several = part.get("enum")
    return several if isinstance(several, list) and len(several) <= 200 else []


def _label(schema: Mapping[str, Any], part: Mapping[str, Any], optional: bool) -> str:
    kind = part.get("type")
    several = part.get("anyOf") or part.get("oneOf")
    if _choices(part):
        word = "one of these"
    elif isinstance(several, list):
        word = " or ".join(dict.fromkeys(_label(schema, *_plain(schema, each)) for each in several))
    elif kind == "array":
        item = _item(schema, part)
        word = f"list of {_MANY[item]}" if item else "list"
    elif kind == "object":
        word = str(part.get("title") or "object")
    else:
        word = str(part.get("format") or _WORDS.get(str(kind), "JSON"))
    return f"{word} or null" if optional else word


def _text_of(part: Mapping[str, Any], value: Any) -> str:
    if isinstance(value, str) and part.get("type") == "string":
        return value
    if value is None or isinstance(value, (bool, int, float)):
        return "" if value is None else json.dumps(value)
    return to_json(value)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"


def lines_of(value: Any) -> str | None:
    """A list as text, an item a line; None where that could not be read back."""
    if value is None:
        return ""
    if not isinstance(value, list):
        return None
    texts = [each if isinstance(each, str) else json.dumps(each) for each in value]
    plain = all(text.strip() and not set(text) & {"\n", "\r"} for text in texts)
    return "\n".join(texts) if plain and not any(each is None or isinstance(each, bool) for each in value) else None


def to_json(value: Any) -> str:
    """JSON as people write it."""
    return json.dumps(value, ensure_ascii=False, indent=2)
