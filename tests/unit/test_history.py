"""The history of attempts: appended as text, read back as attempts."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from mainspring.model import history
from mainspring.model.history import KEPT, Attempt
from mainspring.model.outcome import ErrorRecord, Verdict

any_text = st.text(st.characters(codec=None), max_size=50) | st.sampled_from(
    ['{"number":', '"},{"number":1', "\\", '"']
)
errors = st.none() | st.builds(ErrorRecord, any_text, any_text, any_text)
attempts = st.tuples(
    st.integers(0, 10**6), st.integers(0, 2**53), st.integers(0, 2**53), any_text, st.sampled_from(Verdict), errors
)


@given(st.lists(attempts, max_size=KEPT + 20))
def test_the_newest_attempts_are_kept_in_order(
    runs: list[tuple[int, int, int, str, Verdict, ErrorRecord | None]],
) -> None:
    text = "[]"
    for run in runs:
        text = history.append(text, *run)
    kept = history.parse(text)
    assert len(kept) == min(len(runs), KEPT)
    for attempt, (number, started_at, ended_at, worker, verdict, error) in zip(kept, runs[-KEPT:], strict=True):
        assert (attempt.number, attempt.started_at, attempt.ended_at) == (number, started_at, ended_at)
        assert attempt.worker == worker
        assert attempt.verdict is verdict
        assert (attempt.error_type is None) == (error is None)


def test_beyond_fifty_the_oldest_attempt_goes() -> None:
    text = "[]"
    for number in range(1, 2 * KEPT + 2):
        text = history.append(text, number, 1, 2, "w", Verdict.FAILED, ErrorRecord("E", 'says {"number":1}', ""))
        kept = [attempt.number for attempt in history.parse(text)]
        assert kept == list(range(max(1, number - KEPT + 1), number + 1))


def test_an_attempt_reads_back_as_it_was() -> None:
    error = ErrorRecord("ValueError", 'no "quotes" kept back', "Traceback\n  …")
    text = history.append("[]", 2, 10, 20, "w1", Verdict.FAILED, error)
    assert history.parse(history.append(text, 3, 30, 40, "w2", Verdict.COMPLETED)) == (
        Attempt(2, 10, 20, "w1", Verdict.FAILED, "ValueError", 'no "quotes" kept back', "Traceback\n  …"),
        Attempt(3, 30, 40, "w2", Verdict.COMPLETED),
    )


@given(st.text(st.characters(codec=None), min_size=1, max_size=20).map(lambda text: text * 2000))
def test_long_errors_are_cut_and_clean(text: str) -> None:
    stored = history.append("[]", 1, 1, 2, "w", Verdict.FAILED, ErrorRecord(text, text, text))
    assert "\x00" not in stored
    assert len(stored.encode()) <= 2 * (256 + 2048 + 8192) + 500  # JSON doubles quotes and backslashes
    (attempt,) = history.parse(stored)
    assert attempt.error_message is not None
    assert attempt.traceback is not None
    assert len(attempt.error_message.encode()) <= 2048
    assert len(attempt.traceback.encode()) <= 8192


def test_a_history_that_is_no_history_begins_anew() -> None:
    for text in ("", "[]", "null", "{}"):
        assert len(json.loads(history.append(text, 1, 1, 2, "w", Verdict.COMPLETED))) == 1
