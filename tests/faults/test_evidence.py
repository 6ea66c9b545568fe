"""The laws about what only a run of real programs can see notice what they are about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from .chaos.evidence import more_violations, renamed
from .chaos.records import Existed, Kept, Ordered, Settled, Written
from .events import Acknowledged, Ended, Event, Fault, Offered, Started

LEASE = 5.0


def kept(job: str = "a", **facts: object) -> Kept:
    usual = Kept(
        at=90,
        job=job,
        token=f"token {job}",
        lease=1,
        state="completed",
        result_lease=1,
        error_lease=None,
        reason="",
        ran=(("w1", 10_000, 11_000, "completed"),),
        created_ms=9_000,
        finished_ms=11_000,
    )
    return replace(usual, **facts)  # type: ignore[arg-type]


def offered(job: str = "a", task: str = "quick") -> Offered:
    return Offered(at=9, job=job, task=task)


def started(job: str = "a", lease: int = 1, claimed: int = 10_000, **facts: object) -> Started:
    usual = Started(at=claimed / 1000, job=job, lease=lease, process="worker 1", attempt=1, claimed_ms=claimed)
    return replace(usual, **facts)  # type: ignore[arg-type]


def ended(job: str = "a", lease: int = 1, at: float = 11) -> Ended:
    return Ended(at=at, job=job, lease=lease, process="worker 1", how="returned")


def settled(job: str = "a", lease: int = 1, how: str = "completed", at: float = 11.1) -> Settled:
    return Settled(at=at, job=job, lease=lease, process="worker 1", how=how)


def fault(what: str, at: float, process: str = "worker 1") -> Fault:
    return Fault(at=at, process=process, what=what)  # type: ignore[arg-type]


GOOD: list[Event] = [fault("begun", 1), offered(), started(), ended(), settled(), kept()]

LOST = kept(lease=3, result_lease=3, ran=(("w1", 10_000, 20_000, "lost"), ("w2", 21_000, 22_000, "completed")))


def test_a_history_in_which_nothing_is_wrong_breaks_no_law() -> None:
    assert more_violations(GOOD, LEASE) == []


@pytest.mark.parametrize(
    ("law", "history"),
    [
        ("copies", [*GOOD, kept("b", token="token a")]),
        ("stale", [*GOOD[:-1], kept(lease=3)]),
        ("stale", [*GOOD[:-1], kept(state="dead", reason="attempts used up (4 of 4)", error_lease=2, lease=4)]),
        ("settled twice", [*GOOD, settled()]),
        ("settled twice", [*GOOD, settled(lease=2)]),
        ("trace", [*GOOD[:-1], kept(ran=())]),
        ("lost lease", [fault("begun", 1), started(), LOST]),
        ("lost lease", [fault("begun", 1), started(), fault("stopping", 12), fault("stopped", 13), LOST]),
        ("lost lease", [fault("begun", 1), started(), fault("begun", 14), fault("killed", 15), LOST]),
        ("key", [*GOOD, Existed(at=20, job="b", holder="a", since=19)]),
        ("transaction", [*GOOD, Ordered(at=12, job="a", done=True)]),
        ("transaction", [*GOOD, Ordered(at=12, job="b", done=True), Written(at=80, job="b")]),
        ("transaction", [*GOOD, Ordered(at=12, job="a", done=False), Written(at=80, job="a")]),
        ("transaction", [*GOOD, offered("a", "completing")]),
        ("leases", [*GOOD, started()]),
        (
            "sequence",
            [
                started("a", 1, 10_000, queue="lines", partition="x"),
                started("b", 1, 11_000, queue="lines", partition="x"),
                started("a", 2, 12_000, queue="lines", partition="x"),
            ],
        ),
    ],
)
def test_each_law_notices_what_it_is_about(law: str, history: list[Event]) -> None:
    assert law in {violation.law for violation in more_violations(history, LEASE)}


@pytest.mark.parametrize(
    "excuse",
    [
        [fault("killed", 12)],
        [fault("frozen", 9), fault("thawed", 25)],
        [fault("cut", 9, ""), fault("mended", 16, "")],
        [fault("hurried", 12)],
    ],
)
def test_who_was_killed_stopped_or_cut_off_may_lose_its_lease(excuse: list[Event]) -> None:
    assert more_violations([fault("begun", 1), started(), *excuse, LOST], LEASE) == []


def test_an_order_that_broke_off_may_be_there_or_not_but_not_by_halves() -> None:
    unknown = Ordered(at=12, job="a", done=None)
    assert more_violations([*GOOD, unknown, Written(at=80, job="a")], LEASE) == []
    assert more_violations([unknown], LEASE) == []
    assert more_violations([*GOOD, unknown], LEASE) != []


def test_jobs_get_their_ids_once_they_are_found() -> None:
    history = renamed([replace(offered("token a"), parents=("token b",)), Acknowledged(at=9, job="token a"), kept()])
    assert isinstance(history[0], Offered)
    assert (history[0].job, history[0].parents) == ("a", ("token b",))
    assert isinstance(history[1], Acknowledged)
    assert history[1].job == "a"
