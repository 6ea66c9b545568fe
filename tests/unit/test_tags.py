"""Tags, and the small pure parts that lists of jobs and entries are read by."""

from __future__ import annotations

from typing import Any

import pytest

from mainspring.errors import InvalidOption
from mainspring.model.audit import AuditEntry, cursor_at, place_in
from mainspring.model.cursors import read_cursor, some_of
from mainspring.model.job import Piece
from mainspring.model.options import JobOptions, check_tags
from mainspring.model.text import small


def test_tags_are_texts_each_once() -> None:
    assert check_tags(["vip", "import", "vip"]) == ("vip", "import")
    assert JobOptions.from_text(JobOptions(tags=("vip",)).to_text()).tags == ("vip",)
    assert JobOptions.from_text(JobOptions(secrets=(("card",),)).to_text()).secrets == (("card",),)


@pytest.mark.parametrize("tags", ["vip", 7, ["x" * 101], [f"tag {number}" for number in range(51)], [""], [3]], ids=str)
def test_what_cannot_be_tags_is_refused(tags: Any) -> None:
    with pytest.raises(InvalidOption):
        check_tags(tags)


def test_a_cursor_is_read_as_it_was_written() -> None:
    entry = AuditEntry("id", "ada", "queues.pause", "email", "{}", at=7)
    assert place_in(cursor_at(entry)) == (7, "id")
    assert read_cursor("live:7:id", ("live", "final")) == ("live", 7, "id")


@pytest.mark.parametrize("cursor", ["", "7", "other:7:id", "live:x:id", f"live:{2**63}:id", "live:7:\0"])
def test_a_cursor_that_no_page_gave_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidOption, match="cursor"):
        read_cursor(cursor, ("live", "final"))


def test_many_ids_are_gone_through_in_pieces_each_once() -> None:
    ids = ("b", "d", "a", "d", "c", "e")
    assert some_of(ids, 6, None) == (ids, None)
    first, cursor = some_of(ids, 2, None)
    second, further = some_of(ids, 2, cursor)
    assert (first, second, some_of(ids, 2, further)) == (("e", "d"), ("c", "b"), (("a",), None))
    for made_up in ("5", "live:2:", "ids:x:"):
        with pytest.raises(InvalidOption, match="cursor"):
            some_of(ids, 2, made_up)


def test_a_piece_knows_its_run() -> None:
    assert Piece("text", place=(3 << 32) + 5).lease == 3


def test_small_letters_are_those_of_ascii() -> None:
    assert small("ÄBC") == "Äbc"
