"""What a job does: its function with the arguments decoded, ready to be called, here or in another process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from mainspring.errors import Bury, Cancel, HandBack, RateLimited, Snooze, ValidationError
from mainspring.model.holes import fill
from mainspring.model.job import Claim
from mainspring.model.options import JobOptions
from mainspring.model.secrets import paths_of, values_at
from mainspring.model.text import quote
from mainspring.model.veil import Veil
from mainspring.worker.context import Context
from mainspring.worker.run import Run

if TYPE_CHECKING:
    from mainspring.task import Task

__all__ = ["call_of", "filled", "reason_of", "veil_of"]


def filled(claim: Claim, overrides: JobOptions) -> str:
    """The job's arguments with the results of its parents in their places. Raises `Bury` where that cannot be done."""
    if len(claim.parents) < overrides.parents:
        raise Bury(
            f"it takes the results of {overrides.parents} jobs, but some of these turned out to be one and the "
            "same unique job, so nobody can tell which is which"
        )
    return fill(claim.args, overrides.holes, claim.parents)


def call_of(task: Task[..., Any], text: str, run: Run, context: Context, *, each: bool) -> Callable[[], Any]:
    """The call, its arguments decoded. Raises `ValidationError` for those that do not fit the function."""
    codec = task.codec
    given = {} if codec.injected_name is None else {codec.injected_name: context}
    try:
        if not each:
            args, kwargs = codec.decode(text)
            return partial(task.function, *args, **kwargs, **given)
        calls = [partial(task.function, *args, **kwargs, **given) for args, kwargs in codec.decode_each(text)]
    except ValidationError as error:
        raise _unsaid(error, task, run) from None
    return partial(_each_awaited if task.is_async else _each, calls, run)


def veil_of(task: Task[..., Any], text: str, overrides: JobOptions) -> Veil | None:
    """What hides the secrets of a job with these arguments; None: it has none."""
    if (known := task.codec.secrets) or overrides.secrets:
        # What is left out of the arguments has its default, which is no less secret.
        defaults = values_at(task.defaults, known)
        return Veil(text, paths_of(overrides.secrets, known, each=overrides.each), defaults)
    return None


def _unsaid(error: ValidationError, task: Task[..., Any], run: Run) -> ValidationError:
    """The error, without what it says of values that the job has encrypted and the task does not know to be secret."""
    known = {path[0] for path in task.codec.secrets}
    if known.issuperset(path[0] for path in JobOptions.from_text(run.claim.options).sealed):
        return error
    return ValidationError(
        f"task {task.name!r} cannot take these arguments: some are encrypted, and it does not mark them so any more"
    )


def reason_of(directive: Bury | Cancel | HandBack | Snooze | RateLimited, run: Run) -> str:
    """What the task gave as the reason, which may be anything, as text."""
    reason: object = directive.reason
    return run.shown(str.__str__(reason) if isinstance(reason, str) else quote(reason))


async def _each_awaited(calls: Sequence[Callable[[], Awaitable[Any]]], run: Run) -> list[Any]:
    return [await call() for call in calls]


def _each(calls: Sequence[Callable[[], Any]], run: Run) -> list[Any]:
    results: list[Any] = []
    for call in calls:
        if run.interruption is not None:
            raise Cancel(f"after {len(results)} of {len(calls)} items")
        results.append(call())
    return results
