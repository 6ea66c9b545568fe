"""One claim through decoding, middleware and the task to an Outcome. Never raises, and cannot reach the store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from mainspring.errors import (
    Bury,
    Cancel,
    ConfigurationError,
    DecryptionFailed,
    HandBack,
    JobTimeout,
    MainspringError,
    NotCommitted,
    ProcessCrashed,
    RateLimited,
    RetryAfter,
    Snooze,
    TaskFailed,
    ValidationError,
)
from mainspring.model import failure
from mainspring.model.durations import to_ms
from mainspring.model.job import Claim
from mainspring.model.options import TASK_GRACE_MS, JobOptions, TaskOptions
from mainspring.model.outcome import ErrorRecord, Outcome
from mainspring.model.tracing import Tracing
from mainspring.worker.calls import call_of, filled, reason_of, veil_of
from mainspring.worker.context import Context, _current
from mainspring.worker.executors import Threads
from mainspring.worker.processes.ends import Stored, Unfit
from mainspring.worker.processes.pool import Processes
from mainspring.worker.run import Interruption, Run

if TYPE_CHECKING:
    from mainspring.keyring import Keyring
    from mainspring.task import Task

__all__ = ["Middleware", "Runner"]

Middleware = Callable[[Context, Callable[[], Awaitable[Any]]], Awaitable[Any]]
"""Goes around every run: `async def m(ctx, proceed): ...; return await proceed()`."""


logger = logging.getLogger("mainspring.worker")

YIELD_MS = 1000
"""For how long a job lets others go first that is handed back by its own run while the worker goes on."""


class Runner:
    """Runs claims of known tasks: async functions on the loop, plain ones on threads, either in processes where their
    tasks say so and there are any."""

    def __init__(
        self,
        tasks: Mapping[str, Task[..., Any]],
        middleware: Sequence[Middleware],
        threads: Threads,
        processes: Processes | None = None,
        *,
        keyring: Keyring,
        tracing: Tracing | None = None,
    ) -> None:
        self._tasks = tasks
        self._middleware = tuple(reversed(middleware))
        self._threads = threads
        self._processes = processes
        self._tracing = tracing
        self._keyring = keyring
        self._found_plain: set[str] = set()
        """Tasks of which a job came with arguments in plain that are to be encrypted."""

    def run(self, run: Run, context: Context) -> Coroutine[Any, Any, Outcome]:
        """What the claim came to. Where the run was interrupted, why is in `run.interruption`."""
        return self._run(run, context) if self._tracing is None else self._followed(self._tracing, run, context)

    async def _followed(self, tracing: Tracing, run: Run, context: Context) -> Outcome:
        with tracing.running(run.claim) as ended:
            outcome = await self._run(run, context)
            ended(outcome)
            return outcome

    async def _run(self, run: Run, context: Context) -> Outcome:
        run.begun = True
        if run.claim.cancel_requested or run.interruption is Interruption.CANCELLED:
            return Outcome.cancelled("before it ran")
        if run.interruption is not None:
            return Outcome.returned()
        task = self._tasks.get(run.claim.task)
        if task is None:
            return Outcome.unknown(run.claim.task)
        try:
            return await self._perform(task, run, context)
        except BaseException as error:  # noqa: BLE001 - foreign code: whatever it raises is an outcome, never our end
            try:
                return _outcome_of(error, run)
            except BaseException as fault:  # noqa: BLE001 - an exception that cannot even be looked at
                return Outcome.failed(failure.describe(fault, run.veil), fault)

    async def _perform(self, task: Task[..., Any], run: Run, context: Context) -> Outcome:
        claim = run.claim
        overrides = JobOptions.from_text(claim.options)
        options = task.options if claim.options is None else overrides.over(task.options)
        if (claim.options is not None or options.deadline_ms is not None) and _is_late(claim, overrides, options):
            return Outcome.cancelled("its deadline had passed")
        text = self._arguments(task, claim, overrides)
        if isinstance(text, Outcome):
            return text
        run.veil = veil_of(task, text, overrides)
        _current.set(context)
        proceed: Callable[[], Awaitable[Any]]
        if options.executor == "process" and self._processes is not None:
            # Its time runs from when the process begins with it.
            proceed = partial(self._in_process, self._processes, task, run, options, text, each=overrides.each)
        else:
            call = call_of(task, text, run, context, each=overrides.each)
            proceed = call if task.is_async else partial(self._on_thread, call, run)
            if options.timeout_ms is not None or options.grace_ms != TASK_GRACE_MS:
                run.limit(options)
        for middleware in self._middleware:
            proceed = partial(middleware, context, proceed)
        value = await proceed()
        if run.completion is not None:
            # This is what it comes to if the store knows nothing of that.
            raise NotCommitted(
                f"the task completed job {claim.id} in a transaction of its own, and returned without committing it: "
                "what it did there is undone"
            )
        if isinstance(value, Stored):
            return Outcome.completed(value.text, run.follow_ups)
        try:
            codec = task.result_codec
            result = codec.encode_each(value) if overrides.each else codec.encode(value)
        except ValidationError as error:
            # Running it again would repeat its effects and end here again.
            return Outcome.buried(run.shown(f"its result cannot be stored: {error}"), failure.describe(error, run.veil))
        return Outcome.completed(result, run.follow_ups)

    def _arguments(self, task: Task[..., Any], claim: Claim, overrides: JobOptions) -> str | Outcome:
        """The arguments in plain; else what the claim comes to without them."""
        text = filled(claim, overrides) if overrides.holes else claim.args
        if overrides.sealed:
            try:
                return self._keyring.open(text, claim.task, overrides)
            except ConfigurationError as missing:
                return Outcome.locked(str(missing))
            except DecryptionFailed as error:
                # Running it again would end here again.
                return Outcome.buried(str(error), failure.describe(error))
        if task.codec.encrypted and task.name not in self._found_plain:
            self._found_plain.add(task.name)
            logger.warning(
                "job %s: arguments of task %r that are to be encrypted were stored in plain: by SQL, or by a program "
                "that did not know; said once for each task",
                claim.id,
                task.name,
            )
        return text

    async def _on_thread(self, call: Callable[[], Any], run: Run) -> Any:
        body = run.body = self._threads.call(call)
        try:
            return await body.future
        except asyncio.CancelledError:
            if body.future.cancelled():
                # Given up. It may see that for itself, and is made to end if it does not.
                raise_inside = partial(body.raise_inside, asyncio.CancelledError, "the job's run was given up")
                asyncio.get_running_loop().call_later(run.grace_ms / 1000, raise_inside)
            raise
        finally:
            run.body = None

    async def _in_process(
        self, processes: Processes, task: Task[..., Any], run: Run, options: TaskOptions, text: str, *, each: bool
    ) -> Any:
        trace = None if self._tracing is None else self._tracing.here()
        body = run.body = processes.assign(task, run, options, text, each=each, trace=trace)
        try:
            stored = await body.future
        finally:
            run.body = None
        if not self._middleware:
            return stored
        return task.result_codec.decode_each(stored.text) if each else task.result_codec.decode(stored.text)


def _is_late(claim: Claim, overrides: JobOptions, options: TaskOptions) -> bool:
    """Whether it was claimed too late to be worth starting."""
    deadline = overrides.deadline(options, claim.created_at)
    return deadline is not None and claim.started_at > deadline


def _outcome_of(error: BaseException, run: Run) -> Outcome:
    """What an exception that ended a run says about its job."""
    if isinstance(error, asyncio.CancelledError):
        if run.interruption is Interruption.CANCELLED:
            return Outcome.cancelled("while it ran")
        if run.interruption is Interruption.TIMED_OUT:
            timeout = JobTimeout(run.overtime)
            timeout.__cause__ = error
            return Outcome.failed(failure.describe(timeout, run.veil), timeout)
        if run.interruption is not None:
            return Outcome.returned()
        error = MainspringError("the task raised CancelledError, though nobody had cancelled it")
    match error:
        case Bury():
            return Outcome.buried(reason_of(error, run))
        case Cancel():
            return Outcome.cancelled(reason_of(error, run))
        case HandBack():
            return Outcome.handed_back(reason_of(error, run), 0 if run.stopping else YIELD_MS)
        case RetryAfter() | Snooze() | RateLimited():
            try:
                delay_ms = to_ms(error.retry_after if isinstance(error, RateLimited) else error.delay)
            except MainspringError as invalid:
                return Outcome.failed(failure.describe(invalid, run.veil), invalid)
            if isinstance(error, Snooze):
                return Outcome.snoozed(delay_ms, reason_of(error, run))
            if isinstance(error, RateLimited):
                return Outcome.rate_limited(delay_ms, reason_of(error, run))
            return Outcome.failed(_described(error.__cause__ or error, run), error, delay_ms=delay_ms)
        case TaskFailed() if run.interruption is not Interruption.RETURNED:
            return Outcome.failed(_described(error, run), error, delay_ms=error.delay_ms, again=error.again)
        case ProcessCrashed():
            return Outcome.lost(failure.describe(error))
        case Unfit():
            return Outcome.buried(f"its result cannot be stored: {error}", error.record)
    if run.interruption is Interruption.RETURNED:
        # What the cancellation turned into on its way out of the task: not the job's failure.
        return Outcome.returned()
    return Outcome.failed(failure.describe(error, run.veil), error)


def _described(error: BaseException, run: Run) -> ErrorRecord:
    if isinstance(error, TaskFailed):
        return ErrorRecord(error.type, error.message, error.traceback)
    return failure.describe(error, run.veil)
