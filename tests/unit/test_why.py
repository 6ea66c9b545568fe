"""Why a job is not running: each sentence, the order of the causes, times and plurals."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from mainspring.model.failure import to_text
from mainspring.model.job import JobRecord, Parent, Policy
from mainspring.model.limits import Rate
from mainspring.model.outcome import ErrorRecord, Outcome
from mainspring.model.states import LIVE, State
from mainspring.model.why import Ahead, Gate, Situation, WorkerSeen, explain


def at(text: str) -> int:
    return round(datetime.fromisoformat(f"2031-05-01T{text}").replace(tzinfo=UTC).timestamp() * 1000)


NOW = at("12:00:00.200")
JOB = JobRecord(
    id="j1",
    task="send",
    queue="api",
    state=State.QUEUED,
    args="{}",
    priority=5,
    attempt=0,
    crashes=0,
    postponed=0,
    lease=0,
    created_at=NOW - 1000,
    run_at=NOW - 1000,
    started_at=None,
    finished_at=None,
    worker=None,
    cancel_requested=False,
    progress=None,
    progress_text=None,
    result=None,
    error=None,
    reason=None,
    history="[]",
    options=None,
)
WORKER = WorkerSeen("w1", "host:1", ("api", "bulk"), ("send",), 10, 0, quiet=False, alive=True, beat_at=NOW - 500)
NOTHING = "nothing holds it back: the next worker with room takes it"


def told(job: JobRecord = JOB, *, workers: tuple[WorkerSeen, ...] = (WORKER,), **facts: Any) -> str:
    return explain(Situation(job, NOW, workers=workers, **facts))


def a(**changes: Any) -> JobRecord:
    return replace(JOB, **changes)


def scheduled(run_at: int, reason: str | None = None) -> JobRecord:
    return a(state=State.SCHEDULED, run_at=run_at, reason=reason)


def blocked(*parents: Parent, **changes: Any) -> JobRecord:
    return a(state=State.BLOCKED, parents=parents, **changes)


def parent(id: str, state: State | None = None, policy: Policy = Policy.FAIL) -> Parent:
    return Parent(id, policy, state)


def test_nothing_in_its_way() -> None:
    assert told() == NOTHING
    assert told(scheduled(NOW)) == NOTHING
    busy_elsewhere = {"api": 3, "bulk": 6, "other": 99}
    gate = Gate(concurrency=5, running=4, rates=(Rate(10),))
    assert told(queue=gate, partition=gate, task=gate, running=busy_elsewhere) == NOTHING


# --- its own ---------------------------------------------------------------------------------------------------------


def test_it_waits_for_parents() -> None:
    job = blocked(parent("a", State.COMPLETED), parent("b"), parent("c", State.DEAD), parent("d"))
    known = (a(id="b", task="charge", state=State.RUNNING), a(id="d", task="reserve"))
    assert told(job, others=known) == "waits for 2 of 4 parents: b (charge, running), d (reserve, queued)"
    assert told(job, others=known[:1]) == "waits for 2 of 4 parents: b (charge, running), d"
    assert told(blocked(parent("b"))) == "waits for 1 of 1 parent: b"


def test_of_many_parents_three_are_named() -> None:
    job = blocked(*(parent(f"p{number}") for number in range(10_000)))
    assert told(job) == "waits for 10,000 of 10,000 parents: p0, p1, p2, and 9,997 more"


def test_it_waits_for_a_death() -> None:
    job = blocked(parent("a", policy=Policy.DEAD), parent("b", State.COMPLETED, Policy.DEAD))
    assert told(job) == "waits for one of 2 parents to be dead: a"


def test_its_parents_have_just_ended() -> None:
    assert told(blocked(parent("a", State.COMPLETED))).startswith("its parents have ended")


@pytest.mark.parametrize(
    ("run_at", "when"),
    [
        (NOW + 3 * 3_600_000, "in 3 h (at 15:00:01 UTC)"),
        (NOW + 3 * 3_600_000 - 9, "in 3 h (at 15:00:01 UTC)"),
        (NOW + 90 * 60_000, "in 1 h 30 min (at 13:30:01 UTC)"),
        (NOW + 12_000, "in 12 s (at 12:00:13 UTC)"),
        (NOW + 59_999, "in 1 min (at 12:01:01 UTC)"),
        (NOW + 100, "in 100 ms (at 12:00:01 UTC)"),
        (NOW + 800, "in 800 ms (at 12:00:01 UTC)"),
        (NOW + 5 * 86_400_000, "in 5 d (at 2031-05-06 12:00:01 UTC)"),
    ],
)
def test_it_is_due_later(run_at: int, when: str) -> None:
    assert told(scheduled(run_at)) == f"is due {when}"


def test_it_is_tried_again() -> None:
    job = scheduled(NOW + 12_000, "attempt 2 of 8 failed: ValueError")
    assert told(job) == "is tried again in 12 s (at 12:00:13 UTC): attempt 2 of 8 failed: ValueError"
    assert told(scheduled(NOW + 12_000, "snoozed")).endswith(": snoozed")
    assert "second" not in told(scheduled(NOW + 12_000, "first\nsecond"))


def test_a_worker_put_it_back_because_it_does_not_know_the_task() -> None:
    job = scheduled(NOW + 5_000, Outcome.unknown("send").reason)
    stranger = replace(WORKER, tasks=("other",))
    assert (
        told(job, workers=(stranger,))
        == "no worker knows task 'send': it is looked at again in 5.0 s (at 12:00:06 UTC)"
    )
    # Meanwhile one has come that knows it.
    assert told(job, workers=(stranger, WORKER)).startswith("is tried again in 5.0 s (at 12:00:06 UTC): no worker that")


# --- what somebody has to see to -------------------------------------------------------------------------------------


def test_pauses() -> None:
    since = at("11:40:03.999")
    assert told(queue=Gate(since)) == "queue 'api' is paused since 11:40:03 UTC"
    yesterday = since - 86_400_000
    job = a(partition="acme")
    assert told(job, partition=Gate(yesterday)) == (
        "partition 'acme' of queue 'api' is paused since 2031-04-30 11:40:03 UTC"
    )
    assert told(job, queue=Gate(since), partition=Gate(since)) == (
        "queue 'api' is paused since 11:40:03 UTC, and partition 'acme' of queue 'api' is paused since 11:40:03 UTC"
    )


def test_nobody_works() -> None:
    gone = replace(WORKER, alive=False, beat_at=at("11:59:00"))
    quiet = replace(WORKER, quiet=True)
    assert told(workers=()) == "no worker is running"
    assert told(workers=(gone,)) == "no worker is running (the last was heard of at 11:59:00 UTC)"
    assert told(workers=(gone, quiet)) == ("no worker takes jobs (1 worker running, told to be quiet or stopping)")


def test_nobody_takes_its_queue() -> None:
    job = a(queue="gpu")
    assert told(job) == "no worker takes queue 'gpu' (workers take: 'api', 'bulk')"
    many = replace(WORKER, queues=tuple("dbaec"))
    assert told(job, workers=(many,)).endswith("(workers take: 'a', 'b', 'c', and 2 more)")
    taker_is_quiet = replace(WORKER, queues=("gpu",), quiet=True)
    assert told(job, workers=(WORKER, taker_is_quiet)).startswith("no worker takes queue 'gpu'")


def test_nobody_knows_its_task() -> None:
    job = a(task="x")
    assert told(job) == "no worker knows task 'x'"
    elsewhere = replace(WORKER, queues=("other",), tasks=("x",))
    assert told(job, workers=(WORKER, elsewhere)) == "no worker that takes queue 'api' knows task 'x'"


def test_a_dead_job_holds_up_the_sequence() -> None:
    job, dead = a(partition="acme"), a(id="h", task="book", state=State.DEAD)
    assert told(job, holder="h", others=(dead,)) == (
        "waits behind job h (book, dead: retry or delete it) in the sequence of partition 'acme'"
    )
    assert told(holder="h", others=(dead,)).endswith("in the sequence of queue 'api'")


# --- what passes by itself -------------------------------------------------------------------------------------------


def test_another_job_is_under_way_in_the_sequence() -> None:
    job = a(partition="acme")
    other = a(id="h", task="book", state=State.SCHEDULED)
    assert told(job, holder="h", others=(other,)) == (
        "waits behind job h (book, scheduled) in the sequence of partition 'acme'"
    )
    assert told(job, holder="h", others=(replace(other, state=State.COMPLETED),)) == NOTHING
    assert told(job, holder="h") == NOTHING
    assert told(job, holder=job.id, others=(job,)) == NOTHING


def test_gates_that_time_opens() -> None:
    second, minute = Rate(10, per="1s"), Rate(300, per="1m")
    assert told(queue=Gate(rates=(second,), opens_at=at("12:00:07"))) == (
        "gate of queue 'api' is closed until 12:00:07 UTC (rate 10/1s)"
    )
    assert told(queue=Gate(rates=(second, minute), opens_at=at("12:00:06.001"))).endswith(
        "until 12:00:07 UTC (rates 10/1s, 300/1m)"
    )
    assert told(task=Gate(opens_at=at("12:00:20"))) == "gate of task 'send' is closed until 12:00:20 UTC"
    closed = told(a(partition="acme"), partition=Gate(opens_at=at("12:00:20")), queue=Gate(opens_at=at("12:00:30")))
    assert closed == (
        "gate of queue 'api' is closed until 12:00:30 UTC, and "
        "gate of partition 'acme' of queue 'api' is closed until 12:00:20 UTC"
    )
    assert told(queue=Gate(rates=(second,), opens_at=NOW)) == NOTHING


def test_gates_that_are_full() -> None:
    assert told(queue=Gate(concurrency=50, running=50)) == "queue 'api' has 50 of 50 running"
    assert told(task=Gate(concurrency=3, running=3)) == "task 'send' has 3 of 3 running"
    assert told(task=Gate(concurrency=3, running=4)) == "task 'send' has 4 of 3 running"
    full = told(a(partition="acme"), partition=Gate(concurrency=5, running=5), queue=Gate(concurrency=8, running=8))
    assert full == "partition 'acme' of queue 'api' has 5 of 5 running, and queue 'api' has 8 of 8 running"


def test_busy_workers() -> None:
    assert told(running={"api": 4, "bulk": 6}) == "the worker that takes queue 'api' is busy (10 of 10 slots)"
    second = replace(WORKER, id="w2", queues=("api",), concurrency=2)
    assert told(workers=(WORKER, second), running={"api": 4, "bulk": 8}) == (
        "all workers that take queue 'api' are busy (12 of 12 slots)"
    )
    assert told(workers=(WORKER, second), running={"api": 4, "bulk": 7}) == NOTHING


def test_where_others_run_jobs_of_the_same_queues_heartbeats_tell_who_is_busy() -> None:
    other = replace(WORKER, id="w2", queues=("bulk",))
    assert told(workers=(WORKER, other), running={"api": 0, "bulk": 10}) == NOTHING
    assert "10 of 10" in told(workers=(replace(WORKER, running=10), other), running={"api": 4, "bulk": 16})


def test_a_cost_that_may_not_fit() -> None:
    dear, gate = a(cost=5), Gate(rates=(Rate(10),))
    assert told(dear, queue=gate) == "its cost of 5 may not fit yet into the rate 10/1s of queue 'api'"
    assert told(dear, queue=replace(gate, opens_at=NOW + 10)).startswith("gate of queue 'api' is closed until")
    assert told(queue=gate) == NOTHING


def test_others_before_it() -> None:
    assert told(ahead=Ahead(1)) == "is queued behind about 1 other"
    assert told(ahead=Ahead(1_000_000)) == "is queued behind about 1,000,000 others"
    assert told(ahead=Ahead(10_000, more=True)) == "is queued behind at least 10,000 others"
    assert told(queue=Gate(concurrency=5, running=5), ahead=Ahead(40)) == (
        "queue 'api' has 5 of 5 running, and it is queued behind about 40 others"
    )


# --- the order of causes ---------------------------------------------------------------------------------------------

IN_ORDER = [
    ("waits for 1 of 1 parent", {"job": {"state": State.BLOCKED, "parents": (parent("p"),)}}),
    ("is due in 1 h", {"job": {"run_at": NOW + 3_600_000}}),
    ("queue 'api' is paused", {"queue": {"paused_at": NOW}}),
    ("partition '' of queue 'api' is paused", {"partition": {"paused_at": NOW}}),
    ("no worker is running", {"workers": ()}),
]
PASSING = [
    ("waits behind job h (send, queued)", {"holder": "h", "others": (a(id="h"),)}),
    ("gate of task 'send' is closed", {"task": {"opens_at": NOW + 5000}}),
    ("partition '' of queue 'api' has 1 of 1", {"partition": {"concurrency": 1, "running": 1}}),
    ("queue 'api' has 1 of 1", {"queue": {"concurrency": 1, "running": 1}}),
    ("the worker that takes queue 'api' is busy", {"running": {"api": 10}}),
    ("is queued behind about 7", {"ahead": Ahead(7)}),
]


def with_all(causes: list[tuple[str, dict[str, Any]]]) -> str:
    facts: dict[str, Any] = {"job": {}, "queue": {}, "partition": {}, "task": {}}
    for _, change in causes:
        for name, value in change.items():
            facts[name] = facts[name] | value if isinstance(value, dict) and name in facts else value
    gates = {name: Gate(**facts.pop(name)) for name in ("queue", "partition", "task")}
    return told(a(**facts.pop("job")), **gates, **facts)


@pytest.mark.parametrize("order", [IN_ORDER, PASSING])
def test_the_first_cause_that_stands_is_said_and_the_one_after_it(order: list[tuple[str, dict[str, Any]]]) -> None:
    for place in range(len(order) - 1):
        first, _, second = with_all(order[place:]).partition(", and ")
        assert first.startswith(order[place][0])
        assert second.removeprefix("it ").startswith(order[place + 1][0])
    assert with_all(order[-1:]).startswith(order[-1][0])


@pytest.mark.parametrize("lasting", IN_ORDER, ids=lambda cause: cause[0])
def test_what_passes_by_itself_is_not_said_of_a_job_that_is_held_back_anyway(
    lasting: tuple[str, dict[str, Any]],
) -> None:
    sentence = with_all([lasting, *PASSING])
    assert sentence.startswith(lasting[0])
    assert ", and " not in sentence


# --- running, ended --------------------------------------------------------------------------------------------------


def test_it_runs() -> None:
    job = a(state=State.RUNNING, started_at=at("11:40:03"), worker="w1")
    assert told(job) == "is running since 11:40:03 UTC on worker host:1"
    assert told(replace(job, cancel_requested=True)).endswith("on worker host:1; asked to cancel")
    gone = replace(WORKER, alive=False)
    assert told(job, workers=(gone,)).endswith("host:1, which is gone: no other one is running to take it over")
    other = replace(WORKER, id="w2")
    assert told(job, workers=(other,)).endswith("on worker w1, which is gone: another one takes the job over")


def test_it_has_ended() -> None:
    error = to_text(ErrorRecord("ValueError", "no address\nat all", "Traceback"))
    ended = a(state=State.COMPLETED, finished_at=at("11:40:03"), attempt=2, error=error)
    assert told(ended) == "has completed at 11:40:03 UTC"
    dead = replace(ended, state=State.DEAD, reason="attempts used up (2 of 2)")
    assert told(dead) == "is dead since 11:40:03 UTC: attempts used up (2 of 2): ValueError: no address"
    assert told(replace(dead, reason="not retried: ValueError")).endswith("UTC: not retried: ValueError: no address")
    assert told(replace(dead, reason="poison", error=None)) == "is dead since 11:40:03 UTC: poison"
    cancelled = replace(ended, state=State.CANCELLED, reason="cancelled")
    assert told(cancelled) == "was cancelled at 11:40:03 UTC"
    assert told(replace(cancelled, reason="cancelled: not today")) == "was cancelled at 11:40:03 UTC: not today"
    assert told(replace(cancelled, reason="parent p is dead")) == "was cancelled at 11:40:03 UTC: parent p is dead"


@pytest.mark.parametrize("state", sorted(LIVE))
def test_a_request_to_cancel_is_said(state: State) -> None:
    assert told(a(state=state, cancel_requested=True)).endswith("; asked to cancel")


def test_hostile_names_stay_on_one_line() -> None:
    name = "a\x1b[31m\nb" + 200 * "c"
    assert "\n" not in told(a(queue=name, task=name, partition=name))
    assert "\x1b" not in told(a(queue=name))
