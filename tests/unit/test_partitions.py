"""Which partition a job is in: by an argument or a function, and what can be a partition's name."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring import InvalidOption
from mainspring.model.partitions import Partitioning, partition_name

ID = "0199a0b4-5d11-7c3e-8f0a-2b9d6c1e4f70"


class Plan(StrEnum):
    FREE = "free"


class Level(IntEnum):
    HIGH = 3


class Odd(Enum):
    PAIR = ("a", "b")


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("acme", "acme"),
        ("Größe 7", "Größe 7"),
        ("", ""),
        (None, ""),
        (7, "7"),
        (-1, "-1"),
        (1.5, "1.5"),
        (True, "true"),
        (UUID(ID), ID),
        (Plan.FREE, "free"),
        (Level.HIGH, "3"),
    ],
)
def test_what_names_a_partition(value: object, name: str) -> None:
    assert partition_name(value) == name


@pytest.mark.parametrize(
    "value", [" a", "a\n", "a\x00", "\ud800", "x" * 201, 10**201, float("nan"), ["a"], {"a": 1}, b"a", Odd.PAIR]
)
def test_what_cannot_name_a_partition_is_shown(value: object) -> None:
    with pytest.raises(InvalidOption, match=r"^partition .*; (give|take)"):
        partition_name(value)


@given(st.text(max_size=50) | st.none() | st.integers() | st.booleans() | st.floats())
def test_a_name_is_text_that_names_itself(value: object) -> None:
    try:
        name = partition_name(value)
    except InvalidOption:
        return
    assert isinstance(name, str)
    assert partition_name(name) == name


def test_by_an_argument() -> None:
    rule = Partitioning("api", "tenant_id")
    assert rule.partition_of("sync", {"tenant_id": 7, "page": 1}) == "7"
    assert rule.partition_of("sync", {"tenant_id": None}) == ""


def test_a_task_without_that_argument_is_refused_with_the_ways_out() -> None:
    with pytest.raises(InvalidOption, match=r"queue 'api' .* 'tenant_id', which task 'sync' does not have; give"):
        Partitioning("api", "tenant_id").partition_of("sync", {"page": 1})


def test_by_a_function() -> None:
    def domain(args: Mapping[str, Any]) -> str:
        return str(args["email"]).partition("@")[2].lower()

    assert Partitioning("mail", domain).partition_of("greet", {"email": "a@B.c"}) == "b.c"


def test_a_value_that_names_nothing_is_refused_with_task_and_queue() -> None:
    with pytest.raises(InvalidOption, match=r"task 'sync' in queue 'api': partition \['a'\] is of type list"):
        Partitioning("api", "tenant").partition_of("sync", {"tenant": ["a"]})


@pytest.mark.parametrize("by", ["", "tenant id", 7, ("tenant",), None])
def test_what_cannot_tell_partitions_apart(by: Any) -> None:
    with pytest.raises(InvalidOption, match="of queue 'api' is neither"):
        Partitioning("api", by)
