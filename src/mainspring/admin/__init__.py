"""The operators' door: look at jobs, flows, queues, schedules, workers and statistics, and change them.

The command line, the web and the user's own code all come in here: `app.jobs`, `app.flows`, `app.queues`,
`app.schedules`, `app.workers`, `app.stats`. Every verb has an async twin whose name begins with `a`.
"""

from mainspring.admin.flows import Flows, FlowView
from mainspring.admin.jobs import JobPage, Jobs
from mainspring.admin.queues import PartitionView, Queues, QueueView, TaskView
from mainspring.admin.schedules import Schedules, ScheduleView
from mainspring.admin.stats import Stats
from mainspring.admin.workers import Workers, WorkerView

__all__ = [
    "FlowView",
    "Flows",
    "JobPage",
    "Jobs",
    "PartitionView",
    "QueueView",
    "Queues",
    "ScheduleView",
    "Schedules",
    "Stats",
    "TaskView",
    "WorkerView",
    "Workers",
]
