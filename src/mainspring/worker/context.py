"""What a task can know and say about its own run: `ctx`."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mainspring.errors import MainspringError
from mainspring.model.job import Claim
from mainspring.model.states import State
from mainspring.worker.completer import Completer
from mainspring.worker.notebook import Notebook
from mainspring.worker.run import Run

if TYPE_CHECKING:
    from mainspring.admin.flows import Flows
    from mainspring.draft import JobDraft
    from mainspring.flow import Flow
    from mainspring.job import Job
    from mainspring.nodes import OnFailure

__all__ = ["Context", "ParentView", "current"]


@dataclass(frozen=True, slots=True)
class ParentView:
    """A job that this one waited for."""

    id: str
    state: State | None
    """How it ended. None: it has not; this job was revived alone, or waited for another to die."""
    reason: str | None
    """Why it ended badly."""
    result: Any
    """Its result as JSON has it, where that is among this job's arguments; else None."""


class Context:
    """Handed to a task that has a parameter annotated `Context`; anywhere below it, `mainspring.current()` gives it.

    Wherever it stands, it is no part of the job's arguments. Type checkers can follow that if it comes first.

        @app.task
        def resize(ctx: Context, path: Path) -> None:
            for number, size in enumerate(SIZES):
                if ctx.cancelled:
                    raise Cancel("stopped half-way")
                ctx.progress(100 * number / len(SIZES), f"{size} px")

    All its calls are plain ones, in async and blocking code alike, and never wait; all but `complete`.
    """

    __slots__ = ("_completer", "_flow", "_flows", "_job_of", "_notebook", "_run")

    def __init__(
        self, run: Run, notebook: Notebook, job_of: Callable[[Claim], Job[Any]], flows: Flows, completer: Completer
    ) -> None:
        self._run = run
        self._notebook = notebook
        self._job_of = job_of
        self._flows = flows
        self._completer = completer
        self._flow: Flow[Any] | None = None

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

    @property
    def interrupted(self) -> bool:
        """Whether the worker stops. From when it is told to until its grace period is over a run may end as it likes:
        complete, or save what it has with `checkpoint` and `raise HandBack`. After that it is cancelled as well (see
        `cancelled`), and handed back as it is."""
        return self._run.stopping

    @property
    def state(self) -> Any:
        """What the job saved last with `checkpoint` in a run before this one, as JSON has it. None: nothing."""
        text = self._run.claim.checkpoint
        return None if text is None else json.loads(text)

    @property
    def parents(self) -> tuple[ParentView, ...]:
        """The jobs that this one waited for, as they ended. With `on_failure="run"` one may have ended badly."""
        return tuple(
            ParentView(
                parent.id, parent.state, parent.reason, None if parent.result is None else json.loads(parent.result)
            )
            for parent in self._run.claim.parents
        )

    @property
    def flow(self) -> Flow[Any] | None:
        """The flow that the job belongs to, to add jobs to: `ctx.flow.add(...)`, then `await ctx.flow.aenqueue()`. None
        for a job of none."""
        if self._flow is None:
            # Always the same one, since it keeps what is added until that is enqueued.
            self._flow = self._flows.of(self._run.claim)
        return self._flow

    def spawn(self, *jobs: JobDraft[Any], then: JobDraft[Any] | None = None, on_failure: OnFailure = "fail") -> None:
        """Leave jobs behind: `ctx.spawn(thumb.job(1), thumb.job(2), then=report.job(previous))`. They appear when this
        one completes, together with its result, or not at all; in its flow, if it belongs to one.

        `then` runs when all of them have ended; `previous` among its arguments is the list of their results, and
        `on_failure` says what becomes of it when one ends badly. Raises `InvalidFlow`, `InvalidOption`, and
        `MainspringError` once the job was completed by `complete`.
        """
        if self._run.completion is not None:
            raise MainspringError(
                f"job {self._run.claim.id}: what it spawns is stored as it completes, and complete() was called "
                "before; spawn first"
            )
        self._run.follow_ups += self._flows.spawned(self._run.claim, jobs, then, on_failure)

    def complete(self, result: Any = None, *, tx: object) -> None:
        """Complete the job in the transaction that is open on `tx`, a connection or session of your own, with that
        result: what the task has done there, and that the job is done, are one commit.

            with psycopg.connect(URL) as connection:
                connection.execute("UPDATE orders SET paid = true WHERE id = %s", [order])
                ctx.complete("paid", tx=connection)

        Call it last, commit at once, and return; what is returned then counts for nothing. If the transaction is not
        committed, the run has failed, and the job is tried again by its rules. Raises `LeaseLost` where the job went to
        another worker meanwhile: let it roll your transaction back. Raises `UnusableTransaction`, `InvalidOption` in a
        `map` with chunks, and `ValidationError` for a result that cannot be stored.
        """
        self._completer.complete(self._run, result, tx)

    async def acomplete(self, result: Any = None, *, tx: object) -> None:
        """The same with an async connection or session: `await ctx.acomplete("paid", tx=session)`."""
        await self._completer.acomplete(self._run, result, tx)

    def checkpoint(self, state: Any) -> None:
        """Save how far the job has come, for its next run, whatever ends this one: a hand-back, a failure, the worker's
        death. There `ctx.state` gives it. The latest one counts; None begins anew.

            @app.task
            def total(ctx: Context, pages: int) -> int:
                page, sum = ctx.state or (0, 0)
                while page < pages:
                    sum += count(page)
                    page += 1
                    ctx.checkpoint((page, sum))
                    if ctx.interrupted:
                        raise HandBack
                return sum

        It is any value that JSON can carry, up to 1 MiB; written a few times a second, and before the job is handed
        back or settled otherwise. Raises `Unserialisable`, `PayloadTooLarge`, `PayloadTooDeep`.
        """
        from mainspring.model.codec import encode_checkpoint  # it loads pydantic, which most importers need not

        self._notebook.checkpoint(self._run, encode_checkpoint(state))

    def progress(self, percent: float, text: str | None = None) -> None:
        """Say how far the job is, from 0 to 100. The latest one wins; written a few times a second at most."""
        self._notebook.progress(self._run, percent, text)

    def log(self, text: str) -> None:
        """Add a line to the job's log. The newest 1,000 are kept."""
        self._notebook.log(self._run, text)

    def output(self, text: str) -> None:
        """Add text to what the job has put out so far, before it has a result: a generated answer word by word, a
        table row by row. Nothing comes between two texts; the last MiB or so is kept. `job.output` and streams show
        it, from a few times a second on; a new attempt that puts something out begins anew.

            @app.task
            async def answer(ctx: Context, question: str) -> str:
                words = []
                async for word in generate(question):
                    ctx.output(word)
                    words.append(word)
                return "".join(words)
        """
        self._notebook.output(self._run, text)


_current: ContextVar[Context] = ContextVar("mainspring_context")


def current() -> Context:
    """The context of the job that is running here. Raises `MainspringError` outside of one."""
    try:
        return _current.get()
    except LookupError:
        raise MainspringError(
            "there is no current job here: current() works inside a task that a worker runs, and in what that calls"
        ) from None
