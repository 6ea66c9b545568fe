"""Settings: what code and operators say about queues, partitions, tasks, schedules and workers."""

from __future__ import annotations

from mainspring.store.base import ConfigureRequest, Operation, Settings

__all__ = ["Configured"]


class Configured:
    """The operation `configure`."""

    def configure(self, request: ConfigureRequest) -> Operation[Settings]:
        raise NotImplementedError
