"""A form filled with the arguments of a job, and the arguments that somebody filled in.

Who sends the form of a job as it is gets the same arguments: an empty text, a null and a list of nothing look alike in
it, so each argument knows what it was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from mainspring.model.secrets import HIDDEN
from mainspring.model.text import quote
from mainspring.web.pages.forms import NOTHING, Argument, lines_of, to_json

__all__ = ["filled", "read"]

_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")

Arguments = tuple[Argument, ...]


def filled(arguments: Arguments, values: Mapping[str, Any]) -> Arguments:
    """The same with these values, as a job has them."""
    return tuple(
        _with(argument, values[argument.name]) if argument.name in values else argument for argument in arguments
    )


def _with(argument: Argument, value: Any) -> Argument:
    argument = replace(argument, was=value)
    kind = argument.kind
    if kind == "choice":
        text = json.dumps(value, ensure_ascii=False)
        known = argument.choices if text in argument.choices else (*argument.choices, text)
        return replace(argument, value=text, choices=known)
    if value is None:
        return replace(argument, value="null" if kind == "json" else "")
    if kind == "group" and isinstance(value, Mapping) and {part.name for part in argument.parts} >= value.keys():
        return replace(argument, value="yes", parts=filled(argument.parts, value))
    if kind in ("text", "long") and isinstance(value, str) and "\r" not in value:
        if value == HIDDEN or (argument.input == "date" and not _DAY.fullmatch(value)):
            # What stands for a secret can be seen, so that it is known to stay as it is.
            return replace(argument, value=value, input="text")
        return replace(argument, value=value, kind="long" if "\n" in value else kind)
    if kind == "lines" and (lines := lines_of(value)) is not None:
        return replace(argument, value=lines)
    if isinstance(value, bool if kind == "bool" else (int, float) if kind == "number" else ()):
        return replace(argument, value=json.dumps(value))
    # No input of its kind could hold it.
    label = argument.label if argument.label.endswith("JSON") else f"{argument.label}, as JSON"
    return replace(argument, kind="json", parts=(), label=label, input="text", value=to_json(value))


def read(arguments: Arguments, form: Mapping[str, Any]) -> tuple[dict[str, Any], Arguments]:
    """The arguments that were filled in, and the form once more, with what is wrong where it is.

    What is left empty is left out, so that the default holds; whether the values fit is for the task's codec to say.
    """
    values: dict[str, Any] = {}
    seen: list[Argument] = []
    for argument in arguments:
        value, again = _read_group(argument, form) if argument.kind == "group" else _read_one(argument, form)
        if value is not NOTHING:
            values[argument.name] = value
        seen.append(again)
    return values, tuple(seen)


def _read_group(group: Argument, form: Mapping[str, Any]) -> tuple[Any, Argument]:
    if group.switch and form.get(group.switch) != "yes":
        said = group.optional and (group.needed or group.was is not NOTHING)
        return (None if said else NOTHING), replace(group, value="")
    values, parts = read(group.parts, form)
    return values, replace(group, value="yes", parts=parts)


def _read_one(argument: Argument, form: Mapping[str, Any]) -> tuple[Any, Argument]:
    given = form.get(argument.field, "")
    text = given.replace("\r\n", "\n") if isinstance(given, str) else ""
    argument = replace(argument, value=text)
    if argument.kind == "bool":
        return text == "true", replace(argument, value=json.dumps(text == "true"))
    if text == "":
        value = _empty(argument)
        missing = value is NOTHING and argument.needed
        return value, replace(argument, wrong="this is needed") if missing else argument
    if argument.kind in ("text", "long"):
        return text, argument
    try:
        return _READERS.get(argument.kind, _json_of)(argument, text), argument
    except (ValueError, RecursionError) as error:
        wrong = str(error) if isinstance(error, _Unreadable) else "this is not JSON; texts stand in double quotes"
        return NOTHING, replace(argument, wrong=wrong)


def _empty(argument: Argument) -> Any:
    """What an empty input means."""
    nothing = {"text": "", "long": "", "lines": []}.get(argument.kind, NOTHING)
    if argument.was in (None, "", []):
        return argument.was
    if argument.was is not NOTHING or argument.needed:
        return None if argument.optional else nothing
    return NOTHING


class _Unreadable(ValueError):
    """Something that was filled in, and why it cannot be read."""


def _json_of(argument: Argument, text: str) -> Any:
    return json.loads(text)


def _number_of(argument: Argument, text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _Unreadable(f"{quote(text)} is not a number")
    return value


def _lines_of(argument: Argument, text: str) -> list[Any]:
    lines = [line for line in text.split("\n") if line.strip()]
    return lines if argument.item == "string" else [_number_of(argument, line) for line in lines]


_READERS: Mapping[str, Callable[[Argument, str], Any]] = {"number": _number_of, "lines": _lines_of}
