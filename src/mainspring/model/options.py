"""What can be set for a task and for one job, the checks of names and numbers, and every default."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args

from mainspring.errors import InvalidOption
from mainspring.model.backoff import Retry
from mainspring.model.durations import MAX_MS
from mainspring.model.holes import Hole
from mainspring.model.keys import Debounce, KeyRule, Throttle, Unique
from mainspring.model.limits import Rate, check_concurrency, check_cost, check_rates
from mainspring.model.secrets import Path
from mainspring.model.sizes import to_bytes
from mainspring.model.states import State
from mainspring.model.text import quote

__all__ = [
    "AUDIT_KEEP_MS",
    "BEAT_MS",
    "DEFAULT_PRIORITY",
    "DEFAULT_QUEUE",
    "GRACE_MS",
    "KEEP_MS",
    "LEASE_MS",
    "MAX_CRASHES",
    "REAP_MS",
    "TASK_GRACE_MS",
    "TEXT_SEARCHED",
    "Executor",
    "JobOptions",
    "TaskOptions",
    "check_name",
    "check_priority",
    "check_tags",
]

MAX_CRASHES = 3
"""At how many lost workers a job counts as poison."""
LEASE_MS = 30_000
"""How long after its last beat a worker counts as alive."""
BEAT_MS = 10_000
"""How often a worker beats: twice may be missed."""
REAP_MS = 5_000
"""How often workers look for the jobs of dead ones."""
GRACE_MS = 25_000
"""How long a stopping worker lets its jobs finish."""
TASK_GRACE_MS = 5_000
"""How long a run that was told to end may take over it, before it is given up or its process killed."""
KEEP_MS = {State.COMPLETED: 86_400_000, State.DEAD: 30 * 86_400_000, State.CANCELLED: 30 * 86_400_000}
"""How long final jobs are kept."""
AUDIT_KEEP_MS = 90 * 86_400_000
"""How long the audit log is kept."""

TEXT_SEARCHED = 64 * 1024
"""How many characters of a job's arguments are searched for a text: the first."""

DEFAULT_QUEUE = "default"
DEFAULT_PRIORITY = 5
_PRIORITIES = range(-1000, 1001)
_NAME_LENGTH = 200
_TAG_LENGTH = 100
_MOST_TAGS = 20

Executor = Literal["auto", "thread", "process"]
"""Where a task runs. "auto": async functions on the event loop, plain ones on a thread. "process": either in a process
beside the worker, which does nothing else meanwhile."""


def check_name(kind: str, value: object) -> str:
    """`value`, if it can name a `kind` of thing ("task", "queue"); else raises `InvalidOption`."""
    if not isinstance(value, str):
        raise InvalidOption(f"{kind} name {quote(value)} is of type {type(value).__name__}; give text")
    if not 1 <= len(value) <= _NAME_LENGTH:
        raise InvalidOption(f"{kind} name {quote(value)} has {len(value)} characters; give 1 to {_NAME_LENGTH}")
    if value != value.strip():
        raise InvalidOption(f"{kind} name {quote(value)} begins or ends with white space; take it away")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        raise InvalidOption(f"{kind} name {quote(value)} has control characters or lone surrogates; take them away")
    return value


def check_priority(value: object) -> int:
    """`value`, if it is a priority; else raises `InvalidOption`."""
    if type(value) is not int or value not in _PRIORITIES:
        raise InvalidOption(f"priority={quote(value)} is not a whole number from -1000 to 1000; lower runs first")
    return value


def check_tags(tags: object) -> tuple[str, ...]:
    """`tags` without repetitions, if a job can have them; else raises `InvalidOption`."""
    if isinstance(tags, str) or not isinstance(tags, Iterable):
        raise InvalidOption(f"tags={quote(tags)} is no list of texts; give one, such as tags=['vip', 'import']")
    distinct = tuple(dict.fromkeys(tags))
    for tag in distinct:
        if len(check_name("tag", tag)) > _TAG_LENGTH:
            raise InvalidOption(f"tag {quote(tag)} has {len(tag)} characters; give {_TAG_LENGTH} at most")
    if len(distinct) > _MOST_TAGS:
        raise InvalidOption(f"{len(distinct)} tags are given; a job can have {_MOST_TAGS}")
    return distinct


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """How a task's jobs run, unless a job says otherwise. Raises `InvalidOption`, naming the value."""

    queue: str = DEFAULT_QUEUE
    priority: int = DEFAULT_PRIORITY
    """Lower runs first."""
    retry: Retry = field(default_factory=Retry)
    timeout_ms: int | None = None
    grace_ms: int = TASK_GRACE_MS
    """How long a run that was told to end may take over it."""
    deadline_ms: int | None = None
    """How long after it was enqueued a job is still worth starting."""
    memory: int | None = None
    """How much memory its process may have, in bytes."""
    executor: Executor = "auto"
    keys: tuple[KeyRule, ...] = ()
    """Which keys its jobs take."""
    concurrency: int | None = None
    """How many of its jobs may run at once, over all workers and queues."""
    rates: tuple[Rate, ...] = ()
    """How many of them may start in a time."""
    cost: int = 1
    """How many starts each of them counts for, where a rate limits them."""
    tags: tuple[str, ...] = ()
    """Words by which its jobs can be found."""

    def __post_init__(self) -> None:
        check_name("queue", self.queue)
        check_priority(self.priority)
        _check_retry(self.retry)
        _check_ms("timeout_ms", self.timeout_ms)
        _check_ms("grace_ms", self.grace_ms, least=0)
        _check_ms("deadline_ms", self.deadline_ms)
        if self.executor not in get_args(Executor):
            raise InvalidOption(f"executor={quote(self.executor)} is not one of {', '.join(get_args(Executor))}")
        if self.memory is not None:
            to_bytes(self.memory)
            if self.executor != "process":
                raise InvalidOption(
                    "memory= can be kept only where a job has a process of its own, which can be measured and killed; "
                    'say executor="process" too'
                )
        check_concurrency(self.concurrency)
        check_rates(self.rates)
        check_cost(self.cost)
        check_tags(self.tags)
        for rule in self.keys:
            if not isinstance(rule, Unique | Debounce | Throttle):
                raise InvalidOption(f"{quote(rule)} is no Unique, Debounce or Throttle")


@dataclass(frozen=True, slots=True)
class JobOptions:
    """What one job overrides of its task's options; None overrides nothing. Raises `InvalidOption`."""

    retry: Retry | None = None
    timeout_ms: int | None = None
    deadline_ms: int | None = None
    deadline_at: int | None = None
    """The same as a point in time, on the store's clock."""
    each: bool = False
    """Its arguments are `{"items": [...]}`: it runs the function for each of them, and its result is a list."""
    holes: tuple[Hole, ...] = ()
    """Where results of its parents go, among its arguments."""
    parents: int = 0
    """How many parents those were counted with, where there are holes."""
    tags: tuple[str, ...] = ()
    """Words by which it can be found; its task's among them."""
    secrets: tuple[Path, ...] = ()
    """What of its arguments is not to be shown, for those who do not know its task."""
    trace: tuple[tuple[str, str], ...] = ()
    """Where it was enqueued, by name, for who follows jobs (`tracing`)."""
    sealed: tuple[Path, ...] = ()
    """Where its arguments are encrypted."""

    def __post_init__(self) -> None:
        if self.retry is not None:
            _check_retry(self.retry)
        _check_ms("timeout_ms", self.timeout_ms)
        _check_ms("deadline_ms", self.deadline_ms)
        _check_ms("deadline_at", self.deadline_at, most=2**43)

    @property
    def sealed_paths(self) -> tuple[Path, ...]:
        """Where its arguments are encrypted, as they are stored."""
        return tuple(("items", "*", *path) for path in self.sealed) if self.each else self.sealed

    def over(self, task: TaskOptions) -> TaskOptions:
        """The task's options with this job's in their place.

        Which exceptions are tried again stays the task's word: a job's own rules are stored as data, and hold no types.
        """
        if self.retry is None and self.timeout_ms is None:
            return task
        retry = self.retry and replace(self.retry, on=task.retry.on, never=task.retry.never)
        return replace(task, retry=retry or task.retry, timeout_ms=self.timeout_ms or task.timeout_ms)

    def deadline(self, task: TaskOptions, created_at: int) -> int | None:
        """After when a job that was enqueued then is not worth starting any more, on the store's clock."""
        if self.deadline_at is not None:
            return self.deadline_at
        after = self.deadline_ms or task.deadline_ms
        return None if after is None else created_at + after

    def to_text(self) -> str | None:
        """JSON object text for the store, None if nothing is overridden.

        Raises `InvalidOption` if the retry rules hold code (a delay function, exception types).
        """
        overridden: dict[str, Any] = {}
        if self.retry is not None:
            overridden["retry"] = self.retry.to_json()
        if self.timeout_ms is not None:
            overridden["timeout_ms"] = self.timeout_ms
        if self.deadline_ms is not None:
            overridden["deadline_ms"] = self.deadline_ms
        if self.deadline_at is not None:
            overridden["deadline_at"] = self.deadline_at
        if self.each:
            overridden["each"] = True
        if self.holes:
            overridden["holes"] = [hole.to_json() for hole in self.holes]
            overridden["parents"] = self.parents
        if self.tags:
            overridden["tags"] = self.tags
        if self.secrets:
            overridden["secrets"] = self.secrets
        if self.trace:
            overridden["trace"] = dict(self.trace)
        if self.sealed:
            overridden["sealed"] = self.sealed
        return json.dumps(overridden, separators=(",", ":")) if overridden else None

    @classmethod
    def from_text(cls, text: str | None) -> JobOptions:
        """What `to_text` wrote. Raises `InvalidOption` for anything else."""
        if text is None:
            return _NOTHING
        try:
            stored = json.loads(text)
        except ValueError:
            stored = None
        if not isinstance(stored, dict) or not _STORED.issuperset(stored):
            known = ", ".join(sorted(_STORED))
            raise InvalidOption(f"job options {quote(text)} are not a JSON object with (some of) {known}")
        retry = stored.get("retry")
        try:
            holes = tuple(Hole.from_json(each) for each in stored.get("holes", ()))
        except (ValueError, TypeError):
            raise InvalidOption(f"job options {quote(text)} have holes that cannot be read") from None
        trace = stored.get("trace", {})
        if not isinstance(trace, dict) or not all(isinstance(value, str) for value in trace.values()):
            raise InvalidOption(f"job options {quote(text)} have a trace that is no object of texts")
        return cls(
            retry=None if retry is None else Retry.from_json(retry),
            timeout_ms=stored.get("timeout_ms"),
            deadline_ms=stored.get("deadline_ms"),
            deadline_at=stored.get("deadline_at"),
            each=stored.get("each") is True,
            holes=holes,
            parents=stored.get("parents", 0),
            tags=tuple(stored.get("tags", ())),
            secrets=tuple(map(tuple, stored.get("secrets", ()))),
            trace=tuple(trace.items()),
            sealed=tuple(map(tuple, stored.get("sealed", ()))),
        )


def _check_retry(value: object) -> None:
    if not isinstance(value, Retry):
        raise InvalidOption(f"retry={quote(value)} is not a Retry; give one, such as Retry(attempts=5)")


def _check_ms(name: str, value: object, *, least: int = 1, most: int = MAX_MS) -> None:
    if value is not None and (type(value) is not int or not least <= value <= most):
        raise InvalidOption(f"{name}={quote(value)} is not a whole number of milliseconds from {least} on")


_NOTHING = JobOptions()
_STORED = frozenset(each.name for each in fields(JobOptions))
