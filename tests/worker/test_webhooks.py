"""Webhooks: what happens is told to a real server, once it is so, and whoever dies meanwhile."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.receiver import Receiver, receiving

from mainspring import (
    Bury,
    Cancel,
    Context,
    DeliveryFailed,
    InvalidSignature,
    Job,
    Mainspring,
    Retry,
    State,
    chain,
    group,
)
from mainspring.webhooks import verify

from .places import Place
from .scene import ended, until, wait_until, working

SECRET = "a secret of the tests' own"
DELIVERY = "mainspring.webhook"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(Receiver()) as receiver:
        yield receiver


def tell(app: Mainspring, receiver: Receiver, on: Any, **options: Any) -> None:
    app.webhook(receiver.url, **{"on": on, "secret": SECRET, "allow_private": True} | options)


async def test_a_completed_job_is_told_signed_and_once(app: Mainspring, receiver: Receiver) -> None:
    tell(app, receiver, "completed")

    @app.task
    async def work(n: int) -> int:
        return n + 1

    async with working(app):
        job = await work.aenqueue(41)
        await until(lambda: receiver.received)
        (delivery,) = await app.jobs.afind(task=DELIVERY)
        await ended(delivery)
    (got,) = receiver.received
    event = verify(got.body, got.headers, SECRET)
    assert got.path == "/hook"
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["User-Agent"].startswith("Mainspring/")
    assert got.headers["Mainspring-Event-Id"] == event["id"]
    assert event["event"] == "completed"
    assert event["flow"] is None
    await job.arefresh()
    assert event["job"] == {
        "id": job.id,
        "task": "work",
        "queue": "default",
        "state": "completed",
        "attempt": 1,
        "created_at": event["job"]["created_at"],
        "reason": None,
        "error": None,
    }
    assert delivery.state is State.COMPLETED
    assert delivery.queue == "webhooks"
    assert "answered 200" in delivery.refresh().log[0].text if delivery.log else True
    assert SECRET not in json.dumps(app.jobs.get(delivery.id).args)
    assert receiver.url not in json.dumps(app.jobs.get(delivery.id).args)


async def test_each_end_of_a_run_is_told(app: Mainspring, receiver: Receiver) -> None:
    tell(app, receiver, ("completed", "dead", "cancelled", "retried"), include_result=True)

    @app.task(retry=Retry(attempts=2, delay=0))
    async def work(how: str) -> Any:
        match how:
            case "die":
                raise ValueError("no")
            case "bury":
                raise Bury("why")
            case "cancel":
                raise Cancel("withdrawn")
        return {"said": how}

    async with working(app):
        jobs = {how: await work.aenqueue(how) for how in ("well", "die", "bury", "cancel")}
        await until(lambda: len(receiver.received) == 5)
    told: dict[str, list[Any]] = {how: [] for how in jobs}
    names = {job.id: how for how, job in jobs.items()}
    for event in sorted((each.event for each in receiver.received), key=lambda event: event["time"]):
        told[names[event["job"]["id"]]].append(event)
    assert [event["event"] for event in told["die"]] == ["retried", "dead"]
    assert told["die"][0]["job"]["error"] == {"type": "ValueError", "message": "no"}
    assert [event["job"]["state"] for event in told["die"]] == ["scheduled", "dead"]
    assert told["well"][0]["job"]["result"] == {"said": "well"}
    assert told["bury"][0]["job"]["reason"] == "buried: why"
    assert "result" not in told["bury"][0]["job"]
    assert told["cancel"][0]["event"] == "cancelled"
