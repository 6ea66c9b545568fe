"""The operators' door: look at jobs, flows, queues, schedules, workers, statistics, change them; and see who did.

The command line, the web and the user's own code all come in here: `app.jobs`, `app.flows`, `app.queues`,
`app.schedules`, `app.workers`, `app.stats`, `app.webhooks`, `app.audit`. Every verb has an async twin whose name begins
with `a`.
"""

from mainspring.admin.audit import Audit, AuditPage, AuditView
from mainspring.admin.errors import ErrorGroup, ErrorGroups
from mainspring.admin.flows import FlowPage, Flows, FlowView
from mainspring.admin.jobs import JobCount, JobPage, Jobs
from mainspring.admin.queues import PartitionView, Queues, QueueView, TaskView
from mainspring.admin.schedules import Schedules, ScheduleView
from mainspring.admin.stats import Stats
from mainspring.admin.webhooks import Webhooks, WebhookView
from mainspring.admin.workers import Workers, WorkerView
from mainspring.audit import acting

__all__ = [
    "Audit",
    "AuditPage",
    "AuditView",
    "ErrorGroup",
    "ErrorGroups",
    "FlowPage",
    "FlowView",
    "Flows",
    "JobCount",
    "JobPage",
    "Jobs",
    "PartitionView",
    "QueueView",
    "Queues",
    "ScheduleView",
    "Schedules",
    "Stats",
    "TaskView",
    "WebhookView",
    "Webhooks",
    "WorkerView",
    "Workers",
    "acting",
]
