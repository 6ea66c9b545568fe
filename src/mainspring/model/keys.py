"""Unique jobs, debounce and throttle: rules that turn a job's arguments into the keys that it holds.

Unique      one job at a time with these arguments
Debounce    one job once things are quiet, with the last arguments
Throttle    so many jobs in any stretch of time of a length
idempotency one job for a name that the caller chose, also after it has ended
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mainspring.errors import InvalidOption
from mainspring.model.durations import Duration, to_ms
from mainspring.model.job import Conflict, Key, Until
from mainspring.model.text import clean, quote

__all__ = ["IDEMPOTENCY_FOR", "By", "Debounce", "KeyRule", "Throttle", "Unique", "idempotency"]

By = str | tuple[str, ...] | Callable[[Mapping[str, Any]], object]
"""What tells jobs apart: "all" their arguments, those of some names, or what a function makes of them (a mapping by
name, as JSON values). An empty tuple: nothing, so all jobs of the task are alike."""

_LONGEST_NAME = 120


@dataclass(frozen=True, slots=True)
class Unique:
    """At most one job of a task with the same arguments is there at a time.

        @app.task(unique=Unique(by=("user_id",), for_="1h"))

    It counts until the job has "settled" (the default) or "started", or `for_` so long at most. `on_conflict` says what
    enqueuing another one gives: the "existing" job (the default), an error ("reject": `DuplicateJob`), or the existing
    one with all that the new one was to be ("replace": arguments, queue, partition, time …), as long as that one waits.
    Raises `InvalidOption`.
    """

    by: By = "all"
    until: str = "settled"
    for_: Duration | None = None
    on_conflict: str = "existing"

    def __post_init__(self) -> None:
        _check_by(self.by)
        if self.until not in ("started", "settled"):
            raise InvalidOption(f"until={quote(self.until)} is neither 'started' nor 'settled'")
        if self.on_conflict not in tuple(Conflict):
            raise InvalidOption(f"on_conflict={quote(self.on_conflict)} is none of {', '.join(Conflict)}")
        _positive("for_", self.for_)

    def key(self, task: str, args: Mapping[str, Any]) -> Key:
        """The key of a job with these arguments."""
        expires_ms = None if self.for_ is None else to_ms(self.for_)
        return Key(_name("unique", task, self.by, args), Until(self.until), expires_ms, Conflict(self.on_conflict))


@dataclass(frozen=True, slots=True)
class Debounce:
    """One job, once nothing has been enqueued for `wait`; the last arguments win, and the last options.

        @app.task(debounce=Debounce("5s", max_delay="1m", by=("document_id",)))

    Each enqueue puts the waiting job off again, but by no more than `max_delay` since the first. Raises
    `InvalidOption`, `InvalidDuration`.
    """

    wait: Duration
    max_delay: Duration | None = None
    by: By = ()

    def __post_init__(self) -> None:
        _check_by(self.by)
        _positive("wait", self.wait)
        _positive("max_delay", self.max_delay)
        if self.max_delay is not None and to_ms(self.max_delay) < self.wait_ms:
            raise InvalidOption(f"max_delay={quote(self.max_delay)} is shorter than wait={quote(self.wait)}; give more")

    @property
    def wait_ms(self) -> int:
        """How long things must be quiet."""
        return to_ms(self.wait)

    def key(self, task: str, args: Mapping[str, Any]) -> Key:
        """The key of a job with these arguments."""
        return Key(
            _name("debounce", task, self.by, args),
            Until.STARTED,
            on_conflict=Conflict.REPLACE,
            max_delay_ms=None if self.max_delay is None else to_ms(self.max_delay),
        )


@dataclass(frozen=True, slots=True)
class Throttle:
    """At most `limit` jobs are enqueued in any stretch of `per`; more give the latest of them.

        @app.task(throttle=Throttle(1, per="10m", by=("user_id",)))

    Raises `InvalidOption`, `InvalidDuration`.
    """

    limit: int
    per: Duration
    by: By = ()

    def __post_init__(self) -> None:
        _check_by(self.by)
        if type(self.limit) is not int or not 1 <= self.limit <= 1000:
            raise InvalidOption(f"limit={quote(self.limit)} is not a whole number from 1 to 1000")
        _positive("per", self.per)

    def key(self, task: str, args: Mapping[str, Any]) -> Key:
        """The key of a job with these arguments."""
        return Key(_name("throttle", task, self.by, args), Until.EXPIRY, to_ms(self.per), seats=self.limit)


KeyRule = Unique | Debounce | Throttle

IDEMPOTENCY_FOR = "24h"
"""How long an idempotency key holds, unless the caller says otherwise."""


def idempotency(task: str, key: str, for_: Duration) -> Key:
    """The key of a job that must exist once for what the caller calls `key`, however often it is enqueued."""
    if not isinstance(key, str) or not key.strip() or clean(key) != key or len(key) > 200:
        raise InvalidOption(f"idempotency_key={quote(key)} is not a text of 1 to 200 printable characters")
    _positive("idempotency_for", for_)
    return Key(f"idempotency:{task}:{json.dumps(key, ensure_ascii=False)}", Until.EXPIRY, to_ms(for_))


def _name(kind: str, task: str, by: By, args: Mapping[str, Any]) -> str:
    told: object
    if isinstance(by, str):
        told = dict(args)
    elif isinstance(by, tuple):
        told = {name: args.get(name) for name in by}
    else:
        told = by(args)
    try:
        text = "" if told == {} else json.dumps(told, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError):
        # A set, or an object's repr, would be another text in every process, and no key.
        raise InvalidOption(
            f"the `by` function of task {task!r} gave {quote(told)}; give text, numbers, or lists and mappings of them"
        ) from None
    if len(text) > _LONGEST_NAME:
        text = hashlib.sha256(text.encode()).hexdigest()
    return f"{kind}:{task}:{text}"


def _check_by(by: object) -> None:
    names = isinstance(by, tuple) and all(isinstance(name, str) for name in by)
    if by != "all" and not names and not callable(by):
        raise InvalidOption(f"by={quote(by)} is neither 'all', a tuple of argument names, nor a function of them")


def _positive(name: str, value: Duration | None) -> None:
    if value is not None and to_ms(value) < 1:
        raise InvalidOption(f"{name}={quote(value)} is no time at all; give a millisecond at least")
