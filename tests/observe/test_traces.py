"""A job is followed by one trace from where it is enqueued to wherever it runs, on every store."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import baggage
from opentelemetry.context import attach, detach
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import NoOpTracerProvider, SpanKind, StatusCode
from worker.scene import AT_ONCE, ended, until, working

from mainspring import (
    Bury,
    Context,
    JobFailed,
    Mainspring,
    QueueFull,
    Secret,
    Snooze,
    Unique,
    chain,
    group,
    previous,
)
from mainspring.model.options import JobOptions
from mainspring.observe import opentelemetry
from mainspring.testing import adrain

from .seen import Seen, id_of, parent, trace_of

ENQUEUE = {"messaging.system": "mainspring", "messaging.operation.name": "enqueue", "messaging.operation.type": "send"}
RUN = {"messaging.system": "mainspring", "messaging.operation.name": "run", "messaging.operation.type": "process"}


def told(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_a_run_belongs_to_where_its_job_was_enqueued(app: Mainspring, seen: Seen) -> None:
    inner: list[int] = []

    @app.task(queue="mail")
    async def send(to: str) -> None:
        with seen.tracer.start_as_current_span("smtp"):
            inner.append(threading.get_ident())

    @app.task(queue="files")
    def resize(name: str) -> None:
        with seen.tracer.start_as_current_span("libjpeg"):
            inner.append(threading.get_ident())

    with seen.tracer.start_as_current_span("a request"):
        jobs = [send.enqueue("ann"), await resize.aenqueue("cat.jpg")]
    async with working(app) as worker:
        await ended(*jobs)
        await until(lambda: len(seen.spans()) == 7)
    request = seen.span("a request")
    for job, task, work in zip(jobs, ("send", "resize"), ("smtp", "libjpeg"), strict=True):
        enqueued, ran = seen.span(f"enqueue {task}"), seen.span(f"run {task}")
        about = {"messaging.message.id": job.id, "messaging.destination.name": job.queue, "mainspring.task": task}
        assert enqueued.kind is SpanKind.PRODUCER
        assert told(enqueued) == ENQUEUE | about
        assert ran.kind is SpanKind.CONSUMER
        outcome = {"mainspring.attempt": 1, "mainspring.outcome": "completed", "messaging.client.id": worker.id}
        assert told(ran) == RUN | about | outcome
        assert [parent(enqueued), parent(ran), parent(seen.span(work))] == [id_of(request), id_of(enqueued), id_of(ran)]
    assert {trace_of(span) for span in seen.spans()} == {trace_of(request)}
    assert len(set(inner)) == 2, "one on the loop, one on a thread"


async def test_it_goes_through_retries_replays_flows_and_what_a_job_leaves_behind(app: Mainspring, seen: Seen) -> None:
    attempts: list[int] = []

    @app.task(retry=AT_ONCE)
    async def flaky(ctx: Context) -> int:
        attempts.append(ctx.attempt)
        if len(attempts) == 1:
            raise ValueError("not yet")
        if len(attempts) == 2:
            raise Snooze(0)
        if len(attempts) == 3:
            raise Bury("no more")
        return 4

    @app.task
    async def square(n: int) -> int:
        return n * n

    @app.task
    async def add_up(numbers: list[int]) -> int:
        return sum(numbers)

    @app.task
    async def spawns(ctx: Context) -> None:
        ctx.spawn(square.job(1), square.job(2), then=add_up.job(previous))

    async with working(app):
        job = await flaky.aenqueue()
        await ended(job)
        await job.aretry()
        assert await job.aresult(60) == 4
        await until(lambda: len(seen.spans("run flaky")) == 4)
        runs = seen.spans("run flaky")
        assert {parent(run) for run in runs} == {id_of(seen.span("enqueue flaky"))}
        assert [told(run)["mainspring.outcome"] for run in runs] == ["failed", "snoozed", "buried", "completed"]

        with seen.tracer.start_as_current_span("a flow"):
            flow = await chain(group(square.job(2), square.job(3)), add_up.job(previous)).aenqueue()
        assert await flow.aresult(timeout=60) == 13
        await until(lambda: len(seen.spans("run square")) == 2 and seen.spans("run add_up"))
        enqueued = seen.span("enqueue")
        assert told(enqueued) == ENQUEUE | {"messaging.batch.message_count": 3, "messaging.destination.name": "default"}
        of_flow = [*seen.spans("run square"), seen.span("run add_up")]
        assert {parent(run) for run in of_flow} == {id_of(enqueued)}
        assert told(of_flow[-1])["mainspring.flow"] == flow.id

        seen.forget()
        await spawns.aenqueue()
        await until(lambda: seen.spans("run add_up") and seen.spans("run spawns"))
        left_behind = seen.span("enqueue")
        assert parent(left_behind) == id_of(seen.span("run spawns"))
        runs = [*seen.spans("run square"), seen.span("run add_up")]
        assert [parent(run) for run in runs] == [id_of(left_behind)] * 3
    assert {trace_of(span) for span in seen.spans()} == {trace_of(seen.span("enqueue spawns"))}


async def test_what_nobody_enqueued_begins_a_trace_of_its_own(app: Mainspring, seen: Seen) -> None:
    @app.task
    async def tick() -> None: ...

    app.every("10000d", name="rarely")(tick)  # not at a full hour, in the middle of this
    with seen.tracer.start_as_current_span("what the worker was started in"):
        async with working(app):
            by_hand = await app.schedules.arun_now("rarely")
            again = await app.jobs.arerun((await _ended(by_hand)).id)
            await _ended(again)
            await until(lambda: len(seen.spans("run tick")) == 2)
            # As the slot of a schedule is inserted, or by SQL: with no trace, also not with that of the job it is like.
            app.tracing, tracing = None, app.tracing
            plain = await app.jobs.arerun(again.id)
            app.tracing = tracing
            await _ended(plain)
            await until(lambda: len(seen.spans("run tick")) == 3)
    first, second, third = seen.spans("run tick")
    assert [parent(first), parent(second)] == [id_of(span) for span in seen.spans("enqueue tick")]
    assert parent(third) is None
    assert len({trace_of(third), trace_of(seen.span("what the worker was started in"))}) == 2


async def _ended(job: Any) -> Any:
    await ended(job)
    return job


async def test_keys_take_no_notice_of_traces(app: Mainspring, seen: Seen) -> None:
    @app.task(unique=Unique(by=("user",)))
    async def sync(user: int) -> None: ...

    first, second = await sync.aenqueue(1), await sync.aenqueue(1)
    assert (second.id, second.existed) == (first.id, True)
    one, other = [await sync.using(idempotency_key="k").aenqueue(n) for n in (2, 3)]
    assert (other.id, other.existed) == (one.id, True)
    await adrain(app)
    runs = seen.spans("run sync")
    enqueued = seen.spans("enqueue sync")
    assert [parent(run) for run in runs] == [id_of(enqueued[0]), id_of(enqueued[2])]


async def test_many_at_once_are_one_span_and_stay_what_they_were(app: Mainspring, seen: Seen) -> None:
    @app.task(tags=["import"])
    async def load(n: int) -> None: ...

    drafts = [load.job(0), load.using(timeout="5s", tags=["vip"]).job(1)]
    jobs = await app.aenqueue_many(drafts)
    assert told(seen.span("enqueue load"))["messaging.batch.message_count"] == 2
    assert [json.loads(job.record.options or "{}")["tags"] for job in jobs] == [["import"], ["vip"]]
    assert [job.id for job in await app.jobs.afind(tag="vip")] == [jobs[1].id]
    assert all(draft.new.options is None or "trace" not in draft.new.options for draft in drafts)
    assert (await app.jobs.aget(jobs[1].id)).record.options == jobs[1].record.options
    await adrain(app)
    assert {parent(run) for run in seen.spans("run load")} == {id_of(seen.span("enqueue load"))}


async def test_transactions_and_outboxes_carry_it(tmp_path: Path) -> None:
    async with Mainspring(f"sqlite:///{tmp_path}/jobs.db", outbox=f"sqlite:///{tmp_path}/shop.db") as app:
        seen = Seen(app)
        app.store.migrate()
        assert app.relayed is not None
        (tmp_path / "shop.db").touch()
        app.relayed.migrate()

        @app.task
        async def receipt(order: int) -> None: ...

        with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
            receipt.using(tx=connection).enqueue(1)
            connection.commit()
            receipt.using(tx=connection).enqueue(2)
            connection.rollback()
        with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
            app.outbox(connection).enqueue_many([receipt.job(3), receipt.job(4)])
            connection.commit()
        async with working(app):
            await until(lambda: len(seen.spans("run receipt")) == 3)
    first, _, both = seen.spans("enqueue receipt")
    assert sorted(map(parent, seen.spans("run receipt"))) == sorted([id_of(first), id_of(both), id_of(both)])


# --- what goes wrong -------------------------------------------------------------------------------------------------


async def test_an_error_is_the_spans(front: Mainspring) -> None:
    """As the store has it: what is not to be seen there is not seen here."""
    seen = Seen(front)

    @front.task(retry=1)
    def burn(what: str, key: Secret[str] = "s3cret") -> None:
        raise LookupError(f"no {what}")

    job = burn.enqueue("wood")
    await adrain(front)
    ran = seen.span("run burn")
    assert (ran.status.status_code, ran.status.description) == (StatusCode.ERROR, "LookupError: no wood")
    assert told(ran)["error.type"] == "LookupError"
    (event,) = ran.events
    with pytest.raises(JobFailed) as failed:
        job.result(timeout=1)
    assert event.name == "exception"
    assert dict(event.attributes or {}) == {
        "exception.type": failed.value.type,
        "exception.message": failed.value.message,
        "exception.stacktrace": failed.value.traceback,
    }
    assert all("s3cret" not in span.to_json() for span in seen.spans())


async def test_a_job_that_is_turned_away_is_an_error_where_it_is_enqueued(front: Mainspring) -> None:
    seen = Seen(front)

    @front.task
    async def work() -> None: ...

    front.queues.set_limits("default", max_queued=1)
    await work.aenqueue()
    with pytest.raises(QueueFull):
        await work.aenqueue()
    done, turned_away = seen.spans("enqueue work")
    assert done.status.status_code is StatusCode.UNSET
    assert turned_away.status.status_code is StatusCode.ERROR
    assert told(turned_away)["error.type"] == "QueueFull"


async def test_whatever_a_tracer_or_a_trace_does_the_jobs_go_on(
    front: Mainspring, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            raise ValueError("broken")

        def on_end(self, span: Any) -> None:
            raise ValueError("broken")

    seen = Seen(front)

    @front.task(retry=1)
    async def work(n: int) -> int:
        return n

    odd = work.job(0)
    odd = replace(odd, new=replace(odd.new, options='{"trace":{"traceparent":"00-what-is-this","x":"\\ud800"}}'))
    front.tracing, tracing = None, front.tracing
    jobs = front.enqueue_many([odd])
    front.tracing = tracing
    await adrain(front)
    assert jobs[0].result(timeout=1) == 0
    assert parent(seen.span("run work")) is None

    seen.tracers.add_span_processor(Broken())
    jobs = [work.enqueue(1), await work.aenqueue(2)]
    await adrain(front)
    assert [job.result(timeout=1) for job in jobs] == [1, 2]
    assert "OpenTelemetry failed; the jobs go on" in caplog.text


async def test_what_goes_along_with_a_job_is_bounded(front: Mainspring) -> None:
    seen = Seen(front)

    @front.task
    async def work() -> str:
        return str(baggage.get_baggage("tenant"))

    for text, carried in (("acme", True), ("x" * 4000, False)):
        token = attach(baggage.set_baggage("tenant", text))
        job = work.enqueue()
        detach(token)
        trace = JobOptions.from_text(job.record.options).trace
        assert [name for name, _ in trace] == ["traceparent", "baggage"][: 1 + carried]
        await adrain(front)
        assert job.result(timeout=1) == (text if carried else "None")
    assert len({trace_of(span) for span in seen.spans()}) == 2


async def test_nobody_who_exports_nothing_is_followed(front: Mainspring) -> None:
    """Without an SDK there is nothing to carry: jobs are stored as if nobody looked."""
    opentelemetry.instrument(front, tracer_provider=NoOpTracerProvider(), queues=False)

    @front.task
    async def work() -> int:
        return 1

    job = work.enqueue()
    await adrain(front)
    assert (job.record.options, job.result(timeout=1)) == (None, 1)
