"""What a worker counts, and how it is handed to the heartbeat."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest

from mainspring.model.job import Claim
from mainspring.model.outcome import ErrorRecord, Outcome
from mainspring.model.stats import MINUTE_MS, Numbers, Report
from mainspring.model.transitions import decide
from mainspring.store.base import BeatReply, BeatRequest, Presence
from mainspring.worker.counters import CELLS_AT_ONCE, Counters
from mainspring.worker.pulse import Pulse
from mainspring.worker.settler import Settled
from mainspring.worker.vitals import Vitals

AT = 1_700_000_000_000
MINUTE = AT // MINUTE_MS * MINUTE_MS
CLAIM = Claim(
    id="j",
    lease=1,
    task="task",
    queue="default",
    args="{}",
    priority=5,
    attempt=1,
    crashes=0,
    postponed=0,
    created_at=AT - 50,
    run_at=AT - 30,
    started_at=AT,
    worker="w",
    history="[]",
)
ERROR = ErrorRecord("ValueError", "", "")


def settled(outcome: Outcome, claim: Claim = CLAIM, ms: int = 5) -> Settled:
    return Settled(claim, outcome, decide(claim, outcome, claim.started_at + ms), claim.started_at + ms)


def numbers(*reports: Report) -> dict[tuple[int, str, str], Numbers]:
    """What was reported, by minutes after the first claim, queue and task."""
    return {
        ((cell.at - MINUTE) // MINUTE_MS, cell.queue, cell.task): dict(cell.numbers)
        for report in reports
        for cell in report.cells
    }


@pytest.mark.parametrize(
    ("outcome", "claim", "counted"),
    [
        (Outcome.completed("1"), CLAIM, {"completed": 1, "run": 5, "run:5": 1}),
        (Outcome.failed(ERROR), CLAIM, {"failed": 1, "retried": 1, "run": 5, "run:5": 1}),
        (Outcome.failed(ERROR), replace(CLAIM, attempt=8), {"failed": 1, "dead": 1, "run": 5, "run:5": 1}),
        (Outcome.buried("why"), CLAIM, {"failed": 1, "dead": 1, "run": 5, "run:5": 1}),
        (Outcome.cancelled("why"), CLAIM, {"cancelled": 1}),
        (Outcome.lost(), CLAIM, {"crashed": 1}),
        (Outcome.lost(), replace(CLAIM, crashes=2), {"crashed": 1, "dead": 1}),
        (Outcome.rate_limited(1000), CLAIM, {"limited": 1}),
        (Outcome.snoozed(1000), CLAIM, {}),
        (Outcome.unknown("task"), CLAIM, {}),
        (Outcome.returned(), CLAIM, {}),
    ],
)
def test_each_end_of_a_run_counts_as_what_it_is(outcome: Outcome, claim: Claim, counted: Numbers) -> None:
    counters = Counters("s")
    counters.settled([settled(outcome, claim)])
    assert list(numbers(*counters.report()).values()) == [counted]


def test_a_start_counts_with_how_long_it_was_due() -> None:
    counters = Counters("s")
    counters.started(CLAIM)
    counters.started(replace(CLAIM, run_at=AT + 3))
    assert numbers(*counters.report()) == {
        (0, "default", "task"): {"started": 2, "wait": 30, f"wait:{15}": 1, "wait:0": 1}
    }


def test_each_minute_queue_and_task_is_counted_by_itself() -> None:
    counters = Counters("s")
    later = replace(CLAIM, started_at=MINUTE + MINUTE_MS, task="other", queue="email")
    counters.settled([settled(Outcome.completed("1")), settled(Outcome.completed("1"), later, ms=-5)])
    assert numbers(*counters.report()) == {
        (0, "default", "task"): {"completed": 1, "run": 5, "run:5": 1},
        (0, "email", "other"): {"completed": 1, "run:0": 1},
    }


def test_a_report_is_the_same_until_it_was_heard() -> None:
    counters = Counters("s")
    assert counters.report() == ()
    counters.started(CLAIM)
    first = counters.report()
    counters.started(CLAIM)
    assert counters.report() == first
    counters.heard(())
    assert counters.report() == first
    counters.heard(first)
    (second,) = counters.report()
    assert (first[0].number, second.number, second.source) == (1, 2, "s")
    assert [cell.numbers["started"] for report in (first[0], second) for cell in report.cells] == [1, 1]
    counters.heard((second,))
    assert counters.report() == ()


def test_the_rest_is_all_that_was_not_heard() -> None:
    counters = Counters("s")
    counters.started(CLAIM)
    unheard = counters.report()
    for number in range(CELLS_AT_ONCE + 1):
        counters.started(replace(CLAIM, task=f"{number}"))
    rest = counters.rest()
    assert rest[:1] == unheard
    assert [report.number for report in rest] == [1, 2, 3]
    assert [len(report.cells) for report in rest] == [1, CELLS_AT_ONCE, 1]
    assert counters.rest() == unheard


def test_what_cannot_be_stored_is_let_go() -> None:
    counters = Counters("s")
    counters.started(CLAIM)
    counters.report()
    counters.forget()
    assert counters.report() == ()


def test_nothing_is_lost_or_doubled_between_two_threads() -> None:
    counters, reported, done = Counters("s"), list[Report](), threading.Event()

    def beat() -> None:
        while not done.is_set():
            reports = counters.report()
            reported.extend(reports)
            counters.heard(reports)

    thread = threading.Thread(target=beat)
    thread.start()
    for _ in range(5000):
        counters.started(CLAIM)
        counters.settled([settled(Outcome.completed("1"))] * 3)
    done.set()
    thread.join()
    reported += counters.rest()
    cells = [cell.numbers for report in reported for cell in report.cells]
    assert sum(cell.get("started", 0) for cell in cells) == 5000
    assert sum(cell.get("completed", 0) for cell in cells) == 15_000


def test_what_one_report_does_not_hold_comes_with_the_next_look() -> None:
    """And not a beat later: else a worker of very many queues would count more than it could ever report."""
    counters, clock, loop = Counters("s"), [0.0], asyncio.new_event_loop()
    for number in range(2 * CELLS_AT_ONCE + 1):
        counters.started(replace(CLAIM, task=f"{number}"))
    pulse = Pulse(
        presence=lambda: Presence("w", "w", (), (), 1, 0, 30_000),
        heard=lambda worker, reply: None,
        renewed=lambda worker, at: None,
        running_here=lambda task: None,
        beat_seconds=10,
        vitals=Vitals(),
        counters=counters,
        monotonic=lambda: clock[0],
    )
    beats, reported = pulse.beats(loop, threading.get_ident()), []
    step = next(beats)
    while clock[0] < 25:
        if isinstance(step, BeatRequest):
            reported += [(clock[0], len(report.cells)) for report in step.stats]
            step = beats.send(BeatReply(True, 0))
        else:
            clock[0] += step
            loop.run_until_complete(asyncio.sleep(0))  # it is not blocked
            step = next(beats)
    loop.close()
    assert reported == [(10, CELLS_AT_ONCE), (11, CELLS_AT_ONCE), (21, 1)]
