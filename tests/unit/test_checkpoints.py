"""Checkpoints: what is kept of them, what is refused, and what a run that hands its job back comes to."""

from __future__ import annotations

import json

import pytest

from mainspring.errors import Unserialisable
from mainspring.model.codec import encode_checkpoint
from mainspring.model.options import TaskOptions
from mainspring.model.outcome import Outcome, Verdict


def test_any_value_that_json_can_carry_is_kept() -> None:
    assert json.loads(encode_checkpoint({"page": 3, "sums": (1, 2.5)})) == {"page": 3, "sums": [1, 2.5]}


def test_text_that_no_store_keeps_as_it_is_goes_as_escapes() -> None:
    text = encode_checkpoint("half \ud800 and \x00")
    assert text.isascii()
    assert json.loads(text) == "half \ud800 and \x00"


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(Unserialisable):
        encode_checkpoint(object())
    with pytest.raises(Unserialisable):
        encode_checkpoint({(1, 2): "\ud800"})


def test_a_job_that_is_handed_back_says_why() -> None:
    given, waiting = Outcome.handed_back("a deploy"), Outcome.quarantined(1000)
    assert (given.verdict, given.reason, given.delay_ms) == (Verdict.RETURNED, "handed back: a deploy", 0)
    assert Outcome.handed_back().reason == "handed back"
    assert (waiting.verdict, waiting.delay_ms) == (Verdict.RETURNED, 1000)
    assert waiting.reason is not None
    assert "quarantine" in waiting.reason


def test_memory_is_for_jobs_in_processes() -> None:
    assert TaskOptions(executor="process", memory="512MB").memory == "512MB"
