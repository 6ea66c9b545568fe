"""What PostgreSQL does for each statement beside a backlog of 1,000,000 jobs: its plans, and the pages that it reads.

Operations are performed for real, each in a transaction that is taken back. Each statement on their way is explained
first, once as it is planned for its parameters and once as it is planned for any (what is prepared comes to that).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
from psycopg import sql

from mainspring.model.audit import AuditEntry
from mainspring.model.job import Conflict, Edge, Key, NewJob, Note, Policy, Until
from mainspring.model.limits import Limits, Rate
from mainspring.model.settlement import Settlement
from mainspring.model.states import FINAL, State
from mainspring.model.stats import MINUTE_MS, Cell, Report
from mainspring.store.base import (
    AlterRequest,
    BeatRequest,
    Bookmark,
    Callback,
    ClaimRequest,
    Command,
    CommandWorker,
    ConfigureRequest,
    CountRequest,
    DefineQueue,
    DefineTask,
    Filter,
    FindRequest,
    InsertRequest,
    LimitPartition,
    LimitQueue,
    LimitTask,
    NewFlow,
    NoteRequest,
    PauseQueue,
    PauseSchedule,
    PruneRequest,
    PutSchedule,
    ReapRequest,
    RemoveSchedule,
    Request,
    Room,
    SettleRequest,
    Tick,
    Verb,
    Window,
    start,
)
from mainspring.store.postgres import PostgresStore
from mainspring.store.postgres.dialect import PostgresDialect
from mainspring.store.sql.selections import SCANNED_AT_ONCE
from mainspring.store.sql.statements import CLOCK, READ, WRITE, Row, Statement

from .conformance.scene import T0, lines, presence

pytestmark = pytest.mark.timeout(600)

BATCH = 100
"""How many jobs a request of these tests is about."""
SORTED_AT_MOST = 20 * BATCH
"""What may be sorted is a batch, what hangs on it, or a thousand due jobs; never the backlog."""
PAGES_AT_MOST = 150
"""Of 8 KiB, for each job that a statement gives or changes, all its indexes included; a hundred jobs are always allowed
for. Those that are queued take up 30,000, and as many in their indexes."""

EXEMPT = {
    **dict.fromkeys(("set_savepoint", "release_savepoint", "back_to_savepoint"), "reads nothing"),
    "whereabouts": "reads the catalogue",
    "begin": "reads nothing",
    "begin_reading": "reads nothing",
    "commit": "reads nothing",
    "clock": "reads nothing",
    "notify": "reads nothing",
    "schema_version": "a row per migration",
    "settle_and_claim_plain": "calls two functions, which come by one at a time",
}
"""Statements that need not come by here, and why."""

WALKS = {"count": "an exact number is counted"}
"""What may walk over all jobs, and why. What is put together (`Query`) has the name of its operation."""

LARGE = {
    "gate_running": "all running jobs of a task, once: when it gets a gate",
    "trim_log": "the log of one job, which is kept to a number of lines",
    "orphans": "the worker of all that runs, which is as many as the workers have room for",
    "wake_queue": "all partitions of a queue whose limits have changed",
}
"""What is about more than a batch, and why; it must not walk over all jobs all the same."""

SIFTED = 5 * SCANNED_AT_ONCE
"""The pages of a selection: so many entries of an index for each state, and rows that vacuum has not come by at yet."""


@pytest.fixture(scope="module")
def filled(postgres: str) -> Iterator[Explainer]:
    schema = f"plans_{os.getpid()}"
    store = PostgresStore(f"{postgres}{'&' if '?' in postgres else '?'}schema={schema}")
    store.migrate()
    with psycopg.connect(postgres, autocommit=True) as connection:
        fill(connection, schema)
        yield Explainer(store, connection, PostgresDialect(schema), large(connection, schema))
        connection.execute(f'DROP SCHEMA "{schema}" CASCADE')


def fill(connection: psycopg.Connection[Row], schema: str) -> None:
    """Put the backlog into an empty schema: rows first and indexes afterwards, which is much faster."""
    connection.execute("SET synchronous_commit = off")
    connection.execute("SET maintenance_work_mem = '256MB'")
    indexes = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes JOIN pg_class ON relname = indexname "
        "JOIN pg_namespace ON pg_namespace.oid = relnamespace AND nspname = schemaname "
        "WHERE schemaname = %s AND tablename = 'jobs' AND indexname NOT LIKE '%%_pkey'",
        [schema],
    ).fetchall()
    for name, _ in indexes:
        connection.execute(f'DROP INDEX "{schema}"."{name}"')
    text = Path(__file__).with_name("backlog.sql").read_text(encoding="utf-8").replace(":t0", str(T0))
    connection.execute(PostgresDialect(schema).adapted(text))
    for _, definition in indexes:
        connection.execute(definition)
    for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema]).fetchall():
        connection.execute(f'VACUUM (ANALYZE) "{schema}"."{name}"')
    connection.execute("RESET maintenance_work_mem")


def large(connection: psycopg.Connection[Row], schema: str) -> frozenset[str]:
    """The tables of jobs, and parts of such, with more than a few of them."""
    rows = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = %s::text::regnamespace AND relkind = 'r' AND relpages > 100 "
        "AND (relname IN ('jobs', 'audit') OR relname LIKE 'finished%%')",
        [schema],
    )
    return frozenset(row[0] for row in rows)


@dataclass(frozen=True)
class Node:
    """One node of a plan that was carried out."""

    kind: str
    table: str
    rows: float
    """That came out of it, in all its turns."""
    rows_below: float
    """That went into it."""
    pages: int


@dataclass(frozen=True)
class Plan:
    """How one statement was carried out."""

    name: str
    mode: str
    nodes: tuple[Node, ...]
    large: frozenset[str]
    """The tables that no statement may walk over."""

    @property
    def pages(self) -> int:
        """All that were looked at."""
        return self.nodes[0].pages

    def faults(self) -> Iterator[str]:
        """What must not be."""
        if self.name in WALKS:
            return
        for node in self.nodes:
            if node.kind == "Seq Scan" and node.table in self.large:
                yield f"{self.name} ({self.mode}) walks all of {node.table}"
            if "Sort" in node.kind and node.rows_below > SORTED_AT_MOST and self.name not in LARGE:
                yield f"{self.name} ({self.mode}) sorts {node.rows_below:.0f} rows"
        if self.pages > self._pages_at_most() and self.name not in LARGE:
            yield f"{self.name} ({self.mode}) looks at {self.pages} pages"

    def _pages_at_most(self) -> float:
        jobs = [node.rows for node in self.nodes if node is self.nodes[0] or node.kind == "ModifyTable"]
        return SIFTED if self.name in ("find", "alter") else PAGES_AT_MOST * max(BATCH, *jobs)


@dataclass
class Explainer:
    """Performs requests, looks at how, and takes all of it back."""

    store: PostgresStore
    connection: psycopg.Connection[Row]
    dialect: PostgresDialect
    large: frozenset[str]
    seen: set[str] = field(default_factory=set)
    """The names of the statements that came by."""

    def plans(self, *requests: Request[Any] | str) -> list[Plan]:
        """The plans of all statements of these requests, one after the other in one transaction; a text among them is
        just executed."""
        plans: list[Plan] = []
        with self.connection.transaction(force_rollback=True):
            for request in requests:
                if isinstance(request, str):
                    self.connection.execute(self.dialect.adapted(request))
                    continue
                operation, rows = start(self.store, request), None
                try:
                    while True:
                        step = operation.send(rows)
                        rows = [(T0,)] if step is CLOCK else []
                        if step not in (READ, WRITE, CLOCK) and (text := self.dialect.text(step)):
                            name = step.name if isinstance(step, Statement) else request.operation
                            self.seen.add(name)
                            # What a driver adds (a hint) is left out: nobody listens.
                            given = dict.fromkeys(re.findall(r"%\((\w+)\)s", text)) | dict(step.parameters)
                            plans += self._explained(name, text, given)
                            cursor = self.connection.execute(text, given or None)
                            rows = cursor.fetchall() if cursor.description else []
                except StopIteration:
                    pass
        return plans

    def _explained(self, name: str, text: str, parameters: Mapping[str, Any]) -> Iterator[Plan]:
        for mode in ("force_custom_plan", "force_generic_plan"):
            with self.connection.transaction(force_rollback=True):
                self.connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
                values = self._prepare(text, parameters)
                call = sql.SQL("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) EXECUTE explained")
                if values:
                    call += sql.SQL(" ({})").format(sql.SQL(", ").join(map(sql.Literal, values)))
                row = self.connection.execute(call).fetchone()
                assert row is not None
                yield Plan(name, mode, tuple(nodes(row[0][0]["Plan"])), self.large)
            self.connection.execute("DEALLOCATE explained")

    def _prepare(self, text: str, parameters: Mapping[str, Any]) -> list[Any]:
        """Prepare a statement as the driver does; gives the values of its parameters in their order."""
        order: dict[str, int] = {}

        def number(found: re.Match[str]) -> str:
            return "%" if found[0] == "%%" else f"${order.setdefault(found[1], len(order) + 1)}"

        text = re.sub(r"%%|%\((\w+)\)s", number, text)
        values = [parameters[name] for name in order]
        types = f"({', '.join(map(type_of, values))})" if values else ""
        self.connection.execute(f"PREPARE explained {types} AS {text}")
        return values


def type_of(value: object) -> str:
    """What psycopg says a parameter is."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "smallint" if abs(value) < 2**15 else "integer" if abs(value) < 2**31 else "bigint"
    return "double precision" if isinstance(value, float) else "unknown"


def nodes(plan: Mapping[str, Any]) -> Iterator[Node]:
    """A node of a plan and all below it."""
    below: Sequence[Mapping[str, Any]] = plan.get("Plans", ())
    own = [each for each in below if each.get("Parent Relationship") not in ("InitPlan", "SubPlan")]
    yield Node(
        plan["Node Type"],
        plan.get("Relation Name", ""),
        plan["Actual Rows"] * plan["Actual Loops"],
        sum(each["Actual Rows"] * each["Actual Loops"] for each in own),
        plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
    )
    for each in below:
        yield from nodes(each)


# --- all that is asked of a store ------------------------------------------------------------------------------------


PHASES: tuple[Literal["join", "stay", "look", "leave"], ...] = ("join", "stay", "look", "leave")
FILTERS = (
    Filter(),
    Filter(queue="bulk"),
    Filter(task="nobody's", states=(State.QUEUED,)),
    Filter(states=(State.DEAD, State.CANCELLED)),
    Filter(queue="parted", partition="p1"),
    Filter(flow="flow 3"),
    Filter(since=T0 - 100_000, until=T0),
    Filter(text="nowhere to be found"),
    Filter(tag="nobody's", queue="bulk"),
)


def named(kind: str, first: int = 1, count: int = BATCH) -> tuple[str, ...]:
    """The ids of jobs of one kind, as backlog.sql has them."""
    width = {"bulk": 31, "parted": 29, "gated": 30, "lanes": 30, "done": 31}.get(kind, 1)
    return tuple(f"{kind} {n:0{width}}" for n in range(first, first + count))


def held(number: int, conflict: Conflict = Conflict.EXISTING) -> NewJob:
    key = Key(f"key {number}", Until.SETTLED, 1000, conflict)
    return NewJob(f"new {number}", "task 1", keys=(key,), delay_ms=1)


def ended(state: State, **changes: Any) -> tuple[Settlement, ...]:
    """Settlements of jobs that run; half of them have children."""
    return tuple(Settlement(id, 1, state, 1, 0, 0, "[]", **changes) for id in named("busy"))


CELLS = tuple(Cell(T0 // MINUTE_MS * MINUTE_MS, "bulk", f"task {n}", {"started": 1}) for n in range(BATCH))
ROOMS = ("bulk", "parted", "gated", "lanes", "sequence", "children", "nobody's")
QUEUES = tuple(Room(name, BATCH) for name in ROOMS)
NOTES = tuple(Note(id, 1, 50.0, "half", lines("a", "b"), pieces=("c", "d"), kept_from=1) for id in named("busy"))
PLAIN = tuple(NewJob(f"new {n}", "task 1") for n in range(BATCH))
PLACED = tuple(NewJob(f"new {n}", "task 1", ("parted", "full")[n % 2], partition=f"p{n % 10}") for n in range(BATCH))
LEAVES = tuple(NewJob(f"leaf {n}", "t", flow="flow 3", parents=(Edge(f"busy {n + 1}"),)) for n in range(BATCH))
BELOW = tuple(
    NewJob(f"leaf {n}", "t", parents=(Edge(id, sorted(Policy)[n % 4], True),)) for n, id in enumerate(named("done"))
)
OF_FLOW = tuple(replace(leaf, flow="new") for leaf in LEAVES)
FLOWS = (NewFlow("new", "new", "flow 3", (Callback("all", Policy.RUN),)),)
EVERYTHING = frozenset({"queues", "schedules", "due", "workers", "tasks", "partitions", "audit"})
AUDITED = AuditEntry("audit 1", "ada", "jobs.retry", "state=dead", "{}", 1)
VALUES = {Verb.RESCHEDULE: T0 + 5, Verb.REPRIORITISE: 1}
TICKS = (Tick("schedule -9", T0 - 9, T0 + 1, (NewJob("tick", "task 1"),)),)
CHANGES = (
    DefineQueue("bulk", concurrency=5, each=Limits(concurrency=1), partitions=(("p1", Limits(concurrency=2)),)),
    DefineQueue("parted", max_queued=5),
    DefineTask("task 1", concurrency=5000),
    LimitQueue("parted", concurrency=7),
    LimitPartition("parted", None, concurrency=3),
    LimitPartition("parted", "p1", concurrency=3),
    LimitTask("limited", concurrency=7),
    PauseQueue("parted", True),
    PauseQueue("parted", False),
    PauseQueue("parted", True, "p1"),
    PauseQueue("parted", False, "p1"),
    PutSchedule("new", "task 1", "{}", T0),
    PauseSchedule("new", True),
    RemoveSchedule("new"),
    CommandWorker("worker 1", Command.QUIET),
)

PLAINLY = "DELETE FROM mainspring_tasks; DELETE FROM mainspring_arrivals; DELETE FROM mainspring_partitions"
"""Where no task has a gate, and no queue partitions, claims and inserts take a shorter way."""

REQUESTS: dict[str, Sequence[Request[Any] | str]] = {
    "claim plainly": [PLAINLY, ClaimRequest("worker 1", (Room("bulk", BATCH), Room("nobody's", BATCH)), BATCH, now=T0)],
    "claim under a limit, else plainly": [
        PLAINLY,
        "UPDATE mainspring_queues SET defined = '{\"concurrency\": 1000}' WHERE name = 'bulk'",
        ClaimRequest("worker 1", (Room("bulk", BATCH),), BATCH, now=T0),
    ],
    "insert plainly": [PLAINLY, InsertRequest(PLAIN, now=T0)],
    "insert one": [InsertRequest((NewJob("new", "task 1", "bulk"),), fresh=True, now=T0)],
    "insert one where others have partitions": [InsertRequest((NewJob("new", "task 1", "parted"),), fresh=True)],
    "insert one, hear of its queue": [PLAINLY, InsertRequest((NewJob("new", "task 1", "new"),), fresh=True, now=T0)],
    "settle plainly": [PLAINLY, SettleRequest(ended(State.COMPLETED, result="1"), now=T0)],
    **{f"claim from {name}": [ClaimRequest("worker 1", (Room(name, BATCH),), BATCH, now=T0)] for name in ROOMS},
    "claim what is due": [ClaimRequest("worker 1", (Room("due", BATCH),), BATCH, now=T0)],
    "claim from all": [ClaimRequest("worker 1", QUEUES, BATCH, now=T0)],
    "claim under a limit": [ClaimRequest("worker 1", (Room("busy", BATCH),), BATCH, now=T0)],
    "claim again": [ClaimRequest("worker 1", QUEUES, BATCH, frozenset(named("busy")), now=T0)],
    "claim by time": [ClaimRequest("worker 1", (Room("idle", BATCH),), BATCH, now=T0 + 2000)],
    "claim by rates": [
        ConfigureRequest(
            (DefineTask("slow", rates=(Rate(1, "1h"),)), DefineQueue("idle", rates=(Rate(5, "1h"),))), now=T0
        ),
        "UPDATE mainspring_partitions SET queue = 'parted', name = 'q' || name WHERE queue = 'idle'",
        ClaimRequest("worker 1", (Room("parted", BATCH), Room("lanes", BATCH)), BATCH, now=T0 + 20),
    ],
    "claim what nothing is left of": [ClaimRequest("worker 1", (Room("lanes", BATCH),), BATCH, now=T0)] * 3,
    "claim under limits of partitions": [
        ConfigureRequest((DefineQueue("parted", each=Limits(concurrency=2)),), now=T0),
        ClaimRequest("worker 1", (Room("parted", BATCH),), BATCH, now=T0),
    ],
    "claim from a queue that was new": [
        "DELETE FROM mainspring_queues WHERE name = 'gated'",
        ClaimRequest("worker 1", (Room("gated", BATCH),), BATCH, now=T0),
    ],
    "claim with gates that were new": [
        ConfigureRequest((DefineTask("task 1", concurrency=5000),), now=T0),
        ClaimRequest("worker 1", QUEUES, BATCH, now=T0),
    ],
    "insert": [InsertRequest(PLAIN, now=T0)],
    "insert with delays": [InsertRequest(tuple(held(n) for n in range(20001, 20101)), now=T0)],
    "insert into partitions": [InsertRequest(PLACED, now=T0)],
    "insert where there is no room": [InsertRequest((NewJob("new", "t", "few"),), now=T0)],
    "insert with keys": [InsertRequest(tuple(held(n) for n in range(1, 101)), now=T0)],
    "insert instead of others": [InsertRequest(tuple(held(n, Conflict.REPLACE) for n in range(1, 101)), now=T0)],
    "insert what is there": [InsertRequest(tuple(NewJob(id, "t") for id in (*named("done"), *named("bulk"))), now=T0)],
    "insert ticks": [InsertRequest(ticks=TICKS, now=T0)],
    "insert children": [InsertRequest(LEAVES, now=T0)],
    "insert children of ended ones": [InsertRequest(BELOW, now=T0)],
    "insert a flow": [InsertRequest((NewJob("all", "t"), *OF_FLOW), flows=FLOWS, now=T0)],
    "settle": [SettleRequest(ended(State.COMPLETED, result="1"), now=T0)],
    "settle dead ones": [SettleRequest(ended(State.DEAD, reason="why"), now=T0)],
    "settle with notes": [SettleRequest(ended(State.COMPLETED), NOTES, now=T0)],
    "settle with follow-ups": [SettleRequest(ended(State.COMPLETED, follow_ups=PLAIN)[:1], now=T0)],
    "give back": [SettleRequest(ended(State.SCHEDULED, delay_ms=1000), now=T0)],
    "give back to closed gates": [SettleRequest(ended(State.SCHEDULED, delay_ms=1000, closed_ms=1000), now=T0)],
    "give back to closed gates of partitions and tasks": [
        ConfigureRequest(
            (DefineTask("task 1", rates=(Rate(5, "1h"),)), DefineQueue("parted", each=Limits(rate="5/1h"))), now=T0
        ),
        "UPDATE mainspring_jobs SET partition = 'p1', queue = 'parted' WHERE id = 'busy 7'",
        SettleRequest(ended(State.SCHEDULED, delay_ms=1000, closed_ms=1000), now=T0),
    ],
    "note": [NoteRequest(NOTES, now=T0)],
    "beat": [BeatRequest(presence(name), phase, now=T0) for name in ("worker 1", "new") for phase in PHASES],
    "report": [BeatRequest(presence("worker 1"), "stay", (Report("life", 1, CELLS),), now=T0)],
    "count what happened": [
        CountRequest(filter, Window(span_ms, MINUTE_MS), now=T0)
        for filter in (Filter(), Filter(queue="bulk"), Filter(queue="bulk", task="task 1"))
        for span_ms in (MINUTE_MS, 5 * MINUTE_MS)
    ],
    "roll up": [PruneRequest({}, BATCH, stats=True, now=T0)],
    "roll up what was folded in before": [
        "DELETE FROM mainspring_counted",
        PruneRequest({}, BATCH, stats=True, now=T0),
    ],
    "reap": [ReapRequest("worker 1", BATCH, now=T0)],
    "reap nothing": [ReapRequest("worker 1", BATCH, now=T0 - 60_000)],
    **{
        f"{verb} some": [
            AlterRequest(verb, Filter(ids=(*named(kind), *named("done", 200001))), VALUES.get(verb), "why", now=T0)
            for kind in ("bulk", "later", "child", "busy", "parted")
        ]
        for verb in Verb
    },
    **{
        f"{verb} a batch": [AlterRequest(verb, filter, VALUES.get(verb), limit=BATCH, now=T0) for filter in FILTERS]
        for verb in Verb
    },
    "revive what was felled": [AlterRequest(Verb.REVIVE, Filter(ids=named("done", 20001)), now=T0)],
    "prune the last of a flow": [
        "INSERT INTO mainspring_flows (id, name, parent, created_at) VALUES ('empty', 'nightly', 'flow 1', 0)",
        PruneRequest(dict.fromkeys(sorted(FINAL), 0), BATCH, now=T0 + 1),
    ],
    "prune": [PruneRequest(dict.fromkeys(sorted(FINAL), 0), BATCH, keep_audit_ms=0, now=T0 + 1)],
    "find": [
        FindRequest(filter, with_log=True, with_parents=True, now=T0)
        for filter in (*FILTERS, Filter(ids=(*named("bulk"), *named("done"))))
    ],
    "find what is beyond bookmarks": [
        FindRequest(Filter(ids=named("busy")), with_log=True, bookmarks=tuple(map(Bookmark, named("busy"))), now=T0)
    ],
    "find stamps": [FindRequest(Filter(ids=(*named("busy"), *named("done"))), stamps=True, now=T0)],
    "find briefly": [FindRequest(Filter(), BATCH, brief=True), FindRequest(Filter(states=(State.DEAD,)), brief=True)],
    "find the next page": [FindRequest(Filter(), 50, f"mainspring_jobs:{T0 - 1000}:bulk", now=T0)],
    "find old ones": [FindRequest(Filter(), 50, f"mainspring_finished:{T0 - 900_000}:done", now=T0)],
    "find flows": [FindRequest(Filter(), flows=True, now=T0), FindRequest(Filter(flow="flow 3"), flows=True, now=T0)],
    "count": [CountRequest(filter, now=T0) for filter in (*FILTERS, Filter(ids=named("bulk")))],
    "count quickly": [
        CountRequest(Filter(), each=1000, now=T0),
        CountRequest(Filter(queue="bulk"), each=1000, now=T0),
        *(
            CountRequest(Filter(), ahead_of=id, each=1000, now=T0)
            for id in (*named("bulk", 699_999, 1), *named("parted", 1, 1), *named("lanes", 9, 1))
        ),
        *(CountRequest(filter, most=10_000, now=T0) for filter in FILTERS),
    ],
    "configure": [ConfigureRequest(CHANGES, EVERYTHING, partition=("parted", "p9"), audit=AUDITED, now=T0)],
    "read the audit log": [ConfigureRequest(read=frozenset({"audit"}), limit=BATCH, before=(T0, "audit 1"), now=T0)],
}


@pytest.fixture(scope="module")
def plans(filled: Explainer) -> dict[str, list[Plan]]:
    """All plans of each of these requests."""
    return {name: filled.plans(*requests) for name, requests in REQUESTS.items()}


def faults(plans: Mapping[str, Sequence[Plan]], names: Collection[str]) -> list[str]:
    named = [(request, plan) for request, all in plans.items() for plan in all if plan.name in names]
    return sorted({f"{request}: {fault}" for request, plan in named for fault in plan.faults()})


@pytest.mark.fault("a million jobs", "postgres")
def test_no_statement_walks_or_sorts_the_backlog_or_the_history(
    plans: dict[str, list[Plan]], filled: Explainer
) -> None:
    """However a statement is planned, it looks at no more than its batch and what hangs on that."""
    assert faults(plans, filled.seen) == []


def test_every_statement_came_by(plans: dict[str, list[Plan]], filled: Explainer) -> None:
    """A new one goes into a request above, or to the exempt ones, with a reason."""
    names = {name for name in filled.dialect.names if filled.dialect.text(Statement(name))}
    assert sorted(names - filled.seen - EXEMPT.keys()) == []
    assert sorted(EXEMPT.keys() - names) == []


def pages(plans: Sequence[Plan], mode: str) -> int:
    return sum(plan.pages for plan in plans if mode in plan.mode)


@pytest.mark.parametrize("mode", ["custom", "generic"])
@pytest.mark.parametrize("name", ["insert one", "insert one where others have partitions"])
def test_one_job_looks_at_what_its_row_and_its_queue_are_on(plans: dict[str, list[Plan]], name: str, mode: str) -> None:
    """Neither the partitions of other queues nor the history count."""
    single = [plan for plan in plans[name] if plan.name == "insert_single"]
    assert pages(single, mode) <= 40
    assert not [node for plan in single for node in plan.nodes if node.kind == "Sort"]
    walked = {node.table for plan in single for node in plan.nodes if node.kind == "Seq Scan"}
    assert walked <= {"queues", "tasks"}, "tables of a few rows"


@pytest.mark.parametrize("mode", ["custom", "generic"])
@pytest.mark.fault("a million jobs", "postgres")
def test_a_claim_looks_at_as_many_pages_as_there_are_jobs_to_give(plans: dict[str, list[Plan]], mode: str) -> None:
    """Not at more because a million wait."""
    for name in ("claim plainly", "claim from parted", "claim from gated", "claim from lanes"):
        assert pages(plans[name], mode) < PAGES_AT_MOST * BATCH, name
    assert pages(plans["claim from nobody's"], mode) < BATCH


FROM_SQL = {
    "a plain job": {},
    "a job of the backlog's queue": {"queue": "bulk"},
    "a job for later": {"queue": "bulk", "delay": "1h"},
    "a job in a partition": {"queue": "parted", "partition": "p1"},
    "a job in no partition": {"queue": "parted", "partition": ""},
    "a job in a queue with room": {"queue": "few"},
    "a job with keys": {"idempotency_key": "k", "unique": {"by": ["a"]}, "id": "new"},
}


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("name", FROM_SQL)
def test_enqueuing_from_sql_looks_at_a_few_pages(name: str, mode: str, filled: Explainer) -> None:
    call = filled.dialect.adapted("SELECT mainspring_enqueue('task 1', '{\"a\": 1}', %s)")
    with filled.connection.transaction(force_rollback=True):
        filled.connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
        for _ in range(2):
            # What the first one in a session reads of the catalogue is none of the function's.
            explain = f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {call}"
            row = filled.connection.execute(explain, [json.dumps(FROM_SQL[name] | {"priority": 3})]).fetchone()
        assert row is not None
        (plan,) = nodes(row[0][0]["Plan"])
    assert plan.pages < 2 * PAGES_AT_MOST
