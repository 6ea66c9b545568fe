"""One claim through decoding, middleware and the task to an Outcome. Never raises, and cannot reach the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from mainspring.errors import (
    Bury,
    Cancel,
    HandBack,
    JobTimeout,
    MainspringError,
    NotCommitted,
    RateLimited,
    RetryAfter,
    Snooze,
    ValidationError,
)
from mainspring.model import failure
from mainspring.model.durations import format_ms, to_ms
from mainspring.model.holes import fill
from mainspring.model.job import Claim
from mainspring.model.options import JobOptions, TaskOptions
from mainspring.model.outcome import Outcome
from mainspring.model.text import quote
from mainspring.worker.context import Context, _current
from mainspring.worker.executors import Threads
from mainspring.worker.run import Interruption, Run

if TYPE_CHECKING:
    from mainspring.task import Task

__all__ = ["Middleware", "Runner"]

Middleware = Callable[[Context, Callable[[], Awaitable[Any]]], Awaitable[Any]]
"""Goes around every run: `async def m(ctx, proceed): ...; return await proceed()`."""


YIELD_MS = 1000
"""For how long a job lets others go first that is handed back by its own run while the worker goes on."""


class Runner:
    """Runs claims of known tasks: async functions on the loop, plain ones on threads."""

    def __init__(self, tasks: Mapping[str, Task[..., Any]], middleware: Sequence[Middleware], threads: Threads) -> None:
        self._tasks = tasks
        self._middleware = tuple(reversed(middleware))
        self._threads = threads

    async def run(self, run: Run, context: Context) -> Outcome:
        """What the claim came to. Where the run was interrupted, why is in `run.interruption`."""
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
                return Outcome.failed(failure.describe(fault), fault)

    async def _perform(self, task: Task[..., Any], run: Run, context: Context) -> Outcome:
        claim = run.claim
        overrides = JobOptions.from_text(claim.options)
        options = task.options if claim.options is None else overrides.over(task.options)
        if overrides.timeout_ms is not None and not task.is_async:
            # Where jobs are enqueued from SQL, nobody before us knows what kind of function it is.
            raise Bury(
                f"its timeout of {format_ms(overrides.timeout_ms)} cannot be kept: {task.name!r} is a plain function, "
                "which runs on a thread, and a thread cannot be stopped"
            )
        call = _call_of(task, claim, overrides, run, context)
        _current.set(context)
        proceed = call if task.is_async else partial(self._on_thread, call, run)
        for middleware in self._middleware:
            proceed = partial(middleware, context, proceed)
        value = await (proceed() if options.timeout_ms is None else _limited(proceed, options))
        if run.completion is not None:
            # This is what it comes to if the store knows nothing of that.
            raise NotCommitted(
                f"the task completed job {claim.id} in a transaction of its own, and returned without committing it: "
                "what it did there is undone"
            )
        try:
            codec = task.result_codec
            result = codec.encode_each(value) if overrides.each else codec.encode(value)
        except ValidationError as error:
            # Running it again would repeat its effects and end here again.
            return Outcome.buried(f"its result cannot be stored: {error}", failure.describe(error))
        return Outcome.completed(result, run.follow_ups)

    async def _on_thread(self, call: Callable[[], Any], run: Run) -> Any:
        run.on_thread = True
        try:
            return await self._threads.run(call)
        finally:
            run.on_thread = False


def _call_of(
    task: Task[..., Any], claim: Claim, overrides: JobOptions, run: Run, context: Context
) -> Callable[[], Any]:
    """What the job does, its arguments decoded. Raises `ValidationError` for those that do not fit the function, and
    `Bury` for those that never will."""
    text, codec = claim.args, task.codec
    if overrides.holes:
        if len(claim.parents) < overrides.parents:
            raise Bury(
                f"it takes the results of {overrides.parents} jobs, but some of these turned out to be one and the "
                "same unique job, so nobody can tell which is which"
            )
        text = fill(text, overrides.holes, claim.parents)
    given = {} if codec.injected_name is None else {codec.injected_name: context}
    if not overrides.each:
        args, kwargs = codec.decode(text)
        return partial(task.function, *args, **kwargs, **given)
    calls = [partial(task.function, *args, **kwargs, **given) for args, kwargs in codec.decode_each(text)]
    return partial(_each_awaited if task.is_async else _each, calls, run)


async def _each_awaited(calls: Sequence[Callable[[], Awaitable[Any]]], run: Run) -> list[Any]:
    return [await call() for call in calls]


def _each(calls: Sequence[Callable[[], Any]], run: Run) -> list[Any]:
    results: list[Any] = []
    for call in calls:
        if run.interruption is not None:
            raise Cancel(f"after {len(results)} of {len(calls)} items")
        results.append(call())
    return results


async def _limited(proceed: Callable[[], Awaitable[Any]], options: TaskOptions) -> Any:
    timeout_ms = options.timeout_ms or 0
    try:
        async with asyncio.timeout(timeout_ms / 1000) as limit:
            return await proceed()
    except TimeoutError as error:
        if limit.expired():
            raise JobTimeout(f"the job ran longer than its timeout of {format_ms(timeout_ms)}") from error
        raise


def _outcome_of(error: BaseException, run: Run) -> Outcome:
    """What an exception that ended a run says about its job."""
    if isinstance(error, asyncio.CancelledError):
        if run.interruption is Interruption.CANCELLED:
            return Outcome.cancelled("while it ran")
        if run.interruption is not None:
            return Outcome.returned()
        error = MainspringError("the task raised CancelledError, though nobody had cancelled it")
    match error:
        case Bury():
            return Outcome.buried(_reason(error))
        case Cancel():
            return Outcome.cancelled(_reason(error))
        case HandBack():
            return Outcome.handed_back(_reason(error), 0 if run.stopping else YIELD_MS)
        case RetryAfter() | Snooze() | RateLimited():
            try:
                delay_ms = to_ms(error.retry_after if isinstance(error, RateLimited) else error.delay)
            except MainspringError as invalid:
                return Outcome.failed(failure.describe(invalid), invalid)
            if isinstance(error, Snooze):
                return Outcome.snoozed(delay_ms, _reason(error))
            if isinstance(error, RateLimited):
                return Outcome.rate_limited(delay_ms, _reason(error))
            return Outcome.failed(failure.describe(error.__cause__ or error), error, delay_ms=delay_ms)
    if run.interruption is Interruption.RETURNED:
        # What the cancellation turned into on its way out of the task: not the job's failure.
        return Outcome.returned()
    return Outcome.failed(failure.describe(error), error)


def _reason(directive: Bury | Cancel | HandBack | Snooze | RateLimited) -> str:
    """What the task gave as the reason, which may be anything, as text."""
    reason: object = directive.reason
    return str.__str__(reason) if isinstance(reason, str) else quote(reason)
