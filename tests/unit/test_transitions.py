"""`decide`: the laws of the state machine, whatever was claimed and however the run ended."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.model import failure, history
from mainspring.model.backoff import Retry
from mainspring.model.failure import describe
from mainspring.model.job import Claim, NewJob
from mainspring.model.outcome import ErrorRecord, Outcome, Verdict
from mainspring.model.states import FINAL, State
from mainspring.model.transitions import decide

NOW = 1_732_241_000_123
CLAIM = Claim(
    id="job-1",
    lease=7,
    task="send_welcome",
    queue="email",
    args="{}",
    priority=5,
    attempt=1,
    crashes=0,
    postponed=0,
    created_at=NOW - 2000,
    run_at=NOW - 2000,
    started_at=NOW - 1000,
    worker="worker-1",
    history="[]",
)
ERROR = describe(ValueError("no such customer"))

hostile_text = st.text(st.characters(codec=None), max_size=30)
errors = st.builds(ErrorRecord, hostile_text, hostile_text, hostile_text)
outcomes = st.one_of(
    st.builds(Outcome.completed, st.just("null")),
    st.builds(
        Outcome.failed,
        errors,
        st.sampled_from([None, ValueError(), OSError(), SystemExit()]),
        delay_ms=st.none() | st.integers(0, 10**9),
    ),
    st.builds(Outcome.snoozed, st.integers(0, 10**9), hostile_text),
    st.builds(Outcome.rate_limited, st.integers(0, 10**9), hostile_text),
    st.builds(Outcome.buried, hostile_text, st.none() | errors),
    st.builds(Outcome.cancelled, hostile_text),
    st.builds(Outcome.lost, st.none() | errors),
    st.builds(Outcome.unknown, hostile_text),
    st.builds(Outcome.locked, hostile_text),
    st.just(Outcome.returned()),
    st.builds(Outcome, st.sampled_from(Verdict)),
)
claims = st.builds(
    replace,
    st.just(CLAIM),
    id=st.uuids().map(str),
    lease=st.integers(1, 2**53),
    attempt=st.integers(1, 20),
    crashes=st.integers(0, 5),
    postponed=st.integers(0, 10**6),
    worker=hostile_text,
)
retries = st.builds(
    Retry,
    attempts=st.integers(1, 10),
    delay=st.sampled_from(["1s", ["1s", "2s"], lambda n, e: n, lambda n, e: 1 / 0, lambda n, e: "never"]),
    never=st.sampled_from([(), OSError]),
)


@given(claims, outcomes, retries, st.floats(0, 1, exclude_max=True), st.integers(1, 5))
def test_the_laws_of_the_state_machine(
    claim: Claim, outcome: Outcome, retry: Retry, chance: float, max_crashes: int
) -> None:
    settled = decide(claim, outcome, NOW, retry=retry, chance=chance, max_crashes=max_crashes)
    assert (settled.id, settled.lease) == (claim.id, claim.lease)
    assert settled.state in FINAL | {State.QUEUED, State.SCHEDULED}
    assert settled.delay_ms >= 0
    assert settled.delay_ms == 0 or settled.state is State.SCHEDULED
    assert settled.attempt in (claim.attempt, claim.attempt - 1)
    used = settled.attempt == claim.attempt
    if used:
        assert settled.postponed == 0
        assert settled.crashes == claim.crashes
    crashed = settled.crashes - claim.crashes
    assert crashed == (outcome.verdict is Verdict.LOST)
    recorded = history.parse(settled.history)
    assert len(recorded) == (used or crashed)
    if recorded:
        (attempt,) = recorded
        assert (attempt.number, attempt.started_at, attempt.ended_at) == (claim.attempt, claim.started_at, NOW)
        assert attempt.verdict is outcome.verdict
    if settled.state not in FINAL and used:
        assert claim.attempt < retry.attempts, "attempts are never exceeded"
    if settled.crashes >= max_crashes and crashed:
        assert settled.state is State.DEAD
    assert (settled.closed_ms is None) == (outcome.verdict is not Verdict.RATE_LIMITED)
    assert (settled.state is State.COMPLETED) == (outcome.verdict is Verdict.COMPLETED)
    assert (settled.state is State.CANCELLED) == (outcome.verdict is Verdict.CANCELLED)
    for text in (settled.reason, settled.error):
        assert text is None or (text.encode() and "\x00" not in text)
    assert settled.state is State.COMPLETED or settled.reason


def test_a_completed_run_stores_its_result() -> None:
    settled = decide(CLAIM, Outcome.completed('{"sent":true}'), NOW)
    assert (settled.state, settled.result, settled.attempt, settled.error) == (
        State.COMPLETED,
        '{"sent":true}',
        1,
        None,
    )


def test_a_failed_run_waits_by_the_retry_rules() -> None:
    settled = decide(CLAIM, Outcome.failed(ERROR, ValueError()), NOW, retry=Retry(8, "10s"), chance=0.5)
    assert (settled.state, settled.delay_ms) == (State.SCHEDULED, 5000)
    assert settled.reason == "attempt 1 of 8 failed: ValueError"
    assert settled.error is not None
    assert failure.from_text(settled.error) == ERROR


def test_a_task_that_says_when_to_run_again_is_believed() -> None:
    rules = Retry(2, never=ValueError)
    settled = decide(CLAIM, Outcome.failed(ERROR, ValueError(), delay_ms=300_000), NOW, retry=rules)
    assert (settled.state, settled.delay_ms) == (State.SCHEDULED, 300_000)
    last = decide(replace(CLAIM, attempt=2), Outcome.failed(ERROR, ValueError(), delay_ms=0), NOW, retry=rules)
    assert last.state is State.DEAD


def test_the_last_attempt_is_the_last() -> None:
    settled = decide(replace(CLAIM, attempt=8), Outcome.failed(ERROR, ValueError()), NOW)
    assert (settled.state, settled.reason) == (State.DEAD, "attempts used up (8 of 8)")
    assert settled.error is not None


def test_what_is_never_to_be_tried_again_is_dead_at_once() -> None:
    settled = decide(CLAIM, Outcome.failed(ERROR, ValueError()), NOW, retry=Retry(never=ValueError))
    assert (settled.state, settled.reason) == (State.DEAD, "not retried: ValueError")


def test_a_delay_function_that_fails_does_not_cost_the_job() -> None:
    settled = decide(CLAIM, Outcome.failed(ERROR), NOW, retry=Retry(delay=lambda n, e: 1 / 0), chance=0.5)
    assert (settled.state, settled.delay_ms) == (State.SCHEDULED, 7500)
    assert settled.reason is not None
    assert settled.reason.endswith("its delay function failed too: ZeroDivisionError: division by zero")


def test_a_snooze_uses_no_attempt() -> None:
    settled = decide(replace(CLAIM, attempt=3, postponed=2), Outcome.snoozed(600_000, "rate limited"), NOW)
    assert (settled.state, settled.delay_ms, settled.attempt, settled.postponed) == (State.SCHEDULED, 600_000, 2, 3)
    assert (settled.reason, settled.history) == ("rate limited", "[]")


@pytest.mark.parametrize(("why", "reason"), [("quota", "rate limited for 20s: quota"), ("", "rate limited for 20s")])
def test_a_rate_limited_job_keeps_its_place_and_its_gate_waits(why: str, reason: str) -> None:
    settled = decide(replace(CLAIM, attempt=3, postponed=2), Outcome.rate_limited(20_000, why), NOW)
    assert (settled.state, settled.closed_ms, settled.delay_ms) == (State.QUEUED, 20_000, 0)
    assert (settled.attempt, settled.postponed, settled.history) == (2, 3, "[]")
    assert settled.reason == reason


@pytest.mark.parametrize(("why", "reason"), [("no such customer", "buried: no such customer"), ("", "buried")])
def test_a_buried_job_is_dead(why: str, reason: str) -> None:
    settled = decide(CLAIM, Outcome.buried(why, ERROR), NOW)
    assert (settled.state, settled.reason) == (State.DEAD, reason)
    assert settled.error is not None


@pytest.mark.parametrize(("why", "reason"), [("withdrawn", "cancelled: withdrawn"), ("", "cancelled")])
def test_a_cancelled_run_ends_the_job(why: str, reason: str) -> None:
    settled = decide(CLAIM, Outcome.cancelled(why), NOW)
    assert (settled.state, settled.reason) == (State.CANCELLED, reason)


def test_a_lost_worker_costs_a_crash_and_no_attempt() -> None:
    settled = decide(replace(CLAIM, attempt=2, crashes=1), Outcome.lost(), NOW)
    assert (settled.state, settled.attempt, settled.crashes) == (State.QUEUED, 1, 2)
    (attempt,) = history.parse(settled.history)
    assert (attempt.verdict, attempt.error_type, attempt.worker) == (Verdict.LOST, "WorkerLost", "worker-1")
    assert settled.reason == "worker lost (2 of 3)"


def test_a_job_that_loses_its_worker_three_times_is_poison() -> None:
    settled = decide(replace(CLAIM, crashes=2), Outcome.lost(), NOW)
    assert (settled.state, settled.reason, settled.crashes) == (State.DEAD, "poison", 3)
    assert settled.error is not None
    assert failure.from_text(settled.error).type == "WorkerLost"


def test_a_crash_of_its_own_process_counts_as_one_of_a_worker_and_says_so() -> None:
    crash = ErrorRecord("ProcessCrashed", "the process that ran the job was killed by SIGSEGV", "")
    settled = decide(replace(CLAIM, crashes=1), Outcome.lost(crash), NOW)
    assert (settled.state, settled.crashes, settled.reason) == (State.QUEUED, 2, "process crashed (2 of 3)")
    assert failure.from_text(settled.error or "") == crash


def test_what_another_process_says_of_the_retry_rules_holds() -> None:
    rules = Retry(never=ValueError, delay="10s", jitter=False)
    again = decide(CLAIM, Outcome.failed(ERROR, ValueError(), again=True, delay_ms=7), NOW, retry=rules)
    assert (again.state, again.delay_ms) == (State.SCHEDULED, 7)
    no_more = decide(CLAIM, Outcome.failed(ERROR, again=False, delay_ms=7), NOW, retry=rules)
    assert (no_more.state, no_more.reason) == (State.DEAD, f"not retried: {ERROR.type}")


def test_an_unknown_task_is_parked_longer_each_time() -> None:
    delays = []
    claim = CLAIM
    for _ in range(9):
        settled = decide(claim, Outcome.unknown("send_welcome"), NOW)
        assert (settled.state, settled.attempt, settled.history) == (State.SCHEDULED, 0, "[]")
        assert "'send_welcome'" in (settled.reason or "")
        delays.append(settled.delay_ms // 1000)
        claim = replace(claim, postponed=settled.postponed)
    assert delays == [5, 10, 20, 40, 80, 160, 320, 600, 600]


def test_a_job_whose_key_is_not_there_waits_like_one_of_an_unknown_task() -> None:
    settled = decide(CLAIM, Outcome.locked("it lacks the key"), NOW)
    assert (settled.state, settled.attempt, settled.history) == (State.SCHEDULED, 0, "[]")
    assert "it lacks the key" in (settled.reason or "")


def test_a_returned_job_waits_as_if_it_had_never_been_claimed() -> None:
    settled = decide(replace(CLAIM, attempt=4, postponed=1), Outcome.returned(), NOW)
    assert (settled.state, settled.attempt, settled.postponed) == (State.QUEUED, 3, 1)
    assert (settled.history, settled.delay_ms) == ("[]", 0)


@given(st.lists(st.sampled_from([Outcome.failed(ERROR), Outcome.lost(), Outcome.snoozed(0), Outcome.returned()])))
def test_starts_are_bounded_by_attempts_and_crashes(runs: list[Outcome]) -> None:
    """However runs end, a job that is not put off starts at most attempts + crash allowance times."""
    claim, starts = replace(CLAIM, attempt=0), 0
    for outcome in runs:
        claim = replace(claim, attempt=claim.attempt + 1)
        settled = decide(claim, outcome, NOW, retry=Retry(4))
        starts += outcome.verdict in (Verdict.FAILED, Verdict.LOST)
        assert starts <= 4 + 3
        if settled.state in FINAL:
            break
        claim = replace(claim, attempt=settled.attempt, crashes=settled.crashes, postponed=settled.postponed)


def test_what_a_completed_run_leaves_behind_goes_with_its_settlement() -> None:
    left = (NewJob("child", "send_welcome", parents=()),)
    assert decide(CLAIM, Outcome.completed("null", left), NOW).follow_ups == left
    assert decide(CLAIM, replace(Outcome.failed(ERROR), follow_ups=left), NOW).follow_ups == ()
