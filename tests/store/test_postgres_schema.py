"""A program on PostgreSQL runs on the schema that it knows, and on no other; migrating twice is migrating once."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import typer
from servers.postgres import psql
from typer.testing import CliRunner
from worker.scene import ended, until, working

from mainspring import Mainspring, Retry, chain
from mainspring.cli.root import cli
from mainspring.errors import SchemaMismatch, StoreReadOnly
from mainspring.store.base import CountRequest, Filter, FindRequest
from mainspring.store.postgres import PostgresStore
from mainspring.store.postgres.connections import connect
from mainspring.store.postgres.dialect import PostgresDialect
from mainspring.store.postgres.location import locate
from mainspring.store.postgres.schema import MIGRATIONS, upgrade


@pytest.fixture
def bare(postgres: str) -> Iterator[PostgresStore]:
    """A store whose schema is not there yet."""
    schema = f"bare_{os.getpid()}"
    yield PostgresStore(f"{postgres}{'&' if '?' in postgres else '?'}schema={schema}")
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


def count(store: PostgresStore) -> None:
    driver = store.driver()
    try:
        driver.run(CountRequest(Filter()))
    finally:
        driver.close()


async def acount(store: PostgresStore) -> None:
    driver = store.async_driver()
    try:
        await driver.run(CountRequest(Filter()))
    finally:
        await driver.aclose()


def test_without_a_schema_nothing_runs_and_the_error_says_what_to_do(bare: PostgresStore) -> None:
    assert bare.schema().found == 0
    with pytest.raises(SchemaMismatch, match="no schema for jobs yet; run `mainspring migrate`"):
        count(bare)
    with pytest.raises(SchemaMismatch, match="no schema for jobs yet; run `mainspring migrate`"):
        asyncio.run(acount(bare))


def test_a_schema_of_a_newer_program_is_refused(bare: PostgresStore, postgres: str) -> None:
    bare.migrate()
    count(bare)
    schema = bare.url.rpartition("schema=")[2]
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"INSERT INTO \"{schema}\".migrations (version, name) VALUES (99, 'later')")
    for look in (count, lambda store: asyncio.run(acount(store))):
        with pytest.raises(SchemaMismatch, match="version 99, but this program knows versions up to"):
            look(bare)
    with pytest.raises(SchemaMismatch, match="version 99"):
        bare.migrate()


def test_jobs_that_had_completed_before_are_kept_by_the_day_from_now_on(bare: PostgresStore, postgres: str) -> None:
    schema = bare.url.rpartition("schema=")[2]
    with psycopg.connect(postgres, autocommit=True) as connection:
        # The schema, its table of migrations, and the first of these.
        for statement in upgrade(PostgresDialect(schema), 0, bare.url)[:3]:
            connection.execute(statement)
        connection.execute(
            f'INSERT INTO "{schema}".finished (id, task, queue, state, args, priority, attempt, crashes, postponed, '
            "lease, created_at, run_at, finished_at, cancel_requested, history, partition, cost) "
            "SELECT 'job ' || n, 'task', 'default', (ARRAY['completed', 'dead', 'cancelled'])[1 + n % 3], '{}', 5, 1, "
            "0, 0, 1, 0, 0, 1605600000000 - n * 40000000::bigint, false, '[]', '', 1 FROM generate_series(1, 30) AS n"
        )
        with pytest.raises(SchemaMismatch, match="mainspring migrate"):
            count(bare)
        bare.migrate()
        driver = bare.driver()
        found = driver.run(FindRequest(Filter(), 100)).jobs
        driver.close()
        assert sorted(job.id for job in found) == sorted(f"job {n}" for n in range(1, 31))
        days = connection.execute(
            "SELECT count(*) FROM pg_tables "
            "WHERE schemaname = %s AND tablename BETWEEN 'finished_20201101' AND 'finished_20201118'",
            [schema],
        ).fetchone()
        assert days == (10,)


def test_statements_are_not_compiled(bare: PostgresStore) -> None:
    """That took a server with LLVM up to a second for a statement of a millisecond."""
    with connect(locate(bare.url), time.monotonic() + 5) as connection:
        assert connection.execute("SHOW jit").fetchone() == ("off",)


def test_who_migrates_at_the_same_time_waits_for_the_other(bare: PostgresStore) -> None:
    threads = [threading.Thread(target=bare.migrate) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    status = bare.schema()
    assert status.found == status.wanted
    count(bare)


def test_two_schemas_of_one_database_know_nothing_of_each_other(bare: PostgresStore, postgres: str) -> None:
    bare.migrate()
    app = Mainspring(bare.url)

    @app.task
    def task() -> None: ...

    task.enqueue()
    other = PostgresStore(bare.url.replace("bare_", "bare_too_"))
    other.migrate()
    try:
        there = Mainspring(other.url)
        assert (app.jobs.count(), there.jobs.count()) == (1, 0)
        there.close()
    finally:
        app.close()
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(f'DROP SCHEMA "{other.url.rpartition("schema=")[2]}" CASCADE')


# --- every way to the store refuses a schema that it does not know ---------------------------------------------------

JOBS = """
from mainspring import Mainspring, Retry, chain
app = Mainspring()
app.webhook("https://shop.example/hook", on="dead", secret="nobody else knows this", name="name")

@app.task
def task() -> None: ...
"""
WORDS = {
    "worker": ("jobs:app",),
    "enqueue": ("jobs:app", "task"),
    "jobs retry": ("--state", "dead", "--yes"),
    "jobs cancel": ("--state", "queued", "--yes"),
    "jobs reschedule": ("id", "--delay", "1h"),
    "jobs delete": ("--state", "dead", "--yes"),
    "queues limit": ("default", "--concurrency", "3"),
    "jobs list": (),
    "jobs errors": (),
    "flows list": (),
    "queues list": (),
    "schedules list": (),
    "workers list": (),
    "webhooks list": ("--app", "jobs:app"),
    "webhooks test": ("name", "--app", "jobs:app"),
    "audit": (),
    "top": (),
    "doctor": (),
}
"""What a command is given; others take one name."""
APART = ("dev", "web", "migrate", "bench")
"""Waits for the code to change; says so on its pages; mends it; makes a store of its own."""


def commands(group: Any, *name: str) -> Iterator[str]:
    for each in group.list_commands(None):
        command = group.get_command(None, each)
        yield from commands(command, *name, each) if hasattr(command, "commands") else (" ".join((*name, each)),)


@pytest.mark.parametrize("version", ["none", "older", "newer"])
def test_every_command_refuses_a_schema_that_it_does_not_know(
    version: str, bare: PostgresStore, postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is done, the exit code says so, and the message names the command to run."""
    if version != "none":
        bare.migrate()
        schema = bare.url.rpartition("schema=")[2]
        with psycopg.connect(postgres, autocommit=True) as connection:
            if version == "older":
                connection.execute(f'DELETE FROM "{schema}".migrations WHERE version > 1')
            else:
                connection.execute(f"INSERT INTO \"{schema}\".migrations (version, name) VALUES (99, 'later')")
    (tmp_path / "jobs.py").write_text(JOBS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAINSPRING_URL", bare.url)
    monkeypatch.syspath_prepend(tmp_path)
    names = [name for name in commands(typer.main.get_command(cli)) if name not in APART]
    assert set(WORDS) < set(names)
    for name in names:
        done = CliRunner().invoke(cli, [*name.split(), *WORDS.get(name, ("name",))], prog_name="mainspring")
        monkeypatch.delitem(sys.modules, "jobs", raising=False)
        assert done.exit_code == 1, f"{name}: {done.output}"
        assert ("Upgrade" if version == "newer" else "mainspring migrate`") in done.output, name
        assert done.exception is None or isinstance(done.exception, SystemExit), name


# --- migrations that somebody else runs ------------------------------------------------------------------------------


def described(postgres: str, schema: str) -> list[tuple[object, ...]]:
    """All that there is in a schema: columns, indexes, functions, versions."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT attrelid::regclass::text, attname, format_type(atttypid, atttypmod), attnotnull::text "
            "FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid "
            "WHERE relnamespace = %(s)s::text::regnamespace AND attnum > 0 "
            "UNION ALL SELECT indexdef, '', '', '' FROM pg_indexes WHERE schemaname = %(s)s::text "
            "UNION ALL SELECT pg_get_functiondef(oid), '', '', '' FROM pg_proc "
            "WHERE pronamespace = %(s)s::text::regnamespace",
            {"s": schema},
        ).fetchall()
        rows += connection.execute(f'SELECT version, name FROM "{schema}".migrations').fetchall()
    return sorted(tuple(str(value).replace(schema, "") for value in row) for row in rows)


def test_the_printed_sql_is_what_migrate_does(bare: PostgresStore, postgres: str) -> None:
    schema = bare.url.rpartition("schema=")[2]
    done = psql(postgres, bare.script())
    assert (done.returncode, done.stderr) == (0, "")
    count(bare)
    by_hand = described(postgres, schema)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f'DROP SCHEMA "{schema}" CASCADE')
    bare.migrate()
    assert described(postgres, schema) == by_hand


def test_it_can_be_printed_without_the_server_and_from_any_version(bare: PostgresStore, postgres: str) -> None:
    away = PostgresStore(f"postgresql://127.0.0.1:1/nowhere?schema={bare.url.rpartition('schema=')[2]}")
    assert away.script(0) == bare.script()
    later = away.script(1).partition("END $do$;")[2].strip()
    assert psql(postgres, away.script(0).replace(later, "COMMIT;")).returncode == 0
    assert bare.schema().found == 1
    assert bare.script() == away.script(1)
    assert psql(postgres, away.script(1)).returncode == 0
    count(bare)


def test_a_script_that_comes_too_late_changes_nothing(bare: PostgresStore, postgres: str) -> None:
    script = bare.script()
    bare.migrate()
    done = psql(postgres, script)
    assert done.returncode == 3
    assert f"has version {len(MIGRATIONS)}, and this script begins at version 0" in done.stderr
    assert "Print it anew: mainspring migrate --sql" in done.stderr
    count(bare)


def test_a_script_that_fails_changes_nothing(bare: PostgresStore, postgres: str) -> None:
    assert psql(postgres, bare.script().replace("COMMIT;", "SELECT 1 / 0; COMMIT;")).returncode == 3
    assert bare.schema().found == 0


def test_the_command_prints_it(bare: PostgresStore) -> None:
    run = CliRunner()
    done = run.invoke(cli, ["migrate", "--sql", "--url", bare.url, "--grant-to", 'o"x'], prog_name="mainspring")
    assert (done.exit_code, done.stdout) == (0, bare.script(grant_to='o"x'))
    assert 'TO "o""x";' in done.stdout
    done = run.invoke(cli, ["migrate", "--sql", "--url", "postgresql://127.0.0.1:1/x"], prog_name="mainspring")
    assert done.exit_code == 1
    assert "--from 0" in done.stderr
    for wrong in (["--from", "1"], ["--grant-to", "x"], ["--sql", "--from", "-1"], ["--sql", "--grant-to", ""]):
        done = run.invoke(cli, ["migrate", "--url", bare.url, *wrong], prog_name="mainspring")
        assert done.exit_code == 2, done.output
    assert bare.schema().found == 0


# --- a role that may use the tables, and change none -----------------------------------------------------------------


@pytest.fixture
def restricted(bare: PostgresStore, postgres: str) -> Iterator[str]:
    """The store's address for a role that a DBA has let in."""
    role = f"restricted_{os.getpid()}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN")
        assert psql(postgres, bare.script(grant_to=role)).returncode == 0
        parts = urlsplit(bare.url)
        yield urlunsplit(parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}"))
        connection.execute(f"DROP OWNED BY {role}")
        connection.execute(f"DROP ROLE {role}")


async def test_a_restricted_role_enqueues_and_works(restricted: str) -> None:
    """All that workers and operators do, on tables that this role can only read and write."""
    app = Mainspring(restricted)
    app.queue("api", partition="tenant", concurrency=5)

    @app.task(retry=Retry(attempts=2, delay=0))
    async def fail() -> None:
        raise ValueError

    @app.task(queue="api")
    async def call(tenant: str) -> str:
        return tenant

    @app.every("1h")
    async def tick() -> None: ...

    schema = restricted.rpartition("schema=")[2]
    async with app, working(app, ["default", "api"]):
        jobs = [await fail.aenqueue(), await call.using(idempotency_key="k").aenqueue("x")]
        with psycopg.connect(restricted.partition("?")[0], autocommit=True) as connection:
            row = connection.execute(
                f'SELECT "{schema}".enqueue(\'call\', \'{{"tenant": "y"}}\', \'{{"queue": "api", "partition": "y"}}\')'
            ).fetchone()
            assert row is not None
            jobs.append(app.jobs.get(row[0]))
        await ended(*jobs)
        flow = chain(call.job("a"), call.job("b"))
        await flow.aenqueue()
        await until(lambda: app.jobs.count(state="completed", queue="api") == 4)
        app.queues.pause("api")
        app.jobs.retry(jobs[0].id)
        await ended(jobs[0])
        app.jobs.delete(jobs[0].id)
        app.schedules.list()
    assert [job.state for job in jobs[:2]] == ["dead", "completed"]
    app.close()


def test_a_restricted_role_cannot_migrate_and_need_not(restricted: str, postgres: str) -> None:
    store = PostgresStore(restricted)
    assert store.migrate().found == store.schema().wanted
    schema = restricted.rpartition("schema=")[2]
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f'DELETE FROM "{schema}".migrations WHERE version > 1')
    with pytest.raises(StoreReadOnly, match="migrate as the schema's owner"):
        store.migrate()
    with pytest.raises(StoreReadOnly, match="permission denied"):
        PostgresStore(restricted.replace(f"schema={schema}", "schema=nobodys")).migrate()


def test_a_role_that_was_not_let_in_is_told_so(bare: PostgresStore, restricted: str, postgres: str) -> None:
    schema = restricted.rpartition("schema=")[2]
    role = urlsplit(restricted).username
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f'REVOKE USAGE ON SCHEMA "{schema}" FROM {role}')
    for look in (count, PostgresStore.schema, PostgresStore.migrate):
        with pytest.raises(StoreReadOnly, match="permission denied for schema"):
            look(PostgresStore(restricted))
