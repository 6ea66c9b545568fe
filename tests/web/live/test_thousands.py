"""Many streams in one process (MAINSPRING_TEST_STREAMS=2000): the store is asked as seldom as by one, and what happens
is told at once."""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from servers.asgi import serving
from worker.places import STORES, Servers

from mainspring import Mainspring
from mainspring.store.base import AsyncDriver, Reply, Request
from mainspring.web import create_app, job_url
from mainspring.web.live.hub import POLL_SECONDS, READ_AT_ONCE

from .conftest import app_at
from .scene import Teller, until

pytestmark = [pytest.mark.alone, pytest.mark.timeout(300)]

STREAMS = int(os.environ.get("MAINSPRING_TEST_STREAMS", "300"))
"""2000 takes two minutes, and twice as many open files."""
READINGS = -(-STREAMS // READ_AT_ONCE)
"""How many requests it takes to look at all."""


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack)


@pytest.fixture(params=STORES)
def app(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Iterator[Mainspring]:
    """On each store."""
    yield from app_at(servers.url(request.param, tmp_path))


class Ear:
    """One client of a stream, as small as it can be."""

    def __init__(self) -> None:
        self.heard: dict[bytes, float] = {}
        """When a text first came."""
        self.counts: Counter[bytes] = Counter()
        self.events = 0

    async def listen(self, url: str) -> None:
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        try:
            while line := await reader.readline():
                if line.startswith(b"event:"):
                    self.events += 1
                elif line.startswith(b"data:") and b'"text":"' in line:
                    text = line.rpartition(b'"text":"')[2].partition(b'"')[0]
                    self.heard.setdefault(text, time.monotonic())
                    self.counts[text] += 1
        finally:
            writer.close()


@asynccontextmanager
async def ears(urls: list[str]) -> AsyncIterator[list[Ear]]:
    ears = [Ear() for _ in urls]
    tasks = []
    for first in range(0, len(urls), 100):
        tasks += [
            asyncio.create_task(ear.listen(url))
            for ear, url in zip(ears[first : first + 100], urls[first : first + 100], strict=True)
        ]
        await until(lambda: all(ear.events for ear in ears[: first + 100]))  # noqa: B023 - waited for at once
    try:
        yield ears
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def counted(app: Mainspring, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """The requests to the store that are made on event loops, which is what the web does."""
    requests: Counter[str] = Counter()
    driver: type[AsyncDriver] = type(app.store.async_driver())
    run = driver.run

    async def counting(self: AsyncDriver, request: Request[Reply]) -> Reply:
        requests[request.operation] += 1
        return await run(self, request)

    monkeypatch.setattr(driver, "run", counting)
    return requests


def shown(name: str, latencies: list[float], **numbers: Any) -> None:
    cuts = statistics.quantiles(latencies, n=20)
    more = ", ".join(f"{key} {value}" for key, value in numbers.items())
    print(f"{name}: p50 {cuts[9] * 1000:.0f} ms, p95 {cuts[18] * 1000:.0f} ms, {more}")


async def test_streams_do_not_poll(app: Mainspring, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do many that change cost a request each; and each stream is told of its own job alone, once."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files[1], files[1]))
    assert files[1] >= 2 * STREAMS + 100
    requests = counted(app, monkeypatch)
    jobs = app.enqueue_many([app.tasks["work"].job(n) for n in range(STREAMS)])
    teller = Teller(app.store)
    while len(teller.leases) < STREAMS:
        teller.claim(STREAMS)
    ids = [job.id for job in jobs]
    kind = app.url.partition(":")[0]
    with serving(create_app(app)) as base:
        async with ears([job_url(id, base) for id in ids]) as listeners:
            asked = -1
            while asked != (asked := sum(requests.values())):  # because they have only just come
                await asyncio.sleep(1)
            requests.clear()
            began = time.monotonic()
            await asyncio.sleep(6)
            idle = sum(requests.values())
            looks = 1 + (time.monotonic() - began) // POLL_SECONDS  # at all of them
            assert idle <= looks + READINGS, requests

            # One of them says something now and then, as most do.
            latencies = []
            requests.clear()
            for n in range(20):
                began = time.monotonic()
                await asyncio.to_thread(teller.say, ids[n * 7], text=f"one {n}")
                key = f"one {n}".encode()
                await until(lambda ear=listeners[n * 7], key=key: key in ear.heard)
                latencies.append(listeners[n * 7].heard[key] - began)
                await asyncio.sleep(0.02)
            shown(f"{kind}, one of {STREAMS} at a time", latencies, requests=dict(requests), idle=idle)

            # All of them say something, three times.
            requests.clear()
            latencies, started = [], time.monotonic()
            for n in range(3):
                began = time.monotonic()
                for first in range(0, STREAMS, 200):
                    await asyncio.to_thread(teller.say, *ids[first : first + 200], text=f"all {n}")
                key = f"all {n}".encode()
                await until(lambda key=key: all(key in ear.heard for ear in listeners))
                latencies += [ear.heard[key] - began for ear in listeners]
            took = time.monotonic() - started
            shown(f"{kind}, all {STREAMS}", latencies, requests=dict(requests), seconds=round(took, 1))
            # And not one for each stream and change. A round of readings begins 20 times a second at most; the first at
            # once, and the last may be about what came before.
            assert sum(requests.values()) <= (20 * took + 3) * (1 + READINGS), requests
            assert sum(requests.values()) < STREAMS
            assert all(count == 1 for ear in listeners for count in ear.counts.values())
    teller.close()
