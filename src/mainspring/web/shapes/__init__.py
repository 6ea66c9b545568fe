"""What the web says in JSON: a pydantic model for each noun, and the one place in which each is made.

Times are RFC 3339 in UTC, durations are seconds, lists are `{"items": [...], "cursor": ...}`. The names stay as they
are from version to version.
"""

from mainspring.web.shapes.audit import AuditShape, audit_shape
from mainspring.web.shapes.base import Listing, Shape
from mainspring.web.shapes.flows import FlowShape, WholeFlowShape, flow_shape, whole_flow_shape
from mainspring.web.shapes.jobs import JobShape, WholeJobShape, job_shape, whole_job_shape
from mainspring.web.shapes.queues import PartitionShape, QueueShape, partition_shape, queue_shape
from mainspring.web.shapes.schedules import ScheduleShape, schedule_shape
from mainspring.web.shapes.stats import SeriesShape, TotalShape, series_shape, total_shape
from mainspring.web.shapes.tasks import TaskShape, WholeTaskShape, task_shape, whole_task_shape
from mainspring.web.shapes.webhooks import WebhookShape, webhook_shape
from mainspring.web.shapes.workers import WorkerShape, worker_shape

__all__ = [
    "AuditShape",
    "FlowShape",
    "JobShape",
    "Listing",
    "PartitionShape",
    "QueueShape",
    "ScheduleShape",
    "SeriesShape",
    "Shape",
    "TaskShape",
    "TotalShape",
    "WebhookShape",
    "WholeFlowShape",
    "WholeJobShape",
    "WholeTaskShape",
    "WorkerShape",
    "audit_shape",
    "flow_shape",
    "job_shape",
    "partition_shape",
    "queue_shape",
    "schedule_shape",
    "series_shape",
    "task_shape",
    "total_shape",
    "webhook_shape",
    "whole_flow_shape",
    "whole_job_shape",
    "whole_task_shape",
    "worker_shape",
]
