"""What a function says of itself: its name, its parameters, its annotations."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from inspect import Parameter
from typing import Annotated, Any, NotRequired, Required, Union, get_args, get_origin, get_type_hints

from mainspring.errors import ConfigurationError
from mainspring.model.secrets import HIDDEN


def name_of(function: Callable[..., Any]) -> str:
    """What it is called; a partial as what it is made of, an object that can be called as its class."""
    base = _base(function)
    return str(getattr(base, "__name__", type(base).__name__))


def describe(function: Callable[..., Any]) -> str:
    """As errors name it: with its module."""
    base = inspect.unwrap(_base(function))
    return f"function {getattr(base, '__module__', '?')}.{getattr(base, '__qualname__', type(base).__name__)}"


def _base(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def read_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Its annotations, resolved. Raises `ConfigurationError`."""
    base = inspect.unwrap(_base(function))
    if not inspect.isroutine(base):
        base = type(base).__call__
    try:
        return get_type_hints(base, include_extras=True)
    except Exception as error:  # a NameError as a rule; but annotations are code
        raise ConfigurationError(
            f"{describe(function)}: its annotations cannot be resolved: {error}; "
            "the names in them must be importable when the task is declared, not only under TYPE_CHECKING"
        ) from error


def read_signature(function: Callable[..., Any]) -> tuple[dict[str, Parameter], dict[str, Any]]:
    """Its parameters by name, with their annotations, and all annotations. Raises `ConfigurationError`."""
    hints = read_hints(function)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{describe(function)}: its signature cannot be read: {error}") from error
    empty = Parameter.empty
    parameters = {name: each.replace(annotation=hints.get(name, empty)) for name, each in signature.parameters.items()}
    return parameters, hints


def take_injected(
    function: Callable[..., Any],
    parameters: dict[str, Parameter],
    hints: dict[str, Any],
    injected: type | None,
) -> str | None:
    """Take the parameter that the worker gives out of `parameters`, and say its name. Raises `ConfigurationError`."""
    names = [name for name in parameters if injected is not None and _names_type(hints.get(name), injected)]
    if not names:
        return None
    if len(names) > 1:
        raise ConfigurationError(f"{describe(function)}: {' and '.join(names)} are both given by the worker; keep one")
    kinds = [parameter.kind for parameter in parameters.values()]
    taken = parameters.pop(names[0]).kind
    positional = taken is Parameter.POSITIONAL_OR_KEYWORD and Parameter.VAR_POSITIONAL not in kinds
    if not positional and taken is not Parameter.KEYWORD_ONLY:
        raise ConfigurationError(
            f"{describe(function)}: the worker gives {names[0]} by keyword; declare it after a * or after *args"
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


def hide_default(parameter: Parameter) -> Parameter:
    """The parameter of a secret, as it may be shown."""
    return parameter if parameter.default is Parameter.empty else parameter.replace(default=_Hidden())


def field_of(parameter: Parameter, hints: dict[str, Any]) -> Any:
    """The parameter as a field of a typed dictionary; one with a default may be missing."""
    annotation = hints.get(parameter.name, Any)
    required: Any = Required
    optional: Any = NotRequired
    if parameter.kind is Parameter.VAR_POSITIONAL:
        return optional[types.GenericAlias(list, (annotation,))]
    if parameter.kind is Parameter.VAR_KEYWORD:
        return optional[types.GenericAlias(dict, (str, annotation))]
    return (required if parameter.default is Parameter.empty else optional)[annotation]
