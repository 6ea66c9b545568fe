"""The form that is made of a task's schema: what it asks for, and that it gives back what it was filled with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from mainspring import Mainspring, Secret
from mainspring.model.secrets import HIDDEN
from mainspring.web.pages.filling import filled, read
from mainspring.web.pages.forms import Argument, arguments_of


class Colour(Enum):
    RED = "red"
    GREEN = "green"


class Place(BaseModel):
    """Where something is."""

    street: str
    zip: str | None = None


class Order(BaseModel):
    place: Place
    other: Place | None = None
    lines: list[str] = ["a"]
    extra: dict[str, int] = {}


class Tree(BaseModel):
    name: str
    left: Tree | None = None


@pytest.fixture(scope="module")
def arguments() -> Iterator[Mapping[str, Argument]]:
    """Those of a task that takes something of every kind."""
    with Mainspring("sqlite://") as app:

        @app.task
        def many(
            count: int,
            order: Order,
            share: Annotated[float, "x"] = 0.5,
            name: str = "nobody",
            colour: Colour = Colour.RED,
            currency: Literal["EUR", "USD"] = "EUR",
            wide: bool = True,
            sure: bool | None = None,
            at: datetime | None = None,
            day: date = date(2031, 5, 1),
            parts: list[int] | None = None,
            places: list[Place] = [],  # noqa: B006
            anything: Any = None,
            key: Secret[str] = "k",
            either: int | str = 3,
            kind: Place | Tree | None = None,
            tree: Tree | None = None,
        ) -> None: ...

        yield {each.name: each for each in arguments_of(many.codec.json_schema(), many.defaults)}


def test_each_type_has_its_input(arguments: Mapping[str, Argument]) -> None:
    assert {name: (each.kind, each.label) for name, each in arguments.items()} == {
        "count": ("number", "whole number"),
        "order": ("group", "Order"),
        "share": ("number", "number"),
        "name": ("text", "text"),
        "colour": ("choice", "one of these"),
        "currency": ("choice", "one of these"),
        "wide": ("bool", "yes or no"),
        "sure": ("choice", "yes or no or null"),
        "at": ("text", "date-time or null"),
        "day": ("text", "date"),
        "parts": ("lines", "list of whole numbers or null, one a line"),
        "places": ("json", "list, as JSON"),
        "anything": ("json", "JSON"),
        "key": ("text", "text, secret"),
        "either": ("json", "whole number or text, as JSON"),
        "kind": ("json", "Place or Tree or null, as JSON"),
        "tree": ("group", "Tree or null"),
    }
    assert [name for name, each in arguments.items() if each.needed] == ["count", "order"]
    assert arguments["colour"].choices == ('"red"', '"green"')
    assert (arguments["key"].input, arguments["key"].value, arguments["key"].default) == ("password", "", "")
    assert (arguments["day"].input, arguments["day"].value) == ("date", "2031-05-01")
    assert arguments["share"].value == "0.5"


def test_a_model_is_asked_for_by_its_fields_as_deep_as_a_form_can_be(arguments: Mapping[str, Argument]) -> None:
    order = {part.name: part for part in arguments["order"].parts}
    assert {name: (each.kind, each.field, each.switch) for name, each in order.items()} == {
        "place": ("group", "arg.order/place", ""),
        "other": ("group", "arg.order/other", "arg.order/other?"),
        "lines": ("lines", "arg.order/lines", ""),
        "extra": ("json", "arg.order/extra", ""),
    }
    assert order["place"].help == "Where something is."
    assert order["lines"].value == "a"
    depth, tree = 0, arguments["tree"]
    while tree.kind == "group":
        depth, tree = depth + 1, tree.parts[1]
    assert (depth, tree.kind) == (3, "json")


def test_what_is_filled_in_is_read_back_and_what_is_left_empty_is_left_out(arguments: Mapping[str, Argument]) -> None:
    form = {
        "arg.count": "7",
        "arg.name": "a\r\nb",
        "arg.colour": '"green"',
        "arg.parts": "1\r\n2\r\n",
        "arg.wide": "true",
        "arg.order/place/street": "A 1",
        "arg.order/lines": "x y\nz",
        "arg.tree?": "yes",
        "arg.tree/name": "t",
    }
    values, seen = read(tuple(arguments.values()), form)
    assert values == {
        "count": 7,
        "order": {"place": {"street": "A 1"}, "lines": ["x y", "z"]},
        "name": "a\nb",
        "colour": "green",
        "parts": [1, 2],
        "wide": True,
        "tree": {"name": "t"},
    }
    assert not any(each.is_wrong for each in seen)
    wrong = {"arg.count": "many", "arg.parts": "1\nx", "arg.either": "{", "arg.order/extra": "["}
    values, seen = read(tuple(arguments.values()), wrong)
    assert values == {"wide": False, "order": {"place": {"street": ""}}}
    assert [each.name for each in seen if each.is_wrong] == ["count", "order", "parts", "either"]
    assert next(each for each in seen if each.name == "parts").value == "1\nx"
    _, seen = read(tuple(arguments.values()), {})
    assert [each.name for each in seen if each.is_wrong] == ["count"]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | st.sampled_from(["", "\n", "a\nb", "\r\n"])
PLACES = st.fixed_dictionaries({"street": TEXTS, "zip": st.none() | TEXTS})
NUMBERS = st.integers(-(2**40), 2**40)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "count": NUMBERS,
            "order": st.fixed_dictionaries(
                {
                    "place": PLACES,
                    "other": st.none() | PLACES,
                    "lines": st.lists(TEXTS, max_size=3),
                    "extra": st.dictionaries(TEXTS, NUMBERS, max_size=2),
                },
                optional={"unknown": TEXTS},
            ),
            "name": TEXTS,
            "colour": st.sampled_from(["red", "green", "blue"]),
            "wide": st.booleans(),
            "sure": st.none() | st.booleans(),
            "at": st.none() | st.just("2031-05-01T09:30:00Z"),
            "day": st.sampled_from(["2031-05-01", "31-5-1"]),
            "parts": st.none() | st.lists(st.integers(-9, 9), max_size=3),
            "anything": st.recursive(st.none() | st.booleans() | TEXTS, st.lists, max_leaves=4),
            "either": st.integers(0, 9) | TEXTS,
            "tree": st.none() | st.fixed_dictionaries({"name": TEXTS, "left": st.none()}),
        },
    )
)
def test_a_job_that_is_edited_by_nobody_stays_what_it_was(
    arguments: Mapping[str, Argument], values: dict[str, Any]
) -> None:
    """The form filled with a job's arguments and sent as it is gives the same arguments: empty texts, nulls and all."""
    given = filled(tuple(each for name, each in arguments.items() if name in values), values)
    got, seen = read(given, as_sent(given))
    assert got == values
    assert not any(each.is_wrong for each in seen)


def as_sent(arguments: tuple[Argument, ...]) -> dict[str, str]:
    """What a browser sends of a form that nobody touched; an `<input>` has no line ends."""
    sent: dict[str, str] = {}
    for each in arguments:
        if each.kind == "group":
            sent |= ({each.switch: "yes"} if each.switch and each.value else {}) | as_sent(each.parts)
        elif each.kind in ("json", "long", "lines"):
            sent[each.field] = each.value.replace("\n", "\r\n")
        elif each.kind != "bool" or each.value == "true":
            sent[each.field] = each.value.replace("\n", "").replace("\r", "")
    return sent


def test_what_stands_for_a_secret_can_be_seen(arguments: Mapping[str, Argument]) -> None:
    (key,) = filled((arguments["key"],), {"key": HIDDEN})
    assert (key.value, key.input) == (HIDDEN, "text")
