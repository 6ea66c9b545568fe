"""What follows from the signs of a worker, and when it is worn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mainspring.errors import InvalidOption
from mainspring.model.sizes import format_bytes, to_bytes
from mainspring.worker.bounds import Bounds
from mainspring.worker.post import CALM_SECONDS, FIRST_PAUSE, LONGEST_PAUSE, Post
from mainspring.worker.vitals import Signs, Vitals

WELL = Signs(
    name="host:1",
    pid=1,
    age=100.0,
    lease=30.0,
    claim_age=0.5,
    full_age=None,
    beat_age=9.0,
    heard_age=0.5,
    loop_age=0.1,
    running=3,
    begun=40,
    memory=1 << 20,
    quiet=False,
    stopping=False,
)


@pytest.mark.parametrize(
    ("change", "ailment", "hindrance"),
    [
        ({}, None, None),
        ({"claim_age": None}, None, "it has not claimed yet"),
        ({"claim_age": 9.0}, None, "its last successful claim was 9.0 s ago"),
        ({"claim_age": 900.0, "full_age": 1.0}, None, None),
        ({"claim_age": 900.0, "full_age": 9.0}, None, "its last successful claim was 9.0 s ago"),
        ({"heard_age": 9.0}, None, "the store has not answered its heart for 9.0 s"),
        ({"quiet": True}, None, "it is quiet"),
        ({"stopping": True}, None, "it is stopping"),
        ({"beat_age": 31.0}, "no heartbeat has been answered for 31 s", "no heartbeat"),
        ({"beat_age": None}, "no heartbeat has been answered for 1 min", "no heartbeat"),
        ({"beat_age": None, "claim_age": None, "heard_age": None, "age": 3.0}, None, "it has not claimed yet"),
        ({"loop_age": 6.0}, "its event loop has been blocked for 6.0 s", "its event loop"),
    ],
)
def test_each_lapse_has_its_reason(change: dict[str, Any], ailment: str | None, hindrance: str | None) -> None:
    signs = replace(WELL, **change)
    for said, expected in ((signs.ailment(), ailment), (signs.hindrance(), hindrance)):
        assert (said or "").startswith(expected or "")
        assert bool(said) is bool(expected)


def test_signs_grow_old() -> None:
    assert WELL.older(3).hindrance() is None
    assert "claim" in (WELL.older(5).hindrance() or "")
    assert "heartbeat" in (WELL.older(25).ailment() or "")


def test_a_beat_that_did_not_renew_the_lease_is_none() -> None:
    """A store that answers "you are given up" keeps nobody alive."""
    now = 0.0
    vitals = Vitals(lambda: now)
    vitals.heard(renewed=True)
    now = 20.0
    vitals.heard(renewed=False)
    now = 31.0
    vitals.heard(renewed=False)
    vitals.claimed()
    signs = vitals.signs("host:1", 30.0, quiet=False, stopping=False)
    assert (signs.beat_age, signs.heard_age, signs.claim_age) == (31.0, 0.0, 0.0)
    assert signs.ailment() is not None


def test_bounds_are_reached_by_jobs_memory_or_age() -> None:
    assert not Bounds()
    assert Bounds().reached(WELL) is None
    assert Bounds(jobs=41, memory=2 << 20, age=101).reached(WELL) is None
    assert Bounds(jobs=40).reached(WELL) == "it has begun 40 jobs"
    assert Bounds(memory=1 << 20).reached(WELL) == "it has 1 MB of memory"
    assert Bounds(age=100).reached(WELL) == "it is 1 min old"


def test_not_all_reach_their_bounds_at_once() -> None:
    spread = [Bounds(jobs=1000, memory=1000, age=1000).spread() for _ in range(100)]
    assert len({each.jobs for each in spread}) > 20
    assert all(900 <= (each.jobs or 0) <= 1000 and 900 <= (each.age or 0) <= 1000 for each in spread)
    assert {each.memory for each in spread} == {1000}
    assert Bounds(jobs=1).spread().jobs == 1


def test_a_post_is_filled_ever_more_slowly_until_somebody_lives() -> None:
    post = Post(Bounds())
    pauses = [post.vacate(1.0, "it died") for _ in range(12)]
    assert all(FIRST_PAUSE * 2**n / 2 <= pause <= FIRST_PAUSE * 2**n for n, pause in enumerate(pauses[:8]))
    assert all(LONGEST_PAUSE / 2 <= pause <= LONGEST_PAUSE for pause in pauses[9:])
    assert post.vacate(CALM_SECONDS, "it died") <= FIRST_PAUSE
    assert post.vacate(1.0, "it died") > FIRST_PAUSE / 2
    assert [each.ailment for each in post.health()] == ["it died"]
    post.forgive()
    assert post.vacate(1.0, "it died") <= FIRST_PAUSE


@pytest.mark.parametrize(
    ("text", "size"),
    [("512MB", 512 << 20), ("512 mib", 512 << 20), ("1.5GB", 3 << 29), ("64k", 64 << 10), ("100", 100), (4096, 4096)],
)
def test_sizes_are_read(text: str | int, size: int) -> None:
    assert to_bytes(text) == size


@pytest.mark.parametrize("text", ["", "MB", "lots", "-1MB", "0", "1e9", "5 PB", "1 000 MB", True, None, 1.5])
def test_what_is_no_size_is_refused(text: Any) -> None:
    with pytest.raises(InvalidOption, match="cannot be read"):
        to_bytes(text)


def test_sizes_are_written_in_their_largest_unit() -> None:
    assert [format_bytes(size) for size in (0, 1023, 1024, 1 << 30, 1010 << 20)] == [
        "0 B",
        "1023 B",
        "1 KB",
        "1 GB",
        "1010 MB",
    ]
