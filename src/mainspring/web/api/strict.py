"""Requests are read strictly: JSON that means one thing, and nothing in the query that nobody reads."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mainspring.model.text import quote

__all__ = ["StrictRoute"]


class _StrictRequest(Request):
    """Reads a body as RFC 8259 has JSON: UTF-8, no name twice, no NaN."""

    async def json(self) -> Any:
        try:
            text = (await self.body()).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise json.JSONDecodeError("it is not UTF-8", "", 0) from None
        try:
            return json.loads(text, object_pairs_hook=_once_each, parse_constant=_no_number)
        except json.JSONDecodeError:
            raise
        except RecursionError:
            raise HTTPException(400, "the body is nested too deep; send something flatter") from None
        except ValueError as error:
            raise HTTPException(400, f"the body is no JSON that can be read: {error}") from None


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    said = dict(pairs)
    if len(said) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise json.JSONDecodeError(f"the name {quote(twice)} stands in one object twice", "", 0)
    return said


def _no_number(text: str) -> None:
    raise json.JSONDecodeError(f"{text} is no number that JSON has", "", 0)


class StrictRoute(APIRoute):
    """A route whose requests are read so. What stands in the query and is not known is refused, and so is what is given
    twice where one is wanted: neither is to be taken for nothing."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        known = dict(_known(self.dependant))

        async def strictly(request: Request) -> Response:
            if faults := _faults(request, known):
                raise RequestValidationError(faults)
            return await handle(_StrictRequest(request.scope, request.receive))

        return strictly


def _known(dependant: Dependant) -> Iterator[tuple[str, bool]]:
    """The names that a query may have, each with whether it may be given several times."""
    for parameter in dependant.query_params:
        kind = parameter.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from ((name, _is_list(each.annotation)) for name, each in kind.model_fields.items())
        else:
            yield parameter.alias, _is_list(kind)
    for inner in dependant.dependencies:
        yield from _known(inner)


def _is_list(kind: Any) -> bool:
    return getattr(kind, "__origin__", None) is list


def _faults(request: Request, known: dict[str, bool]) -> list[dict[str, Any]]:
    given = Counter(name for name, _ in request.query_params.multi_items())
    unknown = [("extra_forbidden", name, "Extra inputs are not permitted") for name in given if name not in known]
    twice = [
        ("too_many", name, f"It is given {count} times, and one is wanted")
        for name, count in given.items()
        if count > 1 and known.get(name) is False
    ]
    return [{"type": kind, "loc": ("query", name), "msg": told} for kind, name, told in (*unknown, *twice)]
