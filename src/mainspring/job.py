"""One job, as the code that enqueued it and anyone who looks it up sees it."""

from __future__ import annotations

import json
import math
import operator
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from mainspring.altering import alter, cancel
from mainspring.clock import moment, now_ms
from mainspring.errors import ConfigurationError, JobCancelled, JobFailed, JobNotFound, ResultTimeout
from mainspring.model import failure, history
from mainspring.model.durations import Duration, to_ms
from mainspring.model.job import Claim, JobRecord, NewJob
from mainspring.model.options import JobOptions
from mainspring.model.outcome import ErrorRecord, Verdict
from mainspring.model.secrets import Path, paths_of, redacted
from mainspring.model.states import FINAL, State
from mainspring.model.why import explain
from mainspring.situation import find_out
from mainspring.store.base import Filter, Verb
from mainspring.twin import Emit, Steps, Wait, Watching, look, twins

if TYPE_CHECKING:
    from mainspring.app import Mainspring

__all__ = ["Attempt", "Job", "JobWatch", "LogLine", "moment"]

R_co = TypeVar("R_co", covariant=True)

FIRST_PAUSE = 0.25
"""Seconds from one look at a job to the next while no hint comes; doubled each time up to `LONGEST_PAUSE`."""
LONGEST_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of a job that used an attempt, or ended with its worker's death."""

    number: int
    """Which try it was, from 1. A run that was lost shares its number with the one after it."""
    started_at: datetime
    ended_at: datetime
    worker: str
    verdict: Verdict
    error: ErrorRecord | None


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that the task logged with `ctx.log`."""

    at: datetime
    text: str


class Job(Generic[R_co]):
    """One job; `R_co` is the type of its result.

    Its properties show the job as it was last seen, and never wait for the store. `refresh()` looks again, and so do
    `result()` and `watch()`. Right after `enqueue`, before the first look, they show what was handed in, with times by
    this machine's clock.
    """

    __slots__ = ("_app", "_enqueued_at", "_new", "_on_its_way", "_record", "existed", "id")

    id: str
    existed: bool
    """True: a job of this id was there already when it was enqueued, and was left as it was."""

    def __init__(
        self, app: Mainspring, seen: JobRecord | NewJob, *, existed: bool = False, on_its_way: bool = False
    ) -> None:
        self._app = app
        self.id = seen.id
        self.existed = existed
        self._new = seen if isinstance(seen, NewJob) else None
        self._record = seen if isinstance(seen, JobRecord) else None
        self._enqueued_at = now_ms()
        self._on_its_way = on_its_way
        """Whether it is in an outbox, as far as is known here: then the store need not have it yet."""

    @classmethod
    def claimed(cls, app: Mainspring, claim: Claim) -> Job[R_co]:
        """The job that a worker has in its hands."""
        return cls(app, _running(claim))

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.task} {self.state}>"

    # --- as last seen ---

    @property
    def record(self) -> JobRecord:
        """Everything as the store keeps it: times in milliseconds since 1970 UTC, values as JSON text."""
        if self._record is None:
            self._record = _expected(cast("NewJob", self._new), self._enqueued_at)
        return self._record

    @property
    def task(self) -> str:
        """The name of its task."""
        return self.record.task

    @property
    def queue(self) -> str:
        """The queue that it waits or waited in."""
        return self.record.queue

    @property
    def flow_id(self) -> str | None:
        """The id of the flow that it belongs to."""
        return self.record.flow

    @property
    def partition(self) -> str:
        """The partition of its queue that it is in; "": none."""
        return self.record.partition

    @property
    def cost(self) -> int:
        """How many starts it counts for, where a rate limits them."""
        return self.record.cost

    @property
    def state(self) -> State:
        """Where it stands."""
        return self.record.state

    @property
    def args(self) -> dict[str, Any]:
        """Its arguments by name, as JSON values, secrets included: what is shown to anybody is `shown_args`. What is
        marked as `Encrypted` is as it is stored here: only the run has it."""
        args: dict[str, Any] = json.loads(self.record.args)
        return args

    def shown_args(self) -> dict[str, Any]:
        """Its arguments as they may be shown: what is marked as `Secret` or `Encrypted` is "[secret]" there."""
        args: dict[str, Any] = redacted(self.args, self.secrets)
        return args

    @property
    def secrets(self) -> tuple[Path, ...]:
        """Where secrets are among its arguments: as the job was stored with, and as its task says now."""
        options, task = self._options, self._app.tasks.get(self.task)
        known = task.codec.secrets if task is not None else ()
        return paths_of(options.secrets, known, each=options.each)

    @property
    def tags(self) -> tuple[str, ...]:
        """Words by which it can be found."""
        return self._options.tags

    @property
    def _options(self) -> JobOptions:
        try:
            return JobOptions.from_text(self.record.options)
        except ConfigurationError:
            # Whatever wrote it was not this program. It is to be seen all the same.
            return JobOptions()

    @property
    def priority(self) -> int:
        """Lower runs first."""
        return self.record.priority

    @property
    def attempt(self) -> int:
        """How many attempts have been used, the one that runs now included."""
        return self.record.attempt

    @property
    def crashes(self) -> int:
        """How often a worker died while it ran this job."""
        return self.record.crashes

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The attempts so far, oldest first; the newest 50 are kept."""
        return tuple(_attempt(each) for each in history.parse(self.record.history))

    @property
    def created_at(self) -> datetime:
        """When it was enqueued."""
        return moment(self.record.created_at)

    @property
    def run_at(self) -> datetime:
        """From when on it may run."""
        return moment(self.record.run_at)

    @property
    def started_at(self) -> datetime | None:
        """When its latest run began."""
        return None if self.record.started_at is None else moment(self.record.started_at)

    @property
    def finished_at(self) -> datetime | None:
        """When it ended."""
        return None if self.record.finished_at is None else moment(self.record.finished_at)

    @property
    def worker(self) -> str | None:
        """The id of the worker that runs it, or ran it last."""
        return self.record.worker

    @property
    def cancel_requested(self) -> bool:
        """Whether somebody asked to cancel it while it runs."""
        return self.record.cancel_requested

    @property
    def progress(self) -> float | None:
        """0 to 100; None: the task has not said."""
        return self.record.progress

    @property
    def checkpoint(self) -> Any:
        """What its runs have saved of its work so far, as JSON has it. None: nothing, or it has completed."""
        return None if self.record.checkpoint is None else json.loads(self.record.checkpoint)

    @property
    def progress_text(self) -> str | None:
        """What the task said with its progress."""
        return self.record.progress_text

    @property
    def error(self) -> ErrorRecord | None:
        """What its latest failed run raised."""
        return failure.from_text(self.record.error) if self.record.error else None

    @property
    def reason(self) -> str | None:
        """Why it is dead, cancelled, or waiting again."""
        return self.record.reason

    @property
    def log(self) -> tuple[LogLine, ...]:
        """Its newest log lines. Filled by `app.jobs.get(id)`; lists of jobs and `refresh()` leave them out."""
        return tuple(LogLine(moment(line.at), line.text) for line in self.record.log)

    @property
    def output(self) -> str:
        """What its latest run that put something out with `ctx.output` has put out so far. Filled by
        `app.jobs.get(id)`, as its log is."""
        return "".join(piece.text for piece in self.record.output)

    # --- looking again ---

    def _refresh(self) -> Steps[Job[R_co]]:
        """Look at the job anew; gives this same object. Raises `JobNotFound` if it is gone."""
        yield from self._look()
        return self

    refresh, arefresh = twins(_refresh)

    def _result(self, timeout: Duration | None = None) -> Steps[R_co]:
        """Wait until the job has ended, and give what its task returned.

        `timeout` is in seconds, a `timedelta` or text such as "30s"; None waits for ever, 0 only looks. Raises
        `JobFailed` for a dead job, `JobCancelled` for a cancelled one, `ResultTimeout` for one that has not ended in
        time, and `JobNotFound` for one that is gone. One that was enqueued through an outbox is waited for from its
        first moment on.
        """
        seconds = math.inf if timeout is None else to_ms(timeout) / 1000
        deadline = time.monotonic() + seconds
        yield Watching((f"job:{self.id}",))
        ended = yield from self._look_until(lambda record: record.state in FINAL, deadline)
        if not ended:
            raise ResultTimeout(self.id, self.state, seconds)
        return self._value()

    result, aresult = twins(_result)

    def _why(self) -> Steps[str]:
        """One sentence that says why the job is not running, such as "waits for 2 of 5 parents: …", "is due in 3 h (at
        14:30:00 UTC)", "queue 'api' is paused since 11:40:03 UTC", "no worker takes queue 'gpu' (workers take: 'api')".

        What would still hold it back, were that over, comes after an "and". Of a job that runs or has ended it says
        since when, and why. Looks at the job anew, as `refresh` does. Raises `JobNotFound` if it is gone.
        """
        situation = yield from find_out(self.id)
        if situation is None:
            raise self._gone()
        self._record = replace(situation.job, log=self.record.log)
        return explain(situation)

    why, awhy = twins(_why)

    def watch(self) -> JobWatch[R_co]:
        """The job as it is now and after each change until it has ended: `for view in job.watch()`, or `async for`.

        Each view is a `Job` of its own, that stays as it is. Changes in quick succession may be seen as one.
        """
        return JobWatch(self)

    def _views(self) -> Steps[None]:
        yield Watching((f"job:{self.id}",))
        last: JobRecord | None = None
        while last is None or last.state not in FINAL:
            yield from self._look_until(partial(operator.ne, last), math.inf)
            last = self.record
            yield Emit(Job[R_co](self._app, last))

    def _look(self, *, patiently: bool = False) -> Steps[JobRecord]:
        record = yield from look(self.id)
        if record is None:
            if patiently and self._on_its_way:
                return self.record
            raise self._gone()
        self._record, self._on_its_way = record, False
        return record

    def _gone(self) -> JobNotFound:
        if self._on_its_way:
            return JobNotFound(
                f"no job has the id {self.id!r} yet: it comes once the transaction that wrote it to an outbox has "
                "committed, and a worker has relayed it; not if that was rolled back, or another job has its key"
            )
        return JobNotFound(f"no job has the id {self.id!r}; it may have been pruned or deleted")

    def _look_until(self, fits: Callable[[JobRecord], bool], deadline: float) -> Steps[bool]:
        """Look until the record fits; False: the deadline came first.

        Comes after `Watching`: what changes between a look and the wait that follows it is a hint already.
        """
        pause = FIRST_PAUSE
        while not fits((yield from self._look(patiently=True))):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            hinted = yield Wait(min(pause, left))
            pause = FIRST_PAUSE if hinted else min(2 * pause, LONGEST_PAUSE)
        return True

    def _value(self) -> R_co:
        """What the ended job came to."""
        record = self.record
        if record.state is State.DEAD:
            error = self.error or ErrorRecord("", "", "")
            raise JobFailed(self.id, record.reason or "", error.type, error.message, error.traceback)
        if record.state is State.CANCELLED:
            raise JobCancelled(self.id, record.reason or "cancelled")
        text = record.result or "null"
        task = self._app.tasks.get(record.task)
        if task is None:
            return cast("R_co", json.loads(text))
        codec = task.result_codec
        each = record.options is not None and JobOptions.from_text(record.options).each
        return cast("R_co", codec.decode_each(text) if each else codec.decode(text))

    # --- changing it ---

    def _cancel(self, reason: str = "") -> Steps[bool]:
        """Cancel the job if it waits, ask its worker to if it runs. False: it has ended already, or is gone."""
        return bool((yield from cancel(self._app, Filter(ids=(self.id,)), reason)))

    cancel, acancel = twins(_cancel)

    def _retry(self) -> Steps[bool]:
        """Queue an ended job again with all its attempts, or let a scheduled one run now. False: nothing to do."""
        return bool((yield from alter(Verb.REVIVE, Filter(ids=(self.id,)))))

    retry, aretry = twins(_retry)


class JobWatch(Generic[R_co]):
    """The views of one job, for `for` and for `async for`. See `Job.watch`."""

    __slots__ = ("_job",)

    def __init__(self, job: Job[R_co]) -> None:
        self._job = job

    def __iter__(self) -> Iterator[Job[R_co]]:
        return self._job._app._blocking.stream(self._job._views())

    def __aiter__(self) -> AsyncIterator[Job[R_co]]:
        return self._job._app._async.stream(self._job._views())


def _attempt(stored: history.Attempt) -> Attempt:
    error = None
    if stored.error_type is not None:
        error = ErrorRecord(stored.error_type, stored.error_message or "", stored.traceback or "")
    started_at, ended_at = moment(stored.started_at), moment(stored.ended_at)
    return Attempt(stored.number, started_at, ended_at, stored.worker, stored.verdict, error)


_NOTHING_YET = JobRecord(
    id="",
    task="",
    queue="",
    state=State.QUEUED,
    args="{}",
    priority=0,
    attempt=0,
    crashes=0,
    postponed=0,
    lease=0,
    created_at=0,
    run_at=0,
    started_at=None,
    finished_at=None,
    worker=None,
    cancel_requested=False,
    progress=None,
    progress_text=None,
    result=None,
    error=None,
    reason=None,
    history="[]",
    options=None,
)


def _expected(new: NewJob, now: int) -> JobRecord:
    """What the store will most likely say about a job that was just handed in."""
    run_at = now + new.delay_ms if new.run_at is None else new.run_at
    return replace(
        _NOTHING_YET,
        id=new.id,
        task=new.task,
        queue=new.queue,
        state=State.BLOCKED if new.parents else State.SCHEDULED if run_at > now else State.QUEUED,
        args=new.args,
        priority=new.priority,
        created_at=now,
        run_at=run_at,
        options=new.options,
        partition=new.partition,
        cost=new.cost,
        flow=new.flow,
    )


def _running(claim: Claim) -> JobRecord:
    shared = {each.name: getattr(claim, each.name) for each in fields(Claim)}
    return replace(_NOTHING_YET, state=State.RUNNING, **shared)
