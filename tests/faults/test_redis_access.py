"""Getting at a Redis server: by TLS, by a socket in the file system, as a user with few rights, by a wrong password."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.certificates import Certificates
from servers.proxy import Proxy, proxy_to
from servers.valkey import ValkeyServer, running_valkey

from mainspring.errors import StoreReadOnly, StoreUnavailable, UnsuitableStore
from mainspring.store.redis import RedisStore

from .redis_scene import COUNT, INSERT, Tally, both, scripts

__all__ = ["scripts"]

pytestmark = pytest.mark.usefixtures("scripts")

_RIGHTS = (
    "resetkeys resetchannels -@all ~{mainspring}:* ~{mainspring} &{mainspring}:hint:* "
    "+@read +@write +@connection +@pubsub +info +time +evalsha +script|load +waitaof"
)
"""What docs/redis.md says that a user needs."""


def rights(server: ValkeyServer) -> list[str]:
    """That, as far as the server knows of it."""
    return [right for right in _RIGHTS.split() if right != "+waitaof" or server.confirms]


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    with running_valkey() as server:
        yield server


@pytest.fixture(params=[False, True], ids=["server", "server and client"])
def tls(request: pytest.FixtureRequest, server: ValkeyServer, certificates: Certificates) -> Iterator[Proxy]:
    """A server that speaks TLS, without and with a certificate that it wants of its clients."""
    with proxy_to(server.url, certificates.server_context(wants_client=request.param)) as proxy:
        yield proxy


def presented(certificates: Certificates) -> str:
    folder = certificates.folder
    own = f"ssl_certfile={folder / 'client.crt'}&ssl_keyfile={folder / 'client.key'}"
    return f"ssl_ca_certs={certificates.authority}&{own}"


@both
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_certificates_are_shown_and_checked(tls: Proxy, certificates: Certificates, caller: Any, host: str) -> None:
    with caller(Tally(f"rediss://{host}:{tls.port}/0?{presented(certificates)}")) as ask:
        assert [ask(INSERT) for _ in range(20)] == list(range(1, 21))


def test_hints_come_by_tls_too(tls: Proxy, server: ValkeyServer, certificates: Certificates) -> None:
    driver = RedisStore(f"valkeys://127.0.0.1:{tls.port}/0?{presented(certificates)}").driver()
    watch = driver.watch(("queue:default",))
    for _ in range(5):
        server.ask("PUBLISH", "{mainspring}:hint:queue:default", "")
        assert watch.wait(20)
    watch.close()
    driver.close()


@both
def test_a_server_that_nobody_vouches_for_is_refused(
    server: ValkeyServer, certificates: Certificates, caller: Any
) -> None:
    with proxy_to(server.url, certificates.server_context()) as proxy:
        url = f"rediss://127.0.0.1:{proxy.port}/0"
        with caller(Tally(url)) as ask, pytest.raises(StoreUnavailable, match=r"(?i)certificate verify failed"):
            ask(COUNT)
        with caller(Tally(f"{url}?ssl_cert_reqs=none")) as ask:
            assert ask(COUNT) == 0


@both
def test_plain_text_where_tls_is_spoken_and_the_other_way_round(
    server: ValkeyServer, certificates: Certificates, caller: Any
) -> None:
    with (
        proxy_to(server.url, certificates.server_context()) as proxy,
        caller(Tally(proxy.url(server.url))) as ask,
        pytest.raises(StoreUnavailable),
    ):
        ask(COUNT)
    with caller(Tally(f"rediss://{server.address}/0")) as ask, pytest.raises(StoreUnavailable):
        ask(COUNT)


@both
def test_a_certificate_that_is_not_there_is_said(server: ValkeyServer, caller: Any) -> None:
    url = f"rediss://{server.address}/0?ssl_ca_certs=/nowhere/ca.crt"
    with caller(Tally(url)) as ask, pytest.raises(StoreUnavailable, match="cannot be reached"):
        ask(COUNT)


# --- sockets in the file system --------------------------------------------------------------------------------------


@both
def test_a_socket_in_the_file_system(tmp_path: Path, caller: Any) -> None:
    path = tmp_path / "redis.sock"
    with running_valkey(unixsocket=path) as server, caller(Tally(f"unix://{path}?db=3")) as ask:
        assert ask(INSERT) == 1
        assert server.ask("INFO", "keyspace").keys() == {"db3"}


# --- users -----------------------------------------------------------------------------------------------------------


@both
def test_a_user_with_few_rights_is_enough(server: ValkeyServer, caller: Any) -> None:
    server.ask("ACL", "SETUSER", "jobs", "on", ">s3cret", *rights(server))
    url = f"redis://jobs:s3cret@{server.address}/0?durability=memory"
    with caller(Tally(url)) as ask:
        assert ask(INSERT) == 1
        assert ask(COUNT) == 1
    driver = RedisStore(url).driver()
    watch = driver.watch(("queue:default",))
    server.ask("PUBLISH", "{mainspring}:hint:queue:default", "")
    assert watch.wait(20)
    watch.close()
    driver.close()
    with (
        caller(Tally(f"redis://jobs:s3cret@{server.address}/0?namespace=others")) as ask,
        pytest.raises(StoreReadOnly, match=r"docs/redis\.md"),
    ):
        ask(INSERT)


@both
def test_a_right_that_is_missing_is_named(server: ValkeyServer, caller: Any) -> None:
    server.ask("ACL", "SETUSER", "jobs", "on", ">s3cret", *rights(server), "-evalsha")
    with caller(Tally(f"redis://jobs:s3cret@{server.address}/0")) as ask, pytest.raises(StoreReadOnly, match="evalsha"):
        ask(INSERT)


@both
def test_who_may_not_ask_what_the_server_is_is_refused(server: ValkeyServer, caller: Any) -> None:
    server.ask("ACL", "SETUSER", "jobs", "on", ">s3cret", *rights(server), "-info")
    with (
        caller(Tally(f"redis://jobs:s3cret@{server.address}/0")) as ask,
        pytest.raises(UnsuitableStore, match=r"\+info"),
    ):
        ask(INSERT)


@both
@pytest.mark.parametrize("user", ["", ":wr0ng@", "nobody:wr0ng@"])
def test_who_is_not_let_in_is_told_so_without_a_password(caller: Any, user: str) -> None:
    with running_valkey(requirepass="s3cret") as server:
        url = f"redis://{user}{server.address}/0"
        with caller(Tally(url)) as ask, pytest.raises(StoreUnavailable, match="lets nobody in") as refused:
            ask(COUNT)
        assert "wr0ng" not in str(refused.value)
        with caller(Tally(f"redis://:s3cret@{server.address}/0")) as ask:
            assert ask(COUNT) == 0


@both
def test_a_password_that_has_changed_is_noticed(server: ValkeyServer, caller: Any) -> None:
    with caller(Tally(server.url)) as ask:
        ask(COUNT)
        server.ask("CONFIG", "SET", "requirepass", "s3cret")
        with server.client(password="s3cret") as client:
            client.client_kill_filter(_type="normal")
        with pytest.raises(StoreUnavailable, match="lets nobody in"):
            ask(COUNT)
