"""What all shapes share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from mainspring.model.limits import Rate
from mainspring.model.states import State

__all__ = ["AnyJson", "Counts", "JsonObject", "Listing", "Moment", "Shape", "counts_of", "rates_of", "rfc3339"]

Item = TypeVar("Item")


def rfc3339(at: datetime) -> str:
    """The time in UTC: 2031-05-01T09:30:00.000Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Moment = Annotated[
    datetime, PlainSerializer(rfc3339, return_type=str), WithJsonSchema({"type": "string", "format": "date-time"})
]
"""A point in time."""

# Not validated: what a job has been given, or has returned, is shown as it is, lone surrogates and all.
AnyJson = Annotated[Any, WithJsonSchema({})]
"""Any JSON value."""
JsonObject = Annotated[Any, WithJsonSchema({"type": "object", "additionalProperties": True})]
"""A JSON object."""

Counts = Annotated[dict[str, int], Field(description="How many jobs are in each state.")]


class Shape(BaseModel):
    """One JSON object that the API gives."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)


class Listing(Shape, Generic[Item]):
    """Some of a list, and where it goes on."""

    items: list[Item]
    cursor: str | None = Field(default=None, description="Give it back for the next ones; null: there are no more.")


def counts_of(counts: Mapping[State, int]) -> dict[str, int]:
    """All states, those with no jobs too."""
    return {state.value: counts.get(state, 0) for state in State}


def rates_of(rates: tuple[Rate, ...]) -> list[str]:
    """As they are written too: "50/1m"."""
    return [str(rate) for rate in rates]
