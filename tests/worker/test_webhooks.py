"""Webhooks: what happens is told to a real server, once it is so, and whoever dies meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from servers.receiver import Receiver, receiving

from mainspring import (
    Bury,
    Cancel,
    Context,
    InvalidSignature,
    Job,
    Limits,
    Mainspring,
    Retry,
    State,
    chain,
    group,
)
from mainspring.webhooks import verify

from .scene import ended, until, working

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
    seen = await app.jobs.aget(delivery.id)
    assert seen.log[0].text.startswith("127.0.0.1 answered 200 after ")
    assert SECRET not in repr(seen.record)
    assert receiver.url not in repr(seen.record)


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
    # Two ends may be in one millisecond.
    for event in sorted((each.event for each in receiver.received), key=lambda event: event["job"]["attempt"]):
        told[names[event["job"]["id"]]].append(event)
    assert [event["event"] for event in told["die"]] == ["retried", "dead"]
    assert told["die"][0]["job"]["error"] == {"type": "ValueError", "message": "no"}
    assert [event["job"]["state"] for event in told["die"]] == ["scheduled", "dead"]
    assert told["well"][0]["job"]["result"] == {"said": "well"}
    assert told["bury"][0]["job"]["reason"] == "buried: why"
    assert "result" not in told["bury"][0]["job"]
    assert told["cancel"][0]["event"] == "cancelled"


async def test_a_cancel_by_somebody_who_knows_the_store_alone_is_told(app: Mainspring, receiver: Receiver) -> None:
    tell(app, receiver, "cancelled", task="work")

    @app.task
    async def work() -> None: ...

    @app.task
    async def other() -> None: ...

    async with working(app), Mainspring(app.url) as stranger:
        jobs = [await task.using(delay="1h").aenqueue() for task in (work, other)]
        assert await stranger.jobs.acancel(state="scheduled", reason="no need") == 2
        await until(lambda: receiver.received)
        await until(lambda: app.jobs.count(queue="webhooks", state=["queued", "running", "blocked"]) == 0)
    (event,) = (each.event for each in receiver.received)
    assert (event["event"], event["job"]["id"]) == ("cancelled", jobs[0].id)
    assert event["job"]["reason"] == "cancelled: no need"


async def test_only_what_it_is_for_is_told(app: Mainspring, receiver: Receiver) -> None:
    @app.task
    async def work() -> None: ...

    @app.task(queue="other")
    async def elsewhere() -> None: ...

    @app.task
    async def never() -> None: ...

    tell(app, receiver, "completed", name="by task", task=[work, "elsewhere"], queue="default")
    tell(app, receiver, ["completed", "dead"], name="by queue", queue=["other"])
    async with working(app):
        for task in (never, work, elsewhere):
            await (await task.aenqueue()).aresult(20)
        await until(lambda: len(receiver.received) == 2)
        deliveries = await app.jobs.afind(task=DELIVERY)
        await ended(*deliveries)
    assert sorted(each.event["job"]["task"] for each in receiver.received) == ["elsewhere", "work"]
    assert {job.args["webhook"] for job in deliveries} == {"by task", "by queue"}


async def test_several_webhooks_hear_of_one_event_by_one_id(app: Mainspring, receiver: Receiver) -> None:
    tell(app, receiver, "completed", name="a")
    tell(app, receiver, "completed", name="b", include_result=True)

    @app.task
    async def work() -> list[int]:
        return [1, 2]

    async with working(app):
        await work.aenqueue()
        await until(lambda: len(receiver.received) == 2)
    events = [each.event for each in receiver.received]
    assert events[0]["id"] == events[1]["id"]
    assert sorted("result" in event["job"] for event in events) == [False, True]


@pytest.mark.filterwarnings("ignore::mainspring.model.codec.PayloadWarning")
async def test_a_large_result_is_left_out(app: Mainspring, receiver: Receiver) -> None:
    tell(app, receiver, "completed", include_result=True)

    @app.task
    async def work() -> str:
        return "x" * 900_000

    async with working(app):
        await work.aenqueue()
        await until(lambda: receiver.received)
    job = receiver.received[0].event["job"]
    assert job["result"] is None
    assert job["result_left_out"] is True


async def test_what_goes_wrong_in_telling_costs_no_job_anything(
    app: Mainspring, receiver: Receiver, worker_log: pytest.LogCaptureFixture
) -> None:
    app.queue("webhooks", partition="no_such_argument")
    tell(app, receiver, "completed")

    @app.task
    async def work() -> int:
        return 1

    async with working(app):
        assert await (await work.aenqueue()).aresult(20) == 1
    assert "webhooks cannot be told of it" in worker_log.text


# --- what receivers answer ---


async def deliver(app: Mainspring, receiver: Receiver, **options: Any) -> Job[Any]:
    """Ping it, until that has ended."""
    tell(app, receiver, "completed", **options)
    async with working(app):
        job = await app.webhooks.atest("127.0.0.1")
        await ended(job)
    return await app.jobs.aget(job.id)


async def test_what_was_not_taken_comes_again_with_the_same_id_and_signed_anew(
    app: Mainspring, receiver: Receiver
) -> None:
    receiver.answers = [500, 404, 302, 200]
    job = await deliver(app, receiver, retry=Retry(attempts=4, delay=0.6, factor=1, jitter=False))
    assert job.state is State.COMPLETED
    assert job.attempt == 4
    assert len({each.headers["Mainspring-Event-Id"] for each in receiver.received}) == 1
    assert len({each.body for each in receiver.received}) == 1
    assert len({each.headers["Mainspring-Signature"] for each in receiver.received}) > 1
    assert [attempt.error and attempt.error.message.partition("answered ")[2][:3] for attempt in job.attempts] == [
        "500",
        "404",
        "302",
        None,
    ]
    assert [line.text.partition("answered ")[2][:3] for line in job.log] == ["500", "404", "302", "200"]
    assert job.log[3].text.endswith(" s: thanks")


async def test_a_receiver_that_never_takes_it_leaves_a_dead_letter(app: Mainspring, receiver: Receiver) -> None:
    receiver.answers = [500]
    job = await deliver(app, receiver, retry=Retry(attempts=2, delay=0))
    assert (job.state, job.reason) == (State.DEAD, "attempts used up (2 of 2)")
    assert job.error is not None
    assert job.error.type == "DeliveryFailed"


async def test_a_receiver_that_is_gone_is_not_asked_again(app: Mainspring, receiver: Receiver) -> None:
    receiver.answers = [410]
    job = await deliver(app, receiver)
    assert (job.state, job.attempt) == (State.DEAD, 1)
    assert job.reason is not None
    assert job.reason.endswith("answered 410 Gone")


@pytest.mark.parametrize("status", [429, 503])
async def test_a_receiver_that_asks_for_time_gets_it(app: Mainspring, receiver: Receiver, status: int) -> None:
    receiver.answers = [(status, {"Retry-After": "1"}), 200]
    job = await deliver(app, receiver, retry=Retry(attempts=2, delay=0))
    assert job.state is State.COMPLETED
    first, second = job.attempts
    assert (second.started_at - first.ended_at).total_seconds() >= 1


@pytest.mark.parametrize("asked", ["soon", "", "-1", "99999999999999", "Fri, 99 Foo 2026"])
async def test_a_pause_that_cannot_be_read_is_not_kept(app: Mainspring, receiver: Receiver, asked: str) -> None:
    receiver.answers = [(503, {"Retry-After": asked}), 200]
    job = await deliver(app, receiver, retry=Retry(attempts=2, delay=0))
    assert job.state is State.COMPLETED


async def test_a_private_address_is_buried_with_the_reason(app: Mainspring, receiver: Receiver) -> None:
    url = f"http://127.1:{receiver.port}/"
    app.webhook(url, on="completed", secret=SECRET, name="inner")
    async with working(app):
        job = await app.webhooks.atest("inner")
        await ended(job)
    assert job.state is State.DEAD
    assert job.reason == "buried: 127.1 leads to 127.0.0.1, which is loopback; no delivery goes there"
    assert not receiver.received


async def test_both_secrets_sign_while_they_are_changed(app: Mainspring, receiver: Receiver) -> None:
    old = "the one that came before"
    await deliver(app, receiver, secret=[SECRET, old])
    (got,) = receiver.received
    assert verify(got.body, got.headers, old) == verify(got.body, got.headers, SECRET)
    with pytest.raises(InvalidSignature):
        verify(got.body, got.headers, "somebody else's secret")


async def test_a_webhook_that_this_code_does_not_know_is_tried_again(app: Mainspring, receiver: Receiver) -> None:
    tell(app, receiver, "completed", name="kept")
    other = Mainspring(app.url)
    tell(other, receiver, "completed", name="taken out", retry=Retry(attempts=2, delay=0))
    job = await other.webhooks.atest("taken out")
    async with working(app):
        await ended(job)
    assert job.error is not None
    assert "no webhook is named 'taken out'" in job.error.message
    assert not receiver.received
    await other.aclose()


async def test_a_receiver_that_hangs_does_not_take_all_of_a_worker(app: Mainspring) -> None:
    go_on = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(handler: Any, received: Any) -> None:
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(60)
        handler.send_response(200)
        handler.end_headers()

    with receiving(Receiver()) as receiver:
        receiver.answering = hang
        tell(app, receiver, "completed", timeout=60)

        @app.task
        async def work() -> None: ...

        async with working(app, concurrency=6):
            for _ in range(12):
                await (await work.aenqueue()).aresult(20)
            await until(lambda: len(receiver.received) == 5)
            assert await (await work.aenqueue()).aresult(20) is None
            assert len(receiver.received) == 5
            go_on.set()
            await until(lambda: len(receiver.received) == 13)


async def test_a_receiver_that_hangs_does_not_hold_up_the_others(app: Mainspring, receiver: Receiver) -> None:
    ending = threading.Event()
    with receiving(Receiver()) as hanging:
        hanging.answering = lambda handler, received: ending.wait(60)
        later = Retry(attempts=2, delay="10m", jitter=False)
        tell(app, hanging, "completed", name="hangs", timeout=0.5, retry=later)
        async with working(app):
            first = [await app.webhooks.atest("hangs") for _ in range(5)]
            await until(lambda: app.jobs.count(task=DELIVERY, state="scheduled") == 5)
            tell(app, hanging, "completed", name="hangs", timeout=60, retry=later)
            more = [await app.webhooks.atest("hangs") for _ in range(9)]
            await until(lambda: app.jobs.count(task=DELIVERY, state="scheduled") == 13)
            tell(app, receiver, "completed", name="well")
            assert (await (await app.webhooks.atest("well")).aresult(20))["status"] == 200
            snoozed = [job for job in more if job.refresh().state is State.SCHEDULED]
            assert len(snoozed) == 8
            assert {job.attempt for job in snoozed} == {0}
            assert {job.record.reason for job in snoozed} == {"its receiver hangs, and has one delivery at a time"}
            assert {job.refresh().attempt for job in first} == {1}
            ending.set()


async def test_their_queue_can_be_partitioned(app: Mainspring, receiver: Receiver) -> None:
    app.queue("webhooks", partition="webhook", per_partition=Limits(concurrency=2))
    tell(app, receiver, "completed", name="a")
    tell(app, receiver, "completed", name="b")

    @app.task
    async def work() -> None: ...

    async with working(app):
        await work.aenqueue()
        await until(lambda: len(receiver.received) == 2)
        deliveries = await app.jobs.afind(task=DELIVERY)
        await ended(*deliveries)
    assert sorted(job.partition for job in deliveries) == ["a", "b"]


# --- flows ---


async def test_a_flow_is_told_when_all_of_it_has_ended(app: Mainspring, receiver: Receiver) -> None:
    tell(app, receiver, ("flow.completed", "flow.failed"))

    @app.task(retry=1)
    async def work(n: int) -> int:
        if n < 0:
            raise ValueError
        return n

    @app.task
    async def after(ctx: Context) -> None: ...

    async with working(app):
        good = await group([work.job(1), work.job(2)], name="good").aenqueue()
        bad = await chain(work.job(-1), work.job(2), work.job(3), name="bad").aenqueue()
        await until(lambda: len(receiver.received) == 2)
        assert (await good.aprogress()).total == 2
        assert (await bad.await_(20)).total == 3
    told = {each.event["flow"]["name"]: each.event for each in receiver.received}
    assert told["good"]["event"] == "flow.completed"
    assert told["good"]["job"] is None
    assert told["good"]["flow"] == {"id": good.id, "name": "good", "state": "completed", "jobs": {"completed": 2}}
    assert told["bad"]["event"] == "flow.failed"
    assert told["bad"]["flow"]["jobs"] == {"dead": 1, "cancelled": 2}


async def test_a_job_of_a_flow_says_which(app: Mainspring, receiver: Receiver) -> None:
    tell(app, receiver, "completed")

    @app.task
    async def work() -> None: ...

    async with working(app):
        flow = await group([work.job()]).aenqueue()
        await until(lambda: receiver.received)
    assert receiver.received[0].event["flow"] == {"id": flow.id}


# --- what is seen of it ---


async def test_they_are_listed_with_their_last_deliveries(app: Mainspring, receiver: Receiver) -> None:
    assert await app.webhooks.alist() == []
    tell(app, receiver, ["dead", "completed"], name="b", task="work", queue="q")
    app.webhook("https://example.com/x?token=hidden", on="flow.failed", secret=SECRET)
    jobs = [await app.webhooks.atest("b") for _ in range(3)]
    views = await app.webhooks.alist()
    assert [view.name for view in views] == ["b", "example.com"]
    assert (views[0].on, views[0].tasks, views[0].queues) == (("completed", "dead"), ("work",), ("q",))
    assert {job.id for job in views[0].last} == {job.id for job in jobs}
    assert views[1].last == ()
    assert [len(view.last) for view in await app.webhooks.alist(last=2)] == [2, 0]
    assert "hidden" not in repr(views)
    assert SECRET not in repr(app.webhooks.declared)


def test_an_unknown_one_cannot_be_tried(app: Mainspring) -> None:
    with pytest.raises(LookupError, match="no webhook is named 'x'; there are: none"):
        app.webhooks.test("x")
