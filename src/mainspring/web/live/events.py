"""What is told of a job: events, computed from how it stands and from what the listener has seen already.

An event's id says all that a client has seen once it has that event. So whoever comes back with the id, to whatever
process, is told the rest, and nothing twice: log lines and output by their places, state and progress by a digest of
what was told last, since of those only the latest counts.

    snapshot   state and progress, to whoever has seen nothing
    state      state, attempt, times; what the latest run failed with
    progress   percent, text
    log        lines
    output     text to add; or, with `anew`, to begin with: a new run puts out something, or what came between is
               kept no more
    done       the end: state, and the result or the error
    gone       the end: there is no such job, or no more
    expired    the end of what the ticket allows

All is JSON. A job's log and output are told in parts of some 64 KiB, each an event.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any

from mainspring.clock import moment
from mainspring.job import Job
from mainspring.model.job import JobRecord, LogLine
from mainspring.model.states import FINAL
from mainspring.web.tickets import Sight

__all__ = ["END", "Event", "Seen", "events_of", "expired", "gone", "snapshot_of", "unreadable"]

PART_CHARACTERS = 64 * 1024
"""How much of a log or an output goes into one event."""
END = "end"
"""The id of the last event: who has seen it has seen all."""

_ID = re.compile(r"([0-9a-f]{1,15})\.([0-9a-f]{1,15})\.([0-9a-f]{12})\.([0-9a-f]{12})")


@dataclass(frozen=True, slots=True)
class Seen:
    """What somebody has seen of a job."""

    line: int = -1
    """The place of the last log line; -1: none."""
    piece: int = -1
    """The place of the last piece of output; -1: none."""
    state: str = ""
    progress: str = ""

    def __str__(self) -> str:
        return f"{self.line + 1:x}.{self.piece + 1:x}.{self.state}.{self.progress}"

    @classmethod
    def parse(cls, id: str) -> Seen | None:
        """From an event's id. None: it is not one of ours, and says nothing."""
        found = _ID.fullmatch(id)
        if found is None:
            return None
        line, piece, state, progress = found.groups()
        return cls(int(line, 16) - 1, int(piece, 16) - 1, state, progress)


@dataclass(frozen=True)
class Event:
    """One thing to tell. Its forms are made once, whoever they are sent to."""

    job: str
    name: str
    data: dict[str, Any]
    id: str = ""
    """"": a client that has it has seen no more of the job than before."""
    seen: Seen | None = field(default=None, repr=False)
    """What a client has seen with it. None: nothing comes after it."""

    @property
    def is_last(self) -> bool:
        """Whether nothing comes after it."""
        return self.seen is None

    @cached_property
    def sse(self) -> bytes:
        """As an event stream has it."""
        known = f"id: {self.id}\n" if self.id else ""
        return f"{known}event: {self.name}\ndata: {_json(self.data)}\n\n".encode()

    @cached_property
    def message(self) -> str:
        """As a WebSocket has it."""
        return _json({"job": self.job, "event": self.name, "id": self.id, "data": self.data})


def events_of(seen: Seen | None, job: Job[Any], sight: Sight) -> tuple[Event, ...]:
    """What is to be told of a job to somebody who has seen so much of it. The job has at least what it has said beyond
    that."""
    return tuple(_events(seen, job, sight))


def _events(seen: Seen | None, job: Job[Any], sight: Sight) -> Iterator[Event]:
    record = job.record
    is_over = record.state in FINAL
    state, progress = _state(job, sight), _progress(record)
    state_digest, progress_digest = _digest(state), _digest(progress)
    if seen is None:
        seen = Seen(state=state_digest, progress=progress_digest)
        yield _event(job, "snapshot", _identity(record) | state | progress, seen)
    if seen.state != state_digest and not is_over:
        seen = replace(seen, state=state_digest)
        yield _event(job, "state", state, seen)
    if seen.progress != progress_digest:
        seen = replace(seen, progress=progress_digest)
        yield _event(job, "progress", progress, seen)
    if sight.log:
        for lines in _parts([line for line in record.log if line.place > seen.line]):
            seen = replace(seen, line=lines[-1].place)
            yield _event(job, "log", {"lines": [_line(line) for line in lines]}, seen)
    for pieces in _parts([piece for piece in record.output if piece.place > seen.piece], by_lease=True):
        anew = pieces[0].place != seen.piece + 1  # pieces are numbered without gaps
        seen = replace(seen, piece=pieces[-1].place)
        yield _event(job, "output", {"text": "".join(piece.text for piece in pieces), "anew": anew}, seen)
    if is_over:
        yield Event(job.id, "done", state | _end(job, sight), END)


def snapshot_of(job: Job[Any], sight: Sight) -> dict[str, Any]:
    """All that is to be told of a job, as one document."""
    record = job.record
    told = _identity(record) | _state(job, sight) | _progress(record) | _end(job, sight)
    if sight.log:
        told["log"] = [_line(line) for line in record.log]
    return told | {"output": job.output}


def gone(job: str) -> Event:
    """There is no such job."""
    return Event(job, "gone", {"detail": "There is no such job, or no more."}, END)


def unreadable(job: str) -> Event:
    """What the store has of the job is damaged."""
    return Event(job, "gone", {"detail": "What is stored of this job cannot be read."}, END)


def expired(job: str) -> Event:
    """Nothing more is told by that ticket. With another one it goes on."""
    return Event(job, "expired", {"detail": "The ticket for this job has expired."})


def _event(job: Job[Any], name: str, data: dict[str, Any], seen: Seen) -> Event:
    return Event(job.id, name, data, str(seen), seen)


def _identity(record: JobRecord) -> dict[str, Any]:
    return {"id": record.id, "task": record.task, "created_at": _time(record.created_at)}


def _state(job: Job[Any], sight: Sight) -> dict[str, Any]:
    record = job.record
    told: dict[str, Any] = {
        "state": record.state.value,
        "attempt": record.attempt,
        "run_at": _time(record.run_at),
        "started_at": _time(record.started_at),
        "finished_at": _time(record.finished_at),
        "cancel_requested": record.cancel_requested,
    }
    if sight.errors:
        told |= {"reason": record.reason, "error": _error(job, sight)}
    return told


def _progress(record: JobRecord) -> dict[str, Any]:
    return {"progress": record.progress, "text": record.progress_text}


def _end(job: Job[Any], sight: Sight) -> dict[str, Any]:
    result = job.record.result
    if not sight.result or result is None:
        return {"result": None}
    return {"result": json.loads(result, parse_constant=lambda _: None)}


def _error(job: Job[Any], sight: Sight) -> dict[str, Any] | None:
    error = job.error
    if error is None:
        return None
    told = {"type": error.type, "message": error.message}
    return told | {"traceback": error.traceback} if sight.tracebacks else told


def _line(line: LogLine) -> dict[str, Any]:
    return {"n": line.place, "at": _time(line.at), "text": line.text}


def _time(at: int | None) -> str | None:
    return None if at is None else moment(at).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _parts(said: Sequence[Any], *, by_lease: bool = False) -> Iterator[list[Any]]:
    """The lines or pieces, in parts that are not too large; pieces of two runs never in one."""
    part: list[Any] = []
    size = 0
    for each in said:
        other_run = by_lease and part and part[-1].lease != each.lease
        if part and (other_run or size + len(each.text) > PART_CHARACTERS):
            yield part
            part, size = [], 0
        part.append(each)
        size += len(each.text)
    if part:
        yield part


def _digest(told: dict[str, Any]) -> str:
    return blake2b(_json(told).encode(), digest_size=6).hexdigest()


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
