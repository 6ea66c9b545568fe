"""A Redis server that goes away, refuses or is another one now: asked again where that can help, else said plainly."""

from __future__ import annotations

import asyncio
import os
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from punctual import seconds, takes_less_than
from redis import ResponseError
from servers.proxy import proxy_to
from servers.valkey import ValkeyServer, running_valkey
from worker.scene import until, wait_until

from mainspring.errors import (
    StoreBusy,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
    UnsuitableStore,
)
from mainspring.store.base import Request
from mainspring.store.redis import RedisStore, drivers

from .redis_scene import BEAT, CLAIM, COUNT, INSERT, Ask, Tally, blocking, both, echo, scripts

__all__ = ["scripts"]

pytestmark = pytest.mark.usefixtures("scripts")


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    with running_valkey() as server:
        yield server


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operations have a second, and one more for the answer."""
    monkeypatch.setattr(drivers, "OPERATION_SECONDS", 1.0)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operations are begun for a second; a server that answers has all the time that a busy machine may take."""
    monkeypatch.setattr(drivers, "OPERATION_SECONDS", 1.0)
    monkeypatch.setattr(drivers, "GRACE_SECONDS", 20.0)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operations have all the time in which a server comes back on a busy machine."""
    monkeypatch.setattr(drivers, "OPERATION_SECONDS", 30.0)


def answered(ask: Ask, request: Request[Any]) -> Any:
    """What the server says to it as soon as it can be reached again."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return ask(request)
        except StoreUnavailable:
            assert time.monotonic() < deadline


# --- what goes away --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("patient")
@both
def test_a_server_that_was_killed_and_started_is_ridden_out(caller: Any) -> None:
    """Blocking callers in several threads, and the server gone in between: all are served, nothing served is lost."""
    with running_valkey(appendonly="yes", appendfsync="always") as server:
        store, done, problems = Tally(server.url), list[int](), list[BaseException]()
        enough = threading.Event()

        def work() -> None:
            try:
                with caller(store) as ask:
                    while not enough.is_set():
                        ask(INSERT)
                        done.append(1)
            except BaseException as error:
                problems.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for served in (100, 200, 300):
            wait_until(lambda served=served: problems or len(done) > served)
            server.kill()
            server.start()
        wait_until(lambda: problems or len(done) > 400)
        enough.set()
        for thread in threads:
            thread.join()
        assert problems == []
        with blocking(store) as ask:
            assert ask(COUNT) >= len(done)


@both
def test_a_kept_connection_that_died_meanwhile_costs_nobody_his_claim(server: ValkeyServer, caller: Any) -> None:
    with caller(Tally(server.url)) as ask:
        ask(CLAIM)
        server.ask("CLIENT", "KILL", "TYPE", "normal")
        ask(CLAIM)
        assert ask(COUNT) == 2


@both
@pytest.mark.fault("lost replies", "redis")
def test_a_lost_answer_is_asked_for_again_unless_it_hands_out_jobs(server: ValkeyServer, caller: Any) -> None:
    with proxy_to(server.url) as proxy, caller(Tally(proxy.url(server.url))) as ask:
        for number, request in enumerate((INSERT, BEAT), start=1):  # its connection is open, its script loaded
            assert ask(request) == number
        for request, left in ((INSERT, 4), (BEAT, 6)):
            once = iter([True])
            proxy.loses = lambda piece, once=once: next(once, False)
            assert ask(request) == left
        once = iter([True])
        proxy.loses = lambda piece: next(once, False)
        with pytest.raises(StoreUnavailable):
            ask(CLAIM)
        assert ask(COUNT) == 7
        assert proxy.lost == 3


@both
def test_nobody_there_is_said_at_once(caller: Any) -> None:
    with running_valkey() as server:
        url = server.url

    def refused() -> None:
        with caller(Tally(url)) as ask, pytest.raises(StoreUnavailable, match="cannot be reached"):
            ask(COUNT)

    takes_less_than(2.0, lambda: seconds(refused))


@pytest.mark.usefixtures("impatient")
@both
@pytest.mark.parametrize("how", ["server", "network"])
@pytest.mark.fault("silent network", "redis")
def test_silence_ends_with_the_deadline_and_then_it_goes_on(server: ValkeyServer, caller: Any, how: str) -> None:
    with proxy_to(server.url) as proxy, caller(Tally(proxy.url(server.url))) as ask:

        @contextmanager
        def frozen_proxy() -> Iterator[None]:
            proxy.freeze()
            yield
            proxy.thaw()

        def silence(*requests: Request[Any]) -> float:
            """How long the longest of these took."""
            took = []
            with server.frozen() if how == "server" else frozen_proxy():
                for request in requests:
                    started = time.monotonic()
                    with pytest.raises(StoreUnavailable):
                        ask(request)
                    took.append(time.monotonic() - started)
            return max(took)

        def by_a_kept_connection_and_a_new_one() -> float:
            answered(ask, COUNT)
            return silence(INSERT, CLAIM)

        takes_less_than(3.5, by_a_kept_connection_and_a_new_one)
        assert answered(ask, COUNT) <= 3 * 2


@pytest.mark.usefixtures("impatient")
@both
@pytest.mark.fault("slow network", "redis")
def test_an_answer_that_comes_too_late_is_nobodys(server: ValkeyServer, caller: Any) -> None:
    with proxy_to(server.url) as proxy, caller(Tally(proxy.url(server.url))) as ask:
        assert answered(ask, echo("first")) == "first"
        proxy.delay = 5.0
        with pytest.raises(StoreUnavailable):
            ask(echo("late"))
        proxy.delay = 0.0
        for number in range(20):
            assert answered(ask, echo(f"{number}")) == f"{number}"


async def test_callers_who_are_cancelled_leave_no_answer_behind(server: ValkeyServer) -> None:
    driver = Tally(f"{server.url}?pool=3").async_driver()
    for turn in range(60):
        asked = [asyncio.create_task(driver.run(echo(f"{turn} {n}"))) for n in range(9)]
        for _ in range(turn % 12):
            await asyncio.sleep(0)
        for task in asked[::2]:
            task.cancel()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for n, answer in enumerate(answers):
            assert answer == f"{turn} {n}" or (n % 2 == 0 and isinstance(answer, asyncio.CancelledError))
    await until(lambda: server.ask("INFO", "clients")["connected_clients"] <= 4 + 1)
    await driver.aclose()


def test_an_answer_larger_than_a_packet_arrives_whole(server: ValkeyServer) -> None:
    text = "ä☃ x" * 300_000
    with blocking(Tally(server.url)) as ask:
        assert ask(echo(text)) == text


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(server: ValkeyServer) -> None:
    with blocking(Tally(server.url)) as ask:
        ask(INSERT)
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if [ask(echo(f"child {n}")) for n in range(50)] == [f"child {n}" for n in range(50)] else 1)
            finally:
                os._exit(2)
        assert [ask(echo(f"{n}")) for n in range(50)] == [f"{n}" for n in range(50)]
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@both
def test_scripts_that_the_server_has_forgotten_are_loaded_again(server: ValkeyServer, caller: Any) -> None:
    with caller(Tally(server.url)) as ask:
        assert ask(INSERT) == 1
        server.ask("SCRIPT", "FLUSH")
        assert ask(INSERT) == 2


# --- what is refused -------------------------------------------------------------------------------------------------


def test_who_finds_all_connections_in_use_waits_his_time(server: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drivers, "OPERATION_SECONDS", 3.0)
    with (
        proxy_to(server.url) as proxy,
        ThreadPoolExecutor(1) as threads,
        blocking(Tally(f"{proxy.url(server.url)}?pool=1")) as ask,
    ):
        ask(COUNT)
        proxy.delay = 0.05
        slow = threads.submit(ask, echo("slow"))
        wait_until(slow.running)
        assert ask(COUNT) == 0  # behind the slow one
        assert slow.result() == "slow"
        proxy.freeze()
        frozen = threads.submit(ask, COUNT)
        wait_until(frozen.running)
        with pytest.raises((StoreBusy, StoreUnavailable)):
            ask(COUNT)
        with pytest.raises((StoreBusy, StoreUnavailable)):
            frozen.result()


def is_busy(server: ValkeyServer) -> bool:
    """Whether it runs a script for so long that it says so."""
    try:
        server.ask("PING")
    except ResponseError as error:
        return "BUSY" in str(error)
    return False


@pytest.mark.usefixtures("patient")
@both
def test_a_script_of_somebody_that_runs_too_long_is_waited_for(server: ValkeyServer, caller: Any) -> None:
    server.ask("CONFIG", "SET", "lua-time-limit", "50")
    with caller(Tally(server.url)) as ask, server.client() as other, ThreadPoolExecutor(1) as threads:
        ask(COUNT)
        text = "while true do redis.call('PING') end"
        endless = threads.submit(other.eval, text, 0)
        wait_until(lambda: is_busy(server))
        threading.Timer(0.5, lambda: server.ask("SCRIPT", "KILL")).start()
        assert ask(CLAIM) == 1
        assert endless.exception() is not None


@pytest.mark.usefixtures("hurried")
@both
def test_and_not_for_ever(server: ValkeyServer, caller: Any) -> None:
    server.ask("CONFIG", "SET", "lua-time-limit", "50")
    with caller(Tally(server.url)) as ask, server.client() as other, ThreadPoolExecutor(1) as threads:
        ask(COUNT)
        endless = threads.submit(other.eval, "while true do end", 0)
        wait_until(lambda: is_busy(server))
        with pytest.raises(StoreBusy, match="script of somebody"):
            ask(INSERT)
        server.ask("SCRIPT", "KILL")
        assert endless.exception() is not None


@pytest.mark.usefixtures("patient")
@both
def test_a_server_that_is_loading_its_data_is_waited_for(caller: Any) -> None:
    with running_valkey(appendonly="yes") as server:
        with server.client() as client, client.pipeline() as pipe:
            for number in range(500):
                pipe.set(f"key {number}", "x" * 9000)
            pipe.execute()
        with caller(Tally(server.url)) as ask:
            ask(INSERT)
            often = "loading-process-events-interval-bytes 1024\n" if server.version >= (7,) else ""
            server.kill()
            conf = server.folder / "valkey.conf"
            conf.write_text(f"{conf.read_text()}key-load-delay 1000\n{often}")
            server.start()
            server.kill()
            with ThreadPoolExecutor(1) as threads:
                starting = threads.submit(server.start)
                assert ask(INSERT) >= 1
                starting.result()


@pytest.mark.usefixtures("hurried")
@both
def test_a_server_that_became_a_replica_is_not_written_to(server: ValkeyServer, caller: Any) -> None:
    with running_valkey() as other, caller(Tally(server.url)) as ask:
        assert ask(INSERT) == 1
        server.ask("REPLICAOF", "127.0.0.1", other.port)
        with pytest.raises((UnsuitableStore, StoreReadOnly), match=r"replica.*address of the primary"):
            ask(INSERT)
        server.ask("REPLICAOF", "NO", "ONE")
        assert answered(ask, INSERT) >= 1


@both
def test_a_deadline_that_cuts_the_last_try_short_hides_nothing_of_what_was_said_before(
    server: ValkeyServer, caller: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last time that it is asked the server has no time to answer any more."""
    monkeypatch.setattr(drivers, "OPERATION_SECONDS", 4.0)
    with (
        running_valkey() as other,
        proxy_to(server.url) as proxy,
        ThreadPoolExecutor(1) as threads,
        caller(Tally(proxy.url(server.url))) as ask,
    ):
        assert ask(INSERT) == 1
        server.ask("REPLICAOF", "127.0.0.1", other.port)
        wait_until(lambda: server.ask("INFO", "replication")["master_link_status"] == "up")
        answers = list[bytes]()
        proxy.loses = lambda piece: answers.append(piece) is not None
        asked = threads.submit(ask, INSERT)
        wait_until(lambda: len(answers) > 5)
        proxy.freeze()
        with pytest.raises((UnsuitableStore, StoreReadOnly), match=r"replica.*address of the primary"):
            asked.result()
        proxy.thaw()


@pytest.mark.usefixtures("patient")
def test_a_replica_that_becomes_the_primary_in_time_is_written_to(server: ValkeyServer) -> None:
    with running_valkey() as other, blocking(Tally(server.url)) as ask:
        ask(INSERT)
        server.ask("REPLICAOF", "127.0.0.1", other.port)
        wait_until(lambda: server.ask("INFO", "replication")["master_link_status"] == "up")
        threading.Timer(0.5, lambda: server.ask("REPLICAOF", "NO", "ONE")).start()
        assert ask(CLAIM) == 1


@both
@pytest.mark.fault("full disk", "redis")
def test_no_memory_left_is_said_and_heals(server: ValkeyServer, caller: Any) -> None:
    with caller(Tally(server.url)) as ask:
        assert ask(INSERT) == 1
        server.ask("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(StoreFull, match="Raise maxmemory"):
            ask(INSERT)
        server.ask("CONFIG", "SET", "maxmemory", "0")
        assert ask(INSERT) == 2


@both
@pytest.mark.fault("full disk", "redis")
def test_a_disk_that_takes_nothing_is_said_and_heals(server: ValkeyServer, caller: Any) -> None:
    with caller(Tally(server.url)) as ask:
        assert ask(INSERT) == 1
        obstacle = server.folder / "dump.rdb"
        (obstacle / "in the way").mkdir(parents=True)
        server.ask("CONFIG", "SET", "save", "3600 1")
        server.ask("BGSAVE")
        wait_until(lambda: server.ask("INFO", "persistence")["rdb_last_bgsave_status"] == "err")
        with pytest.raises(StoreFull, match="cannot write to its disk"):
            ask(INSERT)
        assert ask(COUNT) == 1
        server.ask("CONFIG", "SET", "save", "")
        assert ask(INSERT) == 2


@both
def test_too_few_replicas_are_said(server: ValkeyServer, caller: Any) -> None:
    with caller(Tally(server.url)) as ask:
        ask(COUNT)
        server.ask("CONFIG", "SET", "min-replicas-to-write", "1")
        with pytest.raises(StoreReadOnly, match="min-replicas-to-write"):
            ask(INSERT)


@pytest.mark.usefixtures("hurried")
def test_a_server_that_takes_no_more_connections_is_busy(server: ValkeyServer) -> None:
    with server.client() as first, blocking(Tally(server.url)) as ask:
        first.config_set("maxclients", 1)
        with pytest.raises(StoreBusy, match="maxclients"):
            ask(COUNT)
        first.config_set("maxclients", 100)
        assert ask(COUNT) == 0


def test_what_listens_there_and_is_no_redis_is_said() -> None:
    import http.server

    class Quiet(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Quiet) as other:
        thread = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            with blocking(Tally(f"redis://127.0.0.1:{other.server_port}")) as ask, pytest.raises(StoreError) as refused:
                ask(COUNT)
        finally:
            other.shutdown()
            thread.join()
    assert re.search("cannot be reached|does not answer as Redis", str(refused.value))


def test_a_store_answers_doctor_without_leaving_a_trace(server: ValkeyServer) -> None:
    store = RedisStore(server.url)
    status = store.schema()
    assert (status.found, status.wanted, status.automatic) == (0, 1, True)
    assert server.ask("DBSIZE") == 0
    assert store.migrate().found == 0
    assert store.schema().found == 1
    with closing(store.driver()):
        assert server.ask("GET", "{mainspring}:schema") == "1"


def test_the_folder_is_gone_afterwards() -> None:
    with running_valkey() as server:
        folder: Path = server.folder
    assert not folder.exists()
