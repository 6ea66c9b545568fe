"""Every error that Mainspring raises, and every word a task may raise to say what becomes of its job.

    MainspringError
    ├── ConfigurationError (ValueError)      something was set up wrongly, in code or on the command line
    │   ├── InvalidDuration  InvalidCron  InvalidURL  InvalidOption
    │   ├── EncryptionKeyMissing             arguments are encrypted, and the key for that is not at hand
    │   └── DuplicateTask
    ├── ValidationError (ValueError)         arguments that a task cannot take; raised before anything is stored
    │   └── PayloadError                     a value that has no safe JSON form
    │       └── Unserialisable  PayloadTooLarge  PayloadTooDeep  UnsafeText
    ├── UnknownTask  JobNotFound  FlowNotFound  ScheduleNotFound  WebhookNotFound (LookupError)
    ├── DuplicateJob                         a unique job that is there already, where that is to be an error
    ├── QueueFull                            a queue or partition that holds as many waiting jobs as it may
    ├── InvalidFlow (ValueError)             a flow that cannot be: a cycle, too many jobs
    │   └── UnknownParent                    a job that is to wait for one that is not there
    ├── JobFailed  JobCancelled              what `result()` raises for a job that ended badly
    ├── ResultTimeout (TimeoutError)         the job has not ended in the time given
    ├── JobTimeout (TimeoutError)            the job ran longer than its `timeout`
    ├── MemoryExceeded (MemoryError)         the job used more than its `memory`
    ├── ProcessCrashed                       the process that ran the job died
    ├── TaskFailed                           what a middleware sees of an exception in another process
    ├── LeaseLost                            this worker no longer owns the job
    ├── NotCommitted                         a run whose own transaction never completed its job
    ├── UnusableTransaction (ValueError)     a `tx=` in which no job can be stored
    ├── InvalidSignature (ValueError)        a webhook's request that does not come from whom it should
    ├── DecryptionFailed                     an encrypted argument that is not what was stored
    ├── DeliveryFailed                       a webhook whose receiver cannot be reached, or says no
    └── StoreError                           the store refused or could not be reached
        ├── StoreUnavailable  StoreBusy  StoreFull
        ├── StoreReadOnly  StoreCorrupt  UnsuitableStore
        └── SchemaMismatch

    Directive                                not errors: a task raises them to direct its own job
    ├── RetryAfter   run again after that long (uses an attempt)
    ├── Snooze       run again after that long (uses no attempt)
    ├── RateLimited  no job starts through this one's gate for so long; it runs again then (uses no attempt)
    ├── HandBack     back to its queue, for another worker (uses no attempt)
    ├── Bury         to the dead letters now
    └── Cancel       cancelled now

Each message says what was wrong, with which value, and what to do about it.
"""

from __future__ import annotations

from datetime import timedelta

__all__ = [
    "Bury",
    "Cancel",
    "ConfigurationError",
    "DecryptionFailed",
    "DeliveryFailed",
    "Directive",
    "DuplicateJob",
    "DuplicateTask",
    "EncryptionKeyMissing",
    "FlowNotFound",
    "HandBack",
    "InvalidCron",
    "InvalidDuration",
    "InvalidFlow",
    "InvalidOption",
    "InvalidSignature",
    "InvalidURL",
    "JobCancelled",
    "JobFailed",
    "JobNotFound",
    "JobTimeout",
    "LeaseLost",
    "MainspringError",
    "MemoryExceeded",
    "NotCommitted",
    "PayloadError",
    "PayloadTooDeep",
    "PayloadTooLarge",
    "ProcessCrashed",
    "QueueFull",
    "RateLimited",
    "ResultTimeout",
    "RetryAfter",
    "ScheduleNotFound",
    "SchemaMismatch",
    "Snooze",
    "StoreBusy",
    "StoreCorrupt",
    "StoreError",
    "StoreFull",
    "StoreReadOnly",
    "StoreUnavailable",
    "TaskFailed",
    "UnknownParent",
    "UnknownTask",
    "UnsafeText",
    "Unserialisable",
    "UnsuitableStore",
    "UnusableTransaction",
    "ValidationError",
    "WebhookNotFound",
]


class MainspringError(Exception):
    """The root of all errors raised by Mainspring."""


class ConfigurationError(MainspringError, ValueError):
    """Something was set up wrongly: an option, a URL, a schedule."""


class InvalidDuration(ConfigurationError):
    """A duration that is not seconds, a `timedelta`, or text such as "90s"."""


class InvalidCron(ConfigurationError):
    """A cron line or a time zone that cannot be understood."""


class InvalidURL(ConfigurationError):
    """A store URL that cannot be understood."""


class InvalidOption(ConfigurationError):
    """An option with a value that it cannot take."""


class EncryptionKeyMissing(ConfigurationError):
    """Arguments are to be encrypted, or were, and the app does not have the key for that. Where a job was to be
    enqueued, nothing was stored.

    `key_id` is what the key is called that is needed; None: any would do.
    """

    def __init__(self, message: str, key_id: str | None = None) -> None:
        super().__init__(message)
        self.key_id = key_id


class DuplicateTask(ConfigurationError):
    """Two different functions were registered under one task name."""


class ValidationError(MainspringError, ValueError):
    """Arguments that do not fit the task's signature. Nothing was stored."""


class PayloadError(ValidationError):
    """A value that has no safe JSON form. Nothing was stored."""


class Unserialisable(PayloadError):
    """A value that JSON cannot carry."""


class PayloadTooLarge(PayloadError):
    """A value whose JSON is over the size limit."""


class PayloadTooDeep(PayloadError):
    """A value nested over the depth limit."""


class UnsafeText(PayloadError):
    """Text with a NUL character or a lone surrogate, which not every store can keep."""


class UnknownTask(MainspringError, LookupError):
    """No task is registered under that name."""


class JobNotFound(MainspringError, LookupError):
    """No job has that id; it may have been pruned or deleted."""


class FlowNotFound(MainspringError, LookupError):
    """No flow has that id; it may have been pruned."""


class WebhookNotFound(MainspringError, LookupError):
    """The code declares no webhook of that name."""


class ScheduleNotFound(MainspringError, LookupError):
    """No schedule has that name."""


class DuplicateJob(MainspringError):
    """Another job holds a key of this one, whose task says that it is to be rejected then. Nothing was stored.

    `job_id` is the job that holds the key, `key` its name.
    """

    def __init__(self, job_id: str, key: str) -> None:
        super().__init__(f"not enqueued: job {job_id} is there already and holds the key {key!r}")
        self.job_id = job_id
        self.key = key


class QueueFull(MainspringError):
    """A queue, or a partition of one, holds as many waiting jobs as its `max_queued` allows. Nothing was stored.

    `partition` is None where it is the queue as a whole.
    """

    def __init__(self, queue: str, partition: str | None, limit: int) -> None:
        place = f"queue {queue!r}" if partition is None else f"partition {partition!r} of queue {queue!r}"
        super().__init__(f"not enqueued: {place} has {limit} jobs waiting, as many as it may; try again later")
        self.queue = queue
        self.partition = partition
        self.limit = limit


class InvalidFlow(MainspringError, ValueError):
    """A flow that cannot be: its jobs wait for each other, or are too many. Nothing was stored."""


class UnknownParent(InvalidFlow):
    """A job was to wait for one that is not there; it may have been pruned or deleted. Nothing was stored.

    `job_id` is the job, `parent_id` the one that it was to wait for.
    """

    def __init__(self, job_id: str, parent_id: str) -> None:
        super().__init__(f"not enqueued: job {job_id} is to wait for job {parent_id}, which is not there")
        self.job_id = job_id
        self.parent_id = parent_id


def would_wait_for_itself(callback: str) -> InvalidFlow:
    """A job of a flow was to wait, itself or by way of others, for what is to follow on the whole flow."""
    return InvalidFlow(
        f"not enqueued: a job of a flow cannot wait for job {callback}, which follows on the flow, and so waits for it"
    )


class JobFailed(MainspringError):
    """The job is dead.

    `type` is the stored exception's type name, `message` its text, `traceback` its traceback as text, `reason`
    why the job was not tried again.
    """

    def __init__(self, job_id: str, reason: str, type: str = "", message: str = "", traceback: str = "") -> None:
        cause = f": {type}: {message}" if type else ""
        super().__init__(f"job {job_id} is dead ({reason}){cause}")
        self.job_id = job_id
        self.reason = reason
        self.type = type
        self.message = message
        self.traceback = traceback


class JobCancelled(MainspringError):
    """The job was cancelled; `reason` says by what."""

    def __init__(self, job_id: str, reason: str) -> None:
        super().__init__(f"job {job_id} was cancelled ({reason})")
        self.job_id = job_id
        self.reason = reason


class ResultTimeout(MainspringError, TimeoutError):
    """The job had not ended when the time given to `result(timeout=...)` was over; `state` is where it stood.

    For a flow that `wait(timeout=...)` waited for, `job_id` is its id.
    """

    def __init__(self, job_id: str, state: str, seconds: float, *, kind: str = "job") -> None:
        super().__init__(
            f"{kind} {job_id} is still {state} after {seconds:g} s; "
            f"wait longer, or see `mainspring {kind}s show {job_id}`"
        )
        self.job_id = job_id
        self.state = state


class JobTimeout(MainspringError, TimeoutError):
    """The job ran longer than its `timeout`."""


class MemoryExceeded(MainspringError, MemoryError):
    """The job used more than its `memory`."""


class ProcessCrashed(MainspringError):
    """The process that ran the job died: it crashed, somebody killed it, or the system did for want of memory."""


class TaskFailed(MainspringError):
    """A task raised in a process of its own. `type`, `message` and `traceback` say what, as text: exceptions themselves
    do not leave their process. Only middleware meets this one; a job's error is what its task has raised."""

    def __init__(
        self, type: str, message: str, traceback: str, *, again: bool | None = None, delay_ms: int | None = None
    ) -> None:
        super().__init__(f"{type}: {message}")
        self.type = type
        self.message = message
        self.traceback = traceback
        self.again = again
        """Whether the task's retry rules let it be tried again; None: they have not been asked."""
        self.delay_ms = delay_ms
        """What the task's delay function says."""


class LeaseLost(MainspringError):
    """This worker no longer owns the job: its lease ran out and the job went to another worker."""


class UnusableTransaction(MainspringError, ValueError):
    """What was given as `tx=` is nothing that jobs can be stored in: no connection, one to somewhere else, of the wrong
    kind for the verb, closed, without a transaction, or with one that has failed. Nothing was stored."""


class InvalidSignature(MainspringError, ValueError):
    """A request that claims to come from a webhook was not signed with the receiver's secret, was changed on its way,
    or is too old. Do nothing of what it says, and answer with 400."""


class DecryptionFailed(MainspringError):
    """An encrypted argument is not what was stored there: it was changed, or moved from another place or task."""


class DeliveryFailed(MainspringError):
    """A webhook's delivery found its receiver out of reach, or was answered with anything but success."""


class NotCommitted(MainspringError):
    """A task has completed its job in a transaction of its own (`ctx.complete`) and returned, but that transaction was
    never committed. The run has failed; the job goes by its retry rules."""


class StoreError(MainspringError):
    """The store refused an operation or could not be reached."""


class StoreUnavailable(StoreError):
    """The store cannot be reached."""


class StoreBusy(StoreError):
    """The store did not get to the operation within its deadline. Nothing was changed; trying again is safe."""


class StoreFull(StoreError):
    """The store has no room left. Nothing was changed; it works again once there is room."""


class StoreReadOnly(StoreError):
    """The store can be read but not written."""


class StoreCorrupt(StoreError):
    """The store's data is damaged, or it is not a store at all."""


class UnsuitableStore(StoreError):
    """The store is of a kind or in a place that cannot keep Mainspring's promises."""


class SchemaMismatch(StoreError):
    """The store's schema is of a version that this program does not know."""


class Directive(Exception):
    """What a task raises to direct its own job; not an error."""


class RetryAfter(Directive):
    """Run again after `delay`, if attempts are left: `raise RetryAfter("5m")`."""

    def __init__(self, delay: float | str | timedelta, reason: str = "") -> None:
        super().__init__(reason or f"retry after {delay}")
        self.delay = delay
        self.reason = reason


class Snooze(Directive):
    """Run again after `delay` without using an attempt: `raise Snooze("10m")`."""

    def __init__(self, delay: float | str | timedelta, reason: str = "") -> None:
        super().__init__(reason or f"snooze {delay}")
        self.delay = delay
        self.reason = reason


class RateLimited(Directive):
    """Others said "too many requests": `raise RateLimited(retry_after="20s")`.

    Until then no job starts through the gate of this one, in any worker; then this job runs again, and has used no
    attempt. The gate is the narrowest with a rate (the job's partition, its task, its queue); where none has one, the
    partition if the queue is partitioned, else the queue.
    """

    def __init__(self, retry_after: float | str | timedelta, reason: str = "") -> None:
        super().__init__(reason or f"rate limited for {retry_after}")
        self.retry_after = retry_after
        self.reason = reason


class HandBack(Directive):
    """Give the job back, without using an attempt, for another worker to go on with: `raise HandBack`.

    For a job that has saved how far it is (`ctx.checkpoint`) since its worker stops (`ctx.interrupted`). Raised while
    the worker goes on, it lets others go first for a second.
    """

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__(reason)


class Bury(Directive):
    """Put the job among the dead letters now, however many attempts are left: `raise Bury("no such customer")`."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class Cancel(Directive):
    """End the job as cancelled: `raise Cancel("the order was withdrawn")`."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
