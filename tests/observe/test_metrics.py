"""What is counted and measured, as an OpenTelemetry SDK reads it."""

from __future__ import annotations

from typing import Any

import pytest
from worker.scene import AT_ONCE, ended, until, working

from mainspring import Bury, Mainspring, StoreUnavailable
from mainspring.observe import depths

from .seen import Seen


def by(points: list[tuple[dict[str, Any], Any]], *names: str) -> dict[Any, Any]:
    """The numbers by these attributes."""
    found = {tuple(attributes.get(name) for name in names): number for attributes, number in points}
    return {key[0] if len(key) == 1 else key: number for key, number in found.items()}


async def test_what_becomes_of_jobs_is_counted_by_queue_and_task(front: Mainspring) -> None:
    seen = Seen(front)
    failed: list[int] = []

    @front.task(retry=AT_ONCE, queue="mail")
    async def flaky() -> None:
        if not failed:
            failed.append(1)
            raise ValueError("once")
        assert by(seen.points("mainspring.job.running"), "mainspring.task")["flaky"] == 1

    @front.task
    def bury() -> None:
        raise Bury("why")

    async with working(front):
        jobs = [await flaky.aenqueue(), *front.enqueue_many([bury.job(), bury.job()])]
        await ended(*jobs)
        await until(lambda: sum(count for _, count in seen.points("mainspring.job.events")) == 4)
    task, queue, event = "mainspring.task", "messaging.destination.name", "mainspring.event"
    assert by(seen.points("messaging.client.sent.messages"), task, queue) == {
        ("flaky", "mail"): 1,
        ("bury", "default"): 2,
    }
    assert by(seen.points("messaging.client.operation.duration"), "messaging.operation.name") == {"enqueue": 2}
    assert by(seen.points("messaging.client.consumed.messages"), task) == {"flaky": 2, "bury": 2}
    assert by(seen.points("mainspring.job.wait.duration"), task) == {"flaky": 2, "bury": 2}
    assert by(seen.points("messaging.process.duration"), task, "error.type") == {
        ("flaky", "ValueError"): 1,
        ("flaky", None): 1,
        ("bury", "Bury"): 2,
    }
    assert by(seen.points("mainspring.job.events"), task, event) == {
        ("flaky", "retried"): 1,
        ("flaky", "completed"): 1,
        ("bury", "dead"): 2,
    }
    assert {count for _, count in seen.points("mainspring.job.running")} == {0}


async def test_queues_are_looked_at_when_somebody_reads(front: Mainspring, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(front)
    monkeypatch.setattr(depths, "SECONDS", 0.0)

    @front.task
    async def work() -> None: ...

    assert seen.points("mainspring.queue.jobs") == []
    front.enqueue_many([work.job() for _ in range(3)])
    work.using(queue="later", delay="1h").enqueue()
    points = seen.points("mainspring.queue.jobs")
    counts = by(points, "messaging.destination.name", "mainspring.state")
    assert counts["default", "queued"] == 3
    assert counts["later", "scheduled"] == 1
    assert sum(counts.values()) == 4
    oldest = by(seen.points("mainspring.queue.oldest"), "messaging.destination.name")
    assert oldest["default"] >= 0
    assert oldest["later"] == 0


async def test_a_store_that_is_away_costs_a_reading(
    front: Mainspring, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen(front)

    def away(**options: Any) -> Any:
        raise StoreUnavailable("away")

    monkeypatch.setattr(front.queues, "list", away)
    assert seen.points("mainspring.queue.jobs") == []
    assert "the queues cannot be counted: away" in caplog.text
