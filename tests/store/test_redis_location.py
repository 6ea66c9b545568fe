"""URLs of a Redis store: what is read, what is refused, and that no password is shown."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from mainspring.errors import ConfigurationError, InvalidURL, UnusableTransaction
from mainspring.store.connect import connect
from mainspring.store.redis import RedisStore
from mainspring.store.redis.location import Address, Location, locate


def options(location: Location, *names: str) -> dict[str, Any]:
    """The given ones that differ from the usual."""
    return {name: location.options.get(name) for name in names}


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
def test_a_server_has_a_host_and_what_is_left_out_is_as_usual(scheme: str) -> None:
    location = locate(f"{scheme}://cache.internal")
    assert location.addresses == (Address("cache.internal", 6379),)
    assert (location.kind, location.tls, location.namespace, location.durability) == (
        "server",
        False,
        "mainspring",
        None,
    )
    assert options(location, "db", "username", "password") == {"db": 0, "username": None, "password": None}
    assert location.tag == "{mainspring}"


def test_everything_can_be_said() -> None:
    location = locate(
        "redis://me:a%40b%2Fc@[::1]:7000/3?namespace=shop.jobs-2&durability=always&pool=3&client_name=web"
    )
    assert location.addresses == (Address("::1", 7000),)
    assert str(location.addresses[0]) == "[::1]:7000"
    assert (location.namespace, location.durability, location.pool) == ("shop.jobs-2", "always", 3)
    assert options(location, "db", "username", "password", "client_name") == {
        "db": 3,
        "username": "me",
        "password": "a@b/c",
        "client_name": "web",
    }


def test_a_password_alone_is_that_of_the_default_user() -> None:
    assert options(locate("redis://:pw@h"), "username", "password") == {"username": None, "password": "pw"}


def test_a_user_may_have_no_password() -> None:
    assert options(locate("redis://me:@h"), "username", "password") == {"username": "me", "password": ""}


def test_user_and_database_may_be_parameters() -> None:
    location = locate("unix:///run/redis/redis.sock?db=2&username=me&password=pw")
    assert location.addresses == (Address(path="/run/redis/redis.sock"),)
    assert options(location, "db", "username", "password") == {"db": 2, "username": "me", "password": "pw"}
    assert "socket_keepalive" not in location.options


@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
def test_tls_has_its_parameters(scheme: str) -> None:
    location = locate(f"{scheme}://h?ssl_ca_certs=/etc/ca.pem&ssl_certfile=/c&ssl_keyfile=/k&ssl_password=pw")
    assert location.tls
    assert location.options["ssl_ca_certs"] == "/etc/ca.pem"
    assert "ssl_check_hostname" not in location.options
    assert locate(f"{scheme}://h?ssl_check_hostname=false").options["ssl_check_hostname"] is False
    unchecked = locate(f"{scheme}://h?ssl_cert_reqs=none").options
    assert (unchecked["ssl_cert_reqs"], unchecked["ssl_check_hostname"]) == ("none", False)


def test_sentinels_are_asked_for_a_service() -> None:
    location = locate(
        "rediss+sentinel://me:pw@one,two:7,[::2]:8/shop/4?sentinel_username=s&sentinel_password=spw&ssl_ca_certs=/ca"
    )
    assert location.kind == "sentinel"
    assert location.addresses == (Address("one", 26379), Address("two", 7), Address("::2", 8))
    assert location.service == "shop"
    assert options(location, "db", "username", "password", "ssl_ca_certs") == {
        "db": 4,
        "username": "me",
        "password": "pw",
        "ssl_ca_certs": "/ca",
    }
    sentinel = location.sentinel_options
    assert (sentinel["username"], sentinel["password"], sentinel["ssl_ca_certs"]) == ("s", "spw", "/ca")
    assert "db" not in sentinel


def test_a_cluster_has_nodes() -> None:
    location = locate("valkey+cluster://:pw@one,two:7")
    assert location.kind == "cluster"
    assert location.addresses == (Address("one", 6379), Address("two", 7))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://", "names no host"),
        ("redis:/h", "lacks the slashes"),
        ("redis:///0", "names no host"),
        ("redis://h:many", "cannot be"),
        ("redis://h:70000", "cannot be"),
        ("redis://a..b", "cannot be"),
        ("redis://one,two", "several hosts"),
        ("redis+cluster://one,,two", "names no host"),
        ("redis://h/jobs", "not a number"),
        ("redis://h/1/2", "more than one database"),
        ("redis://h/1?db=2", "more than one database"),
        ("redis://h/-1", "not a number"),
        ("redis://h/0?namespace=", "namespace"),
        ("redis://h/0?namespace=a{b}", "namespace"),
        ("redis://h/0?namespace=a:b", "namespace"),
        ("redis://h/0?durability=some", "none of memory, everysec and always"),
        ("redis://h/0?pool=0", "pool='0'"),
        ("redis://h/0?pool=%D9%A1", "pool="),
        ("redis://h/0?pool=2&pool=3", "twice"),
        ("redis://h/0?timeout=3", "not known: timeout"),
        ("redis://h/0?socket_connect_timeout=-1", "0 to 60"),
        ("redis://h/0?socket_connect_timeout=soon", "0 to 60"),
        ("redis://h/0#1", "%23"),
        ("redis://me@h", "no password"),
        ("redis://h?ssl_ca_certs=/ca", "rediss://"),
        ("rediss://h?ssl_cert_reqs=maybe", "ssl_cert_reqs"),
        ("rediss://h?ssl_check_hostname=maybe", "ssl_check_hostname"),
        ("redis://h?sentinel_password=x", "not known"),
        ("redis+sentinel://h", "which service"),
        ("redis+sentinel://h/", "which service"),
        ("redis+cluster://h/1", "only 0"),
        ("redis+ring://h", "no known kind"),
        ("unix+cluster:///run/redis.sock", "no known kind"),
        ("unix://run/redis.sock", "names no socket"),
        ("unix://", "names no socket"),
        ("redis://[::1", "cannot be read"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(url: str, why: str) -> None:
    with pytest.raises(InvalidURL) as refused:
        connect(url)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:s3cret@h/0",
        "rediss://me:s3cret@h/0?ssl_password=s3cret",
        "unix:///run/redis.sock?password=s3cret",
        "redis+sentinel://me:s3cret@a,b/shop?sentinel_password=s3cret",
        "redis+cluster://:s3cret@a,b",
    ],
)
def test_no_password_is_shown(url: str) -> None:
    store = connect(url)
    assert isinstance(store, RedisStore)
    assert "s3cret" not in store.url
    assert "***" in store.url
    with pytest.raises(InvalidURL) as refused:
        connect(f"{url}{'&' if '?' in url else '?'}odd=1")
    assert "s3cret" not in str(refused.value)


def test_without_redis_py_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("mainspring.store.redis")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(InvalidURL, match=r"pip install 'mainspring\[redis\]'"):
        connect("redis://h")


def test_there_are_no_transactions_and_no_scripts_for_others() -> None:
    store = RedisStore("redis://h")
    for borrow in (store.borrow, store.async_borrow):
        with pytest.raises(UnusableTransaction, match="no jobs in transactions of yours"):
            borrow(object())
    with pytest.raises(ConfigurationError, match=r"docs/redis\.md"):
        store.script()
