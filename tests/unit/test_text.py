"""Foreign text: shown and stored whatever is in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.model.text import clean, cut, quote

any_text = st.text(st.characters(codec=None), max_size=300)


@given(any_text, st.integers(10, 200), st.booleans())
def test_a_cut_text_is_clean_and_within_its_limit(text: str, limit: int, keep_end: bool) -> None:
    short = cut(text, limit, keep_end=keep_end)
    assert len(short.encode()) <= limit
    assert "\x00" not in short
    assert cut(short, limit, keep_end=keep_end) == short


@given(any_text)
def test_cleaning_changes_only_what_no_store_or_terminal_should_get(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned) == len(text)
    for before, after in zip(text, cleaned, strict=True):
        assert after in (before, "\ufffd")


def test_tabs_and_line_ends_stay_and_escape_sequences_do_not() -> None:
    assert clean("a\tb\r\nc \x1b[31mred") == "a\tb\r\nc \ufffd[31mred"


def test_a_cut_text_keeps_its_beginning_or_both_ends() -> None:
    assert cut("a" * 50 + "z" * 50, 20) == "a" * 15 + " … "
    assert cut("a" * 50 + "z" * 50, 20, keep_end=True) == "a" * 5 + " … " + "z" * 10


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError


class HostileList(list):  # type: ignore[type-arg]
    __name__ = "list"

    def __len__(self) -> int:
        raise RuntimeError


HostileList.__name__ = "list"


VALUES = [Hostile(), HostileList(), 10**5000, "x" * 10**6, [[[[[[1]]]]]], "\ud800\x1b"]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_any_value_can_be_quoted_shortly(value: object) -> None:
    assert 0 < len(quote(value)) < 200
    assert quote(value).encode()
