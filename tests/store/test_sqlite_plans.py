"""What SQLite does for each statement: its plans, and how many steps of its machine an operation takes. No clock.

No cost may grow with the backlog or the history, save what the lists of exceptions say.
"""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from mainspring.model.job import Claim, Conflict, Edge, Key, NewJob, Note, Policy
from mainspring.model.states import FINAL, State
from mainspring.store.base import (
    AlterRequest,
    BeatRequest,
    Bookmark,
    Callback,
    ClaimRequest,
    ConfigureRequest,
    CountRequest,
    Filter,
    FindRequest,
    InsertRequest,
    LimitQueue,
    NewFlow,
    NoteRequest,
    PruneRequest,
    ReapRequest,
    Request,
    Room,
    SettleRequest,
    Verb,
    start,
)
from mainspring.store.sql import selections
from mainspring.store.sql.statements import CLOCK, READ, WRITE
from mainspring.store.sqlite.connection import DIALECT

from .conformance.scene import T0, Scene, lines, presence, settlement
from .files import scene_at

LATER = 10**9


def grow(scene: Scene, size: int, mark: str) -> None:
    """Add `size` jobs that are queued, as many that are scheduled, and as many that are final; each of the latter two
    kinds with a child in a flow, which waits, or went down, or was released."""
    for begin in range(0, size, 5000):
        numbers = range(begin, min(begin + 5000, size))
        scene.insert(
            *(
                NewJob(
                    f"{mark} queued {n}",
                    f"task {n % 5}",
                    f"queue {n % 3}",
                    keys=(Key(f"{mark} {n}", expires_ms=LATER),),
                )
                for n in numbers
            )
        )
        later = (NewJob(f"{mark} later {n}", f"task {n % 5}", f"queue {n % 3}", delay_ms=LATER + n) for n in numbers)
        scene.insert(*later)
        scene.insert(*(NewJob(f"{mark} final {n}", f"task {n % 5}", "finish") for n in numbers))
        claims = scene.claim("worker", Room("finish", len(numbers)), limit=len(numbers))
        scene.settle(*(settlement(claim, sorted(FINAL)[n % 3]) for n, claim in enumerate(claims)))
        for kind in ("later", "final"):
            flow = f"{mark} {kind} {begin}"
            of_all = Callback(f"{flow} callback", Policy.RUN)
            parents = [(n, Edge(f"{mark} {kind} {n}", policy_of(n), wants_result=True)) for n in numbers]
            children = (NewJob(f"{mark} {kind} child {n}", "child", flow=flow, parents=(edge,)) for n, edge in parents)
            flows = NewFlow(f"{mark} flows", "flows"), NewFlow(flow, flow, f"{mark} flows", (of_all,))
            scene.insert(NewJob(of_all.job, "child"), *children, flows=flows)


def policy_of(number: int) -> Policy:
    return sorted(Policy)[number % 4]


@dataclass(frozen=True)
class Line:
    """One line of a plan, and the lines that it is part of."""

    text: str
    within: tuple[str, ...]


class Machine:
    """Performs requests on a connection of its own, looks at how, and takes all of it back."""

    def __init__(self, scene: Scene, raw: sqlite3.Connection) -> None:
        self.scene = scene
        self.raw = raw

    def explain(self, statement: str, parameters: dict[str, Any] | None = None) -> list[Line]:
        """The plan of one statement; what is not given is NULL, of which the planner knows nothing."""
        given = defaultdict(lambda: None, parameters or {})
        plan: dict[int, Line] = {}
        for id, parent, _, text in self.raw.execute(f"EXPLAIN QUERY PLAN {statement}", given):
            above = plan.get(parent)
            plan[id] = Line(text, (*above.within, above.text) if above else ())
        return list(plan.values())

    def plans(self, request: Request[Any]) -> list[Line]:
        """The plans of all statements of one request."""
        return self._perform(request, explained=True)

    def steps(self, request: Request[Any]) -> int:
        """How often the machine came by, while it performed one request; it does so in every turn of every loop."""
        count = 0

        def come_by() -> int:
            nonlocal count
            count += 1
            return 0

        self.raw.set_progress_handler(come_by, 1)
        try:
            self._perform(request)
        finally:
            self.raw.set_progress_handler(None, 1)
        return count

    def _perform(self, request: Request[Any], *, explained: bool = False) -> list[Line]:
        operation, rows, plans = start(self.scene.store, request), None, list[Line]()
        self.raw.execute("BEGIN")
        try:
            while True:
                statement = operation.send(rows)
                rows = []
                if statement is CLOCK:
                    rows = [(self.scene.now,)]
                elif statement not in (READ, WRITE) and (text := DIALECT.text(statement)):
                    if explained:
                        plans += self.explain(text, dict(statement.parameters))
                    rows = self.raw.execute(text, statement.parameters).fetchall()
        except StopIteration:
            return plans
        finally:
            self.raw.execute("ROLLBACK")


def machine_at(path: Path, size: int) -> Iterator[Machine]:
    scene = scene_at(path)
    scene.join()
    grow(scene, size, "first")
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        yield Machine(scene, raw)
    scene.driver.close()


# --- plans -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A store with 8,000 jobs of each kind: 24,000."""
    yield from machine_at(tmp_path_factory.mktemp("plans") / "jobs.db", 8000)


@pytest.fixture(params=["as SQLite guesses", "after ANALYZE"])
def machine(request: pytest.FixtureRequest, filled: Machine) -> Iterator[Machine]:
    """With and without statistics: a program that shares the file may have had them made."""
    if request.param == "after ANALYZE":
        filled.raw.execute("ANALYZE")
    yield filled
    if request.param == "after ANALYZE":
        # Statistics are in use until the schema is read again.
        filled.raw.executescript("DELETE FROM sqlite_stat1; ANALYZE sqlite_master;")


BACKLOGS = re.compile(
    # walks a table or an index from end to end
    r"SCAN (mainspring_(jobs|finished|log|keys|edges|flows|partitions|lanes|audit)|j|f|l|k|e|b|own|below)\b"
    r"|\(state=\?\)$"  # walks all jobs of one state
    r"|TEMP B-TREE|AUTOMATIC"  # sorts, or makes an index first
)

RUNNING = "SCAN mainspring_jobs USING INDEX mainspring_jobs_running"
EXCEPTIONS = {
    ("cancel_requests", RUNNING): "an index of running jobs alone: as long as what the workers have in hand",
    ("cancel_requests", "USE TEMP B-TREE FOR ORDER BY"): "sorts what is to be cancelled of one worker's jobs",
    ("unheld", RUNNING): "an index of running jobs alone",
    ("orphans", RUNNING): "an index of running jobs alone",
    ("forget_workers", RUNNING): "an index of running jobs alone",
    ("any_key", "SCAN mainspring_keys USING COVERING INDEX mainspring_keys_job"): "ends at the first row",
    ("list_workers", "USE TEMP B-TREE FOR ORDER BY"): "sorts as many rows as there are workers",
    ("any_partition", "SCAN mainspring_partitions"): "ends at the first row",
    ("any_lane", "SCAN mainspring_lanes USING COVERING INDEX mainspring_lanes_cost"): "ends at the first row",
    ("gate_running", RUNNING): "an index of running jobs alone",
    ("any_edge", "SCAN mainspring_edges USING COVERING INDEX mainspring_edges_parent"): "ends at the first row",
    ("parents_of", "USE TEMP B-TREE FOR ORDER BY"): "sorts the parents of the jobs that it is asked for",
    ("oldest_flows", "SCAN mainspring_flows USING COVERING INDEX mainspring_flows_page"): "in order, up to a limit",
    ("newest_audit", "SCAN mainspring_audit USING INDEX mainspring_audit_page"): "in order, up to a limit",
    ("flow_counts", "USE TEMP B-TREE FOR GROUP BY"): "exact, so it grows with the flows that it is asked for",
}
STATEMENTS = {name: text for name, text in DIALECT._texts.items() if text}


class TestStatements:
    """The statements in .sql files."""

    @pytest.mark.parametrize("name", sorted(STATEMENTS))
    def test_it_walks_no_backlog(self, machine: Machine, name: str) -> None:
        walks = {line.text for line in machine.explain(STATEMENTS[name]) if BACKLOGS.search(line.text)}
        assert walks == {text for statement, text in EXCEPTIONS if statement == name}

    def test_every_exception_is_of_a_statement_that_exists(self) -> None:
        assert {name for name, _ in EXCEPTIONS} <= STATEMENTS.keys()

    @pytest.mark.parametrize(
        ("table", "index"),
        [("mainspring_jobs", "mainspring_jobs_page"), ("mainspring_finished", "mainspring_finished_page")],
    )
    def test_a_walk_would_be_noticed(self, machine: Machine, table: str, index: str) -> None:
        for statement in (
            f"SELECT * FROM {table} WHERE task = :task",
            f"SELECT id FROM {table} INDEXED BY {index} WHERE state = :state AND queue = :queue",
            f"SELECT id FROM {table} WHERE id > :id ORDER BY run_at LIMIT 1",
        ):
            assert any(BACKLOGS.search(line.text) for line in machine.explain(statement)), statement


FILTERS = [
    *(
        Filter(states=states, queue=queue, task=task, since=since, until=until)
        for states, queue, task, (since, until) in product(
            [(), (State.QUEUED,), (State.QUEUED, State.DEAD)],
            [None, "queue 1"],
            [None, "task 1"],
            [(None, None), (T0, None), (T0, T0 + 1)],
        )
    ),
    Filter(partition="p"),
    Filter(partition="", queue="queue 1", states=(State.QUEUED,)),
]
CURSORS = [None, f"mainspring_jobs:{T0}:first queued 7", f"mainspring_finished:{T0}:first final 7"]
BY_ID = Filter(ids=("first queued 1", "first later 1", "first final 1", "nowhere"))
ALTERATIONS = {
    Verb.CANCEL: None,
    Verb.REVIVE: None,
    Verb.RESCHEDULE: T0 + 5,
    Verb.REPRIORITISE: 1,
    Verb.DELETE: None,
}

INDEX_RANGES = re.compile(
    r"SEARCH (mainspring_jobs|mainspring_finished|mainspring_log|[jf])\b.* USING "
    r"(INTEGER PRIMARY KEY \(rowid=\?\)|PRIMARY KEY \(job=\?\)"
    r"|INDEX sqlite_autoindex_mainspring_(jobs|finished)_1 \(id=\?\)"
    r"|COVERING INDEX mainspring_(jobs|finished)_page \(state=\?)"
)
FLOW_RANGES = re.compile(
    r"SEARCH mainspring_(jobs|finished) USING (COVERING )?INDEX mainspring_(jobs|finished)_flow \(flow=\? AND state=\?"
)
ROW_RANGES = re.compile(
    r"SEARCH (mainspring_jobs|mainspring_finished) USING INDEX mainspring_(jobs|finished)_page \(state=\?"
)
BY_QUEUE = re.compile(r"SEARCH (mainspring_jobs|n|j) USING .*\((queue=\?|rowid=\?)")
IDS = re.compile(r"\((id|rowid|job)=\?\)$")
TABLES = re.compile(r"(SCAN|SEARCH) (mainspring_(jobs|finished|log)|[jf])\b")


class TestSelections:
    """find, count and alter, whose statements are put together."""

    def reads_of(self, plans: list[Line]) -> list[str]:
        reads = [line.text for line in plans if TABLES.match(line.text)]
        assert reads
        return reads

    def test_a_page_is_read_in_the_order_of_an_index(self, machine: Machine) -> None:
        for filter, cursor in product(FILTERS, CURSORS):
            plans = machine.plans(FindRequest(filter, cursor=cursor))
            if cursor and "finished" in cursor and filter.states == (State.QUEUED,):
                assert plans == [], "that side holds none of these states"
                continue
            assert all(INDEX_RANGES.match(read) for read in self.reads_of(plans)), filter
            # Sorted is only what has come out of the ranges, each of which has a limit.
            inside = [line for line in plans if "TEMP B-TREE" in line.text and "CO-ROUTINE" in "".join(line.within)]
            assert inside == [], filter

    @pytest.mark.parametrize(
        "others", [{}, {"states": (State.QUEUED, State.DEAD)}, {"queue": "queue 1"}, {"until": T0}]
    )
    def test_what_only_a_row_can_tell_is_read_in_the_order_of_an_index(
        self, machine: Machine, others: dict[str, Any]
    ) -> None:
        for filter, cursor in product((Filter(text="a", **others), Filter(tag="a", **others)), CURSORS[:2]):
            for request in (FindRequest(filter, cursor=cursor), CountRequest(filter), CountRequest(filter, most=5)):
                reads = self.reads_of(machine.plans(request))
                assert all(ROW_RANGES.match(read) or INDEX_RANGES.match(read) for read in reads), request

    def test_a_quick_count_reads_by_queue_what_stands_by_queue(self, machine: Machine) -> None:
        plans = machine.plans(CountRequest(Filter(), each=10))
        by_queue = [read for read in self.reads_of(plans) if "queue=?" in read]
        assert len(by_queue) >= 4
        assert all(BY_QUEUE.match(read) or INDEX_RANGES.match(read) for read in self.reads_of(plans)), plans

    def test_what_is_ahead_of_a_job_is_read_in_the_order_in_which_it_is_served(self, machine: Machine) -> None:
        plans = machine.plans(CountRequest(Filter(), ahead_of="1", each=10))
        by_id, *others = self.reads_of(plans)
        assert by_id.endswith("(id=?)")
        assert len(others) == 5, plans
        place = "mainspring_jobs_queued (queue=? AND partition=?"
        turns = (
            ")",
            " AND gate>?)",
            *(
                f" AND gate=? AND {turn})"
                for turn in ("priority<?", "priority=? AND run_at<?", "priority=? AND run_at=? AND id<?")
            ),
        )
        assert sorted(read.split("INDEX ")[-1] for read in others) == sorted(f"{place}{turn}" for turn in turns)

    @pytest.mark.parametrize("verb", Verb)
    def test_an_alteration_walks_like_a_page(self, machine: Machine, verb: Verb) -> None:
        for filter in FILTERS:
            plans = machine.plans(AlterRequest(verb, filter, ALTERATIONS[verb], limit=5))
            reads = [line.text for line in plans if TABLES.match(line.text)]
            assert all(INDEX_RANGES.match(read) for read in reads), filter

    def test_a_count_reads_only_index_entries_of_the_states_that_it_counts(self, machine: Machine) -> None:
        """It is exact, so it grows with them; the planner may take the index of one state alone instead."""
        alone = re.compile(r"(SCAN|SEARCH) mainspring_jobs USING INDEX mainspring_jobs_(queued|scheduled|running)\b")
        oldest = "SEARCH mainspring_jobs USING INDEX mainspring_jobs_page (state=?)"
        for filter in FILTERS:
            for read in self.reads_of(machine.plans(CountRequest(filter))):
                assert INDEX_RANGES.match(read) or alone.match(read) or read == oldest, filter

    @pytest.mark.parametrize("states", [(), (State.QUEUED,), tuple(State)])
    def test_what_is_named_by_id_is_found_by_id(self, machine: Machine, states: tuple[State, ...]) -> None:
        by_id = Filter(BY_ID.ids, states)
        marks = tuple(map(Bookmark, by_id.ids))
        requests: list[Request[Any]] = [FindRequest(by_id, with_log=True, bookmarks=marks), CountRequest(by_id)]
        requests += [AlterRequest(verb, by_id, value) for verb, value in ALTERATIONS.items() if not states]
        for request in requests:
            for read in self.reads_of(machine.plans(request)):
                assert IDS.search(read), request

    @pytest.mark.parametrize("others", [{}, {"states": (State.BLOCKED,)}, {"queue": "default"}, {"until": T0}])
    @pytest.mark.parametrize("flow", ["first later 0", "first flows"])
    def test_a_flow_is_read_in_an_index_of_flows(self, machine: Machine, flow: str, others: dict[str, Any]) -> None:
        """Whose jobs stand in it in the order of pages; only those of several flows have to be sorted."""
        of_flow = Filter(flow=flow, **others)
        requests: list[Request[Any]] = [FindRequest(of_flow), CountRequest(of_flow)]
        requests += [AlterRequest(verb, of_flow, value, limit=5) for verb, value in ALTERATIONS.items()]
        for request in requests:
            plans = machine.plans(request)
            for read in (line.text for line in plans if TABLES.match(line.text)):
                assert FLOW_RANGES.match(read) or IDS.search(read) or "_edges" in read, request
            inside = [line for line in plans if "TEMP B-TREE" in line.text and "CO-ROUTINE" in "".join(line.within)]
            assert flow == "first flows" or isinstance(request, CountRequest) or inside == [], request


# --- steps -----------------------------------------------------------------------------------------------------------


SMALL, LARGE = 1_000, 50_000


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, int], dict[str, int]]]:
    """The steps that each operation takes, with 1,000 jobs queued, scheduled and finished, and with 50,000 of each."""
    with pytest.MonkeyPatch.context() as patch:
        # So that both stores have more to look through than one page or batch looks at.
        for name in ("SCANNED_AT_ONCE", "READ_AT_ONCE", "COUNTED_AT_ONCE", "COUNTED_BY_STATE"):
            patch.setattr(selections, name, SMALL // 10)
        for machine in machine_at(tmp_path_factory.mktemp("steps") / "jobs.db", SMALL):
            requests = prepared(machine.scene)
            small = {name: machine.steps(request) for name, request in requests.items()}
            grow(machine.scene, LARGE - SMALL, "second")
            large = {name: machine.steps(request) for name, request in requests.items()}
            yield small, large


def wanting(id: str, key: str) -> NewJob:
    return NewJob(id, "task", keys=(Key(key, on_conflict=Conflict.REPLACE), Key("one of many", seats=5)))


def prepared(scene: Scene) -> dict[str, Request[Any]]:
    """Each operation, on jobs and workers that are there for it."""
    now = scene.now
    scene.insert(*(NewJob(f"mine {n}", "task", "mine", delay_ms=0) for n in range(30)))
    claims = scene.claim("worker", Room("mine", 20), limit=20)
    scene.join("dead", lease_ms=1)
    scene.claim("dead", Room("mine", 5), limit=5)
    scene.insert(*(NewJob(f"due {n}", "task", "due", delay_ms=5) for n in range(50)))
    scene.configure(LimitQueue("limited", 1))
    follow_ups = (NewJob("follow-up", "task"),)
    ended = tuple(settlement(claim, follow_ups=follow_ups[: n == 0]) for n, claim in enumerate(claims))
    returned = tuple(settlement(claim, State.SCHEDULED, delay_ms=5) for claim in claims)
    notes = tuple(Note(claim.id, claim.lease, 50.0, "half", lines("a", "b"), pieces=("c",)) for claim in claims)
    claim = {
        "what is queued": ("queue 0", now),
        "nothing: the queue is empty": ("empty", now),
        "nothing: all is scheduled": ("later", now),
        "what is due": ("due", now + 5),
        "under a limit": ("limited", now),
    }
    trees = {name: tree(scene, name) for name in ("tree", "felled")}
    scene.settle(*(settlement(claim, State.DEAD) for claim in trees["felled"]))
    roots = Filter(ids=tuple(claim.id for claim in trees["tree"]))
    felled = Filter(ids=tuple(claim.id for claim in trees["felled"]))
    leaves = tuple(NewJob(f"new leaf {n}", "t", flow="tree", parents=(Edge(f"tree {n}"),)) for n in range(10))
    later = tuple(NewJob(f"new child {n}", "t", parents=(Edge(f"first final {n}", policy_of(n)),)) for n in range(10))
    by_id = Filter(ids=("first queued 1", "first final 1"))
    of_flow = Filter(flow="first later 0")
    batch = Filter(queue="queue 0")
    nobodys = Filter(task="nobody's", states=(State.QUEUED,))
    return {
        **{
            f"claim {name}": ClaimRequest("worker", (Room(queue, 10),), 10, now=at)
            for name, (queue, at) in claim.items()
        },
        "claim from all": ClaimRequest("worker", tuple(Room(f"queue {n}", 10) for n in range(3)), 30, now=now),
        "insert": InsertRequest(tuple(NewJob(f"new {n}", "task") for n in range(10)), now=now),
        "insert with keys": InsertRequest(tuple(wanting(f"new {n}", f"new {n}") for n in range(10)), now=now),
        "insert instead of others": InsertRequest(tuple(wanting(f"new {n}", f"first {n}") for n in range(10)), now=now),
        "insert what is there": InsertRequest((NewJob("first final 1", "t"), NewJob("first queued 1", "t")), now=now),
        "settle": SettleRequest(ended, now=now),
        "settle with notes": SettleRequest(ended, notes, now=now),
        "give back": SettleRequest(returned, now=now),
        "note": NoteRequest(notes, now=now),
        "beat": BeatRequest(presence("worker"), now=now),
        "look": BeatRequest(presence("worker"), "look", now=now),
        "reap": ReapRequest("worker", 10, now=now + 10),
        "reap nothing": ReapRequest("worker", 10, now=now),
        "configure": ConfigureRequest(read=frozenset({"queues", "schedules", "due", "workers"}), now=now),
        "prune": PruneRequest(dict.fromkeys(sorted(FINAL), 0), 10, now=now + 1),
        "find a page": FindRequest(Filter(), now=now),
        "find dead ones": FindRequest(Filter(states=(State.DEAD,)), now=now),
        "find by id": FindRequest(by_id, with_log=True, now=now),
        "find stamps": FindRequest(by_id, stamps=True, now=now),
        "find what is not there": FindRequest(nobodys, now=now),
        "find by text": FindRequest(Filter(text="nowhere"), now=now),
        "find by tag": FindRequest(Filter(tag="nobody's"), now=now),
        "find briefly": FindRequest(Filter(states=(State.DEAD,)), brief=True, now=now),
        "count by id": CountRequest(by_id, now=now),
        "count quickly by queue": CountRequest(Filter(), each=10, now=now),
        "count quickly by task": CountRequest(Filter(task="task 1"), most=100, now=now),
        "count what is ahead": CountRequest(Filter(), ahead_of="first queued 1", each=10, now=now),
        "count a piece": CountRequest(Filter(text="nowhere"), now=now),
        **{f"{verb} by id": AlterRequest(verb, by_id, value, now=now) for verb, value in ALTERATIONS.items()},
        **{
            f"{verb} a batch": AlterRequest(verb, batch, value, limit=10, now=now)
            for verb, value in ALTERATIONS.items()
        },
        "cancel what is not there": AlterRequest(Verb.CANCEL, nobodys, now=now),
        "insert children": InsertRequest(leaves, now=now),
        "insert children of ended ones": InsertRequest(later, now=now),
        "insert a flow": InsertRequest((NewJob("of all", "t"), *later), flows=(of_all("new", "of all"),), now=now),
        "settle parents": SettleRequest(tuple(map(settlement, trees["tree"])), now=now),
        "settle dead parents": SettleRequest(tuple(settlement(c, State.DEAD) for c in trees["tree"]), now=now),
        "cancel parents": AlterRequest(Verb.CANCEL, Filter(ids=("first later 1", "first later 2")), now=now),
        "revive parents": AlterRequest(Verb.REVIVE, felled, now=now),
        "delete parents": AlterRequest(Verb.DELETE, Filter(ids=("first later 1", "first final 1")), now=now),
        "claim children": ClaimRequest("worker", (Room("tree", 10),), 10, now=now),
        "find parents": FindRequest(roots, with_parents=True, now=now),
        "find a flow's jobs": FindRequest(of_flow, now=now),
        "count a flow's jobs": CountRequest(of_flow, now=now),
        "cancel a flow": AlterRequest(Verb.CANCEL, of_flow, limit=10, now=now),
        "find a flow": FindRequest(of_flow, flows=True, now=now),
        "find flows": FindRequest(Filter(), limit=1, flows=True, now=now),
    }


def tree(scene: Scene, name: str) -> tuple[Claim, ...]:
    """Ten jobs that run, each with children, and these with theirs; a callback waits for them all."""
    jobs = [NewJob(f"{name} {n}", "task", name, flow=name) for n in range(10)]
    for parent in list(jobs):
        children = [NewJob(f"{parent.id} {p}", "task", name, flow=name, parents=(Edge(parent.id, p),)) for p in Policy]
        below = [NewJob(f"{child.id} below", "task", name, parents=(Edge(child.id),)) for child in children]
        jobs += [*children, *below]
    scene.insert(*jobs, NewJob(f"all of {name}", "task"), flows=(of_all(name, f"all of {name}"),))
    return scene.claim("worker", Room(name, 10), limit=10)


def of_all(flow: str, callback: str) -> NewFlow:
    return NewFlow(flow, flow, None, (Callback(callback, Policy.RUN),))


@pytest.mark.timeout(600)  # all those jobs are made first
@pytest.mark.fault("a million jobs", "sqlite")
def test_no_operation_takes_more_steps_with_fifty_times_the_jobs(
    grown: tuple[dict[str, int], dict[str, int]],
) -> None:
    """The small difference that is let pass is that of trees that have grown a level."""
    small, large = grown
    grew = {name: (small[name], large[name]) for name in small if large[name] > small[name] * 1.1 + 20}
    assert grew == {}
