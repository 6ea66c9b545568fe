"""What a job says has none of its secrets in it, as far as they can be recognised."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from mainspring.model.failure import describe
from mainspring.model.veil import MOST, Veil

KEY = "sk_live_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGH"


def veil(value: Any) -> Veil:
    return Veil(json.dumps({"user": "ada", "secret": value}), [("secret",)])


@pytest.mark.parametrize(
    ("value", "said", "shown"),
    [
        ("hunter2", "hunter2 and hunter2!", "[secret] and [secret]!"),
        ("hunter2", "ada has hunter3", "ada has hunter3"),
        ("it's\nö\t", f"{'it' + chr(39) + 's' + chr(10) + 'ö' + chr(9)!r}", '"[secret]"'),
        ('a"b\nö', json.dumps({"x": 'a"b\nö'}), '{"x": "[secret]"}'),
        ('a"b\nö', json.dumps({"x": 'a"b\nö'}, ensure_ascii=False), '{"x": "[secret]"}'),
        ("a/b c+d&", "https://x.example/?key=a%2Fb%20c%2Bd%26&y=1", "https://x.example/?key=[secret]&y=1"),
        ("a/b c+d&", "https://x.example/?key=a%2Fb+c%2Bd%26&y=1", "https://x.example/?key=[secret]&y=1"),
        (41113, "no 41113 here", "no [secret] here"),
        ({"pin": [987654, "abcd"], "on": True}, "987654 abcd True on", "[secret] [secret] True on"),
        (
            "line one is this\nline two is that",
            "  | line one is this\n  | line two is that",
            "  | [secret]\n  | [secret]",
        ),
        ("secret", "the secret", "the [secret]"),
        ("abc", "abc", "abc"),
        (None, "None and null", "None and null"),
        ("hunter2", "NUL \0 hunter2", "NUL \ufffd [secret]"),
        ("pass", "passpass word1", "[secret][secret] word1"),
        (["pass", "password1"], "password1", "[secret]"),
    ],
)
def test_a_secret_is_hidden_however_it_is_written(value: Any, said: str, shown: str) -> None:
    assert veil(value)(said) == shown


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            f"input_value='{KEY[:25]}...{KEY[-24:]}', input_type=str",
            "input_value='[secret]...[secret]', input_type=str",
        ),
        (f"{KEY[:40]} …", "[secret] …"),
        (f"{KEY[:16]}x", "[secret]x"),
        (f"… {KEY[-20:]}", "… [secret]"),
        (f"{KEY[:15]}x", f"{KEY[:15]}x"),
    ],
)
def test_of_a_long_one_the_beginning_and_the_end_are_hidden_too(said: str, shown: str) -> None:
    """Others shorten what they quote, as pydantic does."""
    assert veil(KEY)(said) == shown


def test_it_is_hidden_before_an_error_is_cut() -> None:
    error = describe(ValueError("x" * (8 * 1024 - 8) + "hunter2hunter2"), veil("hunter2hunter2"))
    assert "hunt" not in error.message + error.traceback


def test_causes_notes_and_groups_are_hidden() -> None:
    def fail() -> None:
        try:
            raise KeyError("hunter2")
        except KeyError as cause:
            error = ValueError("bad password hunter2")
            error.add_note("it was hunter2")
            raise ExceptionGroup("two of hunter2", [error, OSError("line one hunter2\nline two hunter2")]) from cause

    with pytest.raises(ExceptionGroup) as caught:
        fail()
    error = describe(caught.value, veil("hunter2"))
    assert "two of [secret]" in error.message
    assert "hunter2" not in error.message + error.traceback
    assert error.traceback.count("[secret]") >= 5


def test_of_too_many_secrets_nothing_is_said_at_all() -> None:
    many = veil([f"secret {number}" for number in range(MOST + 1)])
    assert (many("anything"), many("")) == ("[secret]", "")
    assert veil([f"secret {number}" for number in range(MOST)])("anything secret 7x") == "anything [secret]x"


@pytest.mark.parametrize("text", ["", "{", '{"secret":' + "[" * 100_000, '{"secret":' + "9" * 5_000 + "}"])
def test_of_arguments_that_cannot_be_read_nothing_is_said_and_nothing_raised(text: str) -> None:
    """A damaged row must not cost its worker more than the job."""
    assert Veil(text, [("secret",)])("an error about this") == "[secret]"


def test_no_secret_and_no_text_takes_long() -> None:
    repeated = veil("ab" * 300_000)
    before = time.process_time()
    assert repeated("ab" * 500_000) == "[secret]" * 2
    repeated("a" * 1_000_000 + "ba" * 10)
    assert time.process_time() - before < 5
