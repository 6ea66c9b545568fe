"""Arguments and results as JSON text and back, by the annotations of the task's function.

Everything is checked before it is stored, and read back once to be sure that a worker can. What is not annotated comes
back as JSON has it: a tuple as a list, a datetime as text, NaN as "NaN".
"""

from __future__ import annotations

import functools
import inspect
import json
import re
import types
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import accumulate
from typing import Annotated, Any, NewType, NotRequired, Required, Union, get_args, get_origin, get_type_hints

import pydantic
from pydantic_core import to_json, to_jsonable_python
from typing_extensions import TypedDict

from mainspring.errors import (
    ConfigurationError,
    InvalidFlow,
    MainspringError,
    PayloadTooDeep,
    PayloadTooLarge,
    UnsafeText,
    Unserialisable,
    ValidationError,
)
from mainspring.model.holes import ONLY_IN_FLOWS, Gap, holds_any, take_out
from mainspring.model.secrets import (
    ENCRYPTED,
    HIDDEN,
    Path,
    changed,
    encrypts,
    may_be_within,
    mentions,
    paths_in,
    without_defaults,
)
from mainspring.model.text import clean, cut, quote

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "WARN_BYTES",
    "ArgumentsCodec",
    "PayloadWarning",
    "ResultCodec",
    "encode_checkpoint",
]

MAX_BYTES = 1024 * 1024
"""The most that one job's arguments, its result, or what it saves of its work, may take as JSON."""
WARN_BYTES = 64 * 1024
"""Above this a `PayloadWarning` is given, once for each task."""
MAX_DEPTH = 64
"""How deep lists and objects may be nested in one argument or in a result."""

_PROBLEMS_SHOWN = 5
_LONE_SURROGATE = "a text has a lone surrogate, which no store can keep; take it out"

_SCALARS = frozenset({str, int, float, bool, type(None)})
"""Types of arguments that nothing can be in: most are."""

_POSITIONAL_ONLY = inspect.Parameter.POSITIONAL_ONLY
_POSITIONAL_OR_KEYWORD = inspect.Parameter.POSITIONAL_OR_KEYWORD
_VAR_POSITIONAL = inspect.Parameter.VAR_POSITIONAL
_KEYWORD_ONLY = inspect.Parameter.KEYWORD_ONLY
_VAR_KEYWORD = inspect.Parameter.VAR_KEYWORD


class PayloadWarning(UserWarning):
    """Arguments or a result that would better be kept elsewhere, and named by a key or a path."""


class ArgumentsCodec:
    """Turns a call of `function` into JSON object text by parameter name, and back into a call.

    A parameter annotated with the type `injected` (or a union with it) is left out: the worker gives it, by the keyword
    `injected_name`. `task` is what errors call the function.

    Raises `ConfigurationError` for annotations that cannot be resolved or have no JSON form.
    """

    __slots__ = (
        "_by_keyword",
        "_encrypted",
        "_fields",
        "_form",
        "_forms_without",
        "_function",
        "_kinds",
        "_names",
        "_secrets",
        "_sets",
        "_signature",
        "injected_name",
        "task",
    )

    def __init__(self, function: Callable[..., Any], *, injected: type | None = None, task: str | None = None) -> None:
        self.task = task or _name(function)
        parameters, hints = _read_signature(function)
        self.injected_name = _take_injected(function, parameters, hints, injected)
        self._signature = inspect.Signature(list(parameters.values()))
        self._kinds = tuple((name, parameter.kind) for name, parameter in parameters.items())
        self._by_keyword = {kind for _, kind in self._kinds} <= {_POSITIONAL_OR_KEYWORD, _KEYWORD_ONLY}
        self._names = tuple(name for name, kind in self._kinds if kind is _POSITIONAL_OR_KEYWORD)
        self._fields = {name: _field(parameter, hints) for name, parameter in parameters.items()}
        self._function = _describe(function)
        self._form = self._make_form(self._fields)
        self._forms_without: dict[frozenset[str], _Form] = {}
        self._secrets: tuple[Path, ...] | None = None
        self._encrypted: tuple[Path, ...] | None = None
        self._sets: tuple[Path, ...] | None = None

    @property
    def secrets(self) -> tuple[Path, ...]:
        """Where secrets are among the stored arguments (`mainspring.Secret`), encrypted ones among them."""
        if self._secrets is None:
            found = self._find_secrets() if any(map(may_be_within, self._fields.values())) else ()
            self._secrets = tuple(dict.fromkeys((*found, *self.encrypted)))
        return self._secrets

    def _find_secrets(self) -> tuple[Path, ...]:
        try:
            return paths_in(self._form.json_schema(stored=True))
        except pydantic.PydanticUserError:
            # Something has no JSON Schema; what can be seen in the signature itself is hidden all the same.
            return tuple((name,) for name, field in self._fields.items() if mentions(field))

    @property
    def encrypted(self) -> tuple[Path, ...]:
        """Where the stored arguments are to be encrypted (`mainspring.Encrypted`)."""
        if self._encrypted is None:
            self._encrypted = self._find_encrypted() if any(map(may_be_within, self._fields.values())) else ()
        return self._encrypted

    def _find_encrypted(self) -> tuple[Path, ...]:
        try:
            found = paths_in(self._form.json_schema(stored=True), ENCRYPTED)
            given = paths_in(self._form.json_schema(by_name=True), ENCRYPTED)
        except pydantic.PydanticUserError:
            return tuple((name,) for name, field in self._fields.items() if encrypts(field))
        # Where a serializer of the user's writes something else than was given, nobody knows what is where: all of it.
        unsure = {path[0] for path in {*found} ^ {*given}}
        seen = {path[0] for path in found}
        unsure |= {name for name, field in self._fields.items() if name not in seen and encrypts(field)}
        return (*(path for path in found if path[0] not in unsure), *((name,) for name in sorted(unsure)))

    def in_order(self, args: dict[str, Any]) -> dict[str, Any]:
        """Arguments as JSON values, their sets in an order that does not depend on the process: so equal arguments are
        equal as JSON too."""
        if self._sets is None:
            self._sets = self._find_sets() if any(map(_may_hold_sets, self._fields.values())) else ()
        return changed(args, self._sets, _sorted) if self._sets else args

    def _find_sets(self) -> tuple[Path, ...]:
        try:
            return paths_in(self._form.json_schema(stored=True), "uniqueItems")
        except pydantic.PydanticUserError:
            return ()

    def encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """The arguments of one call as JSON object text; defaults that were not given are not stored.

        Raises `ValidationError` for what does not fit the signature; `Unserialisable`, `PayloadTooLarge`,
        `PayloadTooDeep` or `UnsafeText` for what cannot be stored; `InvalidFlow` for the result of another job.
        """
        text, gaps = self.encode_with_gaps(args, kwargs)
        if gaps:
            raise InvalidFlow(f"task {self.task!r}: argument {gaps[0].path[0]!r} is {gaps[0].of!r}; {ONLY_IN_FLOWS}")
        return text

    def encode_with_gaps(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[str, tuple[Gap, ...]]:
        """The same, where results of other jobs may be among the arguments: null stands there then.

        The other arguments are validated now, those with gaps when they are filled.
        """
        form = self._form
        gaps: tuple[Gap, ...] = ()
        given = self._bind(args, kwargs)
        if not _SCALARS.issuperset(map(type, given.values())) and holds_any(given.values()):
            given, gaps = take_out(given)
            form = self._form_without({str(gap.path[0]) for gap in gaps})
        try:
            data = form.keep(given)
        except pydantic.ValidationError as error:
            raise self._refusal(error) from None
        except Unserialisable as refusal:
            if refusal.__cause__ is None or not self.secrets:
                raise
            # What it says of the value may be the secret.
            raise Unserialisable(f"{form.what}: one of them has no JSON form") from None
        if b"\\u0000" in data and _NUL.search(data):
            raise UnsafeText(
                f"{self._form.what}: a text has a NUL character, which not every store can keep; take it out"
            )
        if self._sets != ():
            in_order = self.in_order(json.loads(data))
            if self._sets:
                return json.dumps(in_order, separators=(",", ":"), ensure_ascii=False), gaps
        return data.decode(), gaps

    def encode_text(self, text: str) -> str:
        """The same for arguments that come as JSON object text by name, from a command line or over HTTP. Whatever the
        user's own types raise about them is a `ValidationError` too."""
        try:
            return self.encode(*self._call(self._form.validator.validate_json(text)))
        except pydantic.ValidationError as error:
            if _has_lone_surrogate(text):
                raise UnsafeText(f"{self._form.what}: {_LONE_SURROGATE}") from None
            raise self._refusal(error) from None
        except MainspringError:
            raise
        except Exception as error:  # validators are the user's code, and the text may be anybody's
            told = "" if self.secrets else f": {quote(error)}"
            raise ValidationError(f"task {self.task!r} cannot take these arguments{told}") from error

    def decode(self, text: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The call, ready to be made: `function(*args, **kwargs)`, the injected parameter apart.

        Raises `ValidationError` for text that does not fit the signature (any more).
        """
        try:
            given = self._form.validator.validate_json(text)
        except pydantic.ValidationError as error:
            raise self._refusal(error) from None
        return ((), given) if self._by_keyword else self._call(given)

    def encode_each(self, items: Iterable[Any]) -> str:
        """The calls of a job that runs its function for each of several items: one argument each.

        Raises as `encode`; the size is that of all together.
        """
        text = f'{{"items":[{",".join(self.encode((item,), {}) for item in items)}]}}'
        if len(text) > WARN_BYTES:
            self._form.check_size(len(text.encode()))
        return text

    def decode_each(self, text: str) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        """The calls of a job that runs its function for each of several items. Raises as `decode`."""
        return [self.decode(json.dumps(each)) for each in json.loads(text)["items"]]

    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema of the stored object."""
        schema = self._form.json_schema()
        return without_defaults(schema) if self.secrets else schema

    def _make_form(self, fields: Mapping[str, Any]) -> _Form:
        make_typed_dict: Any = TypedDict
        arguments = make_typed_dict("Arguments", fields)
        # One argument is one level inside the object that holds them all.
        return _Form(arguments, self._function, f"arguments of task {self.task!r}", MAX_DEPTH + 1)

    def _form_without(self, names: Iterable[str]) -> _Form:
        """The form that takes anything for these parameters."""
        without = frozenset(name for name in names if name in self._fields)
        if without not in self._forms_without:
            anything: Any = NotRequired
            fields = self._fields | dict.fromkeys(without, anything[Any])
            self._forms_without[without] = self._make_form(fields)
        return self._forms_without[without]

    def _bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        """The arguments by the name of their parameter; `*args` as a list, `**kwargs` as an object, under theirs."""
        if self._by_keyword:
            if not args:
                return kwargs
            given = dict(zip(self._names, args, strict=False))
            given.update(kwargs)
            # Else there are too many of them, or some twice.
            if len(given) == len(args) + len(kwargs):
                return given
        if self.injected_name is not None and self.injected_name in kwargs:
            raise ValidationError(
                f"task {self.task!r}: {self.injected_name} is given by the worker; leave it out when enqueuing"
            )
        try:
            return self._signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise ValidationError(f"task {self.task!r}: {error}; {self._usage()}") from None

    def _call(self, given: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        rest = next((given.get(name, ()) for name, kind in self._kinds if kind is _VAR_POSITIONAL), ())
        for name, kind in self._kinds:
            if kind is _POSITIONAL_ONLY or (rest and kind is _POSITIONAL_OR_KEYWORD):
                args.append(given[name] if name in given else self._signature.parameters[name].default)
            elif kind is _VAR_POSITIONAL:
                args.extend(rest)
            elif kind is _VAR_KEYWORD:
                kwargs.update(given.get(name, {}))
            elif name in given:
                kwargs[name] = given[name]
        return tuple(args), kwargs

    def _refusal(self, error: pydantic.ValidationError) -> ValidationError:
        hidden = frozenset(path[0] for path in self.secrets)
        return _refusal(error, f"task {self.task!r} cannot take these arguments", self._usage(), hidden)

    def _usage(self) -> str:
        signature, secret = self._signature, {path[0] for path in self.secrets}
        if secret:
            parameters = signature.parameters.values()
            signature = signature.replace(
                parameters=[_hidden(each) if each.name in secret else each for each in parameters]
            )
        return f"it takes {cut(str(signature), 400)}"


class ResultCodec:
    """Turns what `function` returns into JSON text and back, by its return annotation (none, or None: any JSON).

    Raises `ConfigurationError` for an annotation that cannot be resolved or has no JSON form.
    """

    __slots__ = ("_form", "_gives_none", "task")

    def __init__(self, function: Callable[..., Any], *, task: str | None = None) -> None:
        self.task = task or _name(function)
        annotation = _read_hints(function).get("return", Any)
        if annotation is type(None):
            annotation = Any
        self._gives_none = annotation is Any
        self._form = _Form(annotation, _describe(function), f"result of task {self.task!r}", MAX_DEPTH)

    def encode(self, value: Any) -> str:
        """The result as JSON text. No text in it is refused: NUL and lone surrogates are escaped.

        Raises `ValidationError` for a value that does not fit the annotation; `Unserialisable`, `PayloadTooLarge` or
        `PayloadTooDeep` for what cannot be stored.
        """
        if value is None and self._gives_none:
            return "null"
        try:
            return self._form.keep(value).decode()
        except pydantic.ValidationError as error:
            raise self._refusal(error) from None
        except UnsafeText:
            return self._form.write_escaped(value).decode()

    def decode(self, text: str) -> Any:
        """The result as the annotation has it. Raises `ValidationError` for text that does not fit it (any more)."""
        try:
            try:
                return self._form.validator.validate_json(text)
            except pydantic.ValidationError:
                if not _SURROGATE.search(text):
                    raise
                # Python's parser takes a lone surrogate, pydantic's does not.
                return self._form.validator.validate_python(json.loads(text))
        except pydantic.ValidationError as error:
            raise self._refusal(error) from None

    def encode_each(self, values: Sequence[Any]) -> str:
        """The results of a job that ran its function for each of several items, as a JSON array. Raises as `encode`."""
        text = f"[{','.join(map(self.encode, values))}]"
        if len(text) > WARN_BYTES:
            self._form.check_size(len(text))
        return text

    def decode_each(self, text: str) -> list[Any]:
        """What `encode_each` wrote. Raises as `decode`."""
        return [self.decode(json.dumps(each)) for each in json.loads(text)]

    def _refusal(self, error: pydantic.ValidationError) -> ValidationError:
        return _refusal(error, f"task {self.task!r}: its result does not fit its return annotation")


def encode_checkpoint(value: Any) -> str:
    """What a run saves of its work as JSON text; as with results, no text in it is refused.

    Raises `Unserialisable`, `PayloadTooLarge` or `PayloadTooDeep` for what cannot be stored.
    """
    form = _checkpoint_form()
    try:
        return form.keep(value).decode()
    except UnsafeText:
        return form.write_escaped(value).decode()


@functools.cache
def _checkpoint_form() -> _Form:
    return _Form(Any, "ctx.checkpoint", "checkpoint", MAX_DEPTH)


# --- one annotation's JSON form, and its limits ----------------------------------------------------------------------

_MASK = b"**********"
"""What pydantic writes instead of a secret."""
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_SURROGATE = re.compile(r"\\ud[89a-f]", re.IGNORECASE)
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}

# Dataclasses and typed dictionaries inherit this; a pydantic model says for itself how its bytes are written.
_CONFIG = pydantic.ConfigDict(
    extra="forbid", ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="strings"
)


class _Form:
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
            return UnsafeText(f"{self.what}: {_LONE_SURROGATE}")
        if "invalid utf-8" in lowered:
            reason += '; in a model, set ser_json_bytes="base64" and val_json_bytes="base64" in its model_config'
        return Unserialisable(f"{self.what}: {_culprit(value)} has no JSON form: {reason}")


def _may_hold_sets(annotation: Any) -> bool:
    """Whether a set may be in it, be it in a class of the user's."""
    origin = get_origin(annotation) or annotation
    if isinstance(origin, type) and issubclass(origin, AbstractSet):
        return True
    return may_be_within(annotation) or any(map(_may_hold_sets, get_args(annotation)))


def _sorted(value: Any, _: Path) -> Any:
    return sorted(value, key=functools.partial(json.dumps, sort_keys=True)) if isinstance(value, list) else value


def _culprit(value: Any) -> str:
    """Which of several arguments it is that cannot be written."""
    if isinstance(value, dict):
        for name, each in value.items():
            try:
                to_json(each)
            except Exception:  # noqa: BLE001 - whatever it is, it is the culprit
                return f"{clean(str(name))}={quote(each)}"
    return quote(value)


def _has_lone_surrogate(text: str) -> bool:
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


def _refusal(
    error: pydantic.ValidationError, what: str, usage: str = "", hidden: frozenset[str] = frozenset()
) -> ValidationError:
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


# --- reading the signature -------------------------------------------------------------------------------------------


def _name(function: Callable[..., Any]) -> str:
    base = _base(function)
    return str(getattr(base, "__name__", type(base).__name__))


def _describe(function: Callable[..., Any]) -> str:
    base = inspect.unwrap(_base(function))
    return f"function {getattr(base, '__module__', '?')}.{getattr(base, '__qualname__', type(base).__name__)}"


def _base(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _read_hints(function: Callable[..., Any]) -> dict[str, Any]:
    base = inspect.unwrap(_base(function))
    if not inspect.isroutine(base):
        base = type(base).__call__
    try:
        return get_type_hints(base, include_extras=True)
    except Exception as error:  # a NameError as a rule; but annotations are code
        raise ConfigurationError(
            f"{_describe(function)}: its annotations cannot be resolved: {error}; "
            "the names in them must be importable when the task is declared, not only under TYPE_CHECKING"
        ) from error


def _read_signature(function: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter], dict[str, Any]]:
    hints = _read_hints(function)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{_describe(function)}: its signature cannot be read: {error}") from error
    empty = inspect.Parameter.empty
    parameters = {name: each.replace(annotation=hints.get(name, empty)) for name, each in signature.parameters.items()}
    return parameters, hints


def _take_injected(
    function: Callable[..., Any],
    parameters: dict[str, inspect.Parameter],
    hints: dict[str, Any],
    injected: type | None,
) -> str | None:
    """Take the parameter that the worker gives out of `parameters`, and say its name."""
    names = [name for name in parameters if injected is not None and _names_type(hints.get(name), injected)]
    if not names:
        return None
    if len(names) > 1:
        raise ConfigurationError(f"{_describe(function)}: {' and '.join(names)} are both given by the worker; keep one")
    kinds = [parameter.kind for parameter in parameters.values()]
    taken = parameters.pop(names[0]).kind
    positional = taken is _POSITIONAL_OR_KEYWORD and _VAR_POSITIONAL not in kinds
    if not positional and taken is not _KEYWORD_ONLY:
        raise ConfigurationError(
            f"{_describe(function)}: the worker gives {names[0]} by keyword; declare it after a * or after *args"
        )
    return names[0]


def _names_type(annotation: Any, wanted: type) -> bool:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _names_type(get_args(annotation)[0], wanted)
    if origin in (Union, types.UnionType):
        return any(_names_type(each, wanted) for each in get_args(annotation))
    return annotation is wanted


class _Hidden:
    """In place of the default of a secret."""

    def __repr__(self) -> str:
        return HIDDEN


def _hidden(parameter: inspect.Parameter) -> inspect.Parameter:
    return parameter if parameter.default is inspect.Parameter.empty else parameter.replace(default=_Hidden())


def _field(parameter: inspect.Parameter, hints: dict[str, Any]) -> Any:
    annotation = hints.get(parameter.name, Any)
    required: Any = Required
    optional: Any = NotRequired
    if parameter.kind is _VAR_POSITIONAL:
        return optional[types.GenericAlias(list, (annotation,))]
    if parameter.kind is _VAR_KEYWORD:
        return optional[types.GenericAlias(dict, (str, annotation))]
    return (required if parameter.default is inspect.Parameter.empty else optional)[annotation]
