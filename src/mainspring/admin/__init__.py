"""The operators' door: look at jobs, flows, queues, schedules and workers, and change them.

The command line, the web and the user's own code all come in here: `app.jobs`, `app.flows`, `app.queues`,
`app.schedules`, `app.workers`, `app.webhooks`. Every verb has an async twin whose name begins with `a`.
"""

from mainspring.admin.flows import FlowPage, Flows, FlowView
from mainspring.admin.jobs import JobPage, Jobs
from mainspring.admin.queues import PartitionView, Queues, QueueView, TaskView
from mainspring.admin.schedules import Schedules, ScheduleView
from mainspring.admin.webhooks import Webhooks, WebhookView
from mainspring.admin.workers import Workers, WorkerView

__all__ = [
    "FlowPage",
    "FlowView",
    "Flows",
    "JobPage",
    "Jobs",
    "PartitionView",
    "QueueView",
    "Queues",
    "ScheduleView",
    "Schedules",
    "TaskView",
    "WebhookView",
    "Webhooks",
    "WorkerView",
    "Workers",
]
