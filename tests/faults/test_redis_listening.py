"""Hints on Redis: heard from when a watch is opened, whatever happens to the connection that listens."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

import pytest
from punctual import seconds, takes_less_than
from servers.proxy import Proxy, proxy_to
from servers.valkey import ValkeyServer, running_valkey
from worker.scene import until, wait_until

from mainspring.store.redis import RedisStore, listening
from mainspring.store.redis.hints import Subscriptions

PATIENCE = 20.0
LONG = 90.0
"""Longer than anything that is waited for beside it."""


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with running_valkey() as server:
        yield server


@pytest.fixture
def proxy(server: ValkeyServer) -> Iterator[Proxy]:
    with proxy_to(server.url) as proxy:
        yield proxy


@pytest.fixture
def attentive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who listens makes sure every half second that somebody is there."""
    monkeypatch.setattr(listening, "CHECK_SECONDS", 0.5)
    monkeypatch.setattr(listening, "ANSWER_SECONDS", 0.5)


def say(server: ValkeyServer, topic: str) -> int:
    """A hint, and how many connections hear it."""
    return int(server.ask("PUBLISH", f"{{mainspring}}:hint:{topic}", ""))


# --- blocking --------------------------------------------------------------------------------------------------------


def test_nothing_that_was_said_since_it_was_opened_is_missed(server: ValkeyServer) -> None:
    with closing(RedisStore(server.url).driver()) as driver:
        for number in range(50):
            watch = driver.watch((f"job:{number}",))
            assert say(server, f"job:{number}") == 1
            assert watch.wait(PATIENCE)
            assert not watch.wait(0)
            watch.close()


def test_all_that_wait_share_one_connection(server: ValkeyServer) -> None:
    with closing(RedisStore(server.url).driver()) as driver, ThreadPoolExecutor(30) as threads:
        watches = list(threads.map(lambda number: driver.watch((f"job:{number}",)), range(30)))
        waiting = [threads.submit(watch.wait, PATIENCE) for watch in watches]
        wait_until(lambda: all(each.running() for each in waiting))
        for number in range(30):
            assert say(server, f"job:{number}") == 1
        assert all(each.result() for each in waiting)
        wait_until(lambda: server.ask("INFO", "clients")["connected_clients"] == 2)
        list(threads.map(lambda watch: watch.close(), watches))
        wait_until(lambda: server.ask("PUBSUB", "CHANNELS") == [])


def test_watches_come_and_go_while_others_wait(server: ValkeyServer) -> None:
    with closing(RedisStore(server.url).driver()) as driver, ThreadPoolExecutor(9) as threads:
        patient = driver.watch(("queue:patient",))
        waiting = threads.submit(patient.wait, LONG)

        def come_and_go(thread: int) -> bool:
            heard = []
            for number in range(20):
                watch = driver.watch((f"job:{thread} {number}",))
                say(server, f"job:{thread} {number}")
                heard.append(watch.wait(PATIENCE))
                watch.close()
            return all(heard)

        assert all(threads.map(come_and_go, range(8)))
        assert not waiting.done()
        assert say(server, "queue:patient") == 1
        assert waiting.result()


@pytest.mark.usefixtures("attentive")
@pytest.mark.parametrize("how", [Proxy.cut, Proxy.forget])
def test_a_connection_that_is_lost_is_replaced_and_counts_as_a_hint(
    server: ValkeyServer, proxy: Proxy, how: Callable[[Proxy], None]
) -> None:
    with closing(RedisStore(proxy.url(server.url)).driver()) as driver:
        watch = driver.watch(("queue:default",))
        assert not watch.wait(0.1)
        how(proxy)
        wait_until(lambda: watch.wait(1.0), PATIENCE)
        # Who is not sure of it is sure of the next one.
        wait_until(lambda: say(server, "queue:default") and watch.wait(1.0), PATIENCE)


def test_with_nobody_there_a_wait_lasts_a_moment_and_says_no() -> None:
    with running_valkey() as server:
        url = server.url
    with closing(RedisStore(url).driver()) as driver:
        watch = driver.watch(("queue:default",))
        started = time.monotonic()
        assert not watch.wait(LONG)
        assert time.monotonic() - started < LONG / 3
        watch.close()


def test_a_driver_is_closed_while_somebody_waits(server: ValkeyServer) -> None:
    driver = RedisStore(server.url).driver()
    watch = driver.watch(("queue:default",))
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(watch.wait, 0.5)
        wait_until(waiting.running)
        driver.close()
        waiting.result()
    watch.close()
    driver.close()


# --- on a loop -------------------------------------------------------------------------------------------------------


async def heard(watch: Any, server: ValkeyServer, topic: str) -> bool:
    assert await asyncio.to_thread(say, server, topic) == 1
    return bool(await watch.wait(PATIENCE))


async def test_async_watches_share_one_connection_and_miss_nothing(server: ValkeyServer) -> None:
    driver = RedisStore(server.url).async_driver()
    watches = await asyncio.gather(*(driver.watch((f"job:{number}",)) for number in range(30)))
    for number, watch in enumerate(watches):
        assert await heard(watch, server, f"job:{number}")
        assert not await watch.wait(0)
    await until(lambda: server.ask("INFO", "clients")["connected_clients"] == 2)
    for watch in watches:
        await watch.aclose()
    await until(lambda: server.ask("PUBSUB", "CHANNELS") == [])
    await driver.aclose()


@pytest.mark.usefixtures("attentive")
@pytest.mark.parametrize("how", [Proxy.cut, Proxy.forget])
async def test_an_async_connection_that_is_lost_is_replaced_and_counts_as_a_hint(
    server: ValkeyServer, proxy: Proxy, how: Callable[[Proxy], None]
) -> None:
    driver = RedisStore(proxy.url(server.url)).async_driver()
    watch = await driver.watch(("queue:default",))
    assert not await watch.wait(0.1)
    await asyncio.to_thread(how, proxy)
    assert await watch.wait(PATIENCE)
    await until(lambda: say(server, "queue:default"))
    assert await watch.wait(PATIENCE)
    await driver.aclose()


async def test_with_nobody_there_an_async_watch_opens_and_hears_later() -> None:
    with running_valkey() as server:
        driver = RedisStore(server.url).async_driver()
        server.kill()
        watch = await driver.watch(("queue:default",))
        assert not await watch.wait(0.01)
        await asyncio.to_thread(server.start)
        assert await watch.wait(PATIENCE)
        await driver.aclose()


# --- what is subscribed to -------------------------------------------------------------------------------------------


def test_what_several_want_is_subscribed_to_until_nobody_does() -> None:
    subscriptions = Subscriptions()
    subscriptions.add(["a", "b"])
    subscriptions.add(["a"])
    assert subscriptions.changes() == [("SUBSCRIBE", "a", "b")]
    assert subscriptions.changes() == []
    assert not subscriptions.has(["a"])
    for name in "ab":
        assert subscriptions.heard(["subscribe", name, 1]) is None
    assert subscriptions.has(["a", "b"])
    subscriptions.drop(["a", "b"])
    assert subscriptions.changes() == [("UNSUBSCRIBE", "b")]
    assert subscriptions.heard(["message", "a", "text"]) == "a"
    subscriptions.forget()
    assert subscriptions.changes() == [("SUBSCRIBE", "a")]


def test_what_is_wanted_again_before_its_end_is_confirmed_stays_subscribed_to() -> None:
    subscriptions = Subscriptions()
    subscriptions.add(["a"])
    subscriptions.changes()
    subscriptions.heard(["subscribe", "a", 1])
    subscriptions.drop(["a"])
    assert subscriptions.changes() == [("UNSUBSCRIBE", "a")]
    subscriptions.add(["a"])
    assert subscriptions.changes() == [("SUBSCRIBE", "a")]
    assert not subscriptions.has(["a"])
    subscriptions.heard(["unsubscribe", "a", 0])
    assert not subscriptions.has(["a"])
    subscriptions.heard(["subscribe", "a", 1])
    assert subscriptions.has(["a"])


def test_many_channels_are_named_in_several_commands() -> None:
    subscriptions = Subscriptions()
    subscriptions.add(f"{number}" for number in range(1200))
    assert [len(command) - 1 for command in subscriptions.changes()] == [500, 500, 200]


def test_a_thread_that_opens_a_watch_does_not_wait_for_one_that_listens(server: ValkeyServer) -> None:
    with closing(RedisStore(server.url).driver()) as driver:
        first = driver.watch(("queue:first",))
        thread = threading.Thread(target=first.wait, args=(LONG,))
        thread.start()
        for number in range(20):
            opening = partial(driver.watch, (f"queue:{number}",))
            takes_less_than(1.0, lambda opening=opening: seconds(lambda: opening().close()))
        say(server, "queue:first")
        thread.join()
