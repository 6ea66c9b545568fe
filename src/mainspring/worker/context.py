"""What a task can know and say about its own run: `ctx`."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from mainspring.errors import MainspringError
from mainspring.model.job import Claim
from mainspring.worker.notebook import Notebook
from mainspring.worker.run import Run

if TYPE_CHECKING:
    from mainspring.job import Job

__all__ = ["Context", "current"]


class Context:
    """Handed to a task that has a parameter annotated `Context`; anywhere below it, `mainspring.current()` gives it.

    Wherever it stands, it is no part of the job's arguments. Type checkers can follow that if it comes first.

        @app.task
        def resize(ctx: Context, path: Path) -> None:
            for number, size in enumerate(SIZES):
                if ctx.cancelled:
                    raise Cancel("stopped half-way")
                ctx.progress(100 * number / len(SIZES), f"{size} px")

    All its calls are plain ones, in async and blocking code alike, and never wait.
    """

    __slots__ = ("_job_of", "_notebook", "_run")

    def __init__(self, run: Run, notebook: Notebook, job_of: Callable[[Claim], Job[Any]]) -> None:
        self._run = run
        self._notebook = notebook
        self._job_of = job_of

    @property
    def job(self) -> Job[Any]:
        """The job, as it was claimed."""
        return self._job_of(self._run.claim)

    @property
    def attempt(self) -> int:
        """Which try this is, from 1."""
        return self._run.claim.attempt

    @property
    def fence(self) -> int:
        """A number that rises whenever this job changes hands. Other systems that keep the highest one seen can use it
        to refuse a worker that has lost the job and does not know it yet."""
        return self._run.claim.lease

    @property
    def cancelled(self) -> bool:
        """Whether this run should end: the job was cancelled, the worker stops, or it has lost the job."""
        return self._run.interruption is not None

    def progress(self, percent: float, text: str | None = None) -> None:
        """Say how far the job is, from 0 to 100. The latest one wins; written a few times a second at most."""
        self._notebook.progress(self._run.claim, percent, text)

    def log(self, text: str) -> None:
        """Add a line to the job's log. The newest 1,000 are kept."""
        self._notebook.log(self._run.claim, text)


_current: ContextVar[Context] = ContextVar("mainspring_context")


def current() -> Context:
    """The context of the job that is running here. Raises `MainspringError` outside of one."""
    try:
        return _current.get()
    except LookupError:
        raise MainspringError(
            "there is no current job here: current() works inside a task that a worker runs, and in what that calls"
        ) from None
