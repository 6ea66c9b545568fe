"""Exceptions as text: whatever an exception does, it is described, and any store can keep the description."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.model import failure
from mainspring.model.failure import MAX_BYTES, describe
from mainspring.model.outcome import ErrorRecord


def caught(exception: BaseException) -> BaseException:
    try:
        raise exception
    except BaseException as error:
        return error


def test_a_description_has_type_message_and_traceback() -> None:
    error = describe(caught(ValueError("no such customer")))
    assert (error.type, error.message) == ("ValueError", "no such customer")
    assert error.traceback.startswith("Traceback")
    assert error.traceback.endswith("ValueError: no such customer\n")
    assert "in caught" in error.traceback


def test_an_exception_that_was_never_raised_is_described_too() -> None:
    assert describe(KeyError("x")) == ErrorRecord("KeyError", "'x'", "KeyError: 'x'\n")


def test_frames_that_led_to_the_task_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "ours.py").write_text("def run(task):\n    task()\n")
    run = runpy.run_path(str(tmp_path / "ours.py"), run_name="mainspring.worker.run")["run"]

    def task() -> NoReturn:
        raise ValueError("from the task")

    def failed() -> BaseException:
        with pytest.raises(ValueError) as info:
            run(task)
        error = info.value
        assert error.__traceback__ is not None
        return error.with_traceback(error.__traceback__.tb_next)

    error = failed()
    text = describe(error).traceback
    assert "in task" in text
    assert "in run" not in text
    assert error.__traceback__ is not None
    assert error.__traceback__.tb_frame.f_code.co_name == "run", "the exception itself is left as it was"


def test_an_error_of_our_own_keeps_all_its_frames(tmp_path: Path) -> None:
    (tmp_path / "ours.py").write_text("def run():\n    raise ValueError\n")
    run = runpy.run_path(str(tmp_path / "ours.py"), run_name="mainspring.worker.run")["run"]
    with pytest.raises(ValueError) as info:
        run()
    info.value.__traceback__ = info.tb.tb_next if hasattr(info.tb, "tb_next") else None
    assert "in run" in describe(info.value).traceback


class RaisingStr(Exception):
    def __str__(self) -> str:
        raise SystemExit("from __str__")


class WrongStr(Exception):
    def __str__(self) -> str:
        return 3  # type: ignore[return-value]


class HostileText(str):
    __slots__ = ()

    def __getitem__(self, key: object) -> str:
        raise RuntimeError

    def __len__(self) -> int:
        raise RuntimeError


class HostileStr(Exception):
    def __str__(self) -> str:
        return HostileText("well \x00 hidden")


class RaisingNotes(Exception):
    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]
        raise KeyboardInterrupt


class HostileMeta(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError


class Nameless(Exception, metaclass=HostileMeta):
    pass


class RaisingStrNameless(Exception):
    def __str__(self) -> str:
        raise Nameless


HOSTILE = [RaisingStr, WrongStr, HostileStr, RaisingNotes, Nameless, RaisingStrNameless]


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_describing_never_raises(hostile: type[Exception]) -> None:
    error = describe(caught(hostile("x")))
    assert error.type
    assert failure.from_text(failure.to_text(error)) == error
    assert "\x00" not in error.message


def test_exceptions_in_a_circle_and_in_endless_recursion_are_described() -> None:
    first, second = ValueError("a"), KeyError("b")
    first.__cause__, second.__cause__ = second, first
    assert describe(first).type == "ValueError"

    def deep() -> None:
        deep()

    with pytest.raises(RecursionError) as info:
        deep()
    assert describe(info.value).type == "RecursionError"


@given(st.text(st.characters(codec=None), min_size=1, max_size=20), st.sampled_from([1, 100, 30_000]))
def test_a_description_is_short_clean_and_round_trips(text: str, times: int) -> None:
    error = describe(caught(ValueError(text * times)))
    stored = failure.to_text(error)
    assert len(stored.encode()) <= MAX_BYTES
    assert "\x00" not in stored + error.message + error.traceback
    assert failure.from_text(stored) == error


@given(st.text(st.characters(codec=None)).map(lambda text: text * 3000))
def test_a_record_made_elsewhere_is_made_fit_when_it_is_stored(text: str) -> None:
    stored = failure.to_text(ErrorRecord(text, text, text))
    assert len(stored.encode()) <= MAX_BYTES
    assert failure.from_text(stored).type is not None


def test_a_long_traceback_keeps_both_its_ends() -> None:
    error = describe(caught(ValueError("x" * 100_000 + "the end")))
    assert error.traceback.startswith("Traceback")
    assert error.traceback.endswith("the end\n")
    assert len(error.message.encode()) <= 8192
