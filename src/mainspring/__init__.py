"""Background jobs for Python.

    from mainspring import Mainspring

    app = Mainspring()

    @app.task
    async def send_welcome(user_id: int, email: str) -> None: ...

    send_welcome.enqueue(7, email="a@b.c")

and, in another terminal, `mainspring worker path.to.module:app`.
"""

from mainspring.admin import (
    AuditPage,
    AuditView,
    ErrorGroup,
    ErrorGroups,
    FlowView,
    JobCount,
    JobPage,
    PartitionView,
    QueueView,
    ScheduleView,
    TaskView,
    WorkerView,
    acting,
)
from mainspring.app import Mainspring
from mainspring.errors import (
    Bury,
    Cancel,
    ConfigurationError,
    DuplicateJob,
    DuplicateTask,
    FlowNotFound,
    HandBack,
    InvalidCron,
    InvalidDuration,
    InvalidFlow,
    InvalidOption,
    InvalidURL,
    JobCancelled,
    JobFailed,
    JobNotFound,
    JobTimeout,
    LeaseLost,
    MainspringError,
    MemoryExceeded,
    NotCommitted,
    PayloadError,
    PayloadTooDeep,
    PayloadTooLarge,
    ProcessCrashed,
    QueueFull,
    RateLimited,
    ResultTimeout,
    RetryAfter,
    ScheduleNotFound,
    SchemaMismatch,
    Snooze,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
    TaskFailed,
    UnknownParent,
    UnknownTask,
    UnsafeText,
    Unserialisable,
    UnsuitableStore,
    UnusableTransaction,
    ValidationError,
)
from mainspring.events import Event
from mainspring.flow import Flow, FlowProgress
from mainspring.job import Attempt, Job, LogLine
from mainspring.model.backoff import Retry
from mainspring.model.keys import Debounce, Throttle, Unique
from mainspring.model.limits import Limits, Rate
from mainspring.model.outcome import ErrorRecord
from mainspring.model.secrets import Secret
from mainspring.model.states import State
from mainspring.nodes import Node, Part
from mainspring.outbox import Outbox
from mainspring.shapes import chain, chord, group, previous
from mainspring.task import JobDraft, Task
from mainspring.worker.context import Context, ParentView, current

__all__ = [
    "Attempt",
    "AuditPage",
    "AuditView",
    "Bury",
    "Cancel",
    "ConfigurationError",
    "Context",
    "Debounce",
    "DuplicateJob",
    "DuplicateTask",
    "ErrorGroup",
    "ErrorGroups",
    "ErrorRecord",
    "Event",
    "Flow",
    "FlowNotFound",
    "FlowProgress",
    "FlowView",
    "HandBack",
    "InvalidCron",
    "InvalidDuration",
    "InvalidFlow",
    "InvalidOption",
    "InvalidURL",
    "Job",
    "JobCancelled",
    "JobCount",
    "JobDraft",
    "JobFailed",
    "JobNotFound",
    "JobPage",
    "JobTimeout",
    "LeaseLost",
    "Limits",
    "LogLine",
    "Mainspring",
    "MainspringError",
    "MemoryExceeded",
    "Node",
    "NotCommitted",
    "Outbox",
    "ParentView",
    "Part",
    "PartitionView",
    "PayloadError",
    "PayloadTooDeep",
    "PayloadTooLarge",
    "ProcessCrashed",
    "QueueFull",
    "QueueView",
    "Rate",
    "RateLimited",
    "ResultTimeout",
    "Retry",
    "RetryAfter",
    "ScheduleNotFound",
    "ScheduleView",
    "SchemaMismatch",
    "Secret",
    "Snooze",
    "State",
    "StoreBusy",
    "StoreCorrupt",
    "StoreError",
    "StoreFull",
    "StoreReadOnly",
    "StoreUnavailable",
    "Task",
    "TaskFailed",
    "TaskView",
    "Throttle",
    "Unique",
    "UnknownParent",
    "UnknownTask",
    "UnsafeText",
    "Unserialisable",
    "UnsuitableStore",
    "UnusableTransaction",
    "ValidationError",
    "WorkerView",
    "acting",
    "chain",
    "chord",
    "current",
    "group",
    "previous",
]
