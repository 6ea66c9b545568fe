"""One annotation's JSON form: what pydantic writes and reads of it, and the limits on that."""

from __future__ import annotations

import json
import re
import warnings
from itertools import accumulate
from typing import Any, NewType

import pydantic
from pydantic_core import to_json, to_jsonable_python

from mainspring.errors import (
    ConfigurationError,
    PayloadTooDeep,
    PayloadTooLarge,
    UnsafeText,
    Unserialisable,
    ValidationError,
)
from mainspring.model.secrets import HIDDEN
from mainspring.model.text import clean, cut, quote

MAX_BYTES = 1024 * 1024
"""The most that one job's arguments, its result, or what it saves of its work, may take as JSON."""
WARN_BYTES = 64 * 1024
"""Above this a `PayloadWarning` is given, once for each task."""
MAX_DEPTH = 64
"""How deep lists and objects may be nested in one argument or in a result."""

LONE_SURROGATE = "a text has a lone surrogate, which no store can keep; take it out"
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""In JSON: a NUL character. Not a backslash with such a text behind it."""
SURROGATE = re.compile(r"\\ud[89a-f]", re.IGNORECASE)
"""In JSON: what may be a lone surrogate."""

_PROBLEMS_SHOWN = 5
_MASK = b"**********"
"""What pydantic writes instead of a secret."""
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}

# Dataclasses and typed dictionaries inherit this; a pydantic model says for itself how its bytes are written.
_CONFIG = pydantic.ConfigDict(
    extra="forbid", ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="strings"
)


class PayloadWarning(UserWarning):
    """Arguments or a result that would better be kept elsewhere, and named by a key or a path."""


class Form:
    """What pydantic knows about one annotation, and the limits on what it writes."""

    __slots__ = ("_adapter", "_max_depth", "_serializer", "_warned", "validator", "what")

    def __init__(self, annotation: Any, where: str, what: str, max_depth: int) -> None:
        try:
            # pydantic takes a configuration for no bare class, but for a new type of it.
            make_new_type: Any = NewType
            self._adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(
                make_new_type("Payload", annotation), config=_CONFIG
            )
            self.validator = self._adapter.validator
            self._serializer = self._adapter.serializer
        except Exception as error:  # pydantic raises of all kinds for what it does not know
            reason = str(error).partition("\n")[0].partition(". ")[0]
            raise ConfigurationError(
                f"{where}: {what}: {reason}; annotate with types that pydantic knows: plain types, dataclasses, models"
            ) from error
        self.what = what
        self._max_depth = max_depth
        self._warned = False

    def json_schema(self, *, stored: bool = False, by_name: bool = False) -> dict[str, Any]:
        """Of what is taken, or of what is `stored`."""
        by_alias = not (stored or by_name)
        return self._adapter.json_schema(by_alias=by_alias, mode="serialization" if stored else "validation")

    def keep(self, value: Any) -> bytes:
        """The JSON of any value, validated, and read back."""
        valid = self.validator.validate_python(value)
        try:
            data = self._serializer.to_json(valid, warnings=False, round_trip=True)
        except Exception as error:  # custom serializers raise what they like
            raise self._unserialisable(valid, error) from error
        # Shorter than it may have levels: within all limits.
        if len(data) > self._max_depth:
            self._check(data)
        read = self.validator.validate_json(data)
        if _MASK in data and read != valid:
            raise Unserialisable(
                f"{self.what}: a pydantic secret does not survive as JSON; annotate it mainspring.Secret[str]"
            )
        return data

    def write_escaped(self, value: Any) -> bytes:
        """The same for a value with text that no store can keep as it is: it is escaped."""
        try:
            plain = self._serializer.to_python(value, warnings=False, round_trip=True)
            data = json.dumps(plain, default=to_jsonable_python, separators=(",", ":")).encode()
        except Exception as error:  # custom serializers raise what they like
            raise self._unserialisable(value, error) from error
        self._check(data)
        return data

    def _check(self, data: bytes) -> None:
        """Raises for what is over the limits."""
        if len(data) > WARN_BYTES:
            self.check_size(len(data))
        if data.count(b"[") + data.count(b"{") > self._max_depth < _depth(data):
            raise PayloadTooDeep(f"{self.what}: nested over {MAX_DEPTH} deep; hand over something flatter")

    def check_size(self, size: int) -> None:
        """Warns of, or raises `PayloadTooLarge` for, so many bytes."""
        advice = "keep the data in a file or a table, and hand over its path or key"
        if size > MAX_BYTES:
            raise PayloadTooLarge(f"{self.what}: {size:,} bytes as JSON, over {MAX_BYTES:,}; {advice}")
        if not self._warned:
            self._warned = True
            warnings.warn(f"{self.what}: {size:,} bytes as JSON; {advice}", PayloadWarning, stacklevel=5)

    def _unserialisable(self, value: Any, error: Exception) -> ValidationError:
        reason = cut(str(error), 300)
        lowered = reason.lower()
        if "circular" in lowered or "depth exceeded" in lowered:
            return PayloadTooDeep(
                f"{self.what}: a value contains itself or is nested without end; hand over something flatter"
            )
        if "surrogates not allowed" in lowered:
            return UnsafeText(f"{self.what}: {LONE_SURROGATE}")
        if "invalid utf-8" in lowered:
            reason += '; in a model, set ser_json_bytes="base64" and val_json_bytes="base64" in its model_config'
        return Unserialisable(f"{self.what}: {_culprit(value)} has no JSON form: {reason}")


def _culprit(value: Any) -> str:
    """Which of several arguments it is that cannot be written."""
    if isinstance(value, dict):
        for name, each in value.items():
            try:
                to_json(each)
            except Exception:  # noqa: BLE001 - whatever it is, it is the culprit
                return f"{clean(str(name))}={quote(each)}"
    return quote(value)


def has_lone_surrogate(text: str) -> bool:
    """Whether there is one in that JSON, which pydantic's parser does not take."""
    try:
        # Python's parser takes them, pydantic's does not.
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except (ValueError, RecursionError):
        pass
    return False


def _depth(data: bytes) -> int:
    brackets = _STRING.sub(b"", data).translate(None, _NOT_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)))


def refusal(
    error: pydantic.ValidationError, what: str, usage: str = "", hidden: frozenset[str] = frozenset()
) -> ValidationError:
    """Our error for what pydantic does not take: its first problems, each with the value, unless it is `hidden`."""
    problems = error.errors(include_url=False, include_context=False)
    if any(problem["type"].startswith("recursion") for problem in problems):
        return PayloadTooDeep(f"{what}: a value contains itself or is nested without end; hand over something flatter")
    shown = [_problem(problem, hidden) for problem in problems[:_PROBLEMS_SHOWN]]
    if len(problems) > _PROBLEMS_SHOWN:
        shown.append(f"and {len(problems) - _PROBLEMS_SHOWN} more")
    return ValidationError("; ".join([f"{what}: {shown[0]}", *shown[1:], *([usage] if usage else [])]))


def _problem(problem: Any, hidden: frozenset[str]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
    if problem["type"] == "missing":
        return f"{path} is missing"
    if hidden and (not problem["loc"] or problem["loc"][0] in hidden):
        # Neither the value nor what a validator of the user's says of it.
        return clean(f"{path}={HIDDEN}: {problem['type']}" if path else f"{HIDDEN}: {problem['type']}")
    if problem["type"] == "extra_forbidden":
        # A misspelt name may have a secret.
        return f"{path}={HIDDEN if hidden else quote(problem['input'])} is not known"
    return clean(
        f"{path}={quote(problem['input'])}: {problem['msg']}"
        if path
        else f"{quote(problem['input'])}: {problem['msg']}"
    )
