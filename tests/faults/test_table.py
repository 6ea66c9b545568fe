"""The table of faults in docs/reliability.md is what the tests' marks say, and has no empty cell."""

from __future__ import annotations

from .table import FAULTS, PAGE, STORES, covered, marks, page_with, table


def test_the_page_shows_what_the_marks_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page_with(table()), "run `make reliability`"


def test_every_fault_has_a_test_on_every_store_that_it_concerns() -> None:
    cells = covered()
    assert [
        (fault.name, store) for fault in FAULTS for store in fault.stores if not cells.get((fault.name, store))
    ] == []


def test_every_mark_names_a_fault_and_stores_that_it_concerns() -> None:
    concerned = {fault.name: set(fault.stores) for fault in FAULTS}
    assert [mark for mark in marks() if not set(mark.stores) <= concerned.get(mark.fault, set())] == []
    assert all(mark.stores for mark in marks())
    assert all(concerned[fault.name] <= set(STORES) for fault in FAULTS)
