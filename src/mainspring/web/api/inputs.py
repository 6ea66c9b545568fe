"""What requests may say: names, times, durations, conditions on jobs; each is checked before anything is done."""

from __future__ import annotations

import re
from datetime import datetime
from functools import partial
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from mainspring.admin.jobs import PAGE_LIMIT, TEXT_LENGTH, Where
from mainspring.clock import moment
from mainspring.errors import InvalidDuration, MainspringError
from mainspring.model.durations import to_ms
from mainspring.model.limits import MAX_COST, MAX_LIMIT, Rate
from mainspring.model.options import check_name
from mainspring.model.states import State
from mainspring.model.text import clean, quote

__all__ = [
    "Ask",
    "At",
    "Condition",
    "Conditions",
    "Cost",
    "Cursor",
    "Delay",
    "JobConditions",
    "JobCountQuery",
    "Limit",
    "Name",
    "NamePath",
    "Number",
    "Page",
    "Priority",
    "RateText",
    "Seconds",
    "Tag",
    "Text",
    "When",
    "where_of",
]

LAST_AT = moment(2**43 - 1)
"""Stores keep times up to here, in the year 2248."""
MAX_IDS = 1000
MAX_IDS_IN_QUERY = 50
"""More of the longest would be more than an address may have."""


class Ask(BaseModel):
    """A part of a request. What is not known is refused: a condition that was misspelt must not be taken for none."""

    model_config = ConfigDict(extra="forbid")


def _storable(text: str) -> str:
    if clean(text) != text:
        raise ValueError("it has control characters or lone surrogates, which not every store can keep; take them out")
    return text


def _checked(check: Any, value: Any) -> Any:
    """What our own check says, as pydantic wants to hear it."""
    try:
        return check(value)
    except MainspringError as error:
        raise ValueError(str(error)) from None


Text = Annotated[str, Field(max_length=1000), AfterValidator(_storable)]
"""Something for people to read."""
Name = Annotated[
    str, Field(min_length=1, max_length=200), AfterValidator(partial(_checked, partial(check_name, "this")))
]
"""What can name a queue, a task, a schedule, a job."""
Tag = Annotated[Name, Field(max_length=100)]
NamePath = Annotated[Name, Path()]
Condition = Annotated[str, Field(max_length=200), AfterValidator(_storable)]
"""A name that things are compared with."""

Number = Annotated[int, Field(strict=True, ge=1, le=MAX_LIMIT)]
"""How many of something there may be."""
Cost = Annotated[int, Field(strict=True, ge=1, le=MAX_COST)]
Priority = Annotated[int, Field(strict=True, ge=-1000, le=1000, description="Lower runs first; 5 is usual.")]


# --- times -----------------------------------------------------------------------------------------------------------


def _moment(value: object) -> datetime:
    at = _read_moment(value) if isinstance(value, str) else None
    if at is None:
        raise ValueError('it is no time; write one with its zone, such as "2031-05-01T09:30:00Z"')
    if not moment(0) <= at <= LAST_AT:
        raise ValueError(f"it is not between 1970 and {LAST_AT.year}")
    return at


def _read_moment(text: str) -> datetime | None:
    try:
        # In a query a plus that nobody has encoded is a space.
        at = datetime.fromisoformat(re.sub(r" (?=\d\d:\d\d$)", "+", text))
    except ValueError:
        return None
    return at if at.utcoffset() is not None else None


def _duration(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError('it is no duration; give seconds, or text such as "90s" or "2h"')
    # In a query every number is a text.
    ms: int = _checked(to_ms, float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value)
    return ms / 1000


_NUMBER = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,20})?")


def _when(value: object) -> datetime | str:
    """A point in time, or how long ago."""
    if not isinstance(value, str):
        raise ValueError('it is neither a time nor how long ago; write "2031-05-01T09:30:00Z" or "2h"')
    try:
        to_ms(value)
    except InvalidDuration:
        if (at := _read_moment(value)) is None:
            raise ValueError(
                f"{quote(value)} is neither a time with its zone nor how long ago; write a time such as "
                '"2031-05-01T09:30:00Z", or "2h"'
            ) from None
        return at
    return value


_DURATION = {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "maxLength": 100}]}

At = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
"""A point in time, on the store's clock."""
Seconds = Annotated[float, BeforeValidator(_duration), WithJsonSchema(_DURATION)]
"""A duration in seconds, or as text such as "90s" or "2h"."""
Delay = Annotated[Seconds, Field(description='How long from now: seconds, or text such as "90s" or "2h".')]
When = Annotated[datetime | str, BeforeValidator(_when), WithJsonSchema({"type": "string", "maxLength": 100})]
"""A point in time, or how long ago."""


def _rate(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("it is not of the form 50/1m: a number, a slash, a time")
    return str(_checked(Rate.parse, value))


RateText = Annotated[str, BeforeValidator(_rate), WithJsonSchema({"type": "string", "examples": ["50/1m", "10/s"]})]
"""How many may start in a time: "50/1m"."""


# --- pages and conditions --------------------------------------------------------------------------------------------

Limit = Annotated[int, Field(ge=1, le=PAGE_LIMIT, description="How many at most.")]
Cursor = Annotated[
    str, Field(max_length=1000), AfterValidator(_storable), Field(description="From the answer before this one.")
]

SINCE = 'Ended since, or created if not ended: a time with its zone, or how long ago, such as "2h".'


class JobConditions(Ask):
    """Conditions on jobs, all of which must hold."""

    id: list[Condition] = Field(default=[], max_length=MAX_IDS, description="One of these.")
    state: list[State] = Field(default=[], max_length=20, description="In one of these states.")
    queue: Condition | None = None
    partition: Condition | None = None
    task: Condition | None = None
    flow: Condition | None = Field(default=None, description="The id of a flow; its parts are included.")
    tag: Condition | None = None
    text: Annotated[str, Field(min_length=1, max_length=TEXT_LENGTH), AfterValidator(_storable)] | None = Field(
        default=None, description="A part of its arguments as JSON text; A is taken for a."
    )
    since: When | None = Field(default=None, description=SINCE)
    until: When | None = Field(default=None, description="The same, until then.")


class JobCountQuery(JobConditions):
    """Which jobs."""

    id: list[Condition] = Field(default=[], max_length=MAX_IDS_IN_QUERY, description="One of these.")


class Page(Ask):
    """How much of a list, and from where."""

    limit: Limit = 50
    cursor: Cursor | None = None


class JobQuery(JobCountQuery, Page):
    """Which jobs, and how many of them."""


Conditions = Annotated[JobQuery, Query()]


def where_of(conditions: JobConditions) -> tuple[list[str] | None, Where]:
    """The ids that were named, if any, and the other conditions, as the operators' door takes them."""
    where: Where = {}
    if conditions.state:
        where["state"] = conditions.state
    if conditions.queue is not None:
        where["queue"] = conditions.queue
    if conditions.partition is not None:
        where["partition"] = conditions.partition
    if conditions.task is not None:
        where["task"] = conditions.task
    if conditions.flow is not None:
        where["flow"] = conditions.flow
    if conditions.tag is not None:
        where["tag"] = conditions.tag
    if conditions.text is not None:
        where["text"] = conditions.text
    if conditions.since is not None:
        where["since"] = conditions.since
    if conditions.until is not None:
        where["until"] = conditions.until
    return conditions.id or None, where
