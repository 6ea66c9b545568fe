"""No call takes longer than its deadline, whatever the server or the network does, and who waited then goes on."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from punctual import seconds, takes_less_than
from servers.postgres import PostgresServer
from servers.proxy import Proxy, proxy_to
from worker.scene import until, working

from mainspring import Mainspring
from mainspring.errors import StoreError, StoreUnavailable
from mainspring.model.job import NewJob
from mainspring.store.base import CountRequest, Filter, InsertRequest
from mainspring.store.postgres import PostgresStore

DEADLINE = 7.5
"""Five seconds for an operation, one for the server to say so itself, and what a busy machine takes for the rest."""
NOTICED = 10.0


@contextmanager
def frozen_proxy(
    server: PostgresServer, place: str
) -> Iterator[tuple[str, Callable[[], AbstractContextManager[None]]]]:
    with proxy_to(place) as proxy:

        @contextmanager
        def frozen() -> Iterator[None]:
            proxy.freeze()
            try:
                yield
            finally:
                proxy.thaw()

        yield proxy.url(place), frozen


@contextmanager
def frozen_server(
    server: PostgresServer, place: str
) -> Iterator[tuple[str, Callable[[], AbstractContextManager[None]]]]:
    yield place, server.frozen


@pytest.mark.parametrize("freezing", [frozen_server, frozen_proxy])
@pytest.mark.fault("silent network", "postgres")
def test_a_server_that_takes_connections_and_answers_nothing(
    shared_server: PostgresServer, place: str, freezing: Any
) -> None:
    """Kept connections and new ones, blocking and async callers, all at once."""
    takes_less_than(DEADLINE, lambda: longest_wait(freezing(shared_server, place)))


def longest_wait(freezing: AbstractContextManager[Any]) -> float:
    """How long the last of them was kept waiting."""
    with freezing as (url, frozen), ThreadPoolExecutor(4) as threads:
        store = PostgresStore(url)
        kept, fresh = store.driver(), store.driver()
        kept.run(CountRequest(Filter()))

        def blocking(driver: Any) -> float:
            started = time.monotonic()
            with pytest.raises(StoreUnavailable):
                driver.run(InsertRequest((NewJob("blocking", "task"),)))
            return time.monotonic() - started

        async def aforced(warm: threading.Barrier, *, keep: bool) -> float:
            driver = store.async_driver()
            if keep:
                await driver.run(CountRequest(Filter()))
            await asyncio.to_thread(warm.wait)
            await asyncio.to_thread(warm.wait)
            started = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await driver.run(InsertRequest((NewJob("async", "task"),)))
            took = time.monotonic() - started
            await driver.aclose()
            return took

        warm = threading.Barrier(3)
        waiting = [threads.submit(lambda keep=keep: asyncio.run(aforced(warm, keep=keep))) for keep in (True, False)]
        warm.wait(60)
        with frozen():
            warm.wait(60)
            waiting += [threads.submit(blocking, driver) for driver in (kept, fresh)]
            took = [each.result(30) for each in waiting]
        # And then it goes on by itself.
        assert kept.run(InsertRequest((NewJob("later", "task"),)))[0].id == "later"
        kept.close()
        fresh.close()
        return max(took)


def test_who_is_cancelled_while_nothing_answers_gets_away(shared_server: PostgresServer, place: str) -> None:
    async def cancelled() -> float:
        driver = PostgresStore(place).async_driver()
        await driver.run(CountRequest(Filter()))
        with shared_server.frozen():
            asking = asyncio.create_task(driver.run(CountRequest(Filter())))
            await asyncio.sleep(0.3)
            started = time.monotonic()
            asking.cancel()
            await asyncio.wait([asking])
            took = time.monotonic() - started
        await driver.aclose()
        return took

    assert asyncio.run(cancelled()) < 2 * DEADLINE


@pytest.fixture
def proxy(place: str) -> Iterator[Proxy]:
    with proxy_to(place) as proxy:
        yield proxy


@pytest.mark.parametrize("how", [Proxy.cut, Proxy.forget])
def test_a_blocking_listener_hears_again(place: str, proxy: Proxy, how: Callable[[Proxy], None]) -> None:
    takes_less_than(NOTICED, lambda: deaf(place, proxy, how))


def deaf(place: str, proxy: Proxy, how: Callable[[Proxy], None]) -> float:
    """For how long it hears nothing."""
    listening, asking = PostgresStore(proxy.url(place)).driver(), PostgresStore(place).driver()
    watch = listening.watch(("queue:default",))
    how(proxy)
    started, number = time.monotonic(), 0
    while True:
        while watch.wait(0.05):
            pass
        number += 1
        asking.run(InsertRequest((NewJob(str(number), "task"),)))
        if watch.wait(0.5):
            break
        assert time.monotonic() - started < 3 * NOTICED
    took = time.monotonic() - started
    watch.close()
    listening.close()
    asking.close()
    return took


@pytest.mark.parametrize("how", [Proxy.cut, Proxy.forget])
def test_an_async_listener_hears_again(place: str, proxy: Proxy, how: Callable[[Proxy], None]) -> None:
    takes_less_than(NOTICED, lambda: asyncio.run(adeaf(place, proxy, how)))


async def adeaf(place: str, proxy: Proxy, how: Callable[[Proxy], None]) -> float:
    """The same."""
    listening, asking = PostgresStore(proxy.url(place)).async_driver(), PostgresStore(place).async_driver()
    watch = await listening.watch(("queue:default",))
    how(proxy)
    started, number = time.monotonic(), 0
    while True:
        while await watch.wait(0.05):
            pass
        number += 1
        await asking.run(InsertRequest((NewJob(str(number), "task"),)))
        if await watch.wait(0.5):
            break
        assert time.monotonic() - started < 3 * NOTICED
    took = time.monotonic() - started
    await watch.aclose()
    await listening.aclose()
    await asking.aclose()
    return took


@pytest.mark.fault("silent network", "postgres")
async def test_a_worker_whose_connections_all_go_silent_loses_nothing(place: str, proxy: Proxy) -> None:
    """Not its lease either: no job starts a second time."""
    app, direct = Mainspring(proxy.url(place)), Mainspring(place)
    ran: list[int] = []

    @app.task
    async def work(n: int) -> int:
        ran.append(n)
        await asyncio.sleep(0.05)
        return n

    jobs = direct.enqueue_many(work.job(n) for n in range(300))
    async with working(app, concurrency=20) as worker:
        id = worker.id
        for done in (50, 150):
            await until(lambda done=done: len(ran) > done, 60)
            proxy.forget()
        await until(lambda: direct.jobs.count(state="completed") == len(jobs), 60)
        assert worker.id == id
    assert sorted(ran) == list(range(300))
    await app.aclose()
    direct.close()


@pytest.mark.fault("slow network", "postgres")
def test_a_slow_network_only_takes_time(place: str, proxy: Proxy) -> None:
    proxy.delay = 0.05
    app = Mainspring(proxy.url(place))

    @app.task
    async def task() -> None: ...

    jobs = [task.enqueue() for _ in range(3)]
    assert {job.id for job in app.jobs.find()} == {job.id for job in jobs}
    app.close()


def test_a_server_that_is_not_there_is_an_error_at_once() -> None:
    app = Mainspring("postgresql://postgres@127.0.0.1:1/postgres")

    @app.task
    async def task() -> None: ...

    def refused() -> None:
        with pytest.raises(StoreError, match="see that it runs"):
            task.enqueue()

    takes_less_than(2, lambda: seconds(refused))
