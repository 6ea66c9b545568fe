"""Ids: version 7, in the order in which they were made, whatever the clock and the threads do."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterable
from uuid import RFC_4122, UUID

from hypothesis import given
from hypothesis import strategies as st

from mainspring import ids
from mainspring.ids import IdMaker


def maker(times: Iterable[int]) -> IdMaker:
    ticking = iter(times)
    return IdMaker(lambda: next(ticking), random.Random(1).getrandbits)


def real_maker() -> IdMaker:
    return IdMaker(lambda: time.time_ns() // 1_000_000, random.SystemRandom().getrandbits)


def test_an_id_is_a_uuid_of_version_7_with_the_time_in_front() -> None:
    text = maker([1_732_241_000_123])()
    parsed = UUID(text)
    assert str(parsed) == text
    assert (parsed.version, parsed.variant) == (7, RFC_4122)
    assert parsed.int >> 80 == 1_732_241_000_123


@given(st.lists(st.integers(0, 2**48 - 1), min_size=1, max_size=50))
def test_ids_only_rise_even_when_the_clock_goes_back(times: list[int]) -> None:
    make = maker(times)
    made = [make() for _ in times]
    assert made == sorted(set(made))


@given(st.integers(2, 2000))
def test_ids_of_one_millisecond_rise(count: int) -> None:
    make = maker([7] * count)
    made = [make() for _ in range(count)]
    assert made == sorted(set(made))


def test_counting_carries_over_the_parts_of_the_id() -> None:
    make = IdMaker(lambda: 1, lambda bits: 2**62 - 1)
    assert [make()[15:], make()[15:]] == ["000-bfff-ffffffffffff", "001-8000-000000000000"]


def test_ids_rise_in_each_thread_and_none_is_given_twice() -> None:
    make = real_maker()
    made: list[list[str]] = [[] for _ in range(4)]
    threads = [threading.Thread(target=lambda mine=mine: mine.extend(make() for _ in range(5000))) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(mine == sorted(mine) for mine in made)
    assert len({each for mine in made for each in mine}) == 20_000


def test_a_maker_that_begins_anew_counts_from_another_number() -> None:
    """What a forked child does first; here without a fork."""
    make = IdMaker(lambda: 7, random.SystemRandom().getrandbits)
    before = make()
    with make._lock:
        ids._begin_again()
        assert make() not in (before, f"{before[:-1]}{int(before[-1], 16) + 1 & 15:x}")


def test_a_forked_child_makes_other_ids_in_the_same_millisecond_even_if_the_lock_was_held() -> None:
    make = IdMaker(lambda: 7, random.SystemRandom().getrandbits)
    make()
    reading, writing = os.pipe()
    with make._lock:  # as another thread would hold it at the moment of the fork
        child = os.fork()
        if child == 0:
            os.write(writing, make().encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        theirs = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    ours = [make() for _ in range(100)]
    assert UUID(theirs).version == 7
    assert theirs not in ours
