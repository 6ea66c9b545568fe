"""The operators' door: look at jobs, queues, schedules and workers, and change them.

The command line, the web and the user's own code all come in here: `app.jobs`, `app.queues`, `app.schedules`,
`app.workers`. Every verb has an async twin whose name begins with `a`.
"""

from mainspring.admin.jobs import JobPage, Jobs
from mainspring.admin.queues import Queues, QueueView
from mainspring.admin.schedules import Schedules, ScheduleView
from mainspring.admin.workers import Workers, WorkerView

__all__ = ["JobPage", "Jobs", "QueueView", "Queues", "ScheduleView", "Schedules", "WorkerView", "Workers"]
