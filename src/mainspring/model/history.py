"""The attempts of a job, kept with it as JSON text: when each began and ended, who ran it, how it went.

Appending is on the path of every job, so it works on the text and never reads it as JSON.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii

from mainspring.model.outcome import ErrorRecord, Verdict
from mainspring.model.text import cut

__all__ = ["KEPT", "Attempt", "append", "parse"]

KEPT = 50
"""How many attempts a job's history keeps: the newest."""

_TYPE_BYTES = 256
_MESSAGE_BYTES = 2 * 1024
_TRACEBACK_BYTES = 8 * 1024

# Begins every entry, and nothing else: inside JSON strings a quote never stands without a backslash.
_START = '{"number":'


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of a job that used an attempt or ended with its worker's death."""

    number: int
    """Which try it was, from 1. A run that was lost shares its number with the one after it."""
    started_at: int
    ended_at: int
    worker: str
    verdict: Verdict
    error_type: str | None = None
    error_message: str | None = None
    traceback: str | None = None


def append(
    history: str,
    number: int,
    started_at: int,
    ended_at: int,
    worker: str,
    verdict: Verdict,
    error: ErrorRecord | None = None,
) -> str:
    """The history with one more attempt, without the oldest where there would be more than `KEPT`."""
    entry = (
        f'{_START}{number},"started_at":{started_at},"ended_at":{ended_at},'
        f'"worker":{encode_basestring_ascii(worker)},"verdict":"{verdict._value_}"{_error(error) if error else ""}}}'
    )
    first = history.find(_START)
    if first < 0:
        return f"[{entry}]"
    for _ in range(history.count(_START) - KEPT + 1):
        first = history.find(_START, first + 1)
    return f"[{history[first:-1]},{entry}]"


def parse(history: str) -> tuple[Attempt, ...]:
    """The attempts, oldest first."""
    return tuple(Attempt(**{**entry, "verdict": Verdict(entry["verdict"])}) for entry in json.loads(history))


def _error(error: ErrorRecord) -> str:
    fields = {
        "error_type": cut(error.type, _TYPE_BYTES),
        "error_message": cut(error.message, _MESSAGE_BYTES),
        "traceback": cut(error.traceback, _TRACEBACK_BYTES, keep_end=True),
    }
    return "," + json.dumps(fields, ensure_ascii=False, separators=(",", ":"))[1:-1]
