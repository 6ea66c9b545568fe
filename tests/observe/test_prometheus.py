"""`GET /metrics`: one scrape shows how it stands everywhere, in text that Prometheus reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families as families_in
from web.asking import asking
from worker.scene import ended, working

from mainspring import Bury, Mainspring
from mainspring.model.options import KEEP_MS
from mainspring.model.stats import beginning, bucket
from mainspring.store.base import PruneRequest
from mainspring.testing import freeze
from mainspring.web import Tokens, create_app, make_token
from mainspring.web.api import metrics
from mainspring.web.api.metrics import families
from mainspring.web.api.metrics.rising import Rising

HOSTILE = ['a"b', "back\\slash", "{}=,#", "ünï ☃", "\u202eright to left", "x" * 200, "\\n", '"} 1']


class Scraper:
    """Asks the web of an app for its metrics, each time anew."""

    def __init__(self, web: Any, client: httpx.AsyncClient) -> None:
        self._web = web
        self._client = client

    async def text(self, accept: str = "") -> str:
        self._web.state.glance.forget()
        answer = await self._client.get("/metrics", headers={"accept": accept})
        assert answer.status_code == 200, answer.text
        return answer.text

    async def __call__(self) -> dict[tuple[Any, ...], float]:
        """The numbers, by the names of metrics and the values of their labels, these in order of their names."""
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in families_in(await self.text())
            for sample in family.samples
        }


@asynccontextmanager
async def scraping(app: Mainspring, **options: Any) -> AsyncIterator[Scraper]:
    web = create_app(app, **options)
    async with asking(web) as client:
        yield Scraper(web, client)


async def test_a_scrape_shows_what_there_is_and_what_has_happened(app: Mainspring) -> None:
    @app.task(queue="mail")
    async def send() -> None: ...

    @app.task(retry=1)
    def bury() -> None:
        raise Bury("why")

    send.enqueue()
    async with scraping(app) as scrape:
        before = await scrape()
        assert before["mainspring_jobs", "mail", "queued"] == 1
        assert before["mainspring_jobs", "mail", "dead"] == 0
        assert before["mainspring_jobs_enqueued_total", "mail"] == 0, "counters begin when somebody looks"
        assert before["mainspring_task_dead_total", "bury"] == 0, "and are there before anything is counted"
        await app.queues.apause("mail")
        app.enqueue_many([send.job(), bury.job(), bury.job()])
        async with working(app, concurrency=7):
            await ended(*app.jobs.find(task="bury"))
            meanwhile = await scrape()
            assert meanwhile["mainspring_workers", "working"] == 1
            assert meanwhile["mainspring_worker_slots",] == 7
            assert meanwhile["mainspring_queue_paused", "mail"] == 1
            assert meanwhile["mainspring_queue_oldest_waiting_seconds", "mail"] > 0
            await app.queues.aresume("mail")
            await ended(*app.jobs.find(task="send"))
        after = await scrape()
    assert after["mainspring_jobs", "mail", "completed"] == 2
    assert after["mainspring_jobs", "default", "dead"] == 2
    assert (after["mainspring_workers", "working"], after["mainspring_queue_paused", "mail"]) == (0, 0)
    assert after["mainspring_queue_oldest_waiting_seconds", "mail"] == 0
    assert [after[f"mainspring_jobs_{event}_total", "mail"] for event in families.EVENTS] == [1, 2, 2, 0, 0, 0, 0, 0, 0]
    dead = [after[f"mainspring_jobs_{event}_total", "default"] for event in families.EVENTS]
    assert dead == [2, 2, 0, 2, 0, 2, 0, 0, 0]
    for histogram in ("mainspring_job_wait_seconds", "mainspring_job_run_seconds"):
        counts = [after[f"{histogram}_bucket", bound, "mail"] for bound, _ in families._UP_TO]
        assert counts == sorted(counts)
        assert after[f"{histogram}_bucket", "+Inf", "mail"] == after[f"{histogram}_count", "mail"] == 2
        assert 0 <= after[f"{histogram}_sum", "mail"] < 60
    assert after["mainspring_task_dead_total", "bury"] == after["mainspring_task_run_seconds_count", "bury"] == 2


async def test_hostile_names_are_labels_like_others(front: Mainspring) -> None:
    for name in HOSTILE:
        front.task(name=name, queue=name)(lambda: None).enqueue()
    async with scraping(front) as scrape:
        found = await scrape()
        assert {key[1] for key in found if key[0] == "mainspring_queue_paused"} == set(HOSTILE)
        assert all(found["mainspring_jobs", name, "queued"] == 1 for name in HOSTILE)
        assert (await scrape.text("application/openmetrics-text; version=1.0.0")).endswith("# EOF\n")


async def test_the_number_of_series_is_bounded(front: Mainspring) -> None:
    @front.task
    async def work() -> None: ...

    many = families.MOST + 20
    front.enqueue_many([work.using(queue=f"tenant {n:04}").job() for n in range(many)])
    async with scraping(front) as scrape:
        await scrape()
        front.enqueue_many([work.using(queue=f"tenant {n:04}").job() for n in range(many)])
        found = await scrape()
    for metric in ("mainspring_queue_paused", "mainspring_jobs_enqueued_total", "mainspring_job_run_seconds_count"):
        assert len([key for key in found if key[0] == metric]) == families.MOST
    assert found["mainspring_queues",] == many
    assert found["mainspring_task_completed_total", "work"] == 0


async def test_any_number_of_scrapers_costs_what_one_does(front: Mainspring, monkeypatch: pytest.MonkeyPatch) -> None:
    read, count = front.queues.alist, 0

    async def counted(**options: Any) -> Any:
        nonlocal count
        count += 1
        return await read(**options)

    monkeypatch.setattr(front.queues, "alist", counted)
    monkeypatch.setattr(metrics, "SECONDS", 3600.0)  # however long these take here
    async with asking(create_app(front)) as client:
        answers = await asyncio.gather(*(client.get("/metrics") for _ in range(20)))
        answers += [await client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})]
    assert {answer.status_code for answer in answers} == {200}
    assert count == 1


async def test_it_takes_a_token_where_one_is_wanted(front: Mainspring) -> None:
    token, stored = make_token()
    web = create_app(front, auth=Tokens([f"prometheus:viewer:{stored}"]))
    async with asking(web) as client:
        assert (await client.get("/metrics")).status_code == 401
        admitted = await client.get("/metrics", headers={"authorization": f"Bearer {token}"})
    assert admitted.status_code == 200
    assert admitted.headers["content-type"].startswith("text/plain; version=")


def test_the_bounds_of_buckets_are_those_by_which_times_are_counted() -> None:
    assert [beginning(bucket(ms)) for ms in families.BOUNDS_MS] == list(families.BOUNDS_MS)


async def test_counters_only_rise_however_statistics_are_kept(front: Mainspring) -> None:
    """For a day, over which they are rolled up; with pauses, one of which is longer than minutes are kept."""

    @front.task
    async def work() -> None: ...

    driver = front.store.driver()
    rising = Rising(front.stats)
    with freeze(datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)) as clock:
        work.enqueue()
        assert not any((await rising.read(["default"]))["queue", "default"].values())
        total = 0
        for minutes in [0, 1, 4, 20, 30, 50, 50, 1, 100, 61, 61, *[45] * 16]:
            front.enqueue_many([work.job() for _ in range(minutes + 1)])
            total += minutes + 1
            clock.travel(60 * minutes)
            driver.run(PruneRequest(KEEP_MS, stats=True))
            risen = await rising.read()
            assert risen["queue", "default"]["enqueued"] == risen["task", "work"]["enqueued"] == total
        front.enqueue_many([work.job() for _ in range(9)])
        clock.travel("5h")
        assert (await rising.read())["queue", "default"]["enqueued"] == total, "what came in so long a pause is missed"
        work.enqueue()
        assert (await rising.read())["queue", "default"]["enqueued"] == total + 1
    driver.close()
