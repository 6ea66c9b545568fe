"""Which Redis servers will do, how durable they are, and what is said about those that will not do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from servers.valkey import ValkeyServer, running_valkey
from worker.scene import wait_until

from mainspring.errors import SchemaMismatch, StoreUnavailable, UnsuitableStore
from mainspring.store.redis import RedisStore
from mainspring.store.redis.greeting import SCHEMA_VERSION, Greeting, check
from mainspring.store.redis.location import locate

from .redis_scene import CLAIM, COUNT, INSERT, Tally, blocking, both, scripts

__all__ = ["scripts"]

pytestmark = pytest.mark.usefixtures("scripts")


@pytest.fixture(scope="module")
def shared() -> Iterator[ValkeyServer]:
    with running_valkey(appendonly="yes", appendfsync="everysec") as server:
        yield server


@pytest.fixture
def server(shared: ValkeyServer) -> Iterator[ValkeyServer]:
    """As an administrator has set it up; the test may change that."""
    shared.ask("FLUSHALL")
    yield shared
    usual = {"maxmemory-policy": "noeviction", "maxmemory": "0", "appendonly": "yes", "appendfsync": "everysec"}
    for name, value in usual.items():
        shared.ask("CONFIG", "SET", name, value)


def known(**changes: Any) -> Greeting:
    usual: dict[str, Any] = {
        "name": "Redis",
        "version": (7, 2, 0),
        "primary": True,
        "cluster": False,
        "evicts": "noeviction",
        "appendonly": True,
        "appendfsync": "everysec",
        "run": "",
        "schema": 1,
        "nodes": (),
        "info": {},
    }
    return Greeting(**usual | changes)


@pytest.mark.parametrize(
    ("parameters", "server", "why"),
    [
        ("", known(version=(6, 0, 16)), r"is Redis 6\.0\.16; Mainspring needs Redis 6\.2"),
        ("", known(evicts="allkeys-lru"), "maxmemory-policy allkeys-lru.*CONFIG SET maxmemory-policy noeviction"),
        ("", known(evicts="volatile-ttl"), "maxmemory-policy volatile-ttl"),
        ("", known(primary=False), "is a replica.*address of the primary"),
        ("", known(cluster=True), r"redis\+cluster://"),
        ("durability=everysec", known(appendonly=False), "appendonly no.*set appendonly yes.*durability=memory"),
        ("durability=everysec", known(appendfsync="no"), "appendfsync no.*set appendfsync everysec"),
        ("durability=always", known(appendonly=False), "appendonly no"),
        ("durability=always", known(version=(7, 0, 15)), "appendfsync everysec.*set appendfsync always"),
        ("durability=always", known(version=(7, 0, 15), appendfsync=""), "appendfsync unknown"),
    ],
)
def test_a_server_that_cannot_keep_the_promises_is_refused(parameters: str, server: Greeting, why: str) -> None:
    with pytest.raises(UnsuitableStore, match=why):
        check(locate(f"redis://h/0?{parameters}"), server)


@pytest.mark.parametrize(
    ("parameters", "server"),
    [
        ("", known()),
        ("", known(appendonly=False, appendfsync="")),
        ("durability=memory", known(appendonly=False)),
        ("durability=everysec", known(appendfsync="always")),
        ("durability=everysec", known(appendfsync="")),
        ("durability=always", known(version=(6, 2), appendfsync="always")),
        ("durability=always", known(appendfsync="")),
    ],
)
def test_a_server_that_can_is_taken(parameters: str, server: Greeting) -> None:
    check(locate(f"redis://h/0?{parameters}"), server)


def test_a_cluster_is_no_single_server_and_the_other_way_round() -> None:
    with pytest.raises(UnsuitableStore, match="is no cluster"):
        check(locate("redis+cluster://h"), known())


@both
def test_a_server_that_throws_keys_away_is_refused_by_every_caller(server: ValkeyServer, caller: Any) -> None:
    server.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    with caller(Tally(server.url)) as ask:
        with pytest.raises(UnsuitableStore, match="allkeys-lfu"):
            ask(INSERT)
        server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
        assert ask(INSERT) == 1


@both
def test_what_has_changed_is_noticed_with_the_next_connection(server: ValkeyServer, caller: Any) -> None:
    with caller(Tally(server.url)) as ask:
        ask(INSERT)
        server.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
        server.ask("CLIENT", "KILL", "TYPE", "normal")
        with pytest.raises(UnsuitableStore, match="allkeys-lfu"):
            ask(INSERT)


# --- the schema ------------------------------------------------------------------------------------------------------


@both
def test_a_new_namespace_is_set_up_by_whoever_uses_it(server: ValkeyServer, caller: Any) -> None:
    with caller(Tally(f"{server.url}?namespace=new")) as ask:
        ask(COUNT)
    assert server.ask("GET", "{new}:schema") == str(SCHEMA_VERSION)


@both
def test_a_newer_schema_is_refused(server: ValkeyServer, caller: Any) -> None:
    server.ask("SET", "{mainspring}:schema", 99)
    with caller(Tally(server.url)) as ask, pytest.raises(SchemaMismatch, match=r"99.*Upgrade"):
        ask(COUNT)
    status = RedisStore(server.url).schema()
    assert (status.found, status.wanted) == (99, SCHEMA_VERSION)


# --- durability ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("appendonly", "appendfsync", "asked", "in_force", "warned"),
    [
        ("no", "everysec", "", "memory", "in memory"),
        ("no", "everysec", "memory", "memory", None),
        ("yes", "no", "", "memory", "in memory"),
        ("yes", "everysec", "", "everysec", "last second"),
        ("yes", "everysec", "everysec", "everysec", None),
        ("yes", "everysec", "memory", "everysec", None),
        ("yes", "everysec", "always", "always, by WAITAOF", None),
        ("yes", "always", "", "always", None),
        ("yes", "always", "always", "always", None),
    ],
)
def test_doctor_says_which_durability_is_in_force(
    server: ValkeyServer, appendonly: str, appendfsync: str, asked: str, in_force: str, warned: str | None
) -> None:
    server.ask("CONFIG", "SET", "appendonly", appendonly)
    server.ask("CONFIG", "SET", "appendfsync", appendfsync)
    if asked == "always" and not server.confirms:
        pytest.skip("this server cannot be asked what is on disk")
    status = RedisStore(f"{server.url}{f'?durability={asked}' if asked else ''}").schema()
    assert f"durability {in_force})" in status.location
    assert (
        f"{server.ask('INFO', 'server').get('valkey_version') or server.ask('INFO', 'server')['redis_version']}, "
        in (status.location)
    )
    assert [warned in warning for warning in status.warnings] == [True] * len(status.warnings) if warned else True
    assert bool(status.warnings) is (warned is not None)


def test_doctor_warns_of_memory_that_runs_out(server: ValkeyServer) -> None:
    server.ask("CONFIG", "SET", "maxmemory", server.ask("INFO", "memory")["used_memory"] + 10_000)
    (warning,) = RedisStore(f"{server.url}?durability=everysec").schema().warnings
    assert "of its maxmemory is used" in warning


@contextmanager
def listening(server: ValkeyServer) -> Iterator[list[str]]:
    """The commands that the server is given meanwhile."""
    seen = list[str]()
    with server.client() as client, client.monitor() as monitor:
        yield seen
        server.ask("PING", "the end")
        for command in monitor.listen():
            if "the end" in command["command"]:
                break
            name = command["command"].split()[0]
            if command["client_type"] != "lua" and name != "CLIENT":
                seen.append(name)


@both
def test_with_always_each_change_is_confirmed_to_be_on_disk(server: ValkeyServer, caller: Any) -> None:
    if not server.confirms:
        pytest.skip("this server cannot be asked what is on disk")
    with caller(Tally(f"{server.url}?durability=always")) as ask:
        # Its scripts are known to the server then.
        ask(INSERT)
        ask(COUNT)
        with listening(server) as seen:
            ask(INSERT)
            ask(COUNT)
            ask(CLAIM)
    assert seen == ["EVALSHA", "WAITAOF", "EVALSHA", "EVALSHA", "WAITAOF"]


@both
def test_without_it_and_where_the_server_syncs_by_itself_nothing_is_asked(server: ValkeyServer, caller: Any) -> None:
    server.ask("CONFIG", "SET", "appendfsync", "always")
    with caller(Tally(f"{server.url}?durability=always")) as ask, caller(Tally(server.url)) as other:
        ask(INSERT)
        other(INSERT)
        with listening(server) as seen:
            ask(INSERT)
            other(INSERT)
    assert seen == ["EVALSHA", "EVALSHA"]


@both
def test_what_cannot_be_confirmed_is_an_error_that_says_so(server: ValkeyServer, caller: Any) -> None:
    if not server.confirms:
        pytest.skip("this server cannot be asked what is on disk")
    with caller(Tally(f"{server.url}?durability=always")) as ask:
        assert ask(INSERT) == 1
        server.ask("CONFIG", "SET", "appendonly", "no")
        with pytest.raises(StoreUnavailable, match=r"has not confirmed.*Doing it again is safe"):
            ask(INSERT)
        assert ask(COUNT) == 2


@pytest.mark.fault("kill -9 the server", "redis")
def test_with_always_nothing_acknowledged_is_lost(server: ValkeyServer) -> None:
    """The server is killed in the middle of it, with a disk that it syncs once a second only."""
    if not server.confirms:
        pytest.skip("this server cannot be asked what is on disk")
    with running_valkey(appendonly="yes", appendfsync="everysec") as own:
        done, enough = list[int](), threading.Event()

        def work() -> None:
            with blocking(Tally(f"{own.url}?durability=always")) as ask:
                while not enough.is_set():
                    try:
                        done.append(ask(INSERT))
                    except StoreUnavailable:
                        return

        threads = [threading.Thread(target=work) for _ in range(20)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(done) >= 30, 60)
        own.kill()
        enough.set()
        for thread in threads:
            thread.join()
        own.start()
        with blocking(Tally(own.url)) as ask:
            assert ask(COUNT) >= max(done)
