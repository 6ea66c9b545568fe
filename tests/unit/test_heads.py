"""Heads: from where claims look for jobs, how long that may go on, and what puts an end to it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from mainspring.model.job import Claim
from mainspring.store.base import Room
from mainspring.store.postgres.heads import (
    END,
    LONGEST_SECONDS,
    MOST,
    SHARE,
    SHORTEST_SECONDS,
    SLOW_US,
    Heads,
    Look,
    Place,
)

QUICK_US = SLOW_US - 1


def job(run_at: int, queue: str = "default", priority: int = 5) -> Claim:
    return Claim(
        f"job {run_at}", 1, "task", queue, "{}", priority, 1, 0, 0, run_at, run_at, run_at, "w", "[]", None, False
    )


class Program:
    """Heads, with a clock that the test holds, and claims that use them."""

    def __init__(self) -> None:
        self.now = 100.0
        self.heads = Heads(lambda: self.now)

    def place(self, queue: str = "default") -> Place | None:
        """Where the next claim begins in it; None: at the beginning."""
        head = self.heads.of([Room(queue, 10)]).get(queue)
        return None if head is None else head.place

    def claim(self, *claims: Claim, took_us: int = 0, queues: Sequence[str] = ("default",)) -> None:
        """One look into each queue, from its head if it has one, that finds these jobs."""
        used = self.heads.of(Room(queue, 10) for queue in queues)
        self.heads.learn(used, [Look(queue, queue not in used, took_us) for queue in queues], claims)

    def complete(self, *claims: Claim, took_us: int) -> None:
        """A look from the head that does not fill the claim, and so another one from the beginning."""
        used = self.heads.of([Room("default", 10)])
        self.heads.learn(used, [Look("default", False, 0), Look("default", True, took_us)], claims)


@pytest.fixture
def program() -> Program:
    return Program()


def test_claims_begin_at_the_beginning_as_long_as_looks_are_quick(program: Program) -> None:
    program.claim(job(1), took_us=QUICK_US)
    assert program.place() is None


def test_after_a_slow_look_they_begin_where_the_last_one_ended(program: Program) -> None:
    program.claim(job(1), job(2), took_us=SLOW_US)
    assert program.place() == (5, 2, "job 2")
    program.claim(job(3), job(4))
    assert program.place() == (5, 4, "job 4")


def test_the_time_counts_from_the_slow_look_however_many_claims_follow_and_however_slow_they_are(
    program: Program,
) -> None:
    program.claim(job(0), took_us=SLOW_US)
    end = program.now + SHORTEST_SECONDS
    for n in range(1, 100):
        program.now = end - 0.1 + n / 1000
        program.claim(job(n), took_us=10 * SLOW_US)
    program.now = end - 0.0001
    assert program.place() == (5, 99, "job 99")
    program.now = end
    assert program.place() is None


def test_a_slow_claim_that_began_in_time_and_comes_back_too_late_does_not_prolong_it(program: Program) -> None:
    program.claim(job(0), took_us=SLOW_US)
    used = program.heads.of([Room("default", 10)])
    program.now += SHORTEST_SECONDS
    program.heads.learn(used, [Look("default", False, SLOW_US)], [job(1)])
    assert program.place() is None


def test_after_an_idle_time_the_first_claim_begins_at_the_beginning(program: Program) -> None:
    program.claim(job(1), took_us=SLOW_US)
    program.now += 3600
    assert program.place() is None


def test_looks_from_the_beginning_get_a_tenth_of_the_time_up_to_a_limit(program: Program) -> None:
    for took_us in (SLOW_US, 100_000, 400_000, 3_000_000):
        program.claim(job(1), took_us=took_us)
        seconds = min(max(SHORTEST_SECONDS, SHARE * took_us / 1e6), LONGEST_SECONDS)
        program.now += seconds - 0.001
        assert program.place() is not None
        program.now += 0.002
        assert program.place() is None


@pytest.mark.parametrize("took_us", [-3_600_000_000, 3_600_000_000])
def test_a_server_whose_clock_is_set_meanwhile_costs_no_more_than_the_limit(program: Program, took_us: int) -> None:
    program.claim(job(1), took_us=took_us)
    program.now += LONGEST_SECONDS
    assert program.place() is None


def test_a_quick_look_from_the_beginning_ends_it_at_once(program: Program) -> None:
    program.claim(job(1), took_us=SLOW_US)
    program.complete(job(2), took_us=QUICK_US)
    assert program.place() is None


def test_a_claim_that_was_completed_from_the_beginning_counts_as_such_a_look(program: Program) -> None:
    program.claim(job(1), took_us=SLOW_US)
    program.now += SHORTEST_SECONDS - 0.001
    program.complete(job(7), job(3, priority=1), took_us=SLOW_US)
    program.now += SHORTEST_SECONDS - 0.001
    assert program.place() == (1, 3, "job 3"), "there may be more between this one and the former head"


def test_each_queue_has_its_own(program: Program) -> None:
    program.claim(job(1, "a"), job(2, "b"), took_us=SLOW_US, queues=("a", "b", "a"))
    program.claim(job(3, "a"), queues=("a",))
    assert (program.place("a"), program.place("b"), program.place("c")) == ((5, 3, "job 3"), (5, 2, "job 2"), None)


def test_a_queue_that_was_slow_and_empty_is_left_alone_for_that_time(program: Program) -> None:
    program.claim(job(1, "full"), took_us=SLOW_US, queues=("empty", "full"))
    assert program.place("empty") == END > (1000, 2**43, "z")
    program.claim(job(2, "full"), queues=("empty", "full"))
    assert program.place("empty") == END
    program.now += SHORTEST_SECONDS
    assert program.place("empty") is None


def test_a_queue_into_which_nobody_looked_is_as_it_was(program: Program) -> None:
    program.claim(job(1, "first"), took_us=SLOW_US, queues=("first",))
    assert program.place("second") is None


def test_no_more_than_so_many_queues_are_known(program: Program) -> None:
    for n in range(2 * MOST + 1):
        program.claim(job(n, f"q{n}"), took_us=SLOW_US, queues=(f"q{n}",))
    known = program.heads.of(Room(f"q{n}", 1) for n in range(2 * MOST + 1))
    assert 0 < len(known) <= MOST
