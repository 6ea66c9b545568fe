"""`mainspring doctor`: what is in order, what is not, and what to do about it."""

from __future__ import annotations

import secrets
import sqlite3
import time
from contextlib import closing

import pytest

from mainspring.cli import checks
from mainspring.keyring import VARIABLE, Keyring
from mainspring.store.base import Reply, Request
from mainspring.store.sqlite.drivers import SqliteDriver

from .conftest import Project

APP = ["--app", "shop.jobs:app"]


def findings(project: Project, *args: str, code: int = 0) -> dict[str, tuple[str, str]]:
    """Level and text by check; of several findings of one check the last."""
    return {each["check"]: (each["level"], each["found"]) for each in project.json("doctor", *args, code=code)}


def test_a_store_in_good_order(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "SLOW_SECONDS", 3600.0)  # the machine may be busy with other tests
    project.run("migrate", *APP)
    found = findings(project, *APP)
    for check in ("program", "tasks", "disk", "store", "schema", "read and write", "clock", "journal", "schedules"):
        assert found[check][0] in ("ok", "warn" if check == "disk" else "ok"), found[check]
    assert "WAL" in found["journal"][1]
    assert "SQLite" in found["store"][1]
    shown = project.run("doctor", *APP).stdout
    assert shown.splitlines()[-1].endswith(" 0 failed")


def test_a_slow_store_is_warned_of_and_its_clock_is_not_to_blame(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "SLOW_SECONDS", 0.0)
    monkeypatch.setattr(checks, "SKEW_SECONDS", 0.2)
    project.run("migrate", *APP)
    run = SqliteDriver.run

    def slowly(driver: SqliteDriver, request: Request[Reply]) -> Reply:
        reply = run(driver, request)
        time.sleep(0.1)
        return reply

    monkeypatch.setattr(SqliteDriver, "run", slowly)
    found = findings(project, *APP)
    assert found["read and write"][0] == "warn"
    assert "slow" in found["read and write"][1]
    assert found["clock"] == ("ok", "the store's and this machine's agree")


def test_it_leaves_no_trace(project: Project) -> None:
    project.run("migrate", *APP)
    findings(project, *APP)
    assert project.app.workers.list() == []
    assert project.app.jobs.count() == 0


def test_no_store_yet_is_no_failure_and_none_is_made(project: Project) -> None:
    found = findings(project, "--url", "sqlite:///none.db")
    assert found["schema"][0] == "warn"
    assert "mainspring migrate" in found["schema"][1]
    assert not (project.folder / "none.db").exists()


def test_queues_and_schedules_that_nobody_serves(project: Project) -> None:
    project.app.tasks["add"].enqueue(1, 2)
    project.app.schedules.put("odd", "clean", every="1h")
    project.write("other.py", "from mainspring import Mainspring\napp = Mainspring('sqlite:///shop.db')")
    found = findings(project, "--app", "other")
    assert found["workers"][0] == "warn"
    assert "default: 1 job that no worker serves" in found["queues"][1]
    assert found["tasks"][0] == "warn"
    found = findings(project, *APP)
    assert found["schedules"][0] == "ok"
    project.write(
        "third.py",
        "from mainspring import Mainspring\napp = Mainspring('sqlite:///shop.db')\n@app.task\ndef f(): ...",
    )
    assert "'clean'" in findings(project, "--app", "third")["schedules"][1]


def test_a_damaged_file_and_a_missing_folder_are_failures(project: Project) -> None:
    project.write("bad.db", "this is no database " * 1000)
    assert findings(project, "--url", "sqlite:///bad.db", code=1)["store"][0] == "fail"
    found = findings(project, "--url", "sqlite:///no/such/bad.db", code=1)
    assert "does not exist" in found["disk"][1]


def test_a_newer_schema_is_a_failure(project: Project) -> None:
    project.run("migrate", *APP)
    with closing(sqlite3.connect(project.folder / "shop.db")) as connection, connection:
        connection.execute("INSERT INTO mainspring_schema VALUES (999, 'from the future')")
    level, text = findings(project, *APP, code=1)["schema"]
    assert level == "fail"
    assert "999" in text


def test_an_app_that_a_worker_would_refuse_is_a_failure(project: Project) -> None:
    project.write(
        "refused.py",
        "from mainspring import Mainspring\napp = Mainspring('sqlite://')\n"
        "@app.task(executor='process')\ndef plain() -> None: ...\n@app.task\ndef odd(x: 'Nowhere') -> None: ...",
    )
    result = project.json("doctor", "--app", "refused", code=1)
    texts = [each["found"] for each in result if each["level"] == "fail"]
    assert any("a store in memory" in text for text in texts)
    assert any("Nowhere" in text for text in texts)


def test_encryption_is_looked_at_where_tasks_want_it_or_there_are_keys(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert "encryption" not in findings(project, *APP)
    project.write(
        "sealed.py",
        "from mainspring import Encrypted, Mainspring\napp = Mainspring('sqlite:///shop.db')\n"
        "@app.task\ndef charge(card: Encrypted[str]) -> None: ...",
    )
    level, text = findings(project, "--app", "sealed", code=1)["encryption"]
    assert (level, VARIABLE in text, "charge" in text) == ("fail", True, True)
    keys = [secrets.token_urlsafe(32) for _ in range(2)]
    monkeypatch.setenv(VARIABLE, ",".join(keys))
    project.write("sealed2.py", (project.folder / "sealed.py").read_text())
    first, second = Keyring(keys).ids
    level, text = findings(project, "--app", "sealed2")["encryption"]
    assert (level, text) == ("ok", f"encrypts with key {first}, decrypts with {second} too; tasks: charge")


def test_an_app_that_cannot_be_imported_is_a_finding(project: Project) -> None:
    assert findings(project, "--app", "nowhere:app", code=1)["app"][0] == "fail"
