"""A live exception turned into text that every store can keep, whatever the exception does to prevent it."""

from __future__ import annotations

import json
from traceback import TracebackException
from types import TracebackType

from mainspring.model.outcome import ErrorRecord
from mainspring.model.text import cut
from mainspring.model.veil import Veil

__all__ = ["MAX_BYTES", "describe", "from_text", "to_text"]

_TYPE_BYTES = 256
_MESSAGE_BYTES = 8 * 1024
_TRACEBACK_BYTES = 22 * 1024
MAX_BYTES = 64 * 1024
"""The most that `to_text` gives: twice the parts (JSON doubles quotes, backslashes and line ends), and some more."""

_OUR_MODULES = ("mainspring", "asyncio", "concurrent", "threading", "contextvars")


def describe(exception: BaseException, veil: Veil | None = None) -> ErrorRecord:
    """The exception as text: type name, message, traceback; clean and short enough for any store. Never raises.

    Frames of Mainspring (and of the event loop and threads under it) that led to the task are left out. `veil` hides
    the job's secrets, also in causes and notes.
    """
    message, traceback = _message(exception), _traceback(exception)
    if veil is not None:
        # Before they are cut: of a secret that was cut in two, nobody would find the half.
        message, traceback = veil(message), veil(traceback)
    return ErrorRecord(
        type=cut(_type_name(exception), _TYPE_BYTES),
        message=cut(message, _MESSAGE_BYTES),
        traceback=cut(traceback, _TRACEBACK_BYTES, keep_end=True),
    )


def to_text(error: ErrorRecord) -> str:
    """JSON object text of at most `MAX_BYTES` bytes; never refuses a record, wherever it was made."""
    fit = {
        "type": cut(error.type, _TYPE_BYTES),
        "message": cut(error.message, _MESSAGE_BYTES),
        "traceback": cut(error.traceback, _TRACEBACK_BYTES, keep_end=True),
    }
    return json.dumps(fit, ensure_ascii=False, separators=(",", ":"))


def from_text(text: str) -> ErrorRecord:
    """What `to_text` wrote."""
    stored = json.loads(text)
    return ErrorRecord(stored["type"], stored["message"], stored["traceback"])


# Foreign code runs below: `__str__`, `__notes__`, metaclasses, source loaders. A settle must not fail because of it,
# not even if it raises SystemExit, so that `except BaseException` is right here and nowhere else.


def _type_name(exception: BaseException) -> str:
    try:
        return str.__str__(type(exception).__name__)
    except BaseException:  # noqa: BLE001
        return "Exception"


def _message(exception: BaseException) -> str:
    try:
        return str.__str__(str(exception))
    except BaseException as error:  # noqa: BLE001
        return f"<its text cannot be had: {_type_name(error)}>"


def _traceback(exception: BaseException) -> str:
    try:
        lines = TracebackException(type(exception), exception, _task_frames(exception.__traceback__)).format()
        return "".join(lines)
    except BaseException as error:  # noqa: BLE001
        return f"<its traceback cannot be had: {_type_name(error)}>"


def _task_frames(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback from the first foreign frame on; all of it if there is none."""
    frames = traceback
    while frames is not None and _is_ours(frames):
        frames = frames.tb_next
    return frames or traceback


def _is_ours(frames: TracebackType) -> bool:
    return str(frames.tb_frame.f_globals.get("__name__")).partition(".")[0] in _OUR_MODULES
