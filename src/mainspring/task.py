"""A task: a function with a name and options, that can be called, or enqueued as a job."""

from __future__ import annotations

import functools
import inspect
import json
import os
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload
from uuid import UUID

from mainspring.audit import actor, audited
from mainspring.clock import aware_ms, new_id
from mainspring.draft import JobDraft, followed, handles, insert
from mainspring.errors import ConfigurationError, InvalidFlow, InvalidOption
from mainspring.job import Job
from mainspring.model.backoff import Retry
from mainspring.model.durations import Duration, to_ms
from mainspring.model.holes import Gap
from mainspring.model.job import Key, NewJob
from mainspring.model.keys import IDEMPOTENCY_FOR, Debounce, KeyRule, Unique, idempotency
from mainspring.model.limits import KEEP, Keep, check_cost
from mainspring.model.options import JobOptions, TaskOptions, check_name, check_priority, check_tags
from mainspring.model.partitions import partition_name
from mainspring.model.sealing import overlap
from mainspring.model.secrets import digested, redacted
from mainspring.model.text import quote
from mainspring.store.base import InsertRequest
from mainspring.twin import Steps, ask, twins

if TYPE_CHECKING:
    from mainspring.app import Mainspring
    from mainspring.flow import Flow
    from mainspring.model.codec import ArgumentsCodec, ResultCodec
    from mainspring.worker.context import Context

__all__ = [
    "AsyncTask",
    "BoundTask",
    "JobDraft",
    "SyncTask",
    "Task",
    "TaskDecorator",
    "Terms",
    "insert",
    "make_task",
    "new_id",
    "same",
]

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T", bound="Task[..., Any]")


@dataclass(frozen=True, slots=True)
class Terms:
    """What a job's enqueuing adds to its task and arguments."""

    queue: str
    priority: int
    delay_ms: int = 0
    run_at: int | None = None
    override: JobOptions = field(default_factory=JobOptions)
    override_text: str | None = None
    """`override`, as it is stored."""
    id: str | None = None
    rules: tuple[KeyRule, ...] = ()
    idempotency_key: str | None = None
    idempotency_for: Duration = IDEMPOTENCY_FOR
    partition: str | None = None
    """None: its queue tells, by its arguments."""
    cost: int = 1
    tx: object | Keep = KEEP
    """The connection whose transaction the job is to be a part of."""
    makes_keys: bool = field(init=False)
    wait_ms: int = field(init=False)
    """How long after the insert the job may run: `delay_ms`, or what its debounce rule says."""

    def __post_init__(self) -> None:
        waits = [rule.wait_ms for rule in self.rules if isinstance(rule, Debounce)]
        timed = self.delay_ms or self.run_at is not None
        object.__setattr__(self, "wait_ms", self.delay_ms if timed or not waits else max(waits))
        object.__setattr__(self, "makes_keys", bool(self.rules or self.idempotency_key))

    def keys(self, task: Task[..., Any], text: str) -> tuple[Key, ...]:
        """The keys that a job with these arguments takes, the caller's own first."""
        own = idempotency(task.name, self.idempotency_key, self.idempotency_for) if self.idempotency_key else None
        args = task.args_of(text)
        # A key's name is shown where two jobs want it, and arguments are in it as they are.
        shown = digested(args, task.codec.secrets)
        encrypted = {path[0] for path in task.codec.encrypted}
        keys: list[Key] = []
        for rule in self.rules:
            if encrypted and not (isinstance(rule.by, tuple) and encrypted.isdisjoint(rule.by)):
                keys += _veiled(rule, task, args)
            else:
                keys.append(rule.key(task.name, args if callable(rule.by) else shown))
        return (*filter(None, [own]), *keys)


class BoundTask(Generic[P, R_co]):
    """A task on certain terms. A `Task` is one on its own terms; `using(...)` makes others."""

    def __init__(self, app: Mainspring, task: Task[P, R_co], terms: Terms) -> None:
        self._app = app
        self._task = task
        self._terms = terms

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._task.name}>"

    def job(self, /, *args: P.args, **kwargs: P.kwargs) -> JobDraft[R_co]:
        """A job with these arguments, validated and not yet enqueued: `app.enqueue_many([task.job(1), task.job(2)])`.

        Raises `ValidationError` for arguments that do not fit the function's signature, and its subclass
        `PayloadError` for such as have no safe JSON form; `InvalidOption` where they name no partition of the queue.
        """
        self._refuse_tx("jobs that are enqueued later", "app.enqueue_many([...], tx=...) or flow.enqueue(tx=...)")
        return self._job(*args, **kwargs)

    def _job(self, /, *args: P.args, **kwargs: P.kwargs) -> JobDraft[R_co]:
        text, gaps = self._task.codec.encode_with_gaps(args, kwargs)
        if gaps:
            self._refuse_to_tell_by({str(gap.path[0]) for gap in gaps})
            self._refuse_to_encrypt(gaps)
        return self._draft(text, gaps)

    def _draft(self, text: str, gaps: tuple[Gap, ...] = ()) -> JobDraft[R_co]:
        return JobDraft(self._new(text), self._app, self._said[0], gaps)

    @functools.cached_property
    def _said(self) -> tuple[JobOptions, str | None]:
        """What its jobs are stored with: the terms' options, and which arguments are secret, or encrypted."""
        override, codec = self._terms.override, self._task.codec
        if not codec.secrets:
            return override, self._terms.override_text
        whole = replace(override, secrets=codec.secrets, sealed=codec.encrypted)
        return whole, whole.to_text()

    def _new(self, text: str) -> NewJob:
        task, terms = self._task, self._terms
        options, options_text = self._said
        return NewJob(
            terms.id or new_id(),
            task.name,
            terms.queue,
            self._app.keyring.seal(text, task.name, options) if options.sealed else text,
            terms.priority,
            terms.run_at,
            terms.wait_ms,
            options_text,
            terms.keys(task, text) if terms.makes_keys else (),
            terms.partition if terms.partition is not None else self._app.partition_of(task, terms.queue, text),
            terms.cost,
        )

    def _refuse_tx(self, what: str, instead: str) -> None:
        if self._terms.tx is not KEEP:
            raise InvalidOption(f"task {self._task.name!r}: using(tx=...) says nothing about {what}; say {instead}")

    def _refuse_to_tell_by(self, names: set[str]) -> None:
        """Refuse keys and partitions that depend on arguments which are results not known yet."""
        for rule in self._terms.rules:
            if not isinstance(rule.by, tuple) or not names.isdisjoint(rule.by):
                raise InvalidFlow(
                    f"task {self._task.name!r}: {type(rule).__name__}(by={quote(rule.by)}) cannot tell jobs apart by "
                    f"{', '.join(sorted(names))}, the result of another job, which is not known yet; name others in by="
                )
        partitioning = self._app.partitioning(self._terms.queue)
        if self._terms.partition is None and partitioning is not None and partitioning.by in names:
            raise InvalidFlow(
                f"task {self._task.name!r}: queue {self._terms.queue!r} is partitioned by {partitioning.by!r}, which "
                "is the result of another job and not known yet; say using(partition=...)"
            )

    def _refuse_to_encrypt(self, gaps: Iterable[Gap]) -> None:
        """Refuse results of other jobs where arguments are encrypted: those are stored as they are."""
        for gap in gaps:
            if overlap(gap.path, self._task.codec.encrypted):
                raise InvalidFlow(
                    f"task {self._task.name!r}: argument {gap.path[0]!r} is encrypted, and {gap.of!r} is stored as it "
                    "is; keep the value elsewhere, and hand over where"
                )

    def _enqueue(self, /, *args: P.args, **kwargs: P.kwargs) -> Steps[Job[R_co]]:
        """Store a job with these arguments; when this returns, the job is durable.

        Where a key gave an existing job instead of a new one, it is that one, and `existed` is true. Raises
        `ValidationError` as `job` does, before anything is stored, `DuplicateJob` where a `Unique` rule says so,
        `QueueFull` where its queue has a `max_queued`, and `StoreError` where the store fails.

        With `using(tx=connection)` the job is a part of the transaction that is open there instead: durable when that
        commits, and gone when it rolls back. Raises `UnusableTransaction`.
        """
        text, gaps = self._task.codec.encode_with_gaps(args, kwargs)
        new = self._draft(text, gaps).alone() if gaps else self._new(text)
        if actor() is None:
            return (yield from self._insert(new))
        detail = {"job": new.id, "queue": new.queue, "args": redacted(json.loads(text), self._task.codec.secrets)}
        stored = self._insert(new)
        return (
            yield from audited("jobs.enqueue", new.task, detail, stored, lambda job: not job.existed, self._terms.tx)
        )

    enqueue, aenqueue = twins(_enqueue)

    def _insert(self, new: NewJob) -> Steps[Job[R_co]]:
        return followed(self._app, (new,), self._store)

    def _store(self, jobs: Sequence[NewJob]) -> Steps[Job[R_co]]:
        terms, (new,) = self._terms, jobs
        # An id of the caller's may have been there before, and so may one in his transaction, which he can repeat.
        fresh = terms.id is None and terms.tx is KEEP
        replies = yield from ask(InsertRequest((new,), fresh=fresh), terms.tx)
        if replies[0].stored:
            return Job(self._app, new)
        (job,) = yield from handles(self._app, (new,), replies, terms.tx)
        return job

    def map(self, items: Iterable[Any], *, chunk: int = 1) -> Flow[list[R_co]]:
        """A flow of one job per item, each with that item as its one argument; its result is the list of theirs.

            flow = resize.map(paths, chunk=100).enqueue()
            sizes = flow.result()

        With `chunk` a job takes so many items, calls the function for each in order, and fails as a whole if one call
        does: less to store for many small ones. It also goes into a `chain` or a `chord`, as a `group` does. Raises
        `ValidationError` for items that do not fit, `InvalidOption`.
        """
        from mainspring.shapes import mapped

        self._refuse_tx("a flow", "task.map(...).enqueue(tx=...)")
        if type(chunk) is not int or chunk < 1:
            raise InvalidOption(f"chunk={quote(chunk)} is not a whole number from 1 on")
        terms = self._terms
        if terms.id is not None or terms.idempotency_key is not None:
            raise InvalidOption(f"task {self._task.name!r}: one id, or one idempotency key, would make all jobs one")
        if chunk == 1:
            return mapped(self._task.name, [self.job(item) for item in items], chunk)  # type: ignore[call-arg]
        if terms.rules or (terms.partition is None and self._app.partitioning(terms.queue) is not None):
            raise InvalidOption(
                f"task {self._task.name!r}: a job with chunk={chunk} has the arguments of many, so neither keys nor "
                "partitions can be told by them; say chunk=1, or using(partition=...)"
            )
        override = replace(terms.override, each=True)
        of_chunk = BoundTask(self._app, self._task, replace(terms, override=override, override_text=override.to_text()))
        codec = self._task.codec
        return mapped(
            self._task.name, [of_chunk._draft(codec.encode_each(part)) for part in _chunks(items, chunk)], chunk
        )

    def using(
        self,
        *,
        delay: Duration | None = None,
        at: datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        timeout: Duration | None = None,
        deadline: Duration | datetime | None = None,
        retry: Retry | int | None = None,
        id: str | UUID | None = None,
        unique: Unique | None = None,
        idempotency_key: str | None = None,
        idempotency_for: Duration | None = None,
        partition: str | int | UUID | None = None,
        cost: int | None = None,
        tags: Iterable[str] | None = None,
        tx: object | Keep = KEEP,
    ) -> BoundTask[P, R_co]:
        """The same task on other terms; what is not given stays: `task.using(delay="2h").enqueue(7)`.

        `delay` says how long from now the job may run first, `at` (an aware `datetime`) when; lower `priority` runs
        first; `retry` as a number changes only how often to try. A job that has not started by its `deadline` (an aware
        `datetime`, or how long after it is enqueued) is cancelled instead. One whose `id` is there already is not
        stored again. `unique` takes the place of the task's own rule. The first job with an `idempotency_key` is what
        every later one with that key gives, for 24 hours or `idempotency_for`, also after it has ended. `partition`
        takes the place of what the queue makes of the arguments (""; in none), and `cost` is how many starts the job
        counts for where a rate limits it. `tags`, instead of the task's, are words by which it can be found. `tx` is a
        connection or session of your own, whose transaction enqueues the job. Raises `InvalidOption` or
        `InvalidDuration`.
        """
        old, override = self._terms, self._terms.override
        if delay is not None and at is not None:
            raise InvalidOption(f"delay={quote(delay)} and at={quote(at)} are given; give one of them")
        if retry is not None:
            if isinstance(retry, int):
                # The task's own exception types stay in force, see `JobOptions.over`; a store cannot keep types.
                retry = replace(self._task.options.retry, attempts=retry, on=(), never=())
            override = replace(override, retry=retry)
        if timeout is not None:
            override = replace(override, timeout_ms=to_ms(timeout))
        if isinstance(deadline, datetime):
            override = replace(override, deadline_at=aware_ms("deadline", deadline), deadline_ms=None)
        elif deadline is not None:
            override = replace(override, deadline_ms=to_ms(deadline), deadline_at=None)
        if tags is not None:
            override = replace(override, tags=check_tags(tags))
        keep_time = delay is None and at is None
        terms = Terms(
            queue=old.queue if queue is None else check_name("queue", queue),
            priority=old.priority if priority is None else check_priority(priority),
            delay_ms=old.delay_ms if keep_time else 0 if delay is None else to_ms(delay),
            run_at=old.run_at if keep_time else None if at is None else aware_ms("at", at),
            override=override,
            override_text=override.to_text(),
            id=old.id if id is None else check_name("id", str(id) if isinstance(id, UUID) else id),
            rules=old.rules if unique is None else _with(old.rules, unique),
            idempotency_key=old.idempotency_key if idempotency_key is None else idempotency_key,
            idempotency_for=old.idempotency_for if idempotency_for is None else idempotency_for,
            partition=old.partition if partition is None else partition_name(partition),
            cost=old.cost if cost is None else check_cost(cost),
            tx=old.tx if tx is KEEP else tx,
        )
        _check_names(self._task, terms.rules)
        if terms.idempotency_key is not None:
            idempotency(self._task.name, terms.idempotency_key, terms.idempotency_for)
        return BoundTask(self._app, self._task, terms)


class Task(BoundTask[P, R_co]):
    """A function that can be enqueued. `P` are its parameters, `R_co` what it returns (once awaited, if it is async).

    Made by `@app.task`. Calling it calls the function, here and now.
    """

    __name__: str
    name: str
    function: Callable[..., Any]
    options: TaskOptions
    is_async: bool

    def __init__(self, app: Mainspring, function: Callable[..., Any], name: str, options: TaskOptions) -> None:
        override = JobOptions(tags=options.tags)
        super().__init__(
            app,
            self,
            Terms(
                options.queue,
                options.priority,
                override=override,
                override_text=override.to_text(),
                rules=options.keys,
                cost=options.cost,
            ),
        )
        functools.update_wrapper(self, function, updated=())
        self.name = name
        self.function = function
        self.options = options
        self.is_async = _is_async(function)
        self._result_codec: ResultCodec | None = None
        self._defaults: dict[str, Any] | None = None
        _check_names(self, options.keys)

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Call the function, with nothing in between."""
        return self.function(*args, **kwargs)

    @property
    def stored_options(self) -> JobOptions:
        """The options that its jobs are stored with, unless something else is said."""
        return self._said[0]

    @property
    def makes_keys(self) -> bool:
        """Whether its jobs take keys."""
        return self._terms.makes_keys

    def keys_of(self, text: str) -> tuple[Key, ...]:
        """The keys that a job of this task takes, by its arguments as JSON object text, not sealed."""
        return self._terms.keys(self, text) if self._terms.makes_keys else ()

    def args_of(self, text: str) -> dict[str, Any]:
        """All arguments by name, as JSON values: those in `text`, not sealed, and the defaults of the others."""
        args: dict[str, Any] = self.defaults | json.loads(text)
        return args

    # The codecs are made when first needed: then also those types can be found that the user's module defines after
    # the task, and a program that enqueues nothing need not load pydantic.

    @functools.cached_property
    def codec(self) -> ArgumentsCodec:
        """Reads and writes arguments. Raises `ConfigurationError` for annotations that cannot be resolved."""
        from mainspring.model.codec import ArgumentsCodec
        from mainspring.worker.context import Context

        return ArgumentsCodec(self.function, injected=Context, task=self.name)

    @property
    def defaults(self) -> dict[str, Any]:
        """The defaults of its parameters, as JSON values: an argument left out is the same as its default given."""
        if self._defaults is None:
            from pydantic_core import to_jsonable_python

            given = {name: each.default for name, each in _parameters(self).items() if each.default is not each.empty}
            jsonable = {name: to_jsonable_python(value, fallback=str) for name, value in given.items()}
            self._defaults = self.codec.in_order(jsonable)
        return self._defaults

    @property
    def result_codec(self) -> ResultCodec:
        """Reads and writes results. Raises as `codec`."""
        if self._result_codec is None:
            from mainspring.model.codec import ResultCodec

            self._result_codec = ResultCodec(self.function, task=self.name)
        return self._result_codec


class AsyncTask(Task[P, R_co]):
    """A task whose function is async: calling it gives an awaitable."""

    if TYPE_CHECKING:

        def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]: ...


class SyncTask(Task[P, R_co]):
    """A task whose function is a plain one."""

    if TYPE_CHECKING:

        def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class TaskDecorator:
    """`@app.task(...)`, `@app.cron(...)` or `@app.every(...)`, waiting for its function.

    A leading `Context` parameter is no argument of the job, so the types leave it out of `enqueue` and its kin.
    """

    def __init__(self, decorate: Callable[[Any], Task[..., Any]]) -> None:
        self._decorate = decorate

    @overload
    def __call__(self, function: T, /) -> T: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R_co]], /
    ) -> AsyncTask[P, R_co]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R_co], /) -> SyncTask[P, R_co]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, R_co]], /
    ) -> AsyncTask[P, R_co]: ...
    @overload
    def __call__(self, function: Callable[P, R_co], /) -> SyncTask[P, R_co]: ...
    def __call__(self, function: Any, /) -> Any:
        return self._decorate(function)


def make_task(app: Mainspring, function: Any, name: str | None, options: TaskOptions) -> Task[..., Any]:
    """The task of `function`. Raises `ConfigurationError` for what cannot be one."""
    if isinstance(function, BoundTask):
        raise ConfigurationError(f"{function!r} is a task already; decorate the function once")
    if not callable(function) or inspect.isclass(function):
        kind = "a class" if inspect.isclass(function) else f"of type {type(function).__name__}"
        raise ConfigurationError(f"{quote(function)} is {kind}; a task is made from a function")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigurationError(f"{quote(function)} is a generator; a task is a function that returns its result")
    name = name if name is not None else getattr(function, "__name__", None)
    if name is None:
        raise InvalidOption(f'{quote(function)} has no name of its own; give one: app.task(name="...")')
    kind_of_task = AsyncTask if _is_async(function) else SyncTask
    if kind_of_task is AsyncTask and options.executor == "thread":
        raise InvalidOption(
            f"task {name!r} is an async function, which runs on the event loop and not on a thread; leave "
            'executor= out, or say executor="process"'
        )
    return kind_of_task(app, function, check_name("task", name), options)


def same(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Whether both are one function of the source: reloaded, or run as `__main__` and imported besides."""
    return one is other or (
        getattr(one, "__qualname__", one) == getattr(other, "__qualname__", other)
        and (getattr(one, "__module__", "") == getattr(other, "__module__", "") or _file(one) == _file(other) != "")
    )


def _chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """The items in lists of that size; the last may be shorter."""
    left = iter(items)
    while part := list(islice(left, size)):
        yield part


def _with(rules: tuple[KeyRule, ...], unique: Unique) -> tuple[KeyRule, ...]:
    if not isinstance(unique, Unique):
        raise InvalidOption(f"unique={quote(unique)} is not a Unique; give one, such as Unique(by=('user_id',))")
    return (*(rule for rule in rules if not isinstance(rule, Unique)), unique)


def _veiled(rule: KeyRule, task: Task[..., Any], args: Mapping[str, Any]) -> Iterator[Key]:
    """A rule's key where something encrypted may be in its name: known by digests, one under each encryption key."""
    try:
        key = rule.key(task.name, args)
    except InvalidOption:
        # What it says may have the value in it.
        raise InvalidOption(
            f"the `by` function of task {task.name!r} gave no text, number, list or mapping of them"
        ) from None
    kind = type(rule).__name__.lower()
    for digest in task._app.keyring.digests(key.name):
        yield replace(key, name=f"{kind}:{task.name}:{digest}")


def _check_names(task: Task[..., Any], rules: tuple[KeyRule, ...]) -> None:
    """Refuse rules that tell jobs apart by arguments that there are not: all jobs would be taken for one."""
    for rule in rules:
        for name in rule.by if isinstance(rule.by, tuple) else ():
            if name not in (there := _parameters(task)):
                raise InvalidOption(
                    f"by={quote(rule.by)}: task {task.name!r} has no parameter {name!r}; it has: {', '.join(there)}"
                )


def _parameters(task: Task[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(task.function).parameters


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _file(function: Callable[..., Any]) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return os.path.realpath(code.co_filename) if code else ""
