"""PostgreSQL, where many write at once: threads with connections of their own, and what must hold whoever is first.

The clock is the server's. A job runs from when its claim came back until just before its settlement is sent.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import accumulate, cycle
from typing import NamedTuple

import psycopg
import pytest

from mainspring.model.job import Claim, Conflict, JobRecord, Key, NewJob
from mainspring.model.limits import Limits, Rate
from mainspring.model.states import State
from mainspring.store.base import (
    AlterRequest,
    BeatRequest,
    Change,
    ClaimRequest,
    ConfigureRequest,
    DefineQueue,
    DefineTask,
    Filter,
    FindRequest,
    Inserted,
    InsertRequest,
    LimitPartition,
    PruneRequest,
    Reply,
    Request,
    Room,
    SettleRequest,
    Verb,
    start,
)
from mainspring.store.postgres import PostgresStore
from mainspring.store.postgres.dialect import PostgresDialect
from mainspring.store.postgres.script import script

from .conformance.scene import presence, settlement

PATIENCE = 60.0
CLAIMERS = 8
FEWEST = 20
"""Rounds of what is played for some time, however slow the machine is."""


class Run(NamedTuple):
    """A claim, and from when to when it was worked at."""

    claim: Claim
    began: float
    ended: float


class Crowd:
    """A store with a crowd of claimers, and one driver for all who only insert, change and look."""

    def __init__(self, store: PostgresStore, url: str) -> None:
        self.store = store
        self.driver = store.driver()
        self._url = url
        self._stopping = threading.Event()
        self.done = set[str]()
        self.runs: list[Run] = []

    def ask(self, request: Request[Reply]) -> Reply:
        return self.driver.run(request)

    def insert(self, *jobs: NewJob) -> tuple[Inserted, ...]:
        return self.ask(InsertRequest(jobs))

    def configure(self, *changes: Change) -> None:
        self.ask(ConfigureRequest(changes))

    def jobs(self) -> list[JobRecord]:
        """All of them."""
        request, found = FindRequest(Filter(), 1000), list[JobRecord]()
        while True:
            page = self.ask(request)
            found += page.jobs
            if page.cursor is None:
                return found
            request = FindRequest(Filter(), 1000, page.cursor)

    @contextmanager
    def claimers(
        self,
        *choices: Sequence[Room],
        count: int = CLAIMERS,
        limit: int = 3,
        run: Callable[[Claim], State] = lambda claim: State.COMPLETED,
    ) -> Iterator[None]:
        """So many claim and settle meanwhile, from one choice of rooms or another; what goes wrong with one of them
        comes out at the end."""
        self._stopping.clear()
        with ThreadPoolExecutor(count) as threads:
            claimers = [
                threads.submit(self._claim, f"worker {n}", tuple(rooms), limit, run)
                for n, rooms in zip(range(count), cycle(choices or [[Room("default", limit)]]))
            ]
            try:
                yield
            finally:
                self._stopping.set()
            for claimer in claimers:
                claimer.result()

    def _claim(self, worker: str, rooms: tuple[Room, ...], limit: int, run: Callable[[Claim], State]) -> None:
        driver = self.store.driver()
        driver.run(BeatRequest(presence(worker, 600_000), "join"))
        while not self._stopping.is_set():
            claims = driver.run(ClaimRequest(worker, rooms, limit)).claims
            if not claims:
                time.sleep(random.uniform(0.001, 0.005))
                continue
            began = time.perf_counter()
            assert len({claim.id for claim in claims}) == len(claims) <= limit
            ends = [settlement(claim, run(claim)) for claim in claims]
            time.sleep(random.uniform(0, 0.004))
            self.runs += [Run(claim, began, time.perf_counter()) for claim in claims]
            assert driver.run(SettleRequest(tuple(ends))) == {end.id for end in ends}
            self.done.update(end.id for end in ends if end.state is State.COMPLETED)
        driver.close()

    def wait_for(self, ids: Iterable[str]) -> None:
        """Until all of these are done."""
        wanted, deadline = set(ids), time.monotonic() + PATIENCE
        while not wanted <= self.done:
            assert time.monotonic() < deadline, f"stuck: {self.stuck()}"
            time.sleep(0.002)

    def stuck(self) -> list[object]:
        """What is there still, and what the partitions say."""
        tables = ("jobs", "partitions", "arrivals", "lanes")
        with psycopg.connect(self._url, autocommit=True) as connection:
            schema = self.schema
            found: list[object] = []
            for table in tables:
                found += [table, connection.execute(f'SELECT * FROM "{schema}".{table} LIMIT 20').fetchall()]
            return found

    @property
    def schema(self) -> str:
        return self.store.url.rpartition("schema=")[2]

    def deadlocks(self) -> int:
        """How many there were so far; exact once all connections of the others are closed."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            row = connection.execute(
                "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
            ).fetchone()
            assert row
            return int(row[0])

    @contextmanager
    def unfinished(self, request: Request[object], *, commit: bool) -> Iterator[None]:
        """A transaction that has done this and stays open meanwhile."""
        dialect = PostgresDialect(self.schema)
        with psycopg.connect(self._url, autocommit=True) as connection:
            # Where nothing is executed outside of a transaction, this is one, however the operation is performed.
            commands = script(start(self.store, request), sessions=False)
            command, rows = next(commands), []
            while command.name != "commit":  # type: ignore[union-attr]
                if text := dialect.text(command):
                    cursor = connection.execute(text, command.parameters or None)
                    rows = cursor.fetchall() if cursor.description else []
                command, rows = commands.send(rows), []
            yield
            connection.execute("COMMIT" if commit else "ROLLBACK")


@pytest.fixture
def crowd(postgres_store: PostgresStore, postgres: str) -> Iterator[Crowd]:
    crowd = Crowd(postgres_store, postgres)
    before = crowd.deadlocks()
    yield crowd
    crowd.driver.close()
    time.sleep(0.05)
    assert crowd.deadlocks() - before <= 1


def most_at_once(runs: Iterable[Run]) -> int:
    """How many of these there were at the same time at most."""
    steps = sorted(step for run in runs for step in ((run.began, 1), (run.ended, -1)))
    return max(accumulate(step for _, step in steps))


def most_within(runs: Iterable[Run], ms: int) -> int:
    """How many of these started in any stretch of that length at most."""
    starts = sorted(run.claim.started_at for run in runs)
    return max(sum(1 for other in starts if at <= other < at + ms) for at in starts)


def by(runs: Iterable[Run], key: Callable[[Claim], str]) -> dict[str, list[Run]]:
    found = defaultdict[str, list[Run]](list)
    for run in runs:
        found[key(run.claim)].append(run)
    return found


class TestLimits:
    """No limit is exceeded, however many claim at once."""

    def test_slots_of_a_queue(self, crowd: Crowd) -> None:
        crowd.configure(DefineQueue("default", concurrency=5))
        jobs = [NewJob(f"{n:03}", "task") for n in range(300)]
        crowd.insert(*jobs)
        with crowd.claimers():
            crowd.wait_for(job.id for job in jobs)
        assert most_at_once(crowd.runs) <= 5

    def test_slots_of_partitions_beside_those_of_their_queue(self, crowd: Crowd) -> None:
        crowd.configure(DefineQueue("default", concurrency=7, each=Limits(2)))
        jobs = [NewJob(f"{n:03}", "task", partition=f"p{n % 6}") for n in range(300)]
        crowd.insert(*jobs)
        with crowd.claimers():
            crowd.wait_for(job.id for job in jobs)
        assert most_at_once(crowd.runs) <= 7
        for partition, found in by(crowd.runs, lambda claim: claim.partition).items():
            assert most_at_once(found) <= 2, partition

    def test_slots_of_a_task_in_several_queues(self, crowd: Crowd) -> None:
        crowd.configure(DefineTask("slow", 3), DefineTask("other", 4))
        jobs = [
            NewJob(f"{n:03}", ("slow", "other", "free")[n % 3], queue=f"q{n % 2}", partition=("", "p")[n % 5 == 0])
            for n in range(240)
        ]
        crowd.insert(*jobs)
        with crowd.claimers([Room("q0", 2)], [Room("q1", 2)], [Room("q1", 1), Room("q0", 2)]):
            crowd.wait_for(job.id for job in jobs)
        tasks = by(crowd.runs, lambda claim: claim.task)
        assert most_at_once(tasks["slow"]) <= 3
        assert most_at_once(tasks["other"]) <= 4

    def test_rate_of_a_queue(self, crowd: Crowd) -> None:
        crowd.configure(DefineQueue("default", rates=(Rate(20, "200ms"),)))
        jobs = [NewJob(f"{n:03}", "task") for n in range(160)]
        crowd.insert(*jobs)
        with crowd.claimers():
            crowd.wait_for(job.id for job in jobs)
        assert most_within(crowd.runs, 200) <= 20

    def test_rates_of_partitions_and_of_a_task(self, crowd: Crowd) -> None:
        each = Limits(rate=Rate(8, "200ms"))
        crowd.configure(DefineQueue("a", each=each), DefineQueue("b", each=each))
        crowd.configure(DefineTask("task", rates=(Rate(30, "200ms"),)))
        jobs = [NewJob(f"{n:03}", "task", queue="ab"[n % 2], partition=f"p{n % 3}") for n in range(180)]
        crowd.insert(*jobs)
        with crowd.claimers([Room("a", 3)], [Room("b", 3)]):
            crowd.wait_for(job.id for job in jobs)
        assert most_within(crowd.runs, 200) <= 30
        for place, found in by(crowd.runs, lambda claim: f"{claim.queue} {claim.partition}").items():
            assert most_within(found, 200) <= 8, place

    def test_the_last_place_of_a_full_queue_is_taken_once(self, crowd: Crowd) -> None:
        crowd.configure(DefineQueue("default", max_queued=10, each=Limits(max_queued=4)))
        together = threading.Barrier(CLAIMERS)

        def insert(number: int) -> int:
            together.wait()
            replies = [crowd.insert(NewJob(f"{number} {n}", "task", partition=f"p{n % 4}"))[0] for n in range(8)]
            return sum(reply.full is None for reply in replies)

        with ThreadPoolExecutor(CLAIMERS) as threads:
            assert sum(threads.map(insert, range(CLAIMERS))) == 10
        assert max(Counter(job.partition for job in crowd.jobs()).values()) <= 4


class TestArrivals:
    """Nothing that is there to be claimed is overlooked for good."""

    @pytest.mark.parametrize("each", [Limits(), Limits(1), Limits(rate=Rate(1000, "1s"))], ids=["free", "slot", "rate"])
    def test_jobs_that_come_while_their_partition_is_found_empty(self, crowd: Crowd, each: Limits) -> None:
        crowd.configure(DefineQueue("default", each=each))
        until = time.monotonic() + 3

        def insert(number: int) -> int:
            driver, count = crowd.store.driver(), 0
            while time.monotonic() < until or count < FEWEST:
                count += 1
                partition = f"p{number}" if number else ("", "other")[count % 2]
                jobs = [NewJob(f"{number} {count} {n}", "task", partition=partition) for n in range(count % 3 + 1)]
                driver.run(InsertRequest(tuple(jobs)))
                crowd.wait_for(job.id for job in jobs)
            driver.close()
            return count

        with crowd.claimers(count=4), ThreadPoolExecutor(4) as threads:
            assert min(threads.map(insert, range(4))) >= FEWEST

    def test_the_first_partition_of_a_queue(self, crowd: Crowd) -> None:
        together = threading.Barrier(2)

        def insert(partition: str) -> list[str]:
            driver, ids = crowd.store.driver(), []
            for n in range(100):
                together.wait()
                ids.append(f"{partition} {n}")
                driver.run(InsertRequest((NewJob(ids[-1], "task", queue=f"q{n}", partition=partition),)))
            driver.close()
            return ids

        rooms = [Room(f"q{n}", 1) for n in range(100)]
        with crowd.claimers(rooms, count=2), ThreadPoolExecutor(2) as threads:
            ids = [id for found in threads.map(insert, ("", "p")) for id in found]
            crowd.wait_for(ids)

    def test_jobs_given_back_cancelled_revived_and_moved(self, crowd: Crowd) -> None:
        crowd.configure(DefineQueue("default", each=Limits(1), sequence=None), DefineTask("gated", 2))
        jobs = [
            NewJob(f"{n:03}", ("task", "gated")[n % 2], partition=("", "a", "b", "c")[n % 4], delay_ms=n % 5 * 100)
            for n in range(200)
        ]
        crowd.insert(*jobs)
        verbs = [(Verb.CANCEL, None), (Verb.REVIVE, None), (Verb.REPRIORITISE, 3), (Verb.RESCHEDULE, 0)]

        def alter(seed: int) -> None:
            chance, driver = random.Random(seed), crowd.store.driver()
            for _ in range(60):
                verb, value = chance.choice(verbs)
                ids = tuple(chance.choice(jobs).id for _ in range(5))
                driver.run(AlterRequest(verb, Filter(ids=ids), value, "why"))
            driver.close()

        def run(claim: Claim) -> State:
            return State.QUEUED if random.random() < 0.2 else State.COMPLETED

        with crowd.claimers(run=run), ThreadPoolExecutor(3) as threads:
            list(threads.map(alter, range(3)))
            crowd.ask(PruneRequest({State.COMPLETED: 10**9}))
            live = [job.id for job in crowd.jobs() if job.finished_at is None]
            crowd.done.difference_update(live)
            deadline = time.monotonic() + PATIENCE
            while any(job.finished_at is None for job in crowd.jobs()):
                assert time.monotonic() < deadline, crowd.stuck()
                time.sleep(0.01)
        assert most_at_once(run for run in crowd.runs if run.claim.task == "gated") <= 2

    def test_limits_that_change_meanwhile(self, crowd: Crowd) -> None:
        jobs = [NewJob(f"{n:03}", "task", partition=f"p{n % 5}") for n in range(300)]
        crowd.insert(*jobs)
        changes: list[Change] = [
            DefineQueue("default", each=Limits(1), partitions=(("p1", Limits(2)), ("p0", Limits(1)))),
            LimitPartition("default", "p3", 2),
            DefineTask("task", 4),
            DefineQueue("default", 6, each=Limits(2)),
            LimitPartition("default", None, 3),
        ]
        with crowd.claimers():
            for _ in range(20):
                for change in changes:
                    crowd.configure(change)
            crowd.wait_for(job.id for job in jobs)


class TestOpenTransactions:
    """An insert that is not committed yet is in nobody's way."""

    @pytest.mark.parametrize("commit", [True, False], ids=["committed", "rolled back"])
    @pytest.mark.parametrize("partition", ["", "p"])
    @pytest.mark.parametrize("before", [(), ("",), ("", "beside")], ids=["new queue", "plain queue", "parted queue"])
    def test_others_insert_and_claim_there(
        self, crowd: Crowd, commit: bool, partition: str, before: tuple[str, ...]
    ) -> None:
        known = [NewJob(f"before in {place}", "task", partition=place) for place in before]
        crowd.insert(*known)
        with crowd.claimers(count=2, limit=2):
            crowd.wait_for(job.id for job in known)
            with crowd.unfinished(InsertRequest((NewJob("open", "task", partition=partition),)), commit=commit):
                crowd.insert(NewJob("after", "task", partition=partition), NewJob("else", "task", partition="else"))
                crowd.wait_for(["after", "else"])
            # Nothing else wakes it: neither an insert nor an end.
            crowd.wait_for(["open"] if commit else [])
            crowd.insert(NewJob("last", "task", partition=partition))
            crowd.wait_for(["last"])
        assert [job.state for job in crowd.jobs()] == [State.COMPLETED] * len(crowd.done)

    @pytest.mark.parametrize("commit", [True, False], ids=["committed", "rolled back"])
    @pytest.mark.parametrize("partition", ["", "p"])
    def test_a_job_that_is_about_to_be_replaced_holds_up_nobody(
        self, crowd: Crowd, commit: bool, partition: str
    ) -> None:
        """It is passed over, and comes later, whatever became of that."""
        crowd.configure(DefineQueue("default", rates=(Rate(1000, "1s"),)))
        key = Key("key", on_conflict=Conflict.REPLACE)
        crowd.insert(NewJob("1", "task", partition=partition, keys=(key,)), NewJob("2", "task", partition=partition))
        replacing = InsertRequest((NewJob("3", "task", partition=partition, keys=(key,)),))
        with crowd.unfinished(replacing, commit=commit), crowd.claimers(count=2, limit=1):
            crowd.wait_for(["2"])
            assert crowd.done == {"2"}
        with crowd.claimers(count=2, limit=1):
            crowd.wait_for(["1"])


class TestSequences:
    """One at a time, in order, whoever claims."""

    @pytest.mark.parametrize("sequence", ["block", "skip"])
    def test_jobs_that_are_tried_again_keep_their_place(self, crowd: Crowd, sequence: str) -> None:
        crowd.configure(DefineQueue("default", sequence=sequence))  # type: ignore[arg-type]
        ids = [f"{n:03}" for n in range(120)]
        crowd.insert(*(NewJob(id, "task", partition=f"p{n % 4}") for n, id in enumerate(ids)))

        def run(claim: Claim) -> State:
            return State.QUEUED if claim.attempt < 1 + hash(claim.id) % 3 else State.COMPLETED

        with crowd.claimers(run=run):
            crowd.wait_for(ids)
        for partition, found in by(crowd.runs, lambda claim: claim.partition).items():
            assert most_at_once(found) == 1, partition
            ran = [run.claim.id for run in sorted(found, key=lambda run: run.began)]
            assert ran == sorted(ran)


class TestKeys:
    """One key, one holder."""

    def test_of_all_who_insert_at_once_one_gets_the_key(self, crowd: Crowd) -> None:
        together = threading.Barrier(CLAIMERS)

        def insert(number: int) -> list[str]:
            driver, holders = crowd.store.driver(), []
            for n in range(40):
                together.wait()
                keys = tuple(Key(f"{n} {name}") for name in random.sample("abc", 3))
                job = NewJob(f"{n} {number}", "task", partition=("", "p")[n % 2], keys=keys)
                holders.append(driver.run(InsertRequest((job,)))[0].id)
            driver.close()
            return holders

        with ThreadPoolExecutor(CLAIMERS) as threads:
            rounds = zip(*threads.map(insert, range(CLAIMERS)), strict=True)
        assert [len(set(holders)) for holders in rounds] == [1] * 40
        assert len(crowd.jobs()) == 40

    def test_a_key_that_is_held_until_the_end_has_one_live_holder(self, crowd: Crowd) -> None:
        until = time.monotonic() + 2

        def insert(number: int) -> None:
            driver, n = crowd.store.driver(), 0
            while time.monotonic() < until or len(crowd.done) < FEWEST:
                n += 1
                driver.run(InsertRequest((NewJob(f"{number} {n}", "task", keys=(Key("one"),)),)))
            driver.close()

        with crowd.claimers(count=3), ThreadPoolExecutor(4) as threads:
            list(threads.map(insert, range(4)))
        assert most_at_once(crowd.runs) == 1


def test_claims_from_several_queues_do_not_wait_for_each_other_in_circles(crowd: Crowd) -> None:
    """Whatever the order in which the queues are named."""
    names = [f"q{n}" for n in range(6)]
    crowd.configure(*(DefineQueue(name, concurrency=3) for name in names))
    jobs = [NewJob(f"{n:03}", "task", queue=names[n % 6], partition=("", "a", "b")[n % 3]) for n in range(400)]
    crowd.insert(*jobs)
    rooms = [Room(name, 2) for name in names]
    with crowd.claimers(rooms, rooms[::-1], rooms[3:] + rooms[:3], limit=6):
        crowd.wait_for(job.id for job in jobs)
    for name, found in by(crowd.runs, lambda claim: claim.queue).items():
        assert most_at_once(found) <= 3, name
