"""A form made of a task's JSON Schema, and the arguments that somebody filled into it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mainspring.model.secrets import HIDDEN
from mainspring.model.text import quote

__all__ = ["Argument", "arguments_of", "filled", "read"]

PREFIX = "arg."
_INPUTS = {"date-time": "text", "date": "date", "time": "text", "email": "text", "uuid": "text", "binary": "text"}
_HINTS = {
    "date-time": "2031-05-01T09:30:00+02:00",
    "time": "09:30:00",
    "duration": "PT1H30M",
    "uuid": "00000000-0000-0000-0000-000000000000",
}


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument as a form asks for it."""

    name: str
    kind: str
    """ "text", "long", "number", "choice", "bool" or "json"."""
    label: str
    """What it is, in a word or two: "text", "whole number", "list"."""
    needed: bool
    default: str = ""
    """As it is used where nothing is given."""
    help: str = ""
    choices: tuple[str, ...] = ()
    """As JSON texts."""
    input: str = "text"
    step: str = "any"
    value: str = ""
    wrong: str = ""

    @property
    def field(self) -> str:
        """The name of its input."""
        return PREFIX + self.name


def arguments_of(schema: Mapping[str, Any], defaults: Mapping[str, Any]) -> tuple[Argument, ...]:
    """The arguments of a task, by the schema of its codec and the defaults of its parameters."""
    needed = frozenset(schema.get("required", ()))
    return tuple(
        _argument(schema, name, part, name in needed, defaults.get(name, _NOTHING))
        for name, part in schema.get("properties", {}).items()
    )


_NOTHING = object()


def _argument(schema: Mapping[str, Any], name: str, given: Any, needed: bool, default: Any) -> Argument:
    part, optional = _plain(schema, given)
    help = str((given.get("description") if isinstance(given, Mapping) else "") or part.get("description") or "")
    base = Argument(name, "json", _label(part, optional), needed, help=help.partition("\n\n")[0])
    if default is not _NOTHING:
        base = replace(base, default=_short(default), value=_text_of(part, default))
    if "writeOnly" in part or (isinstance(given, Mapping) and "writeOnly" in given):
        plain = part.get("type") == "string"
        secret = replace(base, label=f"{base.label}, secret", default="", value="", input="password")
        return replace(secret, kind="text" if plain else "json")
    if choices := _choices(part):
        texts = tuple(json.dumps(each, ensure_ascii=False) for each in choices)
        value = json.dumps(default, ensure_ascii=False) if default is not _NOTHING else ""
        return replace(base, kind="choice", choices=(*texts, "null") if optional else texts, value=value)
    match part.get("type"):
        case "string":
            form = str(part.get("format", ""))
            is_long = part.get("maxLength", 0) > 200 or form == ""
            hint = f" such as {_HINTS[form]}" if form in _HINTS else ""
            kind = "text" if form else "long" if is_long and name in ("text", "body", "message", "html") else "text"
            return replace(base, kind=kind, input=_INPUTS.get(form, "text"), help=(base.help + hint).strip())
        case "integer":
            return replace(base, kind="number", step="1")
        case "number":
            return replace(base, kind="number")
        case "boolean" if not optional:
            return replace(base, kind="bool")
    return base


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
            return {}, optional
        return part, optional
    return {}, optional


def _choices(part: Mapping[str, Any]) -> list[Any]:
    if "const" in part:
        return [part["const"]]
    several = part.get("enum")
    return several if isinstance(several, list) and len(several) <= 200 else []


def _label(part: Mapping[str, Any], optional: bool) -> str:
    words = {
        "string": "text",
        "integer": "whole number",
        "number": "number",
        "boolean": "yes or no",
        "array": "list, as JSON",
        "object": "object, as JSON",
    }
    kind = part.get("type")
    word = str(part["format"]) if "format" in part else words.get(str(kind), "JSON")
    if _choices(part):
        word = "one of these"
    return f"{word} or null" if optional else word


def _text_of(part: Mapping[str, Any], value: Any) -> str:
    if isinstance(value, str) and part.get("type") == "string":
        return value
    if value is None or isinstance(value, (bool, int, float)):
        return "" if value is None else json.dumps(value)
    return json.dumps(value, ensure_ascii=False, indent=2)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"


def filled(arguments: tuple[Argument, ...], values: Mapping[str, Any]) -> tuple[Argument, ...]:
    """The same with these values, as a job has them."""

    def one(argument: Argument) -> Argument:
        if argument.name not in values:
            return argument
        value = values[argument.name]
        if argument.kind == "choice":
            return replace(argument, value=json.dumps(value, ensure_ascii=False))
        if argument.kind in ("text", "long") and isinstance(value, str):
            # What stands for a secret can be seen, so that it is known to stay as it is.
            return replace(argument, value=value, input="text" if value == HIDDEN else argument.input)
        if argument.kind in ("text", "long", "number") and value is None:
            return replace(argument, value="")
        return replace(argument, value=json.dumps(value, ensure_ascii=False, indent=2))

    return tuple(map(one, arguments))


def read(arguments: tuple[Argument, ...], form: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Argument, ...]]:
    """The arguments that were filled in, and the form once more, with what is wrong where it is.

    What is left empty is left out, so that the default holds; whether the values fit is for the task's codec to say.
    """
    values: dict[str, Any] = {}
    seen: list[Argument] = []
    for argument in arguments:
        given = form.get(argument.field, "")
        text = given if isinstance(given, str) else ""
        argument = replace(argument, value=text)
        if argument.kind == "bool":
            values[argument.name] = text == "true"
            argument = replace(argument, value="true" if text == "true" else "false")
        elif text == "" and not (argument.needed and argument.kind in ("text", "long")):
            if argument.needed:
                argument = replace(argument, wrong="this is needed")
        elif argument.kind in ("text", "long"):
            values[argument.name] = text.replace("\r\n", "\n")
        else:
            try:
                values[argument.name] = json.loads(text)
            except (ValueError, RecursionError):
                if argument.kind == "number":
                    argument = replace(argument, wrong=f"{quote(text)} is not a number")
                else:
                    argument = replace(argument, wrong="this is not JSON; texts stand in double quotes")
        seen.append(argument)
    return values, tuple(seen)
