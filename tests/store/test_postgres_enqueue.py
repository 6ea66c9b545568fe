"""`enqueue` in SQL: the job that Python would have stored, in the caller's transaction, with the same checks."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb
from worker.scene import ended, until, working

from mainspring import DuplicateJob, Mainspring, QueueFull, Retry, Unique
from mainspring.model.durations import to_ms
from mainspring.model.keys import idempotency
from mainspring.model.options import JobOptions
from mainspring.store.base import InsertRequest
from mainspring.store.postgres import PostgresStore
from mainspring.store.postgres.hints import Speaker

Connection = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def schema(postgres_store: PostgresStore) -> str:
    return postgres_store.url.rpartition("schema=")[2]


@pytest.fixture
def connection(postgres: str) -> Iterator[Connection]:
    """The caller's own connection, which knows nothing of the schema."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        yield connection


@pytest.fixture
def app(postgres_store: PostgresStore) -> Iterator[Mainspring]:
    app = Mainspring(postgres_store.url)
    app.queue("api", partition="tenant")

    @app.task
    async def add(a: int, b: int = 1) -> int:
        return a + b

    @app.task(queue="api")
    async def call(tenant: str) -> str:
        return tenant

    yield app
    app.close()


class Caller:
    """Whoever enqueues by SQL."""

    def __init__(self, connection: Connection, schema: str) -> None:
        self.connection = connection
        self.schema = schema

    def enqueue(self, task: str, args: Any = None, **options: Any) -> str:
        return str(self.value("SELECT {}.enqueue(%s, %s, %s)", task, Jsonb(args or {}), Jsonb(options)))

    def value(self, text: str, *parameters: Any) -> Any:
        ((value,),) = self.rows(text, *parameters)
        return value

    def rows(self, text: str, *parameters: Any) -> list[tuple[Any, ...]]:
        statement = sql.SQL(text).format(*[sql.Identifier(self.schema)] * text.count("{}"))  # type: ignore[arg-type]
        cursor = self.connection.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []

    def row(self, id: str) -> dict[str, Any]:
        """A job's row, without what is another one's in every job; times count from when it was made."""
        row: dict[str, Any] = self.value("SELECT to_jsonb(j) FROM {}.jobs AS j WHERE id = %s", id)
        row["run_at"] -= row["created_at"]
        row["args"], row["options"] = json.loads(row["args"]), JobOptions.from_text(row["options"])
        return {name: value for name, value in row.items() if name not in ("id", "created_at")}


@pytest.fixture
def caller(connection: Connection, schema: str) -> Caller:
    return Caller(connection, schema)


SAME: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing": ({}, {}),
    "queue and priority": ({"queue": "email", "priority": -3}, {"queue": "email", "priority": -3}),
    "a delay as text": ({"delay": "1h30m"}, {"delay": "1h30m"}),
    "a delay in seconds": ({"delay": 0.25}, {"delay": 0.25}),
    "no delay": ({"delay": 0}, {"delay": 0}),
    "null, which is as if it were not given": ({"queue": None, "delay": None}, {}),
    "a timeout": ({"timeout": "30s"}, {"timeout": "30s"}),
    "retry rules": ({"retry": {"attempts": 3, "jitter": False}}, {"retry": Retry(attempts=3, jitter=False)}),
    "retry delays": ({"retry": {"delay": ["1s", 2.5, "1m"]}}, {"retry": Retry(delay=["1s", 2.5, "1m"])}),
    "no retry": ({"retry": {"attempts": 1, "delay": 0}}, {"retry": Retry(attempts=1, delay=0)}),
    "a partition": ({"partition": "acme", "queue": "api"}, {"partition": "acme", "queue": "api"}),
    "a partition that is a number": ({"partition": 7, "queue": "api"}, {"partition": 7, "queue": "api"}),
    "no partition": ({"partition": "", "queue": "api"}, {"partition": "", "queue": "api"}),
    "a cost": ({"cost": 12}, {"cost": 12}),
}


@pytest.mark.parametrize("name", SAME)
def test_the_row_is_the_one_that_python_stores(name: str, app: Mainspring, caller: Caller) -> None:
    options, using = SAME[name]
    ours = caller.enqueue("add", {"a": 1, "b": 2}, **options)
    words = caller.rows("SELECT queue, partition FROM {}.arrivals")
    caller.rows("TRUNCATE {}.arrivals")
    theirs = app.tasks["add"].using(**using).enqueue(1, 2)
    assert caller.row(ours) == caller.row(theirs.id)
    assert sorted(set(words)) == sorted(set(caller.rows("SELECT queue, partition FROM {}.arrivals")))


def test_a_task_with_a_gate_has_its_jobs_wait_there(app: Mainspring, caller: Caller) -> None:
    caller.rows("INSERT INTO {}.tasks (name) VALUES ('add')")
    assert caller.row(caller.enqueue("add", {"a": 1})) == caller.row(app.tasks["add"].enqueue(1).id)


def test_a_time_is_one_with_a_zone(app: Mainspring, caller: Caller) -> None:
    text = "SELECT {}.enqueue('add', '{{\"a\": 1}}', jsonb_build_object('at', '2031-05-01 09:30+02'::timestamptz))"
    caller.rows("SET TIME ZONE 'America/New_York'")
    job = app.jobs.get(caller.value(text))
    assert (job.state, job.run_at.isoformat()) == ("scheduled", "2031-05-01T07:30:00+00:00")
    for written in ("2031-05-01T07:30:00Z", "2031-05-01 03:30:00.000-0400", "2031-05-01T12:30:00.0004+05"):
        assert app.jobs.get(caller.enqueue("add", {"a": 1}, at=written)).run_at == job.run_at
    assert app.jobs.get(caller.enqueue("add", {"a": 1}, at="1999-01-01T00:00Z")).state == "queued"


def test_ids_are_uuids_of_version_7_that_rise_in_a_session(caller: Caller) -> None:
    ids = [row[0] for row in caller.rows("SELECT {}.enqueue('add') FROM generate_series(1, 500)")]
    assert ids == sorted(set(ids))
    assert {(UUID(id).version, UUID(id).variant) for id in ids} == {(7, "specified in RFC 4122")}
    now = caller.value("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint FROM {}.migrations LIMIT 1")
    assert 0 <= now - (UUID(ids[-1]).int >> 80) < 60_000
    assert len({UUID(id).int & 2**62 - 1 for id in ids}) == 500


async def test_a_worker_runs_what_sql_enqueued(app: Mainspring, caller: Caller) -> None:
    async with app, working(app, ["default", "api"]):
        jobs = [app.jobs.get(caller.enqueue("add", {"a": n})) for n in range(20)]
        jobs += [app.jobs.get(caller.enqueue("call", {"tenant": t}, queue="api", partition=t)) for t in ("x", "y")]
        await ended(*jobs)
    assert [job.result() for job in jobs] == [*range(1, 21), "x", "y"]


async def test_a_trigger_enqueues_and_the_job_is_there_when_the_row_is(app: Mainspring, caller: Caller) -> None:
    caller.rows("CREATE TABLE {}.orders (id int, total int)")
    caller.rows(
        "CREATE FUNCTION {}.on_order() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM {}.enqueue('add', jsonb_build_object('a', NEW.id, 'b', NEW.total)); RETURN NULL; END $$"
    )
    caller.rows("CREATE TRIGGER t AFTER INSERT ON {}.orders FOR EACH ROW EXECUTE FUNCTION {}.on_order()")
    async with app, working(app):
        with caller.connection.transaction(force_rollback=True):
            caller.rows("INSERT INTO {}.orders VALUES (1, 1)")
        with caller.connection.transaction():
            caller.rows("INSERT INTO {}.orders VALUES (20, 1), (30, 1)")
            assert app.jobs.count() == 0
        await until(lambda: app.jobs.count(state="completed") == 2)
    assert sorted(job.result() for job in app.jobs.find()) == [21, 31]


def test_the_hint_is_the_one_that_python_sends_and_comes_with_the_commit(
    app: Mainspring, caller: Caller, postgres: str, schema: str
) -> None:
    with psycopg.connect(postgres, autocommit=True) as listener:
        listener.execute(f'LISTEN "{schema}"')
        with caller.connection.transaction():
            caller.enqueue("add", queue='é "x"')
            caller.enqueue("add", queue='é "x"')
            assert list(listener.notifies(timeout=0)) == []
        (said,) = listener.notifies(timeout=30, stop_after=1)
        theirs = Speaker(schema).hint(InsertRequest((replace(app.tasks["add"].job(1).new, queue='é "x"'),)))
        assert theirs is not None
        assert (said.channel, json.loads(said.payload)) == (schema, json.loads(theirs.parameters["payload"]))
        assert list(listener.notifies(timeout=0)) == []


def test_what_is_rolled_back_never_was(app: Mainspring, caller: Caller) -> None:
    with caller.connection.transaction(force_rollback=True):
        caller.enqueue("add", {"a": 1}, idempotency_key="k", queue="new", partition="p")
    assert app.jobs.count() == 0
    assert caller.rows("SELECT name FROM {}.keys UNION ALL SELECT queue FROM {}.arrivals") == []
    assert not app.jobs.get(caller.enqueue("add", {"a": 1}, idempotency_key="k")).existed


@pytest.mark.parametrize("path", ["", "public", "evil, pg_catalog, public"])
def test_it_is_the_same_whatever_the_search_path_is(path: str, app: Mainspring, caller: Caller) -> None:
    caller.rows("CREATE SCHEMA IF NOT EXISTS evil")
    try:
        caller.rows("CREATE TABLE IF NOT EXISTS evil.jobs (id text)")
        caller.rows("CREATE OR REPLACE FUNCTION evil.length(text) RETURNS int LANGUAGE sql AS 'SELECT 0'")
        caller.connection.execute("SELECT set_config('search_path', %s, false)", [path])
        assert app.jobs.get(caller.enqueue("add", {"a": 1}, delay="1s", queue="q", unique={"by": ["a"]})).queue == "q"
    finally:
        caller.connection.execute("DROP SCHEMA evil CASCADE")


# --- what is refused -------------------------------------------------------------------------------------------------

deep: Any = 1
for _ in range(64):
    deep = [deep]

REFUSED: dict[str, tuple[Any, Any, Any, str, str]] = {
    "no task": (None, {}, {}, "22004", "task and args must not be NULL"),
    "an empty task": ("", {}, {}, "22023", "has 0 characters"),
    "a task with a long name": ("x" * 201, {}, {}, "22023", "has 201 characters"),
    "a task with a control character": ("a\tb", {}, {}, "22023", "control characters"),
    "a task that begins with a space": ("\u2003add", {}, {}, "22023", "white space"),
    "args that are a list": ("add", [1], {}, "22023", r"args \[1\] are no object"),
    "args that are null": ("add", None, {}, "22023", "args null are no object"),
    "large args": ("add", {"a": "x" * 1024 * 1024}, {}, "54000", "over 1048576"),
    "deep args": ("add", {"a": [deep]}, {}, "54000", "nested over 64 deep"),
    "options that are a list": ("add", {}, [], "22023", "options .* are no object"),
    "an unknown option": ("add", {}, {"que": 1, "zzz": 2}, "22023", "unknown options: 'que', 'zzz'"),
    "a rule that is code": ("add", {}, {"debounce": "5s"}, "22023", "unknown options: 'debounce'"),
    "a queue that is a number": ("add", {}, {"queue": 5}, "22023", "queue name 5 is no text"),
    "an empty queue": ("add", {}, {"queue": ""}, "22023", "has 0 characters"),
    "a priority out of range": ("add", {}, {"priority": 1001}, "22023", "from -1000 to 1000"),
    "a huge priority": ("add", {}, {"priority": 10**30}, "22023", "from -1000 to 1000"),
    "half a priority": ("add", {}, {"priority": 1.5}, "22023", "not a whole number"),
    "a priority as text": ("add", {}, {"priority": "5"}, "22023", "not a whole number"),
    "a duration in words": ("add", {}, {"delay": "two hours"}, "22023", "is no duration"),
    "a duration with its units mixed up": ("add", {}, {"delay": "5s2h"}, "22023", "is no duration"),
    "a duration without any": ("add", {}, {"delay": " "}, "22023", "is no duration"),
    "a negative duration": ("add", {}, {"delay": -1}, "22023", "out of range"),
    "more than a hundred years": ("add", {}, {"delay": "36526d"}, "22023", "out of range"),
    "a duration that is true": ("add", {}, {"delay": True}, "22023", "is no duration"),
    "a time without a zone": ("add", {}, {"at": "2031-05-01T09:30"}, "22023", "no time with a time zone"),
    "a time that is a number": ("add", {}, {"at": 1}, "22023", "no time with a time zone"),
    "a day that is not": ("add", {}, {"at": "2031-02-30T09:30Z"}, "22023", "no time that there is"),
    "a zone that is not": ("add", {}, {"at": "2031-02-01T09:30+99"}, "22023", "no time that there is"),
    "a time before 1970": ("add", {}, {"at": "1969-02-01T09:30Z"}, "22023", "before 1970"),
    "two times": ("add", {}, {"at": "2031-05-01T09:30Z", "delay": 1}, "22023", "both delay and at"),
    "a timeout of nothing": ("add", {}, {"timeout": 0}, "22023", "no time at all"),
    "retry as a number": ("add", {}, {"retry": 5}, "22023", "retry 5 is not an object"),
    "unknown retry rules": ("add", {}, {"retry": {"on": "OSError"}}, "22023", "not an object with"),
    "no attempts": ("add", {}, {"retry": {"attempts": 0}}, "22023", "from 1 to 1000000"),
    "a factor below 1": ("add", {}, {"retry": {"factor": 0.5}}, "22023", "from 1 to 1000"),
    "jitter as text": ("add", {}, {"retry": {"jitter": "yes"}}, "22023", "neither true nor false"),
    "a delay over max_delay": ("add", {}, {"retry": {"delay": "2h"}}, "22023", "goes over max_delay"),
    "no delays": ("add", {}, {"retry": {"delay": []}}, "22023", "says no duration"),
    "an id that is no name": ("add", {}, {"id": " 7"}, "22023", "id name"),
    "an empty idempotency key": ("add", {}, {"idempotency_key": " \u3000"}, "22023", "1 to 200 printable"),
    "an idempotency key with an escape": ("add", {}, {"idempotency_key": "a\x1bb"}, "22023", "1 to 200 printable"),
    "a time for no key": ("add", {}, {"idempotency_for": "1h"}, "22023", "no idempotency_key"),
    "no time for a key": ("add", {}, {"idempotency_key": "k", "idempotency_for": 0}, "22023", "no time at all"),
    "unique by all": ("add", {"a": 1}, {"unique": {"by": "all"}}, "22023", "not an object with by"),
    "unique as a bool": ("add", {"a": 1}, {"unique": True}, "22023", "not an object with by"),
    "unique by numbers": ("add", {"a": 1}, {"unique": {"by": [1]}}, "22023", "not an object with by"),
    "unique by what is not there": ("add", {"a": 1}, {"unique": {"by": ["b"]}}, "22023", "no argument 'b'"),
    "unique by a list": ("add", {"a": [1]}, {"unique": {"by": ["a"]}}, "22023", "cannot be told apart"),
    "unique by a fraction": ("add", {"a": 1.5}, {"unique": {"by": ["a"]}}, "22023", "cannot be told apart"),
    "unique until whenever": ("add", {"a": 1}, {"unique": {"by": ["a"], "until": "dead"}}, "22023", "until"),
    "unique, or else": ("add", {"a": 1}, {"unique": {"by": ["a"], "on_conflict": "x"}}, "22023", "on_conflict"),
    "a partition that is an object": ("add", {}, {"partition": {}}, "22023", "partition name"),
    "a partition that is a fraction": ("add", {}, {"partition": 1.5}, "22023", "partition name"),
    "a cost of nothing": ("add", {}, {"cost": 0}, "22023", "from 1 to 1000000"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_with_what_to_do(name: str, app: Mainspring, caller: Caller) -> None:
    task, args, options, state, message = REFUSED[name]
    with pytest.raises(psycopg.Error, match=message) as refused:
        caller.rows("SELECT {}.enqueue(%s::text, %s, %s)", task, Jsonb(args), Jsonb(options))
    assert refused.value.sqlstate == state
    assert refused.value.diag.message_hint
    assert len(refused.value.diag.message_primary or "") < 300
    assert app.jobs.count() == 0


def test_args_at_the_limits_are_taken(app: Mainspring, caller: Caller) -> None:
    for args in ({"a": deep}, {"a": "x" * (1024 * 1024 - 9)}):
        assert json.loads(app.jobs.get(caller.enqueue("add", args)).record.args) == args


DURATIONS = [
    "90s",
    " 1w 2d 3h 4m 5s 6ms ",
    "1.5h",
    "0.5ms",
    "1.5ms",
    "2.5ms",
    "0s",
    0,
    0.0005,
    0.0015,
    12.3456,
    1e-30,
    36525 * 86400,
]


@pytest.mark.parametrize("duration", DURATIONS)
def test_durations_are_read_as_python_reads_them(duration: float | str, caller: Caller) -> None:
    assert caller.value("SELECT {}.enqueue_ms('delay', %s)", Jsonb(duration)) == to_ms(duration)


# --- keys ------------------------------------------------------------------------------------------------------------

ARGUMENTS = [
    {"a": 7, "b": None},
    {"a": "plain", "b": True},
    {"a": 'quo"te \\ \n\t\x07', "b": "\x7f é 漢 😀"},
    {"a": "x" * 300, "b": -5},
    {"a": 10**30, "b": ""},
]


@pytest.mark.parametrize("args", ARGUMENTS)
@pytest.mark.parametrize("by", [["a"], ["b", "a", "a"], []])
def test_a_unique_key_is_the_one_that_python_makes(args: dict[str, Any], by: list[str], caller: Caller) -> None:
    rule = Unique(by=tuple(by), for_="1h", until="started").key("täsk", args)
    key = caller.value(
        "SELECT {}.enqueue_unique('täsk', %s, %s)", Jsonb(args), Jsonb({"by": by, "for": "1h", "until": "started"})
    )
    assert (key["name"], key["expires_ms"], key["until"]) == (rule.name, rule.expires_ms, rule.until)


@pytest.mark.parametrize("name", ["invoice 17", 'é "quoted" \\ \n', "😀"])
def test_an_idempotency_key_is_the_one_that_python_makes(name: str, caller: Caller) -> None:
    key = caller.value("SELECT {}.enqueue_once('täsk', %s, '\"2h\"')", Jsonb(name))
    assert key["name"] == idempotency("täsk", name, "2h").name


def test_python_and_sql_share_idempotency_keys(app: Mainspring, caller: Caller) -> None:
    ours = caller.enqueue("add", {"a": 1}, idempotency_key="k")
    theirs = app.tasks["add"].using(idempotency_key="k").enqueue(2)
    assert (theirs.id, theirs.existed) == (ours, True)
    assert caller.enqueue("add", {"a": 3}, idempotency_key="k") == ours
    assert caller.enqueue("call", {"a": 3}, idempotency_key="k") != ours
    assert app.jobs.count() == 2


def test_python_and_sql_share_unique_jobs(app: Mainspring, caller: Caller) -> None:
    add = app.tasks["add"]
    theirs = add.using(unique=Unique(by=("a",))).enqueue(1)
    assert caller.enqueue("add", {"a": 1, "b": 9}, unique={"by": ["a"]}) == theirs.id
    with pytest.raises(psycopg.errors.UniqueViolation, match=f"job {theirs.id} holds the key") as refused:
        caller.enqueue("add", {"a": 1}, unique={"by": ["a"], "on_conflict": "reject"})
    assert "cancel it" in (refused.value.diag.message_hint or "")
    ours = caller.enqueue("add", {"a": 2}, unique={"by": ["a"]})
    with pytest.raises(DuplicateJob):
        add.using(unique=Unique(by=("a",), on_conflict="reject")).enqueue(2)
    app.jobs.get(ours).cancel()
    assert caller.enqueue("add", {"a": 2}, unique={"by": ["a"]}) != ours


def test_a_waiting_job_is_replaced_and_a_running_one_is_not(app: Mainspring, caller: Caller) -> None:
    rule = {"by": ["a"], "on_conflict": "replace"}
    first = caller.enqueue("add", {"a": 1, "b": 1}, unique=rule)
    again = caller.enqueue("add", {"a": 1, "b": 2}, unique=rule, delay="1h", priority=2, timeout="5s")
    assert again == first
    row = caller.row(first)
    assert (row["args"], row["priority"], row["state"]) == ({"a": 1, "b": 2}, 2, "scheduled")
    assert row["options"].timeout_ms == 5000
    caller.rows("UPDATE {}.jobs SET state = 'running', worker = 'w'")
    assert caller.enqueue("add", {"a": 1, "b": 3}, unique=rule) == first
    assert caller.row(first)["args"] == {"a": 1, "b": 2}


def test_who_takes_anothers_place_brings_its_own(app: Mainspring, caller: Caller) -> None:
    """As from Python: queue, partition and cost are the new ones, and what was saved is forgotten."""
    app.queues.set_limits("full", max_queued=1)
    caller.enqueue("add", {"a": 2}, queue="full")
    options = {"unique": {"by": ["a"], "until": "settled", "on_conflict": "replace"}}
    first = caller.enqueue("add", {"a": 1}, **options, queue="s", partition="p")
    caller.rows("UPDATE {}.jobs SET checkpoint = '1'")
    caller.rows("INSERT INTO {}.keys (name, job, until) VALUES ('sequence:s:\"p\"', %s, 'resolved')", first)
    with pytest.raises(psycopg.errors.ConfigurationLimitExceeded):
        caller.enqueue("add", {"a": 1}, **options, queue="full", partition="")
    row = caller.row(first)
    assert (row["queue"], row["partition"], row["cost"], row["checkpoint"]) == ("s", "p", 1, "1")
    assert caller.enqueue("add", {"a": 1}, **options, queue="t", partition="q", cost=3) == first
    row = caller.row(first)
    assert (row["queue"], row["partition"], row["cost"], row["checkpoint"]) == ("t", "q", 3, None)
    assert caller.rows("SELECT name FROM {}.keys WHERE name LIKE 'sequence%%'") == []
    assert {("s", "p"), ("t", "q")} <= {
        tuple(place) for place in caller.rows("SELECT queue, partition FROM {}.arrivals")
    }


def test_a_key_whose_time_is_over_or_whose_job_is_gone_is_free(caller: Caller) -> None:
    first = caller.enqueue("add", {"a": 1}, idempotency_key="k", unique={"by": ["a"], "until": "started"})
    caller.rows("UPDATE {}.keys SET expires_at = 1 WHERE until = 'expiry'")
    assert caller.enqueue("add", {"a": 1}, idempotency_key="k", unique={"by": ["a"], "until": "started"}) == first
    caller.rows("UPDATE {}.jobs SET state = 'running', worker = 'w'")
    assert caller.enqueue("add", {"a": 1}, idempotency_key="k", unique={"by": ["a"], "until": "started"}) != first


def test_two_sessions_with_one_key_make_one_job(caller: Caller, postgres: str, schema: str) -> None:
    ids: list[str] = []

    def enqueue() -> None:
        with psycopg.connect(postgres, autocommit=True) as other:
            ids.append(Caller(other, schema).enqueue("add", {"a": 2}, idempotency_key="k"))

    thread = threading.Thread(target=enqueue)
    with caller.connection.transaction():
        ids.append(caller.enqueue("add", {"a": 1}, idempotency_key="k"))
        thread.start()
        while not waits_for_a_lock(caller):
            assert thread.is_alive()
    thread.join()
    assert len(ids) == 2
    assert len(set(ids)) == 1


def waits_for_a_lock(caller: Caller) -> bool:
    text = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"
    with psycopg.connect(caller.connection.info.dsn) as other:
        row = other.execute(text).fetchone()
    return row is not None and row[0] > 0


def test_a_job_whose_id_is_there_is_not_stored_again(app: Mainspring, caller: Caller) -> None:
    assert caller.enqueue("add", {"a": 1}, id="mine") == "mine"
    assert caller.enqueue("add", {"a": 2}, id="mine") == "mine"
    app.jobs.get("mine").cancel()
    assert caller.enqueue("add", {"a": 3}, id="mine") == "mine"
    assert (app.jobs.count(), app.jobs.get("mine").state) == (1, "cancelled")


# --- limits ----------------------------------------------------------------------------------------------------------


def test_a_full_queue_takes_no_more(app: Mainspring, caller: Caller) -> None:
    app.queues.set_limits("small", max_queued=3)
    caller.enqueue("add", {"a": 1}, queue="small", idempotency_key="k")
    caller.enqueue("add", {"a": 1}, queue="small", delay="1h")
    app.tasks["add"].using(queue="small").enqueue(1)
    with pytest.raises(
        psycopg.errors.ConfigurationLimitExceeded, match="queue 'small' is full: 3 jobs wait"
    ) as refused:
        caller.enqueue("add", {"a": 1}, queue="small")
    assert "max_queued" in (refused.value.diag.message_hint or "")
    with pytest.raises(QueueFull):
        app.tasks["add"].using(queue="small").enqueue(1)
    # What is there already needs no room.
    assert caller.enqueue("add", {"a": 1}, queue="small", idempotency_key="k")


@pytest.mark.parametrize("partition", ["x", ""])
def test_a_full_partition_takes_no_more(partition: str, app: Mainspring, caller: Caller) -> None:
    caller.rows("INSERT INTO {}.queues (name, each_defined, partitioned) VALUES ('api', '{{\"max_queued\": 2}}', true)")
    caller.enqueue("add", {"a": 1}, queue="api", partition=partition)
    caller.enqueue("add", {"a": 1}, queue="api", partition=partition, delay="1h")
    with pytest.raises(
        psycopg.errors.ConfigurationLimitExceeded, match=f"partition '{partition}' of queue 'api' is full"
    ):
        caller.enqueue("add", {"a": 1}, queue="api", partition=partition)
    caller.enqueue("add", {"a": 1}, queue="api", partition="other")


def test_who_fills_a_queue_at_the_same_time_waits_for_the_other(
    app: Mainspring, caller: Caller, postgres: str, schema: str
) -> None:
    app.queues.set_limits("small", max_queued=1)
    refused: list[psycopg.Error] = []

    def enqueue() -> None:
        with psycopg.connect(postgres, autocommit=True) as other:
            try:
                Caller(other, schema).enqueue("add", queue="small")
            except psycopg.Error as error:
                refused.append(error)

    thread = threading.Thread(target=enqueue)
    with caller.connection.transaction():
        caller.enqueue("add", queue="small")
        thread.start()
        while not waits_for_a_lock(caller):
            assert thread.is_alive()
    thread.join()
    assert [error.sqlstate for error in refused] == ["53400"]


def test_room_cannot_be_counted_where_others_are_not_seen(app: Mainspring, caller: Caller) -> None:
    app.queues.set_limits("small", max_queued=1)
    caller.connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    with caller.connection.transaction():
        caller.enqueue("add")
    with (
        pytest.raises(psycopg.errors.FeatureNotSupported, match="does not see what others add"),
        caller.connection.transaction(),
    ):
        caller.enqueue("add", queue="small")


def test_a_partition_that_only_the_program_knows_must_be_said(app: Mainspring, caller: Caller) -> None:
    app.tasks["call"].enqueue("acme")
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="queue 'api' is partitioned") as refused:
        caller.enqueue("call", {"tenant": "acme"}, queue="api")
    assert '{"partition": "acme"}' in (refused.value.diag.message_hint or "")
    assert app.jobs.get(caller.enqueue("call", {"tenant": "acme"}, queue="api", partition="acme")).partition == "acme"
    assert app.jobs.get(caller.enqueue("call", {"tenant": "acme"}, queue="api", partition="")).partition == ""


async def test_a_timeout_holds_for_a_plain_function_too(app: Mainspring, caller: Caller) -> None:
    @app.task(retry=1)
    def plain() -> None:
        while True:
            time.sleep(0.01)

    async with app, working(app):
        job = app.jobs.get(caller.enqueue("plain", timeout="200ms"))
        await ended(job)
    assert job.state == "dead"
    assert job.error is not None
    assert job.error.type == "JobTimeout"


# --- the guide -------------------------------------------------------------------------------------------------------


def test_the_sql_in_the_guide_runs(app: Mainspring, caller: Caller, schema: str) -> None:
    """Also as the role that it makes, which has no more than the guide gives it."""
    page = Path(__file__).resolve().parents[2] / "docs" / "postgres.md"
    blocks = re.findall(r"^```sql\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    with caller.connection.transaction(force_rollback=True):
        caller.connection.execute("SELECT set_config('search_path', %s, true)", [schema])
        for block in blocks:
            text = re.sub(r"(?<=SCHEMA )mainspring\b|\bmainspring(?=\.)", schema, block)
            caller.connection.execute(text)
        assert caller.rows("SELECT task, args FROM {}.jobs WHERE task = 'confirm_order'")[0][1] == '{"order_id": 17}'
        caller.rows("SET LOCAL ROLE web")
        caller.enqueue("add", {"a": 1}, idempotency_key="k", unique={"by": ["a"]}, queue="api", partition="x")
        for options in ({"id": "mine"}, {"unique": {"by": ["a"], "on_conflict": "replace"}}):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), caller.connection.transaction():
                caller.enqueue("add", {"a": 1}, **options)
