"""The command line on a Redis store: doctor and migrate."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers.valkey import ValkeyServer, running_valkey

from mainspring.cli import checks

from .conftest import Project


@pytest.fixture(scope="module")
def shared() -> Iterator[ValkeyServer]:
    with running_valkey(appendonly="yes") as server:
        yield server


@pytest.fixture
def server(shared: ValkeyServer) -> ValkeyServer:
    shared.ask("FLUSHALL")
    return shared


def findings(project: Project, url: str, code: int = 0) -> dict[str, tuple[str, str]]:
    """Level and text by check."""
    return {each["check"]: (each["level"], each["found"]) for each in project.json("doctor", "--url", url, code=code)}


def test_doctor_finds_a_store_in_good_order(
    project: Project, server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "SLOW_SECONDS", 3600.0)  # the machine may be busy with other tests
    url = f"{server.url}?durability=everysec"
    project.run("migrate", "--url", url)
    found = findings(project, url)
    for check in ("store", "schema", "read and write", "clock"):
        assert found[check][0] == "ok", found[check]
    assert "namespace mainspring, durability everysec" in found["store"][1]
    assert "server" not in found
    assert "disk" not in found


def test_doctor_warns_of_what_may_be_lost_and_of_a_namespace_that_nobody_has_used(
    project: Project, server: ValkeyServer
) -> None:
    found = findings(project, server.url)
    assert found["server"] == ("warn", found["server"][1])
    assert "last second" in found["server"][1]
    assert found["schema"][0] == "warn"
    assert "first enqueue" in found["schema"][1]
    assert server.ask("DBSIZE") == 0


def test_doctor_says_what_is_wrong_with_a_server(project: Project, server: ValkeyServer) -> None:
    server.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        level, text = findings(project, server.url, code=1)["store"]
    finally:
        server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    assert level == "fail"
    assert "CONFIG SET maxmemory-policy noeviction" in text


def test_doctor_says_that_a_newer_mainspring_was_there(project: Project, server: ValkeyServer) -> None:
    server.ask("SET", "{mainspring}:schema", 99)
    level, text = findings(project, server.url, code=1)["schema"]
    assert level == "fail"
    assert "99" in text


def test_migrate_sets_a_namespace_up_once(project: Project, server: ValkeyServer) -> None:
    url = f"{server.url}?namespace=shop"
    assert "now has 1" in project.run("migrate", "--url", url).stdout
    assert server.ask("GET", "{shop}:schema") == "1"
    assert "already" in project.run("migrate", "--url", url).stdout
    assert "docs/redis.md" in project.run("migrate", "--sql", "--url", url, code=2).output


def test_a_namespace_that_is_not_there_is_not_made_by_a_look(project: Project, server: ValkeyServer) -> None:
    output = project.run("jobs", "list", "--url", server.url, code=1).output
    assert "the first enqueue or worker makes it" in " ".join(output.split())
    assert server.ask("DBSIZE") == 0
