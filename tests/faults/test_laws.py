"""The laws tell what is right from what is wrong, also where only task functions were asked what they saw."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainspring.model.schedule import tick_id

from .events import (
    Acknowledged,
    Altered,
    Ended,
    Event,
    Fault,
    FaultsOver,
    Found,
    Limited,
    Moved,
    Offered,
    Renewed,
    Started,
    Ticking,
    from_line,
    to_line,
)
from .history import HistoryFile, check, liveness, read, safety


def offered(job: str = "j", **more: object) -> Offered:
    return Offered(at=0.0, job=job, task="t", **more)  # type: ignore[arg-type]


def started(at: float, lease: int = 1, process: str = "p", job: str = "j", attempt: int = 1) -> Started:
    return Started(at=at, job=job, lease=lease, process=process, attempt=attempt, claimed_ms=int(at * 1000), task="t")


def ended(at: float, lease: int = 1, process: str = "p", job: str = "j") -> Ended:
    return Ended(at=at, job=job, lease=lease, process=process, how="returned")


def found(job: str = "j", state: str = "completed", lease: int = 1, *ends: str) -> Found:
    return Found(at=99.0, job=job, task="t", state=state, lease=lease, attempt=1, crashes=0, ends=ends)


def moved(at: float, was: str, state: str, by: str, lease: int = 0, **more: object) -> Moved:
    return Moved(at=at, job="j", was=was, state=state, by=by, lease=lease, **more)  # type: ignore[arg-type]


def fault(at: float, what: str, process: str = "p") -> Fault:
    return Fault(at=at, process=process, what=what)  # type: ignore[arg-type]


RUN = [offered(), Acknowledged(at=0.1, job="j"), started(1), ended(2), found()]
NARROW = Limited(at=0, gate="task", name="t", concurrency=1)
RATED = Limited(at=0, gate="task", name="t", rates=((1, 1000),))
TICKING = Ticking(at=9, schedule="s", every_ms=1000, since_ms=1000, until_ms=2000)
IN_STORE = [
    offered(),
    moved(0.1, "", "queued", "insert"),
    moved(1, "queued", "running", "claim", 1, worker="w", attempt=1),
    moved(2, "running", "completed", "settle", 1, named=1, attempt=1),
    found(),
]

DELETED = [offered(), Acknowledged(at=1, job="j"), Altered(at=2, job="j", verb="delete")]
HELD = [*RUN[:3], fault(2, "frozen"), started(9, 2, "q"), ended(10), found("j", "completed", 2)]
REVIVED = [*RUN[:-1], Altered(at=3, job="j", verb="revive"), started(4, 2), ended(5, 2)]

RIGHT: dict[str, list[Event]] = {
    "a plain run": RUN,
    "a plain run, as the store saw it": IN_STORE,
    "nobody was told that it is there": [offered()],
    "turned away": [offered(), Acknowledged(at=1, job="j", stored=False)],
    "deleted": [*DELETED, offered("x"), found("x")],
    "given out anew while its worker was held": HELD,
    "one after the other": [NARROW, *RUN, offered("k"), started(2, job="k"), ended(3, job="k"), found("k")],
    "slow enough": [RATED, offered(), offered("k"), started(1), started(2, job="k")],
    "each slot": [TICKING, *(found(tick_id("s", slot)) for slot in (1000, 2000))],
    "revived": [*REVIVED, found("j", "completed", 2, "completed", "completed")],
}

WRONG: dict[str, tuple[str, list[Event]]] = {
    "acknowledged and gone": ("lost", [*RUN[:-1], offered("x"), found("x")]),
    "nobody asked for it": ("unexpected", [*RUN, found("x")]),
    "ran though nobody asked for it": ("unexpected", RUN[2:4]),
    "still waiting": ("unfinished", [offered(), FaultsOver(at=5), found("j", "queued")]),
    "a slot without its job": ("ticks", [TICKING, found(tick_id("s", 1000))]),
    "two at once": ("overlap", [offered(), started(1), started(2, 2, "q"), ended(3), ended(3, 2)]),
    "an older lease later": ("leases", [offered(), started(1, 2), ended(2, 2), started(3, 1, "q")]),
    "completed twice": ("settled twice", [*RUN[:-1], found("j", "completed", 2, "completed", "completed")]),
    "a run after the last one": ("leases", [*RUN[:-1], started(3, 5), found()]),
    "one too many": ("concurrency", [NARROW, offered(), offered("k"), started(1), started(2, job="k")]),
    "too fast": ("rate", [RATED, offered(), offered("k"), started(1), started(1.999, job="k")]),
    "one key, two jobs": ("key", [offered(keys=("a",)), offered("k", keys=("a",)), started(1), started(2, job="k")]),
    "a child before its parent": ("child", [*RUN, offered("k", parents=("j",)), started(1.5, job="k"), found("k")]),
    "one attempt too many": ("attempts", [offered(attempts=1), started(1, attempt=2)]),
    "a stale write": ("stale", [*IN_STORE[:3], moved(2, "running", "completed", "settle", 1, named=0)]),
    "settled in the store twice": ("moves", [*IN_STORE, moved(3, "completed", "dead", "settle", 1, named=1)]),
    "claimed while it ran": ("moves", [*IN_STORE[:3], moved(2, "running", "running", "claim", 2)]),
    "taken from the living": (
        "early reap",
        [Renewed(at=1, worker="w", process="p", until=30), *IN_STORE[:3], moved(9, "running", "running", "reap", 2)],
    ),
    "left behind by a stop": (
        "stop",
        [Renewed(at=1, worker="w", process="p", until=30), *IN_STORE[:3], fault(2, "stopping"), fault(3, "stopped")],
    ),
    "found too late": (
        "recovery",
        [
            *[fault(0, "begun"), fault(0, "begun", "q"), fault(1.5, "killed")],
            *[Renewed(at=1, worker="w", process="p", until=30), *IN_STORE[:3]],
            moved(37, "running", "running", "reap", 2, worker="v"),
        ],
    ),
    "begun under a lost lease": (
        "stale start",
        [*IN_STORE[:3], moved(2, "running", "running", "reap", 2, worker="v"), started(3, 1)],
    ),
    "an innocent's crash": ("crashes", [*IN_STORE[:3], moved(2, "running", "queued", "settle", 1, named=1, crashes=1)]),
}


@pytest.mark.parametrize("what", RIGHT)
def test_what_is_right_breaks_no_law(what: str) -> None:
    assert check(sorted(RIGHT[what], key=lambda event: event.at)) == []


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_breaks_its_law(what: str) -> None:
    law, history = WRONG[what]
    assert law in {violation.law for violation in check(sorted(history, key=lambda event: event.at))}


def test_what_is_late_is_not_unsafe() -> None:
    law, history = WRONG["still waiting"]
    assert safety(history) == []
    assert [violation.law for violation in liveness(history)] == [law]


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    """The last line of a process that was killed may be torn."""
    with HistoryFile(tmp_path / "a.jsonl") as file:
        for event in reversed(IN_STORE):
            file.add(event)
    (tmp_path / "b.jsonl").write_text(to_line(NARROW) + "\n" + to_line(RATED)[:20])
    assert read([tmp_path / "a.jsonl", tmp_path / "b.jsonl"]) == sorted(
        [*reversed(IN_STORE), NARROW], key=lambda e: e.at
    )
    assert [from_line(to_line(event)) for event in RUN] == RUN
