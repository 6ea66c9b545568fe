"""Quarantine: which suspects may begin, and when the others are to come again."""

from __future__ import annotations

from dataclasses import replace

from mainspring.model.job import Claim
from mainspring.worker.quarantine import Quarantine

SUSPECT = Claim("a", 1, "task", "default", "{}", 5, 1, 1, 0, 0, 0, 0, "worker", "[]")


def suspect(id: str, crashes: int = 1) -> Claim:
    return replace(SUSPECT, id=id, crashes=crashes)


def test_one_begins_at_a_time_and_the_others_come_again_one_after_the_other() -> None:
    quarantine = Quarantine()
    assert quarantine.enter(suspect("a")) is None
    assert quarantine.closed
    assert [quarantine.enter(suspect(id)) for id in "bcd"] == [150, 300, 450]
    quarantine.open(suspect("a"))
    assert not quarantine.closed
    assert quarantine.enter(suspect("b")) is None
    assert quarantine.enter(suspect("c")) == 150


def test_who_ends_makes_room_at_once() -> None:
    quarantine = Quarantine()
    quarantine.enter(suspect("a"))
    quarantine.leave(suspect("a"))
    assert not quarantine.closed
    assert quarantine.enter(suspect("b", crashes=2)) is None


def test_with_two_crashes_a_job_runs_alone_to_its_end() -> None:
    quarantine = Quarantine(chance=lambda: 0.5)
    quarantine.enter(suspect("a", crashes=2))
    quarantine.open(suspect("a"))
    assert quarantine.enter(suspect("b")) == quarantine.enter(suspect("c", crashes=2)) == 1000
    assert not quarantine.closed
    quarantine.leave(suspect("a"))
    assert quarantine.enter(suspect("b")) is None


def test_and_does_not_begin_beside_another_suspect() -> None:
    quarantine = Quarantine(chance=lambda: 0.0)
    quarantine.enter(suspect("a"))
    quarantine.open(suspect("a"))
    assert quarantine.enter(suspect("b", crashes=2)) == 500
    assert quarantine.enter(suspect("c")) is None


def test_a_job_that_is_not_inside_opens_nothing() -> None:
    quarantine = Quarantine()
    quarantine.enter(suspect("a"))
    quarantine.open(suspect("b"))
    quarantine.leave(replace(suspect("a"), lease=2))
    assert quarantine.closed
