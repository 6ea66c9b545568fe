"""The app: where tasks are registered, jobs are enqueued, and everything else of Mainspring is found."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar, overload

from mainspring.admin import Audit, Flows, Jobs, Queues, Schedules, Stats, Webhooks, Workers
from mainspring.admin.queues import check_limits
from mainspring.admin.schedules import DeclaredSchedule, make_timing
from mainspring.errors import DuplicateTask, InvalidOption, UnknownTask
from mainspring.events import EVENT_NAMES, EventName, Observer
from mainspring.job import Job
from mainspring.model.backoff import Retry
from mainspring.model.durations import Duration, to_ms
from mainspring.model.keys import Debounce, KeyRule, Throttle, Unique
from mainspring.model.limits import (
    KEEP,
    NO_LIMITS,
    Keep,
    Limits,
    Rates,
    check_concurrency,
    check_max_queued,
    check_rates,
)
from mainspring.model.options import (
    DEFAULT_PRIORITY,
    DEFAULT_QUEUE,
    TASK_GRACE_MS,
    Executor,
    TaskOptions,
    check_name,
    check_tags,
)
from mainspring.model.partitions import PartitionBy, Partitioning
from mainspring.model.sizes import to_bytes
from mainspring.model.text import quote
from mainspring.outbox import Outbox
from mainspring.store.base import (
    Change,
    DefineQueue,
    DefineTask,
    PutSchedule,
    Sequence,
    Settings,
    Store,
    in_portions,
    portions,
)
from mainspring.store.connect import connect
from mainspring.store.outbox.opening import Outboxes, open_outbox, refuse_same_place
from mainspring.store.outbox.table import OutboxTable
from mainspring.task import AsyncTask, BoundTask, JobDraft, SyncTask, Task, TaskDecorator, insert, make_task, same
from mainspring.twin import Async, Blocking, Steps, twins
from mainspring.webhooks.webhook import CONCURRENCY
from mainspring.webhooks.webhook import QUEUE as DELIVERIES

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from mainspring.model.schedule import CatchUp, Timing
    from mainspring.webhooks.webhook import WebhookEvent
    from mainspring.worker.context import Context
    from mainspring.worker.runner import Middleware
    from mainspring.worker.worker import Worker

__all__ = ["DEFAULT_URL", "Mainspring"]

P = ParamSpec("P")
R = TypeVar("R")
ObserverT = TypeVar("ObserverT", bound=Observer)
MiddlewareT = TypeVar("MiddlewareT", bound="Middleware")

DEFAULT_URL = "sqlite:///mainspring.db"


class Mainspring:
    """Background jobs on one store.

        app = Mainspring("sqlite:///jobs.db")

        @app.task(queue="email", retry=Retry(attempts=5), timeout="30s")
        async def send_welcome(user_id: int, email: str) -> None: ...

        send_welcome.enqueue(7, email="a@b.c")

    Without a URL it takes the environment's MAINSPRING_URL, else the file mainspring.db in the current folder. Making
    an app opens nothing; the store is opened by the first verb that needs it. Apps are safe to use from several
    threads, from any number of event loops, and after a fork.

    `outbox` (or the environment's MAINSPRING_OUTBOX) is the database in which your own transactions write jobs by
    `app.outbox(connection)`; the app's workers relay them from there to the store.

    Raises `InvalidURL`, and `InvalidOption` for an outbox in the database that the jobs are in.
    """

    def __init__(self, url: str | None = None, *, outbox: str | None = None) -> None:
        self.store: Store = connect(url if url is not None else os.environ.get("MAINSPRING_URL") or DEFAULT_URL)
        outbox = outbox if outbox is not None else os.environ.get("MAINSPRING_OUTBOX")
        self.relayed: OutboxTable | None = open_outbox(outbox) if outbox else None
        """The outbox that the workers of this app relay."""
        if self.relayed is not None:
            refuse_same_place(self.store, self.relayed)
        self._outboxes = Outboxes(self.relayed)
        self._blocking = Blocking(self.store)
        self._async = Async(self.store)
        self._tasks: dict[str, Task[..., Any]] = {}
        self._queues: dict[str, DefineQueue] = {}
        self._partitionings: dict[str, Partitioning] = {}
        self._schedules: dict[str, DeclaredSchedule] = {}
        self._middlewares: tuple[Middleware, ...] = ()
        self._observers: dict[EventName, tuple[Observer, ...]] = {}
        self.jobs = Jobs(self)
        """Look at jobs and change them: `find`, `count`, `get`, `cancel`, `retry`, `reschedule`, `delete`."""
        self.flows = Flows(self)
        """Look at flows and get hold of one: `list`, `get`, `view`."""
        self.queues = Queues(self)
        """Look at queues and change them: `list`, `partitions`, `pause`, `resume`, `set_limits`."""
        self.schedules = Schedules(self)
        """Look at schedules and change them: `list`, `put`, `pause`, `resume`, `remove`, `run_now`."""
        self.workers = Workers(self)
        """Look at workers and command them: `list`, `quiet`, `stop`."""
        self.webhooks = Webhooks(self)
        """Look at webhooks and try them: `list`, `test`."""
        self.stats = Stats(self)
        """See how much happened and how long it took: `series`, `totals`."""
        self.audit = Audit(self)
        """See what operators did: `list`."""

    def __repr__(self) -> str:
        return f"<Mainspring {self.url}>"

    @property
    def url(self) -> str:
        """Where the store is, without any password."""
        return self.store.url

    @property
    def _app(self) -> Mainspring:
        return self

    # --- tasks ---

    @property
    def tasks(self) -> Mapping[str, Task[..., Any]]:
        """All tasks by name."""
        return MappingProxyType(self._tasks)

    @overload
    def task(  # type: ignore[overload-overlap]
        self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def task(self, function: Callable[Concatenate[Context, P], R], /) -> SyncTask[P, R]: ...
    @overload
    def task(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> SyncTask[P, R]: ...
    @overload
    def task(
        self,
        /,
        *,
        name: str | None = None,
        queue: str = DEFAULT_QUEUE,
        priority: int = DEFAULT_PRIORITY,
        retry: Retry | int | None = None,
        timeout: Duration | None = None,
        grace: Duration | None = None,
        deadline: Duration | None = None,
        memory: str | int | None = None,
        executor: Executor = "auto",
        unique: Unique | None = None,
        debounce: Debounce | None = None,
        throttle: Throttle | None = None,
        concurrency: int | None = None,
        rate: Rates | None = None,
        cost: int = 1,
        tags: Iterable[str] = (),
    ) -> TaskDecorator: ...
    def task(
        self,
        function: Any = None,
        /,
        *,
        name: str | None = None,
        queue: str = DEFAULT_QUEUE,
        priority: int = DEFAULT_PRIORITY,
        retry: Retry | int | None = None,
        timeout: Duration | None = None,
        grace: Duration | None = None,
        deadline: Duration | None = None,
        memory: str | int | None = None,
        executor: Executor = "auto",
        unique: Unique | None = None,
        debounce: Debounce | None = None,
        throttle: Throttle | None = None,
        concurrency: int | None = None,
        rate: Rates | None = None,
        cost: int = 1,
        tags: Iterable[str] = (),
    ) -> Any:
        """Make a function a task: `@app.task`, or `@app.task(queue="email", retry=3, timeout="30s")`.

        The task's `name` (default: the function's) is what is stored with every job, so a renamed function keeps its
        old jobs by keeping its `name`. Lower `priority` runs first. `retry` as a number is how often to try in all.

        `timeout` is how long a run may take. What is told to end then (or because somebody cancels the job) has `grace`
        to do so, 5 s if not given; after that it is given up, or its process killed. `deadline` is how long after it
        was enqueued a job is worth starting; later it is cancelled. `executor="process"` runs the jobs in processes
        beside the worker, one at a time in each: for what computes, crashes or hangs. `memory` ("512MB") is how much
        such a process may have.

        `unique`, `debounce` and `throttle` say when enqueuing makes no new job: see `Unique`, `Debounce`, `Throttle`.

        `concurrency` is how many of its jobs may run at once, and `rate` how many may start in a time ("50/1m", a
        `Rate`, or several), over all workers and queues; `cost` is how many starts each of them counts for. `tags`
        are words by which its jobs can be found.

        Raises `InvalidOption`, `InvalidDuration`, and `DuplicateTask` for a name that another function has.
        """
        keys = tuple(rule for rule in (unique, debounce, throttle) if rule is not None)
        options = replace(
            _options(queue, priority, retry, timeout, executor, keys),
            grace_ms=TASK_GRACE_MS if grace is None else to_ms(grace),
            deadline_ms=None if deadline is None else to_ms(deadline),
            memory=None if memory is None else to_bytes(memory),
            concurrency=concurrency,
            rates=check_rates(rate),
            cost=cost,
            tags=check_tags(tags),
        )

        def decorate(function: Any) -> Task[..., Any]:
            return self._register(make_task(self, function, name, options))

        return TaskDecorator(decorate) if function is None else decorate(function)

    def _register(self, task: Task[..., Any]) -> Task[..., Any]:
        known = self._tasks.get(task.name)
        if known is not None and not same(known.function, task.function):
            raise DuplicateTask(
                f"task name {task.name!r} is taken by {_place(known.function)}, so {_place(task.function)} needs "
                'another: @app.task(name="...")'
            )
        self._tasks[task.name] = task
        return task

    def task_named(self, name: str) -> Task[..., Any]:
        """The task of that name. Raises `UnknownTask`, with the nearest name that there is."""
        task = self._tasks.get(name)
        if task is None:
            raise UnknownTask(f"no task is named {quote(name)}{_did_you_mean(name, self._tasks)}")
        return task

    # --- enqueuing ---

    def _enqueue(
        self, task: str, args: Mapping[str, Any] | None = None, *, tx: object | Keep = KEEP
    ) -> Steps[Job[Any]]:
        """Enqueue by the task's name, with the arguments by name. Raises `UnknownTask`, and as `Task.enqueue`."""
        known: BoundTask[..., Any] = self.task_named(task)
        return (yield from (known if tx is KEEP else known.using(tx=tx))._enqueue(**(args or {})))

    enqueue, aenqueue = twins(_enqueue)

    def _enqueue_many(self, drafts: Iterable[JobDraft[R]], *, tx: object | Keep = KEEP) -> Steps[list[Job[R]]]:
        """Enqueue many jobs at once: `app.enqueue_many(task.job(n) for n in range(1000))`.

        Up to 10,000 jobs (500 on Redis, which does nothing else meanwhile) appear together or not at all; more are
        stored in pieces of that size, and in smaller ones where arguments are over 32 KiB.

        With `tx`, a connection or session of your own, they are a part of the transaction that is open there, however
        many they are: durable when that commits, and gone when it rolls back. (Where one is turned away, the pieces
        before its own are in the transaction still.) Raises `UnusableTransaction`.
        """
        new = [draft.alone() if isinstance(draft, JobDraft) else _no_draft(draft) for draft in drafts]
        jobs: list[Job[R]] = []
        for piece in in_portions(new, self.store.insert_limit, lambda job: portions(job.args)):
            jobs += yield from insert(self, piece, tx=tx)
        return jobs

    enqueue_many, aenqueue_many = twins(_enqueue_many)

    def outbox(self, connection: object) -> Outbox:
        """Enqueue in a transaction of a database that the jobs are not in, such as PostgreSQL beside jobs in Redis:
        `app.outbox(connection).enqueue(task.job(7))`. What it writes is there when that transaction commits, and gone
        when it rolls back; workers bring it to the store after that. See `Outbox`."""
        return Outbox(self, connection)

    # --- schedules and queues ---

    def cron(
        self,
        expression: str,
        /,
        *,
        tz: str = "UTC",
        catch_up: CatchUp = "latest",
        jitter: Duration | None = None,
        name: str | None = None,
        args: Mapping[str, Any] | None = None,
        queue: str | None = None,
        priority: int | None = None,
        retry: Retry | int | None = None,
        timeout: Duration | None = None,
    ) -> TaskDecorator:
        """Run a task at the times of a cron line: `@app.cron("0 9 * * mon-fri", tz="Europe/Berlin")`.

        On a function, which thereby becomes a task with the options given, or on a task. `catch_up` says which of
        the times that passed while no worker ran are made up for: "none", the "latest", or "all". `jitter` spreads the
        jobs over so long a time. `args` are the arguments by name, `name` the schedule's name (default: the task's).
        A worker writes the schedule to the store when it starts.

        Raises `InvalidCron`, `InvalidOption`, `InvalidDuration`.
        """
        timing = make_timing(expression, None, tz, catch_up, jitter)
        return self._schedule(timing, name, args, _options(queue, priority, retry, timeout))

    def every(
        self,
        interval: Duration,
        /,
        *,
        catch_up: CatchUp = "latest",
        jitter: Duration | None = None,
        name: str | None = None,
        args: Mapping[str, Any] | None = None,
        queue: str | None = None,
        priority: int | None = None,
        retry: Retry | int | None = None,
        timeout: Duration | None = None,
    ) -> TaskDecorator:
        """Run a task at every full interval, counted from 1970 UTC: `@app.every("1h")`. Otherwise as `cron`."""
        timing = make_timing(None, interval, "UTC", catch_up, jitter)
        return self._schedule(timing, name, args, _options(queue, priority, retry, timeout))

    def _schedule(
        self, timing: Timing, name: str | None, args: Mapping[str, Any] | None, options: TaskOptions
    ) -> TaskDecorator:
        if name is not None:
            check_name("schedule", name)

        def decorate(function: Any) -> Task[..., Any]:
            if not isinstance(function, Task):
                task = self._register(make_task(self, function, None, options))
            elif options != TaskOptions():
                raise InvalidOption(
                    f"{function!r} is a task already; give queue, priority, retry, timeout to @app.task"
                )
            else:
                task = function
            declared = DeclaredSchedule(name or task.name, task, timing, args or {})
            known = self._schedules.get(declared.name)
            # A reloaded module declares its schedules again, on new tasks of the same functions.
            if known is not None and (known.task is task or not same(known.task.function, task.function)):
                raise InvalidOption(f'a schedule is named {declared.name!r} already; give this one its own: name="..."')
            self._schedules[declared.name] = declared
            return task

        return TaskDecorator(decorate)

    def declared_schedules(self, now: int) -> tuple[PutSchedule, ...]:
        """The schedules of the code, first due after `now`, for a worker to write to the store.

        Raises `ValidationError` for schedules whose arguments do not fit their task.
        """
        return tuple(declared.put(now) for declared in self._schedules.values())

    def queue(
        self,
        name: str,
        *,
        concurrency: int | None = None,
        rate: Rates | None = None,
        max_queued: int | None = None,
        partition: PartitionBy | None = None,
        per_partition: Limits | None = None,
        partitions: Mapping[str, Limits] | None = None,
        sequence: bool = False,
        on_failure: Sequence = "block",
    ) -> None:
        """Say that a queue exists, and what holds in it: `app.queue("api", concurrency=50, rate="300/1m")`.

        `concurrency` is how many of its jobs may run at once, `rate` how many may start in a time ("50/1m", a `Rate`,
        or several, all of which hold), `max_queued` how many may wait: enqueuing more raises `QueueFull`. All this is
        counted over all workers; None: no limit. Workers write it to the store when they start; what an operator sets
        (`app.queues.set_limits`, `mainspring queues limit`) wins.

        `partition` names the argument that tells whose jobs are whose, or is a function of the arguments (a mapping by
        name, as JSON values, defaults filled in). Partitions take turns, so that nobody's million jobs hold up the few
        of others. `per_partition` are the limits of each, `partitions` those of single ones, setting by setting.

        With `sequence` the jobs of a partition (of the queue, if it has none) run one at a time, in order; the next one
        starts when the one before has ended for good. One that is dead then holds up those behind it until it is
        retried or deleted (`on_failure="block"`), or does not ("skip").

        Raises `InvalidOption`, `InvalidDuration`.
        """
        if type(sequence) is not bool:
            raise InvalidOption(
                f"sequence={quote(sequence)} is neither True nor False; what follows a dead job is on_failure="
            )
        if on_failure not in ("block", "skip"):
            raise InvalidOption(f"on_failure={quote(on_failure)} is neither 'block' nor 'skip'")
        if on_failure == "skip" and not sequence:
            raise InvalidOption("on_failure='skip' says nothing without sequence=True; give both")
        if partitions is not None and not isinstance(partitions, Mapping):
            raise InvalidOption(f"partitions={quote(partitions)} is no mapping of names to Limits")
        exceptions = dict(partitions or {})
        defined = DefineQueue(
            check_name("queue", name),
            check_concurrency(concurrency),
            check_rates(rate),
            check_max_queued(max_queued),
            NO_LIMITS if per_partition is None else check_limits("per_partition", per_partition),
            tuple(
                (check_name("partition", one), check_limits(f"partitions[{one!r}]", exceptions[one]))
                for one in exceptions
            ),
            on_failure if sequence else None,
        )
        if partition is None:
            self._partitionings.pop(name, None)
        else:
            self._partitionings[name] = Partitioning(name, partition)
        self._queues[name] = defined

    def partition_of(self, task: Task[..., Any], queue: str, text: str) -> str:
        """The partition of that queue for a job with these stored arguments. Raises `InvalidOption`."""
        partitioning = self._partitionings.get(queue)
        return "" if partitioning is None else partitioning.partition_of(task.name, task.args_of(text))

    def partitioning(self, queue: str) -> Partitioning | None:
        """How the code tells that queue's partitions apart, if it has any."""
        return self._partitionings.get(queue)

    @property
    def declared_queues(self) -> tuple[DefineQueue, ...]:
        """The queues of the code: those declared by `queue`, and the others that tasks name."""
        named = {task.options.queue: DefineQueue(task.options.queue) for task in self._tasks.values()}
        if self.webhooks.declared:
            named[DELIVERIES] = DefineQueue(DELIVERIES, CONCURRENCY)
        return tuple((named | self._queues).values())

    def declared_tasks(self, gated: Iterable[str] = ()) -> tuple[DefineTask, ...]:
        """The limits of the code's tasks: of those that have some, and of those that the store still has some of."""
        known = set(gated)
        tasks = ((task.name, task.options) for task in self._tasks.values())
        return tuple(
            DefineTask(name, options.concurrency, options.rates)
            for name, options in tasks
            if options.concurrency is not None or options.rates or name in known
        )

    def declared(self, settings: Settings) -> tuple[Change, ...]:
        """All that the code says, for a worker to write to a store with these settings ("tasks" read).

        Raises `ValidationError` for schedules whose arguments do not fit their task.
        """
        gated = [task.name for task in settings.tasks]
        return (*self.declared_queues, *self.declared_tasks(gated), *self.declared_schedules(settings.now))

    # --- being told ---

    def webhook(
        self,
        url: str,
        /,
        *,
        on: WebhookEvent | Iterable[WebhookEvent],
        secret: str | Iterable[str],
        name: str | None = None,
        task: str | Task[..., Any] | Iterable[str | Task[..., Any]] = (),
        queue: str | Iterable[str] = (),
        include_result: bool = False,
        allow_private: bool = False,
        timeout: Duration = "10s",
        retry: Retry | int | None = None,
    ) -> None:
        """Tell a server what happens to jobs and flows: `app.webhook("https://example.com/jobs", on="dead",
        secret=SECRET)`.

        Each event is a POST of a signed JSON document, and a job of its own (task "mainspring.webhook" in the queue
        "webhooks"), stored with what it tells of: none is lost, and one may come twice, with the same id. The receiver
        checks it by `mainspring.webhooks.verify`. It is tried 12 times over some 23 hours, or as `retry` says.

        `on` names one or several events of jobs ("completed", "dead", "cancelled", "retried", "crashed" …) or flows
        ("flow.completed", "flow.failed"); `task` and `queue` say of which jobs. `secret` is what both sides know, or
        the new and the old one while they are changed. With `include_result` the results of completed jobs go along.
        Private addresses are refused, whatever name leads to them, unless `allow_private`. A delivery may take
        `timeout`. `name` (default: the URL's host) is what is stored; the URL and the secret never are.

        Raises `InvalidOption`, `InvalidURL`, `InvalidDuration`.
        """
        from mainspring.webhooks.tasks import own_tasks
        from mainspring.webhooks.webhook import declare

        tasks = (task,) if isinstance(task, str | Task) else tuple(task)
        declared = declare(
            url,
            on=on,
            secret=secret if isinstance(secret, str) else tuple(secret),
            name=name,
            tasks=[each.name if isinstance(each, Task) else each for each in tasks],
            queues=(queue,) if isinstance(queue, str) else tuple(queue),
            include_result=include_result,
            allow_private=allow_private,
            timeout=timeout,
            retry=retry,
        )
        if not self.webhooks.declared:
            for own in own_tasks(self, lambda new: JobDraft(new, self)):
                self._register(make_task(self, own.function, own.name, own.options))
        self.webhooks.declare(declared)

    # --- around the runs ---

    def on(self, *names: EventName) -> Callable[[ObserverT], ObserverT]:
        """Be told what happens to jobs: `@app.on("completed", "dead")` on a function, async or not, of an `Event`.

        Workers tell it, each about its own jobs, once the store has it. Raises `InvalidOption` for unknown names.
        """
        for name in names:
            if name not in EVENT_NAMES:
                raise InvalidOption(
                    f"no event is named {quote(name)}{_did_you_mean(name, EVENT_NAMES)}; "
                    f"there are: {', '.join(EVENT_NAMES)}"
                )
        if not names:
            raise InvalidOption(
                f"name the events to be told of, such as @app.on('completed'): {', '.join(EVENT_NAMES)}"
            )

        def register(observer: ObserverT) -> ObserverT:
            if not callable(observer):
                raise InvalidOption(f"{quote(observer)} is no function and cannot be told of events")
            for name in names:
                self._observers[name] = (*self._observers.get(name, ()), observer)
            return observer

        return register

    @property
    def observers(self) -> Mapping[EventName, tuple[Observer, ...]]:
        """Who is told of what, in the order of registration; names that nobody listens to are missing."""
        return MappingProxyType(self._observers)

    def middleware(self, function: MiddlewareT) -> MiddlewareT:
        """Wrap the run of every job: `@app.middleware` on `async def timed(ctx, proceed)`, which awaits `proceed()`.

        What it returns is the job's result, what it raises the job's error. The first one registered is outermost.
        """
        is_async = inspect.iscoroutinefunction(function)
        if not is_async:
            raise InvalidOption(f"middleware {quote(function)} is no async function; write async def (ctx, proceed)")
        self._middlewares = (*self._middlewares, function)
        return function

    @property
    def middlewares(self) -> tuple[Middleware, ...]:
        """All middleware, outermost first."""
        return self._middlewares

    def worker(
        self,
        queues: Mapping[str, int] | Iterable[str] | None = None,
        *,
        concurrency: int = 10,
        lease: Duration = "30s",
        grace: Duration = "25s",
        name: str | None = None,
        process_jobs: int | None = None,
        process_memory: str | int = "512MB",
        stats: bool = True,
    ) -> Worker:
        """A worker for this app, not yet running: `app.worker(["critical", "bulk"]).run()`. See `Worker`."""
        from mainspring.worker.worker import Worker

        return Worker(
            self,
            queues,
            concurrency=concurrency,
            lease=lease,
            grace=grace,
            name=name,
            process_jobs=process_jobs,
            process_memory=process_memory,
            stats=stats,
        )

    # --- the end ---

    def close(self) -> None:
        """Let go of the connections of blocking verbs. The app can still be used: what is needed is opened again."""
        self._blocking.close()

    async def aclose(self) -> None:
        """Store what this event loop has handed in, then let go of its connections and of those of blocking verbs."""
        await self._async.aclose()
        self._blocking.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()


def _options(
    queue: str | None,
    priority: int | None,
    retry: Retry | int | None,
    timeout: Duration | None,
    executor: Executor = "auto",
    keys: tuple[KeyRule, ...] = (),
) -> TaskOptions:
    return TaskOptions(
        queue=DEFAULT_QUEUE if queue is None else queue,
        priority=DEFAULT_PRIORITY if priority is None else priority,
        retry=Retry() if retry is None else Retry(attempts=retry) if isinstance(retry, int) else retry,
        timeout_ms=None if timeout is None else to_ms(timeout),
        executor=executor,
        keys=keys,
    )


def _no_draft(value: object) -> Any:
    raise InvalidOption(f"{quote(value)} is not a job to enqueue; make one with task.job(...)")


def _did_you_mean(name: object, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), known, 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _place(function: Callable[..., Any]) -> str:
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', quote(function))}"
