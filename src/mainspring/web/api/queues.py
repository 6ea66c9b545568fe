"""Queues and their partitions: what is in them, pausing, limits."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from mainspring.model.limits import KEEP
from mainspring.web.api.inputs import Ask, NamePath, Number, RateText
from mainspring.web.api.route import NotFound, changing, new_router, problems
from mainspring.web.identity import Role
from mainspring.web.shapes import Listing, PartitionShape, QueueShape, partition_shape, queue_shape
from mainspring.web.site import AtSite, Site, may

__all__ = ["router"]

router = new_router("queues")

LOOK = [may(Role.VIEWER)]
CHANGE = changing(Role.OPERATOR)
LIMIT = changing(Role.ADMIN)


class QueueLimitsAsk(Ask):
    """Limits, counted over all workers; null: no limit. What is left out stays."""

    concurrency: Number | None = Field(default=None, description="How many jobs may run at once.")
    rates: list[RateText] | None = Field(
        default=None, max_length=10, description='How many may start in a time, such as "50/1m"; all of them hold.'
    )
    max_queued: Number | None = Field(default=None, description="How many jobs may wait.")


class PartitionLimitsAsk(QueueLimitsAsk):
    """Limits of a partition; null: no limit. What is left out stays."""

    weight: Annotated[float, Field(strict=True, ge=0.001, le=1000)] | None = Field(
        default=None, description="Its share beside the others'."
    )


@router.get("/queues", dependencies=LOOK)
async def list_queues(site: AtSite) -> Listing[QueueShape]:
    """All queues that have jobs or settings, by name."""
    return Listing(items=[queue_shape(view) for view in await site.app.queues.alist()], cursor=None)


@router.get("/queues/{name:name}/partitions", dependencies=LOOK)
async def list_partitions(site: AtSite, name: NamePath) -> Listing[PartitionShape]:
    """The partitions of a queue that have settings of their own (limits, a pause), by name, 1,000 at most."""
    views = await site.app.queues.apartitions(name)
    return Listing(items=[partition_shape(view) for view in views], cursor=None)


@router.get("/queues/{name:name}/partitions/{partition:name}", dependencies=LOOK)
async def get_partition(site: AtSite, name: NamePath, partition: NamePath) -> PartitionShape:
    """One partition of a queue, whatever is set for it."""
    return partition_shape(await site.app.queues.apartition(name, partition))


@router.post("/queues/{name:name}/partitions/{partition:name}/pause", dependencies=CHANGE)
async def pause_partition(site: AtSite, name: NamePath, partition: NamePath) -> PartitionShape:
    """Let no job be taken from this partition."""
    await site.app.queues.apause(name, partition)
    return partition_shape(await site.app.queues.apartition(name, partition))


@router.post("/queues/{name:name}/partitions/{partition:name}/resume", dependencies=CHANGE)
async def resume_partition(site: AtSite, name: NamePath, partition: NamePath) -> PartitionShape:
    """Let jobs be taken from this partition again."""
    await site.app.queues.aresume(name, partition)
    return partition_shape(await site.app.queues.apartition(name, partition))


@router.patch("/queues/{name:name}/partitions/{partition:name}/limits", dependencies=LIMIT)
async def limit_partition(site: AtSite, name: NamePath, partition: NamePath, ask: PartitionLimitsAsk) -> PartitionShape:
    """Limit one partition. Wins over what the code says."""
    await site.app.queues.aset_limits(name, partition=partition, **_said(ask))
    return partition_shape(await site.app.queues.apartition(name, partition))


@router.get("/queues/{name:name}", dependencies=LOOK, responses=problems(404))
async def get_queue(site: AtSite, name: NamePath) -> QueueShape:
    """One queue: its settings, what is in it, and how long the oldest has waited."""
    return await _queue(site, name)


@router.post("/queues/{name:name}/pause", dependencies=CHANGE)
async def pause_queue(site: AtSite, name: NamePath) -> QueueShape:
    """Let no job be taken from the queue, by no worker. What runs goes on; enqueuing goes on."""
    await site.app.queues.apause(name)
    return await _queue(site, name)


@router.post("/queues/{name:name}/resume", dependencies=CHANGE)
async def resume_queue(site: AtSite, name: NamePath) -> QueueShape:
    """Let jobs be taken from the queue again."""
    await site.app.queues.aresume(name)
    return await _queue(site, name)


@router.patch("/queues/{name:name}/limits", dependencies=LIMIT)
async def limit_queue(site: AtSite, name: NamePath, ask: QueueLimitsAsk) -> QueueShape:
    """Limit a queue. Wins over what the code says."""
    await site.app.queues.aset_limits(name, **_said(ask))
    return await _queue(site, name)


@router.patch("/queues/{name:name}/partition-limits", dependencies=LIMIT)
async def limit_each_partition(site: AtSite, name: NamePath, ask: PartitionLimitsAsk) -> QueueShape:
    """Limit every partition of a queue that has no word of its own."""
    await site.app.queues.aset_limits(name, per_partition=True, **_said(ask))
    return await _queue(site, name)


def _said(ask: QueueLimitsAsk) -> dict[str, Any]:
    """What was given, in the words of the operators' door."""
    given = {name: getattr(ask, name) for name in ask.model_fields_set}
    if given.get("weight", KEEP) is None:
        given["weight"] = 1
    return {"rate" if name == "rates" else name: value for name, value in given.items()}


async def _queue(site: Site, name: str) -> QueueShape:
    for view in await site.app.queues.alist():
        if view.name == name:
            return queue_shape(view)
    raise NotFound(f"no queue {name!r} has jobs or settings")
