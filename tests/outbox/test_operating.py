"""`mainspring migrate --outbox`, and what `mainspring doctor` says of an outbox."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from servers.postgres import psql
from typer.testing import CliRunner, Result

from mainspring import Mainspring
from mainspring.cli.root import cli
from mainspring.store.outbox.opening import open_outbox

from .shops import Shop

BOTH = pytest.mark.parametrize("shop", ["postgres", "sqlite"], indirect=True)


def run(*args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, list(args))
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without an outbox."""
    if request.param == "sqlite":
        (tmp_path / "fresh.db").touch()
        yield f"sqlite:///{tmp_path}/fresh.db"
        return
    postgres, schema = request.getfixturevalue("postgres"), f"fresh_{os.getpid()}"
    yield f"{postgres}{'&' if '?' in postgres else '?'}schema={schema}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


FRESH = pytest.mark.parametrize("fresh", ["postgres", "sqlite"], indirect=True)


@FRESH
def test_migrate_makes_it_once(fresh: str) -> None:
    assert "was not there; now it is" in run("migrate", "--outbox", fresh).stdout
    assert open_outbox(fresh).status().found
    assert "is there already" in run("migrate", "--outbox", fresh).stdout
    assert json.loads(run("migrate", "--outbox", fresh, "--json").stdout)["made"] is False


def test_the_printed_sql_does_the_same_and_grants_what_a_role_needs(postgres: str, tmp_path: Path) -> None:
    schema, role = f"printed_{os.getpid()}", f"clerk_{os.getpid()}"
    url = f"{postgres}{'&' if '?' in postgres else '?'}schema={schema}"
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN")
        try:
            for _ in range(2):
                done = psql(postgres, run("migrate", "--outbox", url, "--sql", "--grant-to", role).stdout)
                assert done.returncode == 0, done.stderr
            app = Mainspring(f"sqlite:///{tmp_path}/jobs.db")
            task: Any = app.task(name="ship")(lambda order: None)
            with_schema = Mainspring(f"sqlite:///{tmp_path}/jobs.db", outbox=url)
            with psycopg.connect(postgres, user=role) as connection:
                with_schema.outbox(connection).enqueue(task.job(1))
            with psycopg.connect(postgres, user=role, autocommit=True) as connection:
                assert connection.execute(f"DELETE FROM {schema}.outbox").rowcount == 1
            app.close()
        finally:
            admin.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
            admin.execute(f"DROP OWNED BY {role}")
            admin.execute(f"DROP ROLE {role}")


def test_the_printed_sql_of_a_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.executescript(run("migrate", "--outbox", url, "--sql").stdout)
    assert open_outbox(url).status().found
    assert "no roles" in run("migrate", "--outbox", url, "--sql", "--grant-to", "me", code=2).stderr


def test_what_makes_no_sense(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    assert "--outbox and --url" in run("migrate", "--outbox", url, "--url", url, code=2).stderr
    assert "--grant-to goes with --sql" in run("migrate", "--outbox", url, "--grant-to", "me", code=2).stderr
    assert "no database in which" in run("migrate", "--outbox", "redis://localhost/0", code=2).stderr
    assert "shop.db" in run("migrate", "--outbox", url, code=1).stderr, "a file that is not there is not made"
    assert not (tmp_path / "shop.db").exists()


def outbox_findings(shop: Shop, monkeypatch: pytest.MonkeyPatch, code: int = 0) -> list[tuple[str, str]]:
    monkeypatch.setenv("MAINSPRING_OUTBOX", shop.outbox_url)
    found = json.loads(run("doctor", "--url", shop.app.url, "--json", code=code).stdout)
    return [(each["level"], each["found"]) for each in found if each["check"] == "outbox"]


@BOTH
def test_doctor_says_what_waits_and_what_was_set_aside(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.app.store.migrate()
    ((level, text),) = outbox_findings(shop, monkeypatch)
    assert (level, "0 jobs on the way" in text) == ("ok", True)
    shop.put_raw("one", '{"id": "one", "task": "ship"}')
    shop.put_raw("two", "{")
    shop.sql(f"UPDATE {shop.table} SET aside = 'it makes no sense' WHERE id = 'two'")
    ((level, text), (beside, why)) = outbox_findings(shop, monkeypatch)
    assert (level, "1 job on the way" in text) == ("ok", True)
    assert (beside, "1 row set aside" in why) == ("warn", True)
    back = "at - interval '10 minutes'" if "postgres" in shop.outbox_url else "at - 600000"
    shop.sql(f"UPDATE {shop.table} SET at = {back}")
    (level, text), _ = outbox_findings(shop, monkeypatch)
    assert (level, "the oldest for 10 m" in text) == ("warn", True), text
    shop.sql(f"DROP TABLE {shop.table}")
    ((level, text),) = outbox_findings(shop, monkeypatch, code=1)
    assert (level, "mainspring migrate --outbox" in text) == ("fail", True)
