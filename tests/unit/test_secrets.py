"""What is marked as secret is found wherever it stands, hidden where it is shown, and put back after an edit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, PlainValidator, WithJsonSchema

from mainspring.errors import InvalidOption, Unserialisable, ValidationError
from mainspring.model.codec import ArgumentsCodec
from mainspring.model.secrets import (
    HIDDEN,
    MOST_PATHS,
    Mark,
    Secret,
    digested,
    may_be_within,
    mentions,
    paths_in,
    paths_of,
    redacted,
    restored,
)


class Card(BaseModel):
    number: Secret[str]
    owner: str = ""


class Tree(BaseModel):
    key: Secret[str]
    below: list[Tree] = []


class Plain(BaseModel):
    below: list[Plain] = []


class Bag(BaseModel):
    plain: Plain
    inside: list[Bag] = []
    card: Card


class Pair(BaseModel):
    one: Tree
    plain: Plain
    both: tuple[int, Secret[str]]
    named: dict[str, Secret[str]]
    either: Card | int


def test_a_mark_is_seen_in_the_annotation() -> None:
    assert repr(Mark()) == "secret"
    assert mentions(Secret[str])
    assert mentions(list[Secret[str]])
    assert not mentions(list[str])
    assert may_be_within(Card)
    assert may_be_within(dict[str, Card])
    assert may_be_within(Secret[int])
    assert not may_be_within(list[int])


def test_paths_lead_to_each_secret_and_stop_where_a_type_is_within_itself() -> None:
    paths = set(paths_in(Pair.model_json_schema()))
    assert {("one", "key"), ("both", "1"), ("named", "*"), ("either", "number")} <= paths
    assert ("one", "below", "*") in paths, "a tree of secrets is one secret from its second level on"
    assert not [path for path in paths if path[0] == "plain"]
    assert set(paths_in(Bag.model_json_schema())) == {("card", "number"), ("inside", "*")}
    assert paths_in({"$ref": "#/$defs/none"}) == ()
    assert set(paths_in({"patternProperties": {"^x": {"writeOnly": True}}})) == {("*",)}


def test_of_very_many_paths_their_beginnings_do() -> None:
    inner = {str(number): {"writeOnly": True} for number in range(MOST_PATHS + 1)}
    assert paths_in({"properties": {"a": {"properties": inner}}}) == (("a",),)


def test_what_is_at_the_paths_is_hidden_and_no_more() -> None:
    value = {"card": {"number": "4711", "owner": "ada"}, "list": [{"pin": 1}, {"pin": 2}], "none": None, "plain": 1}
    paths = (("card", "number"), ("list", "*", "pin"), ("none",), ("plain", "x"))
    hidden = redacted(value, paths)
    assert hidden == {
        "card": {"number": HIDDEN, "owner": "ada"},
        "list": [{"pin": HIDDEN}, {"pin": HIDDEN}],
        "none": None,
        "plain": 1,
    }
    assert redacted(value, ()) == value
    assert digested("a", [()]) == digested("a", [()]) != digested("b", [()])


def test_what_is_still_hidden_is_what_it_was() -> None:
    value = {"card": {"number": "4711"}, "list": ["a"], "plain": 1}
    paths = (("card", "number"), ("list", "*"), ("plain", "x"))
    edited: dict[str, Any] = {"card": {"number": HIDDEN}, "list": [HIDDEN], "plain": 2}
    assert restored(edited, value, paths) == {"card": {"number": "4711"}, "list": ["a"], "plain": 2}
    assert restored(edited, value, ()) == edited
    assert restored({"card": {"number": "new"}}, value, paths) == {"card": {"number": "new"}}
    with pytest.raises(InvalidOption, match="where there was none"):
        restored({"list": ["a", HIDDEN]}, value, paths)
    with pytest.raises(InvalidOption):
        restored({"card": {"number": HIDDEN}, "list": [HIDDEN]}, 5, paths)


class Odd:
    """Of no kind that JSON Schema knows."""


def takes(card: Secret[str], odd: Annotated[Odd, PlainValidator(lambda value: Odd())]) -> None: ...


def test_where_there_is_no_json_schema_the_signature_says_what_is_secret() -> None:
    assert ArgumentsCodec(takes).secrets == (("card",),)


@dataclass
class Login:
    name: str
    password: Secret[str]


def test_where_there_is_no_json_schema_nobody_knows_where_sets_are() -> None:
    def holds(tags: set[str], odd: Annotated[Odd, PlainValidator(lambda value: Odd())]) -> None: ...

    assert ArgumentsCodec(holds).in_order({"tags": ["b", "a"]}) == {"tags": ["b", "a"]}


def test_the_secrets_of_a_job_are_those_of_its_time_and_those_of_today() -> None:
    stored, known = (("card",), ("pin",)), (("pin",), ("owner",))
    assert paths_of(stored, known, each=False) == (("card",), ("pin",), ("owner",))
    assert paths_of(stored, (), each=True) == (("items", "*", "card"), ("items", "*", "pin"))


def test_a_default_that_is_secret_is_in_no_refusal() -> None:
    def signs(text: str, key: Secret[str] = "hunter2") -> None: ...

    with pytest.raises(ValidationError) as refused:
        ArgumentsCodec(signs).encode((), {})
    assert "hunter2" not in str(refused.value)
    assert HIDDEN in str(refused.value)


def test_a_refusal_tells_nothing_of_a_secret() -> None:
    def logs_in(login: Login, pin: Secret[int]) -> None: ...

    codec = ArgumentsCodec(logs_in)
    with pytest.raises(ValidationError) as refused:
        codec.encode((Login("ada", "hunter2"), "not a number"), {})
    assert "not a number" not in str(refused.value)
    assert HIDDEN in str(refused.value)


Unsayable = Annotated[Any, WithJsonSchema({"type": "string", "writeOnly": True})]


def test_what_has_no_json_form_is_not_shown_either() -> None:
    def keeps(thing: Unsayable) -> None: ...

    codec = ArgumentsCodec(keeps)
    with pytest.raises(Unserialisable) as refused:
        codec.encode((Odd(),), {})
    assert "Odd" not in str(refused.value)
