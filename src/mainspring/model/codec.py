"""Arguments and results as JSON text and back, by the annotations of the task's function.

Everything is checked before it is stored, and read back once to be sure that a worker can. What is not annotated comes
back as JSON has it: a tuple as a list, a datetime as text, NaN as "NaN".
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NotRequired, get_args, get_origin

import pydantic
from typing_extensions import TypedDict

from mainspring.errors import InvalidFlow, MainspringError, UnsafeText, Unserialisable, ValidationError
from mainspring.model.form import (
    LONE_SURROGATE,
    MAX_BYTES,
    MAX_DEPTH,
    NUL,
    SURROGATE,
    WARN_BYTES,
    Form,
    PayloadWarning,
    has_lone_surrogate,
    refusal,
)
from mainspring.model.holes import ONLY_IN_FLOWS, Gap, holds_any, take_out
from mainspring.model.secrets import (
    ENCRYPTED,
    Path,
    changed,
    encrypts,
    may_be_within,
    mentions,
    paths_in,
    without_defaults,
)
from mainspring.model.signature import (
    describe,
    field_of,
    hide_default,
    name_of,
    read_hints,
    read_signature,
    take_injected,
)
from mainspring.model.text import cut, quote

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "WARN_BYTES",
    "ArgumentsCodec",
    "PayloadWarning",
    "ResultCodec",
    "encode_checkpoint",
]

_SCALARS = frozenset({str, int, float, bool, type(None)})
"""Types of arguments that nothing can be in: most are."""

_POSITIONAL_ONLY = inspect.Parameter.POSITIONAL_ONLY
_POSITIONAL_OR_KEYWORD = inspect.Parameter.POSITIONAL_OR_KEYWORD
_VAR_POSITIONAL = inspect.Parameter.VAR_POSITIONAL
_KEYWORD_ONLY = inspect.Parameter.KEYWORD_ONLY
_VAR_KEYWORD = inspect.Parameter.VAR_KEYWORD


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
        self.task = task or name_of(function)
        parameters, hints = read_signature(function)
        self.injected_name = take_injected(function, parameters, hints, injected)
        self._signature = inspect.Signature(list(parameters.values()))
        self._kinds = tuple((name, parameter.kind) for name, parameter in parameters.items())
        self._by_keyword = {kind for _, kind in self._kinds} <= {_POSITIONAL_OR_KEYWORD, _KEYWORD_ONLY}
        self._names = tuple(name for name, kind in self._kinds if kind is _POSITIONAL_OR_KEYWORD)
        self._fields = {name: field_of(parameter, hints) for name, parameter in parameters.items()}
        self._function = describe(function)
        self._form = self._make_form(self._fields)
        self._forms_without: dict[frozenset[str], Form] = {}
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
        if b"\\u0000" in data and NUL.search(data):
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
            if has_lone_surrogate(text):
                raise UnsafeText(f"{self._form.what}: {LONE_SURROGATE}") from None
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

    def _make_form(self, fields: Mapping[str, Any]) -> Form:
        make_typed_dict: Any = TypedDict
        arguments = make_typed_dict("Arguments", fields)
        # One argument is one level inside the object that holds them all.
        return Form(arguments, self._function, f"arguments of task {self.task!r}", MAX_DEPTH + 1)

    def _form_without(self, names: Iterable[str]) -> Form:
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
        return refusal(error, f"task {self.task!r} cannot take these arguments", self._usage(), hidden)

    def _usage(self) -> str:
        signature, secret = self._signature, {path[0] for path in self.secrets}
        if secret:
            parameters = signature.parameters.values()
            signature = signature.replace(
                parameters=[hide_default(each) if each.name in secret else each for each in parameters]
            )
        return f"it takes {cut(str(signature), 400)}"


class ResultCodec:
    """Turns what `function` returns into JSON text and back, by its return annotation (none, or None: any JSON).

    Raises `ConfigurationError` for an annotation that cannot be resolved or has no JSON form.
    """

    __slots__ = ("_form", "_gives_none", "task")

    def __init__(self, function: Callable[..., Any], *, task: str | None = None) -> None:
        self.task = task or name_of(function)
        annotation = read_hints(function).get("return", Any)
        if annotation is type(None):
            annotation = Any
        self._gives_none = annotation is Any
        self._form = Form(annotation, describe(function), f"result of task {self.task!r}", MAX_DEPTH)

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
                if not SURROGATE.search(text):
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
        return refusal(error, f"task {self.task!r}: its result does not fit its return annotation")


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
def _checkpoint_form() -> Form:
    return Form(Any, "ctx.checkpoint", "checkpoint", MAX_DEPTH)


def _may_hold_sets(annotation: Any) -> bool:
    """Whether a set may be in it, be it in a class of the user's."""
    origin = get_origin(annotation) or annotation
    if isinstance(origin, type) and issubclass(origin, AbstractSet):
        return True
    return may_be_within(annotation) or any(map(_may_hold_sets, get_args(annotation)))


def _sorted(value: Any, _: Path) -> Any:
    return sorted(value, key=functools.partial(json.dumps, sort_keys=True)) if isinstance(value, list) else value
